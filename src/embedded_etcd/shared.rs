//! What all parts of the server share: the state that readers see, and the queue of changes.
//!
//! Readers see what is on the disk and nothing else: the [writer](super::writer) has a state of its
//! own, which is ahead, and does its changes again here once they are synced. So the lock here is
//! held for work in memory only, and neither a read nor the renewal of a lease waits for the disk.
//! Both states share the values; keys and versions are there twice.
//!
//! Renewals are of this state alone: the writer asks it before it ends a lease.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{mpsc, oneshot, watch};

use super::failure::Failure;
use super::history::History;
use super::persist::{Error, Opened};
use super::state::{Done, State};
use crate::clock::Clock;

/// Changes that wait at the most; further ones wait before they are queued.
const QUEUE_LEN_MAX: usize = 1_024;

/// A change that waits.
pub(super) struct Work {
    /// Whether it may make what lives larger.
    pub(super) grows: bool,
    /// Changes the state; or, when it may not, answers why.
    pub(super) run: Run,
}

type Run = Box<dyn FnOnce(Result<&mut State, Failure>) -> (Done, Answer) + Send>;

/// Sends the answer, once the change is on the disk or is known to have failed.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// Whether a change may make what lives larger: then there must be room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Grows,
    Shrinks,
}

/// The state as readers see it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) state: State,
    pub(super) history: History,
    pub(super) log_bytes: u64,
    /// Why nothing is answered.
    failed: Option<Arc<str>>,
}

/// What all parts share.
#[derive(Debug)]
pub(super) struct Shared {
    shown: RwLock<Shown>,
    /// The newest revision on the disk, and `None` while the log has failed.
    pub(super) revision: watch::Sender<Option<i64>>,
    queue: mpsc::Sender<Work>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Shared {
    /// Shows what a log gave; the changes that will wait.
    pub(super) fn new(opened: &Opened, clock: Arc<dyn Clock>) -> (Arc<Self>, mpsc::Receiver<Work>) {
        let (queue, works) = mpsc::channel(QUEUE_LEN_MAX);
        let shown = Shown {
            state: opened.state.clone(),
            history: opened.history.clone(),
            log_bytes: opened.log.bytes(),
            failed: None,
        };
        let shared = Self {
            revision: watch::Sender::new(Some(shown.state.kv.revision())),
            shown: RwLock::new(shown),
            queue,
            clock,
        };
        (Arc::new(shared), works)
    }

    fn shown(&self) -> RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shown_mut(&self) -> RwLockWriteGuard<'_, Shown> {
        self.shown.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is on the disk.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Shown) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let shown = self.shown();
        match &shown.failed {
            Some(reason) => Err(Failure::Storage(Arc::clone(reason))),
            None => read(&shown),
        }
    }

    /// Reads what was on the disk last, and why nothing is answered now.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Shown) -> T) -> (T, Option<Arc<str>>) {
        let shown = self.shown();
        (look(&shown), shown.failed.clone())
    }

    /// Changes the state; answers when the change is on the disk.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        size: Size,
        change: impl FnOnce(&mut State) -> Result<(T, Done), Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.read(|_shown| Ok(()))?;
        let (sender, answer) = oneshot::channel();
        let run = move |state: Result<&mut State, Failure>| {
            let (done, result) = match state.and_then(change) {
                Ok((value, done)) => (done, Ok(value)),
                Err(failure) => (Done::default(), Err(failure)),
            };
            let answer: Answer = Box::new(move |stored| {
                // Whoever asked may have gone; the change stands.
                let _gone = sender.send(stored.and(result));
            });
            (done, answer)
        };
        let work = Work {
            grows: size == Size::Grows,
            run: Box::new(run),
        };
        self.queue
            .send(work)
            .await
            .map_err(|_closed| Failure::Stopped)?;
        answer.await.map_err(|_dropped| Failure::Stopped)?
    }

    /// Renews a lease. It is not logged: after a restart every lease starts anew.
    pub(super) fn renew(&self, id: i64) -> Result<Option<i64>, Failure> {
        let mut shown = self.shown_mut();
        match &shown.failed {
            Some(reason) => Err(Failure::Storage(Arc::clone(reason))),
            None => Ok(shown.state.renew(id, self.clock.now())),
        }
    }

    /// Whether a lease has ended, however far its revocation has got.
    pub(super) fn has_ended(&self, id: i64) -> bool {
        let now = self.clock.now();
        let shown = self.shown();
        let lease = shown.state.leases.get(&id);
        lease.is_none_or(|lease| lease.deadline <= now)
    }

    /// Shows changes that are on the disk.
    pub(super) fn show(&self, changes: Vec<Done>, log_bytes: u64) {
        let now = self.clock.now();
        let mut shown = self.shown_mut();
        for done in changes {
            let events = shown.state.replay(done, now);
            shown.history.push(events);
        }
        let compacted = shown.state.kv.compacted();
        shown.history.forget_before(compacted);
        shown.log_bytes = log_bytes;
        let revision = Some(shown.state.kv.revision());
        drop(shown);
        self.tell(revision);
    }

    /// Answers nothing any more, for this reason.
    pub(super) fn fail(&self, reason: Arc<str>) {
        self.shown_mut().failed = Some(reason);
        self.tell(None);
    }

    /// Whether what was read back from the disk holds everything that was shown.
    pub(super) fn check_nothing_is_lost(&self, opened: &Opened) -> Result<(), Error> {
        let acknowledged = self.shown().state.kv.revision();
        let found = opened.state.kv.revision();
        if found < acknowledged {
            return Err(Error::Lost {
                found,
                acknowledged,
            });
        }
        Ok(())
    }

    /// Shows what was read back from the disk, and answers again.
    pub(super) fn show_again(&self, opened: &Opened) {
        let again = Shown {
            state: opened.state.clone(),
            history: opened.history.clone(),
            log_bytes: opened.log.bytes(),
            failed: None,
        };
        let revision = Some(again.state.kv.revision());
        *self.shown_mut() = again;
        self.tell(revision);
    }

    fn tell(&self, revision: Option<i64>) {
        self.revision
            .send_if_modified(|known| std::mem::replace(known, revision) != revision);
    }
}
