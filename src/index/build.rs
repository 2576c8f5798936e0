//! Building a segment: from a snapshot of the rows to a folder that survives any crash.
//!
//! The work blocks its thread: run it by `Tasks::spawn_blocking`. It holds the snapshot all the
//! while. Trees need disk for about three times the vectors (in the temporary folder; the result is a
//! fraction of that), and memory that does not grow with the points but for a few bytes each; a graph
//! needs no more disk than its file, and memory in proportion to the points (its module says how much).
//! However it ends, by success, error, panic, stop or kill, the folder holds the segments that it
//! held before, and the new one only if it is whole.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use uuid::Uuid;

use super::manifest::Layout;
use super::set::Uncovered;
use super::{Error, Identity, Manifest, Open, Recipe, Segment, Stop, arroy, folder, graph};
use crate::clock::Clock;
use crate::rows::Rows;

/// The niceness of a build's threads: they have a tenth of a core's time where searches want all of it.
const NICE: i32 = 10;

/// What a build is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading the vectors.
    Reading,
    /// Building the structure: trees, for instance.
    Growing,
    /// Comparing its answers with the exact ones, to choose how hard searches look, and looking for each row.
    Measuring,
    /// Making it durable and giving it its name.
    Publishing,
}

/// How far a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is under way.
    pub step: Step,
    /// How much of it is done,
    pub done: u64,
    /// of how much.
    pub of: u64,
}

/// A build to be done.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The snapshot.
    pub rows: &'a dyn Rows,
    /// What to build.
    pub recipe: &'a Recipe,
    /// The life of the store; see [`Identity::store`].
    pub store: Uuid,
    /// The store's sequence number at the snapshot.
    pub sequence: u64,
    /// An index of the same store that this one replaces: some kinds start from it.
    pub before: Option<&'a dyn Segment>,
    /// A segment that stays: this one covers only what that one does not.
    pub beside: Option<&'a Open>,
    /// Threads that may compute at once, at least one.
    pub threads: usize,
    /// Where the duration is read.
    pub clock: &'a dyn Clock,
    /// When to give up. It is heard within about a tenth of a second on 100,000 points; on more, a
    /// single split of a tree takes in proportion longer.
    pub stop: Stop<'a>,
    /// Hears how far the build is.
    pub progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("recipe", &self.recipe)
            .field("store", &self.store)
            .field("sequence", &self.sequence)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Job<'_> {
    /// Says how far the build is.
    pub(super) fn report(&self, step: Step, done: u64, of: u64) {
        (self.progress)(Progress { step, done, of });
    }

    /// The threads that compute, to be built. Searches go before them: they are nice.
    pub(super) fn threads(&self) -> rayon::ThreadPoolBuilder {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads.max(1))
            .thread_name(|number| format!("index-build-{number}"))
            .start_handler(|_number| {
                // A build that is not nice is a build all the same.
                let thread = rustix::thread::gettid();
                let _refused = rustix::process::setpriority_process(Some(thread), NICE);
            })
    }

    /// An error when the build is to end.
    pub(super) fn go_on(&self) -> Result<(), Error> {
        if (self.stop)() {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }
}

/// Builds a segment over the live rows of the snapshot, or over those that [`Job::beside`] does not
/// cover. One build at a time in a folder.
///
/// # Errors
/// [`Error::Stopped`] when told to stop; else why it failed. Nothing is left of it in either case.
pub fn build(dir: &Path, job: &Job<'_>) -> Result<Open, Error> {
    fs_err::create_dir_all(dir)?;
    let building = folder::begin(dir, job.sequence)?;
    let uncovered = job
        .beside
        .map(|main| Uncovered::new(job.rows, main.segment.covered()));
    let rows: &dyn Rows = uncovered.as_ref().map_or(job.rows, |rows| rows);
    // Whatever a panic leaves half done is in the temporary folder, which goes.
    let filled = catch_unwind(AssertUnwindSafe(|| fill(&building, &Job { rows, ..*job })));
    let filled = filled.unwrap_or(Err(Error::Panicked {
        during: "the build",
    }));
    let published = filled.and_then(|manifest| {
        job.go_on()?;
        job.report(Step::Publishing, 0, 1);
        folder::publish(dir, &building, &manifest)
    });
    match published {
        Ok(path) => {
            job.report(Step::Publishing, 1, 1);
            let identity = Identity {
                store: job.store,
                dimensions: job.rows.dimensions(),
                distance: job.rows.distance(),
            };
            folder::open(&path, &identity)
        },
        Err(error) => {
            // The first error is the one to tell; what cannot be removed now goes at the next start.
            if let Err(left) = folder::remove_if_there(&building) {
                tracing::warn!(error = %crate::fault::chain(&left), "index build left a folder");
            }
            Err(error)
        },
    }
}

/// Writes all files but the manifest.
fn fill(building: &Path, job: &Job<'_>) -> Result<Manifest, Error> {
    let started = job.clock.now();
    let (covered, recall, layout, file) = match job.recipe {
        Recipe::Arroy(parameters) => {
            let grown = arroy::grow(building, job, parameters)?;
            (
                grown.covered,
                grown.recall,
                Layout::Arroy(grown.layout),
                grown.seal,
            )
        },
        Recipe::Graph(parameters) => {
            let grown = graph::grow(building, job, parameters)?;
            (
                grown.covered,
                grown.recall,
                Layout::Graph(grown.layout),
                grown.seal,
            )
        },
    };
    let seal = folder::write_covered(building, &covered)?;
    let build_ms = job.clock.now().since(started).as_millis();
    Ok(Manifest {
        format: job.recipe.format(),
        sequence: job.sequence,
        store: job.store,
        dimensions: job.rows.dimensions(),
        distance: job.rows.distance(),
        rows: covered.len(),
        recipe: job.recipe.clone(),
        beside: job.beside.map(Open::name),
        build_ms: u64::try_from(build_ms).unwrap_or(u64::MAX),
        recall,
        layout,
        files: vec![seal, file],
    })
}
