//! One open shard: its store, and the index segments built from it.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use roaring::RoaringBitmap;
use uuid::Uuid;

use super::Error;
use super::live::Live;
use super::own_fields::OwnFields;
use crate::clock::{Clock, Moment};
use crate::coordination::records::CollectionRecord;
use crate::fault::chain;
use crate::ids::Epoch;
use crate::index::due::{Built, Due, Extent, Shard as Facts, Wish};
use crate::index::{
    self, ArroyParameters, Coverage, GraphParameters, Identity, Kind, Manifest, Open, Recipe, Set,
};
use crate::query::index::Wanted;
use crate::query::{IndexChoice, Operation, SearchQuality};
use crate::store::{self, ShardIdentity};

/// How often a build that takes long says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How often a segment is read whole, so that a disk that forgets is found before a search finds it.
const VERIFY_INTERVAL: Duration = Duration::from_hours(24);

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

/// What searches of a commit are answered by.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) set: Set,
    /// Which of them answer for which of its live rows.
    pub(super) coverage: Coverage,
}

/// An open shard.
#[derive(Debug)]
pub(super) struct Hosted {
    pub(super) store: store::Shard,
    pub(super) wish: Wish,
    folder: PathBuf,
    identity: Identity,
    set: RwLock<Set>,
    /// What searches of the newest commit are answered by.
    serving: Mutex<Option<Arc<Serving>>>,
    state: Mutex<IndexState>,
    written: Mutex<Moment>,
    /// Since when a build is wanted, when one is.
    wanted: Mutex<Option<Moment>>,
    clock: Arc<dyn Clock>,
    closing: AtomicBool,
    /// What searches find of what is there.
    pub(super) live: Live,
    /// Payload indexes that nobody declared.
    pub(super) own_fields: OwnFields,
    /// The segments in use that were read whole, and when.
    verified: Mutex<BTreeMap<String, Moment>>,
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
            set: RwLock::new(found.set),
            serving: Mutex::default(),
            state: Mutex::default(),
            written: Mutex::new(clock.now()),
            wanted: Mutex::default(),
            clock,
            closing: AtomicBool::new(false),
            live: Live::default(),
            own_fields: OwnFields::default(),
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

    /// The segments to search.
    pub(super) fn segments(&self) -> Set {
        let set = self.set.read().unwrap_or_else(PoisonError::into_inner);
        set.clone()
    }

