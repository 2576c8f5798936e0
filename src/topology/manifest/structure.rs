//! The schema: what it fills in, and what it refuses.
//!
//! An API server's schema differs from JSON Schema in three ways that matter here. Objects are
//! closed unless they say otherwise (a server drops what it does not know; here it is a fault),
//! `x-kubernetes-int-or-string` stands for two types, and a number's `format` bounds it. The schema
//! is rewritten once to say so in plain JSON Schema.

use std::collections::BTreeSet;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::{Map, Value, json};

use super::words;
use crate::topology::field::Step;
use crate::topology::{FieldFault, FieldPath};

/// The schema of a manifest, ready for use.
pub(super) struct Structure {
    schema: Value,
    /// The compiled schema, or why it cannot be: then nothing is accepted.
    validator: Result<Validator, String>,
}

impl Structure {
    pub(super) fn new(mut schema: Value) -> Self {
        close(&mut schema);
        let validator = jsonschema::draft202012::options()
            .should_validate_formats(false)
            .build(&schema)
            .map_err(|error| error.to_string());
        Self { schema, validator }
    }

    /// Does to a manifest what an API server does before it looks at it: drops nulls, so that their
    /// defaults come in, and fills in defaults.
    pub(super) fn complete(&self, manifest: &mut Value) {
        complete(manifest, &self.schema);
    }

    /// Every fault of a completed manifest.
    pub(super) fn faults(&self, manifest: &Value) -> Vec<FieldFault> {
        let mut faults = Vec::new();
        match &self.validator {
            Ok(validator) => {
                let errors: Vec<_> = validator.iter_errors(manifest).collect();
                let ill_typed: BTreeSet<&str> = errors
                    .iter()
                    .filter(|error| is_of_type(error))
                    .map(|error| error.instance_path().as_str())
                    .collect();
                for error in &errors {
                    // Of a list where a word should be there is no more to say.
                    if is_of_type(error) || !ill_typed.contains(error.instance_path().as_str()) {
                        faults.extend(words::faults_of(error, &self.schema));
                    }
                }
            },
            Err(error) => faults.push(FieldFault::new(
                FieldPath::root(),
                format!("cannot be checked, the schema is broken: {error}"),
            )),
        }
        twins(manifest, &self.schema, &FieldPath::root(), &mut faults);
        faults
    }
}

fn is_of_type(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { .. })
}

/// Finds the items of a list that have the same keys as an item before, where the schema says that
/// the list is a map.
fn twins(value: &Value, schema: &Value, path: &FieldPath, faults: &mut Vec<FieldFault>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(schema) = schema_of(schema, name) {
                    twins(value, schema, &path.field(name), faults);
                }
            }
        },
        Value::Array(items) => {
            let keys: Vec<&str> = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .map(|keys| keys.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let mut seen = BTreeSet::new();
            for (index, item) in items.iter().enumerate() {
                let here = path.item(index);
                if keys_of(item, &keys).is_some_and(|same| !seen.insert(same)) {
                    let problem = format!("has the same {} as another item", keys.join(", "));
                    faults.push(FieldFault::new(here.clone(), problem));
                }
                if let Some(schema) = schema.get("items") {
                    twins(item, schema, &here, faults);
                }
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

/// What tells an item of a map from the others, if it is one and whole.
fn keys_of(item: &Value, keys: &[&str]) -> Option<Vec<String>> {
    if keys.is_empty() {
        return None;
    }
    keys.iter()
        .map(|key| item.get(key).map(Value::to_string))
        .collect()
}

/// The schemas directly below a schema, each with the rest left to the caller.
fn children(schema: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    schema.iter_mut().flat_map(|(keyword, value)| {
        let children: Vec<&mut Value> = match (keyword.as_str(), value) {
            ("properties", Value::Object(properties)) => properties
                .iter_mut()
                .map(|(_, property)| property)
                .collect(),
            ("items" | "additionalProperties", child) => vec![child],
            _ => Vec::new(),
        };
        children
    })
}

fn close(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    let says = |schema: &Map<String, Value>, keyword| schema.get(keyword) == Some(&json!(true));
    if says(schema, "x-kubernetes-int-or-string") {
        schema.insert("type".to_owned(), json!(["integer", "string"]));
    }
    let open = says(schema, "x-kubernetes-preserve-unknown-fields")
        || schema.contains_key("additionalProperties");
    if schema.get("type") == Some(&json!("object")) && !open {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    let range = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
        Some("int64") => Some((i64::MIN, i64::MAX)),
        _ => None,
    };
    if let Some((least, most)) = range {
        schema.entry("minimum").or_insert_with(|| json!(least));
        schema.entry("maximum").or_insert_with(|| json!(most));
    }
    for child in children(schema) {
        close(child);
    }
}

fn complete(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let others = schema
                .get("additionalProperties")
                .filter(|others| others.is_object());
            fields.retain(|name, value| {
                let known = properties.is_some_and(|known| known.contains_key(name));
                !(value.is_null() && (known || others.is_some()))
            });
            for (name, property) in properties.into_iter().flatten() {
                if let Some(default) = property.get("default")
                    && !fields.contains_key(name)
                {
                    fields.insert(name.clone(), default.clone());
                }
            }
            for (name, value) in fields {
                if let Some(schema) = schema_of(schema, name) {
                    complete(value, schema);
                }
            }
        },
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for item in items {
                    complete(item, schema);
                }
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

/// The schema of a field of an object.
pub(super) fn schema_of<'s>(object: &'s Value, name: &str) -> Option<&'s Value> {
    object
        .get("properties")
        .and_then(|properties| properties.get(name))
        .or_else(|| object.get("additionalProperties"))
}

/// The schema of the value at a path.
pub(super) fn schema_at<'s>(schema: &'s Value, path: &FieldPath) -> Option<&'s Value> {
    let mut here = schema;
    for step in path.steps() {
        here = match step {
            Step::Item(_) => here.get("items")?,
            Step::Field(name) => schema_of(here, name)?,
        };
    }
    Some(here)
}
