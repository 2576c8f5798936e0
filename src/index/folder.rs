//! The folder of a shard's segments, and how a segment survives a crash.
//!
//! ```text
//! segment-<sequence>-<attempt>/   manifest.json, covered, and the files of its kind
//! tmp-<sequence>/                 a build under way, or what a killed one left
//! bad-<name>/                     a segment that did not check, kept to be looked at
//! ```
//!
//! A build fills `tmp-*`, syncs every file, writes and syncs the manifest, syncs the folder, renames
//! it, syncs the parent: whatever moment a crash comes at, [`open_dir`] finds the old segment or the
//! new one, and the one that it stands beside. It removes what builds left, moves aside what does not check, ignores what it does not
//! know, and never fails because of a segment: the shard then serves exactly.
//!
//! Opening looks at the manifest, the lengths and the set of covered rows, whose size is bounded by
//! the runs of rows and not by the points; the large files are only mapped. [`Open::verify`] reads
//! them whole, in the background. A flipped byte that it has not found yet costs recall at most of trees; a graph
//! checks each block before it is used.

use std::fmt::Display;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err::File;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub(super) use super::manifest::FileSeal;
use super::manifest::{Layout, spelled};
use super::{Error, Identity, Manifest, Segment, Set, Stop, arroy, graph};

const MANIFEST: &str = "manifest.json";
pub(super) const COVERED: &str = "covered";
const SEGMENT: &str = "segment-";
const BUILDING: &str = "tmp-";
const BAD: &str = "bad-";

/// Segments kept aside; beyond, the one of the lowest sequence is removed.
const BAD_MAX: usize = 3;

/// Bytes read at once by a verification, between two looks at whether to stop.
const VERIFY_BYTES: usize = 1024 * 1024;

/// A segment that can be asked.
#[derive(Debug, Clone)]
pub struct Open {
    /// What to hand to `search`.
    pub segment: Arc<dyn Segment>,
    /// What it says about itself.
    pub manifest: Arc<Manifest>,
    path: PathBuf,
}

impl Open {
    /// The folder's name.
    pub fn name(&self) -> String {
        file_name(&self.path)
    }

    /// Whether this one covers what the other does not.
    pub(super) fn stands_beside(&self, main: &Self) -> bool {
        self.manifest.beside.as_ref() == Some(&main.name())
    }

    /// Reads every file and compares it with its checksum, and with it what is checked when it is touched first. Takes
    /// as long as the disk takes; asks whether to stop, and may be held up there, about once a MiB.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: quarantine it. [`Error::Stopped`] when told to stop; others when the
    /// files could not be read.
    pub fn verify(&self, stop: Stop<'_>) -> Result<(), Error> {
        for seal in &self.manifest.files {
            let mut file = File::open(self.path.join(&seal.name))?;
            let (mut hash, mut bytes) = (Xxh3::new(), 0u64);
            let mut buffer = vec![0u8; VERIFY_BYTES];
            loop {
                if stop() {
                    return Err(Error::Stopped);
                }
                let read = file.read(&mut buffer)?;
                let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
                    break;
                };
                hash.update(part);
                bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            }
            if bytes != seal.bytes || spelled(hash.digest()) != seal.xxh3 {
                return Err(Error::corrupt(format!("the checksum of {}", seal.name)));
            }
        }
        self.segment.verify(stop)
    }
}

/// A segment that was found and is not used.
#[derive(Debug)]
pub struct Quarantined {
    /// The folder's name, before it was moved.
    pub name: String,
    /// Why.
    pub error: Error,
    /// Whether it was moved aside. Not when the fault may be the machine's (no file descriptors, no
    /// permission): it is looked at again at the next start.
    pub moved: bool,
}

/// What a folder held.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest segment that checks, and the one that it stands beside.
    pub set: Set,
    /// What did not check. Someone should hear of it.
    pub quarantined: Vec<Quarantined>,
    /// Removed: builds that did not end, and segments that a newer one replaces.
    pub removed: Vec<String>,
}

