//! What a manifest may say and the operator cannot carry out yet. It refuses the whole manifest, by
//! the field, and does nothing: half a manifest would be a cluster that nobody asked for.

use super::windows;
use crate::crd::v1alpha1::{
    AuthenticationMode, DeletionPolicy, Endpoint, TlsMode, VectorClusterSpec,
};
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
    "spec.gateway.autoscaling",
    "spec.gateway.service",
    "spec.gateway.pod",
    "spec.master.replicas",
    "spec.master.resources",
    "spec.master.pod",
    "spec.worker.replicas",
    "spec.worker.resources",
    "spec.worker.scaledDownVolumes",
    "spec.worker.storage.size",
    "spec.worker.storage.resize",
    "spec.worker.storage.autoGrow",
    "spec.worker.storage.storageClassName",
    "spec.worker.pod",
    "spec.etcd.managed.replicas",
    "spec.etcd.managed.image",
    "spec.etcd.managed.resources",
    "spec.etcd.managed.storage.size",
    "spec.etcd.managed.storage.resize",
    "spec.etcd.managed.storage.storageClassName",
    "spec.etcd.managed.pod",
    "spec.podDefaults",
    "spec.networkPolicy",
    "spec.serviceAccount",
    "spec.etcd.external.endpoints",
    "spec.etcd.external.prefix",
    "spec.etcd.external.tlsSecret",
    "spec.etcd.external.authSecret",
    "spec.tls.mode",
    "spec.tls.issuerRef",
    "spec.tls.secretName",
    "spec.tls.duration",
    "spec.tls.renewBefore",
    "spec.tls.extraDnsNames",
    "spec.tls.clientAuth",
    "spec.auth",
    "spec.monitoring",
    "spec.logging",
    "spec.updates.type",
    "spec.updates.maxUnavailable",
    "spec.updates.progressDeadlineSeconds",
    "spec.updates.rollbackOnFailure",
    "spec.updates.windows",
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
    found.extend(refused(spec));
    found.extend(windows::faults(&spec.updates.windows));
    found.sort();
    found
}

/// What the processes of a cluster refuse: better said here than by pods that never start.
fn refused(spec: &VectorClusterSpec) -> Vec<String> {
    let external = spec.etcd.external.as_ref();
    let needs_tls = external.is_some_and(|etcd| {
        let secure = |one: &Endpoint| one.0.starts_with("https://");
        etcd.tls_secret.is_none() && etcd.endpoints.iter().any(secure)
    });
    let rules = [
        (
            spec.tls.mode == TlsMode::Disabled,
            "spec.tls.mode: a gateway that others can reach needs a certificate",
        ),
        (
            spec.auth.mode == AuthenticationMode::Disabled,
            "spec.auth.mode: a gateway that others can reach needs API keys",
        ),
        (
            needs_tls,
            "spec.etcd.external.tlsSecret: endpoints of https need one with tls.crt, tls.key and ca.crt",
        ),
        (
            external.is_some_and(|etcd| etcd.prefix.contains("//")),
            "spec.etcd.external.prefix: an empty part of a path is no part of a key",
        ),
    ];
    let broken = rules.into_iter().filter(|(is_broken, _why)| *is_broken);
    broken.map(|(_is_broken, why)| why.to_owned()).collect()
}

#[cfg(test)]
mod leaves;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{LAPTOP_SAMPLE, manifest};

    #[test]
    fn what_cannot_be_carried_out_is_named_and_defaults_can() {
        let spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
        assert_eq!(fields(&spec), Vec::<String>::new());
        let more = "  deletionPolicy: Snapshot\n  config: {a: b}\n  tls: {clientAuth: Required}\n";
        let spec = manifest::check(&format!("{LAPTOP_SAMPLE}{more}"))
            .unwrap()
            .spec;
        let named = ["spec.config", "spec.deletionPolicy: Snapshot"];
        let expected = named.map(|field| format!("{field} is not built yet"));
        assert_eq!(fields(&spec), expected);
    }

    #[test]
    fn every_sample_can_be_carried_out() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/samples");
        let mut tried = 0;
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = fs_err::read_to_string(&path).unwrap();
            if text.contains("kind: VectorCluster\n") {
                let spec = manifest::check(&text).unwrap().spec;
                assert_eq!(fields(&spec), Vec::<String>::new(), "{}", path.display());
                tried += 1;
            }
        }
        assert_eq!(tried, 6);
    }
}
