//! What becomes of a collection, case by case: what is there, what is asked, what is done and said.

use serde_json::{Value, json};

use super::*;

pub(in crate::operator::objects::collection) const MINE: &str = "u-mine";

pub(in crate::operator::objects::collection) fn object(change: Value) -> VectorCollection {
    let mut object = json!({
        "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCollection",
        "metadata": {
            "name": "texts", "namespace": "n", "uid": MINE,
            "creationTimestamp": "2026-01-02T00:00:00Z",
        },
        "spec": {"cluster": "small", "dimension": 4},
    });
    for section in ["metadata", "spec"] {
        for (key, value) in change[section].as_object().into_iter().flatten() {
            object[section][key] = value.clone();
        }
    }
    if let Some(status) = change.get("status") {
        object["status"] = status.clone();
    }
    serde_json::from_value(object).unwrap()
}

pub(in crate::operator::objects::collection) fn spec(spec: Value) -> VectorCollection {
    object(json!({"spec": spec}))
}

/// One that is being deleted and may take its collection along.
pub(in crate::operator::objects::collection) fn leaving(more: Value) -> VectorCollection {
    let mut spec = json!({"deletionPolicy": "Delete"});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    object(json!({
        "metadata": {"deletionTimestamp": "2026-01-03T00:00:00Z", "finalizers": [FINALIZER]},
        "spec": spec,
    }))
}

/// A collection of the right shape, in a state, made for an object of this UID.
pub(in crate::operator::objects::collection) fn there(
    state: &str,
    owner: Option<&str>,
) -> proto::CollectionState {
    let config = owner.map_or_else(|| json!({}), |uid| json!({"owner": {"uid": uid}}));
    let report = proto::ShardReport {
        state: "serving".to_owned(),
        points: 7,
        index_kind: "flat".to_owned(),
        index_state: "idle".to_owned(),
        ..proto::ShardReport::default()
    };
    proto::CollectionState {
        id: "0a".to_owned(),
        name: "texts".to_owned(),
        dimensions: 4,
        distance: "Cosine".to_owned(),
        state: state.to_owned(),
        config: config.to_string().into(),
        shards: vec![proto::ShardState {
            report: Some(report),
            ..proto::ShardState::default()
        }],
        ..proto::CollectionState::default()
    }
}

pub(in crate::operator::objects::collection) fn state(
    collections: Vec<proto::CollectionState>,
) -> proto::GetClusterStateResponse {
    proto::GetClusterStateResponse {
        leader: "small-master-0".to_owned(),
        collections,
        ..proto::GetClusterStateResponse::default()
    }
}

pub(in crate::operator::objects::collection) fn rival(uid: &str, day: &str) -> Rival {
    Rival {
        name: uid.to_owned(),
        uid: uid.to_owned(),
        created: Some(format!("2026-01-{day}T00:00:00Z").parse().unwrap()),
    }
}

pub(in crate::operator::objects::collection) fn of(
    object: &VectorCollection,
    rivals: &[Rival],
    state: &proto::GetClusterStateResponse,
) -> Decision {
    let cluster = Cluster::There {
        leaving: false,
        paused: false,
        masters: Ok(state),
    };
    decide(&Facts {
        object,
        rivals,
        cluster,
    })
}

/// What is done, in a word, and the truth and reason of Ready.
fn told(decision: &Decision) -> (&'static str, Truth, &'static str) {
    let action = match decision.action {
        Action::Nothing => "nothing",
        Action::Keep => "keep",
        Action::Release => "release",
        Action::Create(_) => "create",
        Action::Adopt(_) => "adopt",
        Action::Delete(_) => "delete",
    };
    (action, decision.ready.truth, decision.ready.reason)
}

#[test]
fn what_is_not_there_is_made_and_what_is_there_is_served() {
    let plain = spec(json!({}));
    let made = of(&plain, &[], &state(vec![]));
    assert_eq!(told(&made), ("create", Truth::False, "Creating"));
    let Action::Create(request) = made.action else {
        panic!("{:?}", made.action);
    };
    assert_eq!((&*request.name, request.dimensions), ("texts", 4));
    // One that is being deleted under the name is in nobody's way.
    let going = state(vec![there("deleting", Some("old"))]);
    assert_eq!(told(&of(&plain, &[], &going)).0, "create");
    let half = of(&plain, &[], &state(vec![there("creating", Some(MINE))]));
    assert_eq!(told(&half), ("nothing", Truth::False, "Creating"));
    let served = of(&plain, &[], &state(vec![there("active", Some(MINE))]));
    assert_eq!(told(&served), ("nothing", Truth::True, "Serving"));
    assert_eq!(
        (served.synced.truth, served.indexed.reason),
        (Truth::True, "NotNeeded")
    );
    assert_eq!(served.measures.unwrap().counts.unwrap().vectors, 7);
    assert_eq!(served.pace, Pace::Calm);
    let mut away = there("active", Some(MINE));
    away.shards.push(proto::ShardState::default());
    let away = of(&plain, &[], &state(vec![away]));
    assert_eq!(told(&away), ("nothing", Truth::False, "ShardsUnavailable"));
    assert_eq!(
        (&*away.ready.message, away.synced.truth),
        ("1/2 shards are served", Truth::True)
    );
}

