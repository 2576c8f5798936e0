//! The certificate that gateways show to applications: of the cluster's own authority, of a Secret that
//! somebody else fills, or of cert-manager. Between processes, and to probes and metrics of masters and
//! workers, it is always the cluster's own authority.

use serde_json::{Value, json};

use super::Render;
use super::options::drop_nulls;
use crate::crd::v1alpha1::{TlsMode, VectorClusterSpec};
use crate::operator::certificates::service_names;
use crate::topology::Role;

/// Where a gateway finds a certificate that is not of the cluster's own authority.
const FOLDER: &str = "/serving";

/// A Secret in a pod: the volume's name, the folder, the Secret.
pub(super) type Mounted = (&'static str, &'static str, String);

/// Where the certificate of a role's HTTP listener lies.
pub(super) fn folder(spec: &VectorClusterSpec, role: Role) -> &'static str {
    match (role, spec.tls.mode) {
        (Role::Gateway, TlsMode::Secret | TlsMode::CertManager) => FOLDER,
        _ => "/tls",
    }
}

/// The Secret that goes to that folder, where it is another than that for all of a pod.
pub(super) fn secret(render: &Render<'_>, role: Role) -> Option<Mounted> {
    let tls = &render.spec.tls;
    let name = match (role, tls.mode) {
        (Role::Gateway, TlsMode::Secret) => tls.secret_name.clone()?,
        (Role::Gateway, TlsMode::CertManager) => render.subject.serving(),
        _ => return None,
    };
    Some(("serving", FOLDER, name))
}

/// What cert-manager is asked for.
pub(super) fn certificate(render: &Render<'_>) -> Option<Value> {
    let (tls, subject) = (&render.spec.tls, render.subject);
    let issuer = tls.issuer_ref.as_ref();
    let issuer = issuer.filter(|_issuer| tls.mode == TlsMode::CertManager)?;
    let mut names = service_names(subject, Role::Gateway);
    names.extend(tls.extra_dns_names.clone());
    names.sort_unstable();
    names.dedup();
    let mut certificate = json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": render.accessory(&subject.of(Role::Gateway), Some(Role::Gateway)),
        "spec": {
            "secretName": subject.serving(), "dnsNames": names,
            "duration": tls.duration, "renewBefore": tls.renew_before,
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth"],
            "issuerRef": {"name": issuer.name, "kind": issuer.kind, "group": issuer.group},
        },
    });
    drop_nulls(&mut certificate);
    Some(certificate)
}
