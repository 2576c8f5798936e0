//! The whole state, and what a change does to it: keys, leases, transactions. Pure; time comes in.
//!
//! Each change says what it did ([`Done`]), which is what goes to the log; doing that again
//! ([`State::replay`]) gives the same state, after a restart and for those who read.

pub(super) mod check;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbDeleteResponse, PbKeyValue, PbPutRequest, PbPutResponse,
    PbRangeRequest, PbResponseHeader, PbResponseOp, PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse,
    PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};

use check::{check_put, check_txn, compare_one};

use super::failure::Failure;
use super::kv::{Event, Kv, Range};
use crate::clock::Moment;

/// Operations of one transaction, as in etcd.
const OPS_MAX: usize = 128;
/// The shortest lease, as etcd has it by default.
const TTL_MIN: i64 = 2;
const TTL_MAX: i64 = 9_000_000_000;
/// Bytes that a lease takes.
const LEASE_BYTES: u64 = 128;

/// A lease.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// Seconds that were granted.
    pub(super) ttl: i64,
    /// When it ends.
    pub(super) deadline: Moment,
    /// The keys that hang on it.
    pub(super) keys: BTreeSet<Vec<u8>>,
}

/// What a change did: what the log keeps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Done {
    pub(super) events: Vec<Event>,
    pub(super) granted: Option<(i64, i64)>,
    pub(super) revoked: Option<i64>,
    pub(super) compacted: Option<i64>,
}

impl Done {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) kv: Kv,
    pub(super) leases: BTreeMap<i64, Lease>,
}

impl State {
    fn header(revision: i64) -> Option<PbResponseHeader> {
        Some(PbResponseHeader {
            revision,
            ..PbResponseHeader::default()
        })
    }

    pub(super) fn put(&mut self, request: &PbPutRequest) -> Result<(PbPutResponse, Done), Failure> {
        check_put(request)?;
        // Outside of a transaction etcd looks for the lease first.
        self.check_lease(request)?;
        self.check_put_now(request)?;
        let making = self.kv.revision() + 1;
        let mut events = Vec::new();
        let mut answer = self.apply_put(request, making, &mut events);
        answer.header = Self::header(making);
        self.kv.seal(&events);
        Ok((
            answer,
            Done {
                events,
                ..Done::default()
            },
        ))
    }

    pub(super) fn delete(
        &mut self,
        request: &PbDeleteRequest,
    ) -> Result<(PbDeleteResponse, Done), Failure> {
        if request.key.is_empty() {
            return Err(Failure::EmptyKey);
        }
        let making = self.kv.revision() + 1;
        let mut events = Vec::new();
        let mut answer = self.apply_delete(request, making, &mut events);
        self.kv.seal(&events);
        answer.header = Self::header(self.kv.revision());
        Ok((
            answer,
            Done {
                events,
                ..Done::default()
            },
        ))
    }

    pub(super) fn txn(&mut self, request: &PbTxnRequest) -> Result<(PbTxnResponse, Done), Failure> {
        check_txn(request)?;
        self.check_txn_now(request)?;
        let making = self.kv.revision() + 1;
        let mut events = Vec::new();
        let mut path = Vec::new();
        self.path(request, &mut path);
        let mut answer = self.apply_txn(request, making, &mut path.into_iter(), &mut events)?;
        self.kv.seal(&events);
        answer.header = Self::header(self.kv.revision());
        Ok((
            answer,
            Done {
                events,
                ..Done::default()
            },
        ))
    }

    pub(super) fn grant(&mut self, id: i64, ttl: i64, now: Moment) -> Result<Done, Failure> {
        if ttl > TTL_MAX {
            return Err(Failure::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Failure::LeaseExists);
        }
        let ttl = ttl.max(TTL_MIN);
        self.insert_lease(id, ttl, now);
        Ok(Done {
            granted: Some((id, ttl)),
            ..Done::default()
        })
    }

    fn insert_lease(&mut self, id: i64, ttl: i64, now: Moment) {
        let deadline = now + Duration::from_secs(ttl.unsigned_abs());
        self.leases.insert(
            id,
            Lease {
                ttl,
                deadline,
                keys: BTreeSet::new(),
            },
        );
    }

