//! The shards of a worker: where they lie, which are open, and what may be done with them.
//!
//! Every shard is opened once at the start, so that it is known how it is; the ones longest unused are
//! closed when more are open than the bound allows, and opened again when they are asked for. A shard
//! whose record names this worker but whose data is not on
//! its disk is `missing`: it is reported and never made anew, since an empty shard in its place would
//! be a loss that nobody sees.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fs_err as fs;

use super::hosted::Hosted;
use super::live::Turns;
use super::{Error, Parts, reports};
use crate::clock::{Clock, Moment};
use crate::coordination::keys;
use crate::coordination::mirror::Mirror;
use crate::coordination::records::{CollectionRecord, ShardRecord, Tombstone};
use crate::entropy::Entropy;
use crate::fault::{Fault, chain};
use crate::ids::{CollectionId, Epoch, NodeId, Revision, ShardId, Slot, Term};
use crate::query::PointInput;
use crate::rpc::proto;
use crate::store::{self, Options, ShardIdentity};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::vector::Distance;

/// How long a request waits for this worker's mirror to reach what the sender has read.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// What a worker may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Shards that are open at the same time.
    pub open_max: usize,
    /// Searches and scans that run at the same time; more wait.
    pub searches_max: usize,
    /// Threads of an index build, which are nice.
    pub build_threads: usize,
    /// Options of each shard's store.
    pub store: Options,
}

/// What is known of one shard while the worker runs.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Open, closed, or being opened or closed by whoever holds the lock.
    pub(super) hosted: tokio::sync::Mutex<Option<Arc<Hosted>>>,
    /// Why it could not be opened last time.
    pub(super) problem: Mutex<Option<String>>,
    /// How it was when it was last looked at.
    pub(super) last: Mutex<Option<proto::ShardReport>>,
    /// When it was last used, on a counter of uses.
    used: AtomicU64,
}

impl Place {
    /// The shard, if it is open and nobody opens or closes it just now.
    pub(super) fn open(&self) -> Option<Arc<Hosted>> {
        self.hosted.try_lock().ok()?.clone()
    }
}

/// The shards of this worker.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) node: NodeId,
    pub(super) root: PathBuf,
    cluster_uid: uuid::Uuid,
    pub(super) collections: Arc<Mirror<CollectionRecord>>,
    pub(super) shards: Arc<Mirror<ShardRecord>>,
    pub(super) tombstones: Arc<Mirror<Tombstone>>,
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    pub(super) tasks: Tasks,
    pub(super) metrics: Metrics,
    pub(super) searches: Arc<tokio::sync::Semaphore>,
    /// When a search may be asked again.
    pub(super) sampling: Arc<Turns>,
    /// Held while the disk is measured.
    pub(super) measuring: Arc<tokio::sync::Semaphore>,
    places: Mutex<HashMap<ShardId, Arc<Place>>>,
    uses: AtomicU64,
    term: tokio::sync::Mutex<Term>,
}

impl Host {
    /// The shards in this folder. None is opened yet.
    pub(super) fn open(parts: Parts) -> Result<Self, Error> {
        let root = parts.data_dir.join("shards");
        fs::create_dir_all(&root)?;
        let trash = parts.data_dir.join("trash");
        if trash.try_exists()? {
            fs::remove_dir_all(&trash)?;
        }
        let term = read_term(&parts.data_dir)?;
        let host = Self {
            node: parts.node,
            root,
            cluster_uid: parts.cluster_uid,
            collections: parts.collections,
            shards: parts.shards,
            tombstones: parts.tombstones,
            searches: Arc::new(tokio::sync::Semaphore::new(parts.limits.searches_max)),
            limits: parts.limits,
            clock: parts.clock,
            entropy: parts.entropy,
            tasks: parts.tasks,
            metrics: parts.metrics,
            sampling: Arc::default(),
            measuring: Arc::new(tokio::sync::Semaphore::new(1)),
            places: Mutex::default(),
            uses: AtomicU64::new(0),
            term: tokio::sync::Mutex::new(term),
        };
        for shard in host.on_disk()? {
            host.place(shard);
        }
        Ok(host)
    }

