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
    let options = Options {
        map_bytes: 256 * 1024,
        map_bytes_max: 16 << 20,
        ..options()
    };
    let place = folder.path().join("store");
    let shard = Shard::create(&place, &identity(), Uuid::nil(), options).unwrap();
    let map = || shard.environment.map_bytes();
    let text = "x".repeat(1_000);
    let (mut round, mut sizes) = (0, vec![map()]);
    while sizes.len() < 3 {
        write(&runtime, &shard, upsert(round, &text)).unwrap();
        for _ in 0..2 {
            agrees(&shard.snapshot().unwrap(), round);
        }
        // Nothing is written meanwhile: the same commit is read at another place.
        shard.environment.grow().unwrap();
        sizes.push(map());
        for _ in 0..2 {
            agrees(&shard.snapshot().unwrap(), round);
        }
        round += 1;
    }
    assert!(
        sizes.is_sorted_by(|small, large| small < large),
        "{sizes:?}"
    );
}
