//! From `dev` to an answer: every route that is built, over the real path.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::local_cluster::LocalCluster;
use crate::support::wait_for::wait_for;

fn names(points: &Value) -> Vec<Value> {
    points
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["id"].clone())
        .collect()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn a_laptop_cluster_answers_searches_and_finds_its_data_again() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let vectors = json!({"vectors": {"size": 4, "distance": "Dot"}});
    cluster.must("PUT", "/collections/c", &vectors).await;
    let uuid = "550e8400-e29b-41d4-a716-446655440000";
    let points = json!({"points": [
        {"id": 1, "vector": [1, 0, 0, 0], "payload": {"city": "Berlin", "n": 1}},
        {"id": 2, "vector": [0, 1, 0, 0], "payload": {"city": "Paris", "n": 2}},
        {"id": uuid, "vector": [0.5, 0.5, 0, 0], "payload": {"city": "Berlin"}},
    ]});
    cluster
        .must("PUT", "/collections/c/points?wait=true", &points)
        .await;
    let nearest = json!({"query": [1, 0.1, 0, 0], "limit": 2, "with_payload": true});
    let found = cluster
        .must("POST", "/collections/c/points/query", &nearest)
        .await;
    assert_eq!(names(&found["points"]), [json!(1), json!(uuid)]);
    assert_eq!(found["points"][0]["payload"]["city"], "Berlin");
    cluster
        .must(
            "PUT",
            "/collections/c/index?wait=true",
            &json!({"field_name": "city", "field_schema": "keyword"}),
        )
        .await;
    let berlin = json!({"must": [{"key": "city", "match": {"value": "Berlin"}}]});
    let count = cluster
        .must(
            "POST",
            "/collections/c/points/count",
            &json!({"filter": berlin}),
        )
        .await;
    assert_eq!(count["count"], 2);
    let filtered = json!({"query": [0, 1, 0, 0], "filter": berlin, "limit": 1});
    let found = cluster
        .must("POST", "/collections/c/points/query", &filtered)
        .await;
    assert_eq!(names(&found["points"]), [json!(uuid)]);
    let by_id = json!({"query": 1, "limit": 5});
    let found = cluster
        .must("POST", "/collections/c/points/query", &by_id)
        .await;
    assert_eq!(names(&found["points"]), [json!(uuid), json!(2)]);
    let gone = json!({"points": [2]});
    cluster
        .must("POST", "/collections/c/points/delete?wait=true", &gone)
        .await;
    let alias = json!({"actions": [
        {"create_alias": {"collection_name": "c", "alias_name": "a"}},
    ]});
    cluster.must("POST", "/collections/aliases", &alias).await;
    let all = cluster
        .must(
            "POST",
            "/collections/a/points/scroll",
            &json!({"limit": 10}),
        )
        .await;
    assert_eq!(names(&all["points"]), [json!(1), json!(uuid)]);

    assert_eq!(cluster.terminate(), Some(0));
    let cluster = LocalCluster::start(folder.path(), None);
    // Nobody has asked for a point yet: how the shard is must be known all the same.
    let info = wait_for("it is known how it is", Duration::from_secs(10), || async {
        let info = cluster.must("GET", "/collections/c", &Value::Null).await;
        (info["status"] == "green").then_some(info)
    })
    .await;
    assert_eq!(info["points_count"], json!(2));
    assert_eq!(info["payload_schema"]["city"]["points"], json!(2));
    let all = cluster
        .must(
            "POST",
            "/collections/a/points/scroll",
            &json!({"limit": 10}),
        )
        .await;
    assert_eq!(names(&all["points"]), [json!(1), json!(uuid)]);
    assert_eq!(
        cluster.must("DELETE", "/collections/c", &Value::Null).await,
        json!(true)
    );
    assert_eq!(
        cluster.ask("GET", "/collections/c", &Value::Null).await.0,
        404
    );
    assert_eq!(
        cluster.must("DELETE", "/collections/c", &Value::Null).await,
        json!(false)
    );
}

