//! What a manifest and a request ask for is what the cluster does: shards, gateways, index.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::local_cluster::LocalCluster;
use crate::support::wait_for::wait_for;

const SAMPLE: &str = include_str!("../../../manifests/samples/laptop.yaml");

/// The manifests of the index segments below a folder.
fn segments(folder: &Path) -> Vec<Value> {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("manifest.json") {
                let text = fs_err::read(&path).unwrap();
                let sealed: Value = serde_json::from_slice(&text).unwrap();
                found.push(sealed["manifest"].clone());
            }
        }
    }
    found
}

async fn indexed(cluster: &LocalCluster, name: &str) -> Option<()> {
    let path = format!("/collections/{name}");
    let info = cluster.must("GET", &path, &Value::Null).await;
    (info["indexed_vectors_count"] == 40).then_some(())
}

/// Makes a collection of 40 points whose index is asked for by name, waits until that is built, and finds a
/// point; the recipes of all segments.
async fn built(cluster: &LocalCluster, name: &str, index: &Value) -> Vec<Value> {
    let asked = json!({
        "vectors": {"size": 2, "distance": "Dot"}, "shard_number": 1, "vectorsphere": {"index": index},
    });
    let path = format!("/collections/{name}");
    cluster.must("PUT", &path, &asked).await;
    let points = (0..40).map(|id| json!({"id": id, "vector": [id, 40 - id]}));
    let points = json!({"points": points.collect::<Vec<_>>()});
    cluster
        .must("PUT", &format!("{path}/points?wait=true"), &points)
        .await;
    let patience = Duration::from_secs(60);
    wait_for("the index is built", patience, || indexed(cluster, name)).await;
    let asked = json!({"query": [1, 0], "limit": 1});
    let found = cluster
        .must("POST", &format!("{path}/points/query"), &asked)
        .await;
    assert_eq!(found["points"][0]["id"], 39, "{found}");
    segments(&cluster.data_dir)
}

#[tokio::test]
async fn shards_gateways_and_index_are_those_that_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("cluster.yaml");
    let text = SAMPLE
        .replace("  gateway:\n    replicas: 1", "  gateway:\n    replicas: 2")
        .replace(
            "replicationFactor: 1",
            "replicationFactor: 1\n    shards: 3",
        );
    fs_err::write(&manifest, text).unwrap();
    let cluster = LocalCluster::start(&folder.path().join("data"), Some(&manifest));
    let components = cluster.components();
    let mut gateways = components.iter().filter(|one| one["role"] == "gateway");
    let other = gateways.find_map(|one| {
        let url = format!("http://{}", one["http_address"].as_str().unwrap());
        (url != cluster.url).then_some(url)
    });
    let other = other.unwrap();

    // A collection can be used over the other gateway from the moment that it is there.
    let dimensions = json!({"vectors": {"size": 2, "distance": "Dot"}});
    for number in 0..20 {
        let path = format!("/collections/c{number}");
        cluster.must("PUT", &path, &dimensions).await;
        let request = cluster.http.post(&format!("{other}{path}/points/count"));
        let answer = request.body("{}").send().await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
    let state = cluster.status().await.unwrap();
    let collections = state["collections"].as_array().unwrap();
    assert_eq!(collections.len(), 20);
    for collection in collections {
        assert_eq!(collection["shards"].as_array().unwrap().len(), 3);
    }

    let trees = json!({"algorithm": "arroy", "parameters": {"trees": 3}});
    let found = built(&cluster, "trees", &trees).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["recipe"]["arroy"]["trees"], 3);
    assert_eq!(found[0]["layout"]["trees"].as_array().unwrap().len(), 3);

    let graph = json!({"algorithm": "graph", "parameters": {"bits": 8}});
    let found = built(&cluster, "graph", &graph).await;
    let graphs: Vec<&Value> = found
        .iter()
        .filter(|one| one["recipe"]["graph"].is_object())
        .collect();
    assert_eq!(graphs.len(), 1, "{found:?}");
    assert_eq!(graphs[0]["recipe"]["graph"]["bits"], 8);
    assert_eq!(graphs[0]["layout"]["file"]["bits"], 8);
    wait_for(
        "what was built is told",
        Duration::from_secs(30),
        || async {
            let state = cluster.status().await?;
            let collections = state["collections"].as_array()?;
            let graph = collections.iter().find(|one| one["name"] == "graph")?;
            let built = &graph["shards"][0]["index"]["built"];
            (built["bits"] == 8 && built["share"].as_f64()? > 0.9).then_some(())
        },
    )
    .await;
}
