//! Create, get, replace and patch.

use http::Method;
use serde_json::{Value, json};

use super::{By, Patch, Server, cases, config_map, widget};

cases![
    create_answers_with_what_the_server_sets,
    a_uid_is_never_the_creators,
    what_was_created_is_got,
    create_of_a_name_that_is_there_is_refused,
    create_in_a_missing_namespace_is_refused,
    create_for_another_namespace_is_refused,
    create_without_a_name_is_refused,
    a_name_is_generated,
    what_is_missing_is_not_found,
    an_unknown_kind_is_a_page,
    an_unknown_group_is_a_page,
    put_replaces,
    put_of_an_old_version_is_a_conflict,
    put_without_a_version_is_taken,
    put_of_another_name_is_refused,
    put_of_another_uid_is_a_conflict,
    put_of_a_missing_one_is_refused,
    put_of_the_same_writes_nothing,
    a_merge_patch_sets_and_takes_away,
    a_merge_patch_of_the_same_writes_nothing,
    a_merge_patch_of_an_old_version_is_a_conflict,
    a_merge_patch_of_another_uid_is_invalid,
    a_merge_patch_of_a_missing_one_is_refused,
    a_json_patch_does_its_operations,
    a_json_patch_whose_test_fails_is_refused,
    an_unknown_kind_of_patch_is_refused,
    texts_of_a_secret_become_data,
    texts_of_a_secret_stay,
    data_of_a_secret_goes,
    revisions_count_all_kinds_together,
    a_lease_is_replaced_by_version,
    an_event_is_taken,
];

fn version(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.unwrap().parse().unwrap()
}

async fn create_answers_with_what_the_server_sets(server: &Server) {
    let answer = server.create("configmaps", &config_map("made", "a")).await;
    assert_eq!(answer.code, 201);
    let metadata = &answer.body["metadata"];
    assert_eq!(metadata["namespace"], *server.namespace);
    for name in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(metadata[name].is_string(), "{name}");
    }
    assert!(metadata["generation"].is_null());
    assert_eq!(answer.body["kind"], "ConfigMap");
}

async fn a_uid_is_never_the_creators(server: &Server) {
    let mut object = config_map("own-uid", "a");
    object["metadata"]["uid"] = json!("mine");
    let made = server.create("configmaps", &object).await.ok();
    assert_ne!(made["metadata"]["uid"], "mine");
}

async fn what_was_created_is_got(server: &Server) {
    let made = server
        .create("configmaps", &config_map("got", "a"))
        .await
        .ok();
    let got = server.get("configmaps/got").await.ok();
    assert_eq!(made["metadata"], got["metadata"]);
    assert_eq!(got["data"], json!({"value": "a"}));
}

async fn create_of_a_name_that_is_there_is_refused(server: &Server) {
    server
        .create("configmaps", &config_map("twice", "a"))
        .await
        .ok();
    let answer = server.create("configmaps", &config_map("twice", "b")).await;
    assert_eq!(answer.reason(), (409, "AlreadyExists"));
    assert_eq!(answer.message(), "configmaps \"twice\" already exists");
    let answer = server.create("widgets", &widget("twice", &json!({}))).await;
    assert_eq!(answer.code, 201);
    let answer = server.create("widgets", &widget("twice", &json!({}))).await;
    let said = "widgets.contract.vectorsphere.test \"twice\" already exists";
    assert_eq!(answer.message(), said);
}

async fn create_in_a_missing_namespace_is_refused(server: &Server) {
    let elsewhere = Server {
        namespace: "never-there".to_owned(),
        ..server.clone()
    };
    let answer = elsewhere.create("configmaps", &config_map("a", "a")).await;
    assert_eq!(answer.reason(), (404, "NotFound"));
    assert_eq!(answer.message(), "namespaces \"never-there\" not found");
}

async fn create_for_another_namespace_is_refused(server: &Server) {
    let mut object = config_map("elsewhere", "a");
    object["metadata"]["namespace"] = json!("other");
    let answer = server.create("configmaps", &object).await;
    assert_eq!(answer.reason(), (400, "BadRequest"));
}

async fn create_without_a_name_is_refused(server: &Server) {
    let mut object = config_map("", "a");
    object["metadata"] = json!({});
    let answer = server.create("configmaps", &object).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
}

async fn a_name_is_generated(server: &Server) {
    let mut object = config_map("", "a");
    object["metadata"] = json!({"generateName": "made-up-"});
    let made = server.create("configmaps", &object).await.ok();
    let name = made["metadata"]["name"].as_str().unwrap();
    let unique = name.strip_prefix("made-up-").unwrap();
    assert_eq!(unique.len(), 5);
    assert_eq!(made["metadata"]["generateName"], "made-up-");
}

async fn what_is_missing_is_not_found(server: &Server) {
    let answer = server.get("configmaps/never").await;
    assert_eq!(answer.reason(), (404, "NotFound"));
    assert_eq!(answer.message(), "configmaps \"never\" not found");
    assert_eq!(
        answer.body["details"],
        json!({"name": "never", "kind": "configmaps"})
    );
    let answer = server.get("widgets/never").await;
    let details = json!({
        "name": "never", "group": "contract.vectorsphere.test", "kind": "widgets",
    });
    assert_eq!(answer.body["details"], details);
}