/// Opens the newest usable segment of a folder and tidies the rest. To be called when no build runs
/// in the folder: it removes what looks like an unfinished one.
///
/// # Errors
/// [`Error::Files`] when the folder itself cannot be made, read or tidied.
pub fn open_dir(dir: &Path, identity: &Identity) -> Result<Found, Error> {
    if !dir.try_exists()? {
        fs_err::create_dir_all(dir)?;
        // A segment survives a crash only below a folder whose own name does.
        dir.parent().map_or(Ok(()), sync_dir)?;
    }
    let mut found = Found::default();
    let mut segments = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(BUILDING) {
            fs_err::remove_dir_all(dir.join(&name))?;
            found.removed.push(name);
        } else if name.starts_with(SEGMENT) {
            segments.push(name);
        }
    }
    // The numbers are padded: the newest is the last by name.
    segments.sort_unstable();
    for name in segments.into_iter().rev() {
        let newest = found.set.main.as_ref();
        let main = newest.is_some_and(|side| side.manifest.beside.as_ref() == Some(&name));
        if newest.is_some() && (!main || found.set.side.is_some()) {
            retire(dir, &name)?;
            found.removed.push(name);
            continue;
        }
        match open(&dir.join(&name), identity) {
            Ok(open) => {
                found.set.side = found.set.main.take();
                found.set.main = Some(open);
            },
            Err(error) => {
                let moved = its_own_fault(&error);
                if moved {
                    quarantine(dir, &name)?;
                }
                found.quarantined.push(Quarantined { name, error, moved });
            },
        }
    }
    Ok(found)
}

/// The names of the segments that lie in a folder, used or not.
///
/// # Errors
/// [`Error::Files`]
pub fn standing(dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(SEGMENT) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Whether an error that opening met lies in the segment's files and not in the machine.
fn its_own_fault(error: &Error) -> bool {
    let Error::Files(error) = error else {
        return true;
    };
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
    )
}

/// Opens one segment.
pub(super) fn open(path: &Path, identity: &Identity) -> Result<Open, Error> {
    let manifest = Manifest::decode(&fs_err::read(path.join(MANIFEST))?)?;
    manifest.belongs(identity)?;
    let names = manifest.files.iter().map(|seal| seal.name.as_str());
    if !names.eq(manifest.layout.files()) {
        return Err(Error::corrupt("the list of its files"));
    }
    let mut covered = None;
    let mut bytes = 0u64;
    for seal in &manifest.files {
        let file = path.join(&seal.name);
        if fs_err::metadata(&file)?.len() != seal.bytes {
            return Err(Error::corrupt(format!("the length of {}", seal.name)));
        }
        bytes = bytes.saturating_add(seal.bytes);
        if seal.name == COVERED {
            let read = fs_err::read(&file)?;
            if spelled(xxh3_64(&read)) != seal.xxh3 {
                return Err(Error::corrupt("the checksum of the covered rows"));
            }
            let rows = RoaringBitmap::deserialize_from(read.as_slice());
            let mut rows = rows.map_err(|error| Error::corrupt(error.to_string()))?;
            // Runs are small in a file and slow in a search, which compares the set with the live rows.
            rows.remove_run_compression();
            covered = Some(rows);
        }
    }
    let covered = covered.filter(|covered| covered.len() == manifest.rows);
    let covered = covered.ok_or_else(|| Error::corrupt("the number of its rows"))?;
    let segment: Arc<dyn Segment> = match &manifest.layout {
        Layout::Arroy(layout) => {
            let described = (&manifest, layout);
            Arc::new(arroy::Arroy::open(path, described, covered, bytes)?)
        },
        Layout::Graph(layout) => {
            let described = (&manifest, layout);
            Arc::new(graph::Graph::open(path, described, covered, bytes)?)
        },
    };
    Ok(Open {
        segment,
        manifest: Arc::new(manifest),
        path: path.to_owned(),
    })
}

