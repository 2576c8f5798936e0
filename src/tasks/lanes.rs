//! Threads that each serve some connections, with all that follows from them.
//!
//! A runtime of several threads wakes another thread for nearly every step of a request, which costs
//! more than the step when there is little to do (`docs/performance.md`). So a connection belongs to one
//! thread, its lane, from its first byte to its last, and connections are spread over the lanes. What
//! serves nobody in particular stays on the process's own runtime, and is not held up by a lane that is
//! busy.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Threads of one runtime that wait for the disk: more than one shard's writes and builds keep busy at
/// once.
pub const BLOCKING_THREADS_MAX: usize = 64;
/// They end when they had nothing to do for so long, with their memory.
pub const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(2);

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the lane that this runs on, from 1; 0 elsewhere.
pub fn current() -> usize {
    NUMBER.get()
}

/// The lanes of a process; they end with the last clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes {
    lanes: Arc<[Lane]>,
    _end: Option<Arc<DropGuard>>,
}

#[derive(Debug)]
struct Lane {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

impl Lanes {
    /// Starts this many.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let mut lanes = Vec::with_capacity(count);
        for number in 1..=count {
            let runtime = Builder::new_current_thread()
                .max_blocking_threads(BLOCKING_THREADS_MAX)
                .thread_keep_alive(BLOCKING_KEEP_ALIVE)
                .enable_all()
                .build()?;
            lanes.push(Lane {
                handle: runtime.handle().clone(),
                connections: Arc::default(),
            });
            let end = end.clone();
            let (hand_over, taken) = std::sync::mpsc::sync_channel::<Runtime>(1);
            let run = move || {
                NUMBER.set(number);
                let Ok(runtime) = taken.recv() else { return };
                runtime.block_on(end.cancelled());
                runtime.shutdown_background();
            };
            let thread = std::thread::Builder::new().name(format!("lane-{number}"));
            // A runtime must not be dropped where another one runs.
            if let Err(error) = thread.spawn(run) {
                runtime.shutdown_background();
                return Err(error);
            }
            if let Err(returned) = hand_over.send(runtime) {
                returned.0.shutdown_background();
            }
        }
        Ok(Self {
            lanes: lanes.into(),
            _end: Some(Arc::new(end.drop_guard())),
        })
    }

    /// A place on each lane; on the runtime that this is called in, when there is none.
    pub(super) fn each(&self) -> Vec<Place> {
        if self.lanes.is_empty() {
            return vec![Place(None)];
        }
        let lanes = self.lanes.iter().enumerate();
        lanes
            .map(|(number, lane)| Place::on(number, lane))
            .collect()
    }

    /// A place on the lane that has the fewest.
    pub(super) fn freest(&self) -> Place {
        let lanes = self.lanes.iter().enumerate();
        let freest = lanes.min_by_key(|(_, lane)| lane.connections.load(Ordering::Relaxed));
        freest.map_or(Place(None), |(number, lane)| Place::on(number, lane))
    }
}

/// A place for a connection, on a lane; its lane is freer when it is dropped.
#[derive(Debug)]
pub struct Place(Option<Taken>);

#[derive(Debug)]
struct Taken {
    number: usize,
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

impl Place {
    fn on(number: usize, lane: &Lane) -> Self {
        lane.connections.fetch_add(1, Ordering::Relaxed);
        Self(Some(Taken {
            number,
            handle: lane.handle.clone(),
            connections: Arc::clone(&lane.connections),
        }))
    }

    /// Which of [`super::Tasks::places`] it is.
    pub fn number(&self) -> usize {
        self.0.as_ref().map_or(0, |taken| taken.number)
    }

    /// Where to spawn; `None`: wherever this is.
    pub(super) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(|taken| &taken.handle)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(taken) = &self.0 {
            taken.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tasks;
    use super::*;

    #[tokio::test]
    async fn connections_are_spread_and_each_stays_on_its_thread() {
        let tasks = Tasks::with_lanes(2).unwrap();
        let places = [tasks.place(), tasks.place(), tasks.place()];
        let numbers = places.each_ref().map(Place::number);
        assert_eq!(numbers, [0, 1, 0]);
        drop(places);
        let mut seen = Vec::new();
        for place in tasks.places() {
            let task = async {
                let first = current();
                tokio::task::yield_now().await;
                // What a connection spawns is served by its lane too.
                let tasks = Tasks::new();
                let below = tasks.spawn("below", async { current() }).await.unwrap();
                let blocking = tasks.spawn_blocking(current).await.unwrap();
                (first, below, blocking, current())
            };
            seen.push(tasks.spawn_at(&place, "connection", task).await.unwrap());
        }
        assert_eq!(seen, [(1, 1, 0, 1), (2, 2, 0, 2)]);
        assert_eq!(current(), 0);
        assert!(tasks.apart().place().number() < 2, "shared");
    }

    #[tokio::test]
    async fn without_lanes_everything_is_where_it_is() {
        let tasks = Tasks::new();
        let place = tasks.place();
        let here = tasks.spawn_at(&place, "connection", async { current() });
        assert_eq!((place.number(), here.await.unwrap()), (0, 0));
        assert_eq!(tasks.places().len(), 1);
    }
}
