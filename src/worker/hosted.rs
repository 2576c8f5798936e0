//! One open shard: its store, and the index segment built beside it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use uuid::Uuid;

use super::Error;
use crate::clock::{Clock, Moment};
use crate::coordination::records::CollectionRecord;
use crate::fault::chain;
use crate::ids::Epoch;
use crate::index::due::{Built, Shard as Facts, Wish};
use crate::index::{self, ArroyParameters, GraphParameters, Identity, Kind, Open, Recipe};
use crate::query::index::Wanted;
use crate::query::{IndexChoice, Operation};
use crate::store::{self, ShardIdentity};

/// How often a build that takes long says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// What the index of a shard is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum IndexState {
    /// Nothing is due.
    #[default]
    Idle,
    /// A build runs: how far it is.
    Building(String),
    /// The last build failed: why. It is tried again later.
    Failed(String),
}

impl IndexState {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Building(_) => "building",
            Self::Failed(_) => "failed",
        }
    }

    pub(super) fn note(&self) -> &str {
        match self {
            Self::Idle => "",
            Self::Building(note) | Self::Failed(note) => note,
        }
    }
}

/// An open shard.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) store: store::Shard,
    pub(super) wish: Wish,
    folder: PathBuf,
    identity: Identity,
    segment: RwLock<Option<Open>>,
    state: Mutex<IndexState>,
    written: Mutex<Moment>,
    clock: Arc<dyn Clock>,
    closing: AtomicBool,
    /// The segment that was read whole.
    verified: Mutex<Option<String>>,
}

impl Hosted {
    /// Makes an empty shard in this folder.
    ///
    /// # Errors
    /// [`Error`], among them that there is one already.
    pub(super) fn create(
        folder: &Path,
        identity: &ShardIdentity,
        life: Uuid,
        options: store::Options,
    ) -> Result<(), Error> {
        let store = store::Shard::create(&folder.join("store"), identity, life, options)?;
        store.close();
        Ok(())
    }

    /// Opens the shard in this folder. Costs the same for few and many points.
    ///
    /// # Errors
    /// [`Error`], among them that it is missing or another's.
    pub(super) fn open(
        folder: &Path,
        identity: &ShardIdentity,
        options: store::Options,
        collection: &CollectionRecord,
    ) -> Result<Self, Error> {
        let clock = Arc::clone(&options.clock);
        let store = store::Shard::open(&folder.join("store"), identity, options)?;
        let folder = folder.join("index");
        let identity = Identity {
            store: store.life(),
            dimensions: identity.dimensions,
            distance: identity.distance,
        };
        let found = index::open_dir(&folder, &identity)?;
        for bad in &found.quarantined {
            let error = chain(&bad.error);
            tracing::error!(segment = bad.name, error, "an index segment does not check");
        }
        let hosted = Self {
            store,
            wish: wish(collection),
            folder,
            identity,
            segment: RwLock::new(found.open),
            state: Mutex::default(),
            written: Mutex::new(clock.now()),
            clock,
            closing: AtomicBool::new(false),
            verified: Mutex::default(),
        };
        hosted.release_rows();
        Ok(hosted)
    }

    /// Applies one operation, durably before the answer.
    ///
    /// # Errors
    /// Those of the store; nothing was applied unless the kind says that it is unknown.
    pub(super) async fn write(
        &self,
        epoch: Epoch,
        operation: Operation,
        deadline: Moment,
    ) -> Result<store::Written, Error> {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.now();
        Ok(self.store.write(epoch, operation, deadline).await?)
    }

