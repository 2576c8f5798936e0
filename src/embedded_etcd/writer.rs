//! One writer: takes the changes that wait, applies them, syncs the log once, and answers them all.
//!
//! The state is locked from the first change to the end of the sync, so that no reader sees what is
//! not on the disk. When the disk fails, everything is refused from then on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::failure::Failure;
use super::persist::Log;
use super::state::{Done, State};
use crate::clock::Clock;
use crate::fault::chain;
use crate::tasks::Tasks;

/// Changes that wait at the most; further ones wait before they are queued.
const QUEUE_LEN_MAX: usize = 1_024;
/// Changes that share one sync at the most.
const BATCH_LEN_MAX: usize = 256;
/// Revisions of history that are kept; older ones are compacted away.
const HISTORY_REVISIONS_MAX: usize = 20_000;
/// How often ended leases are looked for.
const LEASE_INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of live state and log.
pub(super) const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// A change: what it answers, made while the state is locked.
type Work = Box<dyn FnOnce(&mut State) -> (Done, Answer) + Send>;
/// Sends the answer once the change is on the disk.
type Answer = Box<dyn FnOnce(bool) + Send>;

/// What all parts of the server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<Held>,
    /// The newest revision on the disk, and `None` once the disk has failed.
    pub(super) revision: watch::Sender<Option<i64>>,
    queue: mpsc::Sender<Work>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The state and its log.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) state: State,
    pub(super) log: Log,
    failed: bool,
}

impl Shared {
    /// Starts the writer.
    pub(super) fn start(log: Log, state: State, clock: Arc<dyn Clock>, tasks: &Tasks) -> Arc<Self> {
        let (queue, works) = mpsc::channel(QUEUE_LEN_MAX);
        let revision = watch::Sender::new(Some(state.kv.revision()));
        let state = Mutex::new(Held {
            state,
            log,
            failed: false,
        });
        let shared = Arc::new(Self {
            state,
            revision,
            queue,
            clock,
        });
        tasks.spawn(
            "etcd-writer",
            write(Arc::clone(&shared), works, tasks.clone()),
        );
        tasks.spawn("etcd-leases", expire(Arc::clone(&shared), tasks.clone()));
        shared
    }

    /// Reads the state.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&State) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if held.failed {
            Err(Failure::Storage)
        } else {
            read(&held.state)
        }
    }

    /// Changes the state; answers when the change is on the disk.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut State) -> Result<(T, Done), Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (sender, answer) = oneshot::channel();
        let work: Work = Box::new(move |state| {
            let (done, result) = match change(state) {
                Ok((value, done)) => (done, Ok(value)),
                Err(failure) => (Done::default(), Err(failure)),
            };
            let answer: Answer = Box::new(move |stored| {
                let result = if stored {
                    result
                } else {
                    Err(Failure::Storage)
                };
                // Whoever asked may have gone; the change stands.
                let _gone = sender.send(result);
            });
            (done, answer)
        });
        self.queue
            .send(work)
            .await
            .map_err(|_closed| Failure::Stopped)?;
        answer.await.map_err(|_dropped| Failure::Stopped)?
    }

    /// Renews a lease. It is not logged: after a restart every lease starts anew.
    pub(super) fn renew(&self, id: i64) -> Result<Option<i64>, Failure> {
        let now = self.clock.now();
        let mut held = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if held.failed {
            Err(Failure::Storage)
        } else {
            Ok(held.state.renew(id, now))
        }
    }
}

async fn write(shared: Arc<Shared>, mut works: mpsc::Receiver<Work>, tasks: Tasks) {
    loop {
        let first = tokio::select! {
            work = works.recv() => work,
            () = tasks.stopping() => None,
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        while batch.len() < BATCH_LEN_MAX
            && let Ok(work) = works.try_recv()
        {
            batch.push(work);
        }
        let shared = Arc::clone(&shared);
        if tasks
            .spawn_blocking(move || commit(&shared, batch))
            .await
            .is_err()
        {
            tracing::error!("the writer of the embedded etcd broke off");
            return;
        }
    }
}

fn commit(shared: &Shared, batch: Vec<Work>) {
    let mut held = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = Vec::with_capacity(batch.len());
    let mut answers = Vec::with_capacity(batch.len());
    if !held.failed {
        for work in batch {
            let (done, answer) = work(&mut held.state);
            if !done.is_nothing() {
                all.push(done);
            }
            answers.push(answer);
        }
        if let Some(oldest) = held.state.kv.oldest_of(HISTORY_REVISIONS_MAX)
            && held.state.kv.history_len() > HISTORY_REVISIONS_MAX + HISTORY_REVISIONS_MAX / 4
            && held.state.kv.compact(oldest).is_ok()
        {
            all.push(Done {
                compacted: Some(oldest),
                ..Done::default()
            });
        }
        let stored = held.log.append(all.iter());
        let stored = stored.and_then(|()| {
            if !held.log.has_grown() {
                return Ok(());
            }
            let Held { state, log, .. } = &mut *held;
            log.rewrite(state)
        });
        if let Err(error) = stored {
            tracing::error!(
                error = chain(&error),
                "the disk failed: nothing is stored any more"
            );
            held.failed = true;
        }
    }
    let stored = !held.failed;
    let revision = stored.then(|| held.state.kv.revision());
    drop(held);
    shared
        .revision
        .send_if_modified(|known| std::mem::replace(known, revision) != revision);
    for answer in answers {
        answer(stored);
    }
}

/// Ends leases whose time is over.
async fn expire(shared: Arc<Shared>, tasks: Tasks) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LEASE_INTERVAL) => {},
            () = tasks.stopping() => return,
        }
        let now = shared.clock.now();
        let Ok(ended) = shared.read(|state| Ok(state.ended(now))) else {
            return;
        };
        for id in ended {
            let revoked = shared.change(move |state| {
                // Renewed in between: then it lives.
                if state
                    .leases
                    .get(&id)
                    .is_none_or(|lease| lease.deadline > now)
                {
                    return Ok(((), Done::default()));
                }
                state.revoke(id).map(|done| ((), done))
            });
            if revoked.await.is_err() {
                return;
            }
        }
    }
}
