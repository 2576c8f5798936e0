//! Which conditions of a cluster a person has to look at. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::crd::v1alpha1::{VectorCluster, VectorClusterStatus};

/// Conditions that say with True that something is not as usual.
const BETTER_FALSE: &[&str] = &[
    "Degraded",
    "DeletionBlocked",
    "Hibernated",
    "Paused",
    "Progressing",
];

/// What the operator has said, or nothing.
pub(super) fn status(cluster: &VectorCluster) -> VectorClusterStatus {
    cluster.status.clone().unwrap_or_default()
}

/// A condition by its type.
pub(super) fn find<'a>(status: &'a VectorClusterStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|one| one.type_ == type_)
}

/// Whether a condition is as it is when all is well.
pub(super) fn is_usual(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        // What was taken back or is blocked does not progress either.
        "Progressing" => condition.status == "False" && condition.reason == "Complete",
        // On its way to sleep it is False.
        "Hibernated" => false,
        type_ if BETTER_FALSE.contains(&type_) => condition.status == "False",
        _ => condition.status == "True",
    }
}

/// Those that are not as usual.
pub(super) fn unusual(status: &VectorClusterStatus) -> Vec<&Condition> {
    let conditions = status.conditions.iter();
    conditions.filter(|one| !is_usual(one)).collect()
}

/// Whether it is Ready, and the operator has seen its newest generation.
pub(super) fn is_ready(cluster: &VectorCluster) -> bool {
    let Some(status) = &cluster.status else {
        return false;
    };
    let ready = find(status, "Ready").is_some_and(|one| one.status == "True");
    ready && is_observed(cluster)
}

/// Whether the operator has seen its newest generation.
pub(super) fn is_observed(cluster: &VectorCluster) -> bool {
    let seen = cluster
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    seen == cluster.metadata.generation
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A cluster of generation 2 with this status.
    pub(in crate::plugin) fn cluster(status: &Value) -> VectorCluster {
        serde_json::from_value(json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCluster",
            "metadata": {"name": "small", "namespace": "default", "uid": "u", "generation": 2},
            "spec": {
                "version": "0.1.0", "worker": {"storage": {"size": "1Gi"}}, "etcd": {"managed": {}},
            },
            "status": status,
        }))
        .unwrap()
    }

    /// A condition that holds, or does not, since the second 60.
    pub(in crate::plugin) fn said(type_: &str, status: &str, reason: &str, text: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": text,
            "lastTransitionTime": "1970-01-01T00:01:00Z"})
    }

    #[test]
    fn what_is_unusual_depends_on_the_condition() {
        let check = |type_: &str, status: &str, reason: &str, usual: bool| {
            let condition = serde_json::from_value(said(type_, status, reason, "")).unwrap();
            assert_eq!(is_usual(&condition), usual, "{type_} {status} {reason}");
        };
        check("Ready", "True", "AllComponentsReady", true);
        check("Ready", "False", "ComponentsNotReady", false);
        check("Degraded", "False", "AsExpected", true);
        check("Degraded", "True", "WorkerMissing", false);
        check("Progressing", "False", "Complete", true);
        check("Progressing", "False", "RolledBack", false);
        check("Progressing", "True", "Updating", false);
        check("Hibernated", "False", "Requested", false);
        check("SomethingNew", "False", "Why", false);
    }

    #[test]
    fn a_status_of_an_older_generation_does_not_say_ready() {
        let ready = |generation: i64| {
            let ready = said("Ready", "True", "AllComponentsReady", "");
            is_ready(&cluster(
                &json!({"observedGeneration": generation, "conditions": [ready]}),
            ))
        };
        assert!(ready(2));
        assert!(!ready(1));
    }
}
