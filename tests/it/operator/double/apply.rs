//! Server-side apply, and what other writes do to who manages what.
//!
//! As in an API server: what a manager applies is merged in; what it applied before and applies no more
//! is removed unless another has it; a value that another manager has and that would change is a
//! conflict, or is taken from it by force. An update gives what it changed to its manager.

use serde_json::{Map, Value, json};

use super::fields::{Fields, difference};
use super::kinds::Kind;
use super::refusal::Refusal;
use super::shape::{List, Shape, item_key};

/// Who writes, and through which subresource.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) manager: String,
    pub(crate) subresource: String,
    pub(crate) force: bool,
}

/// An entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    subresource: String,
    fields: Fields,
    time: Value,
}

impl Entry {
    /// As conflicts name it.
    fn named(&self, kind: &Kind) -> String {
        let manager = format!("\"{}\"", self.manager);
        if self.operation == "Apply" {
            return manager;
        }
        let through = match &*self.subresource {
            "" => String::new(),
            name => format!(" with subresource \"{name}\""),
        };
        let time = self.time.as_str().unwrap_or_default();
        format!("{manager}{through} using {} at {time}", kind.api_version())
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = object["metadata"]["managedFields"].as_array();
    let all = all.into_iter().flatten().map(|entry| Entry {
        manager: text(&entry["manager"]),
        operation: text(&entry["operation"]),
        subresource: text(&entry["subresource"]),
        fields: Fields::from_value(&entry["fieldsV1"]),
        time: entry["time"].clone(),
    });
    all.collect()
}

fn put_entries(kind: &Kind, object: &mut Value, entries: &[Entry]) {
    let spelled = entries.iter().filter(|entry| !entry.fields.is_empty());
    let spelled: Vec<Value> = spelled
        .map(|entry| {
            let mut spelled = json!({
                "manager": entry.manager, "operation": entry.operation,
                "apiVersion": kind.api_version(), "time": entry.time,
                "fieldsType": "FieldsV1", "fieldsV1": entry.fields.to_value(),
            });
            if !entry.subresource.is_empty() {
                spelled["subresource"] = json!(entry.subresource);
            }
            spelled
        })
        .collect();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if !spelled.is_empty() {
            metadata.insert("managedFields".to_owned(), json!(spelled));
        }
    }
}

/// Gives what a manager set its new fields; the time changes with them.
fn assign(entries: &mut Vec<Entry>, writer: &Writer, operation: &str, fields: Fields) {
    let is_it = |entry: &&mut Entry| {
        entry.manager == writer.manager
            && entry.operation == operation
            && entry.subresource == writer.subresource
    };
    let now = json!(super::verbs::now());
    match entries.iter_mut().find(is_it) {
        Some(entry) if entry.fields == fields => {},
        Some(entry) => {
            entry.fields = fields;
            entry.time = now;
        },
        None => entries.push(Entry {
            manager: writer.manager.clone(),
            operation: operation.to_owned(),
            subresource: writer.subresource.clone(),
            fields,
            time: now,
        }),
    }
}

/// After a write that is no apply: what it changed is its manager's.
pub(crate) fn updated(kind: &Kind, before: &Value, after: &mut Value, writer: &Writer) {
    let shape = Shape::of(kind);
    let difference = difference(shape, before, after);
    let mut all = entries(before);
    let gone = difference.changed.or(&difference.removed);
    let mine = |entry: &Entry| {
        entry.manager == writer.manager
            && entry.operation == "Update"
            && entry.subresource == writer.subresource
    };
    let had = all.iter().find(|entry| mine(entry));
    let had = had.map(|entry| entry.fields.clone()).unwrap_or_default();
    for entry in all.iter_mut().filter(|entry| !mine(entry)) {
        entry.fields = entry.fields.without(&gone);
    }
    let has = had.without(&difference.removed).or(&difference.changed);
    if !has.is_empty() || !had.is_empty() {
        assign(&mut all, writer, "Update", has);
    }
    put_entries(kind, after, &all);
}

