//! What controllers make of StatefulSets and Deployments, as far as that needs no node.

use serde_json::{Value, json};

use super::{Answer, Server, cases};

cases![
    a_set_makes_pods_by_number,
    a_set_makes_claims_of_nobody,
    a_set_ends_the_highest_first,
    a_set_makes_a_deleted_pod_again,
    a_set_takes_orphans_over,
    pods_of_a_set_go_with_it,
    a_set_that_replaces_nothing_keeps_old_pods,
    what_a_set_is_made_of_cannot_change,
    a_deployment_makes_a_set_that_makes_pods,
    pods_of_a_deployment_go_with_it,
    a_deployment_is_scaled,
    a_generation_of_a_set_counts_its_scale,
];

fn set(name: &str, replicas: u32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "serviceName": name, "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": {"set": name}},
            "template": {
                "metadata": {"labels": {"set": name}},
                "spec": {"containers": [{"name": "one", "image": image}]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data", "labels": {"of": name}},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }],
        },
    })
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"set": name}},
            "template": {
                "metadata": {"labels": {"set": name}},
                "spec": {"containers": [{"name": "one", "image": "images.test/none:1"}]},
            },
        },
    })
}

fn items(answer: &Answer) -> Vec<Value> {
    answer.body["items"].as_array().cloned().unwrap_or_default()
}

/// Waits until a set has so many pods that are not leaving.
async fn pods(server: &Server, name: &str, count: usize) -> Vec<Value> {
    let place = format!("pods?labelSelector=set={name}");
    let is = |answer: &Answer| {
        let all = items(answer);
        let leaves = |pod: &Value| !pod["metadata"]["deletionTimestamp"].is_null();
        all.len() == count && !all.iter().any(leaves)
    };
    items(&server.until("so many pods", &place, is).await)
}

fn names(objects: &[Value]) -> Vec<&str> {
    let names = objects
        .iter()
        .map(|one| one["metadata"]["name"].as_str().unwrap());
    names.collect()
}

async fn a_set_makes_pods_by_number(server: &Server) {
    let made = server
        .create("statefulsets", &set("numbers", 2, "images.test/none:1"))
        .await
        .ok();
    let pods = pods(server, "numbers", 2).await;
    assert_eq!(names(&pods), ["numbers-0", "numbers-1"]);
    let owner = &pods[0]["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["uid"], &owner["controller"]),
        (&made["metadata"]["uid"], &json!(true))
    );
    let labels = &pods[1]["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "numbers-1");
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
    assert!(
        labels["controller-revision-hash"]
            .as_str()
            .unwrap()
            .starts_with("numbers-")
    );
    assert_eq!(pods[0]["spec"]["hostname"], "numbers-0");
    let volumes = pods[0]["spec"]["volumes"].as_array().unwrap();
    let claim = volumes
        .iter()
        .find(|volume| volume["name"] == "data")
        .unwrap();
    assert_eq!(
        claim["persistentVolumeClaim"]["claimName"],
        "data-numbers-0"
    );
}

async fn a_set_makes_claims_of_nobody(server: &Server) {
    server
        .create("statefulsets", &set("claims", 1, "images.test/none:1"))
        .await
        .ok();
    pods(server, "claims", 1).await;
    let claim = server
        .get("persistentvolumeclaims/data-claims-0")
        .await
        .ok();
    assert!(claim["metadata"]["ownerReferences"].is_null());
    assert_eq!(
        claim["metadata"]["labels"],
        json!({"of": "claims", "set": "claims"})
    );
    assert_eq!(
        claim["metadata"]["finalizers"],
        json!(["kubernetes.io/pvc-protection"])
    );
}

async fn a_set_ends_the_highest_first(server: &Server) {
    server
        .create("statefulsets", &set("fewer", 2, "images.test/none:1"))
        .await
        .ok();
    pods(server, "fewer", 2).await;
    server
        .merge(
            "statefulsets/fewer/scale",
            &json!({"spec": {"replicas": 1}}),
        )
        .await
        .ok();
    assert_eq!(names(&pods(server, "fewer", 1).await), ["fewer-0"]);
}

async fn a_set_makes_a_deleted_pod_again(server: &Server) {
    server
        .create("statefulsets", &set("again", 1, "images.test/none:1"))
        .await
        .ok();
    let before = pods(server, "again", 1).await;
    server.delete("pods/again-0", &Value::Null).await.ok();
    let uid = &before[0]["metadata"]["uid"];
    let another = |answer: &Answer| answer.code == 200 && answer.body["metadata"]["uid"] != *uid;
    server.until("another pod", "pods/again-0", another).await;
}

async fn a_set_takes_orphans_over(server: &Server) {
    server
        .create("statefulsets", &set("adopts", 1, "images.test/none:1"))
        .await
        .ok();
    let before = pods(server, "adopts", 1).await;
    server
        .delete(
            "statefulsets/adopts",
            &json!({"propagationPolicy": "Orphan"}),
        )
        .await
        .ok();
    server
        .until("it goes", "statefulsets/adopts", |answer| {
            answer.code == 404
        })
        .await;
    let orphan = server.get("pods/adopts-0").await.ok();
    assert_eq!(orphan["metadata"]["uid"], before[0]["metadata"]["uid"]);
    assert!(orphan["metadata"]["ownerReferences"].is_null());
    let made = server
        .create("statefulsets", &set("adopts", 1, "images.test/none:1"))
        .await
        .ok();
    let uid = &made["metadata"]["uid"];
    let adopted = |answer: &Answer| answer.body["metadata"]["ownerReferences"][0]["uid"] == *uid;
    let pod = server
        .until("it is adopted", "pods/adopts-0", adopted)
        .await;
    assert_eq!(pod.body["metadata"]["uid"], before[0]["metadata"]["uid"]);
}

async fn pods_of_a_set_go_with_it(server: &Server) {
    server
        .create("statefulsets", &set("whole", 1, "images.test/none:1"))
        .await
        .ok();
    pods(server, "whole", 1).await;
    server.delete("statefulsets/whole", &Value::Null).await.ok();
    pods(server, "whole", 0).await;
    server.get("persistentvolumeclaims/data-whole-0").await.ok();
}

async fn a_set_that_replaces_nothing_keeps_old_pods(server: &Server) {
    server
        .create("statefulsets", &set("keeps", 1, "images.test/none:1"))
        .await
        .ok();
    let before = pods(server, "keeps", 1).await;
    let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "images.test/none:2"}]);
    let changed = server
        .patch("statefulsets/keeps", super::Patch::Json, &image)
        .await
        .ok();
    let seen = |answer: &Answer| {
        answer.body["status"]["observedGeneration"] == changed["metadata"]["generation"]
    };
    server
        .until("it was seen", "statefulsets/keeps", seen)
        .await;
    let after = pods(server, "keeps", 1).await;
    assert_eq!(after[0]["metadata"]["uid"], before[0]["metadata"]["uid"]);
    server.delete("pods/keeps-0", &Value::Null).await.ok();
    let renewed =
        |answer: &Answer| answer.body["spec"]["containers"][0]["image"] == "images.test/none:2";
    server
        .until("it comes back new", "pods/keeps-0", renewed)
        .await;
}

