//! What a run of a scenario came to, and what is wrong with one that was disturbed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::canonical::{canonical, differences};
use super::double::State;
use super::double::store::{Key, Snapshot};
use super::scenarios::Scenario;
use super::scene::Scene;

/// What a run came to.
pub(crate) struct Outcome {
    /// The requests that changed something.
    pub(crate) writes: Vec<String>,
    end: BTreeMap<String, Value>,
    /// How often each object was made and deleted. Events may be lost or told twice.
    counts: BTreeMap<(Key, &'static str), usize>,
    /// Deletions that may never be.
    pub(crate) forbidden: Vec<String>,
}

impl Outcome {
    /// What a scenario came to.
    pub(crate) fn of(state: &State, scenario: &Scenario) -> Self {
        let counts = state.journal.counts.iter();
        let counts = counts.filter(|((key, _), _)| key.plural != "events");
        Self {
            writes: state.journal.writes().map(ToString::to_string).collect(),
            end: canonical(state),
            counts: counts.map(|(what, count)| (what.clone(), *count)).collect(),
            forbidden: forbidden(state, scenario.volumes),
        }
    }

    /// The outcome of a scenario that nobody disturbs.
    pub(crate) async fn undisturbed(scenario: &Scenario, from: &Snapshot) -> Self {
        let scene = Scene::of(from);
        let _operator = scene.operator("first").await;
        scenario.play(&scene).await;
        let outcome = scene.double.with(|state| Self::of(state, scenario));
        assert!(outcome.forbidden.is_empty(), "{:#?}", outcome.forbidden);
        outcome
    }

    /// What is wrong with another run, this being the reference.
    pub(crate) fn faults(&self, other: &Self) -> Vec<String> {
        let mut faults = differences(&self.end, &other.end);
        let forbidden = other.forbidden.iter();
        faults.extend(forbidden.map(|one| format!("forbidden: {one}")));
        let all: BTreeSet<_> = self.counts.keys().chain(other.counts.keys()).collect();
        for what in all {
            let count = |of: &Self| of.counts.get(what).copied().unwrap_or(0);
            let (wanted, found) = (count(self), count(other));
            if wanted != found {
                let (key, verb) = what;
                faults.push(format!("{verb} of {key}: {found} times and not {wanted}"));
            }
        }
        faults
    }
}

/// Deletions that may never be: of volumes that the scenario does not give up, and those that do not say
/// which object is meant.
fn forbidden(state: &State, volumes: &[&str]) -> Vec<String> {
    let asked = state.journal.asked.iter();
    let deletions = asked.filter(|asked| asked.method == http::Method::DELETE);
    let wrong = deletions.filter(|asked| {
        let name = asked.path.rsplit('/').next().unwrap_or_default();
        let volume = asked.path.contains("/persistentvolumeclaims/");
        asked.uid.is_none() || volume && !volumes.contains(&name)
    });
    wrong.map(ToString::to_string).collect()
}
