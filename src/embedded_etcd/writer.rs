//! One writer: takes the changes that wait, does them on a state of its own, syncs the log once,
//! shows the changes, and answers them all.
//!
//! When the log fails, every call is refused at once, with the reason, and an error says so. The
//! state of the writer is thrown away then, and the log is read back until that succeeds: what is
//! served from then on was written and synced again, and holds everything that was acknowledged. A
//! change that was refused may be in it, as after any lost answer.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::failure::Failure;
use super::history;
use super::persist::{self, Changes, Log, Opened};
use super::shared::{Shared, Size, Work};
use super::state::{Done, State};
use crate::fault::chain;
use crate::tasks::Tasks;

/// Changes that share one sync at the most.
const BATCH_LEN_MAX: usize = 256;
/// How often ended leases are looked for.
const LEASE_INTERVAL: Duration = Duration::from_millis(200);
/// How long a log that failed rests before it is read back.
const REOPEN_INTERVAL: Duration = Duration::from_secs(1);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// What lives.
    pub(super) quota_bytes: u64,
    /// Changes that share one sync, without the last of them.
    pub(super) batch_bytes: usize,
    /// History; what is older is compacted away.
    pub(super) history: history::Bounds,
    pub(super) disk: persist::Bounds,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            // A change of everything fits into one frame of the log.
            quota_bytes: 512 * 1024 * 1024,
            batch_bytes: 8 * 1024 * 1024,
            history: history::Bounds {
                revisions: 20_000,
                bytes: 64 * 1024 * 1024,
            },
            disk: persist::Bounds::default(),
        }
    }
}

/// The log and the state that it will give.
struct Writer {
    shared: Arc<Shared>,
    log: Log,
    state: State,
    bounds: Bounds,
}

/// Starts the writer.
pub(super) fn start(
    opened: Opened,
    (shared, works): (Arc<Shared>, mpsc::Receiver<Work>),
    bounds: Bounds,
    tasks: &Tasks,
) {
    let queue = Queue {
        shared: Arc::clone(&shared),
        works,
        folder: opened.log.folder().to_owned(),
        tasks: tasks.clone(),
        bounds,
    };
    tasks.spawn("etcd-writer", queue.run(opened));
    tasks.spawn("etcd-leases", expire(shared, tasks.clone()));
}

impl Writer {
    /// Does changes, as many as fit into one sync, and answers them.
    fn commit(&mut self, batch: &mut VecDeque<Work>) -> Result<(), persist::Error> {
        let (mut all, mut changes, mut answers) = (Vec::new(), Changes::default(), Vec::new());
        let bounds = self.bounds;
        let (surplus, _failed) = self
            .shared
            .look(|shown| shown.history.surplus(bounds.history));
        if let Some(revision) = surplus
            && self.state.kv.compact(revision).is_ok()
        {
            let done = Done {
                compacted: Some(revision),
                ..Done::default()
            };
            changes.push(&done);
            all.push(done);
        }
        while changes.bytes() <= bounds.batch_bytes
            && let Some(work) = batch.pop_front()
        {
            let is_full = work.grows && self.state.live_bytes() > bounds.quota_bytes;
            let state = if is_full {
                Err(Failure::NoSpace)
            } else {
                Ok(&mut self.state)
            };
            let (done, answer) = (work.run)(state);
            if !done.is_nothing() {
                changes.push(&done);
                all.push(done);
            }
            answers.push(answer);
        }
        let stored = self.log.append(&changes);
        let outcome = match &stored {
            Ok(()) => {
                self.shared.show(all, self.log.bytes());
                Ok(())
            },
            Err(error) => Err(fail(&self.shared, error)),
        };
        for answer in answers {
            answer(outcome.clone());
        }
        stored
    }

    /// Commits a whole batch, and writes the log anew when it is time.
    fn work(&mut self, mut batch: VecDeque<Work>) -> Result<(), VecDeque<Work>> {
        while !batch.is_empty() {
            if self.commit(&mut batch).is_err() {
                return Err(batch);
            }
        }
        if self.log.has_grown() {
            if let Err(error) = self.log.rewrite(&self.state) {
                fail(&self.shared, &error);
                return Err(batch);
            }
            self.shared.show(Vec::new(), self.log.bytes());
        }
        Ok(())
    }
}

/// Says why the log is not used any more, to everybody.
fn fail(shared: &Shared, error: &persist::Error) -> Failure {
    let reason: Arc<str> = format!("its log failed: {}", chain(error)).into();
    let (_nothing, before) = shared.look(|_shown| ());
    if before.as_ref() != Some(&reason) {
        tracing::error!(
            error = chain(error),
            "the embedded etcd's log failed: every call is refused until it is read back"
        );
    }
    shared.fail(Arc::clone(&reason));
    Failure::Storage(reason)
}

