//! What a person may do about what a cluster waits for. Pure; only what is sure to be meant, and nothing
//! where waiting is enough.

use kube::ResourceExt;

use crate::crd::v1alpha1::{Operation, Power, VectorCluster, VectorClusterStatus};
use crate::plugin::change::APPROVAL_GATE;
use crate::plugin::conditions::find;
use crate::plugin::pods::PodLine;

/// The advice, the most telling first.
pub(super) fn advice(
    cluster: &VectorCluster,
    status: &VectorClusterStatus,
    pods: &[PodLine],
) -> Vec<String> {
    let name = cluster.name_any();
    let mut all = Vec::new();
    if cluster.status.is_none() {
        all.push(
            "look whether an operator runs: kubectl get pods -A -l \
             app.kubernetes.io/name=vectorsphere-operator"
                .to_owned(),
        );
    }
    if cluster.spec.paused {
        all.push(format!(
            "let the operator act again: kubectl vectorsphere resume {name}"
        ));
    }
    if cluster.spec.power == Power::Hibernated {
        all.push(format!(
            "have it run again: kubectl vectorsphere wake {name}"
        ));
    }
    all.extend(of_conditions(&name, status));
    all.extend(
        status
            .operations
            .iter()
            .filter_map(|one| of_operation(&name, one)),
    );
    all.extend(of_errors(&name, status));
    for pod in pods {
        let advice = of_pod(&name, pod);
        all.extend(advice.filter(|advice| !all.contains(advice)));
    }
    all
}

fn of_conditions(name: &str, status: &VectorClusterStatus) -> Vec<String> {
    let reason = |type_: &str, is: &str| {
        let condition = find(status, type_).filter(|one| one.status == is);
        condition.map(|one| one.reason.as_str())
    };
    let mut all = Vec::new();
    if reason("SpecValid", "False").is_some() {
        all.push(
            "change the fields of the manifest that SpecValid names; nothing is carried out until then"
                .to_owned(),
        );
    }
    if reason("Progressing", "False") == Some("RolledBack") {
        all.push(
            "change what the manifest asks for: what was taken back is not tried again as it is"
                .to_owned(),
        );
    }
    if reason("StorageReady", "False") == Some("ResizeUnsupported") {
        all.push(
            "ask for the size that the volumes have, or for volumes of a class that can grow"
                .to_owned(),
        );
    }
    if matches!(reason("Ready", "False"), Some("ProbeFailed")) {
        all.push(format!(
            "read what the masters say: kubectl vectorsphere logs {name} --role master"
        ));
    }
    match reason("DeletionBlocked", "True") {
        Some("Protected") => {
            all.push("set spec.deletionProtection to false, if it shall be deleted".to_owned());
        },
        Some("VolumeInUse") => all.push(
            "wait until pods and volumes are gone; the annotation vectorsphere.io/force-delete: \
             \"true\" waits for nothing and leaves the volumes"
                .to_owned(),
        ),
        _ => {},
    }
    all
}

fn of_operation(name: &str, operation: &Operation) -> Option<String> {
    let target = operation.target.as_deref().unwrap_or("the pod");
    let advice = match operation.blocked_by.as_deref()? {
        APPROVAL_GATE => format!("let the update begin: kubectl vectorsphere approve {name}"),
        "OnDelete" => "delete a pod to have it made anew: kubectl delete pod NAME".to_owned(),
        "NoShards" => format!(
            "drop the collections whose shards {target} holds, or scale out again: no shard can be \
             moved yet"
        ),
        "StorageClassCannotExpand" | "NotBuilt" => return None,
        gate => format!(
            "wait, or, if you know better than {gate}, switch it off: kubectl annotate vectorcluster \
             {name} vectorsphere.io/skip-gates={gate}"
        ),
    };
    Some(advice)
}

fn of_errors(name: &str, status: &VectorClusterStatus) -> Option<String> {
    let foreign = status
        .last_errors
        .iter()
        .any(|error| error.code == "operator.foreign_volume");
    foreign.then(|| {
        format!(
            "take the volumes of the earlier cluster over, with all data, if that is meant: kubectl \
             annotate vectorcluster {name} vectorsphere.io/adopt=UID"
        )
    })
}

fn of_pod(name: &str, pod: &PodLine) -> Option<String> {
    pod.why.as_ref()?;
    match &*pod.state {
        state if state.contains("Image") => Some(format!(
            "look whether the nodes can have the image {}, and whether spec.image is right",
            pod.image
        )),
        "Unscheduled" => Some(
            "look whether a node has room, and what spec.podDefaults and the role's pod ask of it: \
             kubectl describe nodes"
                .to_owned(),
        ),
        "CrashLoopBackOff" | "RunContainerError" | "Failed" => Some(format!(
            "read what it said: kubectl vectorsphere logs {name} --role {} --previous",
            pod.role
        )),
        _ => None,
    }
}
