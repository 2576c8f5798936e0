//! What neither the schema nor a rule of the definition can say.
//!
//! On the untyped spec, so that it can be said beside the faults of other fields.

use serde_json::Value;

use crate::topology::field::excerpt;
use crate::topology::quantity::Quantity;
use crate::topology::{FieldFault, FieldPath};

/// The roles whose processes have resources.
const WITH_RESOURCES: &[&str] = &["gateway", "master", "worker", "etcd.managed"];

/// The faults of a spec.
pub(super) fn faults(spec: &Value) -> Vec<FieldFault> {
    let mut faults = Vec::new();
    replication(spec, &mut faults);
    for role in WITH_RESOURCES {
        resources(spec, role, &mut faults);
    }
    faults
}

/// More than one copy is refused by name for as long as there is no replication: a promise that is
/// not kept is worse than none.
fn replication(spec: &Value, faults: &mut Vec<FieldFault>) {
    let factor = spec.pointer("/sharding/replicationFactor");
    if let Some(copies) = factor.and_then(Value::as_i64)
        && copies > 1
    {
        faults.push(FieldFault::new(
            FieldPath::of("spec.sharding.replicationFactor"),
            format!(
                "ReplicationNotAvailable: {copies} copies of each shard are not available yet; \
                 set it to 1"
            ),
        ));
    }
}

/// The schema of Kubernetes' quantities takes any text.
fn resources(spec: &Value, role: &str, faults: &mut Vec<FieldFault>) {
    let base = FieldPath::of("spec")
        .join(&FieldPath::of(role))
        .field("resources");
    let resources = spec.pointer(&format!("/{}/resources", role.replace('.', "/")));
    for kind in ["limits", "requests"] {
        let amounts = resources
            .and_then(|resources| resources.get(kind))
            .and_then(Value::as_object);
        for (name, amount) in amounts.into_iter().flatten() {
            let text = match amount {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => continue,
            };
            if Quantity::parse(&text).is_none_or(Quantity::is_negative) {
                faults.push(FieldFault::new(
                    base.field(kind).field(name),
                    format!(
                        "must be a quantity, such as 500m or 4Gi, not '{}'",
                        excerpt(&text)
                    ),
                ));
            }
        }
    }
}
