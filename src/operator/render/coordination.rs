//! How the processes of a cluster find its etcd: the one that is run for it, or one that is there
//! already.
//!
//! An etcd that is there already may serve others. What a cluster keeps there begins with the prefix, its
//! namespace and its name, and holds its UID: a cluster of the same names in another Kubernetes, or
//! after this one, is refused by the processes.

use super::Render;
use super::etcd::CLIENT_PORT;
use super::serving::Mounted;
use crate::topology::Role;

/// Where a process finds its credentials for an etcd that is not the cluster's own.
const FOLDER: &str = "/etcd-tls";

/// What a process is told.
pub(super) fn arguments(render: &Render<'_>) -> Vec<String> {
    let subject = render.subject;
    let Some(external) = &render.spec.etcd.external else {
        let host = subject.dns(&subject.of(Role::Etcd));
        return vec![
            format!("--etcd=https://{host}:{CLIENT_PORT}"),
            "--etcd-tls=/tls".to_owned(),
        ];
    };
    let endpoints: Vec<&str> = external
        .endpoints
        .iter()
        .map(|one| one.0.as_str())
        .collect();
    let mut arguments = vec![
        format!("--etcd={}", endpoints.join(",")),
        format!("--prefix={}", external.prefix.trim_end_matches('/')),
        format!("--cluster-uid={}", subject.uid),
    ];
    if external.tls_secret.is_some() {
        arguments.push(format!("--etcd-tls={FOLDER}"));
    }
    arguments
}

/// The Secret with its credentials for an etcd that is not the cluster's own.
pub(super) fn secret(render: &Render<'_>) -> Option<Mounted> {
    let external = render.spec.etcd.external.as_ref()?;
    let secret = external.tls_secret.as_ref()?;
    Some(("etcd-tls", FOLDER, secret.name.clone()))
}
