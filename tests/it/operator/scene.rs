//! A cluster on a double, and what tests ask of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use vectorsphere::crd;

use super::double::store::{Key, Snapshot, text};
use super::double::verbs::Call;
use super::double::{Double, State, apply::Writer, patch, verbs::Way};
use super::process::OperatorProcess;

/// The namespace of every cluster here.
pub(crate) const NAMESPACE: &str = "search";
/// The name of the cluster.
pub(crate) const CLUSTER: &str = "small";
/// Its UID, in every double: names and arguments hold it.
pub(crate) const UID: &str = "11111111-2222-4333-8444-555555555555";
/// Long enough for every step of an operator that tries again every few seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);
/// Rounds without a write after which a cluster is at rest.
const QUIET_ROUNDS: usize = 2;

/// The smallest manifest, with a change laid over its spec.
pub(crate) fn manifest(name: &str, change: &Value) -> Value {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples/small.yaml");
    let text = fs_err::read_to_string(sample).unwrap();
    let mut manifest: Value = serde_yaml_ng::from_str(&text).unwrap();
    manifest["metadata"] = json!({"name": name, "namespace": NAMESPACE});
    manifest["spec"] = patch::merged(&manifest["spec"], change);
    manifest
}

/// A server with the definitions, the namespace, and these clusters, which nobody has looked at yet.
pub(crate) fn server_with(clusters: &[Value]) -> Snapshot {
    let double = Double::bare();
    double.with(|state| {
        let mut all = Vec::new();
        for name in ["default", NAMESPACE] {
            all.push(json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
            }));
        }
        all.extend(crd::Kind::ALL.map(|kind| crd::definition(kind).clone()));
        all.extend_from_slice(clusters);
        for object in all {
            create(state, &object);
        }
        state.store.snapshot()
    })
}

/// Makes an object; one cluster gets the UID that all doubles give it.
pub(crate) fn create(state: &mut State, object: &Value) {
    let kind = state
        .store
        .kinds
        .named(text(object, "/apiVersion"), text(object, "/kind"));
    let call = Call {
        kind: kind.unwrap(),
        namespace: text(object, "/metadata/namespace").to_owned(),
        name: String::new(),
        writer: person(""),
    };
    let made = call.create(&mut state.store, object.clone()).unwrap();
    if text(&made, "/metadata/name") == CLUSTER {
        let mut made = Value::clone(&made);
        made["metadata"]["uid"] = json!(UID);
        state.store.put(&cluster_key(CLUSTER), made);
    }
}

/// A person who writes.
fn person(subresource: &str) -> Writer {
    Writer {
        manager: "kubectl".to_owned(),
        subresource: subresource.to_owned(),
        force: true,
    }
}

pub(crate) fn cluster_key(name: &str) -> Key {
    Key::built_in(crd::GROUP, "vectorclusters", NAMESPACE, name)
}

pub(crate) fn key(group: &str, plural: &str, name: &str) -> Key {
    Key::built_in(group, plural, NAMESPACE, name)
}

