//! Graphs that are built from the graph before: as good as whole ones, and no more work than what
//! changed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use vectorsphere::clock::SystemClock;
use vectorsphere::index::{
    Ask, GraphParameters, Job, Kind, Open, Progress, Recipe, Segment, Step, build, never,
};
use vectorsphere::rows::Rows;
use vectorsphere::vector::Distance;

use super::graph::{STORE, clustered, recall};
use super::memory::Flat;

/// A build, and how many rows it said that it has to link.
fn built(
    dir: &Path,
    rows: &Flat,
    (recipe, threads): (&Recipe, usize),
    before: Option<&dyn Segment>,
) -> (Open, u64) {
    let linked = Mutex::new(BTreeSet::new());
    let job = Job {
        rows,
        recipe,
        store: STORE,
        sequence: 1,
        before,
        beside: None,
        threads,
        clock: &SystemClock,
        stop: &never,
        progress: &|Progress { step, of, .. }| {
            if step == Step::Growing {
                linked.lock().unwrap().insert(of);
            }
        },
    };
    let open = build(dir, &job).unwrap();
    let linked = linked.into_inner().unwrap();
    (open, linked.last().copied().unwrap_or(0))
}

fn usual() -> Recipe {
    Kind::Graph.recipe().unwrap()
}

/// Deletes each `part`-th live row, from the `first`, and adds as many new ones.
fn churn(rows: &mut Flat, (first, part): (usize, usize), seed: u64) {
    let dimensions = rows.dimensions();
    let dead: Vec<u32> = rows.live.iter().skip(first).step_by(part).collect();
    for row in &dead {
        Arc::make_mut(&mut rows.live).remove(*row);
    }
    let start = u32::try_from(rows.vectors.len() / dimensions).unwrap();
    let fresh = Flat::new(
        clustered(dead.len(), dimensions, seed),
        dimensions,
        rows.distance(),
    );
    rows.vectors.extend_from_slice(&fresh.vectors);
    Arc::make_mut(&mut rows.live).insert_range(start..start + u32::try_from(dead.len()).unwrap());
}

/// Every live row is covered, and found by its own vector.
fn finds_every_row(open: &Open, rows: &Flat) {
    assert_eq!(open.segment.covered(), rows.live());
    for row in rows.live.iter() {
        let query = rows.vector(row).unwrap();
        let (hits, _) = open.segment.search(rows, query, &Ask::nearest(3)).unwrap();
        assert!(hits.iter().any(|hit| hit.row == row), "{row}");
    }
}

#[test]
fn what_changed_is_linked_and_nothing_else_and_the_graph_stays_good() {
    for distance in [Distance::Euclid, Distance::Cosine, Distance::Dot] {
        let mut rows = Flat::new(clustered(6_000, 24, 1), 24, distance);
        let queries = Flat::new(clustered(100, 24, 2), 24, distance);
        let folder = tempfile::tempdir().unwrap();
        let (mut open, _) = built(folder.path(), &rows, (&usual(), 2), None);
        let whole = recall(open.segment.as_ref(), &rows, &queries, &Ask::nearest(10));
        for round in 0..3 {
            churn(&mut rows, (round, 8), 10 + u64::try_from(round).unwrap());
            let before = Some(open.segment.as_ref());
            let (again, linked) = built(folder.path(), &rows, (&usual(), 2), before);
            assert!(linked < 800, "{distance:?} {round}: {linked} of 750 new");
            open = again;
            let got = recall(open.segment.as_ref(), &rows, &queries, &Ask::nearest(10));
            assert!(got >= 0.92, "{distance:?} {round}: {got}, at first {whole}");
        }
        if distance != Distance::Dot {
            finds_every_row(&open, &rows);
        }
    }
}

#[test]
fn after_enough_changes_all_is_linked_again() {
    let mut rows = Flat::new(clustered(2_000, 16, 1), 16, Distance::Euclid);
    let folder = tempfile::tempdir().unwrap();
    let (mut open, first) = built(folder.path(), &rows, (&usual(), 1), None);
    let mut linked = Vec::new();
    for round in 0..6 {
        churn(&mut rows, (round, 8), 20 + u64::try_from(round).unwrap());
        let (again, links) = built(folder.path(), &rows, (&usual(), 1), Some(&*open.segment));
        linked.push(links >= first - 100);
        open = again;
    }
    // Each round changes 500 of 2,000, so the fourth is more than what is left of the first.
    assert_eq!(linked, [false, false, false, true, false, false]);
    finds_every_row(&open, &rows);
}

