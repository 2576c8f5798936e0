//! What the operator makes beside the pods, and what it makes of options of pods, on a real API server
//! and in real pods.

mod access;
mod authority;
mod external_etcd;
mod given;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use vectorsphere::clock::{Clock, SystemClock};

use crate::acting::operator_process::calm;
use crate::acting::serving::{SMALL, Small, install};
use crate::kubernetes::{Kubernetes, Namespace};

/// How long anything that is waited for may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Every kind of object that the operator makes.
const KINDS: &str = "serviceaccounts,networkpolicies,poddisruptionbudgets,horizontalpodautoscalers,\
                     services,secrets,statefulsets,deployments,pods,persistentvolumeclaims,vectorclusters";
const OURS: &str = "vectorsphere.io/cluster=small";

/// The operator, and a namespace that lets restricted pods in only.
fn prepared<'a>(kubernetes: &'a Kubernetes, test: &str) -> Namespace<'a> {
    install(kubernetes);
    let namespace = kubernetes.namespace(test);
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    kubernetes
        .call(&["label", "namespace", &namespace.name, restricted], "")
        .accepted("label");
    namespace
}

fn small<'a>(kubernetes: &'a Kubernetes, namespace: &'a Namespace<'_>) -> Small<'a> {
    Small {
        kubernetes,
        namespace: &namespace.name,
        folder: tempfile::tempdir().unwrap(),
    }
}

/// The small sample with more in its spec.
fn manifest(more: &Value) -> String {
    let mut manifest: Value = serde_yaml_ng::from_str(SMALL).unwrap();
    let more = more.as_object().unwrap().clone();
    for (field, value) in more {
        let there = &mut manifest["spec"][&field];
        match (there.as_object_mut(), value) {
            (Some(fields), Value::Object(more)) => fields.extend(more),
            (_, value) => *there = value,
        }
    }
    manifest.to_string()
}

/// Looks until there is something to be seen.
#[track_caller]
fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = SystemClock.now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(SystemClock.now().since(began) < LIMIT, "{what}");
    }
}

impl Small<'_> {
    fn apply(&self, manifest: &str) {
        let arguments = ["apply", "--server-side", "-n", self.namespace, "-f", "-"];
        self.kubernetes.call(&arguments, manifest).accepted("apply");
    }

    /// Changes the spec and waits until the operator has seen that.
    fn patch(&self, spec: &Value) {
        let patch = json!({"spec": spec}).to_string();
        let place = ["patch", "vectorcluster", "small", "-n", self.namespace];
        let arguments = [&place[..], &["--type=merge", "-p", &patch]].concat();
        self.kubernetes.call(&arguments, "").accepted("patch");
        let generation = self.get("vectorcluster", "small")["metadata"]["generation"].clone();
        let seen = format!("jsonpath={{.status.observedGeneration}}={generation}");
        self.wait(&seen);
    }

    fn get(&self, kind: &str, name: &str) -> Value {
        self.kubernetes.get(self.namespace, kind, name)
    }

    fn is_there(&self, kind: &str, name: &str) -> bool {
        let arguments = ["get", kind, name, "-n", self.namespace, "-o", "name"];
        self.kubernetes.call(&arguments, "").ok
    }

    /// The resource version of everything of the cluster.
    fn versions(&self) -> BTreeMap<String, (String, Value)> {
        let arguments = [
            "get",
            KINDS,
            "-n",
            self.namespace,
            "-l",
            OURS,
            "-o",
            "json",
            "--show-managed-fields",
        ];
        let listed = self.kubernetes.call(&arguments, "").accepted("children");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let one = |object: &Value| {
            let text = |pointer: &str| {
                object
                    .pointer(pointer)
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            let name = format!("{}/{}", text("/kind"), text("/metadata/name"));
            (name, (text("/metadata/resourceVersion"), object.clone()))
        };
        listed["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(one)
            .collect()
    }

    /// Makes the operator go through a round, and knows that it did: what one deletes comes back.
    fn round(&self, number: u32) {
        let policy = ["networkpolicy", "small-worker", "-n", self.namespace];
        let delete = [&["delete"][..], &policy].concat();
        self.kubernetes.call(&delete, "").accepted("delete");
        let note = format!("note.test/round={number}");
        let place = [
            "annotate",
            "--overwrite",
            "vectorcluster",
            "small",
            "-n",
            self.namespace,
            &note,
        ];
        self.kubernetes.call(&place, "").accepted("annotate");
        until("a round", || {
            self.is_there("networkpolicy", "small-worker").then_some(())
        });
    }

    /// The messages of the latest errors.
    fn errors(&self) -> String {
        self.get("vectorcluster", "small")["status"]["lastErrors"].to_string()
    }
}

#[test]
fn what_stands_beside_the_pods_is_made_kept_and_deleted() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let namespace = prepared(&kubernetes, "beside");
    let _calm = calm();
    let small = small(&kubernetes, &namespace);
    small.apply(&manifest(&json!({
        "gateway": {"replicas": 2, "service": {"annotations": {"note.test/a": "b"}}},
        "worker": {"replicas": 2, "pod": {"overlay": {"spec": {
            "containers": [{"name": "worker", "volumeMounts": [
                {"name": "scratch", "mountPath": "/scratch"},
            ]}],
            "volumes": [{"name": "scratch", "emptyDir": {}}],
        }}}},
        "podDefaults": {
            "labels": {"team": "search"}, "annotations": {"note.test/c": "d"},
            "env": [{"name": "RUST_BACKTRACE", "value": "1"}],
        },
    })));
    small.wait("condition=Ready");
    looks_as_asked(&small);
    idle_rounds_write_nothing(&small);
    an_autoscaler_takes_the_number_over(&small);

    small.patch(&json!({
        "gateway": {"autoscaling": null, "replicas": 1}, "networkPolicy": {"enabled": false},
    }));
    let gone = |kind: &str, name: &str| !small.is_there(kind, name);
    until("the autoscaler goes", || {
        gone("horizontalpodautoscaler", "small-gateway").then_some(())
    });
    for role in ["gateway", "master", "worker", "etcd"] {
        let name = format!("small-{role}");
        until("the policies go", || {
            gone("networkpolicy", &name).then_some(())
        });
    }
    until("one gateway has no budget", || {
        gone("poddisruptionbudget", "small-gateway").then_some(())
    });
    until("the manifest's number again", || {
        (small.get("deployment", "small-gateway")["spec"]["replicas"] == 1).then_some(())
    });
    assert_eq!(small.errors(), "null");
}

