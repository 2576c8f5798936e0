//! A manifest that cannot be carried out takes no cluster that serves out of care.

use serde_json::json;

use super::double::store::text;
use super::double::verbs::Deletion;
use super::scene::{
    CLUSTER, LIMIT, NAMESPACE, Scene, call, cluster_key, create, key, manifest, server_with,
};

/// Waits until `SpecValid` says so; its message.
async fn until_judged(scene: &Scene, reason: &'static str) -> String {
    let judged = scene.double.until("it is judged", LIMIT, move |state| {
        let cluster = state.store.get(&cluster_key(CLUSTER))?;
        let generation = &cluster["metadata"]["generation"];
        let conditions = cluster["status"]["conditions"].as_array()?;
        let found = conditions.iter().find(|one| one["type"] == "SpecValid")?;
        let is_it = found["reason"] == reason && found["observedGeneration"] == *generation;
        is_it.then(|| text(found, "/message").to_owned())
    });
    judged.await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_goes_on_by_the_last_manifest_that_was_accepted() {
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    scene.until_quiet().await;
    // More workers, and a field that nobody can carry out.
    scene.change(&json!({"spec": {"config": {"a": "b"}, "worker": {"replicas": 3}}}));
    let why = until_judged(&scene, "NotBuilt").await;
    assert!(why.contains("spec.config is not built yet"), "{why}");
    assert!(
        why.contains("generation 1, the last accepted, goes on"),
        "{why}"
    );
    let worker = key("", "pods", "small-worker-0");
    let uid = |pod: &serde_json::Value| text(pod, "/metadata/uid").to_owned();
    let before = uid(&scene.double.get(&worker).unwrap());
    scene.double.with(|state| {
        let call = call(state, &worker);
        call.delete(&mut state.store, &Deletion::default()).unwrap();
    });
    let again = scene.double.until("it is made again", LIMIT, |state| {
        let pod = state.store.get(&worker)?;
        (uid(&pod) != before).then_some(())
    });
    again.await;
    scene.until_quiet().await;
    let second = key("", "pods", "small-worker-1");
    assert!(scene.double.get(&second).is_none(), "half a manifest");
    // Two versions at once, and then one that can be had.
    scene.change(&json!({"spec": {"config": null, "version": "0.3.0"}}));
    until_judged(&scene, "VersionSkip").await;
    scene.change(&json!({"spec": {"version": "0.1.0"}}));
    until_judged(&scene, "Valid").await;
    scene.until_done().await;
    assert!(scene.double.get(&second).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_was_taken_back_is_not_what_the_next_one_follows() {
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    scene.until_quiet().await;
    scene.change(&json!({"spec": {"version": "0.2.0", "image": {"tag": "broken"}}}));
    let back = scene.double.until("it is taken back", LIMIT, |state| {
        let cluster = state.store.get(&cluster_key(CLUSTER))?;
        let status = cluster["status"].to_string();
        status.contains("RolledBack").then_some(())
    });
    back.await;
    scene.until_quiet().await;
    // Every pod is of 0.1.0 still.
    scene.change(&json!({"spec": {"version": "0.3.0", "image": null}}));
    let why = until_judged(&scene, "VersionSkip").await;
    assert!(why.contains("from 0.1.0 to 0.3.0"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_new_cluster_that_is_refused_nothing_is_made() {
    let change = json!({"config": {"a": "b"}});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &change)]));
    let _operator = scene.operator("first").await;
    let why = until_judged(&scene, "NotBuilt").await;
    assert!(why.contains("nothing is made"), "{why}");
    scene.round().await;
    let made = scene
        .double
        .with(|state| state.store.list("", "pods", "").len());
    assert_eq!(made, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_config_map_of_somebody_else_is_left_alone() {
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "small-accepted", "namespace": NAMESPACE}, "data": {"a": "b"},
    });
    scene.double.with(|state| create(state, &theirs));
    let before = scene.double.get(&key("", "configmaps", "small-accepted"));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    assert_eq!(
        scene.double.get(&key("", "configmaps", "small-accepted")),
        before
    );
    let errors = scene.cluster().unwrap()["status"]["lastErrors"].to_string();
    assert!(errors.contains("small-accepted"), "{errors}");
}
