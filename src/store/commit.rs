//! Group commit: whoever finds the shard idle applies everything that waits, until nothing does.
//!
//! One operation that cannot be applied does not hurt those that share its transaction: the
//! transaction is made again without it. A writer that breaks off fails the shard, so that nobody
//! waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::apply::Batch;
use super::environment::Environment;
use super::payload_index::IndexKind;
use super::{Error, Written};
use crate::ids::Epoch;
use crate::query::Operation;

/// Works that share one transaction: bounds what a failed one makes wait again.
const BATCH_LEN_MAX: usize = 64;
/// How often a full map is grown for one batch.
const GROWTHS_MAX: usize = 8;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Work {
    /// A write.
    Apply { epoch: Epoch, operation: Operation },
    /// A step towards these payload indexes.
    Indexes { wanted: BTreeMap<String, IndexKind> },
}

#[derive(Debug)]
struct Job {
    work: Work,
    answer: oneshot::Sender<Result<Written, Error>>,
    /// Its place in the bounded queue.
    _place: OwnedSemaphorePermit,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Job>,
    running: bool,
    closed: bool,
}

/// The queue of a shard, and who works it off.
#[derive(Debug)]
pub(super) struct Writer {
    environment: Arc<Environment>,
    queue: Mutex<Queue>,
    idle: Condvar,
}

impl Writer {
    pub(super) fn new(environment: Arc<Environment>) -> Self {
        Self {
            environment,
            queue: Mutex::default(),
            idle: Condvar::new(),
        }
    }

    /// Queues a work; the answer comes when it is durable or refused.
    pub(super) fn submit(
        self: &Arc<Self>,
        work: Work,
        place: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Result<Written, Error>>, Error> {
        let (answer, receiver) = oneshot::channel();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return Err(Error::Closed);
        }
        queue.waiting.push_back(Job {
            work,
            answer,
            _place: place,
        });
        if !std::mem::replace(&mut queue.running, true) {
            let writer = Arc::clone(self);
            // Not waited for: it ends by itself when nothing waits, and `close` waits for that.
            drop(tokio::task::spawn_blocking(move || writer.drain()));
        }
        Ok(receiver)
    }

    /// Refuses further work and waits until what is queued is done.
    pub(super) fn close(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        while queue.running {
            queue = self
                .idle
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn drain(&self) {
        let mut watch = Watch {
            writer: self,
            done: false,
        };
        loop {
            let batch: Vec<Job> = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let len = queue.waiting.len().min(BATCH_LEN_MAX);
                if len == 0 {
                    watch.done = true;
                    queue.running = false;
                    self.idle.notify_all();
                    return;
                }
                queue.waiting.drain(..len).collect()
            };
            self.commit(batch);
        }
    }

    /// Applies the jobs in one transaction and answers each.
    fn commit(&self, mut jobs: Vec<Job>) {
        let mut growths = 0;
        while !jobs.is_empty() {
            let broken = match self.try_commit(&jobs) {
                Ok(results) => {
                    for (job, result) in jobs.into_iter().zip(results) {
                        // Who asked may have gone; the write stands.
                        let _gone = job.answer.send(result);
                    }
                    self.environment.grow_ahead();
                    return;
                },
                Err(broken) => broken,
            };
            if matches!(&broken.error, Error::Full(what) if what == "the map")
                && growths < GROWTHS_MAX
            {
                growths += 1;
                match self.environment.grow() {
                    Ok(()) => continue,
                    Err(error) => return refuse(jobs, &error),
                }
            }
            match broken.job {
                Some(at) if broken.is_of_one_job() && at < jobs.len() => {
                    let job = jobs.remove(at);
                    let _gone = job.answer.send(Err(broken.error));
                },
                _ => return refuse(jobs, &broken.error),
            }
        }
    }

    /// What became of each job, once all are durable; or why none was done.
    fn try_commit(&self, jobs: &[Job]) -> Result<Vec<Result<Written, Error>>, Broken> {
        if let Some(failure) = self.environment.failure() {
            return Err(Error::Failed(failure).into());
        }
        let txn = self.environment.write()?;
        let mut batch = Batch::new(&self.environment, txn);
        let mut results = Vec::with_capacity(jobs.len());
        for (at, job) in jobs.iter().enumerate() {
            let done = match &job.work {
                Work::Apply { epoch, operation } => match batch.check(*epoch, operation) {
                    Ok(()) => batch.apply(*epoch, operation),
                    Err(refused) => {
                        results.push(Err(refused));
                        continue;
                    },
                },
                Work::Indexes { wanted } => batch.step_indexes(wanted),
            };
            let done = done.map_err(|error| Broken {
                job: Some(at),
                error,
            })?;
            results.push(Ok(done));
        }
        // When every job was refused there is nothing to make durable.
        if results.iter().any(Result::is_ok) {
            batch.commit()?;
        }
        Ok(results)
    }
}

/// Why a transaction came to nothing.
struct Broken {
    /// The job that it broke at.
    job: Option<usize>,
    error: Error,
}

impl Broken {
    /// Whether the others would have gone well without it.
    fn is_of_one_job(&self) -> bool {
        matches!(self.error, Error::Corrupt(_) | Error::Invalid(_))
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self { job: None, error }
    }
}

fn refuse(jobs: Vec<Job>, error: &Error) {
    for job in jobs {
        let _gone = job.answer.send(Err(error.clone()));
    }
}

/// Fails the shard when its writer ends without being done: it has panicked.
struct Watch<'a> {
    writer: &'a Writer,
    done: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.writer.environment.fail("its writer broke off");
        let lock = self.writer.queue.lock();
        let mut queue = lock.unwrap_or_else(PoisonError::into_inner);
        queue.running = false;
        queue.closed = true;
        // Whoever waits for an answer learns that there is none.
        queue.waiting.clear();
        self.writer.idle.notify_all();
    }
}
