//! What a cluster says of itself in every case that the documentation names, and in no other: the tables of
//! `docs/operator.md` are compared with what these scenes give.

mod scenes;

use std::collections::BTreeSet;

use super::*;
use crate::operator::documented;
use crate::operator::events::transitions;
use scenes::{World, all};

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
    assert_eq!(given, documented::pairs("| Condition | Reasons |"));
}

#[test]
fn every_operation_and_what_blocks_it_is_given_in_some_scene_and_none_that_is_not_documented() {
    let (mut names, mut given, mut states) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (_name, world) in all() {
        for operation in world.status().operations {
            let blocked = operation.blocked_by.into_iter();
            given.extend(blocked.map(|by| (operation.name.clone(), by)));
            names.insert(operation.name);
            states.insert(operation.state);
        }
    }
    // The gates have a table of their own.
    let mut known = documented::pairs("| Operation | `blockedBy` |");
    let gates = documented::firsts("| Gate |").into_iter();
    known.extend(gates.map(|gate| ("Update".to_owned(), gate)));
    assert_eq!(given, known);
    assert_eq!(names, documented::firsts("| Operation | `blockedBy` |"));
    let lines = documented::lines("An operation is").join(" ");
    let known = documented::words(&lines).map(str::to_owned);
    assert_eq!(states, known.collect());
}

/// Words of these sources that are no reason: phases, states of workers and of conditions, and
/// what an event is about.
const NO_REASONS: [&str; 21] = [
    "Away",
    "Creating",
    "Degraded",
    "Deleting",
    "Drained",
    "False",
    "True",
    "Draining",
    "Hibernating",
    "Invalid",
    "Joining",
    "Missing",
    "Paused",
    "Reconcile",
    "Removing",
    "Resizing",
    "Running",
    "ScalingIn",
    "ScalingOut",
    "Serving",
    "Updating",
];

#[test]
fn nothing_else_can_be_said() {
    let pairs = ["| Condition | Reasons |", "| Operation | `blockedBy` |"].map(documented::pairs);
    let mut known: BTreeSet<String> = pairs
        .into_iter()
        .flatten()
        .flat_map(|(type_, reason)| [type_, reason])
        .collect();
    known.extend(documented::firsts("| Operation | `blockedBy` |"));
    known.extend(documented::firsts("| Gate |"));
    for line in ["Events about a cluster:", "An operation is"] {
        let lines = documented::lines(line).join(" ");
        known.extend(documented::words(&lines).map(str::to_owned));
    }
    known.extend(NO_REASONS.map(str::to_owned));
    for source in [
        include_str!("../status.rs"),
        include_str!("conditions.rs"),
        include_str!("operations.rs"),
        include_str!("../events.rs"),
        include_str!("../updates.rs"),
    ] {
        let mut literals = documented::literals(source);
        literals.retain(|literal| !known.contains(*literal));
        assert_eq!(literals, BTreeSet::new());
    }
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
    let lines = documented::lines("Events about a cluster:").join(" ");
    let known: BTreeSet<&str> = documented::words(&lines).collect();
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

/// What is said of the version that runs.
fn version(world: &World) -> (String, String) {
    let conditions = world.status().conditions.into_iter();
    let mut found = conditions.filter(|one| one.type_ == "RunningDesiredVersion");
    let found = found.next().unwrap();
    (found.status, found.reason)
}

#[test]
fn a_version_that_was_taken_back_is_not_what_runs() {
    let said = |status: &str, reason: &str| (status.to_owned(), reason.to_owned());
    let world = |name: &str| {
        all()
            .into_iter()
            .find(|(of, _world)| *of == name)
            .unwrap()
            .1
    };
    assert_eq!(version(&world("healthy")), said("True", "UpToDate"));
    let taken_back = world("taken back");
    assert_eq!(version(&taken_back), said("False", "UpdateBlocked"));
    // While nothing is carried out what was known stays.
    let mut paused = world("paused");
    assert_eq!(version(&paused), said("True", "UpToDate"));
    paused.before = Some(taken_back.status());
    assert_eq!(version(&paused), said("False", "UpdateBlocked"));
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
