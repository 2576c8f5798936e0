//! What is refused, with which status and text, and that nothing of it goes on.

use http::Method;
use serde_json::Value;

use super::double::{Served, served};

/// Sends every body and compares status and text; nothing may reach the double.
pub(super) async fn check(served: &Served, cases: &[(&str, &str, &str, u16, &str)]) {
    for (method, path, body, status, text) in cases {
        let path = format!("/collections/{path}");
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (got, answer) = served.send(method, &path, (*body).to_owned()).await;
        assert_eq!(got, *status, "{path} {body}: {answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let error = answer["status"]["error"].as_str().unwrap();
        assert!(error.contains(text), "{path} {body}: {error}");
        assert!(answer["time"].is_f64() && answer.get("result").is_none());
    }
    assert_eq!(served.double.take(), []);
}

const FORMAT: &str = "Format error in JSON body: ";

#[tokio::test]
async fn what_is_not_there_is_not_found_in_the_words_clients_know() {
    let served = served(None).await;
    let missing = "Not found: Collection `none` doesn't exist!";
    let upsert = r#"{"points": [{"id": 1, "vector": [1, 2, 3, 4]}]}"#;
    check(
        &served,
        &[
            ("GET", "none", "", 404, missing),
            ("PATCH", "none", "{}", 404, missing),
            ("GET", "none/aliases", "", 404, missing),
            ("PUT", "none/points", upsert, 404, missing),
            ("POST", "none/points", r#"{"ids": []}"#, 404, missing),
            ("GET", "none/points/1", "", 404, missing),
            ("POST", "none/points/scroll", "{}", 404, missing),
            ("POST", "none/points/count", "{}", 404, missing),
            ("POST", "none/points/query", "{}", 404, missing),
            (
                "POST",
                "none/points/delete",
                r#"{"points": [1]}"#,
                404,
                missing,
            ),
            (
                "PUT",
                "none/index",
                r#"{"field_name": "a", "field_schema": "keyword"}"#,
                404,
                missing,
            ),
            ("DELETE", "none/index/a", "", 404, missing),
            (
                "PUT",
                "plain",
                r#"{"vectors": {"size": 4, "distance": "Dot"}}"#,
                409,
                "Wrong input: Collection `plain` already exists!",
            ),
        ],
    )
    .await;
    let (status, text) = served
        .send(Method::GET, "/collections/plain/points/99", "")
        .await;
    assert!(
        status == 404 && text.contains("Not found: Point with id 99 does not exists!"),
        "{text}"
    );
    let path = "/collections/plain/points/query";
    let (status, text) = served.send(Method::POST, path, r#"{"query": 99}"#).await;
    assert!(
        status == 404 && text.contains("Not found: No point with id 99 found"),
        "{text}"
    );
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn points_that_cannot_be_stored_are_refused() {
    let served = served(None).await;
    let point = |id: &str, vector: &str, payload: &str| {
        format!(r#"{{"points": [{{"id": {id}, "vector": {vector}, "payload": {payload}}}]}}"#)
    };
    let good = "[1, 2, 3, 4]";
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(127), "]".repeat(127));
    let bomb = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let dimension = "Wrong input: Vector dimension error: expected dim: 4, got 3";
    let id = "is not a valid point ID, valid values are either an unsigned integer or a UUID";
    let finite = "is not a finite 32-bit number";
    let cases = [
        (point("1", "[1, 2, 3]", "{}"), 400, dimension),
        (point("-2", good, "{}"), 400, id),
        (point("1.0", good, "{}"), 400, id),
        (point("18446744073709551616", good, "{}"), 400, id),
        (point("\"not-a-uuid\"", good, "{}"), 400, id),
        (point("null", good, "{}"), 400, FORMAT),
        (point("1", "[1, 2, 3, 1e39]", "{}"), 400, finite),
        (point("1", "[1, 2, 3, -1e39]", "{}"), 400, finite),
        (
            point("1", "[3e38, 3e38, 3e38, 3e38]", "{}"),
            400,
            "the norm of the vector",
        ),
        (point("1", "[1, 2, 3, NaN]", "{}"), 400, FORMAT),
        (point("1", "[1, 2, 3, \"4\"]", "{}"), 400, FORMAT),
        (point("1", "[1, 2, 3, null]", "{}"), 400, FORMAT),
        (
            point("1", "{\"v\": [1, 2, 3, 4]}", "{}"),
            400,
            "Not existing vector name error: v",
        ),
        (point("1", good, "[]"), 400, "a payload is an object"),
        (point("1", good, "\"x\""), 400, "a payload is an object"),
        (
            point("1", good, r#"{"a": 1, "a": 2}"#),
            400,
            "duplicate field `a`",
        ),
        (
            point("1", good, r#"{"a": "\ud800"}"#),
            400,
            "an escape that is no character",
        ),
        (
            point("1", good, r#"{"a": 1e999}"#),
            400,
            "number out of range",
        ),
        (point("1", good, &deep), 400, "nested deeper than 64"),
        (point("1", good, &bomb), 400, "nested deeper than 64"),
        (
            point("1", "[[1, 2, 3, 4]]", "{}"),
            501,
            "not built yet: multivectors",
        ),
        (
            point("1", "{}", "{}"),
            501,
            "not built yet: points without a vector",
        ),
        (
            point("1", "{\"text\": \"a\"}", "{}"),
            501,
            "not built yet: inference",
        ),
        (String::new(), 400, FORMAT),
        ("{".to_owned(), 400, FORMAT),
        ("null".to_owned(), 400, FORMAT),
        ("{}".to_owned(), 400, FORMAT),
        ("{}x".to_owned(), 400, FORMAT),
        ("\u{feff}{\"points\": []}".to_owned(), 400, FORMAT),
        (r#"{"points": []}"#.to_owned(), 400, "Empty update request"),
        (
            r#"{"points": [], "points": []}"#.to_owned(),
            400,
            "duplicate field `points`",
        ),
        (
            r#"{"points": [], "batch": {"ids": [], "vectors": []}}"#.to_owned(),
            400,
            FORMAT,
        ),
        (
            r#"{"points": [{"id": 1}]}"#.to_owned(),
            400,
            "missing field `vector`",
        ),
        (
            r#"{"batch": {"ids": [1, 2], "vectors": [[1, 2, 3, 4]]}}"#.to_owned(),
            400,
            "not 2, 1 and 2",
        ),
        (
            r#"{"batch": {"ids": [1], "vectors": [[1, 2, 3]]}}"#.to_owned(),
            400,
            dimension,
        ),
        (
            format!(r#"{{"points": [{}0]}}"#, "0,".repeat(200_000)),
            400,
            FORMAT,
        ),
        (
            format!(
                r#"{{"batch": {{"ids": [{}0], "vectors": []}}}}"#,
                "0,".repeat(100_000)
            ),
            400,
            "more than 100000 elements",
        ),
        (
            r#"{"points": [], "shard_key": "a"}"#.to_owned(),
            501,
            "not built yet: shard_key",
        ),
        (
            r#"{"points": [], "update_filter": {"must": [{}]}}"#.to_owned(),
            501,
            "not built yet: update_filter",
        ),
        (
            r#"{"points": [], "update_mode": "insert_only"}"#.to_owned(),
            501,
            "not built yet: update_mode",
        ),
    ];
    let cases: Vec<_> = cases
        .iter()
        .map(|(body, status, text)| ("PUT", "plain/points", body.as_str(), *status, *text))
        .collect();
    check(&served, &cases).await;
    let invalid = vec![0xff, 0xfe];
    let (status, _text) = served
        .send(Method::PUT, "/collections/plain/points", invalid)
        .await;
    assert_eq!(status, 400);
    assert_eq!(served.double.take(), []);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn reads_that_make_no_sense_are_refused() {
    let served = served(None).await;
    let limit =
        "Validation error in JSON body: [internal.limit: value 0 invalid, must be 1 or larger]";
    let q = "plain/points/query";
    let huge = "100000 or smaller";
    check(
        &served,
        &[
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 4], "limit": 0}"#,
                422,
                limit,
            ),
            ("POST", q, r#"{"limit": 0}"#, 422, limit),
            ("POST", q, r#"{"limit": -1}"#, 400, FORMAT),
            ("POST", q, r#"{"limit": 9007199254740992}"#, 422, huge),
            ("POST", q, r#"{"limit": 18446744073709551615}"#, 422, huge),
            ("POST", q, r#"{"limit": 18446744073709551616}"#, 400, FORMAT),
            (
                "POST",
                q,
                r#"{"limit": 10, "offset": 18446744073709551615}"#,
                422,
                huge,
            ),
            ("POST", q, r#"{"limit": 10, "offset": 99991}"#, 422, huge),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3]}"#,
                400,
                "expected dim: 4, got 3",
            ),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 1e39]}"#,
                400,
                "not a finite",
            ),
            (
                "POST",
                q,
                r#"{"query": -1}"#,
                400,
                "value -1 is not a valid point ID",
            ),
            (
                "POST",
                q,
                r#"{"query": 1.5}"#,
                400,
                "value 1.5 is not a valid point ID",
            ),
            ("POST", q, r#"{"query": {}}"#, 400, FORMAT),
            (
                "POST",
                q,
                r#"{"query": {"farthest": 1}}"#,
                400,
                "unknown query `farthest`",
            ),
            ("POST", q, r#"{"query": {"nearest": null}}"#, 400, FORMAT),
            (
                "POST",
                q,
                r#"{"query": {"nearest": 1, "nearest": 2}}"#,
                400,
                FORMAT,
            ),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 4], "using": "w"}"#,
                400,
                "Not existing vector name error: w",
            ),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 4], "with_vector": ["w"]}"#,
                400,
                "Not existing vector name error: w",
            ),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 4], "score_threshold": 1e39}"#,
                400,
                FORMAT,
            ),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 4], "with_payload": 1}"#,
                400,
                FORMAT,
            ),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 4], "with_payload": [""]}"#,
                400,
                FORMAT,
            ),
            (
                "POST",
                q,
                r#"{"query": [1, 2, 3, 4], "params": {"hnsw_ef": -1}}"#,
                400,
                FORMAT,
            ),
            (
                "POST",
                q,
                r#"{"filter": {"must": {"key": "a"}}}"#,
                400,
                FORMAT,
            ),
            (
                "POST",
                q,
                r#"{"filter": {"must": [], "must": []}}"#,
                400,
                "duplicate field `must`",
            ),
            ("POST", q, r#"{"filter": 1}"#, 400, FORMAT),
            (
                "POST",
                "named/points/query",
                r#"{"query": [1, 2]}"#,
                400,
                "Not existing vector name error: ",
            ),
            (
                "POST",
                "plain/points/query/batch",
                r#"{"searches": [{"limit": 0}]}"#,
                422,
                limit,
            ),
            (
                "POST",
                "plain/points/query/batch",
                "{}",
                400,
                "missing field `searches`",
            ),
            (
                "POST",
                "plain/points/scroll",
                r#"{"limit": 0}"#,
                422,
                "value 0 invalid, must be 1 or larger",
            ),
            (
                "POST",
                "plain/points/scroll",
                r#"{"offset": "x"}"#,
                400,
                "value x is not a valid point ID",
            ),
            ("POST", "plain/points/scroll", "", 400, FORMAT),
            ("POST", "plain/points/count", r#"{"exact": 1}"#, 400, FORMAT),
            ("POST", "plain/points", "{}", 400, "missing field `ids`"),
            (
                "GET",
                "plain/points/x",
                "",
                400,
                "value x is not a valid point ID",
            ),
            (
                "GET",
                "plain/points/-1",
                "",
                400,
                "value -1 is not a valid point ID",
            ),
        ],
    )
    .await;
    let batch = format!(r#"{{"searches": [{}{{}}]}}"#, "{},".repeat(1_024));
    check(
        &served,
        &[(
            "POST",
            "plain/points/query/batch",
            &batch,
            400,
            "more than 1024 elements",
        )],
    )
    .await;
    let sum =
        r#"{"searches": [{"limit": 100000}, {"offset": 50000, "limit": 40000, "query": 1}, {}]}"#;
    let sum = (
        "POST",
        "plain/points/query/batch",
        &*sum.replace("{}", r#"{"limit": 10001}"#),
        422,
        "value 200001 invalid, must be 200000 or smaller",
    );
    check(&served, &[sum]).await;
    let paths = format!(r#"{{"with_payload": [{}"a"]}}"#, r#""a","#.repeat(1_024));
    let (scroll, keys) = ("plain/points/scroll", "1024 payload keys");
    check(&served, &[("POST", scroll, &paths, 400, keys)]).await;
    let wide = format!(
        r#"{{"filter": {{"must": [{}{{"has_id": []}}]}}}}"#,
        r#"{"has_id": []},"#.repeat(20_000)
    );
    check(
        &served,
        &[("POST", "plain/points/count", &wide, 400, "conditions")],
    )
    .await;
    let tower = format!("{}{{}}{}", r#"{"must_not":["#.repeat(50), "]}".repeat(50));
    let tower = format!(r#"{{"filter": {tower}}}"#);
    check(
        &served,
        &[("POST", "plain/points/count", &tower, 400, "nested")],
    )
    .await;
}

#[tokio::test]
async fn writes_that_make_no_sense_are_refused() {
    let served = served(None).await;
    let name = "Validation error in path parameters: [collection_name: ";
    let long = "x".repeat(256);
    let many = r#"{"delete_alias": {"alias_name": "a"}},"#.repeat(61);
    let many = format!(r#"{{"actions": [{}]}}"#, many.trim_end_matches(','));
    check(&served, &[
        ("POST", "plain/points/delete", "{}", 400, FORMAT),
        ("POST", "plain/points/delete", r#"{"points": [1], "filter": {}}"#, 400, FORMAT),
        ("POST", "plain/points/delete", r#"{"points": [-1]}"#, 400, "value -1"),
        ("POST", "plain/points/delete", r#"{"points": 1}"#, 400, FORMAT),
        ("POST", "plain/points/payload", r#"{"points": [1]}"#, 400, "missing field `payload`"),
        ("POST", "plain/points/payload", r#"{"payload": 1, "points": [1]}"#, 400, "a payload is an object"),
        ("POST", "plain/points/payload", r#"{"payload": {}, "points": [1], "key": "a..b"}"#, 400, FORMAT),
        ("POST", "plain/points/payload/delete", r#"{"keys": [1], "points": [1]}"#, 400, FORMAT),
        ("POST", "plain/points/payload/clear", "{}", 400, FORMAT),
        ("PUT", "..%2f..", "{}", 422, name),
        ("PUT", "a%00b", "{}", 422, name),
        ("GET", "%ff", "", 422, "path"),
        ("PUT", &long, "{}", 422, name),
        ("PUT", "new", r#"{"vectors": {"size": 0, "distance": "Dot"}}"#, 422, "vectors.size: value 0 invalid, must be from 1 to 65536"),
        ("PUT", "new", r#"{"vectors": {"size": 65537, "distance": "Dot"}}"#, 422, "vectors.size"),
        ("PUT", "new", r#"{"vectors": {"size": 9223372036854775808, "distance": "Dot"}}"#, 422, "vectors.size"),
        ("PUT", "new", r#"{"vectors": {"size": 4.5, "distance": "Dot"}}"#, 400, FORMAT),
        ("PUT", "new", r#"{"vectors": {"size": 4}}"#, 400, "missing field `distance`"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Hamming"}}"#, 400, "distance"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Dot"}, "shard_number": 0}"#, 422, "shard_number"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Dot"}, "hnsw_config": {"m": "x"}}"#, 400, "m is not a whole number"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Dot"}, "vectorsphere": {"index": {"algorithm": "magic"}}}"#, 400, "algorithm"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Dot"}, "vectorsphere": {"index": {"algorithm": "graph", "parameters": {"bits": 3}}}}"#, 400, "`bits` must be 2, 4, 8 or 32"),
        ("PUT", "new", r#"{"vectors": {"size": 4, "distance": "Dot"}, "vectorsphere": {"index": {"algorithm": "arroy", "parameters": {"trees": 300}}}}"#, 400, "`trees` must be 1 to 256"),
        ("PUT", "new", "[]", 400, FORMAT),
        ("PATCH", "named", r#"{"vectors": {"w": {}}}"#, 400, "Not existing vector name error: w"),
        ("PUT", "plain/index", r#"{"field_name": "", "field_schema": "keyword"}"#, 400, FORMAT),
        ("PUT", "plain/index", r#"{"field_name": "a", "field_schema": "wordy"}"#, 400, FORMAT),
        ("POST", "aliases", r#"{"actions": [{"make_alias": {}}]}"#, 400, FORMAT),
        ("POST", "aliases", &many, 400, "more than 60 elements"),
        ("POST", "aliases", r#"{"actions": [{"delete_alias": {"alias_name": "a/b"}}]}"#, 422, "alias_name"),
        ("POST", "plain/points/delete?wait=maybe", r#"{"points": [1]}"#, 400, "Format error in query parameters: wait"),
        ("POST", "plain/points/delete?timeout=0", r#"{"points": [1]}"#, 422, "Validation error in query parameters: [timeout: value 0 invalid, must be 1 or larger]"),
        ("POST", "plain/points/delete?timeout=x", r#"{"points": [1]}"#, 400, "timeout"),
        ("POST", "plain/points/delete?ordering=wild", r#"{"points": [1]}"#, 400, "ordering"),
        ("POST", "plain/points/count?consistency=0", "{}", 400, "consistency"),
    ]).await;
}
