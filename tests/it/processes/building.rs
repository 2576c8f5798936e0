//! A worker killed while it builds an index: every point is found, nothing half made is left, and the
//! index is built in the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::local_cluster::{LocalCluster, kill};
use crate::support::skip::long;
use crate::support::wait_for::wait_for;

/// What is built, and of how many points: enough that it takes long beside a look at it.
const TREES: (&str, u64) = ("arroy", 20_000);
const GRAPHS: (&str, u64) = ("graph", 40_000);
const DIMENSIONS: u64 = 48;
const PATIENCE: Duration = Duration::from_secs(60);

/// The vector of a point: no two are the same.
fn vector(id: u64) -> Vec<f64> {
    let mut state = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let component = |_at| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f64::from(u32::try_from(state >> 40).unwrap())
    };
    (0..DIMENSIONS).map(component).collect()
}

async fn upload(cluster: &LocalCluster, ids: std::ops::Range<u64>) {
    let points: Vec<Value> = ids
        .map(|id| json!({"id": id, "vector": vector(id)}))
        .collect();
    for points in points.chunks(1_000) {
        let body = json!({ "points": points });
        let path = "/collections/c/points?wait=true";
        cluster.must("PUT", path, &body).await;
    }
}

/// Each of some points is what lies nearest to itself.
async fn all_are_found(cluster: &LocalCluster, until: u64) {
    for id in (0..until).step_by(499).chain([until - 1]) {
        let query = json!({"query": vector(id), "limit": 1});
        let path = "/collections/c/points/query";
        let found = cluster.must("POST", path, &query).await;
        assert_eq!(found["points"][0]["id"], json!(id), "{found}");
    }
}

/// What is said of the index of the only shard.
async fn index(cluster: &LocalCluster) -> Option<Value> {
    let status = cluster.status().await?;
    Some(status["collections"][0]["shards"][0]["index"].clone())
}

/// Folders below a folder whose names begin so: `tmp-` of builds, `segment-` of what was built.
fn folders(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                found.push(entry.path());
            } else if name.starts_with("tmp-") {
                // Whoever made it may remove it at any time.
            } else if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    found
}

async fn killed_while_building((algorithm, first): (&str, u64), kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let made = json!({
        "vectors": {"size": DIMENSIONS, "distance": "Euclid"},
        "vectorsphere": {"index": {"algorithm": algorithm}},
    });
    cluster.must("PUT", "/collections/c", &made).await;
    upload(&cluster, 0..first).await;
    let shards = folder.path().join("laptop-worker-0/shards");
    let mut points = first;
    for _kill in 0..kills {
        let before = wait_for("a build is under way", PATIENCE, || async {
            let index = index(&cluster).await?;
            let is_building = index["state"] == "building" && !folders(&shards, "tmp-").is_empty();
            is_building.then(|| folders(&shards, "segment-"))
        })
        .await;
        let worker = cluster.pids("worker")[0];
        kill(worker);
        let after = folders(&shards, "segment-");
        assert_eq!(before, after, "it ended before it was killed");
        cluster.replaced("worker", worker).await;
        upload(&cluster, points..points + 1).await;
        points += 1;
        all_are_found(&cluster, points).await;
    }
    wait_for("the index is built", PATIENCE, || async {
        let index = index(&cluster).await?;
        (index["kind"] == algorithm && index["state"] == "idle").then_some(())
    })
    .await;
    all_are_found(&cluster, points).await;
    let count = cluster
        .must("POST", "/collections/c/points/count", &json!({}))
        .await;
    assert_eq!(count["count"], json!(points));
    let left = folders(&shards, "tmp-");
    assert!(left.is_empty(), "{left:?}");
    eprintln!(
        "{algorithm}, {kills} kills while it was built: {points} points there, nothing half made"
    );
}

#[tokio::test]
async fn a_worker_killed_while_it_builds_a_graph_keeps_every_point_and_builds_again() {
    killed_while_building(GRAPHS, 1).await;
}

#[tokio::test]
async fn a_worker_killed_while_it_builds_trees_keeps_every_point_and_builds_again() {
    killed_while_building(TREES, 1).await;
}

#[tokio::test]
async fn long_killed_twenty_times_while_it_builds() {
    if long() {
        killed_while_building(GRAPHS, 20).await;
        killed_while_building(TREES, 20).await;
    }
}
