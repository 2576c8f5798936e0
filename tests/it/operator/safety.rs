//! What an operator may never do: each promise about data, on a double, with the real process.

use serde_json::{Value, json};

use super::double::State;
use super::double::store::{Key, text};
use super::double::verbs::Deletion;
use super::outcome::Outcome;
use super::scenarios::named;
use super::scene::{
    CLUSTER, LIMIT, NAMESPACE, Scene, call, cluster_key, create, key, manifest, server_with,
};

fn claim_key(worker: u32) -> Key {
    let name = format!("data-{CLUSTER}-worker-{worker}");
    key("", "persistentvolumeclaims", &name)
}

fn pod_key(worker: u32) -> Key {
    key("", "pods", &format!("{CLUSTER}-worker-{worker}"))
}

/// Whether some message of the cluster's status has this in it.
fn says(state: &State, part: &str) -> Option<()> {
    let cluster = state.store.get(&cluster_key(CLUSTER))?;
    cluster["status"].to_string().contains(part).then_some(())
}

fn hold(scene: &Scene, held: &[&str]) {
    scene.double.with(|state| {
        let led = (NAMESPACE.to_owned(), CLUSTER.to_owned());
        let led = state.led.entry(led).or_default();
        led.held = held.iter().map(|&one| one.to_owned()).collect();
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_holds_a_shard_stays_with_its_volume_until_it_holds_none() {
    let two = json!({"worker": {"replicas": 2}});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &two)]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    hold(&scene, &["things/0"]);
    scene.change(&json!({"spec": {"worker": {"replicas": 1}}}));
    let held = scene.double.until("it is held", LIMIT, |state| {
        says(state, "small-worker-1 holds things/0")
    });
    held.await;
    scene.until_quiet().await;
    for key in [pod_key(1), claim_key(1)] {
        assert!(scene.double.get(&key).is_some(), "{key}");
    }
    hold(&scene, &[]);
    scene.round().await;
    let gone = scene.double.until("it is gone", LIMIT, |state| {
        let left = [pod_key(1), claim_key(1)].map(|key| state.store.get(&key));
        left.iter().all(Option::is_none).then_some(())
    });
    gone.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_volume_of_another_cluster_of_this_name_is_not_taken_over_without_a_word() {
    const OTHER: &str = "99999999-2222-4333-8444-555555555555";
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let theirs = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_key(0).name, "namespace": NAMESPACE,
            "labels": {"vectorsphere.io/cluster-uid": OTHER, "vectorsphere.io/cluster": CLUSTER},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    scene.double.with(|state| create(state, &theirs));
    let labels = |claim: &Value| claim["metadata"]["labels"].clone();
    let before = labels(&scene.double.get(&claim_key(0)).unwrap());
    let _operator = scene.operator("first").await;
    let told = scene
        .double
        .until("it is told", LIMIT, |state| says(state, OTHER));
    told.await;
    scene.round().await;
    let after = scene.double.get(&claim_key(0)).unwrap();
    assert_eq!(labels(&after), before);
    assert!(
        scene.double.get(&pod_key(0)).is_none(),
        "nobody writes to it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_is_gone_is_not_made_anew_until_somebody_says_so() {
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    scene.until_quiet().await;
    scene.double.with(|state| {
        for key in [pod_key(0), claim_key(0)] {
            let call = call(state, &key);
            call.delete(&mut state.store, &Deletion::default()).unwrap();
        }
    });
    let told = scene
        .double
        .until("it is told", LIMIT, |state| says(state, "VolumeLost"));
    told.await;
    scene.until_quiet().await;
    assert!(scene.double.get(&claim_key(0)).is_none());
    let allow = json!({"vectorsphere.io/new-volume": "small-worker-0"});
    scene.change(&json!({"metadata": {"annotations": allow}}));
    let made = scene.double.until("it is made", LIMIT, |state| {
        state.store.get(&claim_key(0)).map(|_claim| ())
    });
    made.await;
    scene.until_done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_goes_while_its_cluster_sleeps_is_told_when_it_wakes() {
    let power = |power: &str| json!({"spec": {"power": power}});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    scene.change(&power("Hibernated"));
    scene.until_done().await;
    scene.double.with(|state| {
        let call = call(state, &claim_key(0));
        call.delete(&mut state.store, &Deletion::default()).unwrap();
    });
    scene.round().await;
    scene.change(&power("Running"));
    let told = scene
        .double
        .until("it is told", LIMIT, |state| says(state, "VolumeLost"));
    told.await;
    scene.round().await;
    for number in [0, 1] {
        assert!(scene.double.get(&claim_key(number)).is_none(), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_named_by_its_uid_and_was_to_be_deleted() {
    for name in ["workers-in", "delete-and-retain", "delete-all"] {
        let scenario = named(name);
        let from = scenario.begin().await;
        let outcome = Outcome::undisturbed(&scenario, &from).await;
        assert!(!outcome.writes.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_a_worker_is_never_used_again() {
    let workers = |count: u32| json!({"spec": {"worker": {"replicas": count}}});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    for count in [2, 1, 2] {
        scene.change(&workers(count));
        scene.until_done().await;
    }
    let worker = |number: u32| scene.double.get(&pod_key(number)).is_some();
    assert_eq!([0, 1, 2].map(worker), [true, false, true]);
    let cluster = scene.cluster().unwrap();
    assert_eq!(text(&cluster, "/status/phase"), "Running");
    assert_eq!(cluster["status"]["nextWorkerOrdinal"], 3);
}
