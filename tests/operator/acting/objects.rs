//! The kinds beside VectorCluster, carried out by the operator's image in real pods.

use std::time::Duration;

use serde_json::{Value, json};
use vectorsphere::clock::{Clock, SystemClock};
use vectorsphere::crd::Kind;

use crate::acting::operator_process::calm;
use crate::acting::serving::{SMALL, Small, install};
use crate::api_only::others::least;
use crate::kubernetes::Kubernetes;

/// How long one step may take; what waits is looked at again after a minute at the latest.
const STEP: Duration = Duration::from_secs(120);

/// What an application does with the official client, unchanged.
const CLIENT: &str = r#"
import json, sys
from qdrant_client import QdrantClient, models
url, key, authority, what = sys.argv[1:]
client = QdrantClient(url=url, api_key=key, verify=authority, timeout=30)
if what == "use":
    vectors = client.get_collection("texts").config.params.vectors
    points = [models.PointStruct(id=i, vector=[i, 1, 0, 0], payload={"n": i}) for i in range(100)]
    client.upsert("texts", points, wait=True)
    found = client.query_points("texts", query=[1, 0, 0, 0], limit=3).points
    print(json.dumps([vectors.size, vectors.distance.value, [point.id for point in found]]))
elif what == "foreign":
    vectors = models.VectorParams(size=4, distance=models.Distance.DOT)
    print(json.dumps(client.create_collection("foreign", vectors_config=vectors)))
elif what == "names":
    print(json.dumps(sorted(one.name for one in client.get_collections().collections)))
else:
    print(json.dumps(client.count(what).count))
"#;

/// The objects of one namespace.
struct Objects<'a> {
    small: Small<'a>,
}

impl Objects<'_> {
    fn apply(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        self.small.kubernetes.apply(object).accepted(name);
    }

    /// A VectorCollection of four components.
    fn collection(&self, name: &str, more: Value) -> Value {
        let mut spec = json!({"cluster": "small", "dimension": 4, "metric": "DotProduct"});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCollection",
            "metadata": {"name": name, "namespace": self.small.namespace}, "spec": spec,
        })
    }

    /// Looks at an object until it is as it should be.
    fn until(&self, kind: &str, name: &str, good: impl Fn(&Value) -> bool) -> Value {
        let began = SystemClock.now();
        loop {
            let object = self.small.kubernetes.get(self.small.namespace, kind, name);
            if good(&object) {
                return object;
            }
            let waited = SystemClock.now().since(began);
            assert!(waited < STEP, "{kind}/{name}: {object:#}");
        }
    }

    /// Waits until Ready has this truth and reason; its message.
    fn ready(&self, name: &str, truth: &str, reason: &str) -> String {
        let of = |object: &Value| {
            let conditions = object["status"]["conditions"].as_array().cloned();
            let mut ready = conditions.unwrap_or_default().into_iter();
            ready.find(|one| one["type"] == "Ready").unwrap_or_default()
        };
        let object = self.until("vectorcollection", name, |object| {
            let ready = of(object);
            let current =
                object["status"]["observedGeneration"] == object["metadata"]["generation"];
            current && ready["status"] == truth && ready["reason"] == reason
        });
        of(&object)["message"].as_str().unwrap().to_owned()
    }

    /// Deletes an object and waits until it is gone.
    fn delete(&self, kind: &str, name: &str) {
        let arguments = [
            "delete",
            kind,
            name,
            "-n",
            self.small.namespace,
            "--timeout=120s",
        ];
        self.small.kubernetes.call(&arguments, "").accepted(name);
    }

    /// Asks for a task and waits until it has ended; its status.
    fn task(&self, name: &str, more: Value) -> Value {
        self.ask(name, more);
        self.ended(name)
    }

    fn ended(&self, name: &str) -> Value {
        let ended = |object: &Value| object["status"]["completedAt"].is_string();
        self.until("vectoropstask", name, ended)["status"].clone()
    }

    fn ask(&self, name: &str, more: Value) {
        let mut spec = json!({"cluster": "small"});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        self.apply(&json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorOpsTask",
            "metadata": {"name": name, "namespace": self.small.namespace}, "spec": spec,
        }));
    }

    /// When the certificate of a role ends, and the certificate.
    fn certificate(&self, role: &str) -> (String, String) {
        let name = format!("small-{role}-tls");
        let secret = self
            .small
            .kubernetes
            .get(self.small.namespace, "secret", &name);
        let end = &secret["metadata"]["annotations"]["vectorsphere.io/not-after"];
        (
            end.as_str().unwrap().to_owned(),
            secret["data"]["tls.crt"].as_str().unwrap().to_owned(),
        )
    }

    fn client(&self, what: &str) -> Value {
        self.small.python(CLIENT, what)
    }
}

