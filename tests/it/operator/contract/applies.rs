//! Server-side apply: who manages what.

use serde_json::{Value, json};

use super::{Answer, By, Server, cases, config_map, widget};

cases![
    apply_makes_and_then_changes,
    apply_of_the_same_writes_nothing,
    what_is_applied_no_more_is_removed,
    what_others_set_stays,
    another_value_of_anothers_is_a_conflict,
    force_takes_it,
    the_same_value_is_shared,
    who_shares_a_value_keeps_it,
    a_merge_patch_takes_a_field_over,
    managers_are_told,
    items_of_a_map_are_each_somebodys,
    items_of_a_map_go_with_their_manager,
    the_last_item_leaves_nothing,
    the_last_key_leaves_nothing,
    ports_are_known_by_number_and_protocol,
    a_set_is_put_together,
    a_list_is_written_whole,
    maps_of_texts_are_put_together,
    defaults_are_nobodys,
    owners_are_known_by_uid,
    the_last_label_goes,
    apply_of_an_old_version_is_a_conflict,
    apply_of_another_uid_is_invalid,
    apply_needs_a_manager,
    apply_of_the_object_leaves_the_status,
    apply_of_the_status_leaves_the_object,
    replicas_that_were_scaled_are_anothers,
];

async fn apply(server: &Server, by: &'static str, place: &str, object: &Value) -> Answer {
    server.apply(place, By(by, false), object).await
}

fn version(object: &Value) -> &Value {
    &object["metadata"]["resourceVersion"]
}

async fn apply_makes_and_then_changes(server: &Server) {
    let made = apply(server, "one", "configmaps/apply", &config_map("apply", "a")).await;
    assert_eq!(made.code, 201);
    let changed = apply(server, "one", "configmaps/apply", &config_map("apply", "b")).await;
    assert_eq!(
        (changed.code, &changed.body["data"]["value"]),
        (200, &json!("b"))
    );
    assert_eq!(
        changed.body["metadata"]["uid"],
        made.body["metadata"]["uid"]
    );
}

async fn apply_of_the_same_writes_nothing(server: &Server) {
    let object = widget(
        "again",
        &json!({"size": "a", "parts": [{"name": "x", "text": "y"}]}),
    );
    let one = apply(server, "one", "widgets/again", &object).await.ok();
    let two = apply(server, "one", "widgets/again", &object).await.ok();
    assert_eq!(version(&one), version(&two));
    assert_eq!(two["metadata"]["generation"], 1);
}

async fn what_is_applied_no_more_is_removed(server: &Server) {
    let mut object = config_map("less", "a");
    object["data"]["more"] = json!("b");
    object["metadata"]["labels"] = json!({"x": "1", "y": "2"});
    apply(server, "one", "configmaps/less", &object).await.ok();
    let mut object = config_map("less", "a");
    object["metadata"]["labels"] = json!({"y": "2"});
    let less = apply(server, "one", "configmaps/less", &object).await.ok();
    assert_eq!(less["data"], json!({"value": "a"}));
    assert_eq!(less["metadata"]["labels"], json!({"y": "2"}));
}

async fn what_others_set_stays(server: &Server) {
    apply(
        server,
        "one",
        "configmaps/others",
        &config_map("others", "a"),
    )
    .await
    .ok();
    let patch = json!({"data": {"more": "b"}, "metadata": {"annotations": {"n": "m"}}});
    server.merge("configmaps/others", &patch).await.ok();
    let after = apply(
        server,
        "one",
        "configmaps/others",
        &config_map("others", "c"),
    )
    .await
    .ok();
    assert_eq!(after["data"], json!({"value": "c", "more": "b"}));
    assert_eq!(after["metadata"]["annotations"], json!({"n": "m"}));
}

async fn another_value_of_anothers_is_a_conflict(server: &Server) {
    apply(server, "one", "configmaps/clash", &config_map("clash", "a"))
        .await
        .ok();
    let answer = apply(server, "two", "configmaps/clash", &config_map("clash", "b")).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
    let cause = &answer.body["details"]["causes"][0];
    assert_eq!(
        (&cause["reason"], &cause["field"]),
        (&json!("FieldManagerConflict"), &json!(".data.value"))
    );
    assert_eq!(cause["message"], "conflict with \"one\"");
    let kept = server.get("configmaps/clash").await.ok();
    assert_eq!(kept["data"]["value"], "a");
}