    /// Opens every shard once, and tells of those that cannot be.
    pub(super) async fn open_all(self: Arc<Self>) {
        for (shard, _place) in self.all_places() {
            if self.tasks.is_stopping() {
                return;
            }
            match self.opened(shard).await {
                // Data without a record is kept and reported.
                Ok(_) | Err(Error::NotHere(_)) => {},
                Err(error) => {
                    let (code, error) = (error.code(), chain(&error));
                    tracing::error!(%shard, code, error, "a shard cannot be opened");
                },
            }
        }
    }

    /// The shard, open, when this worker is its primary at this epoch.
    pub(super) async fn primary(
        self: &Arc<Self>,
        shard: ShardId,
        asked: Epoch,
        revision: Revision,
    ) -> Result<Arc<Hosted>, Error> {
        if self.tasks.is_stopping() {
            return Err(Error::Stopping);
        }
        let key = keys::shard_suffix(shard);
        let lookup = || {
            self.shards
                .view()
                .get(&key)
                .map(|held| Arc::clone(&held.value))
        };
        let mut record = lookup();
        if record.as_ref().is_none_or(|record| record.epoch < asked) {
            let deadline = self.clock.now() + CATCH_UP_TIMEOUT;
            self.shards.wait_until(revision, deadline).await?;
            record = lookup();
        }
        let record = record.ok_or(Error::NotHere(shard))?;
        if record.epoch != asked {
            return Err(Error::Epoch {
                shard,
                known: record.epoch,
                asked,
            });
        }
        if record.primary != self.node {
            return Err(Error::NotHere(shard));
        }
        self.opened(shard).await
    }

    /// Refuses points that do not belong into a shard: a router with half a map must not put them
    /// where nobody looks for them.
    pub(super) fn check_slots(&self, shard: ShardId, points: &[PointInput]) -> Result<(), Error> {
        let shards = self.shards.view();
        let record = shards.get(&keys::shard_suffix(shard));
        let record = record.ok_or(Error::NotHere(shard))?;
        let holds = |slot: Slot| record.value.slots.iter().any(|range| range.contains(slot));
        match points.iter().find(|point| !holds(point.id.slot())) {
            None => Ok(()),
            Some(point) => Err(Error::Invalid(format!(
                "point {} does not belong into shard {shard}",
                point.id
            ))),
        }
    }

    /// The shard, opened if it is not. Goes on when the caller does not wait: half an opening would
    /// leave the shard locked.
    pub(super) async fn opened(self: &Arc<Self>, shard: ShardId) -> Result<Arc<Hosted>, Error> {
        if let Some(place) = self.known_place(shard)
            && let Ok(hosted) = place.hosted.try_lock()
            && let Some(hosted) = &*hosted
        {
            self.use_of(&place);
            return Ok(Arc::clone(hosted));
        }
        let host = Arc::clone(self);
        let opening = self
            .tasks
            .spawn("shard-open", async move { host.open_place(shard).await });
        opening.await.map_err(|_panicked| Error::Broken)?
    }

    fn use_of(&self, place: &Place) {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        place.used.store(now, Ordering::Relaxed);
    }

    async fn open_place(&self, shard: ShardId) -> Result<Arc<Hosted>, Error> {
        if self.known_place(shard).is_none() && !self.folder(shard).try_exists()? {
            return Err(Error::Missing(shard));
        }
        let place = self.place(shard);
        self.use_of(&place);
        let mut hosted = place.hosted.lock().await;
        if let Some(hosted) = &*hosted {
            return Ok(Arc::clone(hosted));
        }
        let opened = self.open_shard(shard).await;
        let problem = opened.as_ref().err().map(|error| chain(error));
        *place.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        let opened = opened?;
        *hosted = Some(Arc::clone(&opened));
        drop(hosted);
        self.close_unused(shard).await;
        Ok(opened)
    }

