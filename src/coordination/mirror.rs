//! A prefix of etcd kept in memory, for reads that cost nothing and go on while etcd is away.
//!
//! A mirror lists its prefix at one revision and watches from the next. It applies whole revisions
//! only, asks for proof every few seconds that it has missed nothing, and on any doubt (a stream that
//! ends, history that was compacted, no sign of life in time) lists again and takes over the
//! difference: readers never see it empty in between. What it serves is a prefix of etcd's history,
//! and [`Mirror::age`] says how old the newest proof of that is, counted from when it was asked for.
//!
//! A value that does not parse leaves the last good one in its place and is counted: a record of a
//! newer program must not look like a removal. A list of an older revision, or of another etcd
//! cluster, is refused, because to act on the past would remove what exists: the mirror then serves
//! what it has, is [`Condition::Refused`], and asks again, until etcd has caught up or somebody who
//! knows starts the process anew.
//!
//! Each mirror has a watch of its own; they share the one connection.

mod pulse;
mod view;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{Error, Etcd, WatchNews};
use crate::clock::{Clock, Moment};
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::ids::Revision;
use crate::resilience::backoff::Backoff;
use crate::tasks::Tasks;

use pulse::{Beat, Pulse};
pub use view::{Held, View};

/// How often a quiet watch is asked for proof that it lives.
const PROOF_INTERVAL: Duration = Duration::from_secs(5);
/// How long a watch may be silent after that.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);
/// Without proof for longer than this a mirror calls itself stale.
const STALE_AFTER: Duration = Duration::from_secs(8);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(2);

/// How a mirror stands to etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nothing was read yet.
    Starting,
    /// It follows etcd.
    Following,
    /// It does not reach etcd and serves what it has.
    Cut,
    /// Etcd went back; it serves what it has.
    Refused,
}

/// A prefix of etcd in memory.
#[derive(Debug)]
pub struct Mirror<T> {
    etcd: Etcd,
    prefix: String,
    clock: Arc<dyn Clock>,
    view: ArcSwap<View<T>>,
    revision: watch::Sender<Revision>,
    health: Mutex<Health>,
    /// The highest revision that somebody waits for.
    wanted: watch::Sender<Revision>,
    unreadable: AtomicU64,
}

#[derive(Debug, Clone, Copy)]
struct Health {
    condition: Condition,
    /// When the view was certainly as new as etcd.
    proven: Option<Moment>,
    /// Whether what keeps it from following etcd was told already.
    told: bool,
}

