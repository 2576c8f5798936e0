//! What a shard does with what it cannot keep, cannot read, or has no room or no time for.

use super::*;
use crate::limits::JSON_DEPTH_MAX;

#[test]
fn a_payload_that_could_not_be_read_again_is_refused_and_hurts_nobody() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    let upsert = Operation::Upsert(vec![point(1, [1.0; 3], &json!({"n": 1}))]);
    write(&runtime, &shard, upsert).unwrap();
    let nested = |depth: usize| {
        let text = [
            "{\"x\":",
            &"[".repeat(depth - 1),
            &"]".repeat(depth - 1),
            "}",
        ]
        .concat();
        text.into_bytes()
    };
    let deep = |depth: usize| Operation::SetPayload {
        payload: nested(depth),
        key: Some(FieldPath::parse("a.b.c").unwrap()),
        on: Selection::Ids(vec![PointId::Number(1)]),
    };
    let refused = write(&runtime, &shard, deep(JSON_DEPTH_MAX - 2)).unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidInput, "{refused}");
    write(&runtime, &shard, deep(JSON_DEPTH_MAX - 3)).unwrap();
    // The deepest that is taken is read by filters, indexes and changes.
    let wanted = BTreeMap::from([("n".to_owned(), IndexKind::Number)]);
    runtime
        .block_on(shard.set_payload_indexes(&wanted, soon()))
        .unwrap();
    assert_eq!(picture(&shard).len(), 1);
    let on = Selection::Ids(vec![PointId::Number(1)]);
    write(&runtime, &shard, Operation::ClearPayload(on)).unwrap();
    let mut deepest = point(2, [1.0; 3], &json!({}));
    deepest.payload = nested(JSON_DEPTH_MAX + 1);
    let upsert = Operation::Upsert(vec![deepest]);
    let refused = write(&runtime, &shard, upsert).unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidInput, "{refused}");
}

#[test]
fn an_operation_that_meets_a_corrupt_payload_does_not_stop_the_others() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    let upsert = |id| Operation::Upsert(vec![point(id, [1.0; 3], &json!({"n": 1}))]);
    write(&runtime, &shard, upsert(1)).unwrap();
    let environment = &shard.environment;
    let (row, _version) = shard
        .snapshot()
        .unwrap()
        .row_of(PointId::Number(1))
        .unwrap()
        .unwrap();
    let mut txn = environment.write().unwrap();
    let payloads = environment.tables.payloads;
    payloads
        .put(&mut txn, &row.to_be_bytes(), b"{no json}")
        .unwrap();
    environment.commit(txn, environment.frame()).unwrap();
    let clear = Operation::DeletePayload {
        keys: vec![FieldPath::parse("n").unwrap()],
        on: Selection::Ids(vec![PointId::Number(1)]),
    };
    let (before, bad, after) = runtime.block_on(async {
        tokio::join!(
            shard.write(Epoch(1), upsert(2), soon()),
            shard.write(Epoch(1), clear, soon()),
            shard.write(Epoch(1), upsert(3), soon()),
        )
    });
    assert_eq!(bad.unwrap_err().kind(), Kind::Corrupt);
    before.unwrap();
    after.unwrap();
    assert_eq!(shard.stats().points, 3);
    // Without a payload index nothing has to read it to replace it.
    write(&runtime, &shard, upsert(1)).unwrap();
    assert_eq!(picture(&shard).len(), 3);
}

#[test]
fn the_map_grows_while_somebody_reads_for_long() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let place = folder.path().join("store");
    let shard = Shard::create(&place, &identity(), Uuid::nil(), small(16 << 20)).unwrap();
    write(
        &runtime,
        &shard,
        Operation::Upsert(vec![point(0, [1.0; 3], &json!({}))]),
    )
    .unwrap();
    let text = "x".repeat(4_000);
    std::thread::scope(|scope| {
        // Reads as an index build does: for long, and looks whether it should end.
        let reading = scope.spawn(|| {
            let mut ended = 0;
            while shard.stats().points < 1_001 {
                let snapshot = shard.snapshot().unwrap();
                while !shard.wants_room() && shard.stats().points < 1_001 {
                    std::thread::yield_now();
                }
                drop(snapshot);
                ended += 1;
                while shard.wants_room() {
                    std::thread::yield_now();
                }
            }
            ended
        });
        for first in (1..=1_000).step_by(50) {
            let batch = (first..first + 50).map(|id| point(id, [1.0; 3], &json!({"t": text})));
            write(&runtime, &shard, Operation::Upsert(batch.collect())).unwrap();
        }
        assert!(reading.join().unwrap() > 1);
    });
    assert_eq!(shard.stats().points, 1_001);
}

#[test]
fn a_long_read_ends_at_its_deadline() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    let points = (0..10)
        .map(|id| point(id, [1.0; 3], &json!({"n": id})))
        .collect();
    write(&runtime, &shard, Operation::Upsert(points)).unwrap();
    let clock = SystemClock::shared();
    let now = clock.now();
    let snapshot = shard.snapshot().unwrap().until(clock, now);
    let filter: Filter = Filter::parse(&json!({"must": [{"is_null": {"key": "n"}}]})).unwrap();
    assert_eq!(
        snapshot.matching(&filter).unwrap_err().kind(),
        Kind::Timeout
    );
    let all = PayloadSelector::All;
    let page = snapshot.scroll((None, 5), &Filter::default(), &all, true);
    assert_eq!(page.unwrap_err().kind(), Kind::Timeout);
}

#[test]
fn a_payload_index_tells_how_many_points_have_its_field() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    let payload = |id: u64| {
        if id.is_multiple_of(2) {
            json!({"n": [id, id]})
        } else {
            json!({"t": "x"})
        }
    };
    let points = (0..10)
        .map(|id| point(id, [1.0; 3], &payload(id)))
        .collect();
    write(&runtime, &shard, Operation::Upsert(points)).unwrap();
    let wanted = BTreeMap::from([("n".to_owned(), IndexKind::Number)]);
    runtime
        .block_on(shard.set_payload_indexes(&wanted, soon()))
        .unwrap();
    let on = Selection::Ids(vec![PointId::Number(0)]);
    write(&runtime, &shard, Operation::Delete(on)).unwrap();
    let known = shard.snapshot().unwrap().payload_indexes().unwrap();
    assert_eq!(known, BTreeMap::from([("n".to_owned(), 4)]));
}
