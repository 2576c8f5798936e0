//! What a manifest may say and the operator cannot carry out yet. It refuses the whole manifest, by
//! the field, and does nothing: half a manifest would be a cluster that nobody asked for.

use crate::crd::v1alpha1::{
    AuthenticationMode, ClientAuthentication, DeletionPolicy, TlsMode, UpdateType,
    VectorClusterSpec,
};

/// The fields, each with its reason; empty when everything can be carried out.
pub(super) fn fields(spec: &VectorClusterSpec) -> Vec<String> {
    let checks = [
        (
            spec.sharding.replication_factor > 1,
            "spec.sharding.replicationFactor: replication is not built yet",
        ),
        (
            spec.etcd.external.is_some(),
            "spec.etcd.external: an etcd that is there already is not built yet",
        ),
        (
            spec.tls.mode != TlsMode::SelfSigned,
            "spec.tls.mode: only SelfSigned is built yet",
        ),
        (
            spec.tls.client_auth != ClientAuthentication::Disabled,
            "spec.tls.clientAuth: client certificates are not built yet",
        ),
        (
            spec.auth.mode != AuthenticationMode::ApiKey,
            "spec.auth.mode: only ApiKey is built yet",
        ),
        (
            spec.gateway.autoscaling.is_some(),
            "spec.gateway.autoscaling: it is not built yet",
        ),
        (
            spec.deletion_policy != DeletionPolicy::Retain,
            "spec.deletionPolicy: only Retain is built yet",
        ),
        (
            spec.bootstrap.is_some(),
            "spec.bootstrap: backups are not built yet",
        ),
        (
            !spec.config.is_empty(),
            "spec.config: settings in etcd are not built yet",
        ),
        (
            spec.updates.type_ != UpdateType::Automatic || !spec.updates.windows.is_empty(),
            "spec.updates: updates with gates are not built yet",
        ),
    ];
    let found = checks.into_iter().filter(|(unbuilt, _said)| *unbuilt);
    found.map(|(_unbuilt, said)| said.to_owned()).collect()
}
