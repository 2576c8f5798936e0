//! How the processes of a cluster find its etcd: the one that is run for it, or one that is there
//! already.
//!
//! An etcd that is there already may serve others. What a cluster keeps there begins with the prefix, its
//! namespace and its name, and holds its UID: a cluster of the same names in another Kubernetes, or
//! after this one, is refused by the processes.

use super::Render;
use super::etcd::CLIENT_PORT;
use super::serving::Mounted;
use crate::crd::v1alpha1::NameReference;
use crate::topology::Role;

/// Where a process finds its credentials for an etcd that is not the cluster's own.
const FOLDER: &str = "/etcd-tls";
/// Where it finds the user and the password by which it logs in there.
const LOGIN_FOLDER: &str = "/etcd-auth";

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
    if external.auth_secret.is_some() {
        arguments.push(format!("--etcd-auth={LOGIN_FOLDER}"));
    }
    arguments
}

/// The Secrets with its credentials for an etcd that is not the cluster's own.
pub(super) fn secrets(render: &Render<'_>) -> [Option<Mounted>; 2] {
    let Some(external) = &render.spec.etcd.external else {
        return [None, None];
    };
    let mounted = |name, folder, secret: &Option<NameReference>| -> Option<Mounted> {
        let secret = secret.as_ref()?;
        Some((name, folder, secret.name.clone()))
    };
    [
        mounted("etcd-tls", FOLDER, &external.tls_secret),
        mounted("etcd-auth", LOGIN_FOLDER, &external.auth_secret),
    ]
}
