//! The pods of the three roles.

use serde_json::{Value, json};

use super::options::{self, Pod, drop_nulls};
use super::{HTTP_PORT, RPC_PORT, Render, controlled, coordination, overlay, serving};
use crate::crd::v1alpha1::LogFormat;
use crate::operator::names::{ORDINAL, claim_of};
use crate::operator::revisions::Template;
use crate::topology::{Component, Role};

/// How long a pod gets: a drain and a little more.
const GRACE_SECONDS: i64 = 30;
/// How long a gateway goes on before it is told to end.
const GATEWAY_LINGER_SECONDS: i64 = 5;

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
            arguments.extend(serving::client_arguments(render));
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

/// The gateways. Their Deployment replaces them: another is ready before one ends. How many is left to an
/// autoscaler when no number is given.
pub(in crate::operator) fn gateway(
    render: &Render<'_>,
    replicas: Option<u32>,
    template: &Template<'_>,
) -> Value {
    let subject = render.subject;
    let mut gateways = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": render.metadata(&subject.of(Role::Gateway), Some(Role::Gateway)),
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "selector": {"matchLabels": subject.selector(Role::Gateway)},
            "template": controlled(template),
        },
    });
    drop_nulls(&mut gateways);
    gateways
}

/// One worker, with its own volume.
pub(in crate::operator) fn worker(
    render: &Render<'_>,
    worker: &Component,
    template: &Template<'_>,
) -> Value {
    let mut pod = controlled(template);
    let identity = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": render.metadata(&worker.name, Some(Role::Worker)),
    });
    overlay::lay(&mut pod, &identity);
    let number = json!({"metadata": {"labels": {ORDINAL: worker.ordinal.to_string()}}});
    overlay::lay(&mut pod, &number);
    if let Some(Value::Array(volumes)) = pod.pointer_mut("/spec/volumes") {
        // Whatever an overlay says: a worker without its own data is another one.
        volumes.retain(|volume| volume.get("name") != Some(&json!("data")));
        volumes.push(json!({
            "name": "data", "persistentVolumeClaim": {"claimName": claim_of(&worker.name)},
        }));
    }
    pod
}

fn arguments(render: &Render<'_>, role: Role) -> Vec<String> {
    let subject = render.subject;
    let logging = &render.spec.logging;
    let format = match logging.format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    };
    let certificate = serving::folder(render.spec, role);
    let mut arguments = vec![
        role.to_string(),
        "--name=$(POD_NAME)".to_owned(),
        "--data-dir=/data".to_owned(),
        format!("--namespace={}", subject.namespace),
        format!("--cluster={}", subject.name),
        "--peer-tls=/tls".to_owned(),
        format!("--tls-cert={certificate}/tls.crt"),
        format!("--tls-key={certificate}/tls.key"),
        "--api-key-file=/keys".to_owned(),
        format!("--listen=0.0.0.0:{HTTP_PORT}"),
        "--advertise=$(POD_IP)".to_owned(),
        format!("--log-format={format}"),
        format!("--log={}", logging.filter),
    ];
    arguments.extend(coordination::arguments(render));
    if role != Role::Gateway {
        arguments.push(format!("--rpc-listen=0.0.0.0:{RPC_PORT}"));
    }
    arguments
}

fn template(render: &Render<'_>, role: Role, arguments: Vec<String>) -> Value {
    let (spec, subject) = (render.spec, render.subject);
    let resources = match role {
        Role::Gateway => &spec.gateway.resources,
        Role::Master => &spec.master.resources,
        Role::Worker | Role::Etcd => &spec.worker.resources,
    };
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let probe_port = serving::probe_port(spec, role);
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": probe_port, "scheme": "HTTPS"},
            "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": failures,
        })
    };
    let mount = |name: &str, path: &str, read_only: bool| json!({"name": name, "mountPath": path, "readOnly": read_only.then_some(true)});
    let secret = |name: &str, secret: &str| json!({"name": name, "secret": {"secretName": secret, "defaultMode": 0o440}});
    let own = subject.keys();
    let keys = spec
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
    let mut mounts = vec![
        mount("data", "/data", false),
        mount("tls", "/tls", true),
        mount("keys", "/keys", true),
    ];
    let serving = serving::secret(render, role).into_iter();
    for (name, folder, of) in serving.chain(coordination::secrets(render).into_iter().flatten()) {
        volumes.push(secret(name, &of));
        mounts.push(mount(name, folder, true));
    }
    let mut container = json!({
        "name": role.as_str(), "image": render.image(), "args": arguments,
        "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
        "ports": [{"name": "http", "containerPort": HTTP_PORT}],
        "readinessProbe": probe("/readyz", 1, 2),
        "livenessProbe": probe("/livez", 10, 6),
        "resources": resources,
        "volumeMounts": mounts,
    });
    if let (Role::Gateway, Some(container)) = (role, container.as_object_mut()) {
        // Until every node has heard that it goes, new connections still come.
        let wait = json!({"preStop": {"sleep": {"seconds": GATEWAY_LINGER_SECONDS}}});
        container.insert("lifecycle".to_owned(), wait);
    }
    let pod = Pod {
        container,
        volumes,
        grace_seconds: Some(GRACE_SECONDS),
    };
    options::template(render, role, pod)
}
