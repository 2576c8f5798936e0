//! Watches: from a revision, through selectors, after an end.

use serde_json::{Value, json};

use super::{Server, cases, widget};

cases![
    a_watch_tells_what_happens_after_a_list,
    a_watch_does_not_tell_what_was_before,
    a_watch_through_labels_tells_who_comes_and_goes,
    a_watch_of_a_name_tells_of_no_other,
    a_write_that_changes_nothing_is_not_told,
    a_watch_of_too_old_a_revision_is_expired,
    a_watch_without_a_revision_begins_with_what_is_there,
    a_watch_may_begin_with_a_list,
    a_watch_ends_after_its_time,
    a_deletion_is_told_under_its_own_revision,
    a_held_deletion_is_a_change_first,
];

fn told(events: &[Value]) -> Vec<(&str, &str)> {
    let events = events.iter().filter(|event| event["type"] != "BOOKMARK");
    events
        .map(|event| {
            let name = event["object"]["metadata"]["name"].as_str();
            (event["type"].as_str().unwrap(), name.unwrap_or_default())
        })
        .collect()
}

/// The revision of now.
async fn now(server: &Server) -> String {
    let list = server.get("widgets?limit=1").await.ok();
    list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn labelled(name: &str, group: &str) -> Value {
    let mut object = widget(name, &json!({}));
    object["metadata"]["labels"] = json!({"group": group});
    object
}

async fn a_watch_tells_what_happens_after_a_list(server: &Server) {
    let from = now(server).await;
    server
        .create("widgets", &widget("seen", &json!({})))
        .await
        .ok();
    server
        .merge("widgets/seen", &json!({"spec": {"size": "b"}}))
        .await
        .ok();
    server.delete("widgets/seen", &Value::Null).await.ok();
    let place = format!("widgets?resourceVersion={from}&fieldSelector=metadata.name=seen");
    let events = server.watch(&place, 10, 3).await;
    assert_eq!(
        told(&events),
        [("ADDED", "seen"), ("MODIFIED", "seen"), ("DELETED", "seen")]
    );
    assert_eq!(events[1]["object"]["spec"]["size"], "b");
    assert_eq!(events[0]["object"]["kind"], "Widget");
}

async fn a_watch_does_not_tell_what_was_before(server: &Server) {
    server
        .create("widgets", &widget("early", &json!({})))
        .await
        .ok();
    let from = now(server).await;
    server
        .create("widgets", &widget("later", &json!({})))
        .await
        .ok();
    let place = format!("widgets?resourceVersion={from}");
    let events = server.watch(&place, 10, 1).await;
    assert_eq!(told(&events), [("ADDED", "later")]);
}

async fn a_watch_through_labels_tells_who_comes_and_goes(server: &Server) {
    let from = now(server).await;
    server
        .create("widgets", &labelled("moves", "none"))
        .await
        .ok();
    let label = |group: &str| json!({"metadata": {"labels": {"group": group}}});
    for group in ["moved", "moved", "none"] {
        server.merge("widgets/moves", &label(group)).await.ok();
        server
            .merge("widgets/moves", &json!({"spec": {"size": group}}))
            .await
            .ok();
    }
    let place = format!("widgets?resourceVersion={from}&labelSelector=group=moved");
    let events = server.watch(&place, 10, 3).await;
    let wanted = [
        ("ADDED", "moves"),
        ("MODIFIED", "moves"),
        ("DELETED", "moves"),
    ];
    assert_eq!(told(&events), wanted);
}

async fn a_watch_of_a_name_tells_of_no_other(server: &Server) {
    let from = now(server).await;
    server
        .create("widgets", &widget("not-me", &json!({})))
        .await
        .ok();
    server
        .create("widgets", &widget("me", &json!({})))
        .await
        .ok();
    let place = format!("widgets?resourceVersion={from}&fieldSelector=metadata.name=me");
    let events = server.watch(&place, 10, 1).await;
    assert_eq!(told(&events), [("ADDED", "me")]);
}

async fn a_write_that_changes_nothing_is_not_told(server: &Server) {
    let from = now(server).await;
    server
        .create("widgets", &widget("silent", &json!({"size": "a"})))
        .await
        .ok();
    for size in ["a", "b"] {
        server
            .merge("widgets/silent", &json!({"spec": {"size": size}}))
            .await
            .ok();
    }
    let place = format!("widgets?resourceVersion={from}&fieldSelector=metadata.name=silent");
    let events = server.watch(&place, 10, 2).await;
    assert_eq!(told(&events), [("ADDED", "silent"), ("MODIFIED", "silent")]);
    assert_eq!(events[1]["object"]["spec"]["size"], "b");
}

async fn a_watch_of_too_old_a_revision_is_expired(server: &Server) {
    let events = server.watch("widgets?resourceVersion=1", 10, 1).await;
    assert_eq!(events[0]["type"], "ERROR");
    let status = &events[0]["object"];
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&json!(410), &json!("Expired"))
    );
}

