//! How the definitions behave: defaults, nulls, unknown fields, the scale subresource, field
//! selectors.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vectorsphere::crd::v1alpha1::{
    VectorBackupScheduleSpec, VectorBackupSpec, VectorClusterSpec, VectorCollectionSpec,
    VectorOpsTaskSpec, VectorRestoreSpec,
};
use vectorsphere::crd::{GROUP, Kind};

use crate::api_only::cases::set;
use crate::api_only::definitions::{installed, resource};
use crate::api_only::others::least;
use crate::kubernetes::{Kubernetes, Namespace};

/// The least object of a kind in a namespace, under the name `demo`.
pub(crate) fn demo(kind: Kind, namespace: &Namespace<'_>) -> Value {
    let mut object = least(kind, "demo");
    object["metadata"]["namespace"] = json!(namespace.name);
    object
}

/// A spec as its type reads it and writes it, every default said.
fn by_type<T: DeserializeOwned + Serialize>(spec: &Value) -> Value {
    let typed: T = serde_json::from_value(spec.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

#[test]
fn the_server_fills_in_the_defaults_of_the_types() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("defaults");
    for kind in Kind::ALL {
        let object = demo(kind, &namespace);
        kubernetes.apply(&object).accepted(kind.name());
        let kept = kubernetes.get(&namespace.name, &resource(kind, GROUP), "demo");
        let spec = &object["spec"];
        let expected = match kind {
            Kind::Cluster => by_type::<VectorClusterSpec>(spec),
            Kind::Collection => by_type::<VectorCollectionSpec>(spec),
            Kind::Backup => by_type::<VectorBackupSpec>(spec),
            Kind::BackupSchedule => by_type::<VectorBackupScheduleSpec>(spec),
            Kind::Restore => by_type::<VectorRestoreSpec>(spec),
            Kind::OpsTask => by_type::<VectorOpsTaskSpec>(spec),
        };
        assert_eq!(kept["spec"], expected, "{}", kind.name());
    }
}

/// `kubectl create` and plain `kubectl apply` drop a null, and a default comes in. A server-side apply
/// lets the default come in too, and refuses a null that has none by name.
#[test]
fn nulls_are_dropped_and_their_defaults_come_in() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("nulls");
    for (kind, with_default, without) in [
        (
            Kind::Cluster,
            &["spec.gateway", "spec.tls.mode"][..],
            &["spec.worker.pod.affinity", "spec.sharding.shards"][..],
        ),
        (
            Kind::Collection,
            &["spec.metric", "spec.index"],
            &["spec.name"],
        ),
        (
            Kind::Backup,
            &["spec.collections", "spec.verify"],
            &["spec.location.volume"],
        ),
        (
            Kind::BackupSchedule,
            &["spec.keep"],
            &["spec.template.deadlineSeconds"],
        ),
        (
            Kind::Restore,
            &["spec.namePrefix"],
            &["spec.source.location"],
        ),
        (
            Kind::OpsTask,
            &["spec.ttlSecondsAfterFinished"],
            &["spec.worker"],
        ),
    ] {
        let of = resource(kind, GROUP);
        let mut object = demo(kind, &namespace);
        kubernetes.apply(&object).accepted(kind.name());
        let expected = kubernetes.get(&namespace.name, &of, "demo")["spec"].clone();
        let nulls = |object: &mut Value, name: &str, paths: &[&str]| {
            object["metadata"]["name"] = json!(name);
            for path in paths {
                set(object, path, Some(Value::Null));
            }
        };
        nulls(&mut object, "applied", with_default);
        kubernetes.apply(&object).accepted(kind.name());
        let applied = kubernetes.get(&namespace.name, &of, "applied");
        assert_eq!(applied["spec"], expected, "{}", kind.name());
        nulls(&mut object, "created", without);
        let answer = kubernetes.apply(&object);
        assert!(!answer.ok, "{}", kind.name());
        for path in without {
            let told = format!("{path}: Invalid value: \"null\"");
            assert!(answer.stderr.contains(&told), "{}", answer.stderr);
        }
        let create = kubernetes.call(&["create", "-f", "-"], &object.to_string());
        create.accepted(kind.name());
        let created = kubernetes.get(&namespace.name, &of, "created");
        assert_eq!(created["spec"], expected, "{}", kind.name());
    }
}

#[test]
fn unknown_fields_are_refused() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("unknown");
    for (kind, path) in [
        (Kind::Cluster, "spec.worker.replikas"),
        (Kind::Cluster, "spec.etcd.managed.storage.volume"),
        (Kind::Collection, "spec.index.graph"),
        (Kind::Backup, "spec.location.s3.key"),
        (Kind::BackupSchedule, "spec.template.every"),
        (Kind::Restore, "spec.source.name"),
        (Kind::OpsTask, "spec.force"),
    ] {
        let mut object = demo(kind, &namespace);
        set(&mut object, path, Some(json!(4)));
        let answer = kubernetes.apply(&object);
        assert!(!answer.ok, "{path}");
        let told = format!(".{path}: field not declared in schema");
        assert!(answer.stderr.contains(&told), "{path}: {}", answer.stderr);
        let answer = kubernetes.call(&["create", "-f", "-"], &object.to_string());
        let told = format!("unknown field \"{path}\"");
        assert!(
            !answer.ok && answer.stderr.contains(&told),
            "{path}: {}",
            answer.stderr
        );
    }
}

