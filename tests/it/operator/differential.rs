//! What a cluster was before does not matter: one that was changed is as one that was made so, and a
//! manifest that did not work leaves nothing behind when it is taken back.
//!
//! Seeds give pairs of specs (`specs`). A cluster is made by the first, spoilt, put back, and changed to
//! the second; another is made by the second at once. What has to be equal is every object, without what
//! differs between two runs (`canonical`) and what is history and may differ: revisions that are not in
//! force, and how many there were; ReplicaSets without pods; volumes of workers that were scaled away and
//! kept, and the masters' marks of workers that are gone; keys that were made before a Secret of others
//! was named, which whoever goes back finds again; the numbers of workers, which are never used twice, so
//! they are compared in their order; and the templates of volumes in etcd's set, which Kubernetes does not
//! let anybody change, since the volumes themselves grow.
//!
//! `VECTORSPHERE_TEST_SEED=7 cargo test --release --test it differential_and_revert -- --nocapture` tries one.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde_json::{Value, json};

use super::canonical::{canonical, differences};
use super::double::State;
use super::double::store::text;
use super::scene::{CLUSTER, NAMESPACE, Scene, call, cluster_key, manifest, server_with};
use super::specs::{Pair, pair};
use crate::support::skip::long;

/// Pairs at the same time.
const AT_ONCE: usize = 8;
/// Pairs of the short test.
const A_FEW: u64 = 2;
/// Pairs of the long one, unless `VECTORSPHERE_TEST_PAIRS` says another number.
const MANY: u64 = 500;

/// Pairs after which it is told how far it is.
const TOLD_EVERY: usize = 10;

/// The Secrets that specs name.
fn secrets() -> Vec<Value> {
    let secret = |name: &str, keys: &[&str]| {
        // What stands in them is read by processes that do not run here.
        let data = keys.iter().map(|key| ((*key).to_owned(), json!("eA==")));
        let data: serde_json::Map<String, Value> = data.collect();
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE}, "data": data,
        })
    };
    vec![
        secret("web", &["tls.crt", "tls.key", "ca.crt"]),
        secret("keys", &["admin", "readonly"]),
    ]
}

/// A scene with a cluster of this spec that nobody has looked at.
fn scene_of(spec: &Value) -> Scene {
    let mut cluster = manifest(CLUSTER, &json!({}));
    cluster["spec"] = spec.clone();
    let mut all = secrets();
    all.push(cluster);
    Scene::of(&server_with(&all))
}

/// A person replaces the whole spec.
fn replace(scene: &Scene, spec: &Value) {
    scene.double.with(|state| {
        let key = cluster_key(CLUSTER);
        let mut cluster = Value::clone(&state.store.get(&key).unwrap());
        cluster["spec"] = spec.clone();
        let call = call(state, &key);
        call.replace(&mut state.store, cluster).unwrap();
    });
}

/// Every object that counts, without history.
fn settled(state: &State) -> BTreeMap<String, Value> {
    let mut all = canonical(state);
    let cluster = format!("vectorclusters/{CLUSTER}");
    let in_force = all.get(&cluster).map(|cluster| {
        let target = text(cluster, "/status/revision/target");
        format!("controllerrevisions/{CLUSTER}-{target}")
    });
    let spec = all.get(&cluster).map(|cluster| &cluster["spec"]);
    let has_others = spec.is_some_and(|spec| !spec["auth"]["secret"].is_null());
    let unused_keys = has_others.then(|| format!("secrets/{CLUSTER}-auth"));
    all.retain(|name, object| {
        let is_old = name.starts_with("controllerrevisions/") && Some(name) != in_force.as_ref();
        let is_empty = name.starts_with("replicasets/") && object["spec"]["replicas"] == 0;
        let retired = &object["metadata"]["labels"]["vectorsphere.io/retired"];
        !is_old && !is_empty && retired.is_null() && Some(name) != unused_keys.as_ref()
    });
    for (name, object) in &mut all {
        if name.starts_with("controllerrevisions/") {
            object["revision"] = Value::Null;
        }
        if *name == cluster {
            object["status"]["revision"]["previous"] = Value::Null;
            object["status"]["nextWorkerOrdinal"] = Value::Null;
            // As text; each worker is compared by itself below.
            object["status"]["workerOrdinals"] = Value::Null;
        }
        if name.starts_with("statefulsets/") {
            object["spec"]["volumeClaimTemplates"] = Value::Null;
        }
    }
    if let Some(Value::Array(drained)) = all.get("drained").cloned() {
        let there = |one: &Value| {
            let pod = format!("pods/{}", one.as_str().unwrap_or_default());
            all.contains_key(&pod)
        };
        let drained: Vec<Value> = drained.into_iter().filter(there).collect();
        all.insert("drained".to_owned(), json!(drained));
    }
    in_order(&all)
}

