//! Whole nodes that go and come back, under the smallest manifest a person would write: eleven pods.

use std::process::Command;

use serde_json::{Value, json};
use vectorsphere::clock::{Clock, SystemClock};

use crate::acting::living::Living;
use crate::acting::operator_process::alone;
use crate::acting::serving::install;
use crate::kubernetes::Kubernetes;

const MINIMAL: &str = include_str!("../../../manifests/samples/minimal.yaml");

/// Has a host of the test Kubernetes end as in a power cut, or start again with its disk as it was.
fn host(verb: &str, node: &str) {
    let program = std::env::var_os("VECTORSPHERE_TEST_HOST").unwrap();
    let number = node.trim_start_matches("node");
    let done = Command::new(program).args([verb, number]).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{verb} {node}: {said}");
}

/// Whether there are nodes enough; says so where not.
fn has_nodes(kubernetes: &Kubernetes) -> bool {
    let nodes = kubernetes.call(&["get", "nodes", "-o", "name"], "");
    let enough = nodes.stdout.lines().count() >= 3;
    if !enough {
        let in_ci = std::env::var_os("CI").is_some();
        assert!(!in_ci, "skipped: fewer than 3 nodes");
        eprintln!("SKIPPED: fewer than 3 nodes");
    }
    enough
}

/// A worker whose node is not the one of the control plane, and that node.
fn worker_elsewhere(cluster: &Value) -> (String, String) {
    let workers = cluster["status"]["workers"].as_array().unwrap();
    let of = |worker: &Value, field: &str| worker[field].as_str().unwrap().to_owned();
    let mut places = workers.iter().map(|one| (of(one, "name"), of(one, "node")));
    places.find(|(_worker, node)| node != "node1").unwrap()
}

/// Long: a node counts as gone only after most of a minute.
#[test]
fn long_a_node_that_is_stopped_and_started_again_brings_everything_back() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    if !has_nodes(&kubernetes) {
        return;
    }
    install(&kubernetes);
    // What operators there are may be on that node.
    let _alone = alone();
    let minimal = Living::new(&kubernetes, "minimal");
    let began = SystemClock.now();
    minimal.apply(MINIMAL);
    minimal.until_phase("Running");
    let ready = SystemClock.now().since(began);
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(minimal.application(&["write", "c", "3"]), found);
    let answered = SystemClock.now().since(began);
    eprintln!("eleven pods: Running after {ready:.1?}, a search answered after {answered:.1?}");

    let (_worker, node) = worker_elsewhere(&minimal.cluster());
    host("stop", &node);
    let noticed = minimal.until("it is noticed", |cluster| {
        Living::condition(cluster, "Ready").0 == "False"
    });
    host("start", &node);
    let back = minimal.until("everything is back", |cluster| {
        cluster["status"]["phase"] == "Running" && Living::condition(cluster, "Ready").0 == "True"
    });
    assert_eq!(minimal.application(&["read", "c"]), found);
    eprintln!(
        "a node was stopped: noticed after {noticed:.1?}; started: everything back after {back:.1?}, every \
         point there"
    );
}

/// Nothing is made anew and empty in place of what a lost node held: its shards are named, everything else
/// goes on, and should the node come back after all, so does its data.
#[test]
fn long_a_node_that_is_lost_for_good_is_told_by_its_shards_and_the_rest_serves() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    if !has_nodes(&kubernetes) {
        return;
    }
    install(&kubernetes);
    let _alone = alone();
    let minimal = Living::new(&kubernetes, "minimal");
    minimal.apply(MINIMAL);
    minimal.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    let collections = ["a", "b", "c"];
    // One on each worker.
    for collection in collections {
        assert_eq!(minimal.application(&["write", collection, "1"]), found);
    }
    let (worker, node) = worker_elsewhere(&minimal.cluster());
    let volumes = minimal.uids("persistentvolumeclaims");
    host("stop", &node);
    let shards = |cluster: &Value| Living::message(cluster, "ShardsFullyReplicated");
    let named = minimal.until("its shard is named", |cluster| {
        shards(cluster).contains(&format!("on {worker}"))
    });
    let message = shards(&minimal.cluster());
    let is_lost = |name: &&str| message.contains(&format!("shard 0 of {name} on {worker}"));
    let lost: Vec<&str> = collections.into_iter().filter(is_lost).collect();
    assert_eq!(lost.len(), 1, "{message}");
    kubernetes
        .call(&["delete", "node", &node], "")
        .accepted("delete the node");
    let placeless = minimal.until("its pod finds no place", |cluster| {
        let workers = cluster["status"]["workers"].as_array().unwrap();
        let of_it = workers.iter().find(|one| one["name"] == worker.as_str());
        let message = of_it.and_then(|one| one["message"].as_str());
        message.is_some_and(|message| message.starts_with("it is on no node"))
    });
    for collection in collections.into_iter().filter(|one| !lost.contains(one)) {
        assert_eq!(minimal.application(&["read", collection]), found);
    }
    assert_eq!(minimal.uids("persistentvolumeclaims"), volumes);
    let workers = minimal.cluster()["status"]["workers"].clone();
    assert_eq!(workers.as_array().unwrap().len(), 3, "{workers}");
    eprintln!(
        "a node was lost: its shard named after {named:.1?}, its pod without a place {placeless:.1?} after the \
         node was deleted; the others served, no volume was made"
    );

    host("start", &node);
    let back = minimal.until("everything is back", |cluster| {
        cluster["status"]["phase"] == "Running" && Living::condition(cluster, "Ready").0 == "True"
    });
    assert_eq!(minimal.application(&["read", lost[0]]), found);
    eprintln!("the node came back after all: everything there after {back:.1?}");
}
