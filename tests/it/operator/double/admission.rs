//! What an API server and its admission add to objects of Kubernetes' own kinds, as far as somebody here
//! waits for it.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;
use super::verbs::fields;

/// What holds a volume's claim while a pod uses it.
pub(crate) const CLAIM_FINALIZER: &str = "kubernetes.io/pvc-protection";

/// What a new object gets.
pub(crate) fn made(kind: &Kind, object: &mut Value) {
    match &*kind.kind {
        "Pod" => object["status"] = json!({"phase": "Pending"}),
        "PersistentVolumeClaim" => {
            object["metadata"]["finalizers"] = json!([CLAIM_FINALIZER]);
            object["status"] = json!({"phase": "Pending"});
        },
        "Namespace" => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            let name = object["metadata"]["name"].clone();
            fields(&mut object["metadata"], "labels")
                .insert("kubernetes.io/metadata.name".to_owned(), name);
        },
        "CustomResourceDefinition" => {
            object["status"] = json!({"conditions": [
                {"type": "NamesAccepted", "status": "True"},
                {"type": "Established", "status": "True"},
            ]});
        },
        "Deployment" | "StatefulSet" | "ReplicaSet" if object["spec"]["replicas"].is_null() => {
            object["spec"]["replicas"] = json!(1);
        },
        _ => {},
    }
}

/// What may not change.
pub(crate) fn changed(kind: &Kind, before: &Value, after: &Value) -> Result<(), Refusal> {
    let fixed: &[&str] = match &*kind.kind {
        "StatefulSet" => &["selector", "serviceName", "volumeClaimTemplates"],
        "Deployment" | "ReplicaSet" => &["selector"],
        "ControllerRevision" if before["data"] != after["data"] => {
            let name = before["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Refusal::invalid(kind, name, "data: field is immutable"));
        },
        _ => &[],
    };
    let differs = |field: &&&str| before["spec"][**field] != after["spec"][**field];
    match fixed.iter().find(differs) {
        Some(field) => {
            let name = before["metadata"]["name"].as_str().unwrap_or_default();
            let why = format!("spec.{field}: field is immutable");
            Err(Refusal::invalid(kind, name, &why))
        },
        None => Ok(()),
    }
}

/// How long an object gets when it is deleted: only pods on a node get time.
pub(crate) fn grace(kind: &Kind, live: &Value, asked: Option<u64>) -> u64 {
    if kind.kind != "Pod" || live["spec"]["nodeName"].is_null() {
        return 0;
    }
    let own = live["spec"]["terminationGracePeriodSeconds"].as_u64();
    asked.unwrap_or_else(|| own.unwrap_or(30))
}
