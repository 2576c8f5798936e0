//! What is kept is never nested so deep that a reader of it would refuse it.

use super::double::served;
use super::refusals::check;

fn tower(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

#[tokio::test]
async fn settings_and_payloads_are_nested_64_deep_at_most() {
    let served = served(None).await;
    let create = |metadata: &str| {
        format!(r#"{{"vectors": {{"size": 4, "distance": "Dot"}}, "metadata": {metadata}}}"#)
    };
    let change = |metadata: &str| format!(r#"{{"metadata": {metadata}}}"#);
    let schema = |more: &str| {
        format!(r#"{{"field_name": "a", "field_schema": {{"type": "keyword", "x": {more}}}}}"#)
    };
    let payload = |payload: &str| format!(r#"{{"payload": {payload}, "points": [1]}}"#);
    let long = vec!["a"; 33].join(".");
    let long = format!(r#"{{"payload": {{}}, "points": [1], "key": "{long}"}}"#);
    let deep = "nested deeper than 64";
    // The settings themselves are one level, the rest of a schema another.
    check(
        &served,
        &[
            ("PUT", "new", &create(&tower(64)), 400, deep),
            ("PUT", "new", &create(&tower(120)), 400, deep),
            ("PATCH", "plain", &change(&tower(64)), 400, deep),
            ("PUT", "plain/index", &schema(&tower(64)), 400, deep),
            (
                "POST",
                "plain/points/payload",
                &payload(&tower(65)),
                400,
                deep,
            ),
            (
                "PUT",
                "plain/points/payload",
                &payload(&tower(65)),
                400,
                deep,
            ),
            (
                "POST",
                "plain/points/payload",
                &long,
                400,
                "more than 32 steps",
            ),
        ],
    )
    .await;
    for (method, path, body) in [
        ("PUT", "new", create(&tower(63))),
        ("PATCH", "plain", change(&tower(63))),
        ("PUT", "plain/index", schema(&tower(63))),
        ("POST", "plain/points/payload", payload(&tower(64))),
    ] {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let path = format!("/collections/{path}");
        let sent = served.send(method, &path, body);
        let (status, text) = sent.await;
        assert_eq!(status, 200, "{path}: {text}");
    }
}
