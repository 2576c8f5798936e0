//! Every word, pattern, length, count and range of every spec, found in its schema: objects at both
//! ends of all bounds are accepted (on the copy without rules, which would object), and every value
//! beyond a bound is refused by name.

use jsonschema::draft202012;
use serde_json::{Map, Value, json};
use vectorsphere::crd::{self, KUBERNETES_FIELDS, Kind};

use crate::api_only::definitions::{WITHOUT_RULES, installed};
use crate::api_only::others::least;
use crate::kubernetes::Kubernetes;

/// What fits the patterns that a row of letters does not.
const SAMPLES: &[&str] = &[
    "0.1.0",
    "2160h",
    "30s",
    "0 3 * * *",
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];

/// An end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Least,
    Most,
}

fn count(schema: &Value, keyword: &str) -> Option<usize> {
    let number = schema[keyword].as_u64()?;
    Some(usize::try_from(number).unwrap())
}

/// A value of a schema, everything in it at one end of its bounds.
fn at(schema: &Value, end: End, number: usize) -> Value {
    let pick = |least, most| if end == End::Least { least } else { most };
    if let Some(words) = schema["enum"].as_array() {
        let last = words.len() - 1;
        return words[if end == End::Least { 0 } else { last }].clone();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "integer" => {
            let bound = &schema[pick("minimum", "maximum")];
            if bound.is_null() {
                json!(1)
            } else {
                bound.clone()
            }
        },
        "boolean" => json!(end == End::Most),
        "string" => text_at(schema, pick("minLength", "maxLength"), number),
        "array" => {
            let items = count(schema, pick("minItems", "maxItems")).unwrap_or(0);
            let each = |number| at(&schema["items"], end, number);
            (0..items).map(each).collect()
        },
        _ if schema["additionalProperties"].is_object() => {
            let entries = count(schema, pick("minProperties", "maxProperties")).unwrap_or(0);
            let value = |number| at(&schema["additionalProperties"], end, number);
            let entry = |number| (format!("k{number}"), value(number));
            Value::Object((0..entries).map(entry).collect())
        },
        _ => {
            let fields = schema["properties"].as_object();
            let own = fields
                .into_iter()
                .flatten()
                .filter(|(name, _)| !KUBERNETES_FIELDS.contains(&name.as_str()));
            own.map(|(name, field)| (name.clone(), at(field, end, number)))
                .collect::<Map<String, Value>>()
                .into()
        },
    }
}

/// A text of the length that a keyword names, different for each number; or what fits the pattern.
fn text_at(schema: &Value, keyword: &str, number: usize) -> Value {
    let length = count(schema, keyword).unwrap_or(1);
    let number = if number == 0 {
        String::new()
    } else {
        number.to_string()
    };
    let letters = "a".repeat(length.saturating_sub(number.len()));
    let valid = draft202012::new(schema).unwrap();
    let text = json!(letters + &number);
    if valid.is_valid(&text) {
        return text;
    }
    let mut samples = SAMPLES.iter().map(|sample| json!(sample));
    let fits = samples.find(|sample| valid.is_valid(sample));
    fits.unwrap_or_else(|| panic!("no sample fits {schema}"))
}

/// What is beyond a bound of a schema itself, not of what is in it: of each list one.
fn beyond(schema: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    if schema["enum"].is_array() {
        found.push(json!("Unheard"));
        return found;
    }
    if let Some(minimum) = schema["minimum"].as_i64() {
        found.push(json!(minimum - 1));
    }
    if let Some(maximum) = schema["maximum"].as_i64() {
        found.push(json!(maximum + 1));
    }
    if let Some(length) = count(schema, "minLength").filter(|length| *length > 0) {
        found.push(json!("a".repeat(length - 1)));
    }
    if let Some(length) = count(schema, "maxLength") {
        found.push(json!("a".repeat(length + 1)));
    }
    if schema["pattern"].is_string() {
        let length = count(schema, "minLength").unwrap_or(1).max(1);
        found.push(json!("/".repeat(length)));
    }
    if count(schema, "minItems").is_some_and(|items| items > 0) {
        found.push(json!([]));
    }
    if let Some(items) = count(schema, "maxItems") {
        let each = |number| at(&schema["items"], End::Least, number);
        found.push((0..=items).map(each).collect());
    }
    if let Some(entries) = count(schema, "maxProperties") {
        let entry = |number| (format!("k{number}"), json!("a"));
        found.push(Value::Object((0..=entries).map(entry).collect()));
    }
    found
}