    pub(super) fn revoke(&mut self, id: i64) -> Result<Done, Failure> {
        let lease = self.leases.remove(&id).ok_or(Failure::LeaseNotFound)?;
        let making = self.kv.revision() + 1;
        let events: Vec<Event> = lease
            .keys
            .iter()
            .filter_map(|key| self.kv.delete(key, making))
            .collect();
        self.kv.seal(&events);
        Ok(Done {
            events,
            revoked: Some(id),
            ..Done::default()
        })
    }

    /// The lease lives its whole time again; the seconds of it.
    pub(super) fn renew(&mut self, id: i64, now: Moment) -> Option<i64> {
        let lease = self.leases.get_mut(&id)?;
        if lease.deadline <= now {
            return None;
        }
        lease.deadline = now + Duration::from_secs(lease.ttl.unsigned_abs());
        Some(lease.ttl)
    }

    /// The leases that have ended.
    pub(super) fn ended(&self, now: Moment) -> Vec<i64> {
        let ended = self
            .leases
            .iter()
            .filter(|(_id, lease)| lease.deadline <= now);
        ended.map(|(id, _lease)| *id).collect()
    }

    /// Does again what was done; its events with what was there before. A lease starts anew, as
    /// after any restart of etcd.
    pub(super) fn replay(&mut self, done: Done, now: Moment) -> Vec<Event> {
        if let Some((id, ttl)) = done.granted {
            self.insert_lease(id, ttl, now);
        }
        let mut events = Vec::with_capacity(done.events.len());
        for event in done.events {
            self.unhang(&event.key);
            if let Some(kv) = &event.put {
                self.hang(&event.key, kv.lease);
            }
            events.push(self.kv.apply(event));
        }
        self.kv.seal(&events);
        if let Some(id) = done.revoked {
            self.leases.remove(&id);
        }
        if let Some(revision) = done.compacted
            && self.kv.compact(revision).is_err()
        {
            tracing::debug!(revision, "compaction was done already");
        }
        events
    }

    /// Bytes of what lives: keys and leases.
    pub(super) fn live_bytes(&self) -> u64 {
        let leases = u64::try_from(self.leases.len()).unwrap_or(u64::MAX);
        let leases = leases.saturating_mul(LEASE_BYTES);
        self.kv.live_bytes().saturating_add(leases)
    }

