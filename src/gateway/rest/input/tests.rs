//! The parts of bodies, against serde_json as the judge.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::compact::{self, Problem};
use super::vector::Input;
use super::{Id, Tree, from_json};
use crate::gateway::Error;
use crate::limits::KEPT_DEPTH_MAX;
use crate::query::Shape;
use crate::vector::Distance;

fn compact(text: &str) -> Result<Vec<u8>, Problem> {
    compact::compact(text, KEPT_DEPTH_MAX)
}

fn shape(vector_name: Option<&str>) -> Shape {
    Shape {
        dimensions: 2,
        distance: Distance::Dot,
        vector_name: vector_name.map(str::to_owned),
    }
}

fn admitted(text: &str, shape: &Shape) -> Result<Vec<f32>, String> {
    let read: Result<Input, Error> = from_json(text.as_bytes());
    read.and_then(|input| input.admit(shape))
        .map_err(|error| format!("{} {error}", error.status().as_u16()))
}

#[test]
fn vectors_are_read_in_every_form_that_fits() {
    let (plain, named) = (shape(None), shape(Some("v")));
    assert_eq!(admitted("[1, -2.5e0]", &plain), Ok(vec![1.0, -2.5]));
    assert_eq!(admitted(r#"{"": [1, 2]}"#, &plain), Ok(vec![1.0, 2.0]));
    assert_eq!(admitted(r#"{"v": [1, 2]}"#, &named), Ok(vec![1.0, 2.0]));
    assert_eq!(admitted("[-0.0, 1e-45]", &plain), Ok(vec![-0.0, 1e-45]));
}

#[test]
fn vectors_that_do_not_fit_are_refused_by_name() {
    let (plain, named) = (shape(None), shape(Some("v")));
    let check = |text: &str, shape: &Shape, expected: &str| {
        let refused = admitted(text, shape).unwrap_err();
        assert!(refused.starts_with(expected), "{text}: {refused}");
    };
    let dimension = "400 Wrong input: Vector dimension error: expected dim: 2, got";
    check("[1]", &plain, &format!("{dimension} 1"));
    check("[]", &plain, &format!("{dimension} 0"));
    let long = format!("[{}]", vec!["1"; 100_000].join(","));
    check(&long, &plain, &format!("{dimension} 100000"));
    check(
        "[1, 1e39]",
        &plain,
        "400 Wrong input: vector component 1 is not a finite",
    );
    check("[3e38, 3e38]", &plain, "400 Wrong input: the norm");
    for (text, shape) in [
        (r#"{"w": [1, 2]}"#, &named),
        (r#"{"": [1, 2]}"#, &named),
        ("[1, 2]", &named),
        (r#"{"v": [1, 2]}"#, &plain),
        (r#"{"v": [1, 2], "w": [1]}"#, &named),
    ] {
        check(
            text,
            shape,
            "400 Wrong input: Not existing vector name error: ",
        );
    }
    check(
        r#"{"v": [1, 2], "v": [3, 4]}"#,
        &named,
        "400 Format error in JSON body: duplicate",
    );
    for text in [
        "[1, null]",
        "[1, \"2\"]",
        "[1, true]",
        "[1, {}]",
        "null",
        "1",
        "\"x\"",
        "true",
        "[1, 2",
        "[1, NaN]",
        "[1, Infinity]",
        "[1, 1e999]",
        "[1,]",
        "{\"v\": null}",
        "{\"v\": \"x\"}",
    ] {
        check(text, &named, "400 Format error in JSON body: ");
    }
    for text in [
        "[[1, 2], [3, 4]]",
        "[[1, 2], [3]]",
        "{}",
        r#"{"v": [[1, 2]]}"#,
        r#"{"indices": [1], "values": [0.5]}"#,
        r#"{"v": {"indices": [1], "values": [0.5]}}"#,
        r#"{"text": "a", "model": "b"}"#,
    ] {
        check(text, &named, "501 ");
    }
}

#[test]
fn ids_are_numbers_and_uuids_in_any_spelling() {
    let read = |text: &str| from_json::<Id>(text.as_bytes()).map(|Id(id)| id.to_string());
    let uuid = "0123abcd-89ab-cdef-0123-456789abcdef";
    assert_eq!(
        read("18446744073709551615").unwrap(),
        "18446744073709551615"
    );
    for spelling in [
        uuid.to_owned(),
        uuid.to_uppercase(),
        uuid.replace('-', ""),
        format!("urn:uuid:{uuid}"),
        format!("{{{uuid}}}"),
    ] {
        assert_eq!(read(&format!("\"{spelling}\"")).unwrap(), uuid);
    }
    for (text, shown) in [
        ("-2", "-2"),
        ("1.0", "1.0"),
        ("18446744073709551616", "1.8446744073709552e19"),
        ("\"abc\"", "abc"),
        ("\"1\"", "1"),
        ("\"\"", ""),
    ] {
        assert_eq!(
            read(text).unwrap_err().to_string(),
            format!(
                "Format error in JSON body: value {shown} is not a valid point ID, valid values \
                 are either an unsigned integer or a UUID"
            )
        );
    }
    for text in ["null", "true", "[]", "{}"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn payloads_stay_what_was_written_without_the_space_around() {
    let check = |text: &str, expected: &str| {
        let compacted = compact(text).unwrap();
        assert_eq!(String::from_utf8(compacted).unwrap(), expected);
    };
    check(
        " { \"a b\" : [ 1.10 , -0 , 1E5 ] ,\n\"c\": \"\\u0041 \\\" x\" } ",
        "{\"a b\":[1.10,-0,1E5],\"c\":\"\\u0041 \\\" x\"}",
    );
    check(
        "{\"n\": 123456789012345678901234567890}",
        "{\"n\":123456789012345678901234567890}",
    );
    check(
        "{\"a\": {\"k\": 1}, \"b\": {\"k\": 1}, \"k\": [{\"k\": 2}]}",
        "{\"a\":{\"k\":1},\"b\":{\"k\":1},\"k\":[{\"k\":2}]}",
    );
    check(
        "{\"nul\": \"\\u0000\", \"pair\": \"\\ud83d\\ude00\"}",
        "{\"nul\":\"\\u0000\",\"pair\":\"\\ud83d\\ude00\"}",
    );
}

#[test]
fn payloads_that_could_not_be_read_back_are_refused() {
    let duplicate = |key: &str| Err(Problem::Duplicate(key.to_owned()));
    assert_eq!(compact(r#"{"a": 1, "a": 2}"#), duplicate("a"));
    assert_eq!(compact(r#"{"a": 1, "\u0061": 2}"#), duplicate("a"));
    assert_eq!(
        compact(r#"{"x": [{"b": 1, "c": 2, "b": 3}]}"#),
        duplicate("b")
    );
    assert_eq!(compact(r#"{"a": "\ud800"}"#), Err(Problem::Escape));
    assert_eq!(compact(r#"{"\udc00": 1}"#), Err(Problem::Escape));
    assert_eq!(compact(r#"{"a": 1e400}"#), Err(Problem::Number));
    assert_eq!(
        compact(&format!("{{\"a\": {}}}", "9".repeat(400))),
        Err(Problem::Number)
    );
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(compact(&nested(63)).is_ok());
    assert_eq!(compact(&nested(64)), Err(Problem::Depth(64)));
    assert_eq!(compact(&nested(100_000)), Err(Problem::Depth(64)));
    // A tree may be as deep as readers go.
    assert!(from_json::<Tree>(nested(126).as_bytes()).is_ok());
    assert!(from_json::<Tree>(nested(127).as_bytes()).is_err());
}

#[test]
fn trees_are_bounded() {
    let wide = format!("[{}0]", "0,".repeat(3 * 1024 * 1024));
    assert!(from_json::<Tree>(wide.as_bytes()).is_err());
    assert!(from_json::<Tree>(br#"{"must": [], "must": []}"#).is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_compacted_is_the_same_value_in_its_shortest_text(value in any_json()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let compacted = compact(&pretty).unwrap();
        prop_assert_eq!(String::from_utf8(compacted).unwrap(), value.to_string());
    }

    #[test]
    fn no_text_breaks_the_compactor(text in "[\\[\\]{}\",:\\\\u0-9eE+. a-f-]{0,60}") {
        let judged = serde_json::from_str::<Value>(&text);
        let compacted = compact(&text);
        if judged.is_ok() {
            match compacted {
                Ok(bytes) => prop_assert_eq!(
                    serde_json::from_slice::<Value>(&bytes).unwrap(), judged.unwrap()
                ),
                Err(problem) => prop_assert!(matches!(problem, Problem::Duplicate(_))),
            }
        }
    }

    #[test]
    fn no_bytes_break_the_readers(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _input = from_json::<Input>(&bytes);
        let _tree = from_json::<Tree>(&bytes);
        let _id = from_json::<Id>(&bytes);
    }
}
