//! Graphs over vectors in memory: what they find of what is there, for every distance, width and odd
//! kind of data; that nothing dead, forbidden or damaged is ever answered.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roaring::RoaringBitmap;
use uuid::Uuid;
use vectorsphere::clock::SystemClock;
use vectorsphere::index::{
    Ask, Error, GraphParameters, Hit, Identity, Job, Kind, Open, Recipe, Segment, build, never,
    open_dir, search,
};
use vectorsphere::rows::{Row, Rows};
use vectorsphere::vector::Distance;

use super::memory::{Flat, covered_by};

pub(super) const STORE: Uuid = Uuid::from_u128(7);
pub(super) const DISTANCES: [Distance; 4] = [
    Distance::Cosine,
    Distance::Dot,
    Distance::Euclid,
    Distance::Manhattan,
];

/// Vectors around common centres, whatever the seed, as embeddings and questions lie.
pub(super) fn clustered(points: usize, dimensions: usize, seed: u64) -> Vec<f32> {
    let component = |random: &mut StdRng| random.random_range(-1.0_f32..1.0);
    let mut random = StdRng::seed_from_u64(0);
    let centres: Vec<f32> = (0..20 * dimensions)
        .map(|_| component(&mut random))
        .collect();
    let mut random = StdRng::seed_from_u64(seed);
    let mut vectors = Vec::with_capacity(points * dimensions);
    for point in 0..points {
        let centre = &centres[point % 20 * dimensions..][..dimensions];
        vectors.extend(centre.iter().map(|of| of + 0.6 * component(&mut random)));
    }
    vectors
}

pub(super) fn try_build(
    dir: &Path,
    rows: &Flat,
    (bits, threads): (Option<u8>, usize),
    stop: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Open, Error> {
    build(
        dir,
        &Job {
            rows,
            recipe: &Recipe::Graph(GraphParameters {
                bits,
                ..GraphParameters::default()
            }),
            store: STORE,
            sequence: 1,
            before: None,
            beside: None,
            threads,
            clock: &SystemClock,
            stop,
            progress: &|_progress| {},
        },
    )
}

/// A graph over the rows, in a folder that goes with it.
pub(super) fn built(rows: &Flat, bits: Option<u8>) -> (tempfile::TempDir, Open) {
    let folder = tempfile::tempdir().unwrap();
    let open = try_build(folder.path(), rows, (bits, 2), &never).unwrap();
    assert_eq!(open.segment.kind(), Kind::Graph);
    (folder, open)
}

/// The share of the true `ask.k` nearest that the segment finds itself. Equal scores count.
pub(super) fn recall(segment: &dyn Segment, rows: &Flat, queries: &Flat, ask: &Ask<'_>) -> f64 {
    let exact = Ask {
        exact: true,
        ..*ask
    };
    let nobody = covered_by(Vec::new(), rows);
    let (mut found, mut of) = (0, 0);
    for query in queries.live.iter() {
        let query = queries.vector(query).unwrap();
        let truth = search(&nobody, rows, query, &exact).unwrap().hits;
        let (hits, _) = segment.search(rows, query, ask).unwrap();
        assert_eq!(hits.len(), truth.len(), "a short answer");
        for hit in &hits {
            assert!(ask.allowed.is_none_or(|allowed| allowed.contains(hit.row)));
        }
        let Some(last) = truth.last() else { continue };
        let reach = |hit: &&Hit| rows.distance().reaches(hit.score, last.score);
        found += hits.iter().filter(reach).count().min(truth.len());
        of += truth.len();
    }
    f64::from(u32::try_from(found).unwrap()) / f64::from(u32::try_from(of.max(1)).unwrap())
}

#[test]
fn every_distance_and_width_finds_what_it_was_built_for() {
    for distance in DISTANCES {
        let rows = Flat::new(clustered(4_000, 48, 1), 48, distance);
        let queries = Flat::new(clustered(100, 48, 2), 48, distance);
        for bits in [None, Some(2), Some(4), Some(8), Some(32)] {
            let (_folder, open) = built(&rows, bits);
            let got = recall(open.segment.as_ref(), &rows, &queries, &Ask::nearest(10));
            assert!(got >= 0.92, "{distance:?} {bits:?}: {got}");
            let hundred = recall(open.segment.as_ref(), &rows, &queries, &Ask::nearest(100));
            assert!(
                hundred >= 0.9,
                "{distance:?} {bits:?}: {hundred} of a hundred"
            );
            let hard = Ask {
                effort: Some(400),
                ..Ask::nearest(10)
            };
            let hard = recall(open.segment.as_ref(), &rows, &queries, &hard);
            assert!(
                hard >= got.min(0.98),
                "{distance:?} {bits:?}: {hard} with four times the effort"
            );
        }
    }
}

#[test]
fn few_and_many_dimensions_work() {
    for (dimensions, points) in [
        (4, 2_000),
        (5, 2_000),
        (31, 2_000),
        (384, 1_000),
        (1_000, 500),
        (4_096, 300),
    ] {
        for distance in DISTANCES {
            let rows = Flat::new(clustered(points, dimensions, 1), dimensions, distance);
            let queries = Flat::new(clustered(20, dimensions, 2), dimensions, distance);
            let (_folder, open) = built(&rows, None);
            let got = recall(open.segment.as_ref(), &rows, &queries, &Ask::nearest(10));
            assert!(got >= 0.9, "{dimensions} {distance:?}: {got}");
        }
    }
}

#[test]
fn data_without_any_difference_and_hardly_any_data_work() {
    for points in [0, 1, 2, 33, 500] {
        for distance in DISTANCES {
            let rows = Flat::new(vec![0.5; points * 8], 8, distance);
            let (_folder, open) = built(&rows, None);
            let (hits, _) = open
                .segment
                .search(&rows, &[0.1; 8], &Ask::nearest(600))
                .unwrap();
            assert_eq!(hits.len(), points, "{distance:?}");
        }
    }
}

#[test]
fn the_same_graph_comes_out_for_any_number_of_threads() {
    let rows = Flat::new(clustered(3_000, 24, 1), 24, Distance::Euclid);
    let file = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let open = try_build(folder.path(), &rows, (None, threads), &never).unwrap();
        fs_err::read(folder.path().join(open.name()).join("graph")).unwrap()
    };
    let one = file(1);
    assert!(one == file(1), "twice by one thread");
    assert!(one == file(3), "by three threads");
}

