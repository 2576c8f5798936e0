//! What a task says of itself in every case that the documentation names, and in no other: the tables of
//! `docs/operator.md` are compared with what these scenes give.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::crd::v1alpha1::Power;
use crate::operator::documented;
use crate::topology::{LAPTOP_SAMPLE, manifest};

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(super) fn task(name: &str, created: i64, spec: Value, status: Value) -> VectorOpsTask {
    let mut whole = json!({"cluster": "laptop", "task": "Restart", "ttlSecondsAfterFinished": 60});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorOpsTask",
        "metadata": {"name": name, "creationTimestamp": at(created)},
        "spec": whole, "status": status,
    }))
    .unwrap()
}

/// A task of this spec that nobody has looked at.
fn asked(spec: Value) -> VectorOpsTask {
    task("t", 5, spec, json!({}))
}

pub(super) fn cluster(change: impl FnOnce(&mut VectorCluster)) -> VectorCluster {
    let spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
    let mut cluster = VectorCluster::new("laptop", spec);
    change(&mut cluster);
    cluster
}

/// What is said of a task before it runs: of this spec, in this cluster, while these pods are there.
fn said(
    spec: Value,
    cluster: Option<&VectorCluster>,
    youngest: Option<i64>,
    others: bool,
) -> Report {
    let runs = task("r", 1, json!({}), json!({"state": "Running"}));
    let others = if others { vec![runs] } else { Vec::new() };
    let step = decide(&Facts {
        task: &asked(spec),
        others: &others,
        cluster,
        youngest: youngest.map(at),
        now: at(1_000),
    });
    match step {
        Step::Say(report) => report,
        Step::Begin => begun(),
        Step::Keep(_) | Step::Remove | Step::Work(_) => panic!("{step:?}"),
    }
}

/// What is said of a task whose cluster is not there yet.
fn awaited() -> Report {
    let step = decide(&Facts {
        task: &asked(json!({})),
        others: &[],
        cluster: None,
        youngest: None,
        now: at(10),
    });
    let Step::Say(report) = step else {
        panic!("{step:?}")
    };
    report
}

/// Every report: before a task runs, while it does, and when it has ended.
fn all() -> Vec<Report> {
    let plain = cluster(|_| {});
    let paused = cluster(|cluster| cluster.spec.paused = true);
    let asleep = cluster(|cluster| cluster.spec.power = Power::Hibernated);
    let external = cluster(|cluster| cluster.spec.etcd.managed = None);
    let restart = || json!({});
    let of = |task: &str| json!({"task": task, "worker": "w"});
    vec![
        said(restart(), Some(&plain), None, false),
        said(restart(), None, None, false),
        awaited(),
        said(restart(), Some(&plain), None, true),
        said(restart(), Some(&plain), Some(1_000), false),
        said(restart(), Some(&paused), None, false),
        said(restart(), Some(&asleep), None, false),
        said(of("DefragmentEtcd"), Some(&external), None, false),
        said(of("Rebalance"), Some(&plain), None, false),
        said(of("EvacuateWorker"), Some(&plain), None, false),
        said(of("ReplaceWorker"), Some(&plain), None, false),
        said(of("VerifyData"), Some(&plain), None, false),
        tried(Ok(Progress::Going("1 of 2".to_owned()))),
        tried(Ok(Progress::Done("2 of 2".to_owned()))),
        tried(Err(Error::Deadline(Duration::from_secs(1)))),
    ]
}

#[test]
fn every_state_and_reason_is_given_in_some_scene_and_none_that_is_not_documented() {
    let mut given = BTreeSet::new();
    for report in all() {
        let status = status(&asked(json!({})), &report, at(1_000));
        let [complete] = &*status.conditions else {
            panic!("{:?}", status.conditions);
        };
        assert_eq!(complete.type_, "Complete");
        assert_eq!(complete.status == "True", report.state == State::Succeeded);
        given.insert((status.state.unwrap(), complete.reason.clone()));
    }
    assert_eq!(given, documented::pairs("| State of a task |"));
}

#[test]
fn every_event_is_sent_and_none_that_is_not_documented() {
    let all = all();
    let told = all.iter().filter_map(told);
    let sent: BTreeSet<&str> = told.map(|told| told.reason).collect();
    let lines = documented::lines("Events about a task:").join(" ");
    assert_eq!(sent, documented::words(&lines).collect());
}

#[test]
fn nothing_else_can_be_said() {
    let mut known = BTreeSet::from(["Complete".to_owned()]);
    for (state, reason) in documented::pairs("| State of a task |") {
        known.extend([state, reason]);
    }
    let events = documented::lines("Events about a task:").join(" ");
    known.extend(documented::words(&events).map(str::to_owned));
    // What no work comes to, and what the cluster's own operation is called.
    known.extend(["Failed", "Update"].map(str::to_owned));
    for source in [
        include_str!("../task.rs"),
        include_str!("decide.rs"),
        include_str!("progress.rs"),
    ] {
        let mut literals = documented::literals(source);
        literals.retain(|literal| !known.contains(*literal));
        // A type of a condition of pods, and its status.
        literals.retain(|literal| !matches!(*literal, "Ready" | "True"));
        assert_eq!(literals, BTreeSet::new());
    }
}