#[tokio::test]
async fn shards_on_several_workers_answer_as_one_over_either_routing() {
    for routing in ["Direct", "ViaMaster"] {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("cluster.yaml");
        let text = format!(
            "apiVersion: vectorsphere.io/v1alpha1\nkind: VectorCluster\nmetadata:\n  name: three\n\
             spec:\n  version: 0.1.0\n  gateway:\n    replicas: 1\n    routing: {routing}\n  \
             master:\n    replicas: 1\n  worker:\n    replicas: 3\n    storage:\n      size: 1Gi\n  \
             etcd:\n    managed: {{}}\n"
        );
        fs_err::write(&manifest, text).unwrap();
        let cluster = LocalCluster::start(&folder.path().join("data"), Some(&manifest));
        let vectors = json!({"vectors": {"size": 2, "distance": "Euclid"}});
        cluster.must("PUT", "/collections/c", &vectors).await;
        let points: Vec<Value> = (0..100)
            .map(|id| json!({"id": id, "vector": [id, 0], "payload": {"even": id % 2 == 0}}))
            .collect();
        cluster
            .must(
                "PUT",
                "/collections/c/points?wait=true",
                &json!({"points": points}),
            )
            .await;
        let count = cluster
            .must("POST", "/collections/c/points/count", &json!({}))
            .await;
        assert_eq!(count["count"], 100, "{routing}");
        let near = json!({"query": [42.2, 0], "limit": 3, "offset": 1});
        let found = cluster
            .must("POST", "/collections/c/points/query", &near)
            .await;
        assert_eq!(
            names(&found["points"]),
            [json!(43), json!(41), json!(44)],
            "{routing}"
        );
        let (mut walked, mut offset) = (Vec::new(), Value::Null);
        loop {
            let page = json!({"limit": 7, "offset": offset});
            let page = cluster
                .must("POST", "/collections/c/points/scroll", &page)
                .await;
            walked.extend(names(&page["points"]));
            offset = page["next_page_offset"].clone();
            if offset.is_null() {
                break;
            }
        }
        let expected: Vec<Value> = (0..100).map(|id| json!(id)).collect();
        assert_eq!(walked, expected, "{routing}");
        let odd = json!({"filter": {"must": [{"key": "even", "match": {"value": false}}]}});
        cluster
            .must("POST", "/collections/c/points/delete?wait=true", &odd)
            .await;
        let count = cluster
            .must("POST", "/collections/c/points/count", &json!({}))
            .await;
        assert_eq!(count["count"], 50, "{routing}");
    }
}

#[tokio::test]
async fn every_process_counts_what_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    cluster.must("PUT", "/collections/c", &vectors).await;
    let points = json!({"points": [{"id": 1, "vector": [1, 2]}, {"id": 2, "vector": [2, 1]}]});
    cluster
        .must("PUT", "/collections/c/points?wait=true", &points)
        .await;
    let query = json!({"query": [1, 1]});
    cluster
        .must("POST", "/collections/c/points/query", &query)
        .await;
    let absent = cluster.ask("POST", "/collections/x/points/query", &query);
    assert_eq!(absent.await.0, 404);
    let told = [
        (
            "gateway",
            r#"vectorsphere_gateway_requests_total{operation="query",outcome="done"} 1"#,
        ),
        (
            "gateway",
            r#"vectorsphere_gateway_requests_total{operation="query",outcome="not_found"} 1"#,
        ),
        (
            "gateway",
            r#"vectorsphere_gateway_request_seconds_count{operation="upsert"} 1"#,
        ),
        (
            "master",
            r#"vectorsphere_master_changes_total{operation="create_collection",outcome="done"} 1"#,
        ),
        ("worker", "vectorsphere_worker_points_written_total 2"),
        ("worker", "vectorsphere_worker_search_seconds_count 1"),
        ("worker", "vectorsphere_worker_write_seconds_count 1"),
        ("worker", "vectorsphere_worker_shards 1"),
        ("worker", "vectorsphere_process_ready 1"),
        ("gateway", "vectorsphere_process_ready 1"),
    ];
    for (role, line) in told {
        let what = format!("the {role} tells {line}");
        wait_for(&what, Duration::from_secs(30), || async {
            let metrics = cluster.metrics(role).await;
            metrics.lines().any(|told| told == line).then_some(())
        })
        .await;
    }
    let metrics = cluster.metrics("master").await;
    assert!(!metrics.contains("vectorsphere_master_term 0"), "{metrics}");
}