    async fn open_shard(&self, shard: ShardId) -> Result<Arc<Hosted>, Error> {
        let key = shard.collection.to_string();
        let collection = self
            .collections
            .view()
            .get(&key)
            .map(|held| Arc::clone(&held.value));
        let collection = collection.ok_or(Error::NotHere(shard))?;
        let folder = self.folder(shard);
        let identity = self.identity(shard, collection.dimensions, collection.distance);
        let options = self.limits.store.clone();
        let opening = move || Hosted::open(&folder, &identity, options, &collection);
        self.tasks
            .spawn_blocking(opening)
            .await
            .map_err(|_panicked| Error::Broken)?
            .map(Arc::new)
            .map_err(|error| {
                if matches!(error, Error::Store(store::Error::Missing(_))) {
                    return Error::Missing(shard);
                }
                error
            })
    }

    /// Closes the shards longest unused while too many are open. `but` stays.
    async fn close_unused(&self, but: ShardId) {
        let mut open: Vec<(u64, ShardId, Arc<Place>)> = self
            .all_places()
            .into_iter()
            .filter(|(shard, place)| {
                *shard != but && place.hosted.try_lock().is_ok_and(|hosted| hosted.is_some())
            })
            .map(|(shard, place)| (place.used.load(Ordering::Relaxed), shard, place))
            .collect();
        let Some(surplus) = (open.len() + 1).checked_sub(self.limits.open_max) else {
            return;
        };
        open.sort_by_key(|(used, _, _)| *used);
        for (_used, shard, place) in open.into_iter().take(surplus) {
            // One that is in use now is left alone: the bound is reached a little later.
            let Ok(mut hosted) = place.hosted.try_lock() else {
                continue;
            };
            if hosted
                .as_ref()
                .is_some_and(|hosted| Arc::strong_count(hosted) == 1)
                && let Some(last) = hosted.take().and_then(Arc::into_inner)
            {
                reports::remember(shard, &place, &last);
                self.close(last).await;
            }
        }
    }

    async fn close(&self, hosted: Hosted) {
        if self
            .tasks
            .spawn_blocking(move || hosted.close())
            .await
            .is_err()
        {
            tracing::error!("closing a shard broke off");
        }
    }

    /// Closes every shard: the last thing a stopping worker does with them.
    pub(super) async fn close_all(&self) {
        for (_shard, place) in self.all_places() {
            let hosted = place.hosted.lock().await.take();
            if let Some(hosted) = &hosted {
                hosted.cancel();
            }
            if let Some(last) = hosted.and_then(Arc::into_inner) {
                self.close(last).await;
            }
        }
    }

    /// Makes an empty shard, durably, for the leader of this term.
    pub(super) async fn create(
        &self,
        shard: ShardId,
        asked: Term,
        dimensions: usize,
        distance: Distance,
    ) -> Result<(), Error> {
        self.accept_term(asked).await?;
        let place = self.place(shard);
        let _alone = place.hosted.lock().await;
        let folder = self.folder(shard);
        let identity = self.identity(shard, dimensions, distance);
        let (life, options) = (self.entropy.uuid(), self.limits.store.clone());
        let making = move || Hosted::create(&folder, &identity, life, options);
        let made = self.tasks.spawn_blocking(making).await;
        made.map_err(|_panicked| Error::Broken)??;
        // It is whole and empty: nobody has to ask it before that is known.
        reports::is_empty(shard, &place);
        Ok(())
    }

    /// Refuses a lower term than the highest seen, and remembers a higher one durably first.
    async fn accept_term(&self, asked: Term) -> Result<(), Error> {
        let mut known = self.term.lock().await;
        if asked < *known {
            return Err(Error::Term {
                known: *known,
                asked,
            });
        }
        if asked > *known {
            let Some(data_dir) = self.root.parent().map(Path::to_owned) else {
                return Err(Error::Broken);
            };
            let writing = move || write_term(&data_dir, asked);
            self.tasks
                .spawn_blocking(writing)
                .await
                .map_err(|_panicked| Error::Broken)??;
            *known = asked;
        }
        Ok(())
    }

