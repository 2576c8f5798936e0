//! A prefix of etcd kept in memory, for reads that cost nothing and go on while etcd is away.
//!
//! A mirror lists its prefix at one revision and watches from the next. It applies whole revisions
//! only, asks for proof every few seconds that it has missed nothing, and on any doubt (a stream that
//! ends, history that was compacted, no proof in time) lists again and takes over the difference:
//! readers never see it empty in between. What it serves is a prefix of etcd's history, and
//! [`Mirror::age`] says how old the newest proof of that is.
//!
//! A value that does not parse leaves the last good one in its place and is counted. A list of an
//! older revision, or of another etcd cluster, is refused: the mirror then serves what it has.

mod view;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use super::{Error, Etcd, WatchEvent, WatchNews};
use crate::clock::{Clock, Moment};
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::ids::Revision;
use crate::resilience::backoff::Backoff;
use crate::tasks::Tasks;

pub use view::{Held, View};

/// How often a quiet watch is asked for proof that it lives.
const PROOF_INTERVAL: Duration = Duration::from_secs(5);
/// How long the proof may take.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a reader that waits for a revision asks again.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// Without proof for longer than this a mirror calls itself stale.
const STALE_AFTER: Duration = Duration::from_secs(10);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(2);

/// A prefix of etcd in memory.
#[derive(Debug)]
pub struct Mirror<T> {
    etcd: Etcd,
    prefix: String,
    clock: Arc<dyn Clock>,
    view: ArcSwap<View<T>>,
    revision: watch::Sender<Revision>,
    proven: Mutex<Option<Moment>>,
    ask: Notify,
    unreadable: AtomicU64,
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
            proven: Mutex::default(),
            ask: Notify::new(),
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
        let proven = *self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.map_or(Duration::MAX, |proven| self.clock.now().since(proven))
    }

    /// Whether the last proof is too old for what one should notice.
    pub fn is_stale(&self) -> bool {
        self.age() > STALE_AFTER
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
        loop {
            let reached = *revision.borrow_and_update();
            if reached >= wanted {
                return Ok(());
            }
            let left = deadline.since(self.clock.now());
            if left.is_zero() {
                return Err(Error::NotReached {
                    wanted: wanted.0,
                    reached: reached.0,
                });
            }
            // The revision may be about other keys: then only a proof brings the mirror there.
            self.ask.notify_one();
            let waited = tokio::time::timeout(left.min(ASK_INTERVAL), revision.changed()).await;
            if matches!(waited, Ok(Err(_))) {
                return Err(Error::Stopping);
            }
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

    /// Lists, then watches, until something fails or the tasks stop.
    async fn follow(&self, tasks: &Tasks) -> Result<(), Error> {
        let listing = self.etcd.list(&self.prefix).await?;
        let next = self.view.load().relisted(&self.prefix, listing);
        let next = match next {
            Ok(next) => next,
            Err(refused) => return Err(Error::WatchEnded(refused)),
        };
        self.publish(next);
        let from = Revision(self.revision().0 + 1);
        let mut watch = self.etcd.watch(&self.prefix, from).await?;
        let mut pending: Vec<WatchEvent> = Vec::new();
        let mut proof_due = self.clock.now() + PROOF_INTERVAL;
        let mut proof_asked: Option<Moment> = None;
        loop {
            let now = self.clock.now();
            if proof_asked.is_some_and(|asked| now.since(asked) >= PROOF_TIMEOUT) {
                return Err(Error::WatchEnded("no proof of life in time".to_owned()));
            }
            let wake = proof_asked.map_or(proof_due, |asked| asked + PROOF_TIMEOUT);
            let ask = tokio::select! {
                () = tasks.stopping() => return Ok(()),
                news = watch.next() => {
                    self.take(news?, &mut pending, &mut proof_asked);
                    proof_due = self.clock.now() + PROOF_INTERVAL;
                    false
                },
                () = self.ask.notified() => true,
                () = tokio::time::sleep(wake.since(now)) => proof_asked.is_none(),
            };
            if ask {
                watch.ask_progress().await?;
                proof_asked.get_or_insert(self.clock.now());
            }
        }
    }

    fn take(
        &self,
        news: WatchNews,
        pending: &mut Vec<WatchEvent>,
        proof_asked: &mut Option<Moment>,
    ) {
        match news {
            WatchNews::Created => self.prove(),
            WatchNews::Events {
                events,
                revision,
                more,
            } => {
                pending.extend(events);
                if !more {
                    // The header may be ahead of the events; only what was sent is known.
                    let last = pending.last().map_or(revision, |event| event.revision);
                    let next = self
                        .view
                        .load()
                        .advanced(&self.prefix, pending.drain(..), last);
                    self.publish(next);
                }
            },
            WatchNews::Progress(revision) => {
                *proof_asked = None;
                if pending.is_empty() && revision > self.revision() {
                    let next = self
                        .view
                        .load()
                        .advanced(&self.prefix, [].into_iter(), revision);
                    self.publish(next);
                } else {
                    self.prove();
                }
            },
        }
    }

    fn publish(&self, (next, unreadable): (View<T>, u64)) {
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
        self.prove();
        self.revision.send_replace(revision);
    }

    fn prove(&self) {
        let now = Some(self.clock.now());
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

async fn run<T>(mirror: Arc<Mirror<T>>, entropy: Arc<Entropy>, tasks: Tasks)
where
    T: DeserializeOwned + PartialEq + Send + Sync + std::fmt::Debug + 'static,
{
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
    loop {
        let began = mirror.revision();
        let followed = tokio::select! {
            followed = mirror.follow(&tasks) => followed,
            () = tasks.stopping() => return,
        };
        let Err(error) = followed else { return };
        tracing::warn!(
            prefix = mirror.prefix,
            error = chain(&error),
            "mirror lists again"
        );
        if mirror.revision() > began {
            backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next(&entropy)) => {},
            () = tasks.stopping() => return,
        }
    }
}
