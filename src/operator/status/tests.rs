//! What a cluster says of itself in every case that the documentation names, and in no other: the tables of
//! `docs/operator.md` are compared with what these scenes give.

mod scenes;

use std::collections::BTreeSet;

use super::*;
use crate::operator::events::transitions;
use scenes::{World, all};

/// The lines of a section of `docs/operator.md` from one that begins so to the next empty one.
fn documented(from: &str) -> Vec<&'static str> {
    let text = include_str!("../../../docs/operator.md");
    let lines = text.lines().skip_while(|line| !line.starts_with(from));
    lines.take_while(|line| !line.is_empty()).collect()
}

/// The words between backticks.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_reason_of_every_condition_is_given_in_some_scene_and_none_that_is_not_documented() {
    let mut given: BTreeSet<(String, String)> = BTreeSet::new();
    for (_name, world) in all() {
        for condition in world.status().conditions {
            given.insert((condition.type_, condition.reason));
        }
    }
    // Ready says the reason of Progressing while something progresses.
    let progress = ["Creating", "Updating", "Scaling", "Resizing"];
    given.retain(|(type_, reason)| type_ != "Ready" || !progress.contains(&&**reason));
    let mut documented_reasons = BTreeSet::new();
    for line in documented("| Condition | Reasons |").into_iter().skip(2) {
        let mut cells = line.split('|').skip(1);
        let (types, reasons) = (cells.next().unwrap(), cells.next().unwrap());
        for type_ in words(types) {
            for reason in words(reasons) {
                documented_reasons.insert((type_.to_owned(), reason.to_owned()));
            }
        }
    }
    assert_eq!(given, documented_reasons);
}

/// What the steps themselves tell, and not what changed between two rounds.
const TOLD_BY_STEPS: [&str; 2] = ["PodReplaced", "VolumeResizeStarted"];

#[test]
fn every_event_is_sent_between_some_two_scenes_and_none_that_is_not_documented() {
    let statuses: Vec<VectorClusterStatus> = all()
        .into_iter()
        .map(|(_name, world)| world.status())
        .collect();
    let mut sent: BTreeSet<&str> = TOLD_BY_STEPS.into();
    for before in &statuses {
        for after in &statuses {
            sent.extend(
                transitions(Some(before), after)
                    .iter()
                    .map(|one| one.reason),
            );
        }
    }
    let lines = documented("Events about a cluster:").join(" ");
    let known: BTreeSet<&str> = words(&lines).collect();
    assert_eq!(sent, known);
}

#[test]
fn a_status_at_rest_stays_as_it_is_and_tells_nothing() {
    for (name, mut world) in all() {
        let first = world.status();
        world.before = Some(first.clone());
        let second = world.status();
        world.before = Some(second.clone());
        // Time alone changes nothing.
        world.now += 60;
        let third = world.status();
        assert_eq!(second, third, "{name}");
        assert_eq!(transitions(Some(&second), &third), [], "{name}");
    }
}

#[test]
fn errors_that_go_on_put_no_other_out() {
    let mut world = World::healthy();
    let errors = (0..14).map(|number| ("code".to_owned(), format!("error {number:02}")));
    world.errors = errors.collect();
    let first = world.status();
    assert_eq!(first.last_errors.len(), LAST_ERRORS_MAX);
    world.before = Some(first.clone());
    world.now += 3_600;
    assert_eq!(world.status().last_errors, first.last_errors);
    // When the world is well again they stay for a while.
    world.errors.clear();
    world.now += ERROR_SHOWN;
    assert_eq!(world.status().last_errors, []);
}

#[test]
fn ready_says_what_progresses_and_is_true_when_that_waits_for_a_person() {
    let ready = |name: &str| {
        let found = all().into_iter().find(|(of, _world)| *of == name);
        let status = found.unwrap().1.status();
        let condition = status
            .conditions
            .into_iter()
            .find(|one| one.type_ == "Ready");
        let condition = condition.unwrap();
        (condition.status, condition.reason)
    };
    let said = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    assert_eq!(ready("healthy"), said("True", "AllComponentsReady"));
    assert_eq!(ready("updating"), said("False", "Updating"));
    assert_eq!(ready("update waits"), said("True", "AllComponentsReady"));
}

#[test]
fn what_is_not_served_is_named_and_of_many_the_first() {
    let mut world = World::healthy();
    world.fail_shards(30);
    let status = world.status();
    let message = |type_: &str| {
        let mut conditions = status.conditions.iter();
        conditions
            .find(|one| one.type_ == type_)
            .unwrap()
            .message
            .clone()
    };
    for type_ in ["Ready", "Available", "ShardsFullyReplicated"] {
        let message = message(type_);
        assert!(
            message.contains("shard 0 of c on demo-worker-0"),
            "{message}"
        );
        assert!(message.ends_with("22 more"), "{message}");
    }
}
