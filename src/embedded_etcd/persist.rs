//! The state on disk: a log of what changes did, synced before anything is answered.
//!
//! `log` is a head, a snapshot in pieces, and then one frame for each sync, with the changes that
//! shared it ([`sectors`], [`records`]). What an unfinished append left at the end was never
//! acknowledged: it is kept beside the log as `log.torn` (the newest alone, at most 16 MiB), said, and
//! cut off when the log is opened. Any other byte that is not as it was written is damage, and the log
//! is refused as it is. When the log has grown far beyond its snapshot, a new one is written beside it
//! and renamed into its place.
//!
//! After a failed sync the kernel may show bytes that are not on the disk. So the log is not used any
//! more then, and whoever opens it writes and syncs the last frame once more before it counts.

mod records;
mod sectors;

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::history::History;
use super::state::{Done, State};
use crate::clock::Moment;

use records::Restoring;
use sectors::{Reader, SECTOR, Step};

/// What a log begins with; the last two digits are the version of its format.
const MAGIC: &[u8; 8] = b"VSETCD02";
/// Bytes of the version in it.
const VERSION_LEN: usize = 2;
const LOG: &str = "log";
const DRAFT: &str = "log.tmp";
const TORN: &str = "log.torn";

/// How large things on the disk become.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// A frame: one change of all that lives fits into it.
    pub(super) frame_bytes: usize,
    /// A piece of a snapshot, or one key if that is larger.
    pub(super) piece_bytes: usize,
    /// The log is written anew when it is this much larger than its snapshot.
    pub(super) growth_bytes: u64,
    /// What is kept of what is cut off.
    pub(super) torn_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            frame_bytes: 1024 * 1024 * 1024,
            piece_bytes: 1024 * 1024,
            growth_bytes: 32 * 1024 * 1024,
            torn_bytes: 16 * 1024 * 1024,
        }
    }
}

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("embedded etcd's log")]
    Files(#[from] std::io::Error),
    /// The log holds what was never written to it.
    #[error("{} is corrupt at byte {at}: {what}; restore the file, or move its folder away", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The log is of another version of this program.
    #[error(
        "{} has format {found}, and this version reads {} only; use the version that wrote it, or move \
         its folder away",
        path.display(),
        version(MAGIC)
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// The log was read back, and does not hold what was acknowledged.
    #[error("the log goes to revision {found} only, and {acknowledged} was acknowledged")]
    Lost {
        /// How far the log goes.
        found: i64,
        /// How far it must go.
        acknowledged: i64,
    },
    /// A frame would be too long to be read back.
    #[error("changes of {bytes} bytes do not fit into one frame of the log")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

fn version(magic: &[u8]) -> String {
    let start = magic.len().saturating_sub(VERSION_LEN);
    String::from_utf8_lossy(magic.get(start..).unwrap_or_default()).into_owned()
}

/// What identifies this etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) cluster: u64,
    pub(super) member: u64,
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    file: fs::File,
    bounds: Bounds,
    bytes: usize,
    snapshot_bytes: usize,
    pub(super) identity: Identity,
}

/// A log and what it gives.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) state: State,
    pub(super) history: History,
}

/// What a log's bytes say.
struct Found {
    identity: Identity,
    state: State,
    history: History,
    snapshot_bytes: usize,
    /// Where the last whole frame begins.
    last: usize,
    /// Where it ends.
    end: usize,
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn head(identity: Identity) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(identity.cluster.to_le_bytes());
    bytes.extend(identity.member.to_le_bytes());
    bytes.resize(SECTOR - 4, 0);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn identity(head: &[u8]) -> Option<Identity> {
    let (summed, sum) = head.split_last_chunk()?;
    let rest = summed.strip_prefix(MAGIC)?;
    let (cluster, rest) = rest.split_first_chunk()?;
    let (member, _zeros) = rest.split_first_chunk()?;
    (crc32fast::hash(summed) == u32::from_le_bytes(*sum)).then_some(Identity {
        cluster: u64::from_le_bytes(*cluster),
        member: u64::from_le_bytes(*member),
    })
}

impl Log {
    /// Opens the log of a folder, or makes one with the identity that is given.
    pub(super) fn open(
        folder: &Path,
        fresh: Identity,
        now: Moment,
        bounds: Bounds,
    ) -> Result<Opened, Error> {
        fs::create_dir_all(folder)?;
        if folder.join(LOG).try_exists()? {
            return Self::read_back(folder, now, bounds);
        }
        let state = State::default();
        Ok(Opened {
            log: Self::write_new(folder, fresh, &state, bounds)?,
            state,
            history: History::default(),
        })
    }

