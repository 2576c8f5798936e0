//! What frames hold: pieces of a snapshot, and then the changes that were synced together. Pure.
//!
//! A body is a row of parts: a tag, a length, and the bytes. A snapshot is in pieces of a bounded
//! size, so that no amount of live state makes a frame that cannot be read back.

use std::sync::Arc;

use etcd_client::proto::{PbKeyValue, PbLeaseGrantRequest};
use prost::Message;

use crate::clock::Moment;
use crate::embedded_etcd::kv::{Event, Kv, Range};
use crate::embedded_etcd::state::{Done, State};

const REVISION: u8 = 1;
const LEASE: u8 = 2;
const PUT: u8 = 3;
const DELETE: u8 = 4;
const REVOKE: u8 = 5;
const COMPACT: u8 = 6;
const CHANGE: u8 = 7;
const SNAPSHOT_END: u8 = 8;

fn part(into: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    into.push(tag);
    into.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend(bytes);
}

/// The next part of a body.
fn take<'b>(body: &mut &'b [u8]) -> Option<(u8, &'b [u8])> {
    let (tag, rest) = body.split_first()?;
    let (len, rest) = rest.split_first_chunk()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (bytes, rest) = rest.split_at_checked(len)?;
    *body = rest;
    Some((*tag, bytes))
}

fn number(bytes: &[u8]) -> Option<i64> {
    Some(i64::from_le_bytes(bytes.try_into().ok()?))
}

fn lease(id: i64, ttl: i64) -> Vec<u8> {
    PbLeaseGrantRequest { ttl, id }.encode_to_vec()
}

/// Writes the live state in pieces of about `piece_bytes`. History is left behind.
pub(super) fn snapshot<E>(
    state: &State,
    piece_bytes: usize,
    mut write: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut body = Vec::new();
    let revision = state.kv.revision();
    part(&mut body, REVISION, &revision.to_le_bytes());
    let leases = state.leases.iter();
    let leases = leases.map(|(id, held)| (LEASE, lease(*id, held.ttl)));
    let all = Range::new(&[0], &[0]);
    let keys = state.kv.at(&all, revision);
    let keys = keys.map(|kv| (PUT, kv.encode_to_vec()));
    for (tag, bytes) in leases.chain(keys) {
        if !body.is_empty() && body.len().saturating_add(bytes.len()) > piece_bytes {
            write(&body)?;
            body.clear();
        }
        part(&mut body, tag, &bytes);
    }
    part(&mut body, SNAPSHOT_END, &[]);
    write(&body)
}

/// A snapshot that is read piece by piece.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    revision: Option<i64>,
    leases: Vec<PbLeaseGrantRequest>,
    live: Vec<PbKeyValue>,
}

impl Restoring {
    /// Takes a piece; says whether it was the last one. `None`: it is no piece of a snapshot.
    pub(super) fn piece(&mut self, mut body: &[u8]) -> Option<bool> {
        let mut is_last = false;
        while !body.is_empty() {
            let (tag, bytes) = take(&mut body)?;
            match tag {
                REVISION => self.revision = number(bytes),
                LEASE => self.leases.push(PbLeaseGrantRequest::decode(bytes).ok()?),
                PUT => self.live.push(PbKeyValue::decode(bytes).ok()?),
                SNAPSHOT_END => is_last = true,
                _ => return None,
            }
        }
        Some(is_last)
    }

    /// The state; each lease starts anew, and everything before the snapshot counts as compacted.
    pub(super) fn finish(self, now: Moment) -> Option<State> {
        let revision = self.revision?;
        let mut state = State::default();
        for lease in self.leases {
            let granted = Done {
                granted: Some((lease.id, lease.ttl)),
                ..Done::default()
            };
            state.replay(granted, now);
        }
        for kv in &self.live {
            if let Some(lease) = state.leases.get_mut(&kv.lease) {
                lease.keys.insert(kv.key.clone());
            }
        }
        let compacted = if revision > 1 { revision } else { 0 };
        state.kv = Kv::restore(self.live, revision, compacted);
        Some(state)
    }
}

/// Adds what a change did to the body of a frame.
pub(super) fn change(into: &mut Vec<u8>, done: &Done) {
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
    part(into, CHANGE, &bytes);
}

/// What the changes of a frame did. `None`: it is no frame of changes.
pub(super) fn changes(mut body: &[u8]) -> Option<Vec<Done>> {
    let mut all = Vec::new();
    while !body.is_empty() {
        let (CHANGE, bytes) = take(&mut body)? else {
            return None;
        };
        all.push(done(bytes)?);
    }
    Some(all)
}

fn done(mut body: &[u8]) -> Option<Done> {
    let mut done = Done::default();
    while !body.is_empty() {
        let (tag, bytes) = take(&mut body)?;
        match tag {
            LEASE => {
                let lease = PbLeaseGrantRequest::decode(bytes).ok()?;
                done.granted = Some((lease.id, lease.ttl));
            },
            PUT | DELETE => {
                let kv = PbKeyValue::decode(bytes).ok()?;
                done.events.push(Event {
                    key: kv.key.clone(),
                    revision: kv.mod_revision,
                    put: (tag == PUT).then(|| Arc::new(kv)),
                    previous: None,
                });
            },
            REVOKE => done.revoked = number(bytes),
            COMPACT => done.compacted = number(bytes),
            _ => return None,
        }
    }
    Some(done)
}
