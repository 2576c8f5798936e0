//! An operator that is killed after any of its writes, with the answer lost: another one brings the
//! cluster to the same end, makes and deletes the same objects as often, and comes to rest.
//!
//! A scenario is played once as the reference. Then for each of its writes the operator's process gets
//! SIGKILL right after that write took effect, its answer held back; another process goes on.

use futures::StreamExt;

use super::double::store::Snapshot;
use super::outcome::Outcome;
use super::scenarios::{Scenario, all, named};
use super::scene::{LIMIT, Scene};
use crate::support::skip::long;

/// Runs at the same time.
const AT_ONCE: usize = 4;
/// Writes of a scenario after which the short test kills: every so many.
const SAMPLED: usize = 6;

/// Plays a scenario with an operator that is killed after its write of this number; whether it was.
async fn killed_after(scenario: &Scenario, from: &Snapshot, number: usize) -> (Outcome, bool) {
    let scene = Scene::of(from);
    scene
        .double
        .with(|state| state.faults.hold_write = Some(number));
    let first = scene.operator("first").await;
    let mut play = std::pin::pin!(scenario.play(&scene));
    let held = scene.double.until("a write is held", LIMIT * 10, |state| {
        state.held.then_some(())
    });
    let mut is_over = false;
    tokio::select! {
        () = &mut play => is_over = true,
        () = held => {},
    }
    let killed = scene.double.with(|state| state.held);
    let mut operators = vec![first];
    if killed {
        operators.remove(0).kill();
        scene.double.with(|state| {
            state.held = false;
            state.faults.hold_write = None;
        });
        operators.push(scene.operator("second").await);
    }
    if !is_over {
        play.await;
    }
    let outcome = scene.double.with(|state| Outcome::of(state, scenario));
    (outcome, killed)
}

/// Plays a scenario, killed after every so many of its writes; how many runs were killed, and what is
/// wrong with them.
async fn killed_after_each(scenario: &Scenario, every: usize) -> (usize, Vec<String>) {
    let from = scenario.begin().await;
    let reference = Outcome::undisturbed(scenario, &from).await;
    let (from, reference) = (&from, &reference);
    let writes = reference.writes.len();
    let numbers = (1..=writes).rev().step_by(every);
    let runs = numbers.map(|number| async move {
        let (outcome, killed) = killed_after(scenario, from, number).await;
        let after = &reference.writes[number - 1];
        let name = scenario.name;
        let faults = reference.faults(&outcome).into_iter();
        let faults =
            faults.map(|fault| format!("{name}, killed after {number} ({after}): {fault}"));
        (killed, faults.collect::<Vec<_>>())
    });
    let (mut killed, mut wrong) = (0, Vec::new());
    let mut runs = futures::stream::iter(runs).buffer_unordered(AT_ONCE);
    while let Some((was_killed, faults)) = runs.next().await {
        killed += usize::from(was_killed);
        for fault in faults {
            eprintln!("{fault}");
            wrong.push(fault);
        }
    }
    let (name, faults) = (scenario.name, wrong.len());
    eprintln!("{name}: {writes} writes, killed after {killed} of them, {faults} faults");
    (killed, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_killed_after_a_write_ends_the_same() {
    let mut wrong = Vec::new();
    for name in ["workers-in", "volumes-grow"] {
        let (killed, faults) = killed_after_each(&named(name), SAMPLED).await;
        assert!(killed > 0, "{name}");
        wrong.extend(faults);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_an_operator_killed_after_every_write_ends_the_same() {
    if !long() {
        return;
    }
    let (mut killed, mut wrong) = (0, Vec::new());
    let only = std::env::var("VECTORSPHERE_TEST_SCENARIO").unwrap_or_default();
    let scenarios = all().into_iter().filter(|one| one.name.contains(&only));
    let scenarios: Vec<Scenario> = scenarios.collect();
    for scenario in &scenarios {
        let (some, faults) = killed_after_each(scenario, 1).await;
        killed += some;
        wrong.extend(faults);
    }
    let (count, faults) = (scenarios.len(), wrong.len());
    eprintln!("{count} scenarios, {killed} kills, {faults} faults");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
