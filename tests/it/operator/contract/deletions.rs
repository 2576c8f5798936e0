//! Deletion: preconditions, finalizers, dependents, namespaces.

use http::Method;
use serde_json::{Value, json};

use super::{Server, cases, config_map, widget};

cases![
    what_is_deleted_is_gone,
    deletion_of_a_missing_one_is_refused,
    deletion_of_another_uid_is_a_conflict,
    deletion_of_an_old_version_is_a_conflict,
    a_finalizer_holds,
    a_second_deletion_changes_nothing,
    a_deletion_counts_as_a_generation,
    a_deleted_object_gets_no_new_finalizer,
    a_held_object_still_changes,
    dependents_go_with_their_owner,
    dependents_of_nobody_go,
    a_dependent_of_two_stays_with_one,
    orphans_stay,
    an_owner_waits_for_its_dependents,
    a_pod_without_a_node_goes_at_once,
    a_pod_on_a_node_gets_its_time,
    a_namespace_takes_its_content_along,
    nothing_is_made_in_a_namespace_that_ends,
];

fn uid(object: &Value) -> &Value {
    &object["metadata"]["uid"]
}

async fn what_is_deleted_is_gone(server: &Server) {
    let made = server
        .create("configmaps", &config_map("del", "a"))
        .await
        .ok();
    let answer = server.delete("configmaps/del", &Value::Null).await;
    assert_eq!(
        (answer.code, &answer.body["status"]),
        (200, &json!("Success"))
    );
    let details = json!({"name": "del", "kind": "configmaps", "uid": uid(&made)});
    assert_eq!(answer.body["details"], details);
    assert_eq!(
        server.get("configmaps/del").await.reason(),
        (404, "NotFound")
    );
}

async fn deletion_of_a_missing_one_is_refused(server: &Server) {
    let answer = server.delete("configmaps/never", &Value::Null).await;
    assert_eq!(answer.reason(), (404, "NotFound"));
}

async fn deletion_of_another_uid_is_a_conflict(server: &Server) {
    let made = server
        .create("configmaps", &config_map("del-uid", "a"))
        .await
        .ok();
    let other = json!({"preconditions": {"uid": "11111111-2222-4333-8444-555555555555"}});
    let answer = server.delete("configmaps/del-uid", &other).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
    let mine = json!({"preconditions": {"uid": uid(&made)}});
    assert_eq!(server.delete("configmaps/del-uid", &mine).await.code, 200);
}

async fn deletion_of_an_old_version_is_a_conflict(server: &Server) {
    let made = server
        .create("configmaps", &config_map("del-old", "a"))
        .await
        .ok();
    server
        .merge("configmaps/del-old", &json!({"data": {"value": "b"}}))
        .await
        .ok();
    let version = &made["metadata"]["resourceVersion"];
    let old = json!({"preconditions": {"resourceVersion": version}});
    let answer = server.delete("configmaps/del-old", &old).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
    server.get("configmaps/del-old").await.ok();
}

/// An object that a finalizer holds.
async fn held(server: &Server, name: &str) -> Value {
    let mut object = widget(name, &json!({}));
    object["metadata"]["finalizers"] = json!(["vectorsphere.test/held"]);
    server.create("widgets", &object).await.ok()
}

