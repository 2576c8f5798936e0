//! Generations, the status and the scale, defaults and unknown fields of custom resources.

use serde_json::{Value, json};

use super::{By, Server, cases, config_map, widget};

cases![
    a_generation_counts_changes_of_the_spec,
    a_generation_does_not_count_metadata,
    what_has_no_generation_gets_none,
    a_status_is_not_created,
    a_status_is_not_put_with_the_object,
    a_status_is_not_patched_with_the_object,
    the_status_is_written_by_itself,
    the_status_is_patched_alone,
    the_status_of_the_same_writes_nothing,
    an_old_status_is_a_conflict,
    a_status_of_a_missing_one_is_refused,
    the_scale_is_read,
    the_scale_is_patched,
    the_scale_is_put_by_version,
    a_kind_without_a_scale_has_none,
    defaults_are_filled_in,
    defaults_come_back,
    unknown_fields_are_dropped,
    nulls_are_dropped_or_defaulted,
];

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap()
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

async fn a_generation_counts_changes_of_the_spec(server: &Server) {
    let made = server
        .create("widgets", &widget("gen", &json!({"size": "a"})))
        .await
        .ok();
    assert_eq!(generation(&made), 1);
    let patch = json!({"spec": {"size": "b"}});
    let changed = server.merge("widgets/gen", &patch).await.ok();
    assert_eq!(generation(&changed), 2);
    let same = server.merge("widgets/gen", &patch).await.ok();
    assert_eq!((generation(&same), version(&same)), (2, version(&changed)));
}

async fn a_generation_does_not_count_metadata(server: &Server) {
    server
        .create("widgets", &widget("meta", &json!({})))
        .await
        .ok();
    let patch = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}});
    let changed = server.merge("widgets/meta", &patch).await.ok();
    assert_eq!(generation(&changed), 1);
}

async fn what_has_no_generation_gets_none(server: &Server) {
    server
        .create("configmaps", &config_map("no-gen", "a"))
        .await
        .ok();
    let changed = server
        .merge("configmaps/no-gen", &json!({"data": {"value": "b"}}))
        .await
        .ok();
    assert!(changed["metadata"]["generation"].is_null());
}

async fn a_status_is_not_created(server: &Server) {
    let mut object = widget("born", &json!({}));
    object["status"] = json!({"phase": "Done"});
    let made = server.create("widgets", &object).await.ok();
    assert!(made["status"].is_null());
}

async fn a_status_is_not_put_with_the_object(server: &Server) {
    let mut object = server
        .create("widgets", &widget("whole", &json!({})))
        .await
        .ok();
    object["status"] = json!({"phase": "Done"});
    let put = server.put("widgets/whole", &object).await.ok();
    assert!(put["status"].is_null());
    assert_eq!(version(&put), version(&object));
}

async fn a_status_is_not_patched_with_the_object(server: &Server) {
    server
        .create("widgets", &widget("patched", &json!({})))
        .await
        .ok();
    let patch = json!({"spec": {"size": "b"}, "status": {"phase": "Done"}});
    let patched = server.merge("widgets/patched", &patch).await.ok();
    assert!(patched["status"].is_null());
    assert_eq!(patched["spec"]["size"], "b");
}

async fn the_status_is_written_by_itself(server: &Server) {
    let mut object = server
        .create("widgets", &widget("stated", &json!({"size": "a"})))
        .await
        .ok();
    object["spec"]["size"] = json!("b");
    object["metadata"]["labels"] = json!({"a": "b"});
    object["status"] = json!({"phase": "Done"});
    let put = server.put("widgets/stated/status", &object).await.ok();
    assert_eq!(put["status"], json!({"phase": "Done"}));
    assert_eq!(put["spec"]["size"], "a");
    assert!(put["metadata"]["labels"].is_null());
    assert_eq!(generation(&put), 1);
}

async fn the_status_is_patched_alone(server: &Server) {
    server
        .create("widgets", &widget("piece", &json!({"size": "a"})))
        .await
        .ok();
    let patch = json!({"spec": {"size": "b"}, "status": {"phase": "Done"}});
    let patched = server.merge("widgets/piece/status", &patch).await.ok();
    assert_eq!(
        (&patched["spec"]["size"], &patched["status"]["phase"]),
        (&json!("a"), &json!("Done"))
    );
    let later = server
        .merge("widgets/piece", &json!({"spec": {"size": "c"}}))
        .await
        .ok();
    assert_eq!(
        (&later["spec"]["size"], &later["status"]["phase"]),
        (&json!("c"), &json!("Done"))
    );
}

