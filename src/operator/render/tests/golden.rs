//! The objects of some manifests, in files. `demo.yaml` is the smallest manifest's whole; every other
//! file has, object by object, what its manifest adds (+) to that and what it takes away (-), a line for
//! each value. `UPDATE_GENERATED=1` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::{objects, spec};

#[track_caller]
fn is_as_written(name: &str, made: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/operator/render/testdata");
    let path = folder.join(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs_err::write(&path, made).unwrap();
    }
    let written = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "{name} is not what is rendered now; `make gen` writes it anew:\n{made}"
    );
}

/// Every value of an object, by its kind and name. What all objects have in common is left out.
fn lines(object: &Value) -> (String, BTreeSet<String>) {
    let named = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
    let name = format!("{}/{}", named("/kind"), named("/metadata/name"));
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove("apiVersion");
    object.as_object_mut().unwrap().remove("kind");
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _value| field == "labels" || field == "annotations");
    if let Some(labels) = metadata["labels"].as_object_mut() {
        let ours =
            |label: &str| label.contains("kubernetes.io/") || label.contains("vectorsphere.io/");
        labels.retain(|label, _value| !ours(label));
    }
    let mut lines = Vec::new();
    walk(&object, "", &mut lines);
    (name, lines.into_iter().collect())
}

fn walk(value: &Value, way: &str, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() || way.starts_with("metadata") => {
            for (name, value) in fields {
                walk(value, format!("{way} {name}").trim_start(), lines);
            }
        },
        Value::Array(items) if !items.is_empty() => {
            for (number, item) in items.iter().enumerate() {
                // An item with a name stands at the same place wherever it is in the list.
                let step = match item.get("name") {
                    Some(name) => format!("{way}[{}]", name.as_str().unwrap()),
                    None if item.is_string() => way.to_owned(),
                    None => format!("{way}[{number}]"),
                };
                walk(item, &step, lines);
            }
        },
        Value::Object(_)
        | Value::Array(_)
        | Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_) => lines.push(format!("{way}: {value}")),
    }
}

#[track_caller]
fn changes(name: &str, more: &Value) {
    let of = |more: &Value| -> BTreeMap<String, BTreeSet<String>> {
        objects(&spec(more)).iter().map(lines).collect()
    };
    let (base, these) = (of(&json!({})), of(more));
    let spec = serde_yaml_ng::to_string(more).unwrap();
    let mut made: String = spec.lines().map(|line| format!("# {line}\n")).collect();
    for gone in base.keys().filter(|object| !these.contains_key(*object)) {
        made.push_str(&format!("\n- {gone}\n"));
    }
    let none = BTreeSet::new();
    for (object, values) in &these {
        let before = base.get(object).unwrap_or(&none);
        if before == values {
            continue;
        }
        let sign = if base.contains_key(object) { ' ' } else { '+' };
        made.push_str(&format!("\n{sign} {object}\n"));
        let gone = before
            .difference(values)
            .map(|line| format!("-   {line}\n"));
        let new = values
            .difference(before)
            .map(|line| format!("+   {line}\n"));
        made.extend(gone.chain(new));
    }
    is_as_written(name, &made);
}

#[test]
fn the_smallest_manifest() {
    let objects = objects(&spec(&json!({})));
    let documents = objects
        .iter()
        .map(|one| serde_yaml_ng::to_string(one).unwrap());
    let made: Vec<String> = documents.collect();
    is_as_written("demo.yaml", &made.join("---\n"));
}

#[test]
fn three_of_each() {
    let more = json!({
        "gateway": {"replicas": 3}, "master": {"replicas": 3}, "worker": {"replicas": 3},
        "etcd": {"managed": {"replicas": 3}},
    });
    changes("three.txt", &more);
}

#[test]
fn an_autoscaler_and_a_load_balancer() {
    let more = json!({"gateway": {
        "autoscaling": {"minReplicas": 2, "maxReplicas": 5},
        "service": {
            "type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"],
            "annotations": {"balancer.test/kind": "internal"},
        },
    }});
    changes("autoscaling.txt", &more);
}

