//! Runs lists on both servers and compares.
//!
//! A server reads the past for a new watcher by and by, and previous values when it sends an event.
//! Before anything that could race with that (a compaction, the end of a watcher or of the list) all
//! watchers are brought up to date: every key is put in one transaction and, where needed, deleted,
//! and each watcher must show that it got there.

use std::collections::BTreeMap;

use etcd_client::proto::{
    PbDeleteRequest, PbLeaseGrantRequest, PbLeaseRevokeRequest, PbPutRequest, PbRangeRequest,
    PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp,
};

use super::operations::{Generator, KEYS, Kind, LEASES, Now, Operation, Real, Watching};
use super::sides::{Answer, Side, What};
use super::watches::Seen;

/// What was done, over all lists.
#[derive(Debug, Default)]
struct Tally {
    operations: BTreeMap<&'static str, usize>,
    refusals: BTreeMap<String, usize>,
    events: usize,
    canceled: usize,
}

/// Both servers, and where the list that runs has got to. When the test fails it prints the list.
#[derive(Debug)]
pub(super) struct Run {
    real: Side,
    embedded: Side,
    seed: u64,
    version: Real,
    list: u64,
    operations: Vec<Operation>,
    /// The watchers that are there, by id.
    watchers: BTreeMap<i64, Watching>,
    revision: i64,
    compacted: i64,
    tally: Tally,
}

/// Whether a list goes on after the watchers were brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    More,
    End,
}

impl Run {
    pub(super) async fn start((real, embedded): (&str, &str), seed: u64, version: Real) -> Self {
        Self {
            real: Side::connect(real).await,
            embedded: Side::connect(embedded).await,
            seed,
            version,
            list: 0,
            operations: Vec::new(),
            watchers: BTreeMap::new(),
            revision: 1,
            compacted: 0,
            tally: Tally::default(),
        }
    }

    /// Runs the list with a number. It leaves no key and no lease.
    pub(super) async fn list(&mut self, list: u64) {
        self.list = list;
        self.operations.clear();
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(list);
        let mut generator = Generator::new(seed, self.version);
        for id in [LEASES[0], LEASES[1]] {
            let grant = PbLeaseGrantRequest { ttl: 600, id };
            self.same(Operation::Grant(grant)).await;
        }
        for _at in 0..generator.len() {
            let kind = generator.kind();
            if matches!(kind, Kind::Compact | Kind::Cancel) {
                self.settle(After::More).await;
            }
            if kind == Kind::Cancel && self.watchers.is_empty() {
                continue;
            }
            let operation = generator.operation(kind, &self.now());
            self.same(operation).await;
        }
        self.settle(After::End).await;
        for id in LEASES {
            self.same(Operation::Revoke(PbLeaseRevokeRequest { id }))
                .await;
        }
        self.same(Operation::Leases).await;
        self.same(Operation::Range(everything())).await;
        self.watchers.clear();
        self.real.watches.close();
        self.embedded.watches.close();
    }

    /// Prints what was done.
    pub(super) fn report(&self, lists: u64) {
        let Tally {
            operations,
            refusals,
            events,
            canceled,
        } = &self.tally;
        let count: usize = operations.values().sum();
        let seed = self.seed;
        if self.version == Real::Older {
            eprintln!(
                "it is older than 3.6: no unknown sort orders and targets were asked for, and"
            );
            eprintln!("refused transactions were compared without the reason");
        }
        for (name, count) in operations {
            eprintln!("{count:8} {name}");
        }
        eprintln!("{canceled:8} watchers that were ended by the server");
        for (message, count) in refusals {
            eprintln!("{count:8} refused: {message}");
        }
        eprintln!(
            "differential: {lists} lists, {count} operations, {events} watch events, \
             0 differences (seed {seed})"
        );
    }

    fn now(&self) -> Now {
        Now {
            revision: self.revision,
            compacted: self.compacted,
            watchers: self.watchers.keys().copied().collect(),
        }
    }

    /// Asks both; they must answer the same.
    async fn same(&mut self, operation: Operation) -> Answer {
        self.operations.push(operation.clone());
        let (real, embedded) = tokio::join!(
            self.real.perform(&operation),
            self.embedded.perform(&operation)
        );
        assert!(
            real == embedded || self.only_words_differ(&operation, &real, &embedded),
            "the answers to the last operation differ\nreal: {real:#?}\nembedded: {embedded:#?}"
        );
        self.tally.count(&operation, &real);
        self.revision = self.revision.max(real.revision);
        match (&operation, &real.what) {
            (Operation::Compact(compact), What::Compacted(_)) => self.compacted = compact.revision,
            (Operation::Watch(watching), What::Watch(created)) if !created.canceled => {
                self.watchers.insert(created.watch_id, watching.clone());
            },
            (Operation::Cancel(id), _) => {
                self.watchers.remove(id);
            },
            _ => {},
        }
        real
    }