#[test]
fn a_build_stops_wherever_it_is_told_to() {
    let rows = Flat::new(clustered(2_000, 24, 1), 24, Distance::Cosine);
    let asked = AtomicU64::new(0);
    let count = || {
        asked.fetch_add(1, Ordering::Relaxed);
        false
    };
    let folder = tempfile::tempdir().unwrap();
    try_build(folder.path(), &rows, (None, 1), &count).unwrap();
    let times = asked.load(Ordering::Relaxed);
    assert!(times > 4_000, "it was asked {times} times whether to stop");
    for part in 0..16 {
        let folder = tempfile::tempdir().unwrap();
        let left = AtomicU64::new(times * part / 16);
        let stop = || {
            let less = |left: u64| left.checked_sub(1);
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .is_err()
        };
        let ended = try_build(folder.path(), &rows, (None, 2), &stop);
        assert!(matches!(ended, Err(Error::Stopped)), "{part}: {ended:?}");
        assert_eq!(
            fs_err::read_dir(folder.path()).unwrap().count(),
            0,
            "{part}"
        );
    }
}

#[test]
fn filters_of_any_size_are_obeyed_and_answered_in_full() {
    let rows = Flat::new(clustered(20_000, 32, 1), 32, Distance::Cosine);
    let queries = Flat::new(clustered(40, 32, 2), 32, Distance::Cosine);
    let (_folder, open) = built(&rows, None);
    for per_thousand in [1u32, 10, 100, 500, 990] {
        let chosen =
            |row: &Row| row.wrapping_mul(0x9E37_79B9) >> 16 & 1023 < per_thousand * 1024 / 1000;
        let allowed: RoaringBitmap = rows.live.iter().filter(chosen).collect();
        let ask = Ask {
            allowed: Some(&allowed),
            ..Ask::nearest(10)
        };
        let got = recall(open.segment.as_ref(), &rows, &queries, &ask);
        assert!(got >= 0.93, "{per_thousand} of a thousand: {got}");
    }
    // One cluster only, far from most queries: the walk meets none of it, and all the same it is
    // answered.
    for cluster in [0, 1] {
        let allowed: RoaringBitmap = rows.live.iter().filter(|row| row % 20 == cluster).collect();
        let ask = Ask {
            allowed: Some(&allowed),
            ..Ask::nearest(10)
        };
        let got = recall(open.segment.as_ref(), &rows, &queries, &ask);
        assert!(got >= 0.9, "cluster {cluster}: {got}");
    }
    let half: RoaringBitmap = rows.live.iter().filter(|row| row % 20 < 10).collect();
    let ask = Ask {
        allowed: Some(&half),
        ..Ask::nearest(10)
    };
    assert!(recall(open.segment.as_ref(), &rows, &queries, &ask) >= 0.93);
}