#[test]
fn scaling_obeys_the_rules_and_survives_an_apply_without_replicas() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("scale");
    let of = resource(Kind::Cluster, GROUP);
    let mut object = demo(Kind::Cluster, &namespace);
    set(
        &mut object,
        "spec.sharding.replicationFactor",
        Some(json!(2)),
    );
    kubernetes.apply(&object).accepted("made");
    let scale = |replicas: &str| {
        let arguments = ["scale", "-n", &namespace.name, &of, "demo", replicas];
        kubernetes.call(&arguments, "")
    };
    let workers =
        || kubernetes.get(&namespace.name, &of, "demo")["spec"]["worker"]["replicas"].clone();
    for (replicas, told) in [
        (
            "--replicas=1",
            "worker.replicas is smaller than sharding.replicationFactor",
        ),
        (
            "--replicas=0",
            "spec.worker.replicas in body should be greater than or equal to 1",
        ),
        (
            "--replicas=513",
            "spec.worker.replicas in body should be less than or equal to 512",
        ),
    ] {
        let answer = scale(replicas);
        assert!(
            !answer.ok && answer.stderr.contains(told),
            "{replicas}: {}",
            answer.stderr
        );
        assert_eq!(workers(), 3, "{replicas}");
    }
    scale("--replicas=5").accepted("scaled");
    assert_eq!(workers(), 5);
    set(&mut object, "spec.paused", Some(json!(true)));
    kubernetes
        .apply(&object)
        .accepted("applied without replicas");
    assert_eq!(workers(), 5);
    // What autoscalers read.
    let status = json!({"status": {"worker": {"replicas": 4, "readyReplicas": 4,
        "updatedReplicas": 4, "selector": "vectorsphere.io/cluster=demo", "summary": "4/5"}}});
    patch_status(&kubernetes, &namespace, Kind::Cluster, &status);
    let path = format!(
        "/apis/{GROUP}/v1alpha1/namespaces/{}/vectorclusters/demo/scale",
        namespace.name
    );
    let told = kubernetes
        .call(&["get", "--raw", &path], "")
        .accepted("scale");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["spec"]["replicas"], 5);
    let expected = json!({"replicas": 4, "selector": "vectorsphere.io/cluster=demo"});
    assert_eq!(told["status"], expected);
}

/// A manifest that says how many workers there are, and an autoscaler that does: the server names the
/// field that both want. Taken out of the manifest, it is the autoscaler's.
#[test]
fn a_manifest_with_replicas_meets_a_conflict_after_scaling() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("conflict");
    let of = resource(Kind::Cluster, GROUP);
    let without = demo(Kind::Cluster, &namespace);
    let mut with = without.clone();
    set(&mut with, "spec.worker.replicas", Some(json!(3)));
    kubernetes.apply(&with).accepted("made");
    let scale = ["scale", "-n", &namespace.name, &of, "demo", "--replicas=5"];
    kubernetes.call(&scale, "").accepted("scaled");
    let answer = kubernetes.apply(&with);
    let told = "conflict with \"kubectl\" with subresource \"scale\"";
    assert!(!answer.ok, "{}", answer.stdout);
    assert!(answer.stderr.contains(told), "{}", answer.stderr);
    assert!(answer.stderr.contains(".spec.worker.replicas"));
    kubernetes.apply(&without).accepted("without");
    let kept = kubernetes.get(&namespace.name, &of, "demo");
    assert_eq!(kept["spec"]["worker"]["replicas"], 5);
}

/// Patches a status into the object of the name `demo`.
pub(crate) fn patch_status(
    kubernetes: &Kubernetes,
    namespace: &Namespace<'_>,
    kind: Kind,
    status: &Value,
) {
    let (of, text) = (resource(kind, GROUP), status.to_string());
    let mut arguments = vec!["patch", "-n", &namespace.name, &of, "demo"];
    arguments.extend(["--subresource=status", "--type=merge", "-p", &text]);
    kubernetes.call(&arguments, "").accepted(kind.name());
}

#[test]
fn field_selectors_find_objects() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("selectors");
    for (kind, status, selectors) in [
        (
            Kind::Cluster,
            json!({"phase": "Degraded"}),
            &[
                "spec.version=0.1.0",
                "spec.power=Running",
                "status.phase=Degraded",
            ][..],
        ),
        (Kind::Collection, json!({}), &["spec.cluster=demo"]),
        (
            Kind::Backup,
            json!({"state": "Running"}),
            &["spec.cluster=demo", "status.state=Running"],
        ),
        (
            Kind::BackupSchedule,
            json!({}),
            &["spec.template.cluster=demo"],
        ),
        (
            Kind::Restore,
            json!({"state": "Running"}),
            &["spec.cluster=demo", "status.state=Running"],
        ),
        (
            Kind::OpsTask,
            json!({"state": "Running"}),
            &["spec.cluster=demo", "status.state=Running"],
        ),
    ] {
        kubernetes
            .apply(&demo(kind, &namespace))
            .accepted(kind.name());
        patch_status(&kubernetes, &namespace, kind, &json!({"status": status}));
        let of = resource(kind, GROUP);
        for selector in selectors {
            let (field, _) = selector.split_once('=').unwrap();
            for (selector, expected) in [((*selector).to_owned(), 1), (format!("{field}=other"), 0)]
            {
                let mut arguments = vec!["get", "-n", &namespace.name, &of, "-o", "name"];
                arguments.extend(["--field-selector", &selector]);
                let answer = kubernetes.call(&arguments, "");
                assert!(answer.ok, "{selector}: {}", answer.stderr);
                assert_eq!(answer.stdout.lines().count(), expected, "{selector}");
            }
        }
    }
}

#[test]
fn the_samples_are_accepted() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("samples");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples");
    let apply = [
        "apply",
        "--server-side",
        "-n",
        &namespace.name,
        "-f",
        folder,
    ];
    let told = kubernetes.call(&apply, "").accepted("samples");
    let samples = fs_err::read_dir(folder).unwrap().count();
    assert_eq!(told.lines().count(), samples, "{told}");
}