async fn force_takes_it(server: &Server) {
    apply(server, "one", "configmaps/force", &config_map("force", "a"))
        .await
        .ok();
    let taken = server
        .apply(
            "configmaps/force",
            By("two", true),
            &config_map("force", "b"),
        )
        .await;
    assert_eq!(taken.ok()["data"]["value"], "b");
    let back = apply(server, "one", "configmaps/force", &config_map("force", "a")).await;
    assert_eq!(back.reason(), (409, "Conflict"));
}

async fn the_same_value_is_shared(server: &Server) {
    apply(server, "one", "configmaps/share", &config_map("share", "a"))
        .await
        .ok();
    let both = apply(server, "two", "configmaps/share", &config_map("share", "a")).await;
    assert_eq!(both.code, 200);
    let answer = apply(server, "one", "configmaps/share", &config_map("share", "b")).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn who_shares_a_value_keeps_it(server: &Server) {
    apply(server, "one", "configmaps/kept", &config_map("kept", "a"))
        .await
        .ok();
    apply(server, "two", "configmaps/kept", &config_map("kept", "a"))
        .await
        .ok();
    let mut without = config_map("kept", "a");
    without["data"] = json!({"other": "b"});
    let after = apply(server, "one", "configmaps/kept", &without).await.ok();
    assert_eq!(after["data"], json!({"value": "a", "other": "b"}));
    without["data"] = json!({"third": "c"});
    let after = apply(server, "two", "configmaps/kept", &without).await.ok();
    assert_eq!(after["data"], json!({"other": "b", "third": "c"}));
}

async fn a_merge_patch_takes_a_field_over(server: &Server) {
    apply(server, "one", "configmaps/over", &config_map("over", "a"))
        .await
        .ok();
    server
        .merge("configmaps/over", &json!({"data": {"value": "b"}}))
        .await
        .ok();
    let answer = apply(server, "one", "configmaps/over", &config_map("over", "a")).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
    let cause = &answer.body["details"]["causes"][0]["message"];
    assert!(
        cause
            .as_str()
            .unwrap()
            .starts_with("conflict with \"contract\" using v1"),
        "{cause}"
    );
}

async fn managers_are_told(server: &Server) {
    let spec = json!({"size": "a", "parts": [{"name": "x", "text": "y"}]});
    apply(server, "one", "widgets/told", &widget("told", &spec))
        .await
        .ok();
    let object = server
        .merge("widgets/told/status", &json!({"status": {"phase": "Done"}}))
        .await
        .ok();
    let managers = object["metadata"]["managedFields"].as_array().unwrap();
    let of = |name: &str| {
        let found = managers.iter().find(|one| one["manager"] == name);
        found.unwrap().clone()
    };
    let one = of("one");
    assert_eq!(
        (&one["operation"], &one["fieldsType"]),
        (&json!("Apply"), &json!("FieldsV1"))
    );
    let fields = json!({"f:spec": {
        "f:size": {}, "f:parts": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:text": {}}},
    }});
    assert_eq!(one["fieldsV1"], fields);
    let other = of("contract");
    assert_eq!(
        (&other["operation"], &other["subresource"]),
        (&json!("Update"), &json!("status"))
    );
    assert_eq!(other["fieldsV1"]["f:status"]["f:phase"], json!({}));
}

async fn items_of_a_map_are_each_somebodys(server: &Server) {
    let parts = |parts: Value| widget("items", &json!({ "parts": parts }));
    let x = parts(json!([{"name": "x", "text": "1"}]));
    apply(server, "one", "widgets/items", &x).await.ok();
    let y = parts(json!([{"name": "y", "text": "2"}]));
    let both = apply(server, "two", "widgets/items", &y).await.ok();
    let all = json!([{"name": "x", "text": "1"}, {"name": "y", "text": "2"}]);
    assert_eq!(both["spec"]["parts"], all);
    let clash = parts(json!([{"name": "x", "text": "3"}]));
    let answer = apply(server, "two", "widgets/items", &clash).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn items_of_a_map_go_with_their_manager(server: &Server) {
    let parts = |parts: Value| widget("leave", &json!({ "parts": parts }));
    let both = parts(json!([{"name": "x", "text": "1"}, {"name": "y", "text": "2"}]));
    apply(server, "one", "widgets/leave", &both).await.ok();
    let more = parts(json!([{"name": "z", "text": "3"}]));
    apply(server, "two", "widgets/leave", &more).await.ok();
    let one = parts(json!([{"name": "y", "text": "2"}]));
    let after = apply(server, "one", "widgets/leave", &one).await.ok();
    let left = json!([{"name": "y", "text": "2"}, {"name": "z", "text": "3"}]);
    assert_eq!(after["spec"]["parts"], left);
}

async fn the_last_item_leaves_nothing(server: &Server) {
    let spec = json!({"size": "a", "parts": [{"name": "x", "text": "1"}]});
    apply(server, "one", "widgets/no-item", &widget("no-item", &spec))
        .await
        .ok();
    let none = widget("no-item", &json!({"size": "a"}));
    let after = apply(server, "one", "widgets/no-item", &none).await.ok();
    assert!(after["spec"].get("parts").is_none(), "{}", after["spec"]);
}

async fn the_last_key_leaves_nothing(server: &Server) {
    let spec = json!({"size": "a", "limits": {"x": "1"}});
    apply(server, "one", "widgets/no-key", &widget("no-key", &spec))
        .await
        .ok();
    let none = widget("no-key", &json!({"size": "a"}));
    let after = apply(server, "one", "widgets/no-key", &none).await.ok();
    assert!(after["spec"].get("limits").is_none(), "{}", after["spec"]);
}

async fn ports_are_known_by_number_and_protocol(server: &Server) {
    let service = |name: &str, port: u16| {
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "ports"},
            "spec": {"clusterIP": "None", "selector": {"a": "b"},
                "ports": [{"name": name, "port": port, "targetPort": port}]},
        })
    };
    apply(server, "one", "services/ports", &service("http", 80))
        .await
        .ok();
    let both = apply(server, "two", "services/ports", &service("rpc", 81))
        .await
        .ok();
    let ports = both["spec"]["ports"].as_array().unwrap();
    let numbers: Vec<&Value> = ports.iter().map(|port| &port["port"]).collect();
    assert_eq!(numbers, [&json!(80), &json!(81)]);
    let again = apply(server, "two", "services/ports", &service("rpc", 81))
        .await
        .ok();
    assert_eq!(version(&again), version(&both));
}

