//! The LMDB environment of a shard: made, opened, grown; and the frames that readers take.
//!
//! The map is reserved large from the start (address space costs nothing; the file grows with its
//! data), so that growing, which has to wait for every reader, is rare. It grows ahead, when three
//! quarters are used; while it waits it says so, and readers that take long (an index build) end. LMDB's
//! safe settings are never changed: no writable map, no missing sync.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fs_err as fs;
use heed::{Env, EnvOpenOptions, RoTxn, RwTxn, WithoutTls};
use roaring::RoaringBitmap;
use uuid::Uuid;

use super::gate::{Gate, Ticket};
use super::layout::{Blocks, FORMAT, TABLES, Tables, read_chunks};
use super::payload_index::Fields;
use super::places::Places;
use super::{Error, Options, ShardIdentity};
use crate::ids::{Epoch, Sequence};
use crate::rows::Row;

const READERS_MAX: u32 = 1_024;
/// How long growing ahead keeps readers out, at the most: the next commit tries again.
const GROW_AHEAD_TIMEOUT: Duration = Duration::from_millis(50);
/// How long growing waits for readers before the write is refused.
const GROW_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that are kept: the last commit's and the one before it.
const FRAMES: usize = 2;

/// What belongs to one transaction of LMDB and is kept in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub(super) live: Arc<RoaringBitmap>,
    pub(super) freed: Arc<RoaringBitmap>,
    pub(super) fields: Arc<Fields>,
    pub(super) next_row: Row,
    pub(super) sequence: Sequence,
    pub(super) epoch: Epoch,
}

/// What readers of a transaction take.
#[derive(Debug)]
struct Shown {
    /// The number of the transaction.
    id: usize,
    frame: Frame,
    places: Arc<Places>,
}

impl Shown {
    fn new(id: usize, frame: Frame, blocks: Blocks) -> Self {
        let places = Arc::new(blocks.places(frame.next_row));
        Self { id, frame, places }
    }
}

/// A reader's transaction, and what belongs to it.
pub(super) struct Reading {
    // Before the ticket: fields are dropped in order.
    pub(super) txn: RoTxn<'static, WithoutTls>,
    pub(super) frame: Frame,
    /// Where blocks of this transaction lie.
    pub(super) places: Arc<Places>,
    /// To be kept with the transaction.
    pub(super) ticket: Ticket,
}

/// An open environment.
#[derive(Debug)]
pub(super) struct Environment {
    env: Env<WithoutTls>,
    pub(super) tables: Tables,
    pub(super) blocks: Blocks,
    pub(super) identity: ShardIdentity,
    pub(super) life: Uuid,
    options: Options,
    gate: Arc<Gate>,
    /// Frames of the last transactions, the newest last.
    frames: Mutex<VecDeque<Shown>>,
    failure: Mutex<Option<String>>,
    /// Growing waits for readers.
    wants_room: AtomicBool,
    /// Rows that an index covers; `None` while no row may be used again.
    reuse: Mutex<Option<RoaringBitmap>>,
}

fn open_env(folder: &Path, map_bytes: usize) -> Result<Env<WithoutTls>, Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options
        .map_size(map_bytes)
        .max_readers(READERS_MAX)
        .max_dbs(TABLES);
    #[expect(unsafe_code, reason = "LMDB maps a file")]
    // SAFETY: the folder belongs to this process alone (its data folder is locked), nobody truncates
    // or overwrites the file while it is mapped, and heed refuses to open a path twice.
    let env = unsafe { options.open(folder) }?;
    Ok(env)
}