#[test]
fn a_collection_is_made_kept_taken_over_and_deleted_as_its_object_says() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let namespace = kubernetes.namespace("collections");
    let objects = Objects {
        small: Small::new(&kubernetes, &namespace.name),
    };
    // Before its cluster: it says so, waits, and is made when the cluster is there.
    let texts = |more| objects.collection("texts", more);
    objects.apply(&texts(
        json!({"deletionPolicy": "Delete", "deletionProtection": true}),
    ));
    objects.ready("texts", "False", "ClusterMissing");
    let apply = ["apply", "--server-side", "-n", &namespace.name, "-f", "-"];
    kubernetes.call(&apply, SMALL).accepted("apply");
    objects.small.wait("condition=Ready");
    objects.ready("texts", "True", "Serving");
    assert_eq!(objects.client("use"), json!([4, "Dot", [99, 98, 97]]));
    let counted = |object: &Value| object["status"]["vectors"] == 100;
    let status = objects.until("vectorcollection", "texts", counted)["status"].clone();
    assert_eq!(status["shards"]["summary"], "1/1");

    // One that an application made is left alone until it is to be taken over.
    assert_eq!(objects.client("foreign"), true);
    objects.apply(&objects.collection("foreign", json!({})));
    objects.ready("foreign", "False", "AlreadyExists");
    objects.apply(&objects.collection("foreign", json!({"adopt": true})));
    objects.ready("foreign", "True", "Serving");

    // Of two objects for one collection the older has it.
    objects.apply(&objects.collection("twin", json!({"name": "texts", "adopt": true})));
    let taken = objects.ready("twin", "False", "NameTaken");
    assert!(taken.contains("VectorCollection texts"), "{taken}");

    // What is not built, or no index, is refused by reason.
    for (name, more, reason) in [
        (
            "copies",
            json!({"replicationFactor": 2}),
            "ReplicationNotAvailable",
        ),
        (
            "graph",
            json!({"index": {"algorithm": "Graph", "parameters": {"bits": "3"}}}),
            "IndexInvalid",
        ),
    ] {
        objects.apply(&objects.collection(name, more));
        objects.ready(name, "False", reason);
    }

    // Protected from deletion, then deleted with its vectors; the twin's comes in its place.
    let delete = ["delete", "vectorcollection", "texts", "-n", &namespace.name];
    let refused = kubernetes.call(&delete, "");
    assert!(
        !refused.ok && refused.stderr.contains("deletionProtection is true"),
        "{refused:?}"
    );
    assert_eq!(objects.client("texts"), 100);
    objects.apply(&texts(
        json!({"deletionPolicy": "Delete", "deletionProtection": false}),
    ));
    objects.delete("vectorcollection", "texts");
    objects.ready("twin", "True", "Serving");
    assert_eq!(objects.client("texts"), 0);

    // One whose collection is to stay goes alone.
    objects.delete("vectorcollection", "foreign");
    assert_eq!(objects.client("names"), json!(["foreign", "texts"]));

    // An object whose cluster is gone for ever is let go.
    let twin = json!({"name": "texts", "adopt": true, "deletionPolicy": "Delete"});
    objects.apply(&objects.collection("twin", twin));
    objects.until("vectorcollection", "twin", |object| {
        object["metadata"]["finalizers"] == json!(["vectorsphere.io/collection"])
    });
    objects.delete("vectorcluster", "small");
    objects.ready("twin", "False", "ClusterMissing");
    objects.delete("vectorcollection", "twin");
}

