//! Searches are asked again, exactly, and what that shows is seen by clients and in the metrics.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::local_cluster::LocalCluster;
use crate::support::wait_for::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);

/// A point on a spiral of 3,000 points: each has neighbours, none equals another.
fn vector(id: u32) -> [f64; 3] {
    let turn = f64::from(id) / 40.0;
    [turn.sin(), turn.cos(), f64::from(id) / 3_000.0]
}

#[tokio::test]
async fn what_searches_find_is_known_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let asked = json!({
        "vectors": {"size": 3, "distance": "Euclid"},
        "vectorsphere": {"index": {"algorithm": "graph"}},
    });
    let path = "/collections/spiral";
    cluster.must("PUT", path, &asked).await;
    let points = (0..3_000).map(|id| json!({"id": id, "vector": vector(id)}));
    let points = json!({"points": points.collect::<Vec<_>>()});
    let upsert = format!("{path}/points?wait=true");
    cluster.must("PUT", &upsert, &points).await;
    let info = cluster.must("GET", path, &Value::Null).await;
    assert!(info["vectorsphere"].get("search").is_none(), "{info}");
    wait_for("the index is built", PATIENCE, || async {
        let info = cluster.must("GET", path, &Value::Null).await;
        (info["indexed_vectors_count"] == 3_000).then_some(())
    })
    .await;
    let query = format!("{path}/points/query");
    let known = wait_for("searches were asked again", PATIENCE, || async {
        let batch = format!("{query}/batch");
        let searches = (0..8).map(|id| json!({"query": vector(id * 300), "limit": 10}));
        let searches = json!({"searches": searches.collect::<Vec<_>>()});
        let answers = cluster.must("POST", &batch, &searches).await;
        let first = |answer: &Value| answer["points"][0]["id"].as_u64().unwrap();
        let found: Vec<u64> = answers.as_array().unwrap().iter().map(first).collect();
        assert_eq!(found, [0, 300, 600, 900, 1_200, 1_500, 1_800, 2_100]);
        let info = cluster.must("GET", path, &Value::Null).await;
        let search = info["vectorsphere"]["search"].clone();
        (search["samples"].as_u64()? >= 2).then_some(search)
    })
    .await;
    assert!(known["recall"].as_f64().unwrap() >= 0.9, "{known}");
    assert_eq!(known["effort"], 100);
    wait_for("the metrics say so too", PATIENCE, || async {
        let metrics = cluster.metrics("worker").await;
        let line = |line: &&str| line.starts_with("vectorsphere_worker_search_recall{collection=");
        let share = metrics.lines().find(line)?.rsplit(' ').next()?;
        (share.parse::<f64>().unwrap() >= 0.9).then_some(())
    })
    .await;
}
