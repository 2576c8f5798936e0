//! The etcd that is run for a cluster.

use serde_json::{Value, json};

use super::options::{self, Pod, drop_nulls};
use super::{Render, controlled};
use crate::crd::v1alpha1::ManagedEtcd;
use crate::operator::names::MEMBERS;
use crate::operator::revisions::Template;
use crate::topology::Role;

pub(in crate::operator) const CLIENT_PORT: u16 = 2379;
pub(super) const PEER_PORT: u16 = 2380;
pub(super) const METRICS_PORT: u16 = 2381;
/// Bytes that a member may hold before it refuses writes.
const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// What its members are made from.
pub(super) fn template(render: &Render<'_>, etcd: &ManagedEtcd) -> Value {
    let subject = render.subject;
    let image = etcd.image.as_ref().unwrap_or(&render.images.etcd);
    let probe = json!({
        "httpGet": {"path": "/readyz", "port": METRICS_PORT}, "periodSeconds": 2,
        "timeoutSeconds": 5, "failureThreshold": 5,
    });
    let container = json!({
        "name": "etcd", "image": image, "args": arguments(render),
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [
            {"name": "client", "containerPort": CLIENT_PORT},
            {"name": "peer", "containerPort": PEER_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": probe, "resources": etcd.resources,
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "tls", "mountPath": "/tls", "readOnly": true},
        ],
    });
    let certificates = json!({"name": "tls", "secret": {
        "secretName": subject.certificate_of("etcd"), "defaultMode": 0o440,
    }});
    let pod = Pod {
        container,
        volumes: vec![certificates],
        grace_seconds: None,
    };
    options::template(render, Role::Etcd, pod)
}

/// Its StatefulSet. Members start at once; they are replaced one by one, for a quorum is not an order.
pub(super) fn stateful_set(
    render: &Render<'_>,
    etcd: &ManagedEtcd,
    replicas: u32,
    template: &Template<'_>,
) -> Value {
    let subject = render.subject;
    let storage = &etcd.storage;
    let claim = json!({
        "metadata": {"name": "data", "labels": subject.role_labels(Role::Etcd)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage.size}},
            "storageClassName": storage.storage_class_name,
        },
    });
    let mut metadata = render.metadata(&subject.of(Role::Etcd), Some(Role::Etcd));
    if let Some(metadata) = metadata.as_object_mut() {
        let members = json!({ MEMBERS: render.etcd_members.to_string() });
        metadata.insert("annotations".to_owned(), members);
    }
    let mut members = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "replicas": replicas, "serviceName": subject.etcd_peers(),
            "podManagementPolicy": "Parallel", "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": subject.selector(Role::Etcd)},
            "template": controlled(template),
            "volumeClaimTemplates": [claim],
        },
    });
    drop_nulls(&mut members);
    members
}

fn arguments(render: &Render<'_>) -> Vec<String> {
    let subject = render.subject;
    let host = |member: &str| format!("{member}.{}", subject.dns(&subject.etcd_peers()));
    let name = |number: u32| format!("{}-{number}", subject.of(Role::Etcd));
    let all: Vec<String> = (0..render.etcd_members)
        .map(|number| {
            format!(
                "{0}=https://{1}:{PEER_PORT}",
                name(number),
                host(&name(number))
            )
        })
        .collect();
    let own = host("$(POD_NAME)");
    let mut arguments = vec![
        "--name=$(POD_NAME)".to_owned(),
        "--data-dir=/data/etcd".to_owned(),
        format!("--listen-client-urls=https://0.0.0.0:{CLIENT_PORT}"),
        format!("--advertise-client-urls=https://{own}:{CLIENT_PORT}"),
        format!("--listen-peer-urls=https://0.0.0.0:{PEER_PORT}"),
        format!("--initial-advertise-peer-urls=https://{own}:{PEER_PORT}"),
        format!("--initial-cluster={}", all.join(",")),
        format!("--initial-cluster-token={}", subject.uid),
        format!("--listen-metrics-urls=http://0.0.0.0:{METRICS_PORT}"),
        format!("--quota-backend-bytes={QUOTA_BYTES}"),
        // The authority is this cluster's alone: who has its certificate is a member.
        "--peer-skip-client-san-verification=true".to_owned(),
        "--auto-compaction-mode=periodic".to_owned(),
        "--auto-compaction-retention=1h".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    for (of, asks) in [("", "client-cert-auth"), ("peer-", "peer-client-cert-auth")] {
        arguments.extend([
            format!("--{of}cert-file=/tls/tls.crt"),
            format!("--{of}key-file=/tls/tls.key"),
            format!("--{of}trusted-ca-file=/tls/ca.crt"),
            format!("--{asks}=true"),
        ]);
    }
    arguments
}