async fn a_finalizer_holds(server: &Server) {
    held(server, "held").await;
    let answer = server.delete("widgets/held", &Value::Null).await;
    assert_eq!(answer.code, 200);
    let object = server.get("widgets/held").await.ok();
    assert!(object["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(object["metadata"]["deletionGracePeriodSeconds"], 0);
    let free = json!({"metadata": {"finalizers": []}});
    assert_eq!(server.merge("widgets/held", &free).await.code, 200);
    assert_eq!(server.get("widgets/held").await.reason(), (404, "NotFound"));
}

async fn a_second_deletion_changes_nothing(server: &Server) {
    held(server, "del-again").await;
    server.delete("widgets/del-again", &Value::Null).await.ok();
    let one = server.get("widgets/del-again").await.ok();
    assert_eq!(
        server.delete("widgets/del-again", &Value::Null).await.code,
        200
    );
    let two = server.get("widgets/del-again").await.ok();
    assert_eq!(one, two);
    server
        .merge(
            "widgets/del-again",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .ok();
}

async fn a_deletion_counts_as_a_generation(server: &Server) {
    held(server, "counted").await;
    server.delete("widgets/counted", &Value::Null).await.ok();
    let object = server.get("widgets/counted").await.ok();
    assert_eq!(object["metadata"]["generation"], 2);
    server
        .merge(
            "widgets/counted",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .ok();
}

async fn a_deleted_object_gets_no_new_finalizer(server: &Server) {
    held(server, "del-late").await;
    server.delete("widgets/del-late", &Value::Null).await.ok();
    let more =
        json!({"metadata": {"finalizers": ["vectorsphere.test/held", "vectorsphere.test/b"]}});
    let answer = server.merge("widgets/del-late", &more).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
    server
        .merge(
            "widgets/del-late",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .ok();
}

async fn a_held_object_still_changes(server: &Server) {
    held(server, "alive").await;
    server.delete("widgets/alive", &Value::Null).await.ok();
    let changed = server
        .merge("widgets/alive", &json!({"spec": {"size": "b"}}))
        .await
        .ok();
    assert_eq!(changed["spec"]["size"], "b");
    server
        .merge("widgets/alive", &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
}

fn owner(name: &str, uid: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid,
        "blockOwnerDeletion": true,
    })
}

/// A dependent of these owners.
async fn dependent(server: &Server, name: &str, owners: &[Value]) {
    let mut object = config_map(name, "a");
    object["metadata"]["ownerReferences"] = json!(owners);
    server.create("configmaps", &object).await.ok();
}

async fn gone(server: &Server, place: &str) {
    server
        .until("it goes", place, |answer| answer.code == 404)
        .await;
}

async fn dependents_go_with_their_owner(server: &Server) {
    let above = server
        .create("configmaps", &config_map("above", "a"))
        .await
        .ok();
    dependent(server, "below", &[owner("above", uid(&above))]).await;
    server
        .delete(
            "configmaps/above",
            &json!({"propagationPolicy": "Background"}),
        )
        .await
        .ok();
    gone(server, "configmaps/below").await;
}

async fn dependents_of_nobody_go(server: &Server) {
    let nobody = json!("11111111-2222-4333-8444-555555555555");
    dependent(server, "nobodys", &[owner("nobody", &nobody)]).await;
    gone(server, "configmaps/nobodys").await;
}

async fn a_dependent_of_two_stays_with_one(server: &Server) {
    let one = server
        .create("configmaps", &config_map("one-of-two", "a"))
        .await
        .ok();
    let two = server
        .create("configmaps", &config_map("two-of-two", "a"))
        .await
        .ok();
    let owners = [
        owner("one-of-two", uid(&one)),
        owner("two-of-two", uid(&two)),
    ];
    dependent(server, "of-two", &owners).await;
    server
        .delete(
            "configmaps/one-of-two",
            &json!({"propagationPolicy": "Background"}),
        )
        .await
        .ok();
    let left = |answer: &super::Answer| {
        let owners = answer.body["metadata"]["ownerReferences"].as_array();
        owners.is_some_and(|owners| owners.len() == 1)
    };
    let kept = server.until("one is left", "configmaps/of-two", left).await;
    assert_eq!(
        kept.body["metadata"]["ownerReferences"][0]["name"],
        "two-of-two"
    );
}

async fn orphans_stay(server: &Server) {
    let above = server
        .create("configmaps", &config_map("parent", "a"))
        .await
        .ok();
    dependent(server, "orphan", &[owner("parent", uid(&above))]).await;
    server
        .delete("configmaps/parent", &json!({"propagationPolicy": "Orphan"}))
        .await
        .ok();
    gone(server, "configmaps/parent").await;
    let orphan = server.get("configmaps/orphan").await.ok();
    assert!(orphan["metadata"]["ownerReferences"].is_null());
}

async fn an_owner_waits_for_its_dependents(server: &Server) {
    let above = server
        .create("configmaps", &config_map("waits", "a"))
        .await
        .ok();
    let mut below = config_map("awaited", "a");
    below["metadata"]["ownerReferences"] = json!([owner("waits", uid(&above))]);
    below["metadata"]["finalizers"] = json!(["vectorsphere.test/held"]);
    server.create("configmaps", &below).await.ok();
    server
        .delete(
            "configmaps/waits",
            &json!({"propagationPolicy": "Foreground"}),
        )
        .await
        .ok();
    let leaves = |answer: &super::Answer| answer.body["metadata"]["deletionTimestamp"].is_string();
    server
        .until("it is told to go", "configmaps/awaited", leaves)
        .await;
    let waiting = server.get("configmaps/waits").await.ok();
    assert_eq!(
        waiting["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    let free = json!({"metadata": {"finalizers": null}});
    server.merge("configmaps/awaited", &free).await.ok();
    gone(server, "configmaps/waits").await;
}

fn pod(name: &str, node: &Value) -> Value {
    // No scheduler finds one for a pod that is to have none.
    let selector = node
        .is_null()
        .then(|| json!({"vectorsphere.test/nowhere": "true"}));
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "one", "image": "images.test/none:1"}], "nodeName": node,
            "nodeSelector": selector, "terminationGracePeriodSeconds": 7,
        },
    })
}

async fn a_pod_without_a_node_goes_at_once(server: &Server) {
    server
        .create("pods", &pod("nowhere", &Value::Null))
        .await
        .ok();
    assert_eq!(server.delete("pods/nowhere", &Value::Null).await.code, 200);
    assert_eq!(server.get("pods/nowhere").await.reason(), (404, "NotFound"));
}

async fn a_pod_on_a_node_gets_its_time(server: &Server) {
    server
        .create("pods", &pod("placed", &json!("far-away")))
        .await
        .ok();
    // Without a kubelet nobody ends it; a controller that finds no such node may.
    let answer = server.delete("pods/placed", &Value::Null).await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.body["metadata"]["deletionGracePeriodSeconds"], 7);
    assert!(answer.body["metadata"]["deletionTimestamp"].is_string());
    let now = json!({"gracePeriodSeconds": 0});
    let code = server.delete("pods/placed", &now).await.code;
    assert!(matches!(code, 200 | 404), "{code}");
    assert_eq!(server.get("pods/placed").await.reason(), (404, "NotFound"));
}

