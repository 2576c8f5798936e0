//! Objects that others make: they are asked for, waited for, and never taken over.

use crate::acting::operator_process::calm;
use serde_json::{Value, json};

use super::authority::Authority;
use super::{Small, manifest, prepared, small, until};
use crate::kubernetes::Kubernetes;

/// What cert-manager's definition says that matters here: any spec.
fn definition(plural: &str, kind: &str, group: &str, version: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "properties": {"spec": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }}},
            }}],
        },
    })
}

/// The definition of another operator's kind, for as long as a test takes.
struct Defined<'a> {
    kubernetes: &'a Kubernetes,
    name: String,
}

impl<'a> Defined<'a> {
    fn new(
        kubernetes: &'a Kubernetes,
        plural: &str,
        kind: &str,
        (group, version): (&str, &str),
    ) -> Self {
        let definition = definition(plural, kind, group, version);
        kubernetes.apply(&definition).accepted(kind);
        let name = format!("crd/{plural}.{group}");
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            &name,
        ];
        kubernetes.call(&wait, "").accepted(kind);
        Self { kubernetes, name }
    }
}

impl Drop for Defined<'_> {
    fn drop(&mut self) {
        let delete = ["delete", "--wait=false", &self.name];
        let answer = self.kubernetes.call(&delete, "");
        if !answer.ok {
            eprintln!("{}: {}", self.name, answer.stderr);
        }
    }
}

fn names(small: &Small<'_>, wanted: &str) {
    until(wanted, || small.errors().contains(wanted).then_some(()));
}

#[test]
fn gateways_show_the_certificate_that_cert_manager_issues() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let namespace = prepared(&kubernetes, "issued");
    let _calm = calm();
    let small = small(&kubernetes, &namespace);
    small.apply(&manifest(&json!({"tls": {
        "mode": "CertManager", "issuerRef": {"name": "internal"}, "extraDnsNames": ["search.example"],
    }})));
    names(&small, "the API server knows no Certificate");
    names(&small, "Secret small-gateway-serving-tls is not there");
    let group = ("cert-manager.io", "v1");
    let _certificates = Defined::new(&kubernetes, "certificates", "Certificate", group);
    let asked = "certificates.cert-manager.io";
    until("a Certificate", || {
        small.is_there(asked, "small-gateway").then_some(())
    });
    let certificate = small.get(asked, "small-gateway");
    let spec = &certificate["spec"];
    assert_eq!(spec["issuerRef"]["name"], "internal");
    let names: Vec<&str> = spec["dnsNames"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(
        names.contains(&"search.example") && names.contains(&"small-gateway"),
        "{names:?}"
    );

    // What cert-manager would do, with an authority of this test.
    let signed = Authority::new().sign(&[&names[..], &["localhost"]].concat());
    let secret = spec["secretName"].as_str().unwrap();
    kubernetes
        .apply(&signed.secret(&namespace.name, secret))
        .accepted(secret);
    small.wait("condition=Ready");
    let found = small.application_trusting(secret, true);
    assert_eq!(found, json!([[99, 98, 97], 100]));
}

#[test]
fn monitors_are_made_where_their_kinds_are_known() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let namespace = prepared(&kubernetes, "monitored");
    let _calm = calm();
    let small = small(&kubernetes, &namespace);
    let on = json!({"enabled": true, "labels": {"release": "prometheus"}});
    small.apply(&manifest(&json!({"monitoring": {
        "serviceMonitor": on, "prometheusRule": on, "grafanaDashboard": on,
    }})));
    names(&small, "the API server knows no ServiceMonitor");
    names(&small, "the API server knows no PrometheusRule");
    let board = small.get("configmap", "small-dashboard");
    let text = board["data"].as_object().unwrap().values().next().unwrap();
    let board: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    assert!(board["panels"].as_array().unwrap().len() > 5);

    let group = ("monitoring.coreos.com", "v1");
    let _monitors = Defined::new(&kubernetes, "servicemonitors", "ServiceMonitor", group);
    let _rules = Defined::new(&kubernetes, "prometheusrules", "PrometheusRule", group);
    let (monitors, rules) = (
        "servicemonitors.monitoring.coreos.com",
        "prometheusrules.monitoring.coreos.com",
    );
    for role in ["gateway", "master", "worker"] {
        let name = format!("small-{role}");
        until("a monitor", || {
            small.is_there(monitors, &name).then_some(())
        });
        let monitor = small.get(monitors, &name);
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        let endpoint = &monitor["spec"]["endpoints"][0];
        let credentials = &endpoint["authorization"]["credentials"];
        let key = |reference: &Value| {
            let text = |field: &str| reference[field].as_str().unwrap().to_owned();
            small.secret(&text("name"), &text("key"))
        };
        assert!(key(credentials).len() > 8, "Prometheus finds the key");
        assert!(key(&endpoint["tlsConfig"]["ca"]["secret"]).contains("CERTIFICATE"));
        let labels = monitor["spec"]["selector"]["matchLabels"]
            .as_object()
            .unwrap();
        let service = small.get("service", &name);
        let carried = service["metadata"]["labels"].as_object().unwrap();
        assert!(
            labels
                .iter()
                .all(|(label, value)| carried.get(label) == Some(value))
        );
    }
    until("the alerts", || {
        small.is_there(rules, "small").then_some(())
    });
    small.patch(&json!({"monitoring": {
        "serviceMonitor": {"enabled": false}, "prometheusRule": {"enabled": false},
        "grafanaDashboard": {"enabled": false},
    }}));
    let gone = |kind: &str, name: &str| {
        until("it goes", || (!small.is_there(kind, name)).then_some(()));
    };
    gone(monitors, "small-worker");
    gone(rules, "small");
    gone("configmap", "small-dashboard");
}

#[test]
fn what_somebody_else_made_is_not_taken_over() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let namespace = prepared(&kubernetes, "foreign");
    let _calm = calm();
    let small = small(&kubernetes, &namespace);
    let theirs = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "small-worker", "namespace": namespace.name},
        "spec": {"podSelector": {"matchLabels": {"app": "theirs"}}},
    });
    kubernetes.apply(&theirs).accepted("a policy");
    let before = small.get("networkpolicy", "small-worker");
    small.apply(&manifest(&json!({})));
    // Other steps go on.
    small.wait("condition=Ready");
    names(
        &small,
        "NetworkPolicy small-worker is there and not of this cluster",
    );
    assert_eq!(small.get("networkpolicy", "small-worker"), before);
}

#[test]
fn what_no_process_would_do_is_refused() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let namespace = prepared(&kubernetes, "refused");
    let _calm = calm();
    let small = small(&kubernetes, &namespace);
    small.apply(&manifest(
        &json!({"tls": {"mode": "Disabled"}, "auth": {"mode": "Disabled"}}),
    ));
    small.wait("condition=SpecValid=False");
    let conditions = small.get("vectorcluster", "small")["status"]["conditions"].to_string();
    assert!(
        conditions.contains("spec.tls.mode: a gateway that others can reach"),
        "{conditions}"
    );
    assert!(
        conditions.contains("spec.auth.mode: a gateway that others can reach"),
        "{conditions}"
    );
    assert!(!small.is_there("deployment", "small-gateway"));
}