/// Every field that has a bound: where it is, and what is beyond.
fn bounded(schema: &Value, place: &str, found: &mut Vec<(String, Vec<Value>)>) {
    let values = beyond(schema);
    if !values.is_empty() {
        found.push((place.to_owned(), values));
    }
    let fields = schema["properties"].as_object();
    for (name, field) in fields.into_iter().flatten() {
        if !KUBERNETES_FIELDS.contains(&name.as_str()) {
            bounded(field, &format!("{place}.{name}"), found);
        }
    }
    if let Some(items) = schema.get("items") {
        bounded(items, &format!("{place}[0]"), found);
    }
}

/// Puts a value at a place of [`bounded`], making what is on the way. What stands in the way as a
/// value goes.
fn put(object: &mut Value, place: &str, value: Value) {
    let mut here = object;
    for step in place.split('.').flat_map(|name| name.split_inclusive(']')) {
        let (name, in_list) = step
            .split_once('[')
            .map_or((step, false), |it| (it.0, true));
        if !here.is_object() {
            *here = json!({});
        }
        here = here
            .as_object_mut()
            .unwrap()
            .entry(name)
            .or_insert(Value::Null);
        if in_list {
            if here.as_array().is_none_or(Vec::is_empty) {
                *here = json!([null]);
            }
            here = &mut here[0];
        }
    }
    *here = value;
}

fn in_group(kind: Kind, group: &str, namespace: &str, name: &str) -> Value {
    let mut object = least(kind, name);
    object["apiVersion"] = json!(format!("{group}/{}", crd::VERSION));
    object["metadata"]["namespace"] = json!(namespace);
    object
}

#[test]
fn objects_at_both_ends_of_every_bound_are_accepted() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("ends");
    for kind in Kind::ALL {
        for (name, end) in [("least", End::Least), ("most", End::Most)] {
            let mut object = in_group(kind, WITHOUT_RULES, &namespace.name, name);
            object["spec"] = at(&crd::schema(kind)["properties"]["spec"], end, 0);
            let what = format!("{} {end:?}", kind.name());
            kubernetes.apply(&object).accepted(&what);
        }
    }
}

#[test]
fn whatever_is_beyond_a_bound_is_refused_by_name() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("beyond");
    for kind in Kind::ALL {
        let mut found = Vec::new();
        bounded(&crd::schema(kind)["properties"]["spec"], "spec", &mut found);
        // One object has one value of each field; a list that is too long has no bad item.
        let (lists, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, values)| {
            values
                .iter()
                .any(|value| value.is_array() || value.is_object())
        });
        let mut refused = 0;
        for fields in [lists, others] {
            let rounds = fields.iter().map(|(_, values)| values.len()).max();
            for round in 0..rounds.unwrap_or(0) {
                let mut object = in_group(kind, crd::GROUP, &namespace.name, "beyond");
                let now: Vec<_> = fields
                    .iter()
                    .filter_map(|(place, values)| Some((place, values.get(round)?)))
                    .collect();
                for (place, value) in &now {
                    put(&mut object, place, (*value).clone());
                }
                let answer = kubernetes.apply(&object);
                assert!(!answer.ok, "{} {round}", kind.name());
                for (place, value) in &now {
                    let told = answer.stderr.contains(&format!("{place}: "));
                    assert!(told, "{place}, {value}: {}", answer.stderr);
                    refused += 1;
                }
            }
        }
        eprintln!("{}: {refused} values refused", kind.name());
        assert!(refused >= 8, "{}", kind.name());
    }
}
