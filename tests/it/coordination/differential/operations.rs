//! Random operations: few keys, few leases, revisions near what matters, so that they meet.
//!
//! Left out, for what etcd does with it is an accident:
//! - in a transaction deletes of ranges without an end, or with one before the start, and two nested
//!   transactions side by side: etcd does not see there that a delete overlaps with a put, and makes
//!   both of one key in one revision;
//! - watchers that leave out puts and deletes: nothing shows when the real one is done with them;
//! - compaction at 0 of a store that was never compacted.

use etcd_client::proto::{
    PbCompactionRequest, PbCompare, PbDeleteRequest, PbLeaseGrantRequest, PbLeaseKeepAliveRequest,
    PbLeaseRevokeRequest, PbLeaseTimeToLiveRequest, PbPutRequest, PbRangeRequest, PbTargetUnion,
    PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Every key: prefixes of each other, a zero byte, bytes after which no prefix has an end. Fewer than
/// twelve, for up to there the sort that etcd uses is stable.
pub(super) const KEYS: [&[u8]; 7] = [
    b"\0",
    b"a",
    b"a/",
    b"a/b",
    b"a/b\xff",
    b"b\xff\xff",
    b"\xff",
];
/// The leases that are granted.
pub(super) const LEASES: [i64; 4] = [11, 12, 13, 14];
/// A lease that never is.
const LEASE_UNKNOWN: i64 = 99;
const VALUES: [&[u8]; 5] = [b"", b"1", b"2", b"10", b"\xff\0"];
/// Seconds of leases: longer than any list runs, the longest that etcd grants, and one too many.
const TTLS: [i64; 5] = [600, 600, 3_600, 9_000_000_000, 9_000_000_001];
/// Seconds of leases that are revoked at once.
const TTLS_BRIEF: [i64; 5] = [-3, 0, 1, 2, 5];
/// More operations than a transaction may have.
const COMPARES_TOO_MANY: usize = 129;
/// How deep transactions nest.
const DEPTH_MAX: usize = 2;

/// What is asked of both servers.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Put(PbPutRequest),
    Range(PbRangeRequest),
    Delete(PbDeleteRequest),
    Txn(PbTxnRequest),
    Compact(PbCompactionRequest),
    Grant(PbLeaseGrantRequest),
    /// A grant, with the made-up id if it has none, and the revocation of it.
    GrantBriefly(PbLeaseGrantRequest),
    Revoke(PbLeaseRevokeRequest),
    KeepAlive(PbLeaseKeepAliveRequest),
    TimeToLive(PbLeaseTimeToLiveRequest),
    Leases,
    Watch(Watching),
    /// Ends a watcher that is there.
    Cancel(i64),
}

impl Operation {
    /// What it is counted as.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Range(_) => "range",
            Self::Delete(_) => "delete",
            Self::Txn(_) => "txn",
            Self::Compact(_) => "compact",
            Self::Grant(_) => "grant",
            Self::GrantBriefly(_) => "grant and revoke",
            Self::Revoke(_) => "revoke",
            Self::KeepAlive(_) => "keep alive",
            Self::TimeToLive(_) => "time to live",
            Self::Leases => "leases",
            Self::Watch(_) => "watch",
            Self::Cancel(_) => "cancel a watch",
        }
    }
}

/// A watcher that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Watching {
    pub(super) key: Vec<u8>,
    pub(super) range_end: Vec<u8>,
    pub(super) start_revision: i64,
    /// Puts are left out by 0, deletes by 1.
    pub(super) filters: Vec<i32>,
    pub(super) prev_kv: bool,
    /// Whether large messages may come in parts.
    pub(super) fragment: bool,
    /// 0: the server chooses.
    pub(super) id: i64,
}

/// Which operation comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Range,
    Delete,
    Txn,
    Compact,
    Grant,
    GrantBriefly,
    Revoke,
    KeepAlive,
    TimeToLive,
    Leases,
    Watch,
    Cancel,
}

/// How often each comes.
const KINDS: [(Kind, u32); 13] = [
    (Kind::Put, 25),
    (Kind::Range, 18),
    (Kind::Delete, 8),
    (Kind::Txn, 20),
    (Kind::Compact, 4),
    (Kind::Grant, 5),
    (Kind::GrantBriefly, 1),
    (Kind::Revoke, 4),
    (Kind::KeepAlive, 3),
    (Kind::TimeToLive, 4),
    (Kind::Leases, 2),
    (Kind::Watch, 5),
    (Kind::Cancel, 1),
];

/// Where the servers are.
#[derive(Debug, Clone)]
pub(super) struct Now {
    pub(super) revision: i64,
    pub(super) compacted: i64,
    /// The ids of the watchers that are there.
    pub(super) watchers: Vec<i64>,
}

/// Which etcd the real one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Real {
    /// Before 3.6: it accepts sort orders and targets that there are not.
    Older,
    /// As the embedded one is to be.
    Current,
}

/// The operations of one list, from its seed.
#[derive(Debug)]
pub(super) struct Generator(StdRng, Real);