async fn an_unknown_kind_is_a_page(server: &Server) {
    let uri = server.path("widgets").replace("widgets", "gadgets");
    let answer = server
        .send((Method::GET, uri), &Value::Null, "application/json")
        .await;
    assert_eq!(
        (answer.code, answer.body),
        (404, json!("404 page not found\n"))
    );
}

async fn an_unknown_group_is_a_page(server: &Server) {
    let uri = server.path("widgets").replace("contract.", "nobodys.");
    let answer = server
        .send((Method::GET, uri), &Value::Null, "application/json")
        .await;
    assert_eq!(
        (answer.code, answer.body),
        (404, json!("404 page not found\n"))
    );
}

async fn put_replaces(server: &Server) {
    let mut object = server
        .create("configmaps", &config_map("put", "a"))
        .await
        .ok();
    let before = version(&object);
    object["data"] = json!({"other": "b"});
    let answer = server.put("configmaps/put", &object).await;
    assert_eq!(
        (answer.code, &answer.body["data"]),
        (200, &json!({"other": "b"}))
    );
    assert!(version(&answer.body) > before);
    assert_eq!(answer.body["metadata"]["uid"], object["metadata"]["uid"]);
}

async fn put_of_an_old_version_is_a_conflict(server: &Server) {
    let old = server
        .create("configmaps", &config_map("old", "a"))
        .await
        .ok();
    server
        .merge("configmaps/old", &json!({"data": {"value": "b"}}))
        .await
        .ok();
    let answer = server.put("configmaps/old", &old).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
    let said = "Operation cannot be fulfilled on configmaps \"old\": the object has been modified; \
                please apply your changes to the latest version and try again";
    assert_eq!(answer.message(), said);
}

async fn put_without_a_version_is_taken(server: &Server) {
    server
        .create("configmaps", &config_map("blind", "a"))
        .await
        .ok();
    let answer = server
        .put("configmaps/blind", &config_map("blind", "b"))
        .await;
    assert_eq!(
        (answer.code, &answer.body["data"]["value"]),
        (200, &json!("b"))
    );
}

async fn put_of_another_name_is_refused(server: &Server) {
    server
        .create("configmaps", &config_map("named", "a"))
        .await
        .ok();
    let answer = server
        .put("configmaps/named", &config_map("other", "b"))
        .await;
    assert_eq!(answer.reason(), (400, "BadRequest"));
}

