//! The `CustomResourceDefinition` of each kind, made from its types and slimmed to what an API server
//! needs.
//!
//! What the derive produces is changed in three ways, each learnt from a real API server:
//!
//! * `nullable` goes. With it the server keeps a null that somebody sent; without it the null is
//!   dropped and the default comes in.
//! * The long texts inside Kubernetes' own types go, and ours stay. With them the object is larger
//!   than what `kubectl apply` and Helm can store.
//! * `metadata.name` of a cluster is bounded in the schema: other names are made from it. The same as
//!   a CEL rule is over the server's cost limit.

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResourceExt;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::crd::Kind;
use crate::crd::v1alpha1::{
    VectorBackup, VectorBackupSchedule, VectorCluster, VectorCollection, VectorOpsTask,
    VectorRestore,
};

/// Fields whose schema is Kubernetes' own: what is below them is in Kubernetes' documentation.
pub const KUBERNETES_FIELDS: &[&str] = &[
    "affinity",
    "conditions",
    "namespaceSelector",
    "podSecurityContext",
    "podSelector",
    "resources",
    "securityContext",
    "tolerations",
    "topologySpreadConstraints",
    "valueFrom",
];

static DEFINITIONS: LazyLock<[Value; 6]> = LazyLock::new(|| Kind::ALL.map(build));

/// The `CustomResourceDefinition` of a kind as it is installed.
pub fn definition(kind: Kind) -> &'static Value {
    let [cluster, collection, backup, schedule, restore, task] = &*DEFINITIONS;
    match kind {
        Kind::Cluster => cluster,
        Kind::Collection => collection,
        Kind::Backup => backup,
        Kind::BackupSchedule => schedule,
        Kind::Restore => restore,
        Kind::OpsTask => task,
    }
}

/// The `openAPIV3Schema` of the served version of a kind.
pub fn schema(kind: Kind) -> &'static Value {
    definition(kind)
        .pointer("/spec/versions/0/schema/openAPIV3Schema")
        .unwrap_or(&Value::Null)
}

/// The text of [`Kind::file`]. Kubernetes' own schemas stand on one line each: nobody reads them, and
/// indented they are two thirds of a file.
pub fn yaml(kind: Kind) -> String {
    let mut body = definition(kind).clone();
    let mut inlined = Vec::new();
    take_foreign(&mut body, &mut inlined);
    let mut text = serde_yaml_ng::to_string(&body)
        .expect("a JSON value whose keys are strings has a YAML form");
    for (number, schema) in inlined.iter().enumerate() {
        text = text.replacen(
            &format!(": {}\n", placeholder(number)),
            &format!(": {schema}\n"),
            1,
        );
    }
    format!("# Made by `vectorsphere crdgen` from the types in src/crd. Do not edit.\n---\n{text}")
}

fn placeholder(number: usize) -> String {
    format!("kubernetes-schema-{number}")
}

/// Puts a placeholder in the place of every schema of Kubernetes, in the order of the text.
fn take_foreign(value: &mut Value, taken: &mut Vec<Value>) {
    match value {
        Value::Object(fields) => {
            for (keyword, value) in fields.iter_mut() {
                match (keyword.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties.iter_mut() {
                            if KUBERNETES_FIELDS.contains(&name.as_str()) {
                                let text = Value::String(placeholder(taken.len()));
                                taken.push(std::mem::replace(property, text));
                            } else {
                                take_foreign(property, taken);
                            }
                        }
                    },
                    (_, value) => take_foreign(value, taken),
                }
            }
        },
        Value::Array(items) => {
            for item in items {
                take_foreign(item, taken);
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

/// The schema of the whole `metadata` of a cluster's manifest. The definition may only bound its name: an API
/// server knows the rest, and a checker of files has to be told.
pub fn metadata_schema() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut schema = generator.into_root_schema_for::<ObjectMeta>().to_value();
    slim(&mut schema, Texts::Drop);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("name".to_owned(), name_schema());
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("required".to_owned(), json!(["name"]));
    }
    let managed_fields = schema.pointer_mut("/properties/managedFields/items/properties/fieldsV1");
    if let Some(Value::Object(any_object)) = managed_fields {
        any_object.insert(
            "x-kubernetes-preserve-unknown-fields".to_owned(),
            Value::Bool(true),
        );
    }
    schema
}

/// Names of services, pods and volumes are made from the cluster's name; labels hold 63 characters.
fn name_schema() -> Value {
    json!({
        "type": "string",
        "maxLength": 40,
        "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$",
    })
}

fn build(kind: Kind) -> Value {
    let made = match kind {
        Kind::Cluster => VectorCluster::crd(),
        Kind::Collection => VectorCollection::crd(),
        Kind::Backup => VectorBackup::crd(),
        Kind::BackupSchedule => VectorBackupSchedule::crd(),
        Kind::Restore => VectorRestore::crd(),
        Kind::OpsTask => VectorOpsTask::crd(),
    };
    let mut definition =
        serde_json::to_value(made).expect("the definition is made of strings, numbers and lists");
    if let Some(versions) = definition.pointer_mut("/spec/versions") {
        slim(versions, Texts::Keep);
    }
    let properties = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties");
    if kind == Kind::Cluster
        && let Some(Value::Object(properties)) = properties
    {
        properties.insert(
            "metadata".to_owned(),
            json!({"type": "object", "properties": {"name": name_schema()}}),
        );
    }
    canonical(&definition)
}

/// Whether the descriptions below a place are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    Keep,
    Drop,
}

fn slim(schema: &mut Value, texts: Texts) {
    match schema {
        Value::Object(fields) => {
            fields.remove("nullable");
            if texts == Texts::Drop && fields.get("description").is_some_and(Value::is_string) {
                fields.remove("description");
            }
            for (keyword, value) in fields.iter_mut() {
                match (keyword.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties.iter_mut() {
                            if KUBERNETES_FIELDS.contains(&name.as_str()) {
                                slim_foreign(property, texts);
                            } else {
                                slim(property, texts);
                            }
                        }
                    },
                    ("default" | "enum", _) => {},
                    (_, value) => slim(value, texts),
                }
            }
        },
        Value::Array(items) => {
            for item in items {
                slim(item, texts);
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

/// Slims a field of Kubernetes. What the field is for is our own text.
fn slim_foreign(property: &mut Value, texts: Texts) {
    let own = property.get("description").cloned();
    slim(property, Texts::Drop);
    if let (Texts::Keep, Some(own), Value::Object(fields)) = (texts, own, property) {
        fields.insert("description".to_owned(), own);
    }
}

/// The same value in the one form that is committed. Its keys are in alphabetical order, whatever
/// order the JSON library keeps: that hangs on a feature which another dependency may turn on. A
/// whole number is written as one, as a server gives it back.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            let mut ordered = Map::new();
            for name in names {
                if let Some(value) = fields.get(name) {
                    ordered.insert(name.clone(), canonical(value));
                }
            }
            Value::Object(ordered)
        },
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Number(number) => match number.to_string().strip_suffix(".0") {
            Some(whole) => whole
                .parse::<i64>()
                .map_or_else(|_| value.clone(), Value::from),
            None => value.clone(),
        },
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}
