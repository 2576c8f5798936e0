//! The store against a model that keeps everything in memory.

mod trouble;
mod vectors;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::*;
use crate::clock::SystemClock;
use crate::fault::{Fault, Kind};
use crate::ids::{CollectionId, PointId};
use crate::query::{FieldPath, Filter, PayloadSelector, PointInput, Selection};
use crate::rows::Rows;

fn identity() -> ShardIdentity {
    let shard = ShardId {
        collection: CollectionId(Uuid::from_u128(1)),
        number: 0,
    };
    ShardIdentity {
        cluster: Uuid::from_u128(2),
        shard,
        dimensions: 3,
        distance: Distance::Euclid,
    }
}

fn options() -> Options {
    Options {
        map_bytes: 1 << 20,
        map_bytes_max: 1 << 30,
        clock: SystemClock::shared(),
    }
}

/// Of a map that has to grow, to this size at most.
fn small(map_bytes_max: usize) -> Options {
    Options {
        map_bytes: 256 * 1024,
        map_bytes_max,
        ..options()
    }
}

fn soon() -> Moment {
    SystemClock.now() + Duration::from_secs(30)
}

fn create(folder: &Path) -> Shard {
    Shard::create(&folder.join("store"), &identity(), Uuid::nil(), options()).unwrap()
}