    /// Opens the log that a folder has.
    pub(super) fn read_back(folder: &Path, now: Moment, bounds: Bounds) -> Result<Opened, Error> {
        let path = folder.join(LOG);
        let mut file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let content = Content {
            path: &path,
            bytes: &bytes,
            now,
            bounds,
        };
        let found = content.read()?;
        let (kept, torn) = bytes.split_at_checked(found.end).unwrap_or((&bytes, &[]));
        if !torn.is_empty() {
            keep(folder, torn, found.end, bounds)?;
            file.set_len(wide(found.end))?;
        }
        file.seek(SeekFrom::Start(wide(found.last)))?;
        file.write_all(kept.get(found.last..).unwrap_or_default())?;
        file.sync_all()?;
        fs::File::open(folder)?.sync_all()?;
        let log = Self {
            folder: folder.to_owned(),
            file,
            bounds,
            bytes: found.end,
            snapshot_bytes: found.snapshot_bytes,
            identity: found.identity,
        };
        Ok(Opened {
            log,
            state: found.state,
            history: found.history,
        })
    }

    fn write_new(
        folder: &Path,
        identity: Identity,
        state: &State,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        let (draft, path) = (folder.join(DRAFT), folder.join(LOG));
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&draft)?;
        file.write_all(&head(identity))?;
        let mut bytes = SECTOR;
        records::snapshot(state, bounds.piece_bytes, |body| {
            let frame = frame(identity, bytes, body, bounds)?;
            file.write_all(&frame)?;
            bytes += frame.len();
            Ok::<_, Error>(())
        })?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        fs::File::open(folder)?.sync_all()?;
        Ok(Self {
            folder: folder.to_owned(),
            file,
            bounds,
            bytes,
            snapshot_bytes: bytes,
            identity,
        })
    }

    /// Writes what changes did, and returns when it is on the disk. After an error the log must not
    /// be used any more: what is on the disk is not known.
    pub(super) fn append(&mut self, changes: &Changes) -> Result<(), Error> {
        if changes.0.is_empty() {
            return Ok(());
        }
        let frame = frame(self.identity, self.bytes, &changes.0, self.bounds)?;
        self.file.write_all(&frame)?;
        self.file.sync_data()?;
        self.bytes += frame.len();
        Ok(())
    }

    /// From now on nothing can be written.
    #[cfg(test)]
    pub(super) fn break_for_test(&mut self) {
        self.file = fs::File::open(self.folder.join(LOG)).unwrap();
    }

    /// The folder that it lies in.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of the log.
    pub(super) fn bytes(&self) -> u64 {
        wide(self.bytes)
    }

    /// Whether the log has grown enough to be written anew.
    pub(super) fn has_grown(&self) -> bool {
        wide(self.bytes.saturating_sub(self.snapshot_bytes)) > self.bounds.growth_bytes
    }

    /// Writes the log anew: the live state alone. After an error the log must not be used any more.
    pub(super) fn rewrite(&mut self, state: &State) -> Result<(), Error> {
        *self = Self::write_new(&self.folder, self.identity, state, self.bounds)?;
        Ok(())
    }
}

/// What changes did, as it is written: all of it in one frame.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<u8>);

