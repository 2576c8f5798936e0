//! A prefix of etcd held in memory, read without asking anybody, that never goes stale silently.
//!
//! A mirror lists its prefix at one revision and watches from the next one on. What readers see is
//! always the state of etcd at one revision: whole revisions are applied at once, in order, so a view
//! is a prefix of history. Whatever ends the watch (etcd gone, history compacted, a stream that
//! breaks or says nothing) leads to a new listing, and the difference is applied; nothing is ever
//! cleared first, so readers go on with the last view while etcd is away.
//!
//! Staleness is known. Every [`PULSE`] a mirror asks etcd up to where it was told everything; no
//! sign of life within [`SILENCE`] and the stream is dropped. [`Mirror::age`] counts from the request
//! whose answer proved the view fresh, and [`Mirror::refresh`] waits until the view holds everything
//! written before the call.
//!
//! Two kinds of harm are kept out. A value that does not parse leaves the last good one in place, and
//! is counted and logged: a record of a newer program must not look like a deletion. A listing that
//! is older than what was seen, or of another cluster, is refused: etcd was restored or swapped, and
//! acting on its past would delete what exists. The mirror then serves its last view, says
//! [`Condition::Refused`], and asks again; it takes up when etcd has caught up, or the process is
//! started anew by somebody who knows.
//!
//! Each mirror has a watch of its own; they share the one connection. It does not write, and does not
//! tell which keys changed: readers compare views, or work from the whole.

mod pulse;
mod replica;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::clock::{Clock, Moment};
use crate::coordination::etcd::{Etcd, Notice};
use crate::coordination::{Error, records};
use crate::fault;
use crate::ids::Revision;
use crate::resilience::{Backoff, Deadline};
use crate::tasks::Tasks;

use pulse::{Beat, Pulse};
use replica::Replica;
pub use replica::{Held, View};

/// Between requests for progress while nobody waits.
pub const PULSE: Duration = Duration::from_secs(5);

/// How long a watch may be silent after a request.
pub const SILENCE: Duration = Duration::from_secs(2);

/// The age from which a view counts as stale: a pulse, its answer, and a second.
pub const STALE_AFTER: Duration = Duration::from_secs(8);

/// Between listings that fail.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Makes a value of what follows the prefix and the bytes under the key.
pub type Decode<T> = fn(&str, &[u8]) -> Result<T, records::Error>;

/// How a mirror stands to etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing was read yet.
    Starting,
    /// It follows etcd.
    Following,
    /// It does not reach etcd and serves its last view.
    Cut,
    /// etcd went back; it serves its last view.
    Refused,
}

/// A prefix of etcd in memory.
pub struct Mirror<T> {
    etcd: Etcd,
    prefix: String,
    clock: Arc<dyn Clock>,
    view: ArcSwap<View<T>>,
    health: Mutex<Health>,
    /// The revision of the view.
    reached: watch::Sender<Revision>,
    /// The revision of the last view that differs from the one before it.
    changed: watch::Sender<Revision>,
    /// The highest revision that somebody waits for.
    wanted: watch::Sender<Revision>,
}

#[derive(Debug, Clone, Copy)]
struct Health {
    condition: Condition,
    /// When the view was certainly as new as etcd.
    fresh_at: Option<Moment>,
    unreadable: u64,
}