#[test]
fn as_many_as_are_asked_for_are_answered() {
    let rows = Flat::new(clustered(6_000, 8, 1), 8, Distance::Euclid);
    let queries = Flat::new(clustered(3, 8, 2), 8, Distance::Euclid);
    let (_folder, open) = built(&rows, Some(2));
    for k in [1, 700, 2_048, 2_049, 5_000, 7_000] {
        let got = recall(open.segment.as_ref(), &rows, &queries, &Ask::nearest(k));
        assert!(got >= 0.9, "{k}: {got}");
    }
}

#[test]
fn what_is_deleted_is_never_answered_and_what_is_left_is_found() {
    let mut rows = Flat::new(clustered(10_000, 32, 1), 32, Distance::Euclid);
    let queries = Flat::new(clustered(40, 32, 2), 32, Distance::Euclid);
    let (_folder, open) = built(&rows, None);
    rows.live = Arc::new(rows.live.iter().filter(|row| row % 10 > 2).collect());
    let fresh = clustered(500, 32, 3);
    rows.vectors.extend_from_slice(&fresh);
    Arc::make_mut(&mut rows.live).insert_range(10_000..10_500);
    let coverage = covered_by(vec![Arc::clone(&open.segment)], &rows);
    let (mut found, mut of) = (0, 0);
    for query in queries.live.iter() {
        let query = queries.vector(query).unwrap();
        let answer = search(&coverage, &rows, query, &Ask::nearest(10)).unwrap();
        assert!(answer.failed.is_empty());
        let exact = Ask {
            exact: true,
            ..Ask::nearest(10)
        };
        let truth = search(&coverage, &rows, query, &exact).unwrap().hits;
        assert!(answer.hits.iter().all(|hit| rows.live.contains(hit.row)));
        found += answer.hits.iter().filter(|hit| truth.contains(hit)).count();
        of += truth.len();
    }
    assert!(found * 100 >= of * 94, "{found} of {of}");
    for row in rows.live.iter().step_by(7) {
        let answer = search(
            &coverage,
            &rows,
            rows.vector(row).unwrap(),
            &Ask::nearest(5),
        )
        .unwrap();
        assert!(answer.hits.iter().any(|hit| hit.row == row), "{row}");
    }
}

#[test]
fn several_queries_at_a_time_are_answered_as_one_by_one() {
    let rows = Flat::new(clustered(3_000, 40, 1), 40, Distance::Dot);
    let queries = Flat::new(clustered(11, 40, 2), 40, Distance::Dot);
    let (folder, open) = built(&rows, Some(2));
    let some: RoaringBitmap = rows.live.iter().filter(|row| row % 3 > 0).collect();
    let queries: Vec<&[f32]> = queries
        .live
        .iter()
        .filter_map(|row| queries.vector(row))
        .collect();
    for allowed in [None, Some(&some)] {
        let ask = Ask {
            allowed,
            ..Ask::nearest(10)
        };
        let together = open.segment.search_many(&rows, &queries, &ask).unwrap();
        let alone = queries
            .iter()
            .map(|query| open.segment.search(&rows, query, &ask).unwrap());
        assert_eq!(together, alone.collect::<Vec<_>>());
    }
    // A file that nobody touched yet, by many at once: each block is checked by whoever comes first.
    let identity = Identity {
        store: STORE,
        dimensions: 40,
        distance: Distance::Dot,
    };
    let fresh = open_dir(folder.path(), &identity)
        .unwrap()
        .set
        .main
        .unwrap();
    let ask = Ask::nearest(10);
    let expected = open.segment.search_many(&rows, &queries, &ask).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let got = fresh.segment.search_many(&rows, &queries, &ask).unwrap();
                assert_eq!(got, expected);
            });
        }
    });
    let stopped = Ask {
        stop: &|| true,
        ..Ask::nearest(10)
    };
    let ended = open.segment.search_many(&rows, &queries, &stopped);
    assert!(matches!(ended, Err(Error::Stopped)));
}

/// How a file is spoilt.
#[derive(Debug, Clone, Copy)]
enum Spoilt {
    Flipped(u64, u8),
    Cut(u64),
    Longer(u64),
    Zeroed(u64, u64),
}

/// Spoils the file; gives back the bytes that mend it.
fn spoil(path: &Path, how: Spoilt) -> Vec<u8> {
    let mut file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    match how {
        Spoilt::Flipped(at, bit) => {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[bytes[usize::try_from(at).unwrap()] ^ bit])
                .unwrap();
        },
        Spoilt::Cut(length) => file.set_len(length).unwrap(),
        Spoilt::Longer(by) => file
            .set_len(u64::try_from(bytes.len()).unwrap() + by)
            .unwrap(),
        Spoilt::Zeroed(at, length) => {
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&vec![0; usize::try_from(length).unwrap()])
                .unwrap();
        },
    }
    bytes
}

