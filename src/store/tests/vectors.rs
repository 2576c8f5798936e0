//! Vectors that are read by the places that other readers found.

use super::*;

const POINTS: u64 = 600;

fn upsert(round: u64, text: &str) -> Operation {
    let ids = (0..POINTS).filter(|id| round == 0 || id % 7 == round % 7);
    Operation::Upsert(
        ids.map(|id| point(id, vector(id, round), &json!({"t": text})))
            .collect(),
    )
}

fn vector(id: u64, round: u64) -> [f32; 3] {
    [id, round, 0].map(|of| f32::from(u16::try_from(of).unwrap()))
}

/// Where each point lies after so many rounds.
fn expected(id: u64, rounds: u64) -> [f32; 3] {
    let last = (1..=rounds).rev().find(|round| id % 7 == round % 7);
    vector(id, last.unwrap_or(0))
}

/// Each point of the snapshot lies where it did after so many rounds.
fn agrees(snapshot: &Snapshot, rounds: u64) {
    for id in 0..POINTS {
        let (row, _) = snapshot.row_of(PointId::Number(id)).unwrap().unwrap();
        assert_eq!(snapshot.vector(row).unwrap(), expected(id, rounds), "{id}");
    }
}

#[test]
fn readers_of_a_commit_read_its_vectors_whatever_is_written_meanwhile() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    write(&runtime, &shard, upsert(0, "")).unwrap();
    let mut kept = Vec::new();
    for round in 1..20 {
        write(&runtime, &shard, upsert(round, "")).unwrap();
        // The second reads by the places that the first found.
        for _ in 0..2 {
            let snapshot = shard.snapshot().unwrap();
            agrees(&snapshot, round);
            kept.push((snapshot, round));
        }
        for (snapshot, rounds) in &kept {
            agrees(snapshot, *rounds);
        }
        kept.retain(|(_, rounds)| rounds + 3 > round);
    }
}

#[test]
fn vectors_are_found_where_they_lie_after_the_map_has_moved() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let place = folder.path().join("store");
    let shard = Shard::create(&place, &identity(), Uuid::nil(), small(16 << 20)).unwrap();
    let text = "x".repeat(100);
    for round in 0..4 {
        write(&runtime, &shard, upsert(round, &text)).unwrap();
    }
    assert!(shard.close());
    // Without a writer, who alone may have the map grow.
    let environment = Environment::open(&place, &identity(), small(16 << 20)).unwrap();
    let environment = Arc::new(environment);
    for _ in 0..3 {
        // The second reads by the places that the first found.
        for _ in 0..2 {
            agrees(&Snapshot::take(&environment).unwrap(), 3);
        }
        let before = environment.map_bytes();
        environment.grow().unwrap();
        assert!(environment.map_bytes() > before);
    }
    agrees(&Snapshot::take(&environment).unwrap(), 3);
}

#[test]
fn rows_that_did_not_change_stay_where_they_are() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let shard = create(folder.path());
    write(&runtime, &shard, upsert(0, "")).unwrap();
    let before = shard.live();
    let clear = Operation::ClearPayload(Selection::Ids(vec![PointId::Number(1)]));
    write(&runtime, &shard, clear).unwrap();
    assert!(Arc::ptr_eq(&before, &shard.live()));
    let delete = Operation::Delete(Selection::Ids(vec![PointId::Number(1)]));
    write(&runtime, &shard, delete).unwrap();
    assert_eq!(shard.live().len(), before.len() - 1);
}
