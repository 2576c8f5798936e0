//! Whole nodes that go and come back, under the smallest manifest a person would write: eleven pods.

use std::process::Command;

use serde_json::json;
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

/// Long: a node counts as gone only after most of a minute.
#[test]
fn long_a_node_that_is_stopped_and_started_again_brings_everything_back() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let nodes = kubernetes.call(&["get", "nodes", "-o", "name"], "");
    if nodes.stdout.lines().count() < 3 {
        assert!(
            std::env::var_os("CI").is_none(),
            "skipped: fewer than 3 nodes"
        );
        eprintln!("SKIPPED: fewer than 3 nodes");
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

    // A worker's node, and not the one of the control plane.
    let cluster = minimal.cluster();
    let workers = cluster["status"]["workers"].as_array().unwrap();
    let mut nodes = workers
        .iter()
        .map(|worker| worker["node"].as_str().unwrap());
    let node = nodes.find(|node| *node != "node1").unwrap().to_owned();
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
