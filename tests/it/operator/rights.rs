//! The operator needs every right that the chart gives it, and uses no other.
//!
//! That it uses no other is shown by every test of this folder: the double refuses what the chart's rules
//! do not cover, and a scene fails that saw such a refusal. That it needs each is shown here: one operator
//! lives through what makes it use them, and what is left over fails the test.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vectorsphere::crd::GROUP;

use super::double::rights::{Right, given};
use super::double::store::Key;
use super::double::verbs::Deletion;
use super::process::OperatorProcess;
use super::scene::{
    CLUSTER, LIMIT, NAMESPACE, Scene, call, cluster_key, create, key, manifest, server_with,
};

/// Rights that are given and that nothing here uses, each with a reason.
const UNUSED: &[(&str, &str, &str, &str)] = &[];

/// A definition of another operator, with whatever fields.
fn definition(group: &str, plural: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

/// What other operators bring: their definitions, and the Secret that cert-manager would fill.
fn of_others() -> Vec<Value> {
    vec![
        definition("cert-manager.io", "certificates", "Certificate"),
        definition("monitoring.coreos.com", "servicemonitors", "ServiceMonitor"),
        definition("monitoring.coreos.com", "prometheusrules", "PrometheusRule"),
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "small-gateway-serving-tls", "namespace": NAMESPACE},
            "data": {"tls.crt": "eA==", "tls.key": "eA==", "ca.crt": "eA=="},
        }),
    ]
}

/// A cluster with something of every kind beside its pods.
fn full() -> Value {
    let on = json!({"enabled": true});
    json!({
        "gateway": {
            "autoscaling": {"minReplicas": 1, "maxReplicas": 3},
            "resources": {"requests": {"cpu": "100m"}},
        },
        "worker": {"replicas": 2},
        "tls": {"mode": "CertManager", "issuerRef": {"name": "internal"}},
        "monitoring": {"serviceMonitor": on, "prometheusRule": on, "grafanaDashboard": on},
    })
}

/// What takes everything away that can be.
fn plain() -> Value {
    json!({"spec": {
        "gateway": {"autoscaling": null}, "worker": {"replicas": 1, "storage": {"size": "2Gi"}},
        "tls": {"mode": "SelfSigned", "issuerRef": null}, "monitoring": null,
        "serviceAccount": {"create": false}, "networkPolicy": {"enabled": false},
        "deletionPolicy": "Delete",
    }})
}

/// The objects of the other kinds: one each, and none of them can be carried out.
fn others() -> Vec<Value> {
    let of = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": kind,
            "metadata": {"name": "one", "namespace": NAMESPACE}, "spec": spec,
        })
    };
    let backup = json!({"cluster": CLUSTER, "location": {"s3": {"bucket": "abc"}}});
    vec![
        of("VectorBackup", backup.clone()),
        of(
            "VectorBackupSchedule",
            json!({"schedule": "0 3 * * *", "template": backup}),
        ),
        of(
            "VectorRestore",
            json!({"cluster": CLUSTER, "source": {"backupName": "one"}}),
        ),
        of(
            "VectorOpsTask",
            json!({
                "cluster": CLUSTER, "task": "Rebalance", "ttlSecondsAfterFinished": 0,
            }),
        ),
        of(
            "VectorCollection",
            json!({
                "cluster": "missing", "dimension": 3, "deletionPolicy": "Delete",
            }),
        ),
    ]
}

async fn changed(scene: &Scene, change: Value) {
    scene.change(&change);
    scene.until_done().await;
}

fn delete(scene: &Scene, key: &Key) {
    scene.double.with(|state| {
        let call = call(state, key);
        call.delete(&mut state.store, &Deletion::default()).unwrap();
    });
}

/// The life of a cluster.
async fn live(scene: &Scene) {
    scene.until_done().await;
    changed(scene, plain()).await;
    // More revisions than are kept.
    for number in 0..8 {
        let note = json!({"note": number.to_string()});
        changed(
            scene,
            json!({"spec": {"gateway": {"pod": {"annotations": note}}}}),
        )
        .await;
    }
    // The second sleep is told as the first was: one event, counted twice.
    for power in ["Hibernated", "Running", "Hibernated", "Running"] {
        changed(scene, json!({"spec": {"power": power}})).await;
    }
    changed(scene, json!({"spec": {"version": "0.2.0"}})).await;
    scene.until_quiet_but_for_leases().await;
    delete(scene, &cluster_key(CLUSTER));
    scene.until_gone().await;
}

/// What becomes of objects of the other kinds.
async fn answered(scene: &Scene) {
    scene.double.with(|state| {
        for object in others() {
            create(state, &object);
        }
    });
    let collection = key(GROUP, "vectorcollections", "one");
    let task = key(GROUP, "vectoropstasks", "one");
    let said = scene.double.until("all are answered", LIMIT, |state| {
        let conditions = |plural: &str| {
            let object = state.store.get(&key(GROUP, plural, "one"))?;
            let is_said = !object["status"]["conditions"].is_null();
            is_said.then_some(object)
        };
        let rejected = ["vectorbackups", "vectorbackupschedules", "vectorrestores"];
        let held = conditions("vectorcollections")?;
        let all = rejected.iter().all(|plural| conditions(plural).is_some());
        let gone = state.store.get(&task).is_none();
        (all && gone && !held["metadata"]["finalizers"].is_null()).then_some(())
    });
    said.await;
    delete(scene, &collection);
    let gone = scene
        .double
        .until("the collection is gone", LIMIT, |state| {
            state.store.get(&collection).is_none().then_some(())
        });
    gone.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_of_the_chart_is_used() {
    let mut objects = of_others();
    objects.push(manifest(CLUSTER, &full()));
    let scene = Scene::of(&server_with(&objects));
    let url = scene.double.door("one").await;
    let _operator = OperatorProcess::start_candidate(scene.folder(), &url, "one");
    tokio::join!(live(&scene), answered(&scene));
    scene.assert_within_rights();
    let used = scene.double.with(|state| state.journal.used.clone());
    let spare: BTreeSet<Right> = given().difference(&used).cloned().collect();
    let unused = UNUSED
        .iter()
        .map(|(group, resource, verb, _why)| Right::new(group, resource, verb));
    assert_eq!(spare, unused.collect());
}
