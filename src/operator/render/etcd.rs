//! The etcd that is run for a cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::options::{self, Pod, drop_nulls};
use super::{Render, controlled};
use crate::crd::v1alpha1::ManagedEtcd;
use crate::operator::names::{MEMBERS, VOLUMES};
use crate::operator::revisions::Template;
use crate::topology::Role;

pub(in crate::operator) const CLIENT_PORT: u16 = 2379;
pub(super) const PEER_PORT: u16 = 2380;
pub(super) const METRICS_PORT: u16 = 2381;
/// The keys of what members are started with.
const CLUSTER_KEY: &str = "initial-cluster";
const STATE_KEY: &str = "initial-cluster-state";
const NEW: &str = "new";
const EXISTING: &str = "existing";
/// Members that no pod is: one without data finds itself not among them, and ends. One with data does not
/// read this.
const NOBODY: &str = "nobody=https://nobody.invalid:2380";
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
        // Named, for the images that etcd's project makes have no entry point.
        "name": "etcd", "image": image, "command": ["etcd"], "args": arguments(render),
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            from_start(render, "ETCD_INITIAL_CLUSTER", CLUSTER_KEY),
            from_start(render, "ETCD_INITIAL_CLUSTER_STATE", STATE_KEY),
        ],
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
    (replicas, members): (u32, u32),
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
        let annotations = json!({ MEMBERS: members.to_string() });
        metadata.insert("annotations".to_owned(), annotations);
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

/// What a member is started with that has no data yet.
pub(in crate::operator) struct StartValues {
    /// The members, itself among them; none: nobody makes or joins a cluster now.
    pub(in crate::operator) ordinals: Vec<u32>,
    /// Whether they make a cluster, or join one.
    pub(in crate::operator) is_new: bool,
    /// The volumes of those that were well, as an annotation.
    pub(in crate::operator) volumes: String,
}

/// Where the others reach a member.
pub(super) fn peer(render: &Render<'_>, ordinal: u32) -> String {
    let subject = render.subject;
    let peers = subject.dns(&subject.etcd_peers());
    format!(
        "https://{}-{ordinal}.{peers}:{PEER_PORT}",
        subject.of(Role::Etcd)
    )
}

/// The ConfigMap that members read it from. A template that named the members would change with them, and
/// with it every pod.
pub(super) fn start(render: &Render<'_>, start: &StartValues) -> Value {
    let name = render.subject.of(Role::Etcd);
    let all = start.ordinals.iter();
    let all: Vec<String> = all
        .map(|ordinal| format!("{name}-{ordinal}={}", peer(render, *ordinal)))
        .collect();
    let cluster = if all.is_empty() {
        NOBODY.to_owned()
    } else {
        all.join(",")
    };
    let mut metadata = render.metadata(&name, Some(Role::Etcd));
    if let Some(metadata) = metadata.as_object_mut() {
        let annotations = json!({ VOLUMES: start.volumes });
        metadata.insert("annotations".to_owned(), annotations);
    }
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
        "data": {
            CLUSTER_KEY: cluster,
            STATE_KEY: if start.is_new { NEW } else { EXISTING },
        },
    })
}

/// Whether members are started to make a cluster.
pub(in crate::operator) fn makes_etcd(start: &ConfigMap) -> bool {
    let state = start.data.as_ref().and_then(|data| data.get(STATE_KEY));
    state.is_some_and(|state| state == NEW)
}

fn from_start(render: &Render<'_>, variable: &str, key: &str) -> Value {
    let name = render.subject.of(Role::Etcd);
    json!({"name": variable, "valueFrom": {"configMapKeyRef": {"name": name, "key": key}}})
}

fn arguments(render: &Render<'_>) -> Vec<String> {
    let subject = render.subject;
    let host = |member: &str| format!("{member}.{}", subject.dns(&subject.etcd_peers()));
    let own = host("$(POD_NAME)");
    let mut arguments = vec![
        "--name=$(POD_NAME)".to_owned(),
        "--data-dir=/data/etcd".to_owned(),
        format!("--listen-client-urls=https://0.0.0.0:{CLIENT_PORT}"),
        format!("--advertise-client-urls=https://{own}:{CLIENT_PORT}"),
        format!("--listen-peer-urls=https://0.0.0.0:{PEER_PORT}"),
        format!("--initial-advertise-peer-urls=https://{own}:{PEER_PORT}"),
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
