//! The etcd that is run for a cluster.

use serde_json::{Value, json};

use super::Render;
use super::pods::{container_security, pod_security};
use crate::crd::v1alpha1::ManagedEtcd;
use crate::topology::Role;

pub(super) const CLIENT_PORT: u16 = 2379;
pub(super) const PEER_PORT: u16 = 2380;
const METRICS_PORT: u16 = 2381;
/// Bytes that a member may hold before it refuses writes.
const QUOTA_BYTES: u64 = 2 * 1024 * 1024 * 1024;

/// Its StatefulSet. Members start at once and are replaced by hand: a quorum is not an order.
pub(super) fn stateful_set(render: &Render<'_>, etcd: &ManagedEtcd, members: u32) -> Value {
    let subject = render.subject;
    let name = subject.of(Role::Etcd);
    let image = etcd.image.as_ref().unwrap_or(&render.images.etcd);
    let storage = &etcd.storage;
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage.size}},
            "storageClassName": storage.storage_class_name,
        },
    });
    let probe = json!({
        "httpGet": {"path": "/readyz", "port": METRICS_PORT}, "periodSeconds": 2,
        "timeoutSeconds": 5, "failureThreshold": 5,
    });
    let container = json!({
        "name": "etcd", "image": image, "imagePullPolicy": render.spec.image.pull_policy,
        "args": arguments(render, members),
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [
            {"name": "client", "containerPort": CLIENT_PORT},
            {"name": "peer", "containerPort": PEER_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        "readinessProbe": probe, "resources": etcd.resources,
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "tls", "mountPath": "/tls", "readOnly": true},
        ],
    });
    let pod = json!({
        "automountServiceAccountToken": false, "enableServiceLinks": false,
        "securityContext": pod_security(), "containers": [container],
        "volumes": [{"name": "tls", "secret": {
            "secretName": subject.certificate_of("etcd"), "defaultMode": 0o440,
        }}],
    });
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": render.metadata(&name, Some(Role::Etcd)),
        "spec": {
            "replicas": members, "serviceName": subject.etcd_peers(),
            "podManagementPolicy": "Parallel", "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": subject.selector(Role::Etcd)},
            "template": {"metadata": {"labels": subject.role_labels(Role::Etcd)}, "spec": pod},
            "volumeClaimTemplates": [claim],
        },
    })
}

fn arguments(render: &Render<'_>, members: u32) -> Vec<String> {
    let subject = render.subject;
    let host = |member: &str| format!("{member}.{}", subject.dns(&subject.etcd_peers()));
    let name = |number: u32| format!("{}-{number}", subject.of(Role::Etcd));
    let all: Vec<String> = (0..members)
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