impl Generator {
    pub(super) fn new(seed: u64, real: Real) -> Self {
        Self(StdRng::seed_from_u64(seed), real)
    }

    /// How many operations the list has.
    pub(super) fn len(&mut self) -> usize {
        self.0.random_range(20_usize..=40)
    }

    pub(super) fn kind(&mut self) -> Kind {
        let total: u32 = KINDS.iter().map(|(_kind, weight)| weight).sum();
        let mut left = self.0.random_range(0..total);
        for (kind, weight) in KINDS {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        Kind::Put
    }

    pub(super) fn operation(&mut self, kind: Kind, now: &Now) -> Operation {
        match kind {
            Kind::Put => Operation::Put(self.put()),
            Kind::Range => Operation::Range(self.range(now)),
            Kind::Delete => {
                let (key, range_end) = self.span();
                Operation::Delete(self.delete(key, range_end))
            },
            Kind::Txn => Operation::Txn(self.txn(now, DEPTH_MAX)),
            Kind::Compact => Operation::Compact(self.compact(now)),
            Kind::Grant => Operation::Grant(PbLeaseGrantRequest {
                ttl: self.pick(&TTLS),
                id: self.pick(&LEASES),
            }),
            Kind::GrantBriefly => Operation::GrantBriefly(PbLeaseGrantRequest {
                ttl: self.pick(&TTLS_BRIEF),
                id: self.pick(&[0, 77]),
            }),
            Kind::Revoke => Operation::Revoke(PbLeaseRevokeRequest {
                id: self.some_lease(),
            }),
            Kind::KeepAlive => Operation::KeepAlive(PbLeaseKeepAliveRequest {
                id: self.some_lease(),
            }),
            Kind::TimeToLive => Operation::TimeToLive(PbLeaseTimeToLiveRequest {
                id: self.some_lease(),
                keys: self.chance(75),
            }),
            Kind::Leases => Operation::Leases,
            Kind::Watch => Operation::Watch(self.watch(now)),
            Kind::Cancel => Operation::Cancel(self.pick(&now.watchers)),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0_u32..100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.0.random_range(0..from.len());
        from[at].clone()
    }

    /// A key; seldom none, which most requests refuse.
    fn key(&mut self) -> Vec<u8> {
        if self.0.random_range(0_u32..80) == 0 {
            return Vec::new();
        }
        self.pick(&KEYS).to_vec()
    }

    fn value(&mut self) -> Vec<u8> {
        self.pick(&VALUES).to_vec()
    }

    /// A key, a prefix, all from a key on, or what lies between two keys, which may be nothing.
    fn span(&mut self) -> (Vec<u8>, Vec<u8>) {
        let key = self.key();
        let end = match self.0.random_range(0_u32..20) {
            0..=7 => Vec::new(),
            8..=12 => prefix_end(&key),
            13..=15 => vec![0],
            16..=18 => self.key(),
            _ => key.clone(),
        };
        (key, end)
    }

    /// The same with a proper end, or else the key alone.
    fn span_with_end(&mut self) -> (Vec<u8>, Vec<u8>) {
        let (key, end) = self.span();
        let end = if end > key && end != [0] {
            end
        } else {
            Vec::new()
        };
        (key, end)
    }

    /// A revision: mostly of late, some about the compacted one, some to come, some that is none.
    fn revision(&mut self, now: &Now) -> i64 {
        match self.0.random_range(0_u32..20) {
            0 => -1,
            1..=2 => now.revision + self.0.random_range(1_i64..=3),
            3..=6 => now.compacted + self.0.random_range(-1_i64..=1),
            _ => now.revision - self.0.random_range(0_i64..=12),
        }
    }

    /// A revision that a live key may have, or 0.
    fn written(&mut self, now: &Now) -> i64 {
        if self.chance(30) {
            return 0;
        }
        now.revision - self.0.random_range(0_i64..=10)
    }

    /// A number of an enum that goes up to `most`; mostly 0, seldom one that it does not have.
    fn choice(&mut self, most: i32) -> i32 {
        match self.0.random_range(0_u32..50) {
            0 if self.1 == Real::Current => 9,
            0..=20 => 0,
            _ => self.0.random_range(0_i32..=most),
        }
    }

    /// A lease for a key: often none, seldom one that is unknown.
    fn lease(&mut self) -> i64 {
        if self.chance(50) {
            return 0;
        }
        self.some_lease()
    }

    fn some_lease(&mut self) -> i64 {
        if self.chance(8) {
            return LEASE_UNKNOWN;
        }
        self.pick(&LEASES)
    }

    fn put(&mut self) -> PbPutRequest {
        let ignore_value = self.chance(12);
        let ignore_lease = self.chance(12);
        // Seldom both the order to keep it and a new one, which is refused.
        let value = if ignore_value && !self.chance(10) {
            Vec::new()
        } else {
            self.value()
        };
        let lease = if ignore_lease && !self.chance(10) {
            0
        } else {
            self.lease()
        };
        PbPutRequest {
            key: self.key(),
            value,
            lease,
            prev_kv: self.chance(40),
            ignore_value,
            ignore_lease,
        }
    }

    fn range(&mut self, now: &Now) -> PbRangeRequest {
        let (key, range_end) = self.span();
        let revision = if self.chance(70) {
            0
        } else {
            self.revision(now)
        };
        let limit = match self.0.random_range(0_u32..20) {
            0 => -1,
            1..=8 => self.0.random_range(1_i64..=4),
            _ => 0,
        };
        PbRangeRequest {
            key,
            range_end,
            limit,
            revision,
            sort_order: self.choice(2),
            sort_target: self.choice(4),
            serializable: self.chance(20),
            keys_only: self.chance(15),
            count_only: self.chance(12),
            min_mod_revision: self.bound(now),
            max_mod_revision: self.bound(now),
            min_create_revision: self.bound(now),
            max_create_revision: self.bound(now),
        }
    }

    fn bound(&mut self, now: &Now) -> i64 {
        if self.chance(85) {
            return 0;
        }
        self.written(now)
    }

    fn delete(&mut self, key: Vec<u8>, range_end: Vec<u8>) -> PbDeleteRequest {
        PbDeleteRequest {
            key,
            range_end,
            prev_kv: self.chance(50),
        }
    }

    fn compact(&mut self, now: &Now) -> PbCompactionRequest {
        let revision = match self.revision(now) {
            0 => 1,
            revision => revision,
        };
        // Only when a compaction is done with is it certain what a watch of the past still finds.
        PbCompactionRequest {
            revision,
            physical: true,
        }
    }

    fn watch(&mut self, now: &Now) -> Watching {
        let (key, range_end) = self.span();
        let start_revision = if self.chance(40) {
            0
        } else {
            self.revision(now)
        };
        let filters = match self.0.random_range(0_u32..20) {
            0..=2 => vec![0],
            3..=6 => vec![1],
            7 => vec![1, 1],
            _ => Vec::new(),
        };
        let id = if self.chance(75) {
            0
        } else {
            self.0.random_range(1_i64..=3)
        };
        Watching {
            key,
            range_end,
            start_revision,
            filters,
            prev_kv: self.chance(50),
            fragment: self.chance(40),
            id,
        }
    }

    fn txn(&mut self, now: &Now, depth: usize) -> PbTxnRequest {
        let compares = match self.0.random_range(0_u32..300) {
            0 => COMPARES_TOO_MANY,
            1..=99 => 0,
            100..=219 => 1,
            _ => 2,
        };
        PbTxnRequest {
            compare: (0..compares).map(|_at| self.compare(now)).collect(),
            success: self.branch(now, depth),
            failure: self.branch(now, depth),
        }
    }

    fn branch(&mut self, now: &Now, depth: usize) -> Vec<PbTxnRequestOp> {
        let len = self.0.random_range(0_usize..=3);
        let mut ops = Vec::with_capacity(len);
        let mut depth = depth;
        for _at in 0..len {
            let op = self.txn_op(now, depth);
            if matches!(op.request, Some(PbTxnOpRequest::RequestTxn(_))) {
                depth = 0;
            }
            ops.push(op);
        }
        ops
    }

    fn txn_op(&mut self, now: &Now, depth: usize) -> PbTxnRequestOp {
        let request = match self.0.random_range(0_u32..100) {
            0 => return PbTxnRequestOp { request: None },
            1..=20 if depth > 0 => PbTxnOpRequest::RequestTxn(self.txn(now, depth - 1)),
            21..=40 => PbTxnOpRequest::RequestRange(self.range(now)),
            41..=60 => {
                let (key, range_end) = self.span_with_end();
                PbTxnOpRequest::RequestDeleteRange(self.delete(key, range_end))
            },
            _ => PbTxnOpRequest::RequestPut(self.put()),
        };
        PbTxnRequestOp {
            request: Some(request),
        }
    }

    fn compare(&mut self, now: &Now) -> PbCompare {
        let (key, range_end) = if self.chance(25) {
            self.span()
        } else {
            (self.key(), Vec::new())
        };
        let target = self.0.random_range(0_i32..=4);
        let with = match target {
            0 => PbTargetUnion::Version(self.0.random_range(0_i64..=3)),
            1 => PbTargetUnion::CreateRevision(self.written(now)),
            2 => PbTargetUnion::ModRevision(self.written(now)),
            3 => PbTargetUnion::Value(self.value()),
            _ => PbTargetUnion::Lease(self.lease()),
        };
        // Seldom nothing to compare with, or what fits another target.
        let (target, target_union) = match self.0.random_range(0_u32..40) {
            0 => (target, None),
            1 => (self.0.random_range(0_i32..=4), Some(with)),
            _ => (target, Some(with)),
        };
        PbCompare {
            result: self.0.random_range(0_i32..=3),
            target,
            key,
            range_end,
            target_union,
        }
    }
}

/// The end of the range of all keys with a prefix, as etcd's clients make it.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0]
}
