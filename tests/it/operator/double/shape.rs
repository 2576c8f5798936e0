//! What the fields of an object are: which lists are maps by keys, which are sets, which things are
//! written whole; and, for custom resources, defaults and unknown fields.
//!
//! Of Kubernetes' own kinds this is a table of the fields that ours use, and no default is filled in but
//! those that are parts of keys. Of custom resources it is what their schema says.

use serde_json::{Map, Value, json};

use super::kinds::Kind;

/// What kind of list a field is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum List {
    /// Written whole.
    Atomic,
    /// Items are values.
    Set,
    /// Items are found by these fields.
    Map(Vec<String>),
}

/// A place in an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape<'a> {
    /// In one of Kubernetes' own kinds, or in metadata: the kind and the field.
    BuiltIn(&'a str, &'a str),
    /// In a custom resource: the schema of this place.
    Custom(&'a Value),
    /// The top of a custom resource.
    CustomTop(&'a Value),
}

impl<'a> Shape<'a> {
    /// The top of an object.
    pub(crate) fn of(kind: &'a Kind) -> Self {
        match &kind.schema {
            Some(schema) => Self::CustomTop(schema),
            None => Self::BuiltIn(&kind.kind, ""),
        }
    }

    /// The place of a field.
    pub(crate) fn field(self, name: &'a str) -> Self {
        match self {
            Self::BuiltIn(kind, _) => Self::BuiltIn(kind, name),
            Self::CustomTop(_) if name == "metadata" => Self::BuiltIn("", "metadata"),
            Self::Custom(schema) | Self::CustomTop(schema) => {
                let known = &schema["properties"][name];
                let other = &schema["additionalProperties"];
                Self::Custom(if known.is_null() { other } else { known })
            },
        }
    }

    /// The place of an item of a list.
    pub(crate) fn item(self) -> Self {
        match self {
            Self::BuiltIn(..) => self,
            Self::Custom(schema) | Self::CustomTop(schema) => Self::Custom(&schema["items"]),
        }
    }

    /// Whether a thing with fields is written whole.
    pub(crate) fn is_atomic(self) -> bool {
        match self {
            Self::BuiltIn(_, field) => ATOMIC.contains(&field),
            Self::Custom(schema) | Self::CustomTop(schema) => {
                schema["x-kubernetes-map-type"] == "atomic"
            },
        }
    }

    /// What kind of list it is.
    pub(crate) fn list(self) -> List {
        match self {
            Self::BuiltIn(kind, field) => built_in_list(kind, field),
            Self::Custom(schema) | Self::CustomTop(schema) => {
                match schema["x-kubernetes-list-type"].as_str() {
                    Some("set") => List::Set,
                    Some("map") => {
                        let keys = schema["x-kubernetes-list-map-keys"].as_array();
                        let keys = keys.into_iter().flatten().filter_map(Value::as_str);
                        List::Map(keys.map(ToOwned::to_owned).collect())
                    },
                    _ => List::Atomic,
                }
            },
        }
    }

    /// The default of a field that is part of a key.
    pub(crate) fn key_default(self, key: &str) -> Value {
        match self {
            Self::BuiltIn(..) if key == "protocol" => json!("TCP"),
            Self::BuiltIn(..) => Value::Null,
            Self::Custom(schema) | Self::CustomTop(schema) => {
                schema["items"]["properties"][key]["default"].clone()
            },
        }
    }
}

/// Things of Kubernetes that are written whole.
const ATOMIC: &[&str] = &[
    "selector",
    "labelSelector",
    "podSelector",
    "namespaceSelector",
    "nodeSelector",
    "fieldRef",
    "resourceFieldRef",
    "secretKeyRef",
    "configMapKeyRef",
];

fn built_in_list(kind: &str, field: &str) -> List {
    let keys: &[&str] = match (kind, field) {
        ("NetworkPolicy", "ports") => return List::Atomic,
        ("Service", "ports") => &["port", "protocol"],
        (_, "ports") => &["containerPort", "protocol"],
        (_, "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets") => &["name"],
        (_, "volumeMounts") => &["mountPath"],
        (_, "ownerReferences") => &["uid"],
        (_, "conditions") => &["type"],
        (_, "topologySpreadConstraints") => &["topologyKey", "whenUnsatisfiable"],
        (_, "finalizers") => return List::Set,
        _ => return List::Atomic,
    };
    List::Map(keys.iter().map(|key| (*key).to_owned()).collect())
}

/// The key of an item, as field sets spell it.
pub(crate) fn item_key(list: Shape<'_>, keys: &[String], item: &Value) -> String {
    let mut key = Map::new();
    for name in keys {
        let given = &item[name];
        let value = if given.is_null() {
            list.key_default(name)
        } else {
            given.clone()
        };
        if !value.is_null() {
            key.insert(name.clone(), value);
        }
    }
    let sorted: std::collections::BTreeMap<_, _> = key.into_iter().collect();
    format!("k:{}", json!(sorted))
}

/// Fills in the defaults of a schema, and drops what it does not know and nulls that may not be.
pub(crate) fn complete(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
            let other = &schema["additionalProperties"];
            let properties = schema["properties"].as_object();
            if let Some(properties) = properties {
                for (name, of) in properties {
                    let nullable = of["nullable"] == true;
                    let is_null = fields.get(name).is_some_and(Value::is_null);
                    if is_null && !nullable {
                        fields.remove(name);
                    }
                    if !fields.contains_key(name) && !of["default"].is_null() {
                        fields.insert(name.clone(), of["default"].clone());
                    }
                }
            }
            fields.retain(|name, _| {
                keeps || !other.is_null() || properties.is_some_and(|all| all.contains_key(name))
            });
            for (name, value) in fields {
                match properties.and_then(|all| all.get(name)) {
                    Some(of) => complete(of, value),
                    None => complete(other, value),
                }
            }
        },
        Value::Array(items) => {
            for item in items {
                complete(&schema["items"], item);
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

/// Completes a custom resource: everything but its metadata.
pub(crate) fn complete_top(schema: &Value, object: &mut Value) {
    let metadata = object["metadata"].take();
    let names = ["apiVersion", "kind"].map(|name| (name, object[name].take()));
    complete(schema, object);
    for (name, value) in names {
        object[name] = value;
    }
    object["metadata"] = metadata;
}

/// Drops nulls, as reading an object of Kubernetes' own kinds does.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        },
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}
