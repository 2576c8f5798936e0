//! An API server that refuses, keeps silent and loses answers; and two operators of which one acts.

use std::collections::BTreeSet;

use http::Method;
use serde_json::json;

use super::double::journal::{Judge, Verdict};
use super::outcome::Outcome;
use super::process::OperatorProcess;
use super::scenarios::{Scenario, Step, named};
use super::scene::{CLUSTER, LIMIT, Scene, key, manifest, server_with};
use crate::support::skip::long;
use crate::support::wait_for::wait_for;

/// Requests that the storm lasts.
const STORM: usize = 400;
/// Requests that are never answered, as far as the operator is not starting a watch with them: each costs
/// it its patience of 15 s.
const SILENT: [usize; 2] = [37, 211];

/// Refuses every third request, loses some answers, and leaves a few without one.
fn storm() -> Judge {
    let mut asked = 0_usize;
    Box::new(move |_door, request| {
        asked += 1;
        if asked > STORM || request.is_set("watch") {
            return Verdict::Pass;
        }
        if SILENT.contains(&asked) && request.parameter("limit").is_empty() {
            return if request.method == Method::GET {
                Verdict::Swallow
            } else {
                Verdict::Hold
            };
        }
        match asked % 12 {
            1 => Verdict::Refuse(429),
            4 => Verdict::Refuse(500),
            7 => Verdict::Refuse(503),
            10 => Verdict::Refuse(504),
            _ => Verdict::Pass,
        }
    })
}

async fn in_a_storm(scenario: &Scenario) -> Vec<String> {
    let from = scenario.begin().await;
    let reference = Outcome::undisturbed(scenario, &from).await;
    let scene = Scene::of(&from);
    scene
        .double
        .with(|state| state.faults.judge = Some(storm()));
    let _operator = scene.operator("first").await;
    scenario.play(&scene).await;
    let outcome = scene.double.with(|state| Outcome::of(state, scenario));
    let faults = reference.faults(&outcome).into_iter();
    faults
        .map(|fault| format!("{}: {fault}", scenario.name))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_a_storm_of_errors_changes_no_end() {
    if !long() {
        return;
    }
    let mut faults = Vec::new();
    for name in ["create", "workers-in", "update", "sleep-and-wake"] {
        faults.extend(in_a_storm(&named(name)).await);
        eprintln!("{name} in a storm: {} faults so far", faults.len());
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_a_list_that_is_never_answered_is_asked_again() {
    if !long() {
        return;
    }
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &json!({}))]));
    let mut swallowed = false;
    let judge: Judge = Box::new(move |_door, request| {
        let starts = request.path.ends_with("/vectorclusters");
        let first = starts && !swallowed;
        swallowed |= starts;
        if first {
            Verdict::Swallow
        } else {
            Verdict::Pass
        }
    });
    scene.double.with(|state| state.faults.judge = Some(judge));
    let _operator = scene.operator("first").await;
    scene.until_done_within(LIMIT * 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_whose_lease_was_stolen_ends_and_another_goes_on() {
    if !long() {
        return;
    }
    let scenario = named("gateways-out");
    let from = server_with(&[manifest(CLUSTER, &json!({}))]);
    let scene = Scene::of(&from);
    let door = |name: &'static str| {
        let scene = &scene;
        async move {
            let url = scene.double.door(name).await;
            OperatorProcess::start_candidate(scene.folder(), &url, name)
        }
    };
    let lease = key("coordination.k8s.io", "leases", "vectorsphere-operator");
    let mut one = door("one").await;
    scene.until_done().await;
    let _two = door("two").await;
    scene.until_quiet_but_for_leases().await;
    // Its process may still believe for a moment that it leads.
    scene.merge(&lease, &json!({"spec": {"holderIdentity": "thief"}}));
    let code = wait_for("it ends", LIMIT, || std::future::ready(one.ended())).await;
    assert_ne!(code, 0);
    let before = scene.double.with(|state| state.journal.asked.len());
    for step in &scenario.steps {
        if let Step::Change(change) = step {
            scene.change(change);
        }
    }
    scene.until_done().await;
    let doors = scene.double.with(|state| {
        let after = state.journal.asked[before..].iter();
        let acted = after.filter(|asked| asked.wrote && !asked.path.contains("/leases/"));
        acted
            .map(|asked| asked.door.clone())
            .collect::<BTreeSet<_>>()
    });
    assert_eq!(doors, BTreeSet::from(["two".to_owned()]));
    let order: Vec<String> = scene.double.with(|state| {
        let acted = state
            .journal
            .writes()
            .filter(|asked| !asked.path.contains("/leases"));
        acted.map(|asked| asked.door.clone()).collect()
    });
    let changes = order.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!(changes, 1, "one acts after the other: {order:?}");
}