    /// The segment to search, if one is built.
    pub(super) fn segment(&self) -> Option<Open> {
        self.segment
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The build that is to start now, and why.
    pub(super) fn due(&self) -> Option<(Recipe, index::due::Reason)> {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let quiet = self.clock.now().since(written);
        // A build would keep the map from growing.
        let now = !self.store.wants_room();
        now.then(|| self.due_when(quiet)).flatten()
    }

    /// Whether a build is wanted, though it may wait for a quiet moment.
    pub(super) fn wants_build(&self) -> bool {
        self.due_when(index::due::QUIET).is_some()
    }

    fn due_when(&self, quiet: Duration) -> Option<(Recipe, index::due::Reason)> {
        let live = self.store.live();
        let segment = self.segment();
        let built = segment.as_ref().map(|open| Built {
            recipe: &open.manifest.recipe,
            covered: open.segment.covered().len(),
            covered_live: open.segment.covered().intersection_len(&live),
        });
        let facts = Facts {
            dimensions: self.identity.dimensions,
            live: live.len(),
            built,
            quiet,
        };
        index::due::due(&facts, &self.wish)
    }

    /// Builds a segment and takes it into use. Blocks its thread for as long as that takes.
    ///
    /// # Errors
    /// Those of the build; the segment in use stays.
    pub(super) fn build(&self, recipe: &Recipe, stop: index::Stop<'_>) -> Result<(), Error> {
        // No freed row may be used again while the build looks at its snapshot.
        self.store.reuse_rows(None);
        let built = self.build_now(recipe, stop);
        if built.is_ok() {
            self.remove_others();
        }
        self.release_rows();
        built
    }

    /// Removes segments that lie beside the one in use.
    fn remove_others(&self) {
        for name in self.others() {
            if let Err(error) = index::retire(&self.folder, &name) {
                let error = chain(&error);
                tracing::warn!(segment = name, error, "an old index segment stays");
            }
        }
    }

    /// The segments that lie beside the one in use.
    fn others(&self) -> Vec<String> {
        let used = self.segment().map(|open| open.name());
        let mut names = index::standing(&self.folder).unwrap_or_default();
        names.retain(|name| used.as_ref() != Some(name));
        names
    }

    /// Reads the segment in use whole and takes it out of use when it is not what was written. Once
    /// for each segment; blocks its thread.
    pub(super) fn verify(&self, stop: index::Stop<'_>) {
        let Some(open) = self.segment() else {
            return;
        };
        let stop = || stop() || self.closing.load(Ordering::Relaxed);
        match open.verify(&stop) {
            Ok(()) => {
                tracing::debug!(
                    segment = open.name(),
                    "an index segment is as it was written"
                );
            },
            Err(index::Error::Stopped) => return,
            Err(error @ index::Error::Corrupt { .. }) => {
                self.quarantine(open.segment.sequence(), &error);
            },
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    segment = open.name(),
                    error,
                    "an index segment was not verified"
                );
            },
        }
        *self.verified.lock().unwrap_or_else(PoisonError::into_inner) = Some(open.name());
    }

    /// Whether the segment in use is still to be read whole.
    pub(super) fn wants_verification(&self) -> bool {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        self.segment()
            .is_some_and(|open| verified.as_ref() != Some(&open.name()))
    }

    fn build_now(&self, recipe: &Recipe, stop: index::Stop<'_>) -> Result<(), Error> {
        let snapshot = self.store.snapshot()?;
        let stop = || stop() || self.closing.load(Ordering::Relaxed) || self.store.wants_room();
        let told = Mutex::new(self.clock.now());
        let job = index::Job {
            rows: &snapshot,
            recipe,
            store: self.identity.store,
            sequence: snapshot.sequence().0,
            threads: 1,
            clock: self.clock.as_ref(),
            stop: &stop,
            progress: &|progress| {
                let step = format!("{:?} {} of {}", progress.step, progress.done, progress.of);
                let (step, now) = (step.to_lowercase(), self.clock.now());
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                if now.since(*told) >= PROGRESS_INTERVAL {
                    *told = now;
                    tracing::info!(step, "an index is being built");
                }
                self.set_index_state(IndexState::Building(step));
            },
        };
        let open = index::build(&self.folder, &job)?;
        let mut segment = self.segment.write().unwrap_or_else(PoisonError::into_inner);
        drop(segment.replace(open));
        Ok(())
    }

    /// Takes a segment out of use that failed a search.
    pub(super) fn quarantine(&self, sequence: u64, error: &index::Error) {
        let mut segment = self.segment.write().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = segment.take_if(|open| open.segment.sequence() == sequence) else {
            return;
        };
        tracing::error!(
            segment = open.name(),
            error = chain(error),
            "an index segment failed"
        );
        if let Err(error) = index::quarantine(&self.folder, &open.name()) {
            tracing::warn!(
                error = chain(&error),
                "a failed index segment stays on the disk"
            );
        }
    }

    /// Lets rows be used again that no segment covers. While one lies there that is not in use (it
    /// could not be opened, or its publishing broke off), nobody knows which rows it covers: a later
    /// start may open it, and must not find other points in them.
    fn release_rows(&self) {
        if !self.others().is_empty() {
            self.store.reuse_rows(None);
            return;
        }
        let covered = self.segment().map(|open| open.segment.covered().clone());
        self.store.reuse_rows(Some(&covered.unwrap_or_default()));
    }

    /// The kind that answers, and how many points it covers.
    pub(super) fn index_kind(&self) -> (Kind, u64) {
        let Some(open) = self.segment() else {
            return (Kind::Flat, 0);
        };
        let covered = open.segment.covered();
        let covered = covered.intersection_len(&self.store.live());
        (open.segment.kind(), covered)
    }

    pub(super) fn index_state(&self) -> IndexState {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn set_index_state(&self, state: IndexState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Tells a build that runs to end soon.
    pub(super) fn cancel(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Ends what uses the shard and frees its mapping.
    pub(super) fn close(self) {
        if !self.store.close() {
            tracing::warn!("a shard is still being read while it is closed");
        }
    }
}

/// What a collection asks for. Masters refuse what cannot be obeyed, so a record with that was made
/// by another version of the program: then this one chooses.
fn wish(collection: &CollectionRecord) -> Wish {
    let choice = IndexChoice {
        algorithm: collection.index.algorithm.clone(),
        parameters: collection.index.parameters.clone(),
    };
    match choice.wanted() {
        Ok(Wanted::Automatic) => Wish::Automatic,
        Ok(Wanted::Flat) => Wish::Flat,
        Ok(Wanted::Trees(wanted)) => Wish::Built(Recipe::Arroy(ArroyParameters::of(wanted))),
        Ok(Wanted::Graph(wanted)) => Wish::Built(Recipe::Graph(GraphParameters::of(wanted))),
        Err(error) => {
            let (id, error) = (collection.id, error.to_string());
            tracing::warn!(collection = %id, error, "an index that is not known is asked for");
            Wish::Automatic
        },
    }
}