    fn hang(&mut self, key: &[u8], lease: i64) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.insert(key.to_vec());
        }
    }

    fn unhang(&mut self, key: &[u8]) {
        let lease = self.kv.get(key).map_or(0, |kv| kv.lease);
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.keys.remove(key);
        }
    }

    fn apply_put(
        &mut self,
        request: &PbPutRequest,
        making: i64,
        events: &mut Vec<Event>,
    ) -> PbPutResponse {
        let before = self.kv.get(&request.key).cloned();
        let kept = |keep: bool| before.as_ref().filter(|_kv| keep);
        let value =
            kept(request.ignore_value).map_or_else(|| request.value.clone(), |kv| kv.value.clone());
        let lease = kept(request.ignore_lease).map_or(request.lease, |kv| kv.lease);
        self.unhang(&request.key);
        self.hang(&request.key, lease);
        events.push(self.kv.put(&request.key, value, lease, making));
        let prev_kv = before
            .filter(|_kv| request.prev_kv)
            .map(|kv| PbKeyValue::clone(&kv));
        PbPutResponse {
            header: None,
            prev_kv,
        }
    }

    fn apply_delete(
        &mut self,
        request: &PbDeleteRequest,
        making: i64,
        events: &mut Vec<Event>,
    ) -> PbDeleteResponse {
        let range = Range::new(&request.key, &request.range_end);
        let gone: Vec<Arc<PbKeyValue>> = self.kv.at(&range, i64::MAX).cloned().collect();
        for kv in &gone {
            self.unhang(&kv.key);
            events.extend(self.kv.delete(&kv.key, making));
        }
        let deleted = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        let prev_kvs = if request.prev_kv {
            gone.iter().map(|kv| PbKeyValue::clone(kv)).collect()
        } else {
            Vec::new()
        };
        PbDeleteResponse {
            header: None,
            deleted,
            prev_kvs,
        }
    }

    /// Which way a transaction and the nested ones on that way go, outermost first. All compare with
    /// what there was before any of them.
    fn path(&self, request: &PbTxnRequest, path: &mut Vec<bool>) {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        path.push(succeeded);
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        for op in ops {
            if let Some(PbTxnOpRequest::RequestTxn(txn)) = &op.request {
                self.path(txn, path);
            }
        }
    }

    /// The headers of what is inside hold the revision at that moment; that of a nested transaction
    /// holds none.
    fn apply_txn(
        &mut self,
        request: &PbTxnRequest,
        making: i64,
        path: &mut std::vec::IntoIter<bool>,
        events: &mut Vec<Event>,
    ) -> Result<PbTxnResponse, Failure> {
        let succeeded = path.next().unwrap_or(false);
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            let response = match &op.request {
                Some(PbTxnOpRequest::RequestRange(range)) => {
                    let now = self.reached(making, events);
                    let mut answer = self.kv.range(range, now)?;
                    answer.header = Self::header(now);
                    Some(PbTxnOpResponse::ResponseRange(answer))
                },
                Some(PbTxnOpRequest::RequestPut(put)) => {
                    let mut answer = self.apply_put(put, making, events);
                    answer.header = Self::header(making);
                    Some(PbTxnOpResponse::ResponsePut(answer))
                },
                Some(PbTxnOpRequest::RequestDeleteRange(delete)) => {
                    let mut answer = self.apply_delete(delete, making, events);
                    answer.header = Self::header(self.reached(making, events));
                    Some(PbTxnOpResponse::ResponseDeleteRange(answer))
                },
                Some(PbTxnOpRequest::RequestTxn(txn)) => {
                    let mut answer = self.apply_txn(txn, making, path, events)?;
                    answer.header = Self::header(0);
                    Some(PbTxnOpResponse::ResponseTxn(answer))
                },
                None => None,
            };
            responses.push(PbResponseOp { response });
        }
        Ok(PbTxnResponse {
            header: None,
            succeeded,
            responses,
        })
    }

    /// The revision that a transaction is at.
    fn reached(&self, making: i64, events: &[Event]) -> i64 {
        if events.is_empty() {
            self.kv.revision()
        } else {
            making
        }
    }

    /// Whether a comparison holds, for every key of its range; an empty range is compared as one
    /// key that was never there, except by value, which then never holds.
    fn holds(&self, compare: &PbCompare) -> bool {
        let range = Range::new(&compare.key, &compare.range_end);
        let mut kvs = self.kv.at(&range, i64::MAX).peekable();
        if kvs.peek().is_none() {
            if compare.target == 3 {
                return false;
            }
            return compare_one(compare, &PbKeyValue::default());
        }
        kvs.all(|kv| compare_one(compare, kv))
    }

    /// What depends on the state, checked before anything changes, for the branch that is taken.
    fn check_txn_now(&self, request: &PbTxnRequest) -> Result<(), Failure> {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        for op in ops {
            match &op.request {
                Some(PbTxnOpRequest::RequestPut(put)) => self.check_put_now(put)?,
                Some(PbTxnOpRequest::RequestRange(range)) => {
                    if range.revision > self.kv.revision() {
                        return Err(Failure::FutureRevision);
                    }
                    // Of a store that was never compacted even -1 may be asked for.
                    let first = match self.kv.compacted() {
                        0 => -1,
                        compacted => compacted,
                    };
                    if range.revision != 0 && range.revision < first {
                        return Err(Failure::Compacted);
                    }
                },
                Some(PbTxnOpRequest::RequestTxn(txn)) => self.check_txn_now(txn)?,
                Some(PbTxnOpRequest::RequestDeleteRange(_)) | None => {},
            }
        }
        Ok(())
    }

    fn check_put_now(&self, request: &PbPutRequest) -> Result<(), Failure> {
        if (request.ignore_value || request.ignore_lease) && self.kv.get(&request.key).is_none() {
            return Err(Failure::KeyNotFound);
        }
        self.check_lease(request)
    }

    fn check_lease(&self, request: &PbPutRequest) -> Result<(), Failure> {
        if request.lease != 0 && !self.leases.contains_key(&request.lease) {
            return Err(Failure::LeaseNotFound);
        }
        Ok(())
    }
}
