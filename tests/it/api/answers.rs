//! How answers are written: the shapes that clients read.

use http::Method;
use serde_json::{Value, json};

use super::double::{UUID, served};

#[tokio::test]
async fn the_service_says_who_it_is_and_that_it_is_there() {
    let served = served(None).await;
    let (status, root) = served.send(Method::GET, "/", "").await;
    let root: Value = serde_json::from_str(&root).unwrap();
    assert_eq!((status, &root["title"]), (200, &json!("VectorSphere")));
    assert!(root["version"].as_str().unwrap().starts_with("1.19."));
    for (path, text) in [
        ("/healthz", "healthz check passed"),
        ("/livez", "healthz check passed"),
        ("/readyz", "ready"),
        ("/metrics", "# EOF\n"),
    ] {
        assert_eq!(
            served.send(Method::GET, path, "").await,
            (200, text.to_owned())
        );
    }
    let cluster = served.ok(Method::GET, "/cluster", json!(null)).await;
    assert_eq!(cluster, json!({"status": "disabled"}));
    assert_eq!(
        served.send(Method::GET, "/nowhere", "").await,
        (404, String::new())
    );
    assert_eq!(
        served.send(Method::PUT, "/", "").await,
        (405, String::new())
    );
}

#[tokio::test]
async fn points_are_written_as_clients_read_them() {
    let served = served(None).await;
    let uuid = UUID.to_string();
    let plain = json!([
        {"id": 1, "payload": {"city": "Berlin", "n": 1.1}},
        {"id": uuid, "payload": {}},
    ]);
    let body = json!({"ids": [1, uuid, 99]});
    let path = "/collections/named/points";
    assert_eq!(served.ok(Method::POST, path, body).await, plain);

    let body = json!({"ids": [1], "with_payload": ["n"], "with_vector": true});
    let (_status, text) = served.send(Method::POST, path, body.to_string()).await;
    // Numbers of payloads stay as they were written, floats are as short as they can be.
    let first = r#"{"result":[{"id":1,"payload":{"n":1.1},"vector":{"v":[0.18257418,0.36514837]}}],"status":"ok","#;
    assert!(text.starts_with(first), "{text}");

    let one = served
        .ok(Method::GET, "/collections/plain/points/1", json!(null))
        .await;
    let whole = json!({
        "id": 1,
        "payload": {"city": "Berlin", "n": 1.1},
        "vector": [0.18257418f64, 0.36514837f64],
    });
    assert_eq!(one, whole);
    let path = "/collections/plain/points/0123456789ABCDEF0123456789abcdef";
    assert_eq!(served.ok(Method::GET, path, json!(null)).await["id"], uuid);

    let path = "/collections/plain/points/scroll";
    let body = json!({"with_payload": false});
    let page = served.ok(Method::POST, path, body).await;
    assert_eq!(
        page,
        json!({"points": [{"id": 1}, {"id": uuid}], "next_page_offset": 9})
    );
    let path = "/collections/plain/points/count";
    assert_eq!(
        served.ok(Method::POST, path, json!({})).await,
        json!({"count": 7})
    );
}

#[tokio::test]
async fn found_points_carry_version_and_score() {
    let served = served(None).await;
    let points = json!([
        {"id": 1, "version": 3, "score": 0.9},
        {"id": UUID.to_string(), "version": 4, "score": 0.25},
    ]);
    let path = "/collections/plain/points/query";
    let found = served
        .ok(Method::POST, path, json!({"query": [1, 2, 3, 4]}))
        .await;
    let rounded: Value = serde_json::from_str(&found.to_string()).unwrap();
    assert_eq!(rounded, json!({"points": points}));
    let path = "/collections/plain/points/query/batch";
    let body = json!({"searches": [{"query": [1, 2, 3, 4]}, {"limit": 1}]});
    let found = served.ok(Method::POST, path, body).await;
    assert_eq!(found[0], json!({"points": points}));
    assert_eq!(
        found[1]["points"][0],
        json!({"id": 1, "version": 3, "score": 0.0})
    );
    let empty = served.ok(Method::POST, path, json!({"searches": []})).await;
    assert_eq!(empty, json!([]));
}

