//! A shard with its store and its segments, in a folder.

use std::io::Write;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;

use super::*;
use crate::clock::SystemClock;
use crate::coordination::records::CollectionRecord;
use crate::ids::{CollectionId, PointId, ShardId};
use crate::index::due::Reason;
use crate::index::never;
use crate::query::{Filter, PayloadSelector, PointInput};
use crate::vector::Distance;
use crate::worker::search::{Search, search};

fn identity() -> ShardIdentity {
    ShardIdentity {
        cluster: Uuid::from_u128(1),
        shard: ShardId {
            collection: CollectionId(Uuid::from_u128(2)),
            number: 0,
        },
        dimensions: 2,
        distance: Distance::Euclid,
    }
}

fn options() -> store::Options {
    store::Options {
        map_bytes: 1 << 20,
        map_bytes_max: 1 << 30,
        clock: SystemClock::shared(),
    }
}

fn opened(folder: &Path) -> Hosted {
    let record = json!({
        "id": Uuid::from_u128(2), "name": "c", "dimensions": 2, "distance": "Euclid",
        "state": "active", "created_ms": 0, "shard_count": 1,
    });
    let record: CollectionRecord = serde_json::from_value(record).unwrap();
    Hosted::open(folder, &identity(), options(), &record).unwrap()
}

fn soon() -> Moment {
    SystemClock.now() + Duration::from_secs(30)
}

/// Where a point lies, none where another does.
fn vector(id: u64) -> Vec<f32> {
    let (across, up) = (id % 64, id / 64);
    [across, up]
        .map(|of| f32::from(u16::try_from(of).unwrap()))
        .to_vec()
}

fn write(runtime: &Runtime, hosted: &Hosted, ids: std::ops::Range<u64>) {
    let points = ids.map(|id| PointInput {
        id: PointId::Number(id),
        vector: vector(id),
        payload: b"{}".to_vec(),
    });
    let upsert = Operation::Upsert(points.collect());
    let written = runtime.block_on(hosted.write(Epoch(1), upsert, soon()));
    written.unwrap();
}

fn build(hosted: &Hosted, extent: Extent) {
    let due = Due {
        recipe: Kind::Graph.recipe().unwrap(),
        reason: Reason::Fresh,
        extent,
    };
    hosted.build(&due, 1, &never).unwrap();
}

/// Each of these points is found by where it lies.
fn finds(hosted: &Hosted, ids: std::ops::Range<u64>) {
    let snapshot = hosted.store.snapshot().unwrap();
    for id in ids {
        let asked = Search {
            vector: vector(id),
            filter: Filter::default(),
            top: 1,
            score_threshold: None,
            exact: false,
            effort: None,
            payload: PayloadSelector::None,
            with_vector: false,
            exclude: None,
        };
        let mut room = usize::MAX;
        let late = (&SystemClock as &dyn Clock, soon());
        let found = search(hosted, &snapshot, &[asked], late, &mut room).unwrap();
        assert_eq!(found[0][0].record.id, PointId::Number(id));
    }
}

/// A new shard in this folder with a thousand points and a graph of them.
fn with_a_thousand(folder: &Path, runtime: &Runtime) -> Hosted {
    Hosted::create(folder, &identity(), Uuid::nil(), options()).unwrap();
    let hosted = opened(folder);
    write(runtime, &hosted, 0..1_000);
    build(&hosted, Extent::All);
    hosted
}

#[test]
fn a_segment_beside_the_main_one_covers_what_is_new_also_after_a_restart() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let hosted = with_a_thousand(folder.path(), &runtime);
    write(&runtime, &hosted, 1_000..1_500);
    assert_eq!(hosted.index_kind(), (Kind::Graph, 1_000));
    build(&hosted, Extent::Beside);
    write(&runtime, &hosted, 1_500..1_600);
    build(&hosted, Extent::Beside);
    assert_eq!(hosted.index_kind(), (Kind::Graph, 1_600));
    assert_eq!(hosted.others().unwrap(), Vec::<String>::new());
    finds(&hosted, 0..1_600);
    // Each is read whole once, and then for a day not again.
    hosted.verify(&never);
    assert!(hosted.wants_verification(), "the second of two");
    hosted.verify(&never);
    assert!(!hosted.wants_verification());
    hosted.close();

    let hosted = opened(folder.path());
    assert_eq!(hosted.index_kind(), (Kind::Graph, 1_600));
    finds(&hosted, 0..1_600);
    let all = hosted.segments().covered();
    assert_eq!(all.len(), 1_600);
    build(&hosted, Extent::All);
    assert!(hosted.segments().side.is_none(), "both became one");
    assert_eq!(hosted.segments().covered(), all);
    finds(&hosted, 0..1_600);
    hosted.close();
}

#[test]
fn a_segment_that_is_damaged_goes_out_of_use_and_every_point_is_found_without_it() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let hosted = with_a_thousand(folder.path(), &runtime);
    let segments = hosted.segments();
    let name = segments.each().next().unwrap().name();
    let path = folder.path().join("index").join(name).join("graph");
    let mut file = fs_err::read(&path).unwrap();
    let middle = file.len() / 2;
    file[middle] ^= 1;
    // In place: the segment has this file mapped.
    let mut open = fs_err::File::options().write(true).open(&path).unwrap();
    open.write_all(&file).unwrap();
    hosted.verify(&never);
    assert_eq!(hosted.index_kind(), (Kind::Flat, 0));
    finds(&hosted, 0..1_000);
    hosted.close();
}

#[test]
fn who_covers_what_is_found_out_once_for_a_commit_and_anew_for_another_set() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), Runtime::new().unwrap());
    let hosted = with_a_thousand(folder.path(), &runtime);
    let before = hosted.store.live();
    let serving = hosted.serving(&before);
    assert!(serving.coverage.rest().is_empty());
    let snapshot = hosted.store.snapshot().unwrap();
    let again = hosted.serving(snapshot.live_rows());
    assert!(Arc::ptr_eq(&again, &serving), "of the same commit");

    write(&runtime, &hosted, 1_000..1_100);
    assert_eq!(hosted.uncovered(), 100);
    finds(&hosted, 0..1_100);
    let newest = hosted.serving(&hosted.store.live());
    let older = hosted.serving(&before);
    assert!(older.coverage.rest().is_empty(), "as it was then");
    let again = hosted.serving(&hosted.store.live());
    assert!(
        Arc::ptr_eq(&again, &newest),
        "kept while an older one is read"
    );

    build(&hosted, Extent::All);
    assert_eq!(hosted.uncovered(), 0);
    let name = hosted.segments().each().next().unwrap().name();
    hosted.quarantine(&name, &index::Error::TooLarge);
    assert_eq!(hosted.uncovered(), 1_100);
    finds(&hosted, 0..1_100);
    drop(snapshot);
    hosted.close();
}
