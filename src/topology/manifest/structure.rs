//! The schema: what it fills in, and what it refuses.
//!
//! An API server's schema differs from JSON Schema in three ways that matter here. Objects are
//! closed unless they say otherwise (a server drops what it does not know; here it is a fault),
//! `x-kubernetes-int-or-string` stands for two types, and a number's `format` bounds it. The schema
//! is rewritten once to say so in plain JSON Schema.

use jsonschema::Validator;
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
        match &self.validator {
            Ok(validator) => validator
                .iter_errors(manifest)
                .flat_map(|error| words::faults_of(&error, &self.schema))
                .collect(),
            Err(error) => vec![FieldFault::new(
                FieldPath::root(),
                format!("cannot be checked, the schema is broken: {error}"),
            )],
        }
    }
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
                let known = properties.and_then(|known| known.get(name));
                if let Some(schema) = known.or(others) {
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

/// The schema of the value at a path.
pub(super) fn schema_at<'s>(schema: &'s Value, path: &FieldPath) -> Option<&'s Value> {
    let mut here = schema;
    for step in path.steps() {
        here = match step {
            Step::Item(_) => here.get("items")?,
            Step::Field(name) => here
                .get("properties")
                .and_then(|properties| properties.get(name))
                .or_else(|| here.get("additionalProperties"))?,
        };
    }
    Some(here)
}