/// Makes an empty shard: beside its place, synced, then renamed into it.
pub(super) fn create(
    folder: &Path,
    identity: &ShardIdentity,
    life: Uuid,
    options: &Options,
) -> Result<(), Error> {
    if folder.try_exists()? {
        return Err(Error::Exists(folder.to_owned()));
    }
    let parent = folder
        .parent()
        .ok_or_else(|| Error::Missing(folder.to_owned()))?;
    fs::create_dir_all(parent)?;
    let draft = folder.with_extension("making");
    if draft.try_exists()? {
        fs::remove_dir_all(&draft)?;
    }
    fs::create_dir(&draft)?;
    let env = open_env(&draft, options.map_bytes)?;
    let tables = Tables::create(&env)?;
    let mut txn = env.write_txn()?;
    let text = serde_json::to_vec(identity).map_err(|error| Error::Files(error.to_string()))?;
    tables.meta.put(&mut txn, b"identity", &text)?;
    let format = FORMAT.to_be_bytes();
    tables.meta.put(&mut txn, b"format", &format)?;
    tables.meta.put(&mut txn, b"life", life.as_bytes())?;
    write_position(tables, &mut txn, &Frame::default())?;
    txn.commit()?;
    env.prepare_for_closing().wait();
    sync_folder(&draft)?;
    fs::rename(&draft, folder)?;
    // The folder's own name, and those of the folders above that may be new too.
    for above in parent.ancestors().take(3) {
        if above.try_exists()? {
            sync_folder(above)?;
        }
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<(), Error> {
    Ok(fs::File::open(folder)?.sync_all()?)
}

/// Writes where a shard is: epoch, sequence, next row.
pub(super) fn write_position(
    tables: Tables,
    txn: &mut RwTxn<'_>,
    frame: &Frame,
) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(20);
    bytes.extend(frame.epoch.0.to_be_bytes());
    bytes.extend(frame.sequence.0.to_be_bytes());
    bytes.extend(frame.next_row.to_be_bytes());
    tables.meta.put(txn, b"position", &bytes)?;
    Ok(())
}

fn read_position(bytes: &[u8]) -> Option<(Epoch, Sequence, Row)> {
    let (epoch, rest) = bytes.split_at_checked(8)?;
    let (sequence, row) = rest.split_at_checked(8)?;
    Some((
        Epoch(u64::from_be_bytes(epoch.try_into().ok()?)),
        Sequence(u64::from_be_bytes(sequence.try_into().ok()?)),
        Row::from_be_bytes(row.try_into().ok()?),
    ))
}

impl Environment {
    pub(super) fn open(
        folder: &Path,
        identity: &ShardIdentity,
        options: Options,
    ) -> Result<Self, Error> {
        let file = folder.join("data.mdb");
        if !file.try_exists()? {
            return Err(Error::Missing(folder.to_owned()));
        }
        let there = usize::try_from(fs::metadata(&file)?.len()).unwrap_or(usize::MAX);
        let wanted = options
            .map_bytes
            .max(there.saturating_mul(2))
            .min(options.map_bytes_max);
        let env = open_env(folder, page_multiple(wanted.max(there)))?;
        env.clear_stale_readers()?;
        let tables = Tables::create(&env)?;
        let txn = env.read_txn()?;
        check(folder, tables, &txn, identity)?;
        let life = tables
            .meta
            .get(&txn, b"life")?
            .and_then(|bytes| Uuid::from_slice(bytes).ok());
        let life = life.ok_or_else(|| Error::Corrupt("no life".to_owned()))?;
        let position = tables.meta.get(&txn, b"position")?.and_then(read_position);
        let (epoch, sequence, next_row) =
            position.ok_or_else(|| Error::Corrupt("no position".to_owned()))?;
        let frame = Frame {
            live: Arc::new(read_chunks(tables.live, &txn)?),
            freed: Arc::new(read_chunks(tables.freed, &txn)?),
            fields: Arc::new(Fields::read(tables, &txn)?),
            next_row,
            sequence,
            epoch,
        };
        let blocks = Blocks::of(identity.dimensions);
        let shown = Shown::new(txn.id(), frame, blocks);
        drop(txn);
        Ok(Self {
            env,
            tables,
            blocks,
            identity: identity.clone(),
            life,
            options,
            gate: Arc::default(),
            frames: Mutex::new(VecDeque::from([shown])),
            failure: Mutex::default(),
            wants_room: AtomicBool::new(false),
            reuse: Mutex::default(),
        })
    }

    /// The newest frame.
    pub(super) fn frame(&self) -> Frame {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames
            .back()
            .map(|shown| shown.frame.clone())
            .unwrap_or_default()
    }

    /// Begins to read the newest transaction.
    pub(super) fn read(&self) -> Result<Reading, Error> {
        /// A commit may come between the transaction and the look at the frames; not that often.
        const TRIES: usize = 1_000;
        if let Some(failure) = self.failure() {
            return Err(Error::Failed(failure));
        }
        let ticket = self.gate.enter();
        for _ in 0..TRIES {
            let txn = self.env.clone().static_read_txn()?;
            let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(shown) = frames.iter().find(|shown| shown.id == txn.id()) {
                return Ok(Reading {
                    txn,
                    frame: shown.frame.clone(),
                    places: Arc::clone(&shown.places),
                    ticket,
                });
            }
        }
        Err(Error::Files(
            "no frame belongs to the newest transaction".to_owned(),
        ))
    }

    /// A writer's transaction.
    pub(super) fn write(&self) -> Result<RwTxn<'_>, Error> {
        Ok(self.env.write_txn()?)
    }

    /// Commits, and shows the frame to readers. They find it as soon as they can see the commit.
    pub(super) fn commit(&self, txn: RwTxn<'_>, frame: Frame) -> Result<(), Error> {
        let id = txn.id();
        let frames = || self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = Shown::new(id, frame, self.blocks);
        frames().push_back(shown);
        let committed = txn.commit();
        if let Err(error) = committed {
            frames().retain(|shown| shown.id != id);
            let mut error = Error::from(error);
            // LMDB reports a disk that is full in the middle of a page as an I/O error.
            if matches!(error, Error::Files(_)) && self.disk_is_full() {
                error = Error::Full("the disk".to_owned());
            }
            // Without room LMDB writes nothing that counts. After anything else it is not known
            // what the disk holds.
            if !matches!(error, Error::Full(_)) {
                self.fail(&error.to_string());
            }
            return Err(error);
        }
        let mut frames = frames();
        let surplus = frames.len().saturating_sub(FRAMES);
        let old: Vec<Shown> = frames.drain(..surplus).collect();
        drop(frames);
        // Readers do not wait until all that belongs to them is given back.
        drop(old);
        Ok(())
    }

    /// Bytes of the map.
    pub(super) fn map_bytes(&self) -> usize {
        self.env.info().map_size
    }

    /// Doubles the map when three quarters of it are used and no reader is long about it.
    pub(super) fn grow_ahead(&self) {
        let map = self.map_bytes();
        let used = usize::try_from(self.bytes()).unwrap_or(usize::MAX);
        if used < map / 4 * 3 || map >= self.options.map_bytes_max {
            return;
        }
        if let Err(error) = self.grow_within(GROW_AHEAD_TIMEOUT) {
            tracing::debug!(%error, "the map will grow later");
        }
    }

    /// Doubles the map, within its bound.
    pub(super) fn grow(&self) -> Result<(), Error> {
        self.grow_within(GROW_TIMEOUT)
    }

    /// Whether growing waits for readers.
    pub(super) fn wants_room(&self) -> bool {
        self.wants_room.load(Ordering::Relaxed)
    }

    fn grow_within(&self, limit: Duration) -> Result<(), Error> {
        let now = self.map_bytes();
        let next = page_multiple(now.saturating_mul(2).min(self.options.map_bytes_max));
        if next <= now {
            return Err(Error::Full(format!(
                "the map has reached its bound of {now} bytes"
            )));
        }
        self.wants_room.store(true, Ordering::Relaxed);
        let grown = self.gate.alone(limit, || {
            // Nobody may find by them what lies elsewhere afterwards.
            let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
            for shown in frames.iter_mut() {
                shown.places = Arc::new(self.blocks.places(shown.frame.next_row));
            }
            drop(frames);
            #[expect(unsafe_code, reason = "the map is resized")]
            // SAFETY: the gate is closed and empty, so no reader is open, and the caller is the only
            // writer and has no transaction open. The places of blocks in the old map are forgotten.
            unsafe {
                self.env.resize(next)
            }
        });
        match grown {
            Some(Ok(())) => {
                self.wants_room.store(false, Ordering::Relaxed);
                tracing::info!(bytes = next, "the map has grown");
                Ok(())
            },
            Some(Err(error)) => Err(error.into()),
            None => Err(Error::Held),
        }
    }

    fn disk_is_full(&self) -> bool {
        /// Less than LMDB needs for the smallest commit.
        const ROOM_BYTES: u64 = 256 * 1024;
        rustix::fs::statvfs(self.env.path())
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM_BYTES)
    }

    /// Tells when the mapping is gone.
    pub(super) fn closing(&self) -> heed::EnvClosingEvent {
        self.env.clone().prepare_for_closing()
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.env.real_disk_size().unwrap_or(0)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn fail(&self, why: &str) {
        tracing::error!(why, shard = %self.identity.shard, "the shard has stopped");
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn set_reuse(&self, covered: Option<RoaringBitmap>) {
        *self.reuse.lock().unwrap_or_else(PoisonError::into_inner) = covered;
    }

    /// The freed rows that may be used again now.
    pub(super) fn reusable(&self, freed: &RoaringBitmap) -> RoaringBitmap {
        match &*self.reuse.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(covered) => freed - covered,
            None => RoaringBitmap::new(),
        }
    }
}

fn page_multiple(bytes: usize) -> usize {
    const PAGE: usize = 64 * 1024;
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}

fn check(
    folder: &Path,
    tables: Tables,
    txn: &RoTxn<'_>,
    identity: &ShardIdentity,
) -> Result<(), Error> {
    let folder: PathBuf = folder.to_owned();
    let format = tables
        .meta
        .get(txn, b"format")?
        .and_then(|bytes| bytes.try_into().ok());
    let format = format.map(u32::from_be_bytes);
    match format {
        Some(FORMAT) => {},
        Some(found) => {
            return Err(Error::Newer {
                folder,
                found,
                known: FORMAT,
            });
        },
        None => return Err(Error::Missing(folder)),
    }
    let found = tables.meta.get(txn, b"identity")?.unwrap_or_default();
    let found: ShardIdentity = serde_json::from_slice(found)
        .map_err(|error| Error::Corrupt(format!("its identity: {error}")))?;
    if found != *identity {
        let what = format!("{found:?} and not {identity:?}");
        return Err(Error::Foreign { folder, what });
    }
    Ok(())
}
