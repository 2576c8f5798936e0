//! What is not built, and what fails behind the gateway, says so.

use serde_json::{Value, json};
use vectorsphere::fault::{Fault, Kind};
use vectorsphere::gateway::Error;
use vectorsphere::{router, rpc, store};

use super::double::served;
use super::refusals::check;

#[tokio::test]
async fn what_is_not_built_says_so_by_name() {
    let served = served(None).await;
    let vectors = r#""vectors": {"size": 4, "distance": "Dot"}"#;
    let put = |rest: &str| format!("{{{vectors}, {rest}}}");
    let (copies, sparse) = (
        put(r#""replication_factor": 2"#),
        put(r#""sparse_vectors": {"s": {}}"#),
    );
    let custom = put(r#""sharding_method": "custom""#);
    let q = "plain/points/query";
    check(&served, &[
        ("PUT", "new", &copies, 501, "replication_factor above 1"),
        ("PUT", "new", &sparse, 501, "sparse vectors"),
        ("PUT", "new", &custom, 501, "custom sharding"),
        ("PUT", "new", "{}", 501, "without vectors"),
        ("PUT", "new", r#"{"vectors": {"a": {"size": 1, "distance": "Dot"}, "b": {"size": 1, "distance": "Dot"}}}"#, 501, "several vectors"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Dot", "multivector_config": {}}}"#, 501, "multivectors"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Dot", "datatype": "uint8"}}"#, 501, "datatype"),
        ("PUT", "plain/index", r#"{"field_name": "a", "field_schema": "geo"}"#, 501, "payload index `geo`"),
        ("PUT", "plain/index", r#"{"field_name": "a"}"#, 501, "guessed"),
        ("POST", q, r#"{"query": {"recommend": {"positive": [1]}}}"#, 501, "recommend"),
        ("POST", q, r#"{"query": {"fusion": "rrf"}, "prefetch": [{}]}"#, 501, "prefetch"),
        ("POST", q, r#"{"query": {"fusion": "rrf"}}"#, 501, "fusion"),
        ("POST", q, r#"{"query": {"nearest": [1, 2, 3, 4], "mmr": {"diversity": 1}}}"#, 501, "mmr"),
        ("POST", q, r#"{"query": {"nearest": {"indices": [1], "values": [1]}}}"#, 501, "sparse vectors"),
        ("POST", q, r#"{"query": {"text": "a", "model": "b"}}"#, 501, "inference"),
        ("POST", q, r#"{"query": [[1, 2, 3, 4]]}"#, 501, "multivectors"),
        ("POST", q, r#"{"query": {"sample": "random"}}"#, 501, "sample"),
        ("POST", q, r#"{"lookup_from": {"collection": "x"}}"#, 501, "lookup_from"),
        ("POST", q, r#"{"filter": {"must": {"key": "a", "geo_radius": {}}}}"#, 501, "geo_radius"),
        ("POST", q, r#"{"filter": {"must": {"key": "a", "match": {"text": "x"}}}}"#, 501, "match text"),
        ("POST", "plain/points/scroll", r#"{"order_by": "a"}"#, 501, "order_by"),
        ("POST", "plain/points/query/groups", "{}", 501, "not built yet: query groups"),
        ("PUT", "plain/points/vectors", "{}", 501, "not built yet: updating vectors"),
        ("POST", "plain/points/vectors/delete", "{}", 501, "not built yet: deleting vectors"),
        ("POST", "plain/points/batch", "{}", 501, "not built yet: batch updates"),
        ("POST", "plain/points/search", "{}", 501, "points/query"),
        ("POST", "plain/points/recommend/groups", "{}", 501, "points/query"),
        ("POST", "plain/facet", "{}", 501, "not built yet: facet"),
        ("POST", "plain/snapshots", "", 501, "not built yet: snapshots"),
        ("GET", "plain/cluster", "", 501, "not built yet: collection cluster info"),
    ]).await;
}

#[tokio::test]
async fn failures_behind_the_gateway_keep_their_kind_and_name_the_shard() {
    let served = served(None).await;
    let path = "/collections/plain/points/query";
    for (kind, code, status, retry) in [
        (Kind::InvalidInput, "x", 400, false),
        (Kind::NotFound, "x", 404, false),
        (Kind::AlreadyExists, "x", 409, false),
        (Kind::Conflict, "x", 409, false),
        (Kind::Unavailable, "x", 503, true),
        (Kind::Timeout, "x", 504, false),
        (Kind::Exhausted, "x", 429, true),
        (Kind::NoRoom, "x", 507, false),
        (Kind::UnknownOutcome, "x", 502, false),
        (Kind::Unimplemented, "x", 501, false),
        (Kind::Corrupt, "x", 500, false),
        (Kind::Internal, "x", 500, false),
    ] {
        *served.double.failure.lock().unwrap() = Some((kind, code));
        let request = served
            .client
            .post(&served.url(path))
            .body(r#"{"query": [1, 2, 3, 4]}"#);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status, status, "{kind:?}");
        assert_eq!(
            answer.headers.contains_key("retry-after"),
            retry,
            "{kind:?}"
        );
        let answer: Value = serde_json::from_str(&answer.text).unwrap();
        let error = answer["status"]["error"].as_str().unwrap();
        assert!(error.ends_with("shard 1 on worker-0: it failed"), "{error}");
        let known = json!({"status": {"error": error}, "time": answer["time"]});
        assert_eq!(answer, known);
    }
}

/// What the gateway says of a fault of one shard's store: over gRPC to the router, and once more
/// when a master routes.
fn from_a_store(error: &store::Error) -> [Error; 2] {
    let failed = vec![router::ShardFailure {
        shard: 1,
        worker: "worker-0".to_owned(),
        error: rpc::from_status(&rpc::to_status(error), true),
    }];
    let direct = router::Error::Shards {
        collection: "plain".to_owned(),
        of: 2,
        failed,
    };
    let over_master = rpc::from_status(&rpc::to_status(&direct), true);
    let over_master = router::Error::Master(over_master);
    [direct, over_master].map(|error| Error::failed(&error))
}

#[test]
fn a_full_disk_or_map_is_told_apart_from_a_full_queue_all_the_way() {
    for (error, status) in [
        (
            store::Error::from(heed::Error::Mdb(heed::MdbError::MapFull)),
            507,
        ),
        (
            store::Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull)),
            507,
        ),
        (store::Error::Busy, 429),
    ] {
        for told in from_a_store(&error) {
            assert_eq!(told.status().as_u16(), status, "{told}");
            assert_eq!(told.retryable(), status == 429, "{told}");
        }
    }
}
