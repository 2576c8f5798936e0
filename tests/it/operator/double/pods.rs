//! Pods that run on a node, and claims that are bound.
//!
//! A pod runs when its claims and Secrets are there. One whose image has `broken` in its name never gets
//! ready, as one whose image does not exist. All nodes are as one: it has the labels below and less than a
//! tebibyte of memory, and a pod that wants others stays without a node.

use serde_json::{Value, json};

use super::State;
use super::admission::CLAIM_FINALIZER;
use super::controllers::change;
use super::masters::{Masters, address};
use super::store::{Key, Store, text};
use super::verbs::now;

/// Whether the kubelet says that it serves.
pub(crate) fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready") == Some("True") && pod["metadata"]["deletionTimestamp"].is_null()
}

fn condition<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|one| one["type"] == name)?;
    found["status"].as_str()
}

fn volumes<'a>(pod: &'a Value, pointer: &'a str) -> impl Iterator<Item = String> + 'a {
    let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
    let names = volumes.map(move |volume| text(volume, pointer).to_owned());
    names.filter(|name| !name.is_empty())
}

/// The claims that a pod mounts.
pub(crate) fn claims(pod: &Value) -> Vec<String> {
    volumes(pod, "/persistentVolumeClaim/claimName").collect()
}

/// The process of a pod has to start again: another double runs it now.
pub(crate) fn restart(store: &mut Store, key: &Key) {
    change(store, key, |pod| {
        if !pod["spec"]["nodeName"].is_null() {
            pod["status"] = starting();
        }
    });
}

fn starting() -> Value {
    json!({
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": now()},
            {"type": "Ready", "status": "False", "lastTransitionTime": now()},
        ],
    })
}

/// The labels of every node.
const NODE: [(&str, &str); 2] = [("disk", "fast"), ("kubernetes.io/os", "linux")];

/// Whether a node takes the pod: by its selector, by rules of affinity that ask whether a label exists, and
/// by its memory.
fn fits(pod: &Value) -> bool {
    let spec = &pod["spec"];
    let has = |name: &str| NODE.iter().any(|(label, _)| *label == name);
    let selector = spec["nodeSelector"].as_object().into_iter().flatten();
    let selected = selector
        .into_iter()
        .all(|(name, value)| NODE.iter().any(|(label, of)| label == name && value == of));
    let terms = spec
        .pointer("/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution")
        .and_then(|required| required["nodeSelectorTerms"].as_array());
    let met = |term: &Value| {
        let rules = term["matchExpressions"].as_array().into_iter().flatten();
        rules
            .into_iter()
            .all(|rule| rule["operator"] == "Exists" && has(text(rule, "/key")))
    };
    let containers = spec["containers"].as_array().into_iter().flatten();
    let small = containers
        .into_iter()
        .all(|one| !text(one, "/resources/requests/memory").ends_with("Ti"));
    selected && small && terms.is_none_or(|terms| terms.iter().any(met))
}

/// Nobody takes it, for long enough that nobody waits any more.
fn unschedulable() -> Value {
    json!({
        "phase": "Pending",
        "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available", "lastTransitionTime": "2020-01-01T00:00:00Z",
        }],
    })
}

/// Brings a pod on.
pub(crate) fn pod(state: &mut State, masters: &mut Masters, key: &Key) {
    let store = &mut state.store;
    let Some(pod) = store.get(key) else {
        return;
    };
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        let held = pod["metadata"]["finalizers"].as_array();
        if held.is_none_or(Vec::is_empty) {
            store.remove(key);
        }
        return;
    }
    let is_there = |plural: &str, name: &str| {
        let key = Key::built_in("", plural, &key.namespace, name);
        store.get(&key).is_some()
    };
    let has_claims = claims(&pod)
        .iter()
        .all(|claim| is_there("persistentvolumeclaims", claim));
    let has_secrets = volumes(&pod, "/secret/secretName").all(|name| is_there("secrets", &name));
    if pod["spec"]["nodeName"].is_null() {
        if !fits(&pod) {
            change(store, key, |pod| pod["status"] = unschedulable());
        } else if has_claims {
            change(store, key, |pod| {
                pod["spec"]["nodeName"] = json!("node-1");
                pod["status"] = starting();
            });
        }
        return;
    }
    if is_ready(&pod) || !has_secrets {
        return;
    }
    let containers = pod["spec"]["containers"].as_array().cloned();
    let containers = containers.unwrap_or_default();
    let broken = containers
        .iter()
        .any(|container| text(container, "/image").contains("broken"));
    if broken {
        stuck(store, key, &containers);
        return;
    }
    let address = if text(&pod, "/metadata/labels/vectorsphere.io~1role") == "master" {
        match masters.begin(store, key, &pod) {
            Some(address) => address,
            None => return,
        }
    } else {
        address()
    };
    let running = containers.iter().map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "ready": true,
            "restartCount": 0, "state": {"running": {"startedAt": now()}},
        })
    });
    let running: Vec<Value> = running.collect();
    change(store, key, |pod| {
        pod["status"] = starting();
        pod["status"]["phase"] = json!("Running");
        pod["status"]["podIP"] = json!(address);
        pod["status"]["conditions"][1]["status"] = json!("True");
        pod["status"]["containerStatuses"] = json!(running);
    });
}

fn stuck(store: &mut Store, key: &Key, containers: &[Value]) {
    let waiting = containers.iter().map(|container| {
        json!({
            "name": container["name"], "image": container["image"], "ready": false,
            "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}},
        })
    });
    let waiting: Vec<Value> = waiting.collect();
    change(store, key, |pod| {
        pod["status"]["containerStatuses"] = json!(waiting);
        // For long enough that nobody waits any more.
        pod["status"]["conditions"][1]["lastTransitionTime"] = json!("2020-01-01T00:00:00Z");
    });
}

/// Binds a claim, lets it grow, and lets it go when it is deleted and no pod uses it.
pub(crate) fn claim(store: &mut Store, key: &Key) {
    let Some(claim) = store.get(key) else {
        return;
    };
    if claim["metadata"]["deletionTimestamp"].is_null() {
        change(store, key, |claim| {
            let size = claim["spec"]["resources"]["requests"]["storage"].clone();
            claim["status"] = json!({
                "phase": "Bound", "accessModes": claim["spec"]["accessModes"],
                "capacity": {"storage": size},
            });
            let volume = format!("pvc-{}", text(claim, "/metadata/uid"));
            claim["spec"]["volumeName"] = json!(volume);
        });
        return;
    }
    let pods = store.list("", "pods", &key.namespace);
    if pods.iter().any(|(_, pod)| claims(pod).contains(&key.name)) {
        return;
    }
    let finalizers = claim["metadata"]["finalizers"].as_array();
    let rest = finalizers.into_iter().flatten();
    let rest: Vec<Value> = rest
        .filter(|one| *one != CLAIM_FINALIZER)
        .cloned()
        .collect();
    if rest.is_empty() {
        store.remove(key);
    } else {
        change(store, key, |claim| {
            claim["metadata"]["finalizers"] = json!(rest);
        });
    }
}