impl Changes {
    pub(super) fn push(&mut self, done: &Done) {
        records::change(&mut self.0, done);
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// A frame that begins at a byte.
fn frame(identity: Identity, at: usize, body: &[u8], bounds: Bounds) -> Result<Vec<u8>, Error> {
    if body.len() > bounds.frame_bytes {
        let bytes = body.len();
        return Err(Error::TooLong { bytes });
    }
    let mut frame = Vec::new();
    sectors::frame(&mut frame, identity.cluster, at / SECTOR, body);
    Ok(frame)
}

/// Keeps what will be cut off, for whoever wants to know what it was.
fn keep(folder: &Path, torn: &[u8], at: usize, bounds: Bounds) -> Result<(), Error> {
    let path = folder.join(TORN);
    let kept = torn.get(..bounds.torn_bytes).unwrap_or(torn);
    let mut file = fs::File::create(&path)?;
    file.write_all(kept)?;
    file.sync_all()?;
    fs::File::open(folder)?.sync_all()?;
    tracing::warn!(
        at,
        bytes = torn.len(),
        kept = %path.display(),
        kept_bytes = kept.len(),
        "an append to the embedded etcd's log was not finished, and is cut off"
    );
    Ok(())
}

/// A log's bytes, and how to say what is wrong with them.
struct Content<'b> {
    path: &'b Path,
    bytes: &'b [u8],
    now: Moment,
    bounds: Bounds,
}

impl Content<'_> {
    fn corrupt(&self, at: usize, what: &'static str) -> Error {
        Error::Corrupt {
            path: self.path.to_owned(),
            at: wide(at),
            what,
        }
    }

    fn read(&self) -> Result<Found, Error> {
        let identity = self.identity()?;
        let mut frames = Reader::new(self.bytes, identity.cluster, 1);
        let (mut state, mut last) = self.snapshot(&mut frames)?;
        let snapshot_bytes = frames.position();
        let mut history = History::after_snapshot(state.kv.revision());
        loop {
            let at = frames.position();
            let body = match frames.step(self.bounds.frame_bytes) {
                Step::Whole(body) => body,
                Step::Broken(sector, what) => return Err(self.corrupt(sector * SECTOR, what)),
                Step::End | Step::Torn => {
                    return Ok(Found {
                        identity,
                        state,
                        history,
                        snapshot_bytes,
                        last,
                        end: at,
                    });
                },
            };
            last = at;
            let changes = records::changes(&body);
            for done in changes.ok_or_else(|| self.corrupt(at, "an unknown change"))? {
                history.push(state.replay(done, self.now));
                history.forget_before(state.kv.compacted());
            }
        }
    }

    fn identity(&self) -> Result<Identity, Error> {
        if let Some(identity) = self.bytes.get(..SECTOR).and_then(identity) {
            return Ok(identity);
        }
        let magic = self.bytes.get(..MAGIC.len()).unwrap_or_default();
        let stem = MAGIC.get(..MAGIC.len() - VERSION_LEN).unwrap_or_default();
        if magic.starts_with(stem) && magic != MAGIC {
            return Err(Error::Version {
                path: self.path.to_owned(),
                found: version(magic),
            });
        }
        Err(self.corrupt(0, "it does not start as a log"))
    }

    /// The state of the snapshot, and where its last piece begins.
    fn snapshot(&self, frames: &mut Reader<'_>) -> Result<(State, usize), Error> {
        let mut restoring = Restoring::default();
        loop {
            let at = frames.position();
            let is_last = match frames.step(self.bounds.frame_bytes) {
                Step::Whole(body) => restoring.piece(&body),
                Step::Broken(sector, what) => return Err(self.corrupt(sector * SECTOR, what)),
                Step::End | Step::Torn => {
                    return Err(self.corrupt(at, "its snapshot is not whole"));
                },
            };
            match is_last {
                Some(true) => {
                    let state = restoring.finish(self.now);
                    let state = state.ok_or_else(|| self.corrupt(at, "it names no revision"))?;
                    return Ok((state, at));
                },
                Some(false) => {},
                None => return Err(self.corrupt(at, "it is no piece of a snapshot")),
            }
        }
    }
}

#[cfg(test)]
mod tests;
