//! A state without what differs between two runs that came to the same end.
//!
//! Left out: UIDs, revisions, generations, times, who manages which field; the bytes of Secrets and what
//! is made of them (ends, marks of authorities, keys keep their names); addresses; the random ends of the
//! names of a ReplicaSet's pods; events and Leases; `status.lastErrors`, which shows for ten minutes what
//! went wrong on the way; which of several masters leads. What is empty is as what is absent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::double::State;
use super::double::store::{Key, text};

/// Annotations and fields whose values are of one run only.
const OF_A_RUN: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "observedGeneration",
    "managedFields",
    "lastTransitionTime",
    "startedAt",
    "blockedSince",
    "deletionTimestamp",
    "podIP",
    "volumeName",
    "lastErrors",
    "leader",
    "test/now",
    "vectorsphere.io/not-after",
    "vectorsphere.io/authorities",
    "vectorsphere.io/since",
    "vectorsphere.io/trusted-since",
];

/// Every object that counts, by a name that two runs share.
pub(crate) fn canonical(state: &State) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (key, object) in state.store.all() {
        if matches!(
            &*key.plural,
            "events" | "leases" | "customresourcedefinitions"
        ) {
            continue;
        }
        let mut object = Value::clone(object);
        let name = shared_name(key, &object);
        if key.plural == "pods" {
            object["metadata"]["name"] = json!(name);
        }
        strip(&mut object);
        let mut place = name.clone();
        while all.contains_key(&place) {
            place.push('+');
        }
        all.insert(place, object);
    }
    let drained = state.led.values().flat_map(|led| &led.draining);
    let drained: Vec<&String> = drained.collect();
    all.insert("drained".to_owned(), json!(drained));
    all
}

fn shared_name(key: &Key, object: &Value) -> String {
    let made_by = text(object, "/metadata/ownerReferences/0/kind");
    match (made_by, key.name.rsplit_once('-')) {
        ("ReplicaSet", Some((set, _))) => format!("{}/{set}", key.plural),
        _ => format!("{}/{}", key.plural, key.name),
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_A_RUN.contains(&&**name));
            let is_secret = fields.get("kind").is_some_and(|kind| kind == "Secret");
            for (name, value) in fields.iter_mut() {
                match &**name {
                    "data" if is_secret => blank(value),
                    "certificates" => blank(value),
                    _ => strip(value),
                }
            }
            if fields
                .get("type")
                .is_some_and(|name| name == "LeaderElected")
            {
                fields.remove("message");
            }
            fields.retain(|_, value| !is_empty(value));
        },
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

fn is_empty(value: &Value) -> bool {
    let list = value.as_array().is_some_and(Vec::is_empty);
    let map = value.as_object().is_some_and(serde_json::Map::is_empty);
    value.is_null() || list || map
}

/// Keeps the names and no value.
fn blank(value: &mut Value) {
    for value in value.as_object_mut().into_iter().flatten() {
        *value.1 = json!("");
    }
}

/// How two states differ, a line for each place.
pub(crate) fn differences(
    wanted: &BTreeMap<String, Value>,
    found: &BTreeMap<String, Value>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let names = wanted.keys().chain(found.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    for name in names {
        match (wanted.get(name), found.get(name)) {
            (Some(wanted), Some(found)) => compare(name, wanted, found, &mut lines),
            (Some(_), None) => lines.push(format!("{name} is missing")),
            (None, _) => lines.push(format!("{name} should not be there")),
        }
    }
    lines
}

fn compare(place: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(one), Value::Object(other)) => {
            let names = one.keys().chain(other.keys());
            let names: std::collections::BTreeSet<&String> = names.collect();
            for name in names {
                compare(
                    &format!("{place}.{name}"),
                    &wanted[name],
                    &found[name],
                    lines,
                );
            }
        },
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (at, (wanted, found)) in one.iter().zip(other).enumerate() {
                compare(&format!("{place}[{at}]"), wanted, found, lines);
            }
        },
        _ if wanted == found => {},
        _ => lines.push(format!("{place}: {found} and not {wanted}")),
    }
}