impl<T> Mirror<T>
where
    T: DeserializeOwned + PartialEq + Send + Sync + std::fmt::Debug + 'static,
{
    /// Starts to mirror a prefix. Returns at once; [`Mirror::ready`] waits for the first list.
    pub fn start(
        etcd: Etcd,
        prefix: String,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let mirror = Arc::new(Self {
            etcd,
            prefix,
            clock,
            view: ArcSwap::from_pointee(View::default()),
            revision: watch::Sender::new(Revision(0)),
            health: Mutex::new(Health {
                condition: Condition::Starting,
                proven: None,
                told: false,
            }),
            wanted: watch::Sender::new(Revision(0)),
            unreadable: AtomicU64::new(0),
        });
        tasks.spawn("mirror", run(Arc::clone(&mirror), entropy, tasks.clone()));
        mirror
    }

    /// What the mirror has.
    pub fn view(&self) -> Arc<View<T>> {
        self.view.load_full()
    }

    /// The revision up to which the mirror has everything; 0 before the first list.
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Tells of each new revision.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// The time since the last proof that nothing was missed. The longest there is before the first.
    pub fn age(&self) -> Duration {
        let proven = self.health().proven;
        proven.map_or(Duration::MAX, |proven| self.clock.now().since(proven))
    }

    /// Whether etcd may know more than what one should notice.
    pub fn is_stale(&self) -> bool {
        self.condition() != Condition::Following || self.age() > STALE_AFTER
    }

    /// How it stands to etcd.
    pub fn condition(&self) -> Condition {
        self.health().condition
    }

    /// Values met so far that did not parse.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Waits for the first list.
    ///
    /// # Errors
    /// [`Error::NotReached`] at the deadline.
    pub async fn ready(&self, deadline: Moment) -> Result<(), Error> {
        self.wait_until(Revision(1), deadline).await
    }

    /// Waits until the mirror has everything up to a revision.
    ///
    /// # Errors
    /// [`Error::NotReached`] at the deadline.
    pub async fn wait_until(&self, wanted: Revision, deadline: Moment) -> Result<(), Error> {
        let mut revision = self.revision.subscribe();
        let reached = *revision.borrow_and_update();
        if reached >= wanted {
            return Ok(());
        }
        // The revision may be about other keys: then only a proof brings the mirror there.
        self.wanted.send_modify(|most| *most = wanted.max(*most));
        let left = deadline.since(self.clock.now());
        let wait = revision.wait_for(|reached| *reached >= wanted);
        match tokio::time::timeout(left, wait).await {
            Ok(Ok(_reached)) => Ok(()),
            Ok(Err(_closed)) => Err(Error::Stopping),
            Err(_elapsed) => Err(Error::NotReached {
                wanted: wanted.0,
                reached: self.revision().0,
            }),
        }
    }

    /// Waits until the mirror has everything that was written before this call.
    ///
    /// # Errors
    /// When etcd does not answer, or at the deadline.
    pub async fn refresh(&self, deadline: Moment) -> Result<(), Error> {
        let left = deadline.since(self.clock.now());
        let now = tokio::time::timeout(left, self.etcd.revision()).await;
        let now = now.map_err(|_elapsed| Error::Timeout { what: "a refresh" })??;
        self.wait_until(now, deadline).await
    }

    /// Lists, then watches, until something fails.
    async fn follow(&self, backoff: &mut Backoff) -> Result<Infallible, Error> {
        let asked = self.clock.now();
        let listing = self.etcd.list(&self.prefix).await?;
        let cluster = listing.cluster;
        let next = self.view.load().relisted(&self.prefix, listing);
        self.publish(next.map_err(Error::WentBack)?, Some(asked));
        let from = Revision(self.revision().0.saturating_add(1));
        let mut watch = self.etcd.watch(&self.prefix, from).await?;
        if watch.cluster() != cluster {
            return Err(watch.give_up("another cluster answers"));
        }
        let mut pulse = Pulse::new(self.clock.now());
        let mut wanted = self.wanted.subscribe();
        loop {
            let beat = pulse.next(self.clock.now());
            tokio::select! {
                news = watch.next() => {
                    self.take(news?, &mut pulse);
                    *backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
                },
                told = wanted.changed() => {
                    let wanted = *wanted.borrow_and_update();
                    if told.is_ok() && wanted > self.revision() {
                        pulse.hurry(wanted, self.clock.now());
                    }
                },
                () = tokio::time::sleep(beat.wait()) => match beat {
                    Beat::Wait(_) => {},
                    Beat::Ask => {
                        pulse.asked(self.clock.now());
                        watch.ask_progress().await?;
                    },
                    Beat::Dead => return Err(watch.give_up("no sign of life in time")),
                },
            }
        }
    }

    fn take(&self, news: WatchNews, pulse: &mut Pulse) {
        let view = self.view.load();
        match news {
            WatchNews::Events(events) => {
                pulse.heard();
                // Up to the last one and no further: the header may be ahead of what was sent.
                let last = events.last().map_or(Revision(0), |event| event.revision);
                self.publish(view.advanced(&self.prefix, events.into_iter(), last), None);
            },
            WatchNews::Progress(revision) => {
                let proven = pulse.answered();
                if revision > view.revision() {
                    let next = view.advanced(&self.prefix, [].into_iter(), revision);
                    self.publish(next, proven);
                } else {
                    self.prove(proven);
                }
            },
        }
        pulse.reached(self.revision());
    }

    fn publish(&self, (next, unreadable): (View<T>, u64), proven: Option<Moment>) {
        if unreadable > 0 {
            self.unreadable.fetch_add(unreadable, Ordering::Relaxed);
            tracing::error!(
                prefix = self.prefix,
                unreadable,
                "etcd holds values that do not parse"
            );
        }
        let revision = next.revision();
        self.view.store(Arc::new(next));
        self.prove(proven);
        // After the view: who is told a revision finds it there.
        self.revision.send_replace(revision);
    }

    /// It follows etcd; `proven`: when it was certainly as new.
    fn prove(&self, proven: Option<Moment>) {
        let mut health = self.lock();
        health.proven = health.proven.max(proven);
        let before = std::mem::replace(&mut health.condition, Condition::Following);
        health.told = false;
        drop(health);
        if before != Condition::Following {
            tracing::debug!(prefix = self.prefix, "mirror follows etcd");
        }
    }

    fn note_failure(&self, error: &Error) {
        let condition = if matches!(error, Error::WentBack(_)) {
            Condition::Refused
        } else if self.condition() == Condition::Starting {
            Condition::Starting
        } else {
            Condition::Cut
        };
        let mut health = self.lock();
        let before = std::mem::replace(&mut health.condition, condition);
        let told = std::mem::replace(&mut health.told, true) && before == condition;
        drop(health);
        let (prefix, error) = (&self.prefix, chain(error));
        if told {
            tracing::debug!(prefix, error, "mirror still does not follow etcd");
        } else if condition == Condition::Refused {
            tracing::error!(prefix, error, "mirror refuses what etcd shows");
        } else if condition == Condition::Starting {
            tracing::warn!(prefix, error, "mirror has read nothing yet");
        } else {
            tracing::warn!(prefix, error, "mirror lists again");
        }
    }
}

impl<T> Mirror<T> {
    fn health(&self) -> Health {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Health> {
        // Plain values: a panic elsewhere cannot leave them half written.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run<T>(mirror: Arc<Mirror<T>>, entropy: Arc<Entropy>, tasks: Tasks)
where
    T: DeserializeOwned + PartialEq + Send + Sync + std::fmt::Debug + 'static,
{
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    while !tasks.is_stopping() {
        let Err(error) = tokio::select! {
            followed = mirror.follow(&mut backoff) => followed,
            () = tasks.stopping() => return,
        };
        mirror.note_failure(&error);
        tokio::select! {
            () = tokio::time::sleep(backoff.next(&entropy)) => {},
            () = tasks.stopping() => return,
        }
    }
}