async fn a_set_is_put_together(server: &Server) {
    let marks = |marks: Value| widget("marks", &json!({ "marks": marks }));
    apply(server, "one", "widgets/marks", &marks(json!(["a", "b"])))
        .await
        .ok();
    apply(server, "two", "widgets/marks", &marks(json!(["b", "c"])))
        .await
        .ok();
    let after = apply(server, "one", "widgets/marks", &marks(json!(["a"])))
        .await
        .ok();
    assert_eq!(after["spec"]["marks"], json!(["a", "b", "c"]));
    let after = apply(server, "two", "widgets/marks", &marks(json!(["c"])))
        .await
        .ok();
    assert_eq!(after["spec"]["marks"], json!(["a", "c"]));
}

async fn a_list_is_written_whole(server: &Server) {
    let words = |words: Value| widget("words", &json!({ "words": words }));
    apply(server, "one", "widgets/words", &words(json!(["a", "b"])))
        .await
        .ok();
    let after = apply(server, "one", "widgets/words", &words(json!(["c"])))
        .await
        .ok();
    assert_eq!(after["spec"]["words"], json!(["c"]));
    let answer = apply(server, "two", "widgets/words", &words(json!(["d"]))).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn maps_of_texts_are_put_together(server: &Server) {
    let limits = |limits: Value| widget("limits", &json!({ "limits": limits }));
    apply(server, "one", "widgets/limits", &limits(json!({"a": "1"})))
        .await
        .ok();
    apply(server, "two", "widgets/limits", &limits(json!({"b": "2"})))
        .await
        .ok();
    let after = apply(server, "one", "widgets/limits", &limits(json!({"c": "3"})))
        .await
        .ok();
    assert_eq!(after["spec"]["limits"], json!({"b": "2", "c": "3"}));
}

async fn defaults_are_nobodys(server: &Server) {
    apply(
        server,
        "one",
        "widgets/grey",
        &widget("grey", &json!({"size": "a"})),
    )
    .await
    .ok();
    let red = widget("grey", &json!({"colour": "red"}));
    let after = apply(server, "two", "widgets/grey", &red).await.ok();
    assert_eq!(after["spec"]["colour"], "red");
    let none = widget("grey", &json!({"size": "a"}));
    let after = apply(server, "two", "widgets/grey", &none).await.ok();
    assert_eq!(after["spec"]["colour"], "grey");
}

async fn owners_are_known_by_uid(server: &Server) {
    let owner = |name: &str, uid: &Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    let first = server
        .create("configmaps", &config_map("first", "a"))
        .await
        .ok();
    let second = server
        .create("configmaps", &config_map("second", "a"))
        .await
        .ok();
    let owned = |owner: Value| {
        let mut object = config_map("owned", "a");
        object["metadata"]["ownerReferences"] = json!([owner]);
        object
    };
    let one = owned(owner("first", &first["metadata"]["uid"]));
    apply(server, "one", "configmaps/owned", &one).await.ok();
    let two = owned(owner("second", &second["metadata"]["uid"]));
    let both = apply(server, "two", "configmaps/owned", &two).await.ok();
    assert_eq!(
        both["metadata"]["ownerReferences"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

async fn the_last_label_goes(server: &Server) {
    let mut object = config_map("label", "a");
    object["metadata"]["labels"] = json!({"x": "1"});
    apply(server, "one", "configmaps/label", &object).await.ok();
    let after = apply(server, "one", "configmaps/label", &config_map("label", "a"))
        .await
        .ok();
    assert!(
        after["metadata"]["labels"].is_null(),
        "{:#}",
        after["metadata"]
    );
}

async fn apply_of_an_old_version_is_a_conflict(server: &Server) {
    let made = apply(server, "one", "configmaps/aged", &config_map("aged", "a"))
        .await
        .ok();
    apply(server, "one", "configmaps/aged", &config_map("aged", "b"))
        .await
        .ok();
    let mut object = config_map("aged", "c");
    object["metadata"]["resourceVersion"] = version(&made).clone();
    let answer = apply(server, "one", "configmaps/aged", &object).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
}

async fn apply_of_another_uid_is_invalid(server: &Server) {
    apply(
        server,
        "one",
        "configmaps/apply-uid",
        &config_map("apply-uid", "a"),
    )
    .await
    .ok();
    let mut object = config_map("apply-uid", "c");
    object["metadata"]["uid"] = json!("11111111-2222-4333-8444-555555555555");
    let answer = apply(server, "one", "configmaps/apply-uid", &object).await;
    assert_eq!(answer.reason(), (422, "Invalid"));
}

async fn apply_needs_a_manager(server: &Server) {
    let answer = apply(server, "", "configmaps/nobody", &config_map("nobody", "a")).await;
    assert_eq!(answer.code, 422);
}

async fn apply_of_the_object_leaves_the_status(server: &Server) {
    let object = widget("leaves", &json!({"size": "a"}));
    apply(server, "one", "widgets/leaves", &object).await.ok();
    server
        .merge(
            "widgets/leaves/status",
            &json!({"status": {"phase": "Done"}}),
        )
        .await
        .ok();
    let mut with = widget("leaves", &json!({"size": "b"}));
    with["status"] = json!({"phase": "Other"});
    let after = apply(server, "one", "widgets/leaves", &with).await.ok();
    assert_eq!(
        (&after["spec"]["size"], &after["status"]["phase"]),
        (&json!("b"), &json!("Done"))
    );
}

async fn apply_of_the_status_leaves_the_object(server: &Server) {
    let object = widget("apart", &json!({"size": "a"}));
    apply(server, "one", "widgets/apart", &object).await.ok();
    let status = json!({
        "apiVersion": "contract.vectorsphere.test/v1", "kind": "Widget",
        "status": {"phase": "Done", "replicas": 1},
    });
    let after = apply(server, "one", "widgets/apart/status", &status)
        .await
        .ok();
    assert_eq!(
        (&after["spec"]["size"], &after["status"]["replicas"]),
        (&json!("a"), &json!(1))
    );
    let less = json!({
        "apiVersion": "contract.vectorsphere.test/v1", "kind": "Widget",
        "status": {"phase": "Done"},
    });
    let after = apply(server, "one", "widgets/apart/status", &less)
        .await
        .ok();
    assert_eq!(after["status"], json!({"phase": "Done"}));
    assert_eq!(after["spec"]["size"], "a");
}

async fn replicas_that_were_scaled_are_anothers(server: &Server) {
    let object = widget("scaled", &json!({"replicas": 2}));
    apply(server, "one", "widgets/scaled", &object).await.ok();
    server
        .merge("widgets/scaled/scale", &json!({"spec": {"replicas": 4}}))
        .await
        .ok();
    let answer = apply(server, "one", "widgets/scaled", &object).await;
    assert_eq!(answer.reason(), (409, "Conflict"));
    let without = widget("scaled", &json!({"size": "a"}));
    let after = apply(server, "one", "widgets/scaled", &without).await.ok();
    assert_eq!(after["spec"]["replicas"], 4);
}
