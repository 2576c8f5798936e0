//! Lists: selectors, pages, metadata alone.

use serde_json::{Value, json};

use super::{Server, cases, config_map, widget};

cases![
    labels_select,
    a_field_selects,
    pages_follow_each_other,
    a_wrong_page_is_refused,
    metadata_is_listed_alone,
    metadata_is_got_alone,
    a_list_is_of_its_kind,
    a_list_is_sorted_by_name,
    an_empty_list_is_one,
];

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

/// Three widgets with labels, in a group of their own.
async fn three(server: &Server, group: &str) {
    for (name, colour) in [("a", "red"), ("b", "blue"), ("c", "")] {
        let mut object = widget(&format!("{group}-{name}"), &json!({}));
        object["metadata"]["labels"] = json!({"group": group});
        if !colour.is_empty() {
            object["metadata"]["labels"]["colour"] = json!(colour);
        }
        server.create("widgets", &object).await.ok();
    }
}

async fn labels_select(server: &Server) {
    three(server, "labels").await;
    for (selector, wanted) in [
        ("colour=red", &["labels-a"][..]),
        ("colour==red", &["labels-a"]),
        ("colour!=red", &["labels-b", "labels-c"]),
        ("colour", &["labels-a", "labels-b"]),
        ("!colour", &["labels-c"]),
        ("colour+in+(red,blue)", &["labels-a", "labels-b"]),
        ("colour+notin+(red)", &["labels-b", "labels-c"]),
        ("colour,colour!=blue", &["labels-a"]),
        ("colour=green", &[]),
    ] {
        let selector = selector.replace('!', "%21");
        let place = format!("widgets?labelSelector=group=labels,{selector}");
        let list = server.get(&place).await.ok();
        assert_eq!(names(&list), wanted, "{selector}");
    }
}

async fn a_field_selects(server: &Server) {
    three(server, "fields").await;
    let list = server
        .get("widgets?fieldSelector=metadata.name=fields-b")
        .await
        .ok();
    assert_eq!(names(&list), ["fields-b"]);
    let place = "widgets?labelSelector=group=fields&fieldSelector=metadata.name!=fields-b";
    let list = server.get(place).await.ok();
    assert_eq!(names(&list), ["fields-a", "fields-c"]);
}

async fn pages_follow_each_other(server: &Server) {
    for name in ["a", "b", "c", "d", "e"] {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("page-{name}")},
        });
        server.create("secrets", &object).await.ok();
    }
    let (mut found, mut token) = (Vec::new(), String::new());
    let mut pages = 0;
    loop {
        let page = server
            .get(&format!("secrets?limit=2&continue={token}"))
            .await
            .ok();
        found.extend(names(&page).into_iter().map(ToOwned::to_owned));
        assert!(names(&page).len() <= 2);
        pages += 1;
        match page["metadata"]["continue"].as_str() {
            Some(next) if !next.is_empty() => next.clone_into(&mut token),
            _ => break,
        }
    }
    found.retain(|name| name.starts_with("page-"));
    assert_eq!(found, ["page-a", "page-b", "page-c", "page-d", "page-e"]);
    assert!(pages >= 3, "{pages}");
}

async fn a_wrong_page_is_refused(server: &Server) {
    let answer = server.get("widgets?limit=2&continue=nonsense").await;
    assert_eq!(answer.code, 400);
}

async fn metadata_is_listed_alone(server: &Server) {
    three(server, "alone").await;
    let answer = server
        .get_metadata("widgets?labelSelector=group=alone", "List")
        .await;
    let list = answer.ok();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&list), ["alone-a", "alone-b", "alone-c"]);
    assert!(list["items"][0]["spec"].is_null());
    assert_eq!(list["items"][0]["metadata"]["labels"]["colour"], "red");
}

async fn metadata_is_got_alone(server: &Server) {
    server
        .create("configmaps", &config_map("bare", "a"))
        .await
        .ok();
    let object = server.get_metadata("configmaps/bare", "").await.ok();
    assert_eq!(object["kind"], "PartialObjectMetadata");
    assert_eq!(
        (&object["metadata"]["name"], &object["data"]),
        (&json!("bare"), &Value::Null)
    );
    let missing = server.get_metadata("configmaps/never", "").await;
    assert_eq!(missing.reason(), (404, "NotFound"));
}

async fn a_list_is_of_its_kind(server: &Server) {
    let list = server.get("widgets").await.ok();
    assert_eq!(list["kind"], "WidgetList");
    assert_eq!(list["apiVersion"], "contract.vectorsphere.test/v1");
    let version: u64 = list["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let made = server
        .create("widgets", &widget("after-list", &json!({})))
        .await
        .ok();
    let after: u64 = made["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(after > version);
}

async fn a_list_is_sorted_by_name(server: &Server) {
    for name in ["sort-c", "sort-a", "sort-b"] {
        server
            .create("configmaps", &config_map(name, "a"))
            .await
            .ok();
    }
    let list = server.get("configmaps").await.ok();
    let sorted = names(&list);
    let sorted: Vec<&str> = sorted
        .into_iter()
        .filter(|name| name.starts_with("sort-"))
        .collect();
    assert_eq!(sorted, ["sort-a", "sort-b", "sort-c"]);
}

async fn an_empty_list_is_one(server: &Server) {
    let list = server.get("widgets?labelSelector=group=nobodys").await.ok();
    assert_eq!(list["items"], json!([]));
}
