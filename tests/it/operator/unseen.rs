//! Old states and events that are not told: the operator comes to the same end, and deletes nothing for
//! them.
//!
//! Three things happen to watches in a real Kubernetes: a list that starts one is served by a server that
//! is behind, a watch is behind or leaves out what lay between two states, and a watch has to begin anew
//! since its revision is too old. Reads of one object, and lists that insist on the newest, are never
//! old: there the double never lies.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;

use super::double::store::{Change, Snapshot};
use super::outcome::Outcome;
use super::scenarios::{Scenario, Step, all, named};
use super::scene::{CLUSTER, LIMIT, Scene, cluster_key, rounds};
use crate::support::skip::long;

/// Looks that an operator takes at what it believes to be so, before it is told.
const LOOKS: usize = 1;
/// Scenarios at the same time.
const AT_ONCE: usize = 4;

/// After a scenario a new operator is told by its watches that the last step was never asked for.
async fn restarted_with_an_old_state(scenario: &Scenario) -> Vec<String> {
    if scenario.steps.is_empty() {
        return Vec::new();
    }
    let from = scenario.begin().await;
    let scene = Scene::of(&from);
    let first = scene.operator("first").await;
    let mut before = from;
    for step in &scenario.steps {
        let Step::Change(change) = step else {
            return Vec::new();
        };
        before = scene.double.with(|state| state.store.snapshot());
        scene.change(change);
        scene.until_done().await;
        scene.until_quiet().await;
    }
    let reference = scene.double.with(|state| Outcome::of(state, scenario));
    first.kill();
    scene
        .double
        .with(|state| state.faults.lag = Some(Arc::new(before)));
    let _second = scene.operator("second").await;
    let looked = scene.double.with(|state| rounds(state)) + LOOKS;
    let looking = scene.double.until("it has looked", LIMIT, |state| {
        (rounds(state) >= looked).then_some(())
    });
    looking.await;
    scene.double.with(|state| state.faults.lag = None);
    scene.until_done().await;
    scene.until_quiet().await;
    let outcome = scene.double.with(|state| Outcome::of(state, scenario));
    named_faults(scenario, reference.faults(&outcome))
}

fn named_faults(scenario: &Scenario, faults: Vec<String>) -> Vec<String> {
    let name = scenario.name;
    let faults = faults.into_iter();
    faults.map(|fault| format!("{name}: {fault}")).collect()
}

/// Of every so many events one is told. What people change of the cluster always is: nothing tells it again.
fn rarely(every: usize) -> impl Fn(&Change) -> bool + Send + Sync {
    let count = AtomicUsize::new(0);
    move |change| {
        let status = |object: &serde_json::Value| object["status"].clone();
        let before = change.before.as_deref().map(status);
        let asked = change.key == cluster_key(CLUSTER) && before == Some(status(&change.object));
        asked || count.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
    }
}

/// A scenario whose watches are told of few events only.
async fn with_few_events(scenario: &Scenario, every: usize) -> Vec<String> {
    let from = scenario.begin().await;
    let reference = Outcome::undisturbed(scenario, &from).await;
    let scene = Scene::of(&from);
    scene
        .double
        .with(|state| state.faults.filter = Some(Arc::new(rarely(every))));
    let _operator = scene.operator("first").await;
    scenario.play(&scene).await;
    let outcome = scene.double.with(|state| Outcome::of(state, scenario));
    named_faults(scenario, reference.faults(&outcome))
}

/// A scenario whose watches have to begin anew, from a list, after every write.
async fn with_watches_that_expire(scenario: &Scenario) -> Vec<String> {
    let from: Snapshot = scenario.begin().await;
    let reference = Outcome::undisturbed(scenario, &from).await;
    let scene = Scene::of(&from);
    let _operator = scene.operator("first").await;
    let expire = async {
        loop {
            let written = scene.double.with(|state| state.journal.written);
            let more = scene.double.until("a write", LIMIT * 10, |state| {
                (state.journal.written > written).then_some(())
            });
            more.await;
            scene.double.with(|state| {
                state.store.compact();
                state.epoch += 1;
            });
        }
    };
    tokio::select! {
        () = scenario.play(&scene) => {},
        () = expire => {},
    }
    let outcome = scene.double.with(|state| Outcome::of(state, scenario));
    named_faults(scenario, reference.faults(&outcome))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_that_starts_with_an_old_state_undoes_nothing() {
    let faults = restarted_with_an_old_state(&named("workers-out")).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_old_states_and_events_that_are_not_told_change_no_end() {
    if !long() {
        return;
    }
    let scenarios = all();
    let played = scenarios.iter().map(|scenario| async move {
        let mut faults = restarted_with_an_old_state(scenario).await;
        faults.extend(with_few_events(scenario, 2).await);
        faults.extend(with_few_events(scenario, 5).await);
        faults.extend(with_watches_that_expire(scenario).await);
        eprintln!("{}: {} faults {faults:#?}", scenario.name, faults.len());
        faults
    });
    let played = futures::stream::iter(played).buffer_unordered(AT_ONCE);
    let faults: Vec<Vec<String>> = played.collect().await;
    let (count, faults) = (scenarios.len(), faults.concat());
    eprintln!("{count} scenarios in four ways, {} faults", faults.len());
    assert!(faults.is_empty(), "{faults:#?}");
}
