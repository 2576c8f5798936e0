//! StatefulSets, Deployments and ReplicaSets: what makes pods.

use std::sync::Arc;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::controllers::{change, delete, make};
use super::pods::is_ready;
use super::store::{Key, Store, text};
use super::verbs::fields;

/// Looks at what makes pods again, by a reference to it.
pub(crate) fn of_owner(store: &mut Store, namespace: &str, owner: &Value) {
    let key = |plural: &str| Key::built_in("apps", plural, namespace, text(owner, "/name"));
    match text(owner, "/kind") {
        "StatefulSet" => stateful_set(store, &key("statefulsets")),
        "ReplicaSet" => replica_set(store, &key("replicasets")),
        "Deployment" => deployment(store, &key("deployments")),
        _ => {},
    }
}

/// A set that is not being deleted.
fn standing(store: &Store, key: &Key) -> Option<Arc<Value>> {
    let set = store.get(key)?;
    set["metadata"]["deletionTimestamp"]
        .is_null()
        .then_some(set)
}

fn hash(template: &Value) -> String {
    let mut hash = format!("{:016x}", xxh3_64(template.to_string().as_bytes()));
    hash.truncate(10);
    hash
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or(0)).unwrap_or(0)
}

/// The pods of a set.
fn pods_of(store: &Store, set: &Value) -> Vec<(Key, Arc<Value>)> {
    let owned = store.owned_by(text(set, "/metadata/uid"));
    let pods = owned.into_iter().filter(|key| key.plural == "pods");
    pods.filter_map(|key| {
        let pod = store.get(&key)?;
        Some((key, pod))
    })
    .collect()
}