/// The changes that wait, and whoever does them.
struct Queue {
    shared: Arc<Shared>,
    works: mpsc::Receiver<Work>,
    folder: PathBuf,
    tasks: Tasks,
    bounds: Bounds,
}

impl Queue {
    async fn run(mut self, opened: Opened) {
        let mut writer = self.writer(opened);
        loop {
            let first = tokio::select! {
                work = self.works.recv() => work,
                () = self.tasks.stopping() => None,
            };
            let Some(first) = first else { return };
            let mut batch = VecDeque::from([first]);
            while batch.len() < BATCH_LEN_MAX
                && let Ok(work) = self.works.try_recv()
            {
                batch.push_back(work);
            }
            let turn = self.tasks.spawn_blocking(move || {
                let done = writer.work(batch);
                (writer, done)
            });
            writer = match turn.await {
                Ok((writer, Ok(()))) => writer,
                broken => {
                    if let Ok((_writer, Err(left))) = broken {
                        left.into_iter().for_each(|work| self.refuse(work));
                    } else {
                        let broke_off = std::io::Error::other("the writer broke off");
                        fail(&self.shared, &persist::Error::Files(broke_off));
                    }
                    match self.reopen().await {
                        Some(writer) => writer,
                        None => return,
                    }
                },
            };
        }
    }

    fn writer(&self, opened: Opened) -> Writer {
        Writer {
            shared: Arc::clone(&self.shared),
            log: opened.log,
            state: opened.state,
            bounds: self.bounds,
        }
    }

    /// Reads the log back until that succeeds, and refuses what comes meanwhile. `None`: it is time
    /// to stop.
    async fn reopen(&mut self) -> Option<Writer> {
        loop {
            self.refuse_until(tokio::time::sleep(REOPEN_INTERVAL))
                .await?;
            let (shared, bounds) = (Arc::clone(&self.shared), self.bounds.disk);
            let folder = self.folder.clone();
            let opening = self.tasks.spawn_blocking(move || {
                let opened = Log::read_back(&folder, shared.clock.now(), bounds)?;
                shared.check_nothing_is_lost(&opened)?;
                Ok(opened)
            });
            let opened: Result<Opened, persist::Error> = match self.refuse_until(opening).await? {
                Ok(opened) => opened,
                Err(_broke_off) => Err(std::io::Error::other("reading it back broke off").into()),
            };
            match opened {
                Ok(opened) => {
                    let revision = opened.state.kv.revision();
                    tracing::info!(
                        revision,
                        "the embedded etcd's log was read back: it serves again"
                    );
                    self.shared.show_again(&opened);
                    return Some(self.writer(opened));
                },
                Err(error) => {
                    fail(&self.shared, &error);
                },
            }
        }
    }

    /// Refuses the changes that come until something has happened. `None`: it is time to stop.
    async fn refuse_until<T>(&mut self, happens: impl Future<Output = T>) -> Option<T> {
        let mut happens = std::pin::pin!(happens);
        loop {
            tokio::select! {
                happened = &mut happens => return Some(happened),
                work = self.works.recv() => self.refuse(work?),
                () = self.tasks.stopping() => return None,
            }
        }
    }

    fn refuse(&self, work: Work) {
        let (_nothing, failed) = self.shared.look(|_shown| ());
        let failure = failed.map_or(Failure::Stopped, Failure::Storage);
        let (_nothing, answer) = (work.run)(Err(failure.clone()));
        answer(Err(failure));
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
        // While the log has failed none is ended; afterwards each starts anew.
        let ended = shared.read(|shown| Ok(shown.state.ended(now)));
        for id in ended.unwrap_or_default() {
            let asked = Arc::clone(&shared);
            let revoked = shared.change(Size::Shrinks, move |state| {
                // Renewed in between, or granted anew: then it lives.
                let granted = state.leases.get(&id).map(|lease| lease.deadline);
                if granted.is_none_or(|deadline| deadline > now) || !asked.has_ended(id) {
                    return Ok(((), Done::default()));
                }
                state.revoke(id).map(|done| ((), done))
            });
            match revoked.await {
                Ok(()) => {},
                Err(Failure::Stopped) => return,
                Err(failure) => {
                    tracing::debug!(id, ?failure, "a lease that ended is not revoked yet");
                    break;
                },
            }
        }
    }
}

#[cfg(test)]
mod tests;
