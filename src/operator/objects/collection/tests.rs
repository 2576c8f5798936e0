//! What a collection says of itself in every case that the documentation names, and in no other: the
//! tables of `docs/operator.md` are compared with what these scenes give.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::decide::tests::{MINE, leaving, object, of, rival, spec, state, there};
use super::*;
use crate::operator::documented;

/// A scene: its name, the object, and what is decided about it.
type Scene = (&'static str, VectorCollection, Decision);

/// The state of a shard, and the kind and the state of its index.
type Shard = (&'static str, &'static str, &'static str);

/// What can be said of an index that is asked for, by two shards.
const INDEXES: [(&str, [Shard; 2]); 5] = [
    (
        "indexed",
        [("serving", "arroy", "idle"), ("serving", "flat", "idle")],
    ),
    (
        "not needed",
        [("serving", "flat", "idle"), ("closed", "flat", "idle")],
    ),
    (
        "building",
        [
            ("serving", "arroy", "idle"),
            ("serving", "flat", "building"),
        ],
    ),
    (
        "build failed",
        [("serving", "arroy", "idle"), ("serving", "flat", "failed")],
    ),
    (
        "not reported",
        [("serving", "arroy", "idle"), ("opening", "", "")],
    ),
];

fn decided(object: &VectorCollection, cluster: Cluster<'_>) -> Decision {
    decide(&Facts {
        object,
        rivals: &[],
        cluster,
    })
}

fn cluster<'a>(
    paused: bool,
    masters: Result<&'a proto::GetClusterStateResponse, &'a str>,
) -> Cluster<'a> {
    Cluster::There {
        leaving: false,
        paused,
        masters,
    }
}

/// Collections that are there, or are on their way.
fn of_what_is_there() -> Vec<Scene> {
    let plain = || spec(json!({}));
    let mine = |of: &str| state(vec![there(of, Some(MINE))]);
    let foreign = || state(vec![there("active", None)]);
    let adopting = spec(json!({"adopt": true}));
    let mut silent = there("active", Some(MINE));
    silent.shards.push(proto::ShardState::default());
    let mut flat = there("active", Some(MINE));
    flat.index_algorithm = Some("flat".to_owned());
    let is_flat = spec(json!({"index": {"algorithm": "Flat"}}));
    let seen = object(json!({"status": {"shards": {
        "total": 1, "fullyReplicated": 1, "underReplicated": 0, "unavailable": 0, "moving": 0,
        "summary": "1/1",
    }}}));
    let older = rival("a-older", "01");
    vec![
        ("creating", plain(), of(&plain(), &[], &state(vec![]))),
        ("being made", plain(), of(&plain(), &[], &mine("creating"))),
        ("serving", plain(), of(&plain(), &[], &mine("active"))),
        ("adopting", adopting.clone(), of(&adopting, &[], &foreign())),
        ("of somebody else", plain(), of(&plain(), &[], &foreign())),
        ("taken", plain(), of(&plain(), &[older], &foreign())),
        (
            "a shard away",
            plain(),
            of(&plain(), &[], &state(vec![silent])),
        ),
        (
            "flat",
            is_flat.clone(),
            of(&is_flat, &[], &state(vec![flat])),
        ),
        ("gone", seen.clone(), of(&seen, &[], &state(vec![]))),
    ]
}

fn of_indexes() -> Vec<Scene> {
    let scenes = INDEXES.map(|(name, shards)| {
        let mut collection = there("active", Some(MINE));
        let report = collection.shards[0].report.clone().unwrap();
        let shards = shards.map(|(shard, kind, index)| proto::ShardState {
            report: Some(proto::ShardReport {
                state: shard.to_owned(),
                index_kind: kind.to_owned(),
                index_state: index.to_owned(),
                ..report.clone()
            }),
            ..proto::ShardState::default()
        });
        collection.shards = shards.to_vec();
        let plain = spec(json!({}));
        let decision = of(&plain, &[], &state(vec![collection]));
        (name, plain, decision)
    });
    scenes.to_vec()
}

/// Specs that are refused.
fn of_refusals() -> Vec<Scene> {
    let refused = |name: &'static str, more: Value| {
        let object = spec(more);
        let decision = of(&object, &[], &state(vec![there("active", Some(MINE))]));
        (name, object, decision)
    };
    vec![
        refused("another dimension", json!({"dimension": 8})),
        refused("copies", json!({"replicationFactor": 2})),
        refused("graph", json!({"index": {"algorithm": "Graph"}})),
        refused("trees", json!({"index": {"trees": 300}})),
    ]
}