async fn what_a_set_is_made_of_cannot_change(server: &Server) {
    server
        .create("statefulsets", &set("fixed", 0, "images.test/none:1"))
        .await
        .ok();
    let patch = json!({"spec": {"serviceName": "other"}});
    let answer = server.merge("statefulsets/fixed", &patch).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "fixed"},
        "revision": 1, "data": {"a": 1},
    });
    server.create("controllerrevisions", &revision).await.ok();
    let patch = json!({"data": {"a": 2}});
    let answer = server.merge("controllerrevisions/fixed", &patch).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
    let patch = json!({"metadata": {"annotations": {"a": "b"}}});
    server.merge("controllerrevisions/fixed", &patch).await.ok();
}

async fn a_deployment_makes_a_set_that_makes_pods(server: &Server) {
    let made = server
        .create("deployments", &deployment("front", 2))
        .await
        .ok();
    let pods = pods(server, "front", 2).await;
    let hash = pods[0]["metadata"]["labels"]["pod-template-hash"]
        .as_str()
        .unwrap();
    let owner = &pods[0]["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "ReplicaSet");
    assert_eq!(owner["name"], format!("front-{hash}"));
    let set = server.get(&format!("replicasets/front-{hash}")).await.ok();
    let above = &set["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&above["kind"], &above["uid"]),
        (&json!("Deployment"), &made["metadata"]["uid"])
    );
    assert_eq!(set["spec"]["replicas"], 2);
    assert!(names(&pods)[0].starts_with(&format!("front-{hash}-")));
}

async fn pods_of_a_deployment_go_with_it(server: &Server) {
    server
        .create("deployments", &deployment("ends", 1))
        .await
        .ok();
    pods(server, "ends", 1).await;
    server.delete("deployments/ends", &Value::Null).await.ok();
    pods(server, "ends", 0).await;
}

async fn a_deployment_is_scaled(server: &Server) {
    server
        .create("deployments", &deployment("sized", 1))
        .await
        .ok();
    pods(server, "sized", 1).await;
    let more = json!({"spec": {"replicas": 3}});
    server.merge("deployments/sized/scale", &more).await.ok();
    pods(server, "sized", 3).await;
    server
        .merge("deployments/sized", &json!({"spec": {"replicas": 0}}))
        .await
        .ok();
    pods(server, "sized", 0).await;
}

async fn a_generation_of_a_set_counts_its_scale(server: &Server) {
    let made = server
        .create("statefulsets", &set("counts", 0, "images.test/none:1"))
        .await
        .ok();
    assert_eq!(made["metadata"]["generation"], 1);
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let labelled = server.merge("statefulsets/counts", &labels).await.ok();
    assert_eq!(labelled["metadata"]["generation"], 1);
    server
        .merge(
            "statefulsets/counts/scale",
            &json!({"spec": {"replicas": 1}}),
        )
        .await
        .ok();
    let scaled = server.get("statefulsets/counts").await.ok();
    assert_eq!(scaled["metadata"]["generation"], 2);
}
