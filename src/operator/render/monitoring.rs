//! Objects for a monitoring stack: how Prometheus reads the metrics of each role, the alerts, a dashboard.
//!
//! Metrics stand behind the API keys and TLS as everything does, so a monitor names the Secrets that
//! Prometheus reads them with: the key `readonly`, and the authority of the role's certificate. Each
//! series carries the cluster and the role as `vectorsphere_io_cluster` and `vectorsphere_io_role`,
//! and alerts and dashboard ask for those of their own cluster only.

pub(super) mod alerts;
mod dashboard;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Render, overlay, serving};
use crate::operator::names::{CLUSTER, ROLE};
use crate::security::Peer;
use crate::security::credentials::AUTHORITY_FILE;
use crate::security::peers::certificate_name;
use crate::topology::Role;

/// Everything that the manifest asks for.
pub(super) fn objects(render: &Render<'_>) -> Vec<Value> {
    let monitoring = &render.spec.monitoring;
    let mut objects = Vec::new();
    if monitoring.service_monitor.enabled {
        let roles = [Role::Gateway, Role::Master, Role::Worker];
        objects.extend(roles.map(|role| service_monitor(render, role)));
    }
    if monitoring.prometheus_rule.enabled {
        objects.push(rule(render));
    }
    if monitoring.grafana_dashboard.enabled {
        objects.push(dashboard_map(render));
    }
    objects
}

/// Metadata with the labels by which a stack finds the object. Ours win: by them it is found again.
fn metadata(
    render: &Render<'_>,
    name: &str,
    role: Option<Role>,
    labels: &BTreeMap<String, String>,
) -> Value {
    let mut metadata = json!({"labels": labels});
    overlay::lay(&mut metadata, &render.accessory(name, role));
    metadata
}

fn service_monitor(render: &Render<'_>, role: Role) -> Value {
    let (spec, subject) = (render.spec, render.subject);
    let monitor = &spec.monitoring.service_monitor;
    let own = subject.keys();
    let keys = spec
        .auth
        .secret
        .as_ref()
        .map_or(&own, |secret| &secret.name);
    let peer = match role {
        Role::Gateway => Peer::Gateway,
        Role::Master => Peer::Master,
        Role::Worker | Role::Etcd => Peer::Worker,
    };
    // A certificate of somebody else's knows the Service only.
    let (authority, name) = match serving::secret(render, role) {
        Some((_volume, _folder, secret)) => (secret, subject.dns(&subject.of(role))),
        None => (
            subject.certificate_of(role.as_str()),
            certificate_name(peer, &subject.name, &subject.namespace),
        ),
    };
    let mut tls = json!({
        "ca": {"secret": {"name": authority, "key": AUTHORITY_FILE}}, "serverName": name,
    });
    if let Some(shown) = serving::shown_by_monitors(render, role) {
        overlay::lay(&mut tls, &shown);
    }
    json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
        "metadata": metadata(render, &subject.of(role), Some(role), &monitor.labels),
        "spec": {
            "selector": {"matchLabels": subject.selector(role)},
            "podTargetLabels": [CLUSTER, ROLE],
            "endpoints": [{
                "port": "http", "scheme": "https", "path": "/metrics", "interval": monitor.interval,
                "authorization": {"credentials": {"name": keys, "key": "readonly"}},
                "tlsConfig": tls,
            }],
        },
    })
}

/// What a selector of series says to mean this cluster and no other.
fn series_of(render: &Render<'_>) -> String {
    let subject = render.subject;
    format!(
        "namespace=\"{}\",vectorsphere_io_cluster=\"{}\"",
        subject.namespace, subject.name
    )
}

fn rule(render: &Render<'_>) -> Value {
    let subject = render.subject;
    let wanted = &render.spec.monitoring.prometheus_rule;
    let series = series_of(render);
    let rules: Vec<Value> = alerts::ALERTS
        .iter()
        .map(|alert| alert.rule(&subject.name, &series))
        .collect();
    json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
        "metadata": metadata(render, &subject.name, None, &wanted.labels),
        "spec": {"groups": [{
            "name": format!("{}.{}.vectorsphere", subject.namespace, subject.name),
            "interval": wanted.interval, "rules": rules,
        }]},
    })
}

fn dashboard_map(render: &Render<'_>) -> Value {
    let subject = render.subject;
    let name = format!("{}-dashboard", subject.name);
    let wanted = &render.spec.monitoring.grafana_dashboard;
    let title = format!("VectorSphere {}/{}", subject.namespace, subject.name);
    let board = dashboard::dashboard(&title, &series_of(render), &wanted.interval);
    let mut data = Map::new();
    let file = format!("vectorsphere-{}-{}.json", subject.namespace, subject.name);
    data.insert(file, format!("{board:#}").into());
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": metadata(render, &name, None, &wanted.labels), "data": data,
    })
}
