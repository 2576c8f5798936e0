//! Named tasks and one shutdown signal for each process.
//!
//! Every task is spawned here under a name, is told to stop by the same token, and is waited for at
//! the end with a bound. A task that panics is logged by its name; it does not take others along.

mod lanes;

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use lanes::Lanes;

pub use lanes::{BLOCKING_KEEP_ALIVE, BLOCKING_THREADS_MAX, Place, current as current_lane};

/// The tasks of one process or component. Cheap to clone; clones share everything.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    lanes: Lanes,
}

impl Tasks {
    /// No tasks yet, not stopping.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with threads of their own for connections.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn with_lanes(count: usize) -> io::Result<Self> {
        Ok(Self {
            lanes: Lanes::start(count)?,
            ..Self::default()
        })
    }

    /// Tasks that stop when these do, and that can be stopped alone.
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: self.stop.child_token(),
            lanes: self.lanes.clone(),
        }
    }

    /// Tasks that stop on their own, with the same threads for connections.
    pub fn apart(&self) -> Self {
        Self {
            lanes: self.lanes.clone(),
            ..Self::default()
        }
    }

    /// A place for a connection, on the thread that has the fewest.
    pub fn place(&self) -> Place {
        self.lanes.freest()
    }

    /// A place on each thread for connections, by number.
    pub fn places(&self) -> Vec<Place> {
        self.lanes.each()
    }

    /// Starts a task like [`Tasks::spawn`] on the thread of a place.
    pub fn spawn_at<F>(&self, place: &Place, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(handle) = place.handle() else {
            return self.spawn(name, task);
        };
        let span = tracing::debug_span!("task", name);
        handle.spawn(self.tracker.track_future(task.instrument(span)))
    }

    /// Starts a task under a name. It should end soon after [`Tasks::stopping`] completes.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let span = tracing::debug_span!("task", name);
        let run = self.tracker.track_future(task.instrument(span));
        #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
        tokio::spawn(run)
    }

    /// Starts work that blocks a thread. It is waited for as the other tasks are.
    pub fn spawn_blocking<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker.spawn_blocking(work)
    }

    /// Tells every task to stop. May be called more than once.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Whether [`Tasks::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Completes when the tasks are told to stop.
    pub fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.stop.clone().cancelled_owned()
    }

    /// Waits until every task has ended, at most `limit`. Says whether all did.
    pub async fn join(&self, limit: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
    }
}
