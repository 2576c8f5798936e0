//! A cluster that is made on a double becomes Ready.

use serde_json::json;

use super::scene::{CLUSTER, Scene, manifest, server_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_cluster_becomes_ready_on_the_double() {
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let _operator = scene.operator("operator").await;
    scene.until_done().await;
    scene.until_quiet().await;
    let cluster = scene.cluster().unwrap();
    assert_eq!(cluster["status"]["phase"], "Running");
    let written = scene.double.with(|state| state.journal.written);
    eprintln!("Running after {written} writes, and none after them");
}