async fn put_of_another_uid_is_a_conflict(server: &Server) {
    server
        .create("configmaps", &config_map("put-uid", "a"))
        .await
        .ok();
    let mut object = config_map("put-uid", "b");
    object["metadata"]["uid"] = json!("11111111-2222-4333-8444-555555555555");
    let answer = server.put("configmaps/put-uid", &object).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn put_of_a_missing_one_is_refused(server: &Server) {
    let answer = server
        .put("configmaps/gone", &config_map("gone", "a"))
        .await;
    assert_eq!(answer.reason(), (404, "NotFound"));
}

async fn put_of_the_same_writes_nothing(server: &Server) {
    let object = server
        .create("configmaps", &config_map("same", "a"))
        .await
        .ok();
    let again = server.put("configmaps/same", &object).await.ok();
    assert_eq!(version(&again), version(&object));
}

async fn a_merge_patch_sets_and_takes_away(server: &Server) {
    server
        .create("configmaps", &config_map("merge", "a"))
        .await
        .ok();
    let patch = json!({"data": {"value": null, "more": "b"}, "metadata": {"labels": {"x": "y"}}});
    let answer = server.merge("configmaps/merge", &patch).await;
    assert_eq!(answer.code, 200);
    assert_eq!(answer.body["data"], json!({"more": "b"}));
    assert_eq!(answer.body["metadata"]["labels"], json!({"x": "y"}));
}

async fn a_merge_patch_of_the_same_writes_nothing(server: &Server) {
    let object = server
        .create("configmaps", &config_map("still", "a"))
        .await
        .ok();
    let patch = json!({"data": {"value": "a"}});
    let again = server.merge("configmaps/still", &patch).await.ok();
    assert_eq!(version(&again), version(&object));
}

async fn a_merge_patch_of_an_old_version_is_a_conflict(server: &Server) {
    let old = server
        .create("configmaps", &config_map("stale", "a"))
        .await
        .ok();
    server
        .merge("configmaps/stale", &json!({"data": {"value": "b"}}))
        .await
        .ok();
    let version = &old["metadata"]["resourceVersion"];
    let patch = json!({"metadata": {"resourceVersion": version}, "data": {"value": "c"}});
    let answer = server.merge("configmaps/stale", &patch).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn a_merge_patch_of_another_uid_is_invalid(server: &Server) {
    server
        .create("configmaps", &config_map("merge-uid", "a"))
        .await
        .ok();
    let uid = "11111111-2222-4333-8444-555555555555";
    let patch = json!({"metadata": {"uid": uid}, "data": {"value": "c"}});
    let answer = server.merge("configmaps/merge-uid", &patch).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
    server
        .create("widgets", &widget("merge-uid", &json!({})))
        .await
        .ok();
    let patch = json!({"metadata": {"uid": uid}, "spec": {"size": "c"}});
    let answer = server.merge("widgets/merge-uid", &patch).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
}

async fn a_merge_patch_of_a_missing_one_is_refused(server: &Server) {
    let answer = server
        .merge("configmaps/gone", &json!({"data": {"a": "b"}}))
        .await;
    assert_eq!(answer.reason(), (404, "NotFound"));
}

async fn a_json_patch_does_its_operations(server: &Server) {
    server
        .create("configmaps", &config_map("json", "a"))
        .await
        .ok();
    let patch = json!([
        {"op": "test", "path": "/data/value", "value": "a"},
        {"op": "add", "path": "/data/more", "value": "b"},
        {"op": "replace", "path": "/data/value", "value": "c"},
        {"op": "add", "path": "/metadata/labels", "value": {"a/b": "1", "c": "2"}},
        {"op": "remove", "path": "/metadata/labels/a~1b"},
    ]);
    let object = server
        .patch("configmaps/json", Patch::Json, &patch)
        .await
        .ok();
    assert_eq!(object["data"], json!({"value": "c", "more": "b"}));
    assert_eq!(object["metadata"]["labels"], json!({"c": "2"}));
}

async fn a_json_patch_whose_test_fails_is_refused(server: &Server) {
    server
        .create("configmaps", &config_map("test", "a"))
        .await
        .ok();
    let patch = json!([
        {"op": "test", "path": "/data/value", "value": "b"},
        {"op": "remove", "path": "/data/value"},
    ]);
    let answer = server.patch("configmaps/test", Patch::Json, &patch).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
    let object = server.get("configmaps/test").await.ok();
    assert_eq!(object["data"]["value"], "a");
}

async fn an_unknown_kind_of_patch_is_refused(server: &Server) {
    server
        .create("configmaps", &config_map("unknown", "a"))
        .await
        .ok();
    let to = (Method::PATCH, server.path("configmaps/unknown"));
    let answer = server
        .send(to, &json!({}), "application/unheard-of+json")
        .await;
    assert_eq!(answer.reason(), (415, "UnsupportedMediaType"));
}

async fn texts_of_a_secret_become_data(server: &Server) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "texts"},
        "stringData": {"key": "abc"},
    });
    let made = server.create("secrets", &secret).await.ok();
    assert_eq!(made["data"], json!({"key": "YWJj"}));
    assert!(made["stringData"].is_null());
    assert_eq!(made["type"], "Opaque");
}

async fn revisions_count_all_kinds_together(server: &Server) {
    let one = server
        .create("configmaps", &config_map("one", "a"))
        .await
        .ok();
    let two = server
        .create("widgets", &widget("two", &json!({})))
        .await
        .ok();
    let three = server
        .merge("configmaps/one", &json!({"data": {"value": "b"}}))
        .await
        .ok();
    assert!(version(&one) < version(&two) && version(&two) < version(&three));
}

async fn a_lease_is_replaced_by_version(server: &Server) {
    let lease = |holder: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lead"},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
        })
    };
    let made = server.create("leases", &lease("one")).await.ok();
    let mut mine = made.clone();
    mine["spec"]["holderIdentity"] = json!("two");
    server.put("leases/lead", &mine).await.ok();
    let mut late = made;
    late["spec"]["holderIdentity"] = json!("three");
    let answer = server.put("leases/lead", &late).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn an_event_is_taken(server: &Server) {
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "told"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Tested",
        "action": "Test", "reportingController": "contract", "reportingInstance": "one",
        "regarding": {"kind": "ConfigMap", "namespace": server.namespace, "name": "made"},
    });
    assert_eq!(server.create("events", &event).await.code, 201);
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let again = server.merge("events/told", &series).await.ok();
    assert_eq!(again["series"]["count"], 2);
}

/// Who applies.
const ONE: By = By("one", false);

fn secret(field: &str, values: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("by-{field}").to_lowercase()},
        field: values,
    })
}

async fn texts_of_a_secret_stay(server: &Server) {
    let place = "secrets/by-stringdata";
    let both = secret("stringData", &json!({"a": "1", "b": "2"}));
    server.apply(place, ONE, &both).await.ok();
    let changed = secret("stringData", &json!({"a": "3"}));
    let after = server.apply(place, ONE, &changed).await.ok();
    assert_eq!(after["data"], json!({"a": "Mw==", "b": "Mg=="}));
    let again = server.apply(place, ONE, &changed).await.ok();
    assert_eq!(version(&again), version(&after));
}

async fn data_of_a_secret_goes(server: &Server) {
    let both = secret("data", &json!({"a": "MQ==", "b": "Mg=="}));
    server.apply("secrets/by-data", ONE, &both).await.ok();
    let less = secret("data", &json!({"a": "MQ=="}));
    let after = server.apply("secrets/by-data", ONE, &less).await.ok();
    assert_eq!(after["data"], json!({"a": "MQ=="}));
}