    /// The segments in use, and which of them answer for these live rows.
    pub(super) fn serving(&self, live: &Arc<RoaringBitmap>) -> Arc<Serving> {
        let mut known = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.coverage.is_of(live)) {
            return Arc::clone(known);
        }
        // While it is held, so that no older set is kept after a newer one.
        let set = self.segments();
        let coverage = Coverage::new(set.segments(), Arc::clone(live));
        let made = Arc::new(Serving { set, coverage });
        // A reader of an older commit does not have the others begin anew.
        let old = if Arc::ptr_eq(live, &self.store.live()) {
            known.replace(Arc::clone(&made))
        } else {
            None
        };
        drop(known);
        // The last that holds a segment gives back its mapping: not while others wait.
        drop(old);
        made
    }

    /// Changes the segments in use.
    fn change_set<T>(&self, change: impl FnOnce(&mut Set) -> T) -> T {
        let changed = change(&mut self.set.write().unwrap_or_else(PoisonError::into_inner));
        let mut known = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        let old = known.take();
        drop(known);
        drop(old);
        changed
    }

    /// The build that is to start now, and why.
    pub(super) fn due(&self) -> Option<Due> {
        let written = *self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        self.judge(|due_when| {
            let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_wanted = due_when(index::due::QUIET, Duration::ZERO).is_some();
            *wanted = is_wanted.then(|| wanted.unwrap_or(now));
            let waited = wanted.map_or(Duration::ZERO, |since| now.since(since));
            // A build would keep the map from growing.
            let due = due_when(now.since(written), waited);
            due.filter(|_due| !self.store.wants_room())
        })
    }

    /// Whether a build is wanted, though it may wait for a quiet moment.
    pub(super) fn wants_build(&self) -> bool {
        self.judge(|due_when| due_when(index::due::QUIET, Duration::ZERO).is_some())
    }

    /// Has somebody ask which build is due when the shard is quiet for so long, and waited for so long.
    fn judge<T>(&self, ask: impl FnOnce(&dyn Fn(Duration, Duration) -> Option<Due>) -> T) -> T {
        let live = self.store.live();
        let set = self.segments();
        let live_of = |open: &Open| open.segment.covered().intersection_len(&live);
        let built = set.main.as_ref().map(|open| Built {
            recipe: &open.manifest.recipe,
            covered: open.segment.covered().len(),
            covered_live: live_of(open),
            beside_live: set.side.as_ref().map_or(0, live_of),
        });
        ask(&|quiet, waited| {
            let facts = Facts {
                dimensions: self.identity.dimensions,
                live: live.len(),
                built,
                quiet,
                waited,
            };
            index::due::due(&facts, &self.wish)
        })
    }

    /// Builds a segment by this many threads and takes it into use. Blocks its thread for as long as
    /// that takes.
    ///
    /// # Errors
    /// Those of the build; the segment in use stays.
    pub(super) fn build(
        &self,
        due: &Due,
        threads: usize,
        stop: index::Stop<'_>,
    ) -> Result<(), Error> {
        // No freed row may be used again while the build looks at its snapshot.
        self.store.reuse_rows(None);
        let built = self.build_now(due, threads, stop);
        if built.is_ok() {
            self.remove_others();
        }
        self.release_rows();
        built
    }

    /// Removes segments that are not in use.
    fn remove_others(&self) {
        for name in self.others().unwrap_or_default() {
            if let Err(error) = index::retire(&self.folder, &name) {
                let error = chain(&error);
                tracing::warn!(segment = name, error, "an old index segment stays");
            }
        }
    }

    /// The segments that lie there and are not in use.
    fn others(&self) -> Result<Vec<String>, index::Error> {
        let used: Vec<String> = self.segments().each().map(Open::name).collect();
        let mut names = index::standing(&self.folder)?;
        names.retain(|name| !used.contains(name));
        Ok(names)
    }

    /// Reads a segment in use whole, one that was not read lately, and takes it out of use when it is
    /// not what was written. Blocks its thread.
    pub(super) fn verify(&self, stop: index::Stop<'_>) {
        let Some(open) = self.unverified() else {
            return;
        };
        let is_used = || {
            self.segments()
                .each()
                .any(|used| used.name() == open.name())
        };
        let stop = || stop() || self.is_closing() || !is_used();
        match open.verify(&stop) {
            Ok(()) => {
                tracing::debug!(
                    segment = open.name(),
                    "an index segment is as it was written"
                );
            },
            Err(index::Error::Stopped) => return,
            Err(error @ index::Error::Corrupt { .. }) => {
                self.quarantine(&open.name(), &error);
            },
            // A build may have replaced it meanwhile, and removed its files.
            Err(_) if !is_used() => return,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    segment = open.name(),
                    error,
                    "an index segment was not verified"
                );
            },
        }
        let used: Vec<String> = self.segments().each().map(Open::name).collect();
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        verified.retain(|name, _at| used.contains(name));
        verified.insert(open.name(), self.clock.now());
    }

    /// A segment in use that is to be read whole: it was not yet, or long ago.
    fn unverified(&self) -> Option<Open> {
        let verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |open: &&Open| {
            let at = verified.get(&open.name());
            at.is_some_and(|at| self.clock.now().since(*at) < VERIFY_INTERVAL)
        };
        self.segments().each().find(|open| !lately(open)).cloned()
    }

    /// Whether there is one.
    pub(super) fn wants_verification(&self) -> bool {
        self.unverified().is_some()
    }

    fn build_now(&self, due: &Due, threads: usize, stop: index::Stop<'_>) -> Result<(), Error> {
        let set = self.segments();
        let (before, beside) = match due.extent {
            Extent::All => (set.main.as_ref(), None),
            Extent::Beside => (set.side.as_ref(), set.main.as_ref()),
        };
        let snapshot = self.store.snapshot()?;
        let stop = || stop() || self.is_closing() || self.store.wants_room();
        let told = Mutex::new(self.clock.now());
        let job = index::Job {
            rows: &snapshot,
            recipe: &due.recipe,
            store: self.identity.store,
            sequence: snapshot.sequence().0,
            before: before.map(|open| open.segment.as_ref()),
            beside,
            threads,
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
        self.change_set(|set| *set = std::mem::take(set).with(open));
        Ok(())
    }

    /// Takes the segment of this name out of use, which failed a search.
    pub(super) fn quarantine(&self, name: &str, error: &index::Error) {
        // The folder goes with it: nobody sees the one without the other.
        self.change_set(|set| {
            let Some(open) = set.take(name) else {
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
        });
    }

    /// Lets rows be used again that no segment covers. While one lies there that is not in use (it
    /// could not be opened, or its publishing broke off), nobody knows which rows it covers: a later
    /// start may open it, and must not find other points in them.
    fn release_rows(&self) {
        if !self.others().is_ok_and(|others| others.is_empty()) {
            self.store.reuse_rows(None);
            return;
        }
        self.store.reuse_rows(Some(&self.segments().covered()));
    }

    /// Rows that every search scans, since no segment covers them.
    pub(super) fn uncovered(&self) -> u64 {
        self.serving(&self.store.live()).coverage.rest().len()
    }

    /// The kind that answers, and how many points it covers.
    pub(super) fn index_kind(&self) -> (Kind, u64) {
        let set = self.segments();
        let Some(main) = &set.main else {
            return (Kind::Flat, 0);
        };
        let live = self.store.live();
        let of = |open: &Open| open.segment.covered().intersection_len(&live);
        (main.segment.kind(), set.each().map(of).sum())
    }

    /// What the build of the main segment says of itself.
    pub(super) fn built(&self) -> Option<Arc<Manifest>> {
        self.segments().main.map(|open| open.manifest)
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

    /// Tells what works on the shard in the background to end soon.
    pub(super) fn cancel(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether it was told.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// What is known of how much searches find.
    pub(super) fn quality(&self) -> Option<SearchQuality> {
        self.live.quality(self.segments().main.as_ref()?)
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