/// The call of a person about an object.
pub(crate) fn call(state: &State, key: &Key) -> Call {
    Call {
        kind: state.store.kinds.of(&key.group, &key.plural).unwrap(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        writer: person(""),
    }
}

/// A double with a cluster, and operators.
pub(crate) struct Scene {
    pub(crate) double: Double,
    folder: TempDir,
}

impl Scene {
    /// What a snapshot holds.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self {
            double: Double::start(snapshot),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An operator that comes through a door of its own.
    pub(crate) async fn operator(&self, door: &str) -> OperatorProcess {
        let url = self.double.door(door).await;
        OperatorProcess::start(self.folder(), &url)
    }

    /// A person's merge patch on an object.
    pub(crate) fn merge(&self, key: &Key, change: &Value) {
        self.double.with(|state| {
            let call = call(state, key);
            call.patch(&mut state.store, Way::Merge, change).unwrap();
        });
    }

    /// A person's merge patch on the cluster.
    pub(crate) fn change(&self, change: &Value) {
        self.merge(&cluster_key(CLUSTER), change);
    }

    pub(crate) fn cluster(&self) -> Option<Arc<Value>> {
        self.double.get(&cluster_key(CLUSTER))
    }

    /// The end of the operators' log, for a test that fails.
    pub(crate) fn log(&self) -> String {
        let log = fs_err::read_to_string(self.folder().join("operator.log"));
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        lines[from..].join("\n")
    }

    /// Waits until the cluster is as its manifest says, as its own status tells.
    pub(crate) async fn until_done(&self) {
        self.until_done_within(LIMIT).await;
    }

    /// The same with another limit.
    pub(crate) async fn until_done_within(&self, limit: Duration) {
        let done = self
            .double
            .until("the cluster is done", limit * 2, |state| {
                let cluster = state.store.get(&cluster_key(CLUSTER))?;
                is_done(&cluster).then_some(())
            });
        if tokio::time::timeout(limit, done).await.is_err() {
            self.assert_within_rights();
            let cluster = self.cluster();
            let status = cluster.map(|cluster| cluster["status"].clone());
            panic!("it is not done: {status:#?}\n{}", self.log());
        }
    }

    /// No operator has asked for what it may not do.
    #[track_caller]
    pub(crate) fn assert_within_rights(&self) {
        let beyond = self.double.with(|state| state.journal.beyond.clone());
        assert!(beyond.is_empty(), "{beyond:#?}");
    }

    /// Waits until the cluster, and everything that it owns, is gone.
    pub(crate) async fn until_gone(&self) {
        let gone = self.double.until("the cluster is gone", LIMIT, |state| {
            let left = state.store.owned_by(UID);
            let there = state.store.get(&cluster_key(CLUSTER));
            (there.is_none() && left.is_empty()).then_some(())
        });
        gone.await;
    }

    /// Provokes a round, and waits until it has looked at everything.
    pub(crate) async fn round(&self) {
        let before = self.double.with(|state| rounds(state));
        let now = uuid::Uuid::new_v4().to_string();
        self.change(&json!({"metadata": {"annotations": {"test/now": now}}}));
        let looked = self.double.until("a round", LIMIT, |state| {
            (rounds(state) > before).then_some(())
        });
        looked.await;
    }

    /// Waits until round after round writes nothing.
    pub(crate) async fn until_quiet(&self) {
        self.until_quiet_of(|state| state.journal.written).await;
    }

    /// The same while a Lease is renewed.
    pub(crate) async fn until_quiet_but_for_leases(&self) {
        let count = |state: &State| {
            let writes = state.journal.writes();
            writes
                .filter(|asked| !asked.path.contains("/leases"))
                .count()
        };
        self.until_quiet_of(count).await;
    }

    async fn until_quiet_of(&self, count: impl Fn(&State) -> usize) {
        let written = || self.double.with(|state| count(state));
        for _ in 0..60 {
            self.round().await;
            let before = written();
            // The one after the last shows that the last has ended.
            for _ in 0..=QUIET_ROUNDS {
                self.round().await;
            }
            if written() == before {
                self.assert_within_rights();
                return;
            }
        }
        let last = self.double.with(|state| {
            let last: Vec<String> = state.journal.writes().map(ToString::to_string).collect();
            last[last.len().saturating_sub(12)..].join("\n")
        });
        panic!("it never comes to rest:\n{last}\n{}", self.log());
    }
}

/// How often an operator has looked at the cluster.
pub(crate) fn rounds(state: &State) -> usize {
    rounds_of(state, NAMESPACE, CLUSTER)
}

/// The same of any cluster: the set of its etcd is the last that a round looks at before it acts.
pub(crate) fn rounds_of(state: &State, namespace: &str, cluster: &str) -> usize {
    let last = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets/{cluster}-etcd");
    state.journal.gets.get(&last).copied().unwrap_or(0)
}

fn is_done(cluster: &Value) -> bool {
    let status = &cluster["status"];
    let conditions = status["conditions"].as_array();
    let is = |name: &str, wanted: &str| {
        let mut all = conditions.into_iter().flatten();
        all.any(|one| one["type"] == name && one["status"] == wanted)
    };
    let phase = text(cluster, "/status/phase");
    let ends = match phase {
        "Running" => is("Progressing", "False"),
        "Hibernated" | "Paused" => true,
        _ => false,
    };
    ends && status["observedGeneration"] == cluster["metadata"]["generation"]
}
