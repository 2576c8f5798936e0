//! Who may talk to whom: a NetworkPolicy for each role, which refuses everything that it does not name.
//!
//! A gateway is open to the clients that the manifest names and the networks that its load balancer lets
//! in, or to everybody when it says nothing of clients. The roles reach each other's gRPC and etcd; the operator reaches every role; a Prometheus
//! reaches the metrics when the manifest asks for monitors. Probes come from the node of a pod, which
//! no policy keeps out. Names are looked up at whatever answers DNS: some clusters do that outside of
//! any pod.

use serde_json::{Value, json};

use super::etcd::{CLIENT_PORT, METRICS_PORT, PEER_PORT};
use super::{HTTP_PORT, RPC_PORT, Render};
use crate::crd::v1alpha1::{GatewayService, NetworkPeer, ServiceType};
use crate::operator::names::MANAGER;
use crate::topology::Role;

/// DNS, and where OpenShift's pods answer it.
const DNS_PORTS: [u16; 2] = [53, 5353];
/// The label that every pod of a Prometheus has that the Prometheus operator runs.
const PROMETHEUS: (&str, &str) = ("app.kubernetes.io/name", "prometheus");

/// The policies of every role that has pods.
pub(super) fn policies(render: &Render<'_>) -> Vec<Value> {
    if !render.spec.network_policy.enabled {
        return Vec::new();
    }
    let mut roles = vec![Role::Gateway, Role::Master, Role::Worker];
    if render.spec.etcd.managed.is_some() {
        roles.push(Role::Etcd);
    }
    let policy = |role: Role| {
        let subject = render.subject;
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": render.accessory(&subject.of(role), Some(role)),
            "spec": {
                "podSelector": {"matchLabels": subject.selector(role)},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": ingress(render, role), "egress": egress(render, role),
            },
        })
    };
    roles.into_iter().map(policy).collect()
}

fn ingress(render: &Render<'_>, role: Role) -> Vec<Value> {
    let from = |peers: Vec<Value>, ports: &[u16]| json!({"from": peers, "ports": tcp(ports)});
    let operator = || operator(render);
    if role == Role::Etcd {
        return vec![
            from(processes(render), &[CLIENT_PORT]),
            from(vec![pods_of(render, Role::Etcd)], &[CLIENT_PORT, PEER_PORT]),
            from(vec![operator()], &[CLIENT_PORT, METRICS_PORT]),
        ];
    }
    let mut watchers = vec![operator()];
    if render.spec.monitoring.service_monitor.enabled {
        let (label, value) = PROMETHEUS;
        watchers.push(json!({
            "namespaceSelector": {}, "podSelector": {"matchLabels": {label: value}},
        }));
    }
    let mut rules = Vec::new();
    match (role, &render.spec.network_policy.clients) {
        // No `from` is everybody: also who comes from outside of the Kubernetes cluster.
        (Role::Gateway, None) => rules.push(json!({"ports": tcp(&[HTTP_PORT])})),
        (Role::Gateway, Some(clients)) => {
            let mut peers: Vec<Value> = clients.iter().map(client).collect();
            peers.extend(balanced(&render.spec.gateway.service));
            // An empty `from` would be everybody too.
            if !peers.is_empty() {
                rules.push(from(peers, &[HTTP_PORT]));
            }
        },
        (Role::Master, _) => {
            let callers = [processes(render), vec![operator()]].concat();
            rules.push(from(callers, &[RPC_PORT]));
        },
        (Role::Worker | Role::Etcd, _) => rules.push(from(processes(render), &[RPC_PORT])),
    }
    rules.push(from(watchers, &[HTTP_PORT]));
    rules
}

fn egress(render: &Render<'_>, role: Role) -> Vec<Value> {
    let to = |peers: Vec<Value>, ports: &[u16]| json!({"to": peers, "ports": tcp(ports)});
    let mut dns = Vec::new();
    for port in DNS_PORTS {
        dns.push(json!({"protocol": "UDP", "port": port}));
        dns.push(json!({"protocol": "TCP", "port": port}));
    }
    let mut rules = vec![json!({"ports": dns})];
    let etcd = pods_of(render, Role::Etcd);
    if role == Role::Etcd {
        rules.push(to(vec![etcd], &[CLIENT_PORT, PEER_PORT]));
        return rules;
    }
    let others = [Role::Master, Role::Worker].map(|role| pods_of(render, role));
    rules.push(to(others.to_vec(), &[RPC_PORT]));
    match &render.spec.etcd.external {
        None => rules.push(to(vec![etcd], &[CLIENT_PORT])),
        Some(external) => {
            let mut ports: Vec<u16> = external
                .endpoints
                .iter()
                .filter_map(|endpoint| endpoint.0.rsplit_once(':')?.1.parse().ok())
                .collect();
            ports.sort_unstable();
            ports.dedup();
            rules.push(json!({"ports": tcp(&ports)}));
        },
    }
    rules
}

fn tcp(ports: &[u16]) -> Vec<Value> {
    let port = |port: &u16| json!({"protocol": "TCP", "port": port});
    ports.iter().map(port).collect()
}

fn pods_of(render: &Render<'_>, role: Role) -> Value {
    json!({"podSelector": {"matchLabels": render.subject.selector(role)}})
}

/// The pods of the three roles.
fn processes(render: &Render<'_>) -> Vec<Value> {
    let roles = [Role::Gateway, Role::Master, Role::Worker];
    roles.map(|role| pods_of(render, role)).to_vec()
}

fn operator(render: &Render<'_>) -> Value {
    json!({
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": render.operator_namespace},
        },
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": MANAGER}},
    })
}

/// The networks that a load balancer lets in: whoever names them wants them to come through.
fn balanced(service: &GatewayService) -> Vec<Value> {
    if service.type_ != ServiceType::LoadBalancer {
        return Vec::new();
    }
    let networks = service.load_balancer_source_ranges.iter();
    networks
        .map(|range| json!({"ipBlock": {"cidr": range}}))
        .collect()
}

/// One entry of `clients`. A peer has to select something: without a word it is every pod here.
fn client(peer: &NetworkPeer) -> Value {
    match (&peer.namespace_selector, &peer.pod_selector) {
        (None, None) => json!({"podSelector": {}}),
        (None, Some(pods)) => json!({"podSelector": pods}),
        (Some(namespaces), None) => json!({"namespaceSelector": namespaces}),
        (Some(namespaces), Some(pods)) => {
            json!({"namespaceSelector": namespaces, "podSelector": pods})
        },
    }
}
