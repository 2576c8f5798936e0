//! What one request may take, and what it says when it would take more.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::local_cluster::LocalCluster;
use crate::support::wait_for::wait_for;

/// Bytes of a payload of which three are more than a payload may have, and one is not.
const LARGE: usize = 7 * 1024 * 1024;

/// How long a component on a busy machine may be silent, of which a status tells.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_payload_grows_to_its_bound_and_a_read_by_ids_ends_at_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    cluster.must("PUT", "/collections/c", &vectors).await;
    // Nobody has asked it anything: it is known to be whole and empty.
    wait_for("a collection that is green", LIMIT, || async {
        let made = cluster.must("GET", "/collections/c", &Value::Null).await;
        (made["status"] == "green").then_some(())
    })
    .await;
    wait_for("a cluster with nothing to do", LIMIT, || async {
        let state = cluster.status().await?;
        (state["jobs"] == json!([])).then_some(())
    })
    .await;

    let points: Vec<Value> = (1..=8)
        .map(|id| json!({"id": id, "vector": [id, 0]}))
        .collect();
    let points = json!({ "points": points });
    cluster
        .must("PUT", "/collections/c/points?wait=true", &points)
        .await;
    let set = |id: u64, key: &str| json!({"payload": {key: "x".repeat(LARGE)}, "points": [id]});
    let path = "/collections/c/points/payload?wait=true";
    for key in ["a", "b"] {
        cluster.must("POST", path, &set(1, key)).await;
    }
    let (status, answer) = cluster.ask("POST", path, &set(1, "c")).await;
    assert_eq!(status, 400, "{answer}");
    let error = answer["status"]["error"].as_str().unwrap();
    assert!(error.contains("a payload of more than 16 MiB"), "{error}");
    // What is replaced does not count twice, and what was there can be read.
    cluster.must("POST", path, &set(1, "b")).await;
    let point = cluster
        .must("GET", "/collections/c/points/1", &Value::Null)
        .await;
    let members = point["payload"].as_object().unwrap();
    assert_eq!(members.len(), 2);

    // One id, however often it is named, is one point.
    let often = json!({"ids": vec![1; 10_000], "with_payload": true});
    let found = cluster.must("POST", "/collections/c/points", &often).await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    for id in 2..=6 {
        cluster.must("POST", path, &set(id, "a")).await;
    }
    let many = json!({"ids": [1, 2, 3, 4, 5, 6], "with_payload": true});
    let (status, answer) = cluster.ask("POST", "/collections/c/points", &many).await;
    assert_eq!(status, 400, "{status}");
    let error = answer["status"]["error"].as_str().unwrap();
    assert!(error.contains("the answer is too large"), "{error}");
}
