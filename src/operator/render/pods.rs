//! The pods of the three roles.

use serde_json::{Value, json};

use super::etcd::CLIENT_PORT;
use super::{HTTP_PORT, RPC_PORT, Render};
use crate::crd::v1alpha1::{LogFormat, PodOptions};
use crate::operator::names::{ORDINAL, claim_of};
use crate::topology::{Component, Role, Settings};

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

/// Where a pod's data lies.
enum Data<'a> {
    /// In a folder that ends with the pod: what it needs is in etcd.
    Passing,
    /// In the volume of this claim.
    Claim(&'a str),
}

/// The masters.
pub(in crate::operator) fn master(
    render: &Render<'_>,
    replicas: u32,
    settings: &Settings,
) -> Value {
    let mut arguments = arguments(render, Role::Master);
    if let Settings::Master {
        shards: Some(shards),
        ..
    } = settings
    {
        arguments.push(format!("--shards={shards}"));
    }
    let subject = render.subject;
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": render.metadata(&subject.of(Role::Master), Some(Role::Master)),
        "spec": {
            "replicas": replicas, "serviceName": subject.of(Role::Master),
            "podManagementPolicy": "Parallel", "updateStrategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": subject.selector(Role::Master)},
            "template": template(render, Role::Master, arguments, &Data::Passing),
        },
    })
}

/// The gateways.
pub(in crate::operator) fn gateway(render: &Render<'_>, replicas: u32) -> Value {
    let mut arguments = arguments(render, Role::Gateway);
    let routing = serde_json::to_value(render.spec.gateway.routing).unwrap_or_default();
    arguments.push(format!(
        "--routing={}",
        routing.as_str().unwrap_or("Direct")
    ));
    let subject = render.subject;
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": render.metadata(&subject.of(Role::Gateway), Some(Role::Gateway)),
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": subject.selector(Role::Gateway)},
            "template": template(render, Role::Gateway, arguments, &Data::Passing),
        },
    })
}

/// One worker.
pub(in crate::operator) fn worker(render: &Render<'_>, worker: &Component) -> Value {
    let claim = claim_of(&worker.name);
    let arguments = arguments(render, Role::Worker);
    let mut pod = template(render, Role::Worker, arguments, &Data::Claim(&claim));
    let mut labels = render.subject.role_labels(Role::Worker);
    labels.insert(ORDINAL.to_owned(), worker.ordinal.to_string());
    let spec = pod.get_mut("spec").map(Value::take).unwrap_or_default();
    let mut metadata = render.metadata(&worker.name, Some(Role::Worker));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("labels".to_owned(), json!(labels));
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
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

fn template(render: &Render<'_>, role: Role, arguments: Vec<String>, data: &Data<'_>) -> Value {
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
    let volume = match data {
        Data::Passing => json!({"name": "data", "emptyDir": {"sizeLimit": "64Mi"}}),
        Data::Claim(claim) => json!({
            "name": "data", "persistentVolumeClaim": {"claimName": claim},
        }),
    };
    let spread = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": subject.selector(role)},
    }]);
    json!({
        "metadata": {"labels": subject.role_labels(role)},
        "spec": {
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds":
                options.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS),
            "securityContext": pod_security(), "containers": [container],
            "topologySpreadConstraints": spread,
            "imagePullSecrets": render.spec.image.pull_secrets,
            "nodeSelector": options.node_selector,
            "tolerations": options.tolerations.clone().unwrap_or_default(),
            "volumes": [
                volume, secret("tls", &subject.certificate_of(role.as_str())), secret("keys", keys),
            ],
        },
    })
}
