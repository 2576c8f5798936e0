//! The certificate that gateways show to applications: of the cluster's own authority, of a Secret that
//! somebody else fills, or of cert-manager. Between processes, and to probes and metrics of masters and
//! workers, it is always the cluster's own authority.
//!
//! Applications show certificates of their own authority, of the cluster's, or of the one that stands beside
//! a certificate of somebody else's. Where they have to, kubelets, which have none, probe gateways at a port
//! of its own, which no Service and no policy names: a node reaches its pods in any case.

use serde_json::{Value, json};

use super::options::drop_nulls;
use super::{HTTP_PORT, PROBE_PORT, Render};
use crate::crd::v1alpha1::{ClientAuthentication, TlsMode, VectorClusterSpec};
use crate::operator::certificates::{CLIENT, service_names};
use crate::operator::issuers::CLIENTS_FILE;
use crate::security::credentials::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE};
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

/// What a gateway is told of the certificates of applications.
pub(super) fn client_arguments(render: &Render<'_>) -> Vec<String> {
    let demand = match render.spec.tls.client_auth {
        ClientAuthentication::Disabled => return Vec::new(),
        ClientAuthentication::Optional => "Optional",
        ClientAuthentication::Required => "Required",
    };
    let mut authorities = vec![
        format!("/tls/{CLIENTS_FILE}"),
        format!("/tls/{AUTHORITY_FILE}"),
    ];
    if secret(render, Role::Gateway).is_some() {
        authorities.push(format!("{FOLDER}/{AUTHORITY_FILE}"));
    }
    let mut arguments = vec![
        format!("--client-auth={demand}"),
        format!("--client-authorities={}", authorities.join(",")),
    ];
    let port = probe_port(render.spec, Role::Gateway);
    if port != HTTP_PORT {
        arguments.push(format!("--probe-listen=0.0.0.0:{port}"));
    }
    arguments
}

/// Where kubelets probe a role.
pub(super) fn probe_port(spec: &VectorClusterSpec, role: Role) -> u16 {
    match (role, spec.tls.client_auth) {
        (Role::Gateway, ClientAuthentication::Required) => PROBE_PORT,
        _ => HTTP_PORT,
    }
}

/// The certificate that a Prometheus shows to a role, as a monitor names it.
pub(super) fn shown_by_monitors(render: &Render<'_>, role: Role) -> Option<Value> {
    let asks = render.spec.tls.client_auth != ClientAuthentication::Disabled;
    (role == Role::Gateway && asks).then(|| {
        let name = render.subject.certificate_of(CLIENT);
        json!({
            "cert": {"secret": {"name": name, "key": CERTIFICATE_FILE}},
            "keySecret": {"name": name, "key": KEY_FILE},
        })
    })
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