/// Another namespace beside that of the cases.
async fn another(server: &Server, name: &str) -> Server {
    let namespace = format!("{}-{name}", server.namespace);
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let to = (Method::POST, "/api/v1/namespaces".to_owned());
    server.send(to, &object, "application/json").await.ok();
    Server {
        namespace,
        ..server.clone()
    }
}

async fn end(server: &Server) {
    let to = (
        Method::DELETE,
        format!("/api/v1/namespaces/{}", server.namespace),
    );
    server.send(to, &Value::Null, "application/json").await.ok();
}

async fn a_namespace_takes_its_content_along(server: &Server) {
    let other = another(server, "ends").await;
    other
        .create("configmaps", &config_map("within", "a"))
        .await
        .ok();
    other
        .create("widgets", &widget("within", &json!({})))
        .await
        .ok();
    end(&other).await;
    gone(&other, "configmaps/within").await;
    gone(&other, "widgets/within").await;
}

async fn nothing_is_made_in_a_namespace_that_ends(server: &Server) {
    let other = another(server, "ending").await;
    held(&other, "holds").await;
    end(&other).await;
    let answer = other.create("configmaps", &config_map("late", "a")).await;
    assert_eq!(answer.reason(), (403, "Forbidden"));
    let free = json!({"metadata": {"finalizers": null}});
    other.merge("widgets/holds", &free).await.ok();
    gone(&other, "widgets/holds").await;
}
