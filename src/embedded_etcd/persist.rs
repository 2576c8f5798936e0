//! The state on disk: a log of what changes did, synced before anything is answered.
//!
//! `log` starts with a snapshot frame and goes on with one frame for each change: length, CRC-32,
//! body. A torn frame at the end was never acknowledged and is cut off when the log is opened; a
//! broken one before the end is corruption, and the log is refused. When the log has grown far beyond
//! what lives, a new one is written beside it and renamed into its place.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcd_client::proto::{PbKeyValue, PbLeaseGrantRequest, PbRangeResponse};
use fs_err as fs;
use prost::Message;

use super::kv::{Event, Kv};
use super::state::{Done, State};
use crate::clock::Moment;

const MAGIC: &[u8; 8] = b"VSETCD01";
/// A frame is one request or one snapshot of keys; more is a broken length.
const FRAME_BYTES_MAX: usize = 1 << 30;
/// The log is written anew when it is this much larger than after the last time.
const GROWTH_BYTES: u64 = 32 * 1024 * 1024;

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file operation failed.
    #[error("embedded etcd's log")]
    Files(#[from] std::io::Error),
    /// The log holds what was never written to it.
    #[error("{path} is corrupt at byte {at}: {what}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
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
    bytes: u64,
    rewritten_at: u64,
    pub(super) identity: Identity,
}

impl Log {
    /// Opens the log of a folder, or makes one; the state that it gives.
    pub(super) fn open(
        folder: &Path,
        fresh: Identity,
        now: Moment,
    ) -> Result<(Self, State), Error> {
        fs::create_dir_all(folder)?;
        let path = folder.join("log");
        if !path.try_exists()? {
            let state = State::default();
            let log = Self::write_new(folder, fresh, &state)?;
            return Ok((log, state));
        }
        let mut file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (identity, state, good) = read(&path, &bytes, now)?;
        let good = u64::try_from(good).unwrap_or(u64::MAX);
        if good < u64::try_from(bytes.len()).unwrap_or(u64::MAX) {
            tracing::warn!(path = %path.display(), at = good, "a torn write at the log's end is cut off");
            file.set_len(good)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::Start(good))?;
        let folder = folder.to_owned();
        Ok((
            Self {
                folder,
                file,
                bytes: good,
                rewritten_at: good,
                identity,
            },
            state,
        ))
    }

    fn write_new(folder: &Path, identity: Identity, state: &State) -> Result<Self, Error> {
        let (draft, path) = (folder.join("log.tmp"), folder.join("log"));
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&draft)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(identity.cluster.to_le_bytes());
        bytes.extend(identity.member.to_le_bytes());
        frame(&mut bytes, &snapshot(state));
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        fs::File::open(folder)?.sync_all()?;
        let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            file,
            bytes,
            rewritten_at: bytes,
            identity,
        })
    }

    /// Writes what changes did, and returns when it is on the disk. After an error the log must not
    /// be used any more: what is on the disk is not known.
    pub(super) fn append<'d>(&mut self, all: impl Iterator<Item = &'d Done>) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for done in all {
            frame(&mut bytes, &body(done));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// Bytes of the log.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether the log has grown enough to be written anew.
    pub(super) fn has_grown(&self) -> bool {
        self.bytes > self.rewritten_at.saturating_add(GROWTH_BYTES)
    }

    /// Writes the log anew: the live state alone.
    pub(super) fn rewrite(&mut self, state: &State) -> Result<(), Error> {
        *self = Self::write_new(&self.folder, self.identity, state)?;
        Ok(())
    }
}

fn frame(into: &mut Vec<u8>, body: &[u8]) {
    into.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend(crc32fast::hash(body).to_le_bytes());
    into.extend(body);
}

/// One part of a body: a tag, a length, and the bytes.
fn part(into: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    into.push(tag);
    into.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend(bytes);
}

const REVISIONS: u8 = 1;
const KEYS: u8 = 2;
const LEASE: u8 = 3;
const PUT: u8 = 4;
const DELETE: u8 = 5;
const REVOKE: u8 = 6;
const COMPACT: u8 = 7;

fn lease(id: i64, ttl: i64) -> Vec<u8> {
    PbLeaseGrantRequest { ttl, id }.encode_to_vec()
}

/// The live state. History is left behind: it counts as compacted.
fn snapshot(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    let revision = state.kv.revision();
    part(&mut bytes, REVISIONS, &revision.to_le_bytes());
    for (id, held) in &state.leases {
        part(&mut bytes, LEASE, &lease(*id, held.ttl));
    }
    let all = super::kv::Range::new(&[0], &[0]);
    let kvs = state
        .kv
        .at(&all, revision)
        .map(|kv| PbKeyValue::clone(kv))
        .collect();
    let keys = PbRangeResponse {
        kvs,
        ..PbRangeResponse::default()
    };
    part(&mut bytes, KEYS, &keys.encode_to_vec());
    bytes
}

