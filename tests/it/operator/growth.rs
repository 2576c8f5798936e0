//! Volumes that grow with what is in them, as far as the manifest allows.

use serde_json::json;

use super::double::State;
use super::double::store::{Key, text};
use super::scene::{CLUSTER, LIMIT, NAMESPACE, Scene, cluster_key, key, manifest, server_with};

const GIB: u64 = 1 << 30;

/// What both workers' claims ask for, when that is the same.
fn asked(state: &State) -> Option<String> {
    let asked = |number: u32| {
        let name = format!("data-{CLUSTER}-worker-{number}");
        let key = key("", "persistentvolumeclaims", &name);
        let claim = state.store.get(&key)?;
        Some(text(&claim, "/spec/resources/requests/storage").to_owned())
    };
    let (first, second) = (asked(0)?, asked(1)?);
    (first == second).then_some(first)
}

/// The workers use so much from now on, and their volumes come to ask for this.
async fn grow_to(scene: &Scene, used_bytes: u64, size: &'static str) {
    scene.double.with(|state| {
        let led = state
            .led
            .get_mut(&(NAMESPACE.to_owned(), CLUSTER.to_owned()));
        led.unwrap().used_bytes = Some(used_bytes);
    });
    scene.round().await;
    let grown = scene.double.until("they have grown", LIMIT, |state| {
        (asked(state)?.as_str() == size).then_some(())
    });
    grown.await;
    // And no further.
    scene.round().await;
    scene.round().await;
    let held = scene.double.with(|state| asked(state));
    assert_eq!(held.as_deref(), Some(size));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_grow_with_their_use_up_to_their_bound_and_the_manifest_stays() {
    let storage = json!({"size": "10Gi", "autoGrow": {"maxSize": "16Gi"}});
    let change = json!({"worker": {"replicas": 2, "storage": storage}});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &change)]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    grow_to(&scene, GIB, "10Gi").await;
    grow_to(&scene, 9 * GIB, "12Gi").await;
    grow_to(&scene, 10 * GIB, "15Gi").await;
    grow_to(&scene, 13 * GIB, "16Gi").await;
    grow_to(&scene, 15 * GIB, "16Gi").await;
    let full = scene.double.until("that is told", LIMIT, |state| {
        let cluster = state.store.get(&cluster_key(CLUSTER))?;
        let conditions = cluster["status"]["conditions"].as_array()?;
        let found = conditions
            .iter()
            .find(|one| one["type"] == "StorageReady")?;
        (found["reason"] == "VolumeFull").then(|| text(found, "/message").to_owned())
    });
    let full = full.await;
    assert!(full.contains("may not grow beyond 16Gi"), "{full}");
    let cluster = scene.cluster().unwrap();
    assert_eq!(cluster["spec"]["worker"]["storage"]["size"], "10Gi");
    assert_eq!(cluster["metadata"]["generation"], 1);
    assert_eq!(cluster["status"]["workers"][0]["volume"]["usedPercent"], 95);
    // A worker that comes later is as large as the others.
    scene.change(&json!({"spec": {"worker": {"replicas": 3}}}));
    let third: Key = key("", "persistentvolumeclaims", "data-small-worker-2");
    let as_large = scene.double.until("the third is as large", LIMIT, |state| {
        let claim = state.store.get(&third)?;
        (text(&claim, "/spec/resources/requests/storage") == "16Gi").then_some(())
    });
    as_large.await;
}
