//! A process's one lease, and how sure the process may be that it still has it.
//!
//! Everything that must vanish with the process hangs on this lease. It is renewed three times in its
//! life. A renewal proves life from the moment it was *sent*, so the local deadline counts from there
//! and lies a margin before etcd's own: past it the session is [`State::Suspect`], and whoever acts on
//! the lease's word stops, though the lease may turn out to live. When etcd says that the lease is
//! gone the session is lost, a new lease is made, and its number (`generation`) grows: whoever hangs
//! keys on it hangs them again.

mod lifetime;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Error, Etcd};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::resilience::backoff::Backoff;
use crate::tasks::Tasks;

use lifetime::Lifetime;

/// Seconds that a lease lives without a renewal.
pub const TTL_SECONDS: i64 = 5;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// How sure the process may be of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no lease: not yet, or not any more.
    Lost,
    /// The lease lives for certain.
    Connected,
    /// The lease may have ended.
    Suspect,
}

/// The lease as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How sure the process may be.
    pub state: State,
    /// The lease; 0 while there is none.
    pub lease: i64,
    /// Grows with each new lease.
    pub generation: u64,
}

/// A process's session. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session {
    etcd: Etcd,
    standing: watch::Receiver<Standing>,
}

impl Session {
    /// Starts a session; it gets its lease as soon as etcd answers, and keeps one until the tasks
    /// stop and [`Session::close`] is called.
    pub fn start(etcd: Etcd, clock: Arc<dyn Clock>, entropy: Arc<Entropy>, tasks: &Tasks) -> Self {
        let none = Standing {
            state: State::Lost,
            lease: 0,
            generation: 0,
        };
        let (sender, standing) = watch::channel(none);
        let keeper = Keeper {
            etcd: etcd.clone(),
            clock,
            entropy,
            standing: sender,
        };
        let stop = tasks.clone();
        tasks.spawn("session", keeper.run(stop));
        Self { etcd, standing }
    }

    /// The lease as it is, and news of it.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Ends the lease now: everything that hangs on it vanishes in one event. To be called when the
    /// tasks have been told to stop, or the session makes itself a new one.
    ///
    /// # Errors
    /// When etcd does not answer in a second; the lease then ends by itself.
    pub async fn close(&self) -> Result<(), Error> {
        let lease = self.standing.borrow().lease;
        if lease == 0 {
            return Ok(());
        }
        let revoked = tokio::time::timeout(CLOSE_TIMEOUT, self.etcd.revoke(lease)).await;
        revoked.unwrap_or(Err(Error::Timeout {
            what: "ending the session",
        }))
    }
}

struct Keeper {
    etcd: Etcd,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    standing: watch::Sender<Standing>,
}

impl Keeper {
    async fn run(self, tasks: Tasks) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let lived = tokio::select! {
                lived = self.live() => lived,
                () = tasks.stopping() => return,
            };
            match lived {
                Ok(()) => backoff = Backoff::new(RETRY_FIRST, RETRY_MOST),
                Err(error) => tracing::warn!(error = chain(&error), "no session with etcd"),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next(&self.entropy)) => {},
                () = tasks.stopping() => return,
            }
        }
    }

    /// Gets a lease and renews it until it is gone.
    async fn live(&self) -> Result<(), Error> {
        let sent = self.clock.now();
        let (lease, seconds) = self.etcd.grant(TTL_SECONDS).await?;
        let ttl = Duration::from_secs(seconds.unsigned_abs());
        let mut lifetime = Lifetime::new(sent, ttl);
        let generation = self.standing.borrow().generation + 1;
        tracing::debug!(lease, generation, "session has a lease");
        let show = |state| {
            let next = Standing {
                state,
                lease,
                generation,
            };
            self.standing.send_if_modified(|standing| {
                let modified = *standing != next;
                *standing = next;
                modified
            });
        };
        show(State::Connected);
        loop {
            let ended = self.renew(lease, &mut lifetime, &show).await;
            match ended {
                Err(Error::LeaseGone) => {
                    tracing::warn!(lease, "the session's lease is gone");
                    let none = Standing {
                        state: State::Lost,
                        lease: 0,
                        generation,
                    };
                    self.standing.send_replace(none);
                    return Ok(());
                },
                Err(error) => tracing::debug!(error = chain(&error), "renewal breaks off"),
                Ok(()) => {},
            }
            self.pause(&lifetime, &show).await;
        }
    }

    /// Renews over one stream until it breaks.
    async fn renew(
        &self,
        lease: i64,
        lifetime: &mut Lifetime,
        show: &impl Fn(State),
    ) -> Result<(), Error> {
        let sent = self.clock.now();
        let mut stream = self
            .watched(self.etcd.keep_alive(lease), lifetime, show)
            .await?;
        lifetime.renewed(sent);
        show(State::Connected);
        loop {
            tokio::time::sleep(lifetime.next_renewal(self.clock.now())).await;
            let sent = self.clock.now();
            let limit = super::etcd_call_timeout();
            let renewal = tokio::time::timeout(limit, stream.renew());
            let renewed = self.watched(async { renewal.await }, lifetime, show).await;
            renewed.map_err(|_elapsed| Error::Timeout {
                what: "renewing a lease",
            })??;
            lifetime.renewed(sent);
            show(State::Connected);
        }
    }

    /// Waits for something while the lease's local deadline may pass.
    async fn watched<F: Future>(
        &self,
        waited: F,
        lifetime: &Lifetime,
        show: &impl Fn(State),
    ) -> F::Output {
        tokio::pin!(waited);
        let certain = lifetime.certain_for(self.clock.now());
        tokio::select! {
            output = &mut waited => return output,
            () = tokio::time::sleep(certain) => show(State::Suspect),
        }
        waited.await
    }

    /// A short pause between two streams, in which the deadline may pass too.
    async fn pause(&self, lifetime: &Lifetime, show: &impl Fn(State)) {
        if lifetime.certain_for(self.clock.now()).is_zero() {
            show(State::Suspect);
        }
        tokio::time::sleep(RETRY_FIRST).await;
    }
}