fn body(done: &Done) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some((id, ttl)) = done.granted {
        part(&mut bytes, LEASE, &lease(id, ttl));
    }
    for event in &done.events {
        match &event.put {
            Some(kv) => part(&mut bytes, PUT, &kv.encode_to_vec()),
            None => {
                let kv = PbKeyValue {
                    key: event.key.clone(),
                    mod_revision: event.revision,
                    ..PbKeyValue::default()
                };
                part(&mut bytes, DELETE, &kv.encode_to_vec());
            },
        }
    }
    if let Some(id) = done.revoked {
        part(&mut bytes, REVOKE, &id.to_le_bytes());
    }
    if let Some(revision) = done.compacted {
        part(&mut bytes, COMPACT, &revision.to_le_bytes());
    }
    bytes
}

fn take<'b>(bytes: &mut &'b [u8], len: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn take_u32(bytes: &mut &[u8]) -> Option<usize> {
    let number = u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?);
    usize::try_from(number).ok()
}

fn number(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.try_into().ok()?))
}

/// The identity, the state and the length of what is whole.
fn read(path: &Path, bytes: &[u8], now: Moment) -> Result<(Identity, State, usize), Error> {
    let corrupt = |at: usize, what| Error::Corrupt {
        path: path.to_owned(),
        at: u64::try_from(at).unwrap_or(u64::MAX),
        what,
    };
    let mut rest = bytes;
    let head = |rest: &mut &[u8]| -> Option<Identity> {
        if take(rest, MAGIC.len())? != MAGIC {
            return None;
        }
        let cluster = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
        let member = u64::from_le_bytes(take(rest, 8)?.try_into().ok()?);
        Some(Identity { cluster, member })
    };
    let identity = head(&mut rest).ok_or_else(|| corrupt(0, "it does not start as a log"))?;
    let mut state = None;
    loop {
        let at = bytes.len() - rest.len();
        let mut ahead = rest;
        let whole = (|| {
            let len = take_u32(&mut ahead)?;
            let sum = take(&mut ahead, 4)?;
            (len <= FRAME_BYTES_MAX).then_some(())?;
            Some((sum, take(&mut ahead, len)?))
        })();
        let Some((sum, body)) = whole else {
            let state = state.ok_or_else(|| corrupt(at, "it has no snapshot"))?;
            return Ok((identity, state, at));
        };
        if crc32fast::hash(body).to_le_bytes() != sum {
            // Zeros or garbage up to the very end can be a torn write; anything after it cannot.
            if ahead.is_empty() && state.is_some() {
                let state = state.ok_or_else(|| corrupt(at, "it has no snapshot"))?;
                return Ok((identity, state, at));
            }
            return Err(corrupt(at, "the checksum is wrong"));
        }
        rest = ahead;
        state = match state {
            None => restore(body, now),
            Some(mut state) => {
                let done = parse(body).ok_or_else(|| corrupt(at, "an unknown change"))?;
                State::replay(&mut state, done, now);
                Some(state)
            },
        };
        if state.is_none() {
            return Err(corrupt(at, "the snapshot is unreadable"));
        }
    }
}

fn restore(mut body: &[u8], now: Moment) -> Option<State> {
    let (mut revision, mut leases, mut live) = (None, Vec::new(), Vec::new());
    while !body.is_empty() {
        let tag = *take(&mut body, 1)?.first()?;
        let len = take_u32(&mut body)?;
        let bytes = take(&mut body, len)?;
        match tag {
            REVISIONS => revision = number(bytes),
            LEASE => leases.push(PbLeaseGrantRequest::decode(bytes).ok()?),
            KEYS => live = PbRangeResponse::decode(bytes).ok()?.kvs,
            _ => return None,
        }
    }
    let revision = revision?;
    let mut state = State::default();
    for lease in leases {
        state.replay(
            Done {
                granted: Some((lease.id, lease.ttl)),
                ..Done::default()
            },
            now,
        );
    }
    for kv in &live {
        if let Some(lease) = state.leases.get_mut(&kv.lease) {
            lease.keys.insert(kv.key.clone());
        }
    }
    let compacted = if revision > 1 { revision } else { 0 };
    state.kv = Kv::restore(live, revision, compacted);
    Some(state)
}

fn parse(mut body: &[u8]) -> Option<Done> {
    let mut done = Done::default();
    while !body.is_empty() {
        let tag = *take(&mut body, 1)?.first()?;
        let len = take_u32(&mut body)?;
        let bytes = take(&mut body, len)?;
        match tag {
            LEASE => {
                let lease = PbLeaseGrantRequest::decode(bytes).ok()?;
                done.granted = Some((lease.id, lease.ttl));
            },
            PUT => {
                let kv = PbKeyValue::decode(bytes).ok()?;
                let (key, revision) = (kv.key.clone(), kv.mod_revision);
                done.events.push(Event {
                    key,
                    put: Some(Arc::new(kv)),
                    previous: None,
                    revision,
                });
            },
            DELETE => {
                let kv = PbKeyValue::decode(bytes).ok()?;
                let (key, revision) = (kv.key, kv.mod_revision);
                done.events.push(Event {
                    key,
                    put: None,
                    previous: None,
                    revision,
                });
            },
            REVOKE => done.revoked = number(bytes),
            COMPACT => done.compacted = number(bytes),
            _ => return None,
        }
    }
    Some(done)
}

#[cfg(test)]
mod tests;
