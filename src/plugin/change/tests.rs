//! What wishes come to, on made-up clusters.

use serde_json::json;

use super::*;
use crate::plugin::conditions::tests::cluster;

const NOW: &str = "2026-01-01T00:00:00Z";

fn decided(cluster: &VectorCluster, wish: &Wish) -> Change {
    decide(cluster, wish, NOW).unwrap()
}

fn supervised(blocked_by: &str) -> VectorCluster {
    let mut cluster = cluster(&json!({"observedGeneration": 2, "conditions": [],
        "operations": [{"name": "Update", "state": "Waiting", "startedAt": NOW,
            "blockedBy": blocked_by, "message": "0 of 1 workers are new"}]}));
    cluster.spec.updates.type_ = UpdateType::Supervised;
    cluster
}

#[test]
fn each_wish_changes_one_field_once_and_then_there_is_nothing_to_do() {
    let check = |wish: Wish, merge: Value, pointer: &str| {
        let mut cluster = cluster(&json!({}));
        cluster.spec.paused = wish == Wish::Resume;
        if wish == Wish::Wake {
            cluster.spec.power = Power::Hibernated;
        }
        let first = decided(&cluster, &wish);
        assert_eq!(first.merge.as_ref(), Some(&merge), "{wish:?}");
        assert!(first.said.starts_with("VectorCluster default/small: "));
        let mut after = serde_json::to_value(&cluster).unwrap();
        *after.pointer_mut(pointer).unwrap() = merge.pointer(pointer).unwrap().clone();
        let after: VectorCluster = serde_json::from_value(after).unwrap();
        let second = decided(&after, &wish);
        assert_eq!(second.merge, None, "{wish:?}");
        assert!(second.said.contains("nothing to do"), "{}", second.said);
    };
    check(
        Wish::Pause,
        json!({"spec": {"paused": true}}),
        "/spec/paused",
    );
    check(
        Wish::Resume,
        json!({"spec": {"paused": false}}),
        "/spec/paused",
    );
    check(
        Wish::Hibernate,
        json!({"spec": {"power": "Hibernated"}}),
        "/spec/power",
    );
    check(
        Wish::Wake,
        json!({"spec": {"power": "Running"}}),
        "/spec/power",
    );
}

#[test]
fn a_restart_is_an_annotation_with_the_time() {
    let mut cluster = cluster(&json!({}));
    let all = decided(&cluster, &Wish::Restart(None));
    let expected = json!({"metadata": {"annotations": {"vectorsphere.io/restart": NOW}}});
    assert_eq!(all.merge, Some(expected));
    let workers = decided(&cluster, &Wish::Restart(Some(Role::Worker)));
    let expected = json!({"metadata": {"annotations": {"vectorsphere.io/restart-worker": NOW}}});
    assert_eq!(workers.merge, Some(expected));
    cluster.spec.paused = true;
    let paused = decided(&cluster, &Wish::Restart(None));
    assert!(
        paused.said.contains("nothing happens until"),
        "{}",
        paused.said
    );
    cluster.spec.power = Power::Hibernated;
    assert_eq!(decided(&cluster, &Wish::Restart(None)).merge, None);
    cluster.spec.etcd.managed = None;
    assert!(decide(&cluster, &Wish::Restart(Some(Role::Etcd)), NOW).is_err());
}

#[test]
fn an_approval_names_the_generation_that_waits() {
    let mut cluster = supervised("Approved");
    let approved = decided(&cluster, &Wish::Approve(None));
    let expected = json!({"metadata": {"annotations": {"vectorsphere.io/approve": "2"}}});
    assert_eq!(approved.merge, Some(expected));
    let update = Wish::Approve(Some("Update".to_owned()));
    assert!(decided(&cluster, &update).merge.is_some());
    assert!(decide(&cluster, &Wish::Approve(Some("Resize".to_owned())), NOW).is_err());
    // What the operator has not looked at is not approved unseen.
    cluster.metadata.generation = Some(3);
    assert!(decide(&cluster, &Wish::Approve(None), NOW).is_err());
}

#[test]
fn where_no_approval_is_waited_for_none_is_written() {
    let none = |cluster: &VectorCluster| {
        let change = decided(cluster, &Wish::Approve(None));
        assert_eq!(change.merge, None, "{}", change.said);
    };
    none(&supervised("LeaderStable"));
    let mut automatic = supervised("Approved");
    automatic.spec.updates.type_ = UpdateType::Automatic;
    none(&automatic);
    let mut approved = supervised("Approved");
    let annotations = [(APPROVE.to_owned(), "2".to_owned())];
    approved.metadata.annotations = Some(annotations.into());
    none(&approved);
    // A pause makes a new generation.
    let paused = decided(&approved, &Wish::Pause);
    assert!(
        paused.said.contains("approval has to be given again"),
        "{}",
        paused.said
    );
}

#[test]
fn what_is_being_deleted_is_left_alone() {
    let mut value = serde_json::to_value(cluster(&json!({}))).unwrap();
    value["metadata"]["deletionTimestamp"] = json!(NOW);
    let cluster: VectorCluster = serde_json::from_value(value).unwrap();
    assert!(decide(&cluster, &Wish::Pause, NOW).is_err());
}