/// Clusters that cannot do it now, and objects that are deleted.
fn of_waiting() -> Vec<Scene> {
    let plain = || spec(json!({}));
    let empty = state(vec![]);
    let stale = proto::GetClusterStateResponse {
        stale: true,
        ..state(vec![])
    };
    let headless = proto::GetClusterStateResponse::default();
    let mine = state(vec![there("active", Some(MINE))]);
    let held =
        |name: &'static str, cluster: Cluster<'_>| (name, plain(), decided(&plain(), cluster));
    let ends = |name: &'static str, more: Value, cluster: Cluster<'_>| {
        let object = leaving(more);
        let decision = decided(&object, cluster);
        (name, object, decision)
    };
    let refused = failed(of(&plain(), &[], &empty), "a master said no".to_owned());
    vec![
        held("no cluster", Cluster::Missing),
        held("masters away", cluster(false, Err("no master is ready"))),
        held("etcd away", cluster(false, Ok(&stale))),
        held("no leader", cluster(false, Ok(&headless))),
        held("paused", cluster(true, Ok(&empty))),
        ("change failed", plain(), refused),
        ends("deleting", json!({}), cluster(false, Ok(&mine))),
        ends("blocked", json!({}), cluster(true, Ok(&mine))),
        ends(
            "protected",
            json!({"deletionProtection": true}),
            cluster(false, Ok(&mine)),
        ),
    ]
}

fn all() -> Vec<Scene> {
    [
        of_what_is_there(),
        of_indexes(),
        of_refusals(),
        of_waiting(),
    ]
    .concat()
}

/// The conditions of a scene, by type.
fn conditions(scene: &Scene) -> Vec<Condition> {
    let (_name, object, decision) = scene;
    status(object, decision, Timestamp::UNIX_EPOCH).conditions
}

fn reason(conditions: &[Condition], type_: &str) -> String {
    let found = conditions.iter().find(|one| one.type_ == type_);
    found.unwrap().reason.clone()
}

#[test]
fn every_reason_is_given_in_some_scene_and_none_that_is_not_documented() {
    let (mut ready, mut beside) = (BTreeSet::new(), BTreeSet::new());
    for scene in all() {
        let conditions = conditions(&scene);
        assert_eq!(conditions.len(), 3, "{}", scene.0);
        let of_ready = reason(&conditions, "Ready");
        for type_ in ["Synced", "Indexed"] {
            let reason = reason(&conditions, type_);
            // What holds the whole object up is told once, as the reason of Ready.
            if reason != of_ready {
                beside.insert((type_.to_owned(), reason));
            }
        }
        ready.insert(of_ready);
    }
    assert_eq!(ready, documented::firsts("| Reason of Ready |"));
    assert_eq!(beside, documented::pairs("| Condition of a collection |"));
}

#[test]
fn every_event_is_sent_between_some_two_scenes_and_none_that_is_not_documented() {
    let scenes: Vec<_> = all().iter().map(conditions).collect();
    let before = || std::iter::once(&[][..]).chain(scenes.iter().map(|all| &**all));
    let mut sent = BTreeSet::new();
    for after in &scenes {
        let told = before().filter_map(|before| told::transition(before, after));
        sent.extend(told.map(|told| (told.warning, told.reason)));
    }
    let lines = documented::lines("Events about a collection:").join(" ");
    let (plain, warnings) = lines.split_once("as warnings").unwrap();
    let known = |warning, text| documented::words(text).map(move |reason| (warning, reason));
    assert_eq!(
        sent,
        known(false, plain).chain(known(true, warnings)).collect()
    );
}

#[test]
fn a_change_that_fails_is_the_reason_of_all_and_hides_no_index() {
    let said = |decision: Decision| {
        let decision = failed(decision, "a master said no".to_owned());
        [decision.ready, decision.synced, decision.indexed].map(|said| said.reason)
    };
    let plain = spec(json!({}));
    let making = of(&plain, &[], &state(vec![]));
    assert_eq!(said(making), ["ChangeFailed"; 3]);
    let served = of(&plain, &[], &state(vec![there("active", Some(MINE))]));
    let known = ["ChangeFailed", "ChangeFailed", "NotNeeded"];
    assert_eq!(said(served), known);
}

#[test]
fn nothing_else_can_be_said() {
    let mut known: BTreeSet<String> = documented::firsts("| Reason of Ready |");
    for (type_, reason) in documented::pairs("| Condition of a collection |") {
        known.extend([type_, reason]);
    }
    let events = documented::lines("Events about a collection:").join(" ");
    known.extend(documented::words(&events).map(str::to_owned));
    // A type of a condition.
    known.insert("Ready".to_owned());
    for source in [
        include_str!("../collection.rs"),
        include_str!("decide.rs"),
        include_str!("measures.rs"),
        include_str!("told.rs"),
        include_str!("wanted.rs"),
    ] {
        let mut literals = documented::literals(source);
        literals.retain(|literal| !known.contains(*literal));
        assert_eq!(literals, BTreeSet::new());
    }
}