#[test]
fn one_that_was_not_made_for_the_object_is_taken_over_only_when_asked() {
    for owner in [None, Some("gone")] {
        let foreign = state(vec![there("active", owner)]);
        let left = of(&spec(json!({})), &[], &foreign);
        assert_eq!(told(&left), ("nothing", Truth::False, "AlreadyExists"));
        assert!(left.measures.is_none());
        let adopted = of(&spec(json!({"adopt": true})), &[], &foreign);
        assert_eq!(told(&adopted), ("adopt", Truth::False, "Adopting"));
    }
    let foreign = state(vec![there("active", None)]);
    let other = of(&spec(json!({"adopt": true, "dimension": 8})), &[], &foreign);
    assert_eq!(told(&other), ("nothing", Truth::False, "CannotChange"));
    assert!(other.ready.message.contains("its dimension is 4 and not 8"));
    let mut aliased = there("active", None);
    aliased.name = "other".to_owned();
    aliased.aliases = vec!["texts".to_owned()];
    let aliased = of(&spec(json!({"adopt": true})), &[], &state(vec![aliased]));
    assert_eq!(told(&aliased), ("nothing", Truth::False, "AlreadyExists"));
}

#[test]
fn of_two_objects_the_older_wins_unless_the_other_has_it() {
    let plain = spec(json!({"adopt": true}));
    let (older, younger) = (rival("a-older", "01"), rival("b-younger", "03"));
    let taken = ("nothing", Truth::False, "NameTaken");
    for there_are in [vec![], vec![there("active", None)]] {
        let state = state(there_are);
        assert_eq!(
            told(&of(&plain, std::slice::from_ref(&older), &state)),
            taken
        );
        assert_ne!(
            told(&of(&plain, std::slice::from_ref(&younger), &state)),
            taken
        );
    }
    // In one second the name decides.
    let empty = state(vec![]);
    assert_eq!(told(&of(&plain, &[rival("a", "02")], &empty)), taken);
    assert_eq!(told(&of(&plain, &[rival("z", "02")], &empty)).0, "create");
    let has = state(vec![there("active", Some("b-younger"))]);
    let lost = of(&plain, &[younger], &has);
    assert_eq!(told(&lost), taken);
    assert!(lost.ready.message.contains("VectorCollection b-younger"));
    let mine = state(vec![there("active", Some(MINE))]);
    assert_eq!(
        told(&of(&plain, &[older], &mine)),
        ("nothing", Truth::True, "Serving")
    );
}

#[test]
fn what_was_there_and_is_gone_is_not_made_anew() {
    let counted = json!({"status": {"shards": {
        "total": 1, "fullyReplicated": 1, "underReplicated": 0, "unavailable": 0, "moving": 0,
        "summary": "1/1",
    }}});
    let gone = of(&object(counted.clone()), &[], &state(vec![]));
    assert_eq!(told(&gone), ("nothing", Truth::False, "Vanished"));
    let stale = proto::GetClusterStateResponse {
        stale: true,
        ..state(vec![])
    };
    let unsure = of(&object(counted), &[], &stale);
    assert_eq!(told(&unsure), ("nothing", Truth::Unknown, "EtcdAway"));
}

#[test]
fn what_differs_and_cannot_change_is_said_and_left() {
    let there = state(vec![there("active", Some(MINE))]);
    let differs = of(&spec(json!({"index": {"algorithm": "Flat"}})), &[], &there);
    assert_eq!(told(&differs), ("nothing", Truth::False, "CannotChange"));
    assert_eq!(differs.synced.truth, Truth::False);
    assert!(differs.measures.is_some());
    for (asked, reason) in [
        (json!({"replicationFactor": 2}), "ReplicationNotAvailable"),
        (
            json!({"index": {"algorithm": "Graph", "parameters": {"bits": "3"}}}),
            "IndexInvalid",
        ),
    ] {
        let refused = of(&spec(asked), &[], &there);
        assert_eq!(told(&refused), ("nothing", Truth::False, reason));
    }
}

