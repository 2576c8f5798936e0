//! A cluster at rest stays at rest: when its manifest is applied again and again, and among 500.
#![expect(
    clippy::disallowed_methods,
    reason = "how long it took on the clock on the wall is what is shown"
)]

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use super::double::State;
use super::double::store::text;
use super::double::verbs::Way;
use super::scene::{CLUSTER, NAMESPACE, Scene, call, cluster_key, manifest, server_with};
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
    assert_eq!(scene.double.with(|state| state.journal.written), written);
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

fn names() -> impl Iterator<Item = String> {
    (0..CLUSTERS).map(|number| format!("many-{number:03}"))
}

/// How often the operator has looked at each cluster since a place in the journal: the least.
fn least_looked(state: &State, since: usize) -> usize {
    let mut looks = std::collections::BTreeMap::new();
    for asked in &state.journal.asked[since..] {
        let name = asked.path.rsplit('/').next().unwrap_or_default();
        let etcd = name.strip_suffix("-etcd");
        if let (Some(name), true) = (etcd, asked.path.contains("/statefulsets/")) {
            let is_look = asked.method == http::Method::GET;
            *looks.entry(name.to_owned()).or_insert(0) += usize::from(is_look);
        }
    }
    let least = names()
        .map(|name| looks.get(&name).copied().unwrap_or(0))
        .min();
    least.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_five_hundred_clusters_are_carried_out_in_150_mib() {
    if !long() {
        return;
    }
    many_files();
    let clusters: Vec<Value> = names().map(|name| manifest(&name, &json!({}))).collect();
    let scene = Scene::of(&server_with(&clusters));
    let began = std::time::Instant::now();
    let operator = scene.operator("first").await;
    let all = scene.double.until("all are Running", PATIENCE, |state| {
        let all = state
            .store
            .list(vectorsphere::crd::GROUP, "vectorclusters", NAMESPACE);
        let running = |cluster: &Value| text(cluster, "/status/phase") == "Running";
        all.iter()
            .all(|(_, cluster)| running(cluster))
            .then_some(())
    });
    all.await;
    let took = began.elapsed();
    let mark = || scene.double.with(|state| state.journal.asked.len());
    let looked = |since: usize, times: usize| {
        scene
            .double
            .until("all were looked at", PATIENCE, move |state| {
                (least_looked(state, since) >= times).then_some(())
            })
    };
    // What is under way ends first.
    looked(mark(), 2).await;
    let (since, written) = (mark(), scene.double.with(|state| state.journal.written));
    let idle = std::time::Instant::now();
    looked(since, 3).await;
    let asked = mark() - since;
    let after = scene.double.with(|state| state.journal.written);
    let (resident, idle) = (operator.resident(), idle.elapsed());
    eprintln!(
        "{CLUSTERS} clusters Running after {took:.1?}, {} MiB resident; then {asked} requests in \
         {idle:.1?}, of which {} changed something",
        resident / 1024 / 1024,
        after - written,
    );
    assert_eq!(after, written);
    assert!(resident < RESIDENT_MAX, "{resident} bytes");
}