#[test]
fn a_task_is_done_once_or_says_why_not() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let namespace = kubernetes.namespace("tasks");
    let objects = Objects {
        small: Small::new(&kubernetes, &namespace.name),
    };
    // As when both stand in one file: its cluster comes after it.
    objects.ask("early", json!({"task": "RotateCertificates"}));
    objects.until("vectoropstask", "early", |task| {
        let status = &task["status"];
        status["state"] == "Pending" && reason(status) == "ClusterMissing"
    });
    let apply = ["apply", "--server-side", "-n", &namespace.name, "-f", "-"];
    kubernetes.call(&apply, SMALL).accepted("apply");
    objects.small.wait("condition=Ready");
    assert_eq!(objects.ended("early")["state"], "Succeeded");
    let later = objects.task(
        "later",
        json!({"task": "EvacuateWorker", "worker": "small-worker-0"}),
    );
    assert_eq!(
        (&later["state"], reason(&later)),
        (&json!("Rejected"), "EvacuationNotAvailable")
    );

    let roles = ["gateway", "master", "worker", "operator", "etcd"];
    let before = roles.map(|role| objects.certificate(role));
    let rotated = objects.task("rotate", json!({"task": "RotateCertificates"}));
    assert_eq!(rotated["state"], "Succeeded", "{rotated:#}");
    let after = roles.map(|role| objects.certificate(role));
    for ((role, before), after) in roles.iter().zip(before).zip(&after) {
        assert!(
            before.0 < after.0 && before.1 != after.1,
            "{role}: {before:?} {after:?}"
        );
    }
    let defragmented = objects.task("defragment", json!({"task": "DefragmentEtcd"}));
    assert_eq!(defragmented["state"], "Succeeded", "{defragmented:#}");
    objects.small.wait("condition=Ready");
    assert_eq!(objects.client("names"), json!([]));
    // Once: nothing is issued again.
    assert_eq!(roles.map(|role| objects.certificate(role)), after);

    restarts(&objects);

    // One that has ended goes after its time.
    let short = json!({"task": "VerifyData", "ttlSecondsAfterFinished": 1});
    objects.task("short", short);
    let gone = [
        "wait",
        "--for=delete",
        "vectoropstask/short",
        "-n",
        &namespace.name,
        "--timeout=60s",
    ];
    kubernetes.call(&gone, "").accepted("short");
}

/// Pods that a task has made anew, once: others, which serve.
fn restarts(objects: &Objects<'_>) {
    let uid = |pod: &str| {
        let small = &objects.small;
        let pod = small.kubernetes.get(small.namespace, "pod", pod);
        pod["metadata"]["uid"].clone()
    };
    let pods = ["small-master-0", "small-worker-0"];
    let before = pods.map(uid);
    let restarted = objects.task("restart", json!({"task": "Restart", "role": "Worker"}));
    assert_eq!(restarted["state"], "Succeeded", "{restarted:#}");
    let after = pods.map(uid);
    assert!(
        before[0] == after[0] && before[1] != after[1],
        "{before:?} {after:?}"
    );
    let both = objects.task("again", json!({"task": "Restart", "role": "Master"}));
    assert_eq!(both["state"], "Succeeded", "{both:#}");
    let last = pods.map(uid);
    assert!(
        last[0] != after[0] && last[1] == after[1],
        "{after:?} {last:?}"
    );
    objects.small.wait("condition=Ready");
}

/// The reason of the only condition.
fn reason(status: &Value) -> &str {
    status["conditions"][0]["reason"].as_str().unwrap()
}

#[test]
fn backups_schedules_and_restores_say_that_they_are_not_built() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let namespace = kubernetes.namespace("rejected");
    let objects = Objects {
        small: Small::new(&kubernetes, &namespace.name),
    };
    for (kind, resource) in [
        (Kind::Backup, "vectorbackup"),
        (Kind::BackupSchedule, "vectorbackupschedule"),
        (Kind::Restore, "vectorrestore"),
    ] {
        let mut object = least(kind, "a");
        object["metadata"]["namespace"] = json!(namespace.name);
        objects.apply(&object);
        let answered = |object: &Value| object["status"]["conditions"][0].is_object();
        let status = objects.until(resource, "a", answered)["status"].clone();
        assert_eq!(reason(&status), "BackupsNotAvailable", "{resource}");
        if resource != "vectorbackupschedule" {
            assert_eq!(status["state"], "Rejected", "{resource}");
        }
    }
}