fn open(folder: &Path) -> Shard {
    Shard::open(&folder.join("store"), &identity(), options()).unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn write(runtime: &Runtime, shard: &Shard, operation: Operation) -> Result<Written, Error> {
    runtime.block_on(shard.write(Epoch(1), operation, soon()))
}

fn point(id: u64, vector: [f32; 3], payload: &Value) -> PointInput {
    let payload = payload.to_string().into_bytes();
    PointInput {
        id: PointId::Number(id),
        vector: vector.to_vec(),
        payload,
    }
}

/// Everything a shard holds, in the order of ids.
fn picture(shard: &Shard) -> Vec<(PointId, Sequence, Value, Vec<f32>)> {
    let snapshot = shard.snapshot().unwrap();
    let all = PayloadSelector::All;
    let page = snapshot
        .scroll((None, usize::MAX), &Filter::default(), &all, true)
        .unwrap();
    assert_eq!(page.next, None);
    let read = |record: crate::query::Record| {
        let payload = serde_json::from_slice(&record.payload.unwrap()).unwrap();
        (record.id, record.version, payload, record.vector.unwrap())
    };
    page.records.into_iter().map(read).collect()
}

type Model = BTreeMap<PointId, (Sequence, Value, Vec<f32>)>;

fn apply_to_model(model: &mut Model, sequence: Sequence, operation: &Operation) {
    let chosen = |model: &Model, on: &Selection| -> Vec<PointId> {
        let ids = model.iter().filter(|(id, (_, payload, _))| match on {
            Selection::Ids(ids) => ids.contains(id),
            Selection::Filter(filter) => filter.matches(**id, payload),
        });
        ids.map(|(id, _)| *id).collect()
    };
    let mut change = |on: &Selection, change: &dyn Fn(&mut Value)| {
        for id in chosen(model, on) {
            let held = model.get_mut(&id).unwrap();
            held.0 = sequence;
            change(&mut held.1);
        }
    };
    let read = |payload: &[u8]| serde_json::from_slice::<Value>(payload).unwrap();
    match operation {
        Operation::Upsert(points) => {
            for point in points {
                let held = (sequence, read(&point.payload), point.vector.clone());
                model.insert(point.id, held);
            }
        },
        Operation::Delete(on) => {
            for id in chosen(model, on) {
                model.remove(&id);
            }
        },
        Operation::SetPayload { payload, key, on } => {
            let members = read(payload).as_object().unwrap().clone();
            change(on, &|payload| match key {
                Some(key) => key.merge(payload, &members),
                None => payload.as_object_mut().unwrap().extend(members.clone()),
            });
        },
        Operation::OverwritePayload { payload, on } => change(on, &|old| *old = read(payload)),
        Operation::DeletePayload { keys, on } => {
            change(on, &|payload| {
                keys.iter().for_each(|key| key.remove(payload));
            });
        },
        Operation::ClearPayload(on) => change(on, &|payload| *payload = json!({})),
    }
}

fn any_payload() -> impl Strategy<Value = Value> {
    (
        prop::option::of(0i64..4),
        prop::option::of("[ab]{0,2}"),
        any::<Option<bool>>(),
    )
        .prop_map(|(number, text, truth)| {
            let mut payload = json!({});
            if let Some(number) = number {
                payload["n"] = if number == 3 {
                    json!([1, 2.0])
                } else {
                    json!(number)
                };
            }
            if let Some(text) = text {
                payload["t"] = json!(text);
            }
            if let Some(truth) = truth {
                payload["b"] = json!(truth);
            }
            payload
        })
}

fn any_filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![
        (0i64..4).prop_map(|n| json!({"key": "n", "match": {"value": n}})),
        "[ab]{0,2}".prop_map(|t| json!({"key": "t", "match": {"value": t}})),
        any::<bool>().prop_map(|b| json!({"key": "b", "match": {"value": b}})),
        (0i64..3, 0i64..3).prop_map(|(a, b)| json!({"key": "n", "range": {"gte": a, "lt": b}})),
        prop::collection::vec("[ab]{0,1}", 0..3)
            .prop_map(|t| json!({"key": "t", "match": {"any": t}})),
        "[ab]{0,1}".prop_map(|t| json!({"key": "t", "match": {"except": [t]}})),
        prop::collection::vec(0u64..12, 0..4).prop_map(|ids| json!({"has_id": ids})),
        Just(json!({"is_empty": {"key": "n"}})),
    ];
    let list = prop::collection::vec(leaf, 0..3);
    (list.clone(), list.clone(), list).prop_map(|(must, should, must_not)| {
        let filter = json!({"must": must, "should": should, "must_not": must_not});
        Filter::parse(&filter).unwrap()
    })
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let ids = || {
        prop::collection::vec(0u64..12, 0..6)
            .prop_map(|ids| Selection::Ids(ids.into_iter().map(PointId::Number).collect()))
    };
    let on = || prop_oneof![ids(), any_filter().prop_map(Selection::Filter)];
    let text = |payload: Value| payload.to_string().into_bytes();
    let points = prop::collection::vec((0u64..12, any::<[i8; 3]>(), any_payload()), 0..6);
    prop_oneof![
        4 => points.prop_map(|points| Operation::Upsert(
            points.into_iter().map(|(id, v, payload)| point(id, v.map(f32::from), &payload)).collect()
        )),
        2 => on().prop_map(Operation::Delete),
        1 => (any_payload(), on()).prop_map(move |(payload, on)| Operation::SetPayload {
            payload: text(payload), key: None, on,
        }),
        1 => (any_payload(), on()).prop_map(move |(payload, on)| Operation::OverwritePayload {
            payload: text(payload), on,
        }),
        1 => (any_payload(), on()).prop_map(|(payload, on)| Operation::SetPayload {
            payload: payload.to_string().into_bytes(),
            key: Some(FieldPath::parse("inner.deep").unwrap()),
            on,
        }),
        1 => on().prop_map(|on| Operation::DeletePayload {
            keys: vec![FieldPath::parse("n").unwrap()], on,
        }),
        1 => on().prop_map(Operation::ClearPayload),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Write(Operation),
    Reopen,
    Indexes(Vec<&'static str>),
    Reuse,
    Ask(Filter),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_operation().prop_map(Step::Write),
        1 => Just(Step::Reopen),
        1 => prop::sample::subsequence(vec!["n", "t", "b"], 0..=3).prop_map(Step::Indexes),
        1 => Just(Step::Reuse),
        4 => any_filter().prop_map(Step::Ask),
    ]
}

fn kind_of(field: &str) -> IndexKind {
    match field {
        "n" => IndexKind::Number,
        "t" => IndexKind::Keyword,
        _ => IndexKind::Bool,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_shard_holds_what_a_model_holds(steps in prop::collection::vec(any_step(), 1..40)) {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let (mut shard, mut model) = (create(folder.path()), Model::new());
        for step in steps {
            match step {
                Step::Write(operation) => {
                    let written = write(&runtime, &shard, operation.clone()).unwrap();
                    apply_to_model(&mut model, written.sequence, &operation);
                },
                Step::Reopen => {
                    prop_assert!(shard.close());
                    shard = open(folder.path());
                },
                Step::Indexes(fields) => {
                    let wanted = fields.into_iter().map(|f| (f.to_owned(), kind_of(f))).collect();
                    runtime.block_on(shard.set_payload_indexes(&wanted, soon())).unwrap();
                },
                Step::Reuse => shard.reuse_rows(Some(&RoaringBitmap::new())),
                Step::Ask(filter) => {
                    let snapshot = shard.snapshot().unwrap();
                    let rows = snapshot.matching(&filter).unwrap();
                    let mut ids: Vec<_> = rows.iter().map(|r| snapshot.id_of(r).unwrap()).collect();
                    ids.sort_unstable();
                    let expected: Vec<_> = model
                        .iter()
                        .filter(|(id, (_, payload, _))| filter.matches(**id, payload))
                        .map(|(id, _)| *id)
                        .collect();
                    prop_assert_eq!(ids, expected, "{:?}", filter);
                },
            }
            let expected: Vec<_> =
                model.iter().map(|(id, (s, p, v))| (*id, *s, p.clone(), v.clone())).collect();
            prop_assert_eq!(picture(&shard), expected);
            let live = shard.snapshot().unwrap().live().len();
            prop_assert_eq!(live, u64::try_from(model.len()).unwrap());
        }
    }
}

#[test]
fn a_lower_epoch_and_a_bad_vector_are_refused_and_hurt_no_other() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    let good = || Operation::Upsert(vec![point(1, [1.0; 3], &json!({}))]);
    runtime
        .block_on(shard.write(Epoch(5), good(), soon()))
        .unwrap();
    let bad = Operation::Upsert(vec![point(2, [f32::NAN; 3], &json!({}))]);
    let (low, wrong, fine) = runtime.block_on(async {
        tokio::join!(
            shard.write(Epoch(4), good(), soon()),
            shard.write(Epoch(5), bad, soon()),
            shard.write(Epoch(5), good(), soon()),
        )
    });
    assert_eq!(low.unwrap_err().kind(), Kind::Conflict);
    assert_eq!(wrong.unwrap_err().kind(), Kind::InvalidInput);
    assert_eq!(fine.unwrap().sequence, Sequence(2));
    assert!(shard.close());
    let shard = open(folder.path());
    assert_eq!(shard.stats().epoch, Epoch(5));
    let low = runtime.block_on(shard.write(Epoch(4), good(), soon()));
    assert_eq!(low.unwrap_err().code(), "store.epoch");
    assert_eq!(shard.stats().points, 1);
}

#[test]
fn another_shard_is_not_opened_and_none_is_made_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let missing = Shard::open(&place, &identity(), options()).unwrap_err();
    assert_eq!(missing.code(), "store.missing");
    assert!(!place.try_exists().unwrap());
    assert!(create(folder.path()).close());
    let again = Shard::create(&place, &identity(), Uuid::nil(), options()).unwrap_err();
    assert_eq!(again.code(), "store.exists");
    let other = ShardIdentity {
        cluster: Uuid::from_u128(9),
        ..identity()
    };
    assert_eq!(
        Shard::open(&place, &other, options()).unwrap_err().code(),
        "store.foreign"
    );
    assert!(open(folder.path()).close());
}