/// Removes a segment that is no longer used. Searches that still hold it end undisturbed.
///
/// # Errors
/// [`Error::Files`]; what is left of it is removed at the next start.
pub fn retire(dir: &Path, name: &str) -> Result<(), Error> {
    // Renamed first: a removal that a crash cuts short must not leave half a segment.
    let removed = dir.join(format!("{BUILDING}{name}"));
    fs_err::rename(dir.join(name), &removed)?;
    sync_dir(dir)?;
    Ok(fs_err::remove_dir_all(removed)?)
}

/// Moves a segment aside that does not check.
///
/// # Errors
/// [`Error::Files`]
pub fn quarantine(dir: &Path, name: &str) -> Result<(), Error> {
    let aside = dir.join(format!("{BAD}{name}"));
    remove_if_there(&aside)?;
    fs_err::rename(dir.join(name), aside)?;
    let mut bad = Vec::new();
    for entry in fs_err::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(BAD) {
            bad.push(name);
        }
    }
    bad.sort_unstable();
    let surplus = bad.len().saturating_sub(BAD_MAX);
    for name in bad.into_iter().take(surplus) {
        fs_err::remove_dir_all(dir.join(name))?;
    }
    sync_dir(dir)
}

/// An empty folder to build in.
pub(super) fn begin(dir: &Path, sequence: u64) -> Result<PathBuf, Error> {
    let building = dir.join(format!("{BUILDING}{sequence:020}"));
    remove_if_there(&building)?;
    fs_err::create_dir_all(&building)?;
    Ok(building)
}

/// Writes the set of covered rows.
pub(super) fn write_covered(building: &Path, covered: &RoaringBitmap) -> Result<FileSeal, Error> {
    let mut packed = covered.clone();
    packed.optimize();
    let mut bytes = Vec::with_capacity(packed.serialized_size());
    packed.serialize_into(&mut bytes)?;
    let mut file = SealedFile::create(building, COVERED)?;
    file.put(&bytes)?;
    file.finish()
}

/// Gives a finished build its name. After this the segment survives any crash.
pub(super) fn publish(dir: &Path, building: &Path, manifest: &Manifest) -> Result<PathBuf, Error> {
    let mut file = File::create(building.join(MANIFEST))?;
    file.write_all(&manifest.encode()?)?;
    file.sync_all()?;
    sync_dir(building)?;
    // An attempt number: a second build from the same snapshot stands beside the first.
    for attempt in 0..=9_999u32 {
        let name = format!("{SEGMENT}{:020}-{attempt:04}", manifest.sequence);
        let path = dir.join(name);
        if !fs_err::exists(&path)? {
            fs_err::rename(building, &path)?;
            sync_dir(dir)?;
            return Ok(path);
        }
    }
    Err(Error::Foreign {
        what: "ten thousand segments of one sequence",
    })
}

/// Removes a folder, or does nothing when there is none.
pub(super) fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs_err::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    Ok(File::open(dir)?.sync_all()?)
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// A file that is written once, from start to end, and described by what was written.
pub(super) struct SealedFile {
    name: String,
    file: BufWriter<File>,
    hash: Xxh3,
    bytes: u64,
}

impl SealedFile {
    /// A new file.
    pub(super) fn create(dir: &Path, name: impl Display) -> Result<Self, Error> {
        let name = name.to_string();
        Ok(Self {
            file: BufWriter::with_capacity(256 * 1024, File::create_new(dir.join(&name))?),
            name,
            hash: Xxh3::new(),
            bytes: 0,
        })
    }

    /// Appends.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// Bytes so far.
    pub(super) fn position(&self) -> u64 {
        self.bytes
    }

    /// Makes the file durable.
    pub(super) fn finish(self) -> Result<FileSeal, Error> {
        let file = self.file.into_inner().map_err(io::Error::from)?;
        file.sync_all()?;
        Ok(FileSeal {
            name: self.name,
            bytes: self.bytes,
            xxh3: spelled(self.hash.digest()),
        })
    }
}