/// The numbers of workers that there are, from the lowest.
fn workers(all: &BTreeMap<String, Value>) -> Vec<u64> {
    let prefix = format!("pods/{CLUSTER}-worker-");
    let numbers = all
        .keys()
        .filter_map(|name| name.strip_prefix(&*prefix)?.parse().ok());
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

/// The same with workers that are numbered without a gap.
fn in_order(all: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let numbers = workers(all);
    let renamed = |text: &str| {
        let mut text = text.to_owned();
        // From the lowest: a new number is never above the old one.
        for (new, old) in numbers.iter().enumerate() {
            let old = format!("{CLUSTER}-worker-{old}");
            if let Some(before) = text.strip_suffix(&*old) {
                text = format!("{before}{CLUSTER}-worker-{new}");
                break;
            }
        }
        text
    };
    let number = |old: u64| numbers.iter().position(|one| *one == old);
    let renumbered = all.iter().map(|(name, object)| {
        let mut object = object.clone();
        walk(&mut object, &renamed);
        let label = object.pointer_mut("/metadata/labels/vectorsphere.io~1ordinal");
        if let Some(label) = label {
            let old = label.as_str().and_then(|old| old.parse().ok());
            *label = json!(old.and_then(number));
        }
        let workers = object
            .pointer_mut("/status/workers")
            .and_then(Value::as_array_mut);
        for worker in workers.into_iter().flatten() {
            worker["ordinal"] = json!(worker["ordinal"].as_u64().and_then(number));
        }
        (renamed(name), object)
    });
    renumbered.collect()
}

fn walk(value: &mut Value, renamed: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = renamed(text),
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, renamed)),
        Value::Object(fields) => fields.values_mut().for_each(|field| walk(field, renamed)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {},
    }
}

/// A cluster that has come to its end.
async fn at_rest(scene: &Scene) -> BTreeMap<String, Value> {
    scene.until_done().await;
    scene.until_quiet().await;
    scene.double.with(|state| settled(state))
}

/// What is wrong with a pair.
async fn faults_of(pair: &Pair) -> Vec<String> {
    let scene = scene_of(&pair.first);
    let _operator = scene.operator("first").await;
    let made = at_rest(&scene).await;
    replace(&scene, &pair.spoilt());
    scene.until_quiet().await;
    replace(&scene, &pair.first);
    let put_back = at_rest(&scene).await;
    replace(&scene, &pair.second);
    let changed = at_rest(&scene).await;
    let other = scene_of(&pair.second);
    let _operator = other.operator("second").await;
    let fresh = at_rest(&other).await;
    let named = |what: &str, faults: Vec<String>| {
        let faults = faults.into_iter();
        faults
            .map(|fault| format!("{what}: {fault}"))
            .collect::<Vec<_>>()
    };
    let bad = &pair.bad.name;
    let reverted = named(&format!("after {bad}"), differences(&made, &put_back));
    [reverted, named("changed", differences(&fresh, &changed))].concat()
}

/// Tries these seeds; panics with those that differ, and their specs.
async fn try_all(seeds: impl Iterator<Item = u64>) {
    let runs = seeds.map(|seed| async move {
        let pair = pair(seed);
        let faults = faults_of(&pair).await;
        if !faults.is_empty() {
            let (first, second) = (&pair.first, &pair.second);
            eprintln!(
                "VECTORSPHERE_TEST_SEED={seed}: {faults:#?}\nfirst: {first}\nsecond: {second}"
            );
        }
        (seed, pair.bad.name, faults)
    });
    let mut runs = futures::stream::iter(runs).buffer_unordered(AT_ONCE);
    let (mut tried, mut wrong, mut bad) = (0, Vec::new(), BTreeMap::<String, usize>::new());
    while let Some((seed, name, faults)) = runs.next().await {
        tried += 1;
        *bad.entry(name).or_default() += 1;
        if !faults.is_empty() {
            wrong.push(seed);
        }
        if tried % TOLD_EVERY == 0 {
            eprintln!("{tried} pairs so far, {} with differences", wrong.len());
        }
    }
    eprintln!(
        "{tried} pairs, {} with differences; taken back: {bad:?}",
        wrong.len()
    );
    assert!(wrong.is_empty(), "seeds {wrong:?}");
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differential_and_revert_of_a_few_specs() {
    match number("VECTORSPHERE_TEST_SEED") {
        Some(seed) => try_all(seed..=seed).await,
        None => try_all(0..A_FEW).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_differential_and_revert_of_many_specs() {
    if !long() {
        return;
    }
    let from = number("VECTORSPHERE_TEST_SEED").unwrap_or(1_000);
    let pairs = number("VECTORSPHERE_TEST_PAIRS").unwrap_or(MANY);
    try_all(from..from + pairs).await;
}