    /// Deletes what a tombstone says is gone, closed and moved aside first.
    pub(super) async fn bury(&self, collection: CollectionId) -> Result<(), Error> {
        for (shard, place) in self.all_places() {
            if shard.collection != collection {
                continue;
            }
            let mut hosted = place.hosted.lock().await;
            match hosted.take().map(Arc::try_unwrap) {
                None => {},
                Some(Ok(last)) => self.close(last).await,
                // Requests still use it, or a build, which is told to end: the next round finds it free.
                Some(Err(used)) => {
                    used.cancel();
                    *hosted = Some(used);
                    return Ok(());
                },
            }
        }
        let folder = self.root.join(collection.to_string());
        if folder.try_exists()? {
            let Some(data_dir) = self.root.parent() else {
                return Err(Error::Broken);
            };
            let trash = data_dir.join("trash");
            fs::create_dir_all(&trash)?;
            let aside = trash.join(collection.to_string());
            fs::rename(&folder, &aside)?;
            sync_folder(&self.root)?;
            self.tasks
                .spawn_blocking(move || fs::remove_dir_all(aside))
                .await
                .map_err(|_panicked| Error::Broken)??;
            tracing::info!(%collection, "data of a deleted collection removed");
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|shard, _place| shard.collection != collection);
        Ok(())
    }

    pub(super) fn all_places(&self) -> Vec<(ShardId, Arc<Place>)> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places
            .iter()
            .map(|(shard, place)| (*shard, Arc::clone(place)))
            .collect()
    }

    pub(super) fn known_place(&self, shard: ShardId) -> Option<Arc<Place>> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.get(&shard).cloned()
    }

    fn place(&self, shard: ShardId) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(shard).or_default())
    }

    pub(super) fn folder(&self, shard: ShardId) -> PathBuf {
        self.root
            .join(shard.collection.to_string())
            .join(shard.number.to_string())
    }

    fn identity(&self, shard: ShardId, dimensions: usize, distance: Distance) -> ShardIdentity {
        ShardIdentity {
            cluster: self.cluster_uid,
            shard,
            dimensions,
            distance,
        }
    }

    /// The shards whose folders are there. Folders that are none are passed over and reported.
    fn on_disk(&self) -> Result<Vec<ShardId>, Error> {
        let mut found = Vec::new();
        for collection in fs::read_dir(&self.root)? {
            let collection = collection?;
            let Ok(id) = collection
                .file_name()
                .to_string_lossy()
                .parse::<CollectionId>()
            else {
                tracing::warn!(path = %collection.path().display(), "unknown folder left alone");
                continue;
            };
            for shard in fs::read_dir(collection.path())? {
                if let Ok(number) = shard?.file_name().to_string_lossy().parse::<u16>() {
                    found.push(ShardId {
                        collection: id,
                        number,
                    });
                }
            }
        }
        Ok(found)
    }

    /// When a request that names no deadline ends.
    pub(super) fn deadline<T>(&self, request: &crate::rpc::Request<T>) -> Moment {
        let otherwise = crate::limits::REQUEST_TIMEOUT_DEFAULT;
        self.clock.now() + crate::rpc::server::timeout(request, otherwise)
    }
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    Ok(fs::File::open(folder)?.sync_all()?)
}

fn read_term(data_dir: &Path) -> Result<Term, Error> {
    let path = data_dir.join("term");
    if !path.try_exists()? {
        return Ok(Term(0));
    }
    let text = fs::read_to_string(&path)?;
    text.trim().parse().map(Term).map_err(|_digits| {
        Error::Files(std::io::Error::other(format!(
            "{} holds no term",
            path.display()
        )))
    })
}

fn write_term(data_dir: &Path, term: Term) -> Result<(), Error> {
    let (draft, path) = (data_dir.join("term.tmp"), data_dir.join("term"));
    fs::write(&draft, term.to_string())?;
    fs::File::open(&draft)?.sync_all()?;
    fs::rename(&draft, &path)?;
    sync_folder(data_dir)
}
