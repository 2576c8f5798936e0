//! Filters, read, written and evaluated.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Error, Filter};
use crate::ids::PointId;

fn matches(filter: Value, payload: &Value) -> bool {
    let parsed = Filter::parse(&filter).unwrap();
    let again = Filter::parse(&parsed.to_json()).unwrap();
    assert_eq!(parsed, again, "what is written reads back: {filter}");
    parsed.matches(PointId::Number(7), payload)
}

#[test]
fn conditions_hold_as_clients_expect() {
    let payload = json!({
        "city": "Berlin", "tags": ["a", "b"], "n": 5, "f": 5.0, "ok": true,
        "null": null, "none": [], "nested": [{"x": 1}, {"x": 2}],
    });
    let check = |condition: Value, expected: bool| {
        assert_eq!(
            matches(json!({"must": condition}), &payload),
            expected,
            "{condition}"
        );
        assert_eq!(
            matches(json!({"must_not": [condition]}), &payload),
            !expected,
            "{condition}"
        );
    };
    check(json!({"key": "city", "match": {"value": "Berlin"}}), true);
    check(json!({"key": "city", "match": {"value": "berlin"}}), false);
    check(json!({"key": "tags", "match": {"value": "b"}}), true);
    check(json!({"key": "tags", "match": {"any": ["x", "a"]}}), true);
    check(json!({"key": "tags", "match": {"any": []}}), false);
    check(json!({"key": "tags", "match": {"except": ["a"]}}), true);
    check(
        json!({"key": "tags", "match": {"except": ["a", "b"]}}),
        false,
    );
    check(json!({"key": "missing", "match": {"except": ["a"]}}), false);
    check(json!({"key": "n", "match": {"value": 5}}), true);
    check(json!({"key": "f", "match": {"value": 5}}), true);
    check(json!({"key": "ok", "match": {"value": true}}), true);
    check(json!({"key": "n", "range": {"gt": 4, "lte": 5.0}}), true);
    check(json!({"key": "n", "range": {"gt": 5}}), false);
    check(json!({"key": "city", "range": {"gt": 0}}), false);
    check(json!({"key": "nested[].x", "match": {"value": 2}}), true);
    check(json!({"is_empty": {"key": "missing"}}), true);
    check(json!({"is_empty": {"key": "null"}}), true);
    check(json!({"is_empty": {"key": "none"}}), true);
    check(json!({"is_empty": {"key": "city"}}), false);
    check(json!({"is_null": {"key": "null"}}), true);
    check(json!({"is_null": {"key": "missing"}}), false);
    check(json!({"has_id": [7, Uuid::nil()]}), true);
    check(json!({"has_id": [8]}), false);
    check(json!({"should": [{"has_id": [8]}, {"has_id": [7]}]}), true);
}

#[test]
fn clauses_combine() {
    let [yes, no] = [json!({"has_id": [7]}), json!({"has_id": [8]})];
    let payload = json!({});
    assert!(matches(json!({}), &payload));
    assert!(matches(json!({"should": [no, yes]}), &payload));
    assert!(!matches(json!({"should": [no, no]}), &payload));
    assert!(!matches(
        json!({"must": [yes], "must_not": [yes]}),
        &payload
    ));
    let least =
        |least: u64| json!({"min_should": {"conditions": [yes, yes, no], "min_count": least}});
    assert!(matches(least(2), &payload));
    assert!(!matches(least(3), &payload));
}

#[test]
fn what_is_no_filter_is_refused_by_name() {
    for wrong in [
        json!(1),
        json!({"must": [1]}),
        json!({"must": [{}]}),
        json!({"must": {"key": "a"}}),
        json!({"must": {"key": "", "match": {"value": 1}}}),
        json!({"must": {"key": "a", "match": {"value": 1.5}}}),
        json!({"must": {"key": "a", "match": {"value": null}}}),
        json!({"must": {"key": "a", "range": {"gt": []}}}),
        json!({"must": {"has_id": [-2]}}),
        json!({"must": {"has_id": ["x"]}}),
        json!({"must": {"has_id": 1}}),
    ] {
        let refused = Filter::parse(&wrong);
        assert!(
            matches!(refused, Err(Error::Malformed(_))),
            "{wrong}: {refused:?}"
        );
    }
    for later in [
        json!({"must": {"key": "a", "geo_radius": {}}}),
        json!({"must": {"key": "a", "match": {"text": "x"}}}),
        json!({"must": {"nested": {}}}),
        json!({"must": {"key": "a", "range": {"gt": "2020-01-01T00:00:00Z"}}}),
    ] {
        let refused = Filter::parse(&later);
        assert!(
            matches!(refused, Err(Error::NotBuilt(_))),
            "{later}: {refused:?}"
        );
    }
}

#[test]
fn a_filter_has_bounds() {
    let mut deep = json!({"has_id": [1]});
    for _ in 0..40 {
        deep = json!({"must": [deep]});
    }
    assert!(Filter::parse(&deep).is_err());
    let wide: Vec<Value> = (0..20_000).map(|_| json!({"has_id": []})).collect();
    assert!(Filter::parse(&json!({"must": wide})).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "must",
        "should",
        "must_not",
        "key",
        "match",
        "value",
        "any",
        "range",
        "gt",
        "has_id",
        "is_null",
        "is_empty",
        "min_should",
        "conditions",
        "min_count",
        "a.b",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(words.clone().prop_map(String::from), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_breaks_the_parser_and_what_is_read_reads_back(value in any_json()) {
        if let Ok(filter) = Filter::parse(&value) {
            prop_assert_eq!(Filter::parse(&filter.to_json()).unwrap(), filter);
        }
    }
}
