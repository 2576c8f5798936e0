//! An etcd that lost everything does not look like a healthy, empty cluster.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::local_cluster::LocalCluster;
use crate::support::wait_for::wait_for;

/// The job about data without a record, once there is one.
async fn told(cluster: &LocalCluster) -> Option<String> {
    let state = cluster.status().await?;
    let jobs = state["jobs"].as_array()?;
    let mut jobs = jobs.iter().filter_map(Value::as_str);
    let job = jobs.find(|job| job.contains("data that no record gives it"))?;
    Some(job.to_owned())
}

#[tokio::test]
async fn data_whose_records_are_lost_is_named_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    cluster.must("PUT", "/collections/c", &vectors).await;
    let healthy = cluster.status().await.unwrap();
    assert_eq!(told(&cluster).await, None, "{healthy}");
    let id = healthy["collections"][0]["id"].as_str().unwrap();
    for process in healthy["processes"].as_array().unwrap() {
        let of_worker = process["role"] == "worker";
        let health = if of_worker { "ok" } else { "registered" };
        assert_eq!(process["health"], health);
    }
    assert_eq!(cluster.terminate(), Some(0));

    fs_err::remove_dir_all(folder.path().join("etcd")).unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let patience = Duration::from_secs(30);
    let job = wait_for("the data is named", patience, || told(&cluster)).await;
    assert!(
        job.contains(&format!("shard 0 of collection {id}")),
        "{job}"
    );
    let state = cluster.status().await.unwrap();
    let mut processes = state["processes"].as_array().unwrap().iter();
    let worker = processes
        .find(|process| process["role"] == "worker")
        .unwrap();
    assert_eq!(worker["health"], "1 shards have no record");
    let counted = || async {
        let metrics = cluster.metrics("worker").await;
        metrics
            .contains("vectorsphere_worker_shards_orphan 1")
            .then_some(())
    };
    wait_for("the metric says it", patience, counted).await;
    let log = fs_err::read_dir(folder.path().join("logs")).unwrap();
    let said = log.map(|file| fs_err::read_to_string(file.unwrap().path()).unwrap());
    let said = said.filter(|text| text.contains("etcd does not know this cluster"));
    assert!(said.count() > 0);
}