    /// Whether both refuse a transaction, an older one perhaps for another of its faults: before 3.6
    /// etcd looked at all puts of a transaction before its ranges.
    fn only_words_differ(&self, operation: &Operation, real: &Answer, embedded: &Answer) -> bool {
        let refused = real.refusal().is_some() && embedded.refusal().is_some();
        self.version == Real::Older && matches!(operation, Operation::Txn(_)) && refused
    }

    /// Brings all watchers up to date and compares what they got.
    async fn settle(&mut self, after: After) {
        let last = after == After::End;
        if self.watchers.is_empty() && !last {
            return;
        }
        let put = self.same(Operation::Txn(put_everything())).await.revision;
        let deletes = last || self.watchers.values().any(Watching::needs_delete);
        let delete = if deletes {
            let delete = PbDeleteRequest {
                key: vec![0],
                range_end: vec![0],
                prev_kv: false,
            };
            self.same(Operation::Delete(delete)).await.revision
        } else {
            put
        };
        let goals = self.watchers.iter();
        let goals = goals.filter_map(|(id, watching)| Some((*id, watching.goal(put, delete)?)));
        let goals: BTreeMap<i64, i64> = goals.collect();
        let (real_got_there, embedded_got_there) = tokio::join!(
            self.real.watches.reach(&goals),
            self.embedded.watches.reach(&goals)
        );
        let real = self.real.watches.take_seen();
        let embedded = self.embedded.watches.take_seen();
        let watchers = &self.watchers;
        assert!(
            real_got_there && embedded_got_there && real == embedded,
            "what the watchers got differs, or did not come in time\nwatchers: {watchers:?}\n\
             they should get to: {goals:?}\nreal (in time: {real_got_there}): {real:#?}\n\
             embedded (in time: {embedded_got_there}): {embedded:#?}"
        );
        for (id, seen) in real {
            for one in seen {
                match one {
                    Seen::Event(_) => self.tally.events += 1,
                    Seen::Canceled { .. } => {
                        self.tally.canceled += 1;
                        self.watchers.remove(&id);
                    },
                }
            }
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (seed, list) = (self.seed, self.list);
        eprintln!("list {list} of seed {seed}:");
        for operation in &self.operations {
            eprintln!("    {operation:?}");
        }
        let lists = list + 1;
        eprintln!("again: VECTORSPHERE_SEED={seed} VECTORSPHERE_DIFFERENTIAL_LISTS={lists}");
    }
}

impl Watching {
    fn hides(&self, filter: i32) -> bool {
        self.filters.contains(&filter)
    }

    /// Whether only a delete shows how far it has got.
    fn needs_delete(&self) -> bool {
        self.hides(0) && !self.hides(1)
    }

    /// The last revision of which it gets events when every key is put and then deleted; none when it
    /// gets none.
    fn goal(&self, put: i64, delete: i64) -> Option<i64> {
        let goal = match (self.hides(0), self.hides(1)) {
            (true, true) => return None,
            (false, true) => put,
            (_, false) => delete,
        };
        (self.start_revision <= goal).then_some(goal)
    }
}

impl Tally {
    fn count(&mut self, operation: &Operation, answer: &Answer) {
        *self.operations.entry(operation.name()).or_default() += 1;
        if let Some(message) = answer.refusal() {
            *self.refusals.entry(message.to_owned()).or_default() += 1;
        }
    }
}

fn everything() -> PbRangeRequest {
    PbRangeRequest {
        key: vec![0],
        range_end: vec![0],
        ..PbRangeRequest::default()
    }
}

fn put_everything() -> PbTxnRequest {
    let puts = KEYS.map(|key| {
        let put = PbPutRequest {
            key: key.to_vec(),
            value: b"settled".to_vec(),
            ..PbPutRequest::default()
        };
        PbTxnRequestOp {
            request: Some(PbTxnOpRequest::RequestPut(put)),
        }
    });
    PbTxnRequest {
        success: Vec::from(puts),
        ..PbTxnRequest::default()
    }
}