async fn a_watch_without_a_revision_begins_with_what_is_there(server: &Server) {
    server
        .create("widgets", &labelled("there", "start"))
        .await
        .ok();
    let events = server
        .watch("widgets?labelSelector=group=start", 10, 1)
        .await;
    assert_eq!(told(&events), [("ADDED", "there")]);
}

async fn a_watch_may_begin_with_a_list(server: &Server) {
    for name in ["list-a", "list-b"] {
        server
            .create("widgets", &labelled(name, "listed"))
            .await
            .ok();
    }
    let place = "widgets?labelSelector=group=listed&sendInitialEvents=true&allowWatchBookmarks=true\
                 &resourceVersionMatch=NotOlderThan";
    let events = server.watch(place, 10, 3).await;
    assert_eq!(told(&events), [("ADDED", "list-a"), ("ADDED", "list-b")]);
    let end = &events[2];
    assert_eq!(end["type"], "BOOKMARK");
    let mark = &end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"];
    assert_eq!(mark, "true");
}

async fn a_watch_ends_after_its_time(server: &Server) {
    let from = now(server).await;
    let place = format!("widgets?resourceVersion={from}&labelSelector=group=nobodys");
    let events = server.watch(&place, 1, usize::MAX).await;
    assert!(told(&events).is_empty());
}

async fn a_deletion_is_told_under_its_own_revision(server: &Server) {
    let made = server
        .create("widgets", &widget("last", &json!({})))
        .await
        .ok();
    let from = made["metadata"]["resourceVersion"].as_str().unwrap();
    server.delete("widgets/last", &Value::Null).await.ok();
    let place = format!("widgets?resourceVersion={from}&fieldSelector=metadata.name=last");
    let events = server.watch(&place, 10, 1).await;
    let version = events[0]["object"]["metadata"]["resourceVersion"]
        .as_str()
        .unwrap();
    assert_eq!(events[0]["type"], "DELETED");
    assert!(version.parse::<u64>().unwrap() > from.parse().unwrap());
}

async fn a_held_deletion_is_a_change_first(server: &Server) {
    let from = now(server).await;
    let mut object = widget("going", &json!({}));
    object["metadata"]["finalizers"] = json!(["vectorsphere.test/held"]);
    server.create("widgets", &object).await.ok();
    server.delete("widgets/going", &Value::Null).await.ok();
    server
        .merge("widgets/going", &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    let place = format!("widgets?resourceVersion={from}&fieldSelector=metadata.name=going");
    let events = server.watch(&place, 10, 3).await;
    assert_eq!(
        told(&events),
        [
            ("ADDED", "going"),
            ("MODIFIED", "going"),
            ("DELETED", "going")
        ]
    );
    assert!(events[1]["object"]["metadata"]["deletionTimestamp"].is_string());
}