#[test]
fn clients_by_name_and_no_account() {
    let more = json!({
        "serviceAccount": {"create": false},
        "gateway": {"service": {
            "type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"],
        }},
        "networkPolicy": {"clients": [
            {"namespaceSelector": {"matchLabels": {"team": "search"}}},
            {"podSelector": {"matchLabels": {"app": "shop"}}},
        ]},
    });
    changes("clients.txt", &more);
}

#[test]
fn no_policies_and_an_account_with_an_identity() {
    let more = json!({
        "serviceAccount": {"name": "searcher", "annotations": {"cloud.test/role": "reader"}},
        "networkPolicy": {"enabled": false},
    });
    changes("identity.txt", &more);
}

#[test]
fn settings_of_pods() {
    let more = json!({
        "image": {"pullPolicy": "Always", "pullSecrets": [{"name": "registry"}]},
        "podDefaults": {
            "labels": {"team": "search"}, "annotations": {"note": "all"},
            "nodeSelector": {"disk": "fast"}, "priorityClassName": "search",
            "env": [{"name": "RUST_BACKTRACE", "value": "1"}, {"name": "POD_IP", "value": "none"}],
        },
        "gateway": {"pod": {
            "labels": {"team": "web"}, "antiAffinity": "Required", "runtimeClassName": "small",
            "env": [{"name": "RUST_BACKTRACE", "value": "0"}],
        }},
        "master": {"pod": {
            "antiAffinity": "Disabled", "securityContext": {"readOnlyRootFilesystem": false},
            "tolerations": [{"key": "control", "operator": "Exists"}],
        }},
        "worker": {"pod": {
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}],
            }}},
            "podSecurityContext": {"fsGroup": 1}, "terminationGracePeriodSeconds": 90,
        }},
        "etcd": {"managed": {"pod": {"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule",
        }]}}},
    });
    changes("pods.txt", &more);
}

#[test]
fn overlays() {
    let more = json!({
        "podDefaults": {"overlay": {"spec": {"dnsPolicy": "Default", "hostname": "all"}}},
        "worker": {"pod": {"overlay": {
            "metadata": {"labels": {"vectorsphere.io/role": "gateway", "extra": "yes"}},
            "spec": {
                "hostname": null,
                "containers": [
                    {"name": "worker", "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]},
                    {"name": "logs", "image": "images.test/logs"},
                ],
                "volumes": [{"name": "scratch", "emptyDir": {}}],
            },
        }}},
    });
    changes("overlay.txt", &more);
}

#[test]
fn a_certificate_of_a_secret() {
    let more = json!({
        "tls": {"mode": "Secret", "secretName": "web"}, "auth": {"secret": {"name": "keys"}},
    });
    changes("secret.txt", &more);
}

#[test]
fn applications_with_certificates() {
    let more = json!({
        "tls": {"mode": "Secret", "secretName": "web", "clientAuth": "Required"},
        "monitoring": {"serviceMonitor": {"enabled": true}},
    });
    changes("clients-required.txt", &more);
    changes(
        "clients-optional.txt",
        &json!({"tls": {"clientAuth": "Optional"}}),
    );
}

#[test]
fn a_certificate_of_cert_manager() {
    let more = json!({"tls": {
        "mode": "CertManager", "issuerRef": {"name": "internal", "kind": "ClusterIssuer"},
        "extraDnsNames": ["search.example"],
    }});
    changes("cert-manager.txt", &more);
}

#[test]
fn an_etcd_that_is_there() {
    let more = json!({"etcd": {"managed": null, "external": {
        "endpoints": ["https://etcd-0.infra:2379", "https://etcd-1.infra:12379"],
        "prefix": "/search/", "tlsSecret": {"name": "etcd-client"},
        "authSecret": {"name": "etcd-user"},
    }}});
    changes("external-etcd.txt", &more);
}

#[test]
fn a_monitoring_stack() {
    let labels = json!({"release": "prometheus"});
    let more = json!({
        "tls": {"mode": "Secret", "secretName": "web"}, "auth": {"secret": {"name": "keys"}},
        "monitoring": {
            "serviceMonitor": {"enabled": true, "labels": labels, "interval": "1m"},
            "prometheusRule": {"enabled": true, "labels": labels},
        },
    });
    changes("monitoring.txt", &more);
}