fn is_leaving(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

fn is_over(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Failed" | "Succeeded")
}

/// The owner reference to a set.
fn owner(set: &Value) -> Value {
    json!({
        "apiVersion": set["apiVersion"], "kind": set["kind"], "name": set["metadata"]["name"],
        "uid": set["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// A pod of a template.
fn pod(set: &Value, name: &str, labels: &Value) -> Value {
    let template = &set["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "labels": template["metadata"]["labels"],
            "annotations": template["metadata"]["annotations"], "ownerReferences": [owner(set)],
        },
        "spec": template["spec"],
    });
    let of_pod = fields(&mut pod["metadata"], "labels");
    for (name, value) in labels.as_object().into_iter().flatten() {
        of_pod.insert(name.clone(), value.clone());
    }
    pod
}

/// The number at the end of the name of a pod of a set.
fn ordinal(set: &Key, name: &str) -> Option<usize> {
    name.strip_prefix(&*set.name)?
        .strip_prefix('-')?
        .parse()
        .ok()
}

pub(crate) fn stateful_set(store: &mut Store, key: &Key) {
    let Some(set) = standing(store, key) else {
        return;
    };
    adopt(store, key, &set);
    let replicas = number(&set["spec"]["replicas"]);
    let revision = format!("{}-{}", key.name, hash(&set["spec"]["template"]));
    for at in 0..replicas {
        let name = format!("{}-{at}", key.name);
        let pod_key = Key::built_in("", "pods", &key.namespace, &name);
        match store.get(&pod_key) {
            Some(there) if is_over(&there) && !is_leaving(&there) => delete(store, &pod_key),
            Some(_) => {},
            None => {
                let labels = json!({
                    "statefulset.kubernetes.io/pod-name": name,
                    "apps.kubernetes.io/pod-index": at.to_string(),
                    "controller-revision-hash": revision,
                });
                let mut made = pod(&set, &name, &labels);
                made["spec"]["hostname"] = json!(name);
                made["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
                claim_volumes(store, &set, &mut made);
                make(store, &pod_key, made);
            },
        }
    }
    for (pod_key, there) in pods_of(store, &set) {
        let beyond = ordinal(key, &pod_key.name).is_some_and(|at| at >= replicas);
        if beyond && !is_leaving(&there) {
            delete(store, &pod_key);
        }
    }
    let pods = pods_of(store, &set);
    let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count();
    let of_revision =
        |pod: &Value| pod["metadata"]["labels"]["controller-revision-hash"] == *revision;
    let updated = pods.iter().filter(|(_, pod)| of_revision(pod)).count();
    change(store, key, |set| {
        set["status"] = json!({
            "observedGeneration": set["metadata"]["generation"], "replicas": pods.len(),
            "readyReplicas": ready, "availableReplicas": ready, "updatedReplicas": updated,
            "updateRevision": revision,
        });
    });
}

/// Takes pods over that are of its name and nobody's.
fn adopt(store: &mut Store, key: &Key, set: &Value) {
    let selector = set["spec"]["selector"]["matchLabels"].as_object();
    let selector = selector.cloned().unwrap_or_default();
    for (pod_key, pod) in store.list("", "pods", &key.namespace) {
        let labels = &pod["metadata"]["labels"];
        let selected = selector.iter().all(|(name, value)| labels[name] == *value);
        let owners = pod["metadata"]["ownerReferences"].as_array();
        let free = owners.is_none_or(|owners| owners.iter().all(|one| one["controller"] != true));
        if selected && free && ordinal(key, &pod_key.name).is_some() && !is_leaving(&pod) {
            let mut all = owners.cloned().unwrap_or_default();
            all.push(owner(set));
            change(store, &pod_key, |pod| {
                pod["metadata"]["ownerReferences"] = json!(all);
            });
        }
    }
}

/// Makes the claims of a pod and mounts them.
fn claim_volumes(store: &mut Store, set: &Value, pod: &mut Value) {
    let namespace = text(set, "/metadata/namespace").to_owned();
    let pod_name = text(pod, "/metadata/name").to_owned();
    let templates = set["spec"]["volumeClaimTemplates"].as_array();
    for template in templates.into_iter().flatten() {
        let volume = text(template, "/metadata/name");
        let name = format!("{volume}-{pod_name}");
        let key = Key::built_in("", "persistentvolumeclaims", &namespace, &name);
        if store.get(&key).is_none() {
            let mut claim = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": name, "labels": template["metadata"]["labels"]},
                "spec": template["spec"],
            });
            let labels = fields(&mut claim["metadata"], "labels");
            let selector = set["spec"]["selector"]["matchLabels"].as_object();
            for (name, value) in selector.into_iter().flatten() {
                labels.insert(name.clone(), value.clone());
            }
            make(store, &key, claim);
        }
        let mounted = json!({"name": volume, "persistentVolumeClaim": {"claimName": name}});
        let volumes = pod["spec"]["volumes"].as_array();
        let mut volumes = volumes.cloned().unwrap_or_default();
        volumes.retain(|one| one["name"] != *volume);
        volumes.push(mounted);
        pod["spec"]["volumes"] = json!(volumes);
    }
}

/// Another pod is ready before one ends: one more than wanted, never one less.
pub(crate) fn deployment(store: &mut Store, key: &Key) {
    let Some(deployment) = standing(store, key) else {
        return;
    };
    let wanted = number(&deployment["spec"]["replicas"]);
    let hash = hash(&deployment["spec"]["template"]);
    let current = Key::built_in(
        "apps",
        "replicasets",
        &key.namespace,
        &format!("{}-{hash}", key.name),
    );
    let owned = store.owned_by(text(&deployment, "/metadata/uid"));
    let of_it = owned.into_iter().filter(|one| one.plural == "replicasets");
    let old: Vec<Key> = of_it.filter(|one| *one != current).collect();
    let count = |store: &Store, set: &Key| {
        let set = store.get(set);
        let pods = set.map(|set| pods_of(store, &set)).unwrap_or_default();
        let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count();
        (pods.len(), ready)
    };
    let old_pods: usize = old.iter().map(|set| count(store, set).0).sum();
    let surge = (wanted + 1).saturating_sub(old_pods);
    let (_, before) = count(store, &current);
    size(
        store,
        (&deployment, &hash),
        &current,
        wanted.min(surge.max(before)),
    );
    replica_set(store, &current);
    let (there, ready) = count(store, &current);
    let mut spare = wanted.saturating_sub(ready);
    for set in &old {
        let kept = count(store, set).0.min(spare);
        spare -= kept;
        size(store, (&deployment, &hash), set, kept);
        replica_set(store, set);
    }
    let old_pods: usize = old.iter().map(|set| count(store, set).0).sum();
    let old_ready: usize = old.iter().map(|set| count(store, set).1).sum();
    change(store, key, |deployment| {
        deployment["status"] = json!({
            "observedGeneration": deployment["metadata"]["generation"],
            "replicas": there + old_pods, "updatedReplicas": there,
            "readyReplicas": ready + old_ready, "availableReplicas": ready + old_ready,
        });
    });
}

/// Makes a ReplicaSet of a deployment, or gives it its number.
fn size(store: &mut Store, (deployment, hash): (&Value, &str), key: &Key, replicas: usize) {
    if store.get(key).is_some() {
        change(store, key, |set| set["spec"]["replicas"] = json!(replicas));
        return;
    }
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"]["pod-template-hash"] = json!(hash);
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": key.name, "labels": template["metadata"]["labels"],
            "ownerReferences": [owner(deployment)],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    make(store, key, set);
}

pub(crate) fn replica_set(store: &mut Store, key: &Key) {
    let Some(set) = standing(store, key) else {
        return;
    };
    let wanted = number(&set["spec"]["replicas"]);
    let mut pods = pods_of(store, &set);
    pods.retain(|(_, pod)| !is_leaving(pod) && !is_over(pod));
    for _ in pods.len()..wanted {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("{}-{}", key.name, unique.split_at(5).0);
        let pod_key = Key::built_in("", "pods", &key.namespace, &name);
        make(store, &pod_key, pod(&set, &name, &json!({})));
    }
    pods.sort_by_key(|(key, pod)| (!is_ready(pod), key.clone()));
    for (pod_key, _) in pods.iter().skip(wanted) {
        delete(store, pod_key);
    }
    let pods = pods_of(store, &set);
    let ready = pods.iter().filter(|(_, pod)| is_ready(pod)).count();
    change(store, key, |set| {
        set["status"] = json!({"replicas": pods.len(), "readyReplicas": ready});
    });
}