#[test]
fn verification_checks_a_graph_whole_and_what_was_checked_is_not_checked_again() {
    let rows = Flat::new(clustered(12_000, 16, 1), 16, Distance::Euclid);
    let (folder, first) = built(&rows, Some(4));
    let path = folder.path().join(first.name()).join("graph");
    drop(first);
    let identity = Identity {
        store: STORE,
        dimensions: 16,
        distance: Distance::Euclid,
    };
    let open = || {
        open_dir(folder.path(), &identity)
            .unwrap()
            .set
            .main
            .unwrap()
    };
    let search = |open: &Open| {
        let query = rows.vector(5).unwrap();
        open.segment.search(&rows, query, &Ask::nearest(10))
    };
    let (unseen, unverified, verified) = (open(), open(), open());
    verified.segment.verify(&never).unwrap();
    let clean = search(&verified).unwrap();
    // A code of the last block that has a checksum; the checksums are eight bytes for each.
    let length = fs_err::metadata(&path).unwrap().len();
    let at = length - 8 * length.div_ceil(1024 * 1024) - 4_096;
    spoil(&path, Spoilt::Flipped(at, 1));
    let checked = unseen.segment.verify(&never);
    assert!(matches!(checked, Err(Error::Corrupt { .. })), "{checked:?}");
    let touched = search(&unverified);
    assert!(matches!(touched, Err(Error::Corrupt { .. })), "{touched:?}");
    assert_eq!(search(&verified).unwrap(), clean);
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_wrong_answer() {
    // More cases: `GRAPH_CASES=10000 cargo test --release --test it damaged`.
    let cases: u64 = std::env::var("GRAPH_CASES").map_or(1_000, |cases| cases.parse().unwrap());
    let rows = Flat::new(clustered(12_000, 16, 1), 16, Distance::Euclid);
    let queries = Flat::new(clustered(6, 16, 2), 16, Distance::Euclid);
    let (folder, open) = built(&rows, Some(4));
    let name = open.name();
    // With few rows allowed it scans, by the part that says where they are.
    let few: RoaringBitmap = rows.live.iter().filter(|row| row % 50 == 0).collect();
    let found = |open: &Open, query: Row| {
        let allowed = (query % 2 == 1).then_some(&few);
        let nearest = Ask::nearest(10);
        let vector = queries.vector(query).unwrap();
        let found = open
            .segment
            .search(&rows, vector, &Ask { allowed, ..nearest });
        found.map(|(hits, _)| hits)
    };
    let clean = queries.live.iter().map(|query| found(&open, query));
    let clean: Vec<_> = clean.collect::<Result<_, _>>().unwrap();
    drop(open);
    let identity = Identity {
        store: STORE,
        dimensions: 16,
        distance: Distance::Euclid,
    };
    let mut random = StdRng::seed_from_u64(5);
    let (mut refused, mut late, mut untouched) = (0, 0, 0);
    for case in 0..cases {
        let file =
            ["graph", "graph", "graph", "manifest.json", "covered"][random.random_range(0..5)];
        let path = folder.path().join(&name).join(file);
        let length = fs_err::metadata(&path).unwrap().len();
        let at = random.random_range(0..length);
        let how = match random.random_range(0..8) {
            0 => Spoilt::Cut(at),
            1 => Spoilt::Longer(at + 1),
            2 => Spoilt::Zeroed(at, random.random_range(1..=(length - at).min(70_000))),
            _ => Spoilt::Flipped(at, 1 << random.random_range(0..8)),
        };
        let whole = spoil(&path, how);
        let same = fs_err::read(&path).unwrap() == whole;
        let opened = open_dir(folder.path(), &identity).unwrap();
        if let Some(open) = opened.set.main {
            for (query, clean) in queries.live.iter().zip(&clean) {
                match found(&open, query) {
                    Ok(hits) => {
                        assert_eq!(hits, *clean, "{case} {file} {how:?}");
                        untouched += 1;
                    },
                    Err(Error::Corrupt { .. }) => late += 1,
                    Err(error) => panic!("{case} {file} {how:?}: {error:?}"),
                }
            }
            assert!(
                same || open.verify(&never).is_err(),
                "{case} {file} {how:?}"
            );
        } else {
            assert!(opened.quarantined[0].moved, "{case} {file} {how:?}");
            fs_err::rename(
                folder.path().join(format!("bad-{name}")),
                folder.path().join(&name),
            )
            .unwrap();
            refused += 1;
        }
        fs_err::write(&path, whole).unwrap();
    }
    // Each of the three was seen: refused by opening, by the touch of a block, and not met at all.
    assert!(
        refused > 0 && late > 0 && untouched > 0,
        "{refused} {late} {untouched}"
    );
}