#[test]
fn what_cannot_be_done_now_is_said_and_waited_for() {
    let plain = spec(json!({}));
    let facts = |cluster| Facts {
        object: &plain,
        rivals: &[],
        cluster,
    };
    let missing = decide(&facts(Cluster::Missing));
    assert_eq!(told(&missing), ("nothing", Truth::False, "ClusterMissing"));
    let cluster = |paused, masters| Cluster::There {
        leaving: false,
        paused,
        masters,
    };
    let away = decide(&facts(cluster(false, Err("no master is ready"))));
    assert_eq!(told(&away), ("nothing", Truth::Unknown, "MastersAway"));
    assert!(away.ready.message.contains("no master is ready"));
    let empty = state(vec![]);
    let paused = decide(&facts(cluster(true, Ok(&empty))));
    assert_eq!(told(&paused), ("nothing", Truth::False, "ClusterPaused"));
    let headless = proto::GetClusterStateResponse::default();
    let headless = decide(&facts(cluster(false, Ok(&headless))));
    assert_eq!(told(&headless), ("nothing", Truth::False, "NoLeader"));
    for held in [missing, away, paused, headless] {
        assert_eq!(held.pace, Pace::Waiting);
    }
    // A collection that is there is told of in a paused cluster too.
    let there = state(vec![there("active", Some(MINE))]);
    let served = decide(&facts(cluster(true, Ok(&there))));
    assert_eq!(told(&served), ("nothing", Truth::True, "Serving"));
}

#[test]
fn an_object_is_kept_exactly_while_its_collection_is_to_go_with_it() {
    let empty = state(vec![]);
    let mine = state(vec![there("active", Some(MINE))]);
    let delete = json!({"deletionPolicy": "Delete"});
    for state in [&empty, &mine] {
        assert_eq!(told(&of(&spec(delete.clone()), &[], state)).0, "keep");
    }
    let kept = json!({"metadata": {"finalizers": ["other", FINALIZER]}, "spec": delete});
    assert_eq!(told(&of(&object(kept), &[], &empty)).0, "create");
    let kept = json!({"metadata": {"finalizers": [FINALIZER]}});
    assert_eq!(told(&of(&object(kept), &[], &mine)).0, "release");
}

#[test]
fn a_deleted_object_takes_its_own_collection_along_and_no_other() {
    let mine = state(vec![there("active", Some(MINE))]);
    let gone = of(&leaving(json!({})), &[], &mine);
    let Action::Delete(request) = &gone.action else {
        panic!("{:?}", gone.action);
    };
    assert_eq!(
        (&*request.name, request.id.as_deref()),
        ("texts", Some("0a"))
    );
    let half = state(vec![there("creating", Some(MINE))]);
    assert_eq!(told(&of(&leaving(json!({})), &[], &half)).0, "nothing");
    for state in [
        state(vec![]),
        state(vec![there("active", None)]),
        state(vec![there("active", Some("another"))]),
        state(vec![there("deleting", Some(MINE))]),
    ] {
        assert_eq!(told(&of(&leaving(json!({})), &[], &state)).0, "release");
    }
    let retained = leaving(json!({"deletionPolicy": "Retain"}));
    assert_eq!(told(&of(&retained, &[], &mine)).0, "release");
    let unkept = object(json!({
        "metadata": {"deletionTimestamp": "2026-01-03T00:00:00Z"},
        "spec": {"deletionPolicy": "Delete"},
    }));
    assert_eq!(told(&of(&unkept, &[], &mine)).0, "nothing");
    let protected = of(&leaving(json!({"deletionProtection": true})), &[], &mine);
    assert_eq!(
        told(&protected),
        ("nothing", Truth::False, "DeletionProtected")
    );
}

#[test]
fn a_deletion_waits_for_a_cluster_that_may_come_back_and_for_no_other() {
    let object = leaving(json!({"deletionProtection": true}));
    let missing = Facts {
        object: &object,
        rivals: &[],
        cluster: Cluster::Missing,
    };
    assert_eq!(told(&decide(&missing)).0, "release");
    let object = leaving(json!({}));
    let there = |leaving, paused, masters| {
        decide(&Facts {
            object: &object,
            rivals: &[],
            cluster: Cluster::There {
                leaving,
                paused,
                masters,
            },
        })
    };
    let blocked = ("nothing", Truth::False, "DeletionBlocked");
    let away = there(false, false, Err("no master is ready"));
    assert_eq!(told(&away), blocked);
    assert!(away.ready.message.contains("deletionPolicy: Retain"));
    assert_eq!(
        told(&there(true, false, Err("no master is ready"))).0,
        "release"
    );
    let mine = state(vec![self::there("active", Some(MINE))]);
    assert_eq!(told(&there(false, true, Ok(&mine))), blocked);
    assert_eq!(told(&there(true, false, Ok(&mine))).0, "delete");
    let stale = proto::GetClusterStateResponse {
        stale: true,
        ..state(vec![])
    };
    // It is not known that the collection is gone.
    assert_eq!(told(&there(false, false, Ok(&stale))), blocked);
}
