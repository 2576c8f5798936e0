//! What a manifest may say and the operator cannot carry out yet. It refuses the whole manifest, by
//! the field, and does nothing: half a manifest would be a cluster that nobody asked for.

use crate::crd::v1alpha1::{DeletionPolicy, VectorClusterSpec};
use crate::topology::set_beside;

/// The fields that are carried out, with all that is below them. `docs/operator.md` says what is
/// left open of their changes.
const CARRIED_OUT: &[&str] = &[
    "spec.version",
    "spec.image",
    "spec.sharding.shards",
    "spec.gateway.replicas",
    "spec.gateway.routing",
    "spec.gateway.resources",
    "spec.gateway.service.type",
    "spec.gateway.service.loadBalancerClass",
    "spec.gateway.service.loadBalancerSourceRanges",
    "spec.gateway.pod.nodeSelector",
    "spec.gateway.pod.tolerations",
    "spec.gateway.pod.terminationGracePeriodSeconds",
    "spec.master.replicas",
    "spec.master.resources",
    "spec.master.pod.nodeSelector",
    "spec.master.pod.tolerations",
    "spec.master.pod.terminationGracePeriodSeconds",
    "spec.worker.replicas",
    "spec.worker.resources",
    "spec.worker.scaledDownVolumes",
    "spec.worker.storage.size",
    "spec.worker.storage.resize",
    "spec.worker.storage.storageClassName",
    "spec.worker.pod.nodeSelector",
    "spec.worker.pod.tolerations",
    "spec.worker.pod.terminationGracePeriodSeconds",
    "spec.etcd.managed.replicas",
    "spec.etcd.managed.image",
    "spec.etcd.managed.resources",
    "spec.etcd.managed.storage.size",
    "spec.etcd.managed.storage.resize",
    "spec.etcd.managed.storage.storageClassName",
    "spec.tls.duration",
    "spec.tls.renewBefore",
    "spec.tls.extraDnsNames",
    "spec.auth.secret",
    "spec.logging",
    "spec.updates.type",
    "spec.updates.maxUnavailable",
    "spec.updates.progressDeadlineSeconds",
    "spec.updates.rollbackOnFailure",
    "spec.deletionPolicy",
    // By the ValidatingAdmissionPolicy that is installed with the operator.
    "spec.deletionProtection",
    "spec.power",
    "spec.paused",
];

/// The fields that ask for something else, each in a sentence; empty when everything can be carried
/// out.
pub(super) fn fields(spec: &VectorClusterSpec) -> Vec<String> {
    let mut found: Vec<String> = set_beside(spec, CARRIED_OUT)
        .into_iter()
        .map(|field| format!("{field} is not built yet"))
        .collect();
    if spec.deletion_policy == DeletionPolicy::Snapshot {
        found.push("spec.deletionPolicy: Snapshot is not built yet".to_owned());
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{LAPTOP_SAMPLE, manifest};

    #[test]
    fn what_cannot_be_carried_out_is_named_and_defaults_can() {
        let spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
        assert_eq!(fields(&spec), Vec::<String>::new());
        let more = "  deletionPolicy: Snapshot\n  config: {a: b}\n  tls: {mode: Disabled}\n";
        let spec = manifest::check(&format!("{LAPTOP_SAMPLE}{more}"))
            .unwrap()
            .spec;
        let named = [
            "spec.config",
            "spec.deletionPolicy: Snapshot",
            "spec.tls.mode",
        ];
        let expected = named.map(|field| format!("{field} is not built yet"));
        assert_eq!(fields(&spec), expected);
    }
}
