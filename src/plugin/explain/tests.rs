//! What is explained, on made-up clusters.

use serde_json::{Value, json};

use super::*;
use crate::plugin::conditions::tests::{cluster, said};
use crate::plugin::pods::tests::{pod, ready, waiting};

fn sight(status: &Value) -> Sight {
    Sight {
        cluster: cluster(status),
        pods: vec![pod("small-worker-0", "worker", &ready())],
        events: Vec::new(),
        now: 180,
    }
}

#[test]
fn what_is_ready_is_said_to_be_ready_and_no_more() {
    let sight = sight(&json!({"observedGeneration": 2, "conditions": [
        said("Ready", "True", "AllComponentsReady", "every component is ready"),
        said("Progressing", "False", "Complete", ""),
    ]}));
    assert_eq!(
        text(&sight),
        "small is Ready, for 2m: every component is ready.\n"
    );
}

#[test]
fn what_waits_for_an_image_is_explained_down_to_the_pod() {
    let mut sight = sight(&json!({"observedGeneration": 2, "conditions": [
        said("Ready", "False", "ComponentsNotReady", "0 of 1 workers are ready"),
        said("Degraded", "True", "PodCrashLooping", "small-worker-0: ImagePullBackOff i:1"),
    ]}));
    sight.pods = vec![pod(
        "small-worker-0",
        "worker",
        &waiting("ImagePullBackOff", "no i:1"),
    )];
    let expected = "\
small is not Ready, for 2m: 0 of 1 workers are ready (ComponentsNotReady).

What is not as it should be:
* Degraded is True, for 2m: small-worker-0: ImagePullBackOff i:1 (PodCrashLooping).

Pods that wait:
* small-worker-0: container c waits: ImagePullBackOff i:1: no i:1; before: Error, exit code 1.

What you can do:
* look whether the nodes can have the image i:1, and whether spec.image is right
";
    assert_eq!(text(&sight), expected);
}

#[test]
fn a_gate_is_named_with_what_opens_it() {
    let operation = |gate: &str| {
        sight(
            &json!({"observedGeneration": 2, "conditions": [said("Ready", "True", "R", "m"),
                said("Progressing", "False", "Blocked", "it waits")],
            "operations": [{"name": "Update", "state": "Waiting", "done": 1, "total": 4,
                "startedAt": "1970-01-01T00:02:00Z", "blockedBy": gate,
                "blockedSince": "1970-01-01T00:02:30Z", "message": "it waits",
                "target": "small-worker-0"}]}),
        )
    };
    let text = text(&operation("Approved"));
    let expected = "\
small is Ready, for 2m: m.

Under way:
* Update is waiting, for 60s, 1 of 4 done, next is small-worker-0. It is held up by Approved, for 30s: it waits.

What you can do:
* let the update begin: kubectl vectorsphere approve small
";
    assert_eq!(text, expected);
    let other = super::text(&operation("LeaderStable"));
    assert!(
        other.contains("vectorsphere.io/skip-gates=LeaderStable"),
        "{other}"
    );
}

#[test]
fn a_pause_and_a_generation_that_nobody_saw_are_said_first() {
    let mut sight = sight(&json!({"observedGeneration": 1, "conditions": [
        said("Ready", "True", "AllComponentsReady", "every component is ready"),
        said("Paused", "True", "Requested", "the operator changes nothing"),
    ]}));
    sight.cluster.spec.paused = true;
    let text = text(&sight);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[1].contains("has not looked at generation 2 yet"),
        "{text}"
    );
    assert!(lines[2].starts_with("It is paused:"), "{text}");
    assert!(text.contains("kubectl vectorsphere resume small"), "{text}");
}

#[test]
fn one_that_sleeps_needs_no_list_of_what_is_missing() {
    let mut sight = sight(&json!({"observedGeneration": 2, "conditions": [
        said("Ready", "False", "Hibernated", "spec.power is Hibernated"),
        said("EtcdReady", "False", "NoQuorum", "0 of 1 members are ready"),
        said("Hibernated", "True", "Requested", "0 pods run"),
    ]}));
    sight.pods.clear();
    sight.cluster.spec.power = crate::crd::v1alpha1::Power::Hibernated;
    let text = text(&sight);
    assert!(text.contains("It sleeps: no pod runs"), "{text}");
    assert!(!text.contains("EtcdReady"), "{text}");
    assert!(text.contains("kubectl vectorsphere wake small"), "{text}");
}

#[test]
fn nobody_looked_yet() {
    let mut sight = sight(&json!({}));
    sight.cluster.status = None;
    let text = text(&sight);
    assert!(text.contains("no operator has looked at it yet"), "{text}");
    assert!(
        text.contains("app.kubernetes.io/name=vectorsphere-operator"),
        "{text}"
    );
}

#[test]
fn warnings_of_the_cluster_and_its_pods_are_told_newest_first() {
    let event = |kind: &str, name: &str, time: &str, type_: &str| {
        serde_json::from_value(
            json!({"metadata": {"name": "e"}, "type": type_, "reason": "Why",
            "note": "what\nhappened", "regarding": {"kind": kind, "name": name},
            "eventTime": time, "deprecatedCount": 3}),
        )
        .unwrap()
    };
    let early = "1970-01-01T00:01:00.000000Z";
    let late = "1970-01-01T00:02:00.000000Z";
    let mut sight = sight(&json!({"observedGeneration": 2,
        "conditions": [said("Ready", "False", "R", "m")]}));
    sight.events = vec![
        event("VectorCluster", "small", early, "Warning"),
        event("Pod", "small-worker-0", late, "Warning"),
        event("Pod", "small-two-worker-0", late, "Warning"),
        event(
            "PersistentVolumeClaim",
            "data-small-etcd-0",
            early,
            "Normal",
        ),
    ];
    assert_eq!(
        warnings::sentences(&sight),
        [
            "60s ago, 3 times, Pod small-worker-0: Why: what happened",
            "2m ago, 3 times, VectorCluster small: Why: what happened",
        ]
    );
    let ready = json!({"observedGeneration": 2, "conditions": [said("Ready", "True", "R", "m")]});
    let well = Sight {
        cluster: cluster(&ready),
        ..sight.clone()
    };
    assert_eq!(
        warnings::sentences(&well),
        ["2m ago, 3 times, VectorCluster small: Why: what happened"]
    );
    sight.now = 100_000;
    assert_eq!(warnings::sentences(&sight), Vec::<String>::new());
}
