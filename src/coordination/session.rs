//! One lease for the whole process. Everything that a process has in etcd hangs on it, so its death
//! is one event at one revision.
//!
//! A session knows by itself, without etcd, until when its lease certainly lives: from the moment the
//! last acknowledged keepalive was *sent*, an eighth and 100 ms before the time to live is over, on
//! the boot clock, which goes on while the machine sleeps. At that moment it turns
//! [`Phase::Suspect`]: whoever acts on the lease stops, and nothing is released. If etcd then still
//! has the lease, it is [`Phase::Connected`] again, as if nothing had been. If etcd says that the
//! lease is gone, the session is [`Phase::Lost`] and all its keys are; a new lease is granted, and
//! the epoch in [`Standing`] grows, on which registry and candidate write their keys anew.
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

use crate::clock::{Clock, Moment};
use crate::coordination::Error;
use crate::coordination::etcd::{Etcd, LeaseId};
use crate::fault;
use crate::resilience::{Backoff, Deadline};
use crate::tasks::Tasks;

use machine::Machine;
pub use machine::{Phase, Standing};

/// Between keepalives or grants that fail. The cap leaves room for several tries in what a missed
/// keepalive leaves of the shortest time to live.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));

/// How long [`Session::close`] tries to revoke the lease; after that its time to live ends it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The lease of a process. Cheap to clone; clones are the same session.
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    etcd: Etcd,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    machine: Mutex<Machine>,
    standing: watch::Sender<Standing>,
    closed: CancellationToken,
}

impl Session {
    /// Starts a session whose lease lives `ttl` without a word from this process. Returns at once,
    /// also while etcd is down; see [`Session::connected`].
    pub fn start(etcd: &Etcd, clock: Arc<dyn Clock>, tasks: &Tasks, ttl: Duration) -> Self {
        let machine = Machine::default();
        let inner = Arc::new(Inner {
            etcd: etcd.clone(),
            clock,
            ttl,
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

    /// How it stands, and every change of it. Changes that follow each other quickly may be seen as
    /// one; the epoch tells whether the lease is another.
    pub fn subscribe(&self) -> watch::Receiver<Standing> {
        self.inner.standing.subscribe()
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        *self.inner.standing.borrow()
    }

    /// Whether its lease certainly lives at this moment.
    pub fn is_live(&self) -> bool {
        self.inner.lock().is_live(self.inner.clock.now())
    }

    /// Until when its lease certainly lives, if it has one.
    pub fn live_until(&self) -> Option<Moment> {
        self.inner.lock().live_until()
    }

    /// Waits until it has a lease.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`]; [`Error::Closed`] after [`Session::close`].
    pub async fn connected(&self, deadline: Deadline) -> Result<LeaseId, Error> {
        let mut standing = self.subscribe();
        let left = deadline.remaining(self.inner.clock.now());
        let waited = tokio::select! {
            () = self.inner.closed.cancelled() => return Err(Error::Closed),
            waited = tokio::time::timeout(left, standing.wait_for(|now| now.held().is_some())) => waited,
        };
        match waited {
            Ok(Ok(now)) => now.held().ok_or(Error::Closed),
            Ok(Err(_closed)) => Err(Error::Closed),
            Err(_elapsed) => Err(Error::DeadlinePassed {
                what: "a session of etcd",
            }),
        }
    }

    /// Ends the session: all its keys go at once, in one event. Everything that acted on the lease
    /// must have stopped before.
    ///
    /// # Errors
    /// As [`Etcd::lease_revoke`], or [`Error::DeadlinePassed`] after two seconds; the lease then ends
    /// by itself.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.closed.cancel();
        let lease = self.inner.lock().close();
        self.inner.announce();
        let Some(lease) = lease else { return Ok(()) };
        tokio::time::timeout(CLOSE_TIMEOUT, self.inner.etcd.lease_revoke(lease))
            .await
            .map_err(|_elapsed| Error::DeadlinePassed {
                what: "the end of a lease",
            })?
    }

    pub(in crate::coordination) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// The time between keepalives: the pace at which what hangs on the session is looked after.
    pub(in crate::coordination) fn pace(&self) -> Duration {
        self.inner.ttl / 3
    }
}

impl Inner {
    async fn run(&self) {
        let mut failures = 0;
        while !self.closed.is_cancelled() {
            let renewal = self.lock().next_renewal();
            let step = match renewal {
                None => self.grant().await,
                Some((lease, due)) if failures == 0 => {
                    let left = due.since(self.clock.now());
                    self.while_watching(tokio::time::sleep(left)).await;
                    self.renew(lease).await
                },
                Some((lease, _due)) => self.renew(lease).await,
            };
            let Err(error) = step else {
                if failures > 0 {
                    tracing::info!(failures, "etcd session answers again");
                }
                failures = 0;
                continue;
            };
            if failures == 0 {
                let error = fault::chain(&error);
                tracing::warn!(error, "etcd session is not renewed");
            }
            let delay = self.etcd.delay(BACKOFF, failures);
            failures = failures.saturating_add(1);
            self.while_watching(tokio::time::sleep(delay)).await;
        }
    }

    async fn grant(&self) -> Result<(), Error> {
        // Before the first try, so that tries that failed count against the lease.
        let sent = self.clock.now();
        let (lease, ttl) = self.etcd.lease_grant(self.ttl).await?;
        self.lock().granted(lease, ttl, sent, self.clock.now());
        let standing = self.announce();
        tracing::info!(%lease, epoch = standing.epoch, "etcd session begins");
        Ok(())
    }

    async fn renew(&self, lease: LeaseId) -> Result<(), Error> {
        let sent = self.clock.now();
        self.lock().sent(sent);
        let renewal = self.etcd.lease_keep_alive(lease, self.ttl / 3);
        match self.while_watching(renewal).await {
            Ok(()) => {
                self.lock().acknowledged(sent, self.clock.now());
                self.announce();
                Ok(())
            },
            Err(Error::LeaseLost) => {
                tracing::warn!(%lease, "etcd session is lost, and all that hung on it");
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
                let connected = machine.standing().phase == Phase::Connected;
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
        let standing = self.lock().standing();
        self.standing.send_if_modified(|known| {
            let news = *known != standing;
            if news && standing.phase == Phase::Suspect {
                tracing::warn!("etcd session is suspect: its lease may have ended");
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
