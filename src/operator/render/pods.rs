//! The pods of the three roles.

use serde_json::{Value, json};

use super::etcd::CLIENT_PORT;
use super::{HTTP_PORT, RPC_PORT, Render, controlled};
use crate::crd::v1alpha1::{LogFormat, PodOptions};
use crate::operator::names::{ORDINAL, claim_of};
use crate::operator::revisions::Template;
use crate::topology::{Component, Role};

/// The user of the image.
const USER: i64 = 10_001;
/// How long a pod gets: a drain and a little more.
const GRACE_SECONDS: i64 = 30;

pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    })
}

pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// What every pod of a role is made from, as `revisions` keeps it: nothing in it depends on the pod.
pub(super) fn role_template(render: &Render<'_>, role: Role) -> Value {
    let mut arguments = arguments(render, role);
    let spec = render.spec;
    match role {
        Role::Master => {
            let shards = spec.sharding.shards;
            arguments.extend(shards.map(|shards| format!("--shards={shards}")));
        },
        Role::Gateway => {
            let routing = serde_json::to_value(spec.gateway.routing).unwrap_or_default();
            let routing = routing.as_str().unwrap_or("Direct");
            arguments.push(format!("--routing={routing}"));
        },
        Role::Worker | Role::Etcd => {},
    }
    template(render, role, arguments)
}

/// The masters. The operator replaces their pods one by one, the leader last.
pub(in crate::operator) fn master(
    render: &Render<'_>,
    replicas: u32,
    template: &Template<'_>,
) -> Value {
    let subject = render.subject;
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": render.metadata(&subject.of(Role::Master), Some(Role::Master)),
        "spec": {
            "replicas": replicas, "serviceName": subject.of(Role::Master),
            "podManagementPolicy": "Parallel", "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": subject.selector(Role::Master)},
            "template": controlled(template),
        },
    })
}

/// The gateways. Their Deployment replaces them: another is ready before one ends.
pub(in crate::operator) fn gateway(
    render: &Render<'_>,
    replicas: u32,
    template: &Template<'_>,
) -> Value {
    let subject = render.subject;
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": render.metadata(&subject.of(Role::Gateway), Some(Role::Gateway)),
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": subject.selector(Role::Gateway)},
            "template": controlled(template),
        },
    })
}

/// One worker, with its own volume.
pub(in crate::operator) fn worker(
    render: &Render<'_>,
    worker: &Component,
    template: &Template<'_>,
) -> Value {
    let mut pod = controlled(template);
    let mut metadata = render.metadata(&worker.name, Some(Role::Worker));
    let own = pod
        .pointer_mut("/metadata")
        .map(Value::take)
        .unwrap_or_default();
    merge(&mut metadata, own);
    let ordinal = json!({"labels": {ORDINAL: worker.ordinal.to_string()}});
    merge(&mut metadata, ordinal);
    let mut spec = pod.get_mut("spec").map(Value::take).unwrap_or_default();
    if let Some(Value::Array(volumes)) = spec.get_mut("volumes") {
        volumes.push(json!({
            "name": "data", "persistentVolumeClaim": {"claimName": claim_of(&worker.name)},
        }));
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// Puts the fields of one object into another, object by object.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        },
        (into, from) => *into = from,
    }
}

fn arguments(render: &Render<'_>, role: Role) -> Vec<String> {
    let subject = render.subject;
    let logging = &render.spec.logging;
    let format = match logging.format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    };
    let etcd = subject.dns(&subject.of(Role::Etcd));
    let mut arguments = vec![
        role.to_string(),
        "--name=$(POD_NAME)".to_owned(),
        "--data-dir=/data".to_owned(),
        format!("--namespace={}", subject.namespace),
        format!("--cluster={}", subject.name),
        format!("--etcd=https://{etcd}:{CLIENT_PORT}"),
        "--etcd-tls=/tls".to_owned(),
        "--peer-tls=/tls".to_owned(),
        "--tls-cert=/tls/tls.crt".to_owned(),
        "--tls-key=/tls/tls.key".to_owned(),
        "--api-key-file=/keys".to_owned(),
        format!("--listen=0.0.0.0:{HTTP_PORT}"),
        "--advertise=$(POD_IP)".to_owned(),
        format!("--log-format={format}"),
        format!("--log={}", logging.filter),
    ];
    if role != Role::Gateway {
        arguments.push(format!("--rpc-listen=0.0.0.0:{RPC_PORT}"));
    }
    arguments
}

fn options<'a>(render: &'a Render<'_>, role: Role) -> (&'a PodOptions, Value) {
    let spec = render.spec;
    let (options, resources) = match role {
        Role::Gateway => (&spec.gateway.pod, json!(spec.gateway.resources)),
        Role::Master => (&spec.master.pod, json!(spec.master.resources)),
        Role::Worker | Role::Etcd => (&spec.worker.pod, json!(spec.worker.resources)),
    };
    (options, resources)
}

fn template(render: &Render<'_>, role: Role, arguments: Vec<String>) -> Value {
    let subject = render.subject;
    let (options, resources) = options(render, role);
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": HTTP_PORT, "scheme": "HTTPS"},
            "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures,
        })
    };
    let mount = |name: &str, path: &str, read_only: bool| json!({"name": name, "mountPath": path, "readOnly": read_only});
    let container = json!({
        "name": role.as_str(), "image": render.image(),
        "imagePullPolicy": render.spec.image.pull_policy,
        "args": arguments,
        "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
        "ports": [{"name": "http", "containerPort": HTTP_PORT}],
        "readinessProbe": probe("/readyz", 1, 2),
        "livenessProbe": probe("/livez", 10, 6),
        "resources": resources, "securityContext": container_security(),
        "volumeMounts": [
            mount("data", "/data", false), mount("tls", "/tls", true), mount("keys", "/keys", true),
        ],
    });
    let secret = |name: &str, secret: &str| json!({"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}});
    let own = subject.keys();
    let keys = render
        .spec
        .auth
        .secret
        .as_ref()
        .map_or(&own, |secret| &secret.name);
    let mut volumes = vec![
        secret("tls", &subject.certificate_of(role.as_str())),
        secret("keys", keys),
    ];
    if role != Role::Worker {
        // What these need is in etcd; a worker's own volume comes with the pod.
        volumes.push(json!({"name": "data", "emptyDir": {"sizeLimit": "64Mi"}}));
    }
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": subject.selector(role)},
    }]);
    json!({
        "metadata": render.template_metadata(role),
        "spec": {
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds":
                options.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS),
            "securityContext": pod_security(), "containers": [container],
            "topologySpreadConstraints": spread,
            "imagePullSecrets": render.spec.image.pull_secrets,
            "nodeSelector": options.node_selector,
            "tolerations": options.tolerations.clone().unwrap_or_default(),
            "volumes": volumes,
        },
    })
}