#[test]
fn the_map_grows_under_load_up_to_its_bound() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let place = folder.path().join("store");
    let shard = Shard::create(&place, &identity(), Uuid::nil(), small(4 << 20)).unwrap();
    let text = "x".repeat(4_000);
    let mut written = 0;
    let full = loop {
        let batch = (written..written + 50).map(|id| point(id, [1.0; 3], &json!({"t": text})));
        match write(&runtime, &shard, Operation::Upsert(batch.collect())) {
            Ok(_) => written += 50,
            Err(error) => break error,
        }
    };
    assert_eq!((full.kind(), full.code()), (Kind::NoRoom, "store.full"));
    assert!(written > 200, "{written}");
    assert_eq!(shard.stats().points, written);
    // What is there can be read and removed, and then there is room again.
    let ids = (0..written / 2).map(PointId::Number).collect();
    write(&runtime, &shard, Operation::Delete(Selection::Ids(ids))).unwrap();
    let more = Operation::Upsert(vec![point(1, [1.0; 3], &json!({"t": text}))]);
    write(&runtime, &shard, more).unwrap();
    assert_eq!(shard.stats().points, written - written / 2 + 1);
}

#[test]
fn rows_that_an_index_covers_are_not_used_again() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    let upsert = |id| {
        write(
            &runtime,
            &shard,
            Operation::Upsert(vec![point(id, [1.0; 3], &json!({}))]),
        )
    };
    let row = |id| {
        shard
            .snapshot()
            .unwrap()
            .row_of(PointId::Number(id))
            .unwrap()
            .unwrap()
            .0
    };
    (0..4).for_each(|id| {
        upsert(id).unwrap();
    });
    let covered: RoaringBitmap = [row(0), row(1)].into_iter().collect();
    upsert(0).unwrap();
    upsert(2).unwrap();
    assert_eq!((row(0), row(2)), (4, 5));
    shard.reuse_rows(Some(&covered));
    upsert(9).unwrap();
    upsert(10).unwrap();
    assert_eq!((row(9), row(10)), (2, 6));
    shard.reuse_rows(None);
    upsert(3).unwrap();
    assert_eq!(row(3), 7);
}

#[test]
fn the_log_keeps_its_newest_entries_within_both_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let shard = create(folder.path());
    let bounds = log::Bounds {
        len: 5,
        bytes: 128 * 1024,
    };
    let ids: Vec<PointId> = (0..8_000).map(PointId::Number).collect();
    let table = shard.environment.tables.log;
    let mut txn = shard.environment.write().unwrap();
    let mut push = |sequence: u64, len: usize| -> Vec<u64> {
        let entry = (1, &ids[..len]);
        log::append((table, &mut txn), Sequence(sequence), entry, bounds).unwrap();
        let entries = table.iter(&txn).unwrap().map(|entry| entry.unwrap().0);
        entries
            .map(|key| u64::from_be_bytes(key.try_into().unwrap()))
            .collect()
    };
    for sequence in 1..=6 {
        push(sequence, 1);
    }
    assert_eq!(push(7, 1), [3, 4, 5, 6, 7], "entries are bounded");
    // 54 KB, twice within the bytes and not three times.
    push(8, 6_000);
    assert_eq!(push(9, 6_000), [5, 6, 7, 8, 9]);
    assert_eq!(push(10, 6_000), [9, 10], "bytes are bounded");
    assert_eq!(push(11, 8_000), [] as [u64; 0], "one that is too large");
    assert_eq!(push(12, 1), [12]);
}