fn looks_as_asked(small: &Small<'_>) {
    let account = small.get("serviceaccount", "small");
    assert_eq!(account["automountServiceAccountToken"], false);
    let budget = small.get("poddisruptionbudget", "small-worker");
    assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    // The masters say that every shard is served only once there are masters.
    until("one worker may go", || {
        let budget = small.get("poddisruptionbudget", "small-worker");
        (budget["spec"]["minAvailable"] == 1 && budget["status"]["disruptionsAllowed"] == 1)
            .then_some(())
    });
    assert!(
        !small.is_there("poddisruptionbudget", "small-master"),
        "it is the only one"
    );
    let service = small.get("service", "small-gateway");
    assert_eq!(service["metadata"]["annotations"]["note.test/a"], "b");
    for pod in [
        "small-worker-0",
        "small-worker-1",
        "small-master-0",
        "small-etcd-0",
    ] {
        let pod = small.get("pod", pod);
        assert_eq!(pod["metadata"]["labels"]["team"], "search");
        assert_eq!(pod["metadata"]["annotations"]["note.test/c"], "d");
        assert_eq!(pod["spec"]["serviceAccountName"], "small");
    }
    let worker = small.get("pod", "small-worker-0");
    let mounts = worker["spec"]["containers"][0]["volumeMounts"]
        .as_array()
        .unwrap();
    assert!(mounts.iter().any(|mount| mount["mountPath"] == "/scratch"));
}

/// What the operator applies again in each round changes nothing.
fn idle_rounds_write_nothing(small: &Small<'_>) {
    small.round(0);
    let before = small.versions();
    // What is deleted comes back early in a round: the second return ends the round before it.
    for number in 1..4 {
        small.round(number);
    }
    let after = small.versions();
    // Those that this test itself touches.
    let touched = ["NetworkPolicy/small-worker", "VectorCluster/small"];
    for (name, (version, object)) in &before {
        if !touched.contains(&name.as_str()) {
            let now = &after[name];
            assert_eq!(&now.0, version, "{name}: {object:#} became {:#}", now.1);
        }
    }
    assert_eq!(before.len(), after.len());
}

/// The number of gateways goes from the manifest to an autoscaler without a step to the default.
fn an_autoscaler_takes_the_number_over(small: &Small<'_>) {
    let autoscaling = json!({"minReplicas": 1, "maxReplicas": 3});
    small.patch(&json!({"gateway": {"autoscaling": autoscaling}}));
    let replicas = || small.get("deployment", "small-gateway")["spec"]["replicas"].clone();
    assert_eq!(replicas(), 2);
    assert!(small.is_there("horizontalpodautoscaler", "small-gateway"));
    small.round(10);
    small.round(11);
    assert_eq!(replicas(), 2);
    // What an autoscaler does, by the same door.
    let scale = [
        "scale",
        "deployment",
        "small-gateway",
        "--replicas=3",
        "-n",
        small.namespace,
    ];
    small.kubernetes.call(&scale, "").accepted("scale");
    small.round(12);
    small.round(13);
    assert_eq!(replicas(), 3);
    let three = "jsonpath={.status.gateway.summary}=3/3";
    small.wait(three);
}
