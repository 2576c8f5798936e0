//! What a manifest may say, what is refused and with which words, and which components it becomes.

mod defaults;
mod generated;
mod manifests;
mod one_machine;
mod plans;
mod reference;
mod samples;

use serde_json::{Map, Value};
use vectorsphere::crd::v1alpha1::VectorClusterSpec;
use vectorsphere::topology::manifest;

/// A good manifest that says little.
fn base() -> Value {
    serde_yaml_ng::from_str(samples::MINIMAL).unwrap()
}

/// Puts a value at a dotted path, making the objects on the way; no value takes it away.
fn set(manifest: &mut Value, path: &str, value: Option<Value>) {
    let mut here = manifest;
    let mut names: Vec<&str> = path.split('.').collect();
    let last = names.pop().unwrap();
    for name in names {
        let object = here.as_object_mut().unwrap();
        here = object
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    let object = here.as_object_mut().unwrap();
    match value {
        Some(value) => object.insert(last.to_owned(), value),
        None => object.remove(last),
    };
}

/// The good manifest with some fields changed, the changes in YAML and `-` for a field less.
fn with(changes: &[(&str, &str)]) -> Value {
    let mut manifest = base();
    for (path, value) in changes {
        let value = (*value != "-").then(|| serde_yaml_ng::from_str(value).unwrap());
        set(&mut manifest, path, value);
    }
    manifest
}

/// The faults of a manifest as a person reads them.
fn faults(text: &str) -> Vec<String> {
    match manifest::check(text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

/// The checked spec of the good manifest with some fields changed.
fn spec(changes: &[(&str, &str)]) -> VectorClusterSpec {
    let text = serde_yaml_ng::to_string(&with(changes)).unwrap();
    manifest::check(&text).unwrap().spec
}