#[test]
fn few_new_rows_keep_what_was_measured_and_other_parameters_are_measured_anew() {
    let mut rows = Flat::new(clustered(3_000, 16, 1), 16, Distance::Cosine);
    let folder = tempfile::tempdir().unwrap();
    let (open, first) = built(folder.path(), &rows, (&usual(), 1), None);
    churn(&mut rows, (0, 100), 5);
    let (again, linked) = built(folder.path(), &rows, (&usual(), 1), Some(&*open.segment));
    assert!(linked < 100, "{linked}");
    assert_eq!(
        again.manifest.recall.to_bits(),
        open.manifest.recall.to_bits()
    );
    finds_every_row(&again, &rows);
    let other = Recipe::Graph(GraphParameters {
        bits: Some(8),
        ..GraphParameters::default()
    });
    let (other, linked) = built(folder.path(), &rows, (&other, 1), Some(&*again.segment));
    assert!(linked >= first - 100, "{linked}");
    finds_every_row(&other, &rows);
}

#[test]
fn rows_that_only_went_need_no_linking() {
    let mut rows = Flat::new(clustered(4_000, 16, 1), 16, Distance::Euclid);
    let folder = tempfile::tempdir().unwrap();
    let (open, _) = built(folder.path(), &rows, (&usual(), 1), None);
    // A whole cluster too: its neighbours lose their ways through it.
    let stays = |row: &u32| row % 20 != 3 && !row.is_multiple_of(5);
    rows.live = Arc::new(rows.live.iter().filter(stays).collect());
    let (again, linked) = built(folder.path(), &rows, (&usual(), 1), Some(&*open.segment));
    assert!(linked < 100, "{linked}");
    finds_every_row(&again, &rows);
    let queries = Flat::new(clustered(100, 16, 2), 16, Distance::Euclid);
    let got = recall(again.segment.as_ref(), &rows, &queries, &Ask::nearest(10));
    assert!(got >= 0.92, "{got}");
}

#[test]
fn equal_rows_come_and_go() {
    let mut rows = Flat::new(clustered(1_000, 8, 1), 8, Distance::Euclid);
    let copied = rows.vectors[..8].to_vec();
    for _ in 0..200 {
        rows.vectors.extend_from_slice(&copied);
    }
    Arc::make_mut(&mut rows.live).insert_range(1_000..1_200);
    let folder = tempfile::tempdir().unwrap();
    let (open, _) = built(folder.path(), &rows, (&usual(), 1), None);
    // The first of the equal ones goes, and half of the others; a copy of another row comes.
    Arc::make_mut(&mut rows.live).remove(0);
    for row in (1_000..1_200).step_by(2) {
        Arc::make_mut(&mut rows.live).remove(row);
    }
    let other = rows.vectors[8..16].to_vec();
    rows.vectors.extend_from_slice(&other);
    Arc::make_mut(&mut rows.live).insert(1_200);
    let (again, linked) = built(folder.path(), &rows, (&usual(), 1), Some(&*open.segment));
    assert!(linked < 400, "{linked}");
    assert_eq!(again.segment.covered(), rows.live());
    let all = Ask::nearest(200);
    for row in rows.live.iter() {
        let query = rows.vector(row).unwrap();
        let (hits, _) = again.segment.search(&rows, query, &all).unwrap();
        assert!(hits.iter().any(|hit| hit.row == row), "{row}");
    }
}

#[test]
fn the_same_graph_comes_out_again_for_any_number_of_threads() {
    let mut rows = Flat::new(clustered(3_000, 24, 1), 24, Distance::Euclid);
    let folder = tempfile::tempdir().unwrap();
    let (open, _) = built(folder.path(), &rows, (&usual(), 2), None);
    churn(&mut rows, (0, 5), 7);
    let file = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let before = Some(open.segment.as_ref());
        let (again, _) = built(folder.path(), &rows, (&usual(), threads), before);
        fs_err::read(folder.path().join(again.name()).join("graph")).unwrap()
    };
    let one = file(1);
    assert!(one == file(1), "twice by one thread");
    assert!(one == file(3), "by three threads");
}