/// The object after an apply.
pub(crate) fn applied(
    kind: &Kind,
    live: &Value,
    config: &Value,
    writer: &Writer,
) -> Result<Value, Refusal> {
    let shape = Shape::of(kind);
    let wanted = Fields::of(shape, config);
    let mut merged = merge(shape, live, config);
    let mut all = entries(live);
    let changed = difference(shape, live, &merged).changed;
    let mine = |entry: &Entry| {
        entry.manager == writer.manager
            && entry.operation == "Apply"
            && entry.subresource == writer.subresource
    };
    let mut conflicts = Vec::new();
    for entry in all.iter_mut().filter(|entry| !mine(entry)) {
        let theirs = entry.fields.and(&changed);
        if theirs.is_empty() {
            continue;
        }
        conflicts.push((entry.named(kind), theirs.places()));
        entry.fields = entry.fields.without(&theirs);
    }
    if !conflicts.is_empty() && !writer.force {
        return Err(Refusal::apply_conflict(&conflicts));
    }
    let had = all.iter().find(|entry| mine(entry));
    let had = had.map(|entry| entry.fields.clone()).unwrap_or_default();
    let others = all.iter().filter(|entry| !mine(entry));
    let others = others.fold(Fields::default(), |sum, entry| sum.or(&entry.fields));
    let gone = had.without(&wanted).without(&others);
    remove(shape, &mut merged, &gone, &others);
    if kind.is_built_in() {
        drop_empty_maps(&mut merged);
    }
    assign(&mut all, writer, "Apply", wanted);
    put_entries(kind, &mut merged, &all);
    Ok(merged)
}

/// The live object with what is applied laid over it.
fn merge(shape: Shape<'_>, live: &Value, config: &Value) -> Value {
    match (live, config) {
        (Value::Object(old), Value::Object(new)) if !shape.is_atomic() => {
            let mut merged = old.clone();
            for (name, value) in new {
                let below = merge(shape.field(name), &live[name], value);
                merged.insert(name.clone(), below);
            }
            Value::Object(merged)
        },
        (Value::Array(old), Value::Array(new)) => match shape.list() {
            List::Atomic => config.clone(),
            List::Set => {
                let more = new.iter().filter(|item| !old.contains(item));
                Value::Array(old.iter().chain(more).cloned().collect())
            },
            List::Map(keys) => merge_items(shape, &keys, (old, new)),
        },
        _ => config.clone(),
    }
}

/// Items in the order in which they are applied; those that are only live keep their places.
fn merge_items(shape: Shape<'_>, keys: &[String], (old, new): (&[Value], &[Value])) -> Value {
    let key = |item: &Value| item_key(shape, keys, item);
    let live = |wanted: &Value| old.iter().find(|item| key(item) == key(wanted));
    let mut next = new.iter().map(|item| match live(item) {
        Some(live) => merge(shape.item(), live, item),
        None => item.clone(),
    });
    let mut merged = Vec::new();
    for item in old {
        if new.iter().any(|wanted| key(wanted) == key(item)) {
            merged.extend(next.next());
        } else {
            merged.push(item.clone());
        }
    }
    merged.extend(next);
    Value::Array(merged)
}

/// Takes fields away that their manager applies no more; what is empty after that goes too.
fn remove(shape: Shape<'_>, value: &mut Value, gone: &Fields, others: &Fields) {
    for (step, below) in &gone.below {
        let nothing = Fields::default();
        let kept = others.below.get(step).unwrap_or(&nothing);
        let whole = below.here && kept.is_empty();
        match (step.split_once(':'), &mut *value) {
            (Some(("f", name)), Value::Object(fields)) => {
                if let (false, Some(value)) = (whole, fields.get_mut(name)) {
                    remove(shape.field(name), value, below, kept);
                }
                if whole || fields.get(name).is_some_and(is_empty) {
                    fields.remove(name);
                }
            },
            (Some(("v", _)), Value::Array(items)) => {
                items.retain(|item| format!("v:{item}") != *step);
            },
            (Some(("k", _)), Value::Array(items)) => {
                let List::Map(keys) = shape.list() else {
                    continue;
                };
                let is_it = |item: &Value| item_key(shape, &keys, item) == *step;
                if whole {
                    items.retain(|item| !is_it(item));
                } else if let Some(item) = items.iter_mut().find(|item| is_it(item)) {
                    remove(shape.item(), item, below, kept);
                }
            },
            _ => {},
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// Maps of texts that are empty are not kept.
fn drop_empty_maps(value: &mut Value) {
    const MAPS: &[&str] = &[
        "labels",
        "annotations",
        "data",
        "ownerReferences",
        "finalizers",
    ];
    if let Value::Object(fields) = value {
        fields.retain(|name, value| !MAPS.contains(&&**name) || !is_empty(value));
        fields.values_mut().for_each(drop_empty_maps);
    }
}
