//! A segment beside the main one: together they cover all, a start finds both, and either may be lost.

use std::path::Path;
use std::sync::Arc;

use vectorsphere::clock::SystemClock;
use vectorsphere::index::{
    Ask, Identity, Job, Kind, Open, Set, build, never, open_dir, quarantine, search,
};
use vectorsphere::rows::Rows;
use vectorsphere::vector::Distance;

use super::graph::{STORE, clustered};
use super::memory::{Flat, covered_by};

const DIMENSIONS: usize = 16;

/// All of these vectors, of which the first so many are live.
fn rows(live: u32) -> Flat {
    let vectors = clustered(4_000, DIMENSIONS, 1);
    let mut rows = Flat::new(vectors, DIMENSIONS, Distance::Euclid);
    Arc::make_mut(&mut rows.live).remove_range(live..);
    rows
}

fn built(dir: &Path, rows: &Flat, sequence: u64, beside: Option<&Open>) -> Open {
    let job = Job {
        rows,
        recipe: &Kind::Graph.recipe().unwrap(),
        store: STORE,
        sequence,
        before: None,
        beside,
        threads: 1,
        clock: &SystemClock,
        stop: &never,
        progress: &|_progress| {},
    };
    build(dir, &job).unwrap()
}

fn opened(dir: &Path) -> Set {
    let identity = Identity {
        store: STORE,
        dimensions: DIMENSIONS,
        distance: Distance::Euclid,
    };
    open_dir(dir, &identity).unwrap().set
}

/// The sequences of the main segment and of the one beside it.
fn sequences(set: &Set) -> (Option<u64>, Option<u64>) {
    let of = |open: &Option<Open>| open.as_ref().map(|open| open.segment.sequence());
    (of(&set.main), of(&set.side))
}

/// Every live row is found by its own vector, whatever covers it.
fn finds_every_row(set: &Set, rows: &Flat) {
    let coverage = covered_by(set.segments(), rows);
    for row in rows.live.iter() {
        let query = rows.vector(row).unwrap();
        let answer = search(&coverage, rows, query, &Ask::nearest(3)).unwrap();
        assert!(answer.failed.is_empty());
        assert!(answer.hits.iter().any(|hit| hit.row == row), "{row}");
    }
}

#[test]
fn both_are_searched_and_found_again_and_another_takes_the_place_of_the_second() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let main = built(dir, &rows(2_000), 1, None);
    let set = Set::default().with(main.clone());
    let some = rows(2_900);
    let side = built(dir, &some, 2, Some(&main));
    assert_eq!(
        side.segment.covered().len(),
        900,
        "what main does not cover"
    );
    let set = set.with(side);
    assert_eq!(sequences(&set), (Some(1), Some(2)));
    assert_eq!(&set.covered(), some.live());
    finds_every_row(&set, &some);
    assert_eq!(sequences(&opened(dir)), (Some(1), Some(2)));
    finds_every_row(&opened(dir), &some);
    // One that was killed after it got its name, before the old one was removed.
    let more = rows(3_900);
    let set = set.with(built(dir, &more, 3, Some(&main)));
    assert_eq!(sequences(&set), (Some(1), Some(3)));
    assert_eq!(&set.covered(), more.live());
    let again = opened(dir);
    assert_eq!(sequences(&again), (Some(1), Some(3)));
    assert_eq!(
        fs_err::read_dir(dir).unwrap().count(),
        2,
        "the old one is gone"
    );
    finds_every_row(&again, &more);
    // And one instead of both.
    let all = rows(4_000);
    let set = again.with(built(dir, &all, 4, None));
    assert_eq!(sequences(&set), (Some(4), None));
    assert_eq!(sequences(&opened(dir)), (Some(4), None));
    assert_eq!(fs_err::read_dir(dir).unwrap().count(), 1);
}

#[test]
fn either_may_be_lost_and_the_other_is_right_about_what_it_covers() {
    let all = rows(3_000);
    for lost in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let main = built(dir, &rows(2_000), 1, None);
        let side = built(dir, &all, 2, Some(&main));
        let mut set = Set::default().with(main).with(side);
        let is_lost = |open: &&Open| open.segment.sequence() == lost;
        let name = set.each().find(is_lost).unwrap().name();
        assert!(set.take("segment-of-that-sequence").is_none());
        let gone = set.take(&name).unwrap();
        quarantine(dir, &gone.name()).unwrap();
        let left = (Some(3 - lost), None);
        assert_eq!(sequences(&set), left);
        finds_every_row(&set, &all);
        assert_eq!(sequences(&opened(dir)), left);
        finds_every_row(&opened(dir), &all);
        // What is built beside nothing that is there is all that counts.
        let other = built(dir, &all, 5, None);
        assert_eq!(sequences(&set.with(other)), (Some(5), None));
    }
}
