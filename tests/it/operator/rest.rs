//! A cluster at rest stays at rest: when its manifest is applied again and again, and among 500.
#![expect(
    clippy::disallowed_methods,
    reason = "how long it took on the clock on the wall is what is shown"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::double::State;
use super::double::store::text;
use super::double::verbs::Way;
use super::scene::{CLUSTER, Scene, call, cluster_key, manifest, rounds_of, server_with};
use crate::support::skip::long;

/// Applications of the same manifest.
const APPLIED: usize = 100;
/// Clusters of one operator.
const CLUSTERS: usize = 500;
/// What its process may hold of them, in bytes.
const RESIDENT_MAX: u64 = 150 * 1024 * 1024;
/// Long enough for all of them on a machine that others share.
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_applied_a_hundred_times_changes_nothing() {
    let manifest = manifest(CLUSTER, &json!({}));
    let scene = Scene::of(&server_with(&[]));
    let apply = || {
        scene.double.with(|state| {
            let call = call(state, &cluster_key(CLUSTER));
            call.patch(&mut state.store, Way::Apply, &manifest).unwrap();
        });
    };
    apply();
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    scene.until_quiet().await;
    let written = scene.double.with(|state| state.journal.written);
    let version = |scene: &Scene| {
        let cluster = scene.cluster().unwrap();
        text(&cluster, "/metadata/resourceVersion").to_owned()
    };
    let before = version(&scene);
    for _ in 0..APPLIED {
        apply();
    }
    assert_eq!(version(&scene), before);
    scene.until_quiet().await;
    let cluster = scene.cluster().unwrap();
    assert_eq!(cluster["metadata"]["generation"], 1);
    scene.double.with(|state| {
        let late = state.journal.writes().skip(written);
        let late: Vec<String> = late.map(ToString::to_string).collect();
        assert_eq!(state.journal.written, written, "{late:#?}");
    });
}

/// Sockets for the masters of all clusters, as far as this machine gives them.
fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}

/// Namespace and name of each cluster: ten in a namespace.
fn clusters() -> impl Iterator<Item = (String, String)> {
    let number = |number: usize| (format!("many-{:02}", number / 10), format!("c{number:03}"));
    (0..CLUSTERS).map(number)
}

/// How often the operator has looked at the cluster that it has looked at least.
fn least_rounds(state: &State) -> usize {
    let rounds = clusters().map(|(namespace, name)| rounds_of(state, &namespace, &name));
    rounds.min().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_five_hundred_clusters_are_carried_out_in_150_mib() {
    if !long() {
        return;
    }
    many_files();
    let namespaces: BTreeSet<String> = clusters().map(|(namespace, _)| namespace).collect();
    let namespace =
        |name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    let mut objects: Vec<Value> = namespaces.into_iter().map(namespace).collect();
    for (namespace, name) in clusters() {
        let mut cluster = manifest(&name, &json!({}));
        cluster["metadata"]["namespace"] = json!(namespace);
        objects.push(cluster);
    }
    let scene = Scene::of(&server_with(&objects));
    let began = std::time::Instant::now();
    let operator = scene.operator("first").await;
    let all = scene.double.until("all are Running", PATIENCE, |state| {
        let all = state
            .store
            .list(vectorsphere::crd::GROUP, "vectorclusters", "");
        let running = |cluster: &Value| text(cluster, "/status/phase") == "Running";
        let running = all.iter().filter(|(_, cluster)| running(cluster)).count();
        (running == CLUSTERS).then_some(())
    });
    all.await;
    let took = began.elapsed();
    let rounds = || scene.double.with(|state| least_rounds(state));
    let looked = |rounds: usize| {
        scene
            .double
            .until("all were looked at", PATIENCE, move |state| {
                (least_rounds(state) >= rounds).then_some(())
            })
    };
    // What is under way ends first.
    looked(rounds() + 2).await;
    let counts = || {
        let count = |state: &mut State| (state.journal.asked.len(), state.journal.written);
        scene.double.with(count)
    };
    let ((asked_before, before), idle) = (counts(), std::time::Instant::now());
    looked(rounds() + 3).await;
    let ((asked, after), idle) = (counts(), idle.elapsed());
    let (asked, resident) = (asked - asked_before, operator.resident());
    eprintln!(
        "{CLUSTERS} clusters Running after {took:.1?}, {} MiB resident; then {asked} requests in \
         {idle:.1?}, of which {} changed something",
        resident / 1024 / 1024,
        after - before,
    );
    assert_eq!(after, before);
    assert!(resident < RESIDENT_MAX, "{resident} bytes");
}