impl<T> fmt::Debug for Mirror<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror")
            .field("prefix", &self.prefix)
            .field("revision", &self.view.load().revision)
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Mirror<T> {
    /// Starts to mirror a prefix. Returns at once, also while etcd is down; see [`Mirror::ready`].
    pub fn start(
        etcd: &Etcd,
        prefix: impl Into<String>,
        decode: Decode<T>,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let prefix = prefix.into();
        let replica = Replica::new(prefix.clone(), decode);
        let mirror = Arc::new(Self {
            etcd: etcd.clone(),
            prefix,
            clock,
            view: ArcSwap::from_pointee(replica.view()),
            health: Mutex::new(Health {
                condition: Condition::Starting,
                fresh_at: None,
                unreadable: 0,
            }),
            reached: watch::Sender::new(Revision(0)),
            changed: watch::Sender::new(Revision(0)),
            wanted: watch::Sender::new(Revision(0)),
        });
        let running = Arc::clone(&mirror);
        let stop = tasks.clone();
        tasks.spawn("mirror", async move {
            tokio::select! {
                () = stop.stopping() => {},
                () = running.run(replica, &stop) => {},
            }
        });
        mirror
    }

    /// What is known now. Does not wait.
    pub fn view(&self) -> Arc<View<T>> {
        self.view.load_full()
    }

    /// The revision of the view; 0 before the first listing.
    pub fn revision(&self) -> Revision {
        self.view.load().revision
    }

    /// Tells the revision of each view that differs from the one before it.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.changed.subscribe()
    }

    /// How it stands to etcd.
    pub fn condition(&self) -> Condition {
        self.health().condition
    }

    /// How long ago the view was certainly as new as etcd; none before the first listing.
    pub fn age(&self) -> Option<Duration> {
        let fresh_at = self.health().fresh_at?;
        Some(self.clock.now().since(fresh_at))
    }

    /// Whether etcd may know more than a few seconds' worth.
    pub fn is_stale(&self) -> bool {
        self.condition() != Condition::Following || self.age().is_none_or(|age| age > STALE_AFTER)
    }

    /// Values that did not parse, since the start. Anything but 0 needs somebody to look.
    pub fn unreadable(&self) -> u64 {
        self.health().unreadable
    }

    /// Waits for the first listing.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`].
    pub async fn ready(&self, deadline: Deadline) -> Result<(), Error> {
        self.reach(Revision(1), deadline, "the first listing").await
    }

    /// Waits until the view holds everything up to a revision: to see one's own write.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`].
    pub async fn wait_until(&self, revision: Revision, deadline: Deadline) -> Result<(), Error> {
        self.reach(revision, deadline, "a revision").await
    }

    /// Waits until the view holds everything that anybody wrote before this call.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`], also when etcd does not answer.
    pub async fn refresh(&self, deadline: Deadline) -> Result<(), Error> {
        let left = deadline.remaining(self.clock.now());
        let revision = tokio::time::timeout(left, self.etcd.revision())
            .await
            .map_err(|_elapsed| Error::DeadlinePassed {
                what: "the revision of etcd",
            })??;
        self.wait_until(revision, deadline).await
    }

    async fn reach(
        &self,
        revision: Revision,
        deadline: Deadline,
        what: &'static str,
    ) -> Result<(), Error> {
        let mut reached = self.reached.subscribe();
        if *reached.borrow_and_update() >= revision {
            return Ok(());
        }
        self.wanted
            .send_modify(|wanted| *wanted = revision.max(*wanted));
        let left = deadline.remaining(self.clock.now());
        match tokio::time::timeout(left, reached.wait_for(|now| *now >= revision)).await {
            Ok(Ok(_reached)) => Ok(()),
            Ok(Err(_closed)) => Err(Error::Closed),
            Err(_elapsed) => Err(Error::DeadlinePassed { what }),
        }
    }

    async fn run(&self, mut replica: Replica<T>, stop: &Tasks) {
        let mut failures = 0;
        while !stop.is_stopping() {
            let Err(error) = self.follow(&mut replica, &mut failures).await;
            self.note_failure(&error);
            tokio::time::sleep(self.etcd.delay(BACKOFF, failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Lists, then follows until something ends it.
    async fn follow(
        &self,
        replica: &mut Replica<T>,
        failures: &mut u32,
    ) -> Result<Infallible, Error> {
        let asked = self.clock.now();
        let listing = self.etcd.list(&self.prefix).await?;
        let changed = replica.adopt(&listing)?;
        self.publish(replica, changed, Some(asked));
        let from = Revision(listing.revision.0.saturating_add(1));
        let mut watch = self.etcd.watch(&self.prefix, from).await?;
        if watch.cluster_id() != listing.cluster_id {
            return Err(watch.give_up("another cluster answers"));
        }
        let mut pulse = Pulse::new(self.clock.now());
        let mut wanted = self.wanted.subscribe();
        loop {
            let beat = pulse.next(self.clock.now());
            tokio::select! {
                notice = watch.next() => {
                    *failures = 0;
                    self.take(replica, &mut pulse, notice?);
                },
                told = wanted.changed() => {
                    let wanted = *wanted.borrow_and_update();
                    if told.is_ok() && wanted > replica.revision() {
                        pulse.hurry(wanted, self.clock.now());
                    }
                },
                () = tokio::time::sleep(beat.wait()) => match beat {
                    Beat::Wait(_) => {},
                    Beat::Ask => {
                        pulse.asked(self.clock.now());
                        watch.request_progress().await?;
                    },
                    Beat::Dead => return Err(watch.give_up("no answer to a request for progress")),
                },
            }
        }
    }

    fn take(&self, replica: &mut Replica<T>, pulse: &mut Pulse, notice: Notice) {
        let (changed, fresh_at) = match notice {
            Notice::Changed(batch) => {
                pulse.heard();
                (replica.apply(&batch), None)
            },
            Notice::Progress(revision) => {
                replica.advance(revision);
                (false, pulse.answered())
            },
        };
        pulse.reached(replica.revision());
        self.publish(replica, changed, fresh_at);
    }

    fn publish(&self, replica: &Replica<T>, changed: bool, fresh_at: Option<Moment>) {
        let revision = replica.revision();
        self.view.store(Arc::new(replica.view()));
        let before = {
            let mut health = self.lock();
            let before = health.condition;
            health.condition = Condition::Following;
            health.unreadable = replica.unreadable();
            health.fresh_at = health.fresh_at.max(fresh_at);
            before
        };
        if before != Condition::Following {
            tracing::info!(prefix = self.prefix, %revision, "mirror follows etcd");
        }
        // After the view: who is told a revision finds it there.
        self.reached.send_replace(revision);
        if changed {
            self.changed.send_replace(revision);
        }
    }

    fn note_failure(&self, error: &Error) {
        let condition = if matches!(error, Error::WentBack { .. }) {
            Condition::Refused
        } else if self.condition() == Condition::Starting {
            Condition::Starting
        } else {
            Condition::Cut
        };
        let before = std::mem::replace(&mut self.lock().condition, condition);
        let (prefix, error) = (&self.prefix, fault::chain(error));
        if before == condition {
            tracing::debug!(prefix, error, "mirror still does not follow etcd");
        } else if condition == Condition::Refused {
            tracing::error!(
                prefix,
                error,
                "mirror refuses what etcd shows and keeps its view"
            );
        } else {
            tracing::warn!(prefix, error, "mirror lost etcd and serves its last view");
        }
    }
}

impl<T> Mirror<T> {
    fn health(&self) -> Health {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        // Plain numbers: a panic elsewhere cannot leave them half written.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
