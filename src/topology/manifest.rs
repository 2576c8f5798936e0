//! Checks a manifest before anything is made from it.
//!
//! A file is judged as an API server would judge it, and by the same definition: unknown fields,
//! types, ranges and patterns by the schema, defaults filled in from it, then the rules in the
//! Common Expression Language (CEL), then what no schema can say. So a manifest that runs on a
//! laptop is accepted in Kubernetes, and one that is refused is refused with the same words.
//!
//! In one thing it goes further: an API server stops at the first kind of fault, and drops fields
//! that it does not know. Here every fault is named at once, an unknown field among them. A rule is
//! then only passed over when a field that it reads has a fault of its own.
//!
//! Promises. Any text at all gives an answer: it never panics, and size, depth, aliases and the
//! number of faults are bounded. A rule that cannot be evaluated is a fault that names the rule,
//! never a rule that holds.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::crd::v1alpha1::VectorClusterSpec;
use crate::crd::{self, Kind};
use crate::topology::field::{Step, excerpt};
use crate::topology::{FieldFault, FieldPath};

mod functions;
mod rules;
mod semantics;
mod structure;
mod text;
mod words;

use rules::Rules;
use structure::Structure;

/// Bytes of a manifest. etcd, and so Kubernetes, takes 1.5 MiB.
pub const BYTES_MAX: usize = 1024 * 1024;

/// Faults that are named; of more, their number is.
pub const FAULTS_MAX: usize = 256;

/// A manifest without faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`, if it was given.
    pub namespace: Option<String>,
    /// The spec, its defaults filled in.
    pub spec: VectorClusterSpec,
    /// The manifest as it was written, without defaults.
    written: Value,
}

impl Checked {
    /// Whether whoever wrote the manifest set this field.
    pub fn sets(&self, path: &FieldPath) -> bool {
        let mut value = Some(&self.written);
        for step in path.steps() {
            value = value.and_then(|value| match step {
                Step::Field(name) => value.get(name),
                Step::Item(index) => value.get(index),
            });
        }
        value.is_some()
    }
}

/// The checked manifest, or all of its faults in the order of their fields.
pub fn check(text: &str) -> Result<Checked, Vec<FieldFault>> {
    let (mut manifest, mut faults) = match text::read(text) {
        Ok(read) => read,
        Err(fault) => return Err(vec![fault]),
    };
    if let Some(object) = manifest.as_object_mut() {
        if !is_ours(object, &mut faults) {
            return Err(in_order(faults));
        }
        // An API server takes no status from whoever creates an object.
        object.remove("status");
    }
    let written = manifest.clone();
    CHECKER.judge(&mut manifest, None, &mut faults);
    if !faults.is_empty() {
        return Err(in_order(faults));
    }
    accepted(&manifest, written).map_err(|fault| vec![fault])
}

/// Every fault of a change from one checked spec to another: what is immutable has changed, or what
/// may only grow has shrunk.
pub fn check_change(old: &VectorClusterSpec, new: &VectorClusterSpec) -> Vec<FieldFault> {
    let of = |spec: &VectorClusterSpec| json!({"spec": serde_json::to_value(spec).ok()});
    let mut faults = Vec::new();
    CHECKER.rules.judge(&of(new), Some(&of(old)), &mut faults);
    in_order(faults)
}

/// What no schema and no rule of the definition says, for whoever acts on a spec that an API server
/// has accepted.
pub fn check_spec(spec: &VectorClusterSpec) -> Vec<FieldFault> {
    let spec = serde_json::to_value(spec).unwrap_or(Value::Null);
    in_order(semantics::faults(&spec))
}

static CHECKER: LazyLock<Checker> = LazyLock::new(Checker::new);

struct Checker {
    structure: Structure,
    rules: Rules,
}

impl Checker {
    fn new() -> Self {
        let mut schema = crd::schema(Kind::Cluster).clone();
        let rules = Rules::new(&schema);
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
            properties.insert("kind".to_owned(), json!({"type": "string"}));
            properties.insert("metadata".to_owned(), crd::metadata_schema());
            properties.remove("status");
        }
        if let Some(schema) = schema.as_object_mut() {
            schema.insert(
                "required".to_owned(),
                json!(["apiVersion", "kind", "metadata", "spec"]),
            );
        }
        Self {
            structure: Structure::new(schema),
            rules,
        }
    }

    fn judge(&self, manifest: &mut Value, old: Option<&Value>, faults: &mut Vec<FieldFault>) {
        self.structure.complete(manifest);
        faults.extend(self.structure.faults(manifest));
        self.rules.judge(manifest, old, faults);
        if let Some(spec) = manifest.get("spec") {
            faults.extend(semantics::faults(spec));
        }
    }
}

/// Whether this is a manifest of ours: then it is worth checking further. One wrong word of the two
/// is a slip; two are another kind of object.
fn is_ours(manifest: &Map<String, Value>, faults: &mut Vec<FieldFault>) -> bool {
    let mut wrong = 0;
    for (field, expected) in [
        ("apiVersion", crd::API_VERSION),
        ("kind", Kind::Cluster.name()),
    ] {
        if let Some(Value::String(given)) = manifest.get(field)
            && given != expected
        {
            wrong += 1;
            let problem = format!("must be {expected}, not {}", excerpt(given));
            faults.push(FieldFault::new(FieldPath::of(field), problem));
        }
    }
    wrong < 2
}

/// The manifest as types. Its faults are known to be none; should the types and the schema ever
/// disagree, that is a fault too.
fn accepted(manifest: &Value, written: Value) -> Result<Checked, FieldFault> {
    let spec = manifest.get("spec").cloned().unwrap_or(Value::Null);
    let text_at = |pointer| manifest.pointer(pointer).and_then(Value::as_str);
    Ok(Checked {
        name: text_at("/metadata/name").unwrap_or_default().to_owned(),
        namespace: text_at("/metadata/namespace").map(str::to_owned),
        spec: serde_json::from_value(spec)
            .map_err(|error| FieldFault::new(FieldPath::of("spec"), error.to_string()))?,
        written,
    })
}

fn in_order(mut faults: Vec<FieldFault>) -> Vec<FieldFault> {
    faults.sort();
    faults.dedup();
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(FieldFault::new(
            FieldPath::root(),
            format!("has {more} more faults"),
        ));
    }
    faults
}

#[cfg(test)]
mod tests;
