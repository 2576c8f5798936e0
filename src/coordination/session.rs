//! One lease for the whole process. Everything that a process has in etcd hangs on it, so its death
//! is one event at one revision.
//!
//! A session knows by itself, without etcd, until when its lease certainly lives: from the moment the
//! last acknowledged renewal was *sent*, an eighth and 100 ms before the time to live is over, on
//! the boot clock, which goes on while the machine sleeps. At that moment it turns
//! [`State::Suspect`]: whoever acts on the lease stops, and nothing is released. If etcd then still
//! has the lease, it is [`State::Connected`] again, as if nothing had been. If etcd says that the
//! lease is gone, the session is [`State::Lost`] and all its keys are; a new lease is granted, and
//! [`Standing::generation`] grows, on which registry and candidate write their keys anew.
//!
//! A missed wake-up cannot prolong a belief: [`Session::is_live`] compares the clock, and who holds a
//! decision on the session asks it, not only the notices.
//!
//! It stops with [`Session::close`], which revokes the lease so that everyone sees the process leave
//! at once; a process that ends without it is seen to leave after the time to live. Hand it tasks
//! that are told to stop last: a draining process still needs its lease. When they stop, nobody renews
//! it, so the session is suspect at once.

mod machine;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Error, Etcd};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::resilience::backoff::Backoff;
use crate::tasks::Tasks;

use machine::Machine;
pub use machine::{Standing, State};

/// Seconds that a lease lives without a renewal: short enough for a takeover within 6 s, long enough
/// for three renewals.
pub const TTL_SECONDS: i64 = 5;

/// Between renewals or grants that fail. The most leaves room for several tries in what a missed
/// renewal leaves of the lease.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_millis(500);

/// How long [`Session::close`] tries to revoke the lease; after that its time to live ends it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The lease of a process. Cheap to clone; clones are the same session.
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    etcd: Etcd,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    machine: Mutex<Machine>,
    standing: watch::Sender<Standing>,
    closed: CancellationToken,
}

impl Session {
    /// Starts a session; it gets its lease as soon as etcd answers, and keeps one until
    /// [`Session::close`] is called or the tasks stop.
    pub fn start(etcd: Etcd, clock: Arc<dyn Clock>, entropy: Arc<Entropy>, tasks: &Tasks) -> Self {
        let machine = Machine::default();
        let inner = Arc::new(Inner {
            etcd,
            clock,
            entropy,
            standing: watch::Sender::new(machine.standing()),
            machine: Mutex::new(machine),
            closed: CancellationToken::new(),
        });
        let running = Arc::clone(&inner);
        let stopping = tasks.stopping();
        tasks.spawn("session", async move {
            tokio::select! {
                biased;
                () = running.closed.cancelled() => {},
                () = stopping => {},
                () = running.run() => {},
            }
            running.lock().abandon();
            running.announce();
        });
        Self { inner }
    }

    /// The lease as it is, and news of it. News that follow each other quickly may be seen as one;
    /// the generation tells whether the lease is another.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.inner.standing.subscribe()
    }

    /// Whether its lease certainly lives at this moment.
    pub fn is_live(&self) -> bool {
        self.inner.lock().is_live(self.inner.clock.now())
    }

    /// Ends the session: all its keys go at once, in one event. Everything that acts on the lease must
    /// have stopped before.
    ///
    /// # Errors
    /// When etcd does not answer in a second; the lease then ends by itself.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.closed.cancel();
        let lease = self.inner.lock().close();
        self.inner.announce();
        let Some(lease) = lease else { return Ok(()) };
        let revoked = tokio::time::timeout(CLOSE_TIMEOUT, self.inner.etcd.revoke(lease)).await;
        revoked.unwrap_or(Err(Error::Timeout {
            what: "ending the session",
        }))
    }
}

impl Inner {
    async fn run(&self) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        let mut failing = false;
        while !self.closed.is_cancelled() {
            let renewal = self.lock().next_renewal();
            let step = match renewal {
                None => self.grant().await,
                Some((lease, due)) => {
                    if !failing {
                        let left = due.since(self.clock.now());
                        self.while_watching(tokio::time::sleep(left)).await;
                    }
                    self.renew(lease).await
                },
            };
            if let Err(error) = step {
                if !failing {
                    let error = chain(&error);
                    tracing::warn!(error, "the session with etcd is not renewed");
                }
                failing = true;
                self.while_watching(tokio::time::sleep(backoff.next(&self.entropy)))
                    .await;
            } else if failing {
                tracing::info!("the session with etcd is renewed again");
                failing = false;
                backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
            }
        }
    }

    async fn grant(&self) -> Result<(), Error> {
        // Before the first try, so that tries that failed count against the lease.
        let sent = self.clock.now();
        let (lease, seconds) = self.etcd.grant(TTL_SECONDS).await?;
        let ttl = Duration::from_secs(seconds.unsigned_abs());
        self.lock().granted(lease, ttl, sent, self.clock.now());
        let generation = self.announce().generation;
        tracing::debug!(lease, generation, "the session has a lease");
        Ok(())
    }

    async fn renew(&self, lease: i64) -> Result<(), Error> {
        let sent = self.clock.now();
        let limit = self.lock().sent(sent);
        match self.while_watching(self.etcd.renew(lease, limit)).await {
            Ok(()) => {
                self.lock().acknowledged(sent, self.clock.now());
                self.announce();
                Ok(())
            },
            Err(Error::LeaseGone) => {
                tracing::warn!(
                    lease,
                    "the session's lease is gone, and all that hung on it"
                );
                self.lock().lost();
                self.announce();
                Ok(())
            },
            Err(error) => Err(error),
        }
    }

    /// Waits for something, and turns the session suspect meanwhile if its deadline passes.
    async fn while_watching<F: Future>(&self, work: F) -> F::Output {
        tokio::pin!(work);
        loop {
            let now = self.clock.now();
            let deadline = {
                let mut machine = self.lock();
                machine.tick(now);
                let connected = machine.standing().state == State::Connected;
                machine.live_until().filter(|_until| connected)
            };
            self.announce();
            let Some(deadline) = deadline else {
                return work.await;
            };
            tokio::select! {
                done = &mut work => return done,
                () = tokio::time::sleep(deadline.since(now)) => {},
            }
        }
    }

    /// Tells how the session stands, if that is news.
    fn announce(&self) -> Standing {
        let (standing, is_closed) = {
            let machine = self.lock();
            (machine.standing(), machine.is_closed())
        };
        self.standing.send_if_modified(|known| {
            let news = *known != standing;
            if news && standing.state == State::Suspect {
                if is_closed {
                    tracing::debug!("the session with etcd is not renewed any more");
                } else {
                    tracing::warn!("the session with etcd is suspect: its lease may have ended");
                }
            }
            *known = standing;
            news
        });
        standing
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Machine> {
        // Every change of the machine is one assignment after the arithmetic: never half made.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