#[tokio::test]
async fn writes_say_whether_they_were_waited_for() {
    let served = served(None).await;
    let body = json!({"points": [1]});
    for (query, status) in [
        ("", "acknowledged"),
        ("?wait=false", "acknowledged"),
        (
            "?wait=true&ordering=strong&timeout=5&consistency=majority",
            "completed",
        ),
    ] {
        let path = format!("/collections/plain/points/delete{query}");
        let written = served.ok(Method::POST, &path, body.clone()).await;
        assert_eq!(written, json!({"operation_id": 5, "status": status}));
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one answer, whole")]
async fn collections_are_shown_with_all_that_clients_require() {
    let served = served(None).await;
    let get = async |path: &str| served.ok(Method::GET, path, json!(null)).await;
    let list = json!({"collections": [{"name": "named"}, {"name": "plain"}]});
    assert_eq!(get("/collections").await, list);
    assert_eq!(
        get("/collections/plain/exists").await,
        json!({"exists": true})
    );
    assert_eq!(
        get("/collections/none/exists").await,
        json!({"exists": false})
    );
    let aliases = json!({"aliases": [{"alias_name": "other", "collection_name": "plain"}]});
    assert_eq!(get("/aliases").await, aliases);
    assert_eq!(get("/collections/plain/aliases").await, aliases);
    assert_eq!(get("/collections/other/aliases").await, aliases);
    assert_eq!(
        get("/collections/named/aliases").await,
        json!({"aliases": []})
    );

    let expected = json!({
        "status": "yellow",
        "optimizer_status": "ok",
        "indexed_vectors_count": 5,
        "points_count": 7,
        "segments_count": 1,
        "config": {
            "params": {
                "vectors": {"v": {"size": 2, "distance": "Dot"}},
                "shard_number": 2,
                "replication_factor": 1,
                "write_consistency_factor": 1,
                "on_disk_payload": true,
            },
            "hnsw_config": {
                "m": 32,
                "ef_construct": 100,
                "full_scan_threshold": 10_000,
                "max_indexing_threads": 0,
                "on_disk": false,
            },
            "optimizer_config": {
                "deleted_threshold": 0.2,
                "vacuum_min_vector_number": 1000,
                "default_segment_number": 0,
                "max_segment_size": null,
                "memmap_threshold": null,
                "indexing_threshold": 10_000,
                "flush_interval_sec": 5,
                "max_optimization_threads": null,
            },
            "wal_config": {
                "wal_capacity_mb": 32,
                "wal_segments_ahead": 0,
                "wal_retain_closed": 1,
            },
            "quantization_config": null,
            "metadata": {"team": "a"},
        },
        "payload_schema": {
            "city": {"data_type": "keyword", "points": 2},
            "n": {
                "data_type": "integer",
                "params": {"type": "integer", "lookup": true},
                "points": 0,
            },
        },
        "vectorsphere": {"index": {"algorithm": "flat", "parameters": {}}},
    });
    assert_eq!(get("/collections/named").await, expected);
    let plain = get("/collections/plain").await;
    let vectors = json!({"size": 4, "distance": "Cosine"});
    assert_eq!(plain["config"]["params"]["vectors"], vectors);
    assert_eq!(plain.get("vectorsphere"), None);
}

#[tokio::test]
async fn changes_of_collections_answer_true_or_false() {
    let served = served(None).await;
    let body = json!({"vectors": {"size": 4, "distance": "Dot"}});
    assert_eq!(
        served.ok(Method::PUT, "/collections/new", body).await,
        json!(true)
    );
    let body = json!({"hnsw_config": {"m": 8}});
    assert_eq!(
        served.ok(Method::PATCH, "/collections/plain", body).await,
        json!(true)
    );
    let delete = async |path: &str| served.ok(Method::DELETE, path, json!(null)).await;
    assert_eq!(delete("/collections/plain").await, json!(true));
    assert_eq!(delete("/collections/none").await, json!(false));
    let path = "/collections/plain/index?wait=true";
    let body = json!({"field_name": "city", "field_schema": "keyword"});
    let made = served.ok(Method::PUT, path, body).await;
    assert_eq!(made, json!({"operation_id": 11, "status": "completed"}));
    let gone = delete("/collections/plain/index/city").await;
    assert_eq!(gone, json!({"operation_id": 12, "status": "acknowledged"}));
    let actions = json!({"actions": [{"delete_alias": {"alias_name": "other"}}]});
    let done = served
        .ok(Method::POST, "/collections/aliases", actions)
        .await;
    assert_eq!(done, json!(true));
}