async fn the_status_of_the_same_writes_nothing(server: &Server) {
    server
        .create("widgets", &widget("calm", &json!({})))
        .await
        .ok();
    let status = json!({
        "apiVersion": "contract.vectorsphere.test/v1", "kind": "Widget",
        "status": {"phase": "Done"},
    });
    let one = server
        .apply("widgets/calm/status", By("one", true), &status)
        .await
        .ok();
    let two = server
        .apply("widgets/calm/status", By("one", true), &status)
        .await
        .ok();
    assert_eq!(version(&one), version(&two));
}

async fn an_old_status_is_a_conflict(server: &Server) {
    let mut old = server
        .create("widgets", &widget("late", &json!({})))
        .await
        .ok();
    server
        .merge("widgets/late", &json!({"spec": {"size": "b"}}))
        .await
        .ok();
    old["status"] = json!({"phase": "Done"});
    let answer = server.put("widgets/late/status", &old).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn a_status_of_a_missing_one_is_refused(server: &Server) {
    let status = json!({
        "apiVersion": "contract.vectorsphere.test/v1", "kind": "Widget",
        "status": {"phase": "Done"},
    });
    let answer = server
        .apply("widgets/gone/status", By("one", true), &status)
        .await;
    assert_eq!(answer.reason(), (404, "NotFound"));
}

async fn the_scale_is_read(server: &Server) {
    server
        .create("widgets", &widget("scale", &json!({"replicas": 3})))
        .await
        .ok();
    let status = json!({"status": {"replicas": 2, "selector": "a=b"}});
    server.merge("widgets/scale/status", &status).await.ok();
    let scale = server.get("widgets/scale/scale").await.ok();
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["spec"], json!({"replicas": 3}));
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=b"}));
}

async fn the_scale_is_patched(server: &Server) {
    server
        .create("widgets", &widget("sized", &json!({"replicas": 3})))
        .await
        .ok();
    let patch = json!({"spec": {"replicas": 5}});
    let scale = server.merge("widgets/sized/scale", &patch).await.ok();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(5))
    );
    let object = server.get("widgets/sized").await.ok();
    assert_eq!(
        (&object["spec"]["replicas"], generation(&object)),
        (&json!(5), 2)
    );
}

async fn the_scale_is_put_by_version(server: &Server) {
    server
        .create("widgets", &widget("put-scale", &json!({})))
        .await
        .ok();
    let mut scale = server.get("widgets/put-scale/scale").await.ok();
    let old = scale.clone();
    scale["spec"]["replicas"] = json!(4);
    server.put("widgets/put-scale/scale", &scale).await.ok();
    let answer = server.put("widgets/put-scale/scale", &old).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn a_kind_without_a_scale_has_none(server: &Server) {
    server
        .create("configmaps", &config_map("flat", "a"))
        .await
        .ok();
    let answer = server.get("configmaps/flat/scale").await;
    assert_eq!(answer.reason(), (404, "NotFound"));
}

async fn defaults_are_filled_in(server: &Server) {
    let made = server
        .create("widgets", &widget("bare", &json!({})))
        .await
        .ok();
    let spec = json!({"replicas": 1, "colour": "grey", "inner": {"depth": 3}});
    assert_eq!(made["spec"], spec);
}

async fn defaults_come_back(server: &Server) {
    server
        .create("widgets", &widget("reset", &json!({"colour": "red"})))
        .await
        .ok();
    let reset = server
        .merge("widgets/reset", &json!({"spec": {"colour": null}}))
        .await
        .ok();
    assert_eq!(
        (&reset["spec"]["colour"], generation(&reset)),
        (&json!("grey"), 2)
    );
}

async fn unknown_fields_are_dropped(server: &Server) {
    let spec = json!({"size": "a", "height": 3, "inner": {"width": 1}});
    let made = server
        .create("widgets", &widget("pruned", &spec))
        .await
        .ok();
    assert!(made["spec"]["height"].is_null() && made["spec"]["inner"]["width"].is_null());
    let patched = server
        .merge("widgets/pruned", &json!({"spec": {"height": 4}}))
        .await
        .ok();
    assert_eq!(version(&patched), version(&made));
}

async fn nulls_are_dropped_or_defaulted(server: &Server) {
    let spec = json!({"size": null, "colour": null});
    let made = server.create("widgets", &widget("nulls", &spec)).await.ok();
    assert!(made["spec"].get("size").is_none());
    assert_eq!(made["spec"]["colour"], "grey");
}
