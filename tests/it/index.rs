//! Indexes over vectors in memory: what is built finds the nearest, survives what a crash leaves, and
//! never answers what is not there.

mod again;
mod beside;
mod found;
mod graph;
mod memory;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memory::{Flat, covered_by};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;
use vectorsphere::clock::SystemClock;
use vectorsphere::index::{
    ArroyParameters, Ask, Error, Identity, Job, Open, Recipe, Segment, build, never, open_dir,
    search, simd,
};
use vectorsphere::rows::{Row, Rows};
use vectorsphere::vector::Distance;

const DIMENSIONS: usize = 32;
const STORE: Uuid = Uuid::from_u128(7);

/// Vectors around the same centres whatever the seed, as embeddings and questions lie.
fn clustered(points: usize, seed: u64) -> Vec<f32> {
    let component = |random: &mut StdRng| random.random_range(-1.0_f32..1.0);
    let mut random = StdRng::seed_from_u64(0);
    let centres: Vec<f32> = (0..40 * DIMENSIONS)
        .map(|_| component(&mut random))
        .collect();
    let mut random = StdRng::seed_from_u64(seed);
    (0..points * DIMENSIONS)
        .map(|at| {
            let centre = (at / DIMENSIONS) % 40;
            centres[centre * DIMENSIONS + at % DIMENSIONS] + 0.4 * component(&mut random)
        })
        .collect()
}

fn rows(points: usize) -> Flat {
    Flat::new(clustered(points, 1), DIMENSIONS, Distance::Cosine)
}

fn identity() -> Identity {
    Identity {
        store: STORE,
        dimensions: DIMENSIONS,
        distance: Distance::Cosine,
    }
}

fn try_build(
    dir: &Path,
    rows: &Flat,
    sequence: u64,
    stop: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Open, Error> {
    build(
        dir,
        &Job {
            rows,
            recipe: &Recipe::Arroy(ArroyParameters::default()),
            store: STORE,
            sequence,
            before: None,
            beside: None,
            threads: 2,
            clock: &SystemClock,
            stop,
            progress: &|_progress| {},
        },
    )
}

fn found(segments: &[Arc<dyn Segment>], rows: &Flat, query: &[f32], exact: bool) -> Vec<Row> {
    let ask = Ask {
        exact,
        ..Ask::nearest(10)
    };
    let coverage = covered_by(segments.to_vec(), rows);
    let answer = search(&coverage, rows, query, &ask).unwrap();
    assert!(answer.failed.is_empty(), "{:?}", answer.failed);
    for hit in &answer.hits {
        let own = rows.vector(hit.row).unwrap();
        let score = simd::kernels().score(Distance::Cosine, query, own);
        assert_eq!(hit.score.to_bits(), score.to_bits(), "scores are exact");
    }
    answer.hits.iter().map(|hit| hit.row).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs_err::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn what_is_built_finds_the_nearest_also_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(20_000);
    let built = try_build(folder.path(), &rows, 5, &never).unwrap();
    let opened = open_dir(folder.path(), &identity())
        .unwrap()
        .set
        .main
        .unwrap();
    assert_eq!(opened.manifest.sequence, 5);
    opened.verify(&never).unwrap();
    let queries = Flat::new(clustered(200, 2), DIMENSIONS, Distance::Cosine);
    let (mut right, mut scored, mut of) = (0, 0, 0);
    for query in 0..200 {
        let query = queries.vector(query).unwrap();
        let truth: BTreeSet<Row> = found(&[], &rows, query, true).into_iter().collect();
        let first = found(&[Arc::clone(&built.segment)], &rows, query, false);
        let again = found(&[Arc::clone(&opened.segment)], &rows, query, false);
        assert_eq!(first, again, "the same index answers the same");
        right += first.iter().filter(|row| truth.contains(*row)).count();
        of += truth.len();
        let coverage = covered_by(vec![Arc::clone(&built.segment)], &rows);
        scored += search(&coverage, &rows, query, &Ask::nearest(10))
            .unwrap()
            .scored;
    }
    assert!(right * 100 >= of * 95, "recall {right} of {of}");
    assert!(scored < 200 * 20_000 / 2, "it looked at {scored} rows");
}

#[test]
fn deletes_act_at_once_and_fresh_rows_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = rows(20_000);
    let built = try_build(folder.path(), &rows, 1, &never).unwrap();
    let query = rows.vector(77).unwrap().to_vec();
    let segments = [Arc::clone(&built.segment)];
    let before = found(&segments, &rows, &query, false);
    assert_eq!(before[0], 77);
    rows.vectors.extend_from_slice(&query);
    Arc::make_mut(&mut rows.live).insert(20_000);
    for row in &before {
        Arc::make_mut(&mut rows.live).remove(*row);
    }
    let after = found(&segments, &rows, &query, false);
    assert_eq!(after[0], 20_000, "written after the build");
    assert!(after.iter().all(|row| !before.contains(row)), "{after:?}");
}