#[test]
fn another_kind_before_or_a_damaged_graph_is_no_reason_to_fail() {
    // More than one block of a file, so that one is not looked at by opening it.
    let mut rows = Flat::new(clustered(10_000, 16, 1), 16, Distance::Euclid);
    let folder = tempfile::tempdir().unwrap();
    let trees = Kind::Arroy.recipe().unwrap();
    let (before, _) = built(folder.path(), &rows, (&trees, 1), None);
    let (open, first) = built(folder.path(), &rows, (&usual(), 1), Some(&*before.segment));
    assert!(first >= 9_500, "{first}");
    // A byte of the second block, which nobody looked at yet: the build finds it.
    let path = folder.path().join(open.name()).join("graph");
    let mut bytes = fs_err::read(&path).unwrap();
    let damaged = bytes.len() / 4 * 3;
    assert!(damaged > 1024 * 1024);
    bytes[damaged] ^= 1;
    fs_err::write(&path, bytes).unwrap();
    churn(&mut rows, (0, 10), 5);
    let (again, linked) = built(folder.path(), &rows, (&usual(), 1), Some(&*open.segment));
    assert!(linked >= first - 100, "{linked}");
    finds_every_row(&again, &rows);
}

#[test]
fn the_few_that_are_left_of_a_cluster_are_linked_beside_many_new_rows() {
    let mut rows = Flat::new(clustered(8_000, 16, 1), 16, Distance::Euclid);
    let folder = tempfile::tempdir().unwrap();
    let (open, first) = built(folder.path(), &rows, (&usual(), 1), None);
    // Of five of twenty clusters a few rows stay, which lose nearly all of their links.
    let stays = |row: &u32| row % 20 >= 5 || row % 800 < 20;
    rows.live = Arc::new(rows.live.iter().filter(stays).collect());
    let fresh = Flat::new(clustered(1_200, 16, 9), 16, Distance::Euclid);
    rows.vectors.extend_from_slice(&fresh.vectors);
    Arc::make_mut(&mut rows.live).insert_range(8_000..9_200);
    let (again, linked) = built(folder.path(), &rows, (&usual(), 1), Some(&*open.segment));
    assert!(linked < first / 2, "{linked}");
    finds_every_row(&again, &rows);
}

/// Also a list shorter than what a walk should find is enough for a walk: nobody gets a scan for it.
#[test]
fn a_hasty_search_is_a_short_walk_and_no_scan() {
    for distance in [Distance::Euclid, Distance::Manhattan] {
        let rows = Flat::new(clustered(10_000, 16, 1), 16, distance);
        let folder = tempfile::tempdir().unwrap();
        let (open, _) = built(folder.path(), &rows, (&usual(), 2), None);
        for (k, effort) in [(1, 1), (3, 20), (10, 1), (1, 50)] {
            let ask = Ask {
                effort: Some(effort),
                ..Ask::nearest(k)
            };
            let query = rows.vector(77).unwrap();
            let (hits, compared) = open.segment.search(&rows, query, &ask).unwrap();
            assert_eq!(hits.len(), k);
            assert!(
                compared < 2_000,
                "{distance:?} {k} {effort}: {compared} codes"
            );
        }
    }
}

/// Where a row's node is, is looked up: also where rows are missing between, and where few are allowed.
#[test]
fn filters_find_their_rows_between_those_that_are_gone() {
    let mut rows = Flat::new(clustered(6_000, 16, 1), 16, Distance::Euclid);
    Arc::make_mut(&mut rows.live).remove_range(500..900);
    rows.live = Arc::new(rows.live.iter().filter(|row| row % 7 != 3).collect());
    let folder = tempfile::tempdir().unwrap();
    let (open, _) = built(folder.path(), &rows, (&usual(), 2), None);
    let queries = Flat::new(clustered(50, 16, 2), 16, Distance::Euclid);
    for every in [3, 20, 400] {
        let allowed = rows.live.iter().filter(|row| row % every == 1).collect();
        let ask = Ask {
            allowed: Some(&allowed),
            ..Ask::nearest(10)
        };
        let found = recall(open.segment.as_ref(), &rows, &queries, &ask);
        assert!(found >= 0.95, "one of {every}: {found}");
    }
}
