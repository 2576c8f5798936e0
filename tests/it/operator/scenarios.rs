//! What people have an operator do, as steps on a cluster that is at rest.

use serde_json::{Value, json};

use super::double::store::Snapshot;
use super::double::verbs::Deletion;
use super::scene::{CLUSTER, Scene, call, cluster_key, manifest, server_with};

/// A step of a scenario.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// A change of the cluster's object.
    Change(Value),
    /// The cluster is deleted.
    Delete,
}

/// A scenario.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What the cluster is before it, over the smallest manifest.
    base: Value,
    /// Whether it begins with a cluster that nobody has looked at.
    fresh: bool,
    pub(crate) steps: Vec<Step>,
    /// Volumes that may be deleted.
    pub(crate) volumes: &'static [&'static str],
}

fn scenario(name: &'static str, base: Value, changes: &[Value]) -> Scenario {
    Scenario {
        name,
        base,
        fresh: false,
        steps: changes.iter().cloned().map(Step::Change).collect(),
        volumes: &[],
    }
}

fn spec(change: Value) -> Value {
    json!({ "spec": change })
}

/// A cluster of several of each.
fn several() -> Value {
    json!({
        "gateway": {"replicas": 2}, "master": {"replicas": 3}, "worker": {"replicas": 2},
        "etcd": {"managed": {"replicas": 3}},
    })
}

/// All of them.
pub(crate) fn all() -> Vec<Scenario> {
    [sizes(), changes(), ends()].concat()
}

/// Clusters that are made, and get more pods or fewer.
fn sizes() -> Vec<Scenario> {
    let small = || json!({});
    let gateways = |count: u32| json!({"gateway": {"replicas": count}});
    let workers = |count: u32| json!({"worker": {"replicas": count}});
    let retain = json!({"worker": {"replicas": 2, "scaledDownVolumes": "Retain"}});
    let masters = json!({"master": {"replicas": 3}});
    vec![
        Scenario {
            fresh: true,
            ..scenario("create", small(), &[])
        },
        Scenario {
            fresh: true,
            ..scenario("create-several", several(), &[])
        },
        scenario("gateways-out", small(), &[spec(gateways(3))]),
        scenario("gateways-in", gateways(3), &[spec(gateways(1))]),
        scenario("workers-out", small(), &[spec(workers(3))]),
        Scenario {
            volumes: &["data-small-worker-1"],
            ..scenario("workers-in", workers(2), &[spec(workers(1))])
        },
        scenario("workers-in-and-retain", retain, &[spec(workers(1))]),
        scenario("masters-out", small(), &[spec(masters)]),
    ]
}

/// Clusters that become others.
fn changes() -> Vec<Scenario> {
    let small = || json!({});
    let version = |version: &str| spec(json!({"version": version}));
    let note = |name: &str| json!({"metadata": {"annotations": {name: "2026-01-01T00:00:00Z"}}});
    let broken = json!({"image": {"tag": "broken"}});
    let larger = json!({
        "worker": {"storage": {"size": "2Gi"}},
        "etcd": {"managed": {"storage": {"size": "20Gi"}}},
    });
    let there_and_back = [version("0.2.0"), version("0.1.0")];
    let rotate = note("vectorsphere.io/rotate-certificates");
    let applications = spec(json!({"tls": {"clientAuth": "Required"}}));
    vec![
        scenario("update", several(), &[version("0.2.0")]),
        scenario("roll-back", small(), &[spec(broken)]),
        scenario("update-and-back", small(), &there_and_back),
        scenario("volumes-grow", small(), &[spec(larger)]),
        scenario("certificates", small(), &[rotate]),
        scenario("applications", small(), &[applications]),
        scenario("restart", small(), &[note("vectorsphere.io/restart")]),
    ]
}

/// Clusters that rest, and that end.
fn ends() -> Vec<Scenario> {
    let pause = json!({"paused": true, "gateway": {"replicas": 2}});
    let resume = json!({"paused": false});
    let power = |power: &str| spec(json!({"power": power}));
    let nights = [power("Hibernated"), power("Running")];
    vec![
        scenario("pause-and-resume", json!({}), &[spec(pause), spec(resume)]),
        scenario("sleep-and-wake", several(), &nights),
        Scenario {
            steps: vec![Step::Delete],
            ..scenario("delete-and-retain", json!({}), &[])
        },
        Scenario {
            steps: vec![Step::Delete],
            volumes: &["data-small-worker-0", "data-small-etcd-0"],
            ..scenario("delete-all", json!({"deletionPolicy": "Delete"}), &[])
        },
    ]
}

/// The one of this name.
pub(crate) fn named(name: &str) -> Scenario {
    let found = all().into_iter().find(|one| one.name == name);
    found.unwrap()
}

impl Scenario {
    /// The state that it begins with.
    pub(crate) async fn begin(&self) -> Snapshot {
        let server = server_with(&[manifest(CLUSTER, &self.base)]);
        if self.fresh {
            return server;
        }
        let scene = Scene::of(&server);
        let _operator = scene.operator("first").await;
        scene.until_done().await;
        scene.until_quiet().await;
        scene.double.with(|state| state.store.snapshot())
    }

    /// Does its steps, each when the one before has come to its end.
    pub(crate) async fn play(&self, scene: &Scene) {
        for step in &self.steps {
            match step {
                Step::Change(change) => scene.change(change),
                Step::Delete => {
                    scene.double.with(|state| {
                        let call = call(state, &cluster_key(CLUSTER));
                        call.delete(&mut state.store, &Deletion::default()).unwrap();
                    });
                    scene.until_gone().await;
                    return;
                },
            }
            scene.until_done().await;
            scene.until_quiet().await;
        }
        scene.until_done().await;
        scene.until_quiet().await;
    }
}