#[test]
fn a_build_that_is_stopped_anywhere_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(6_000);
    try_build(folder.path(), &rows, 1, &never).unwrap();
    let before = names(folder.path());
    let asked = AtomicU64::new(0);
    let counted = || {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    };
    let whole = tempfile::tempdir().unwrap();
    try_build(whole.path(), &rows, 2, &counted).unwrap();
    let times = asked.load(Ordering::Relaxed);
    assert!(times > 8, "it was asked {times} times whether to stop");
    for part in 0..8 {
        let left = AtomicU64::new(times * part / 8);
        let stop = || {
            let less = |left: u64| left.checked_sub(1);
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .is_err()
        };
        let ended = try_build(folder.path(), &rows, 2, &stop);
        assert!(matches!(ended, Err(Error::Stopped)), "{part}: {ended:?}");
        assert_eq!(names(folder.path()), before, "{part}");
    }
    let found = open_dir(folder.path(), &identity()).unwrap();
    assert_eq!(found.set.main.unwrap().manifest.sequence, 1);
}

#[test]
fn what_a_killed_build_leaves_goes_and_a_newer_segment_replaces_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(6_000);
    for sequence in [1, 2] {
        try_build(folder.path(), &rows, sequence, &never).unwrap();
    }
    let left = folder.path().join("tmp-00000000000000000003");
    fs_err::create_dir(&left).unwrap();
    fs_err::write(left.join("covered"), "half").unwrap();
    let found = open_dir(folder.path(), &identity()).unwrap();
    assert_eq!(found.set.main.unwrap().manifest.sequence, 2);
    assert_eq!(found.removed.len(), 2, "{:?}", found.removed);
    assert_eq!(names(folder.path()).len(), 1);
}

/// Builds, lets a file be spoilt, and opens again.
fn spoilt(name: &str, spoil: impl Fn(&mut Vec<u8>)) -> vectorsphere::index::Found {
    let folder = tempfile::tempdir().unwrap();
    let open = try_build(folder.path(), &rows(6_000), 1, &never).unwrap();
    let file = folder.path().join(open.name()).join(name);
    drop(open);
    let mut bytes = fs_err::read(&file).unwrap();
    spoil(&mut bytes);
    fs_err::write(&file, bytes).unwrap();
    let found = open_dir(folder.path(), &identity()).unwrap();
    if let Some(open) = &found.set.main {
        let checked = open.verify(&never);
        assert!(matches!(checked, Err(Error::Corrupt { .. })), "{checked:?}");
    }
    found
}

#[test]
fn damage_is_found_and_moved_aside() {
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    };
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 1);
    for name in ["manifest.json", "covered"] {
        for found in [spoilt(name, flip), spoilt(name, cut)] {
            assert!(found.set.main.is_none(), "{name}");
            assert!(found.quarantined[0].moved, "{name}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let open = try_build(folder.path(), &rows(6_000), 1, &never).unwrap();
    let small = ["manifest.json", "covered"];
    let mut files = names(&folder.path().join(open.name()));
    files.retain(|name| !small.contains(&name.as_str()));
    assert_eq!(files.len(), 1, "{files:?}");
    let large = files.pop_first().unwrap();
    assert!(spoilt(&large, cut).set.main.is_none(), "{large} is shorter");
    let found = spoilt(&large, flip);
    assert!(found.set.main.is_some(), "found by reading it whole only");
}

#[test]
fn the_manifests_of_trees_are_as_they_were_before_there_were_graphs() {
    let folder = tempfile::tempdir().unwrap();
    let open = try_build(folder.path(), &rows(6_000), 1, &never).unwrap();
    let manifest = folder.path().join(open.name()).join("manifest.json");
    let text = fs_err::read_to_string(manifest).unwrap();
    for part in [
        "\"format\":1,",
        "\"recipe\":{\"arroy\":{",
        "\"layout\":{\"lift\":{",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_index_of_another_store_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    try_build(folder.path(), &rows(6_000), 1, &never).unwrap();
    let other = Identity {
        store: Uuid::from_u128(8),
        ..identity()
    };
    let found = open_dir(folder.path(), &other).unwrap();
    assert!(found.set.main.is_none());
    let error = &found.quarantined[0].error;
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
}

proptest! {
    #[test]
    fn every_kernel_stays_within_its_bound(
        pairs in proptest::collection::vec((-100.0_f32..100.0, -100.0_f32..100.0), 0..200),
    ) {
        let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let both = || left.iter().zip(&right).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let terms = f64::from(u32::try_from(left.len()).unwrap() + 2) * f64::from(f32::EPSILON);
        for kernels in simd::available() {
            let sums: [(&str, f32, Vec<f64>); 3] = [
                ("dot", (kernels.dot)(&left, &right), both().map(|(a, b)| a * b).collect()),
                ("squared", (kernels.squared)(&left, &right), both().map(|(a, b)| (a - b).powi(2)).collect()),
                ("manhattan", (kernels.manhattan)(&left, &right), both().map(|(a, b)| (a - b).abs()).collect()),
            ];
            for (name, got, exact) in sums {
                let bound = terms * exact.iter().map(|term| term.abs()).sum::<f64>();
                let off = (f64::from(got) - exact.iter().sum::<f64>()).abs();
                prop_assert!(off <= bound, "{} {name}: off by {off}, bound {bound}", kernels.name);
            }
        }
    }
}
