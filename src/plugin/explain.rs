//! `explain`: in sentences, why a cluster is not Ready, what holds the operator up, and what a person may
//! do about it. Pure: from the status that the operator wrote, the pods, and the warnings of the namespace.

mod advice;
mod warnings;

pub(super) use warnings::is_about;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::conditions;
use super::look::Sight;
use super::pods::{PodLine, line};
use super::table::since;
use crate::crd::v1alpha1::{Operation, VectorClusterStatus};

/// Conditions that follow from others while a cluster sleeps or is paused, or that `Ready` sums up.
const SUMMED_UP: &[&str] = &["Ready"];

/// The explanation, ready to be printed.
pub fn text(sight: &Sight) -> String {
    let status = conditions::status(&sight.cluster);
    let pods: Vec<PodLine> = sight.pods.iter().map(line).collect();
    let mut text = first(sight, &status);
    section(
        &mut text,
        "What is not as it should be:",
        facts(&status, sight.now),
    );
    section(&mut text, "Under way:", operations(&status, sight.now));
    section(&mut text, "Pods that wait:", waiting(&pods));
    section(
        &mut text,
        "What the operator met:",
        errors(&status, sight.now),
    );
    section(
        &mut text,
        "Warnings of the last hour (they may be over):",
        warnings::sentences(sight),
    );
    section(
        &mut text,
        "What you can do:",
        advice::advice(&sight.cluster, &status, &pods),
    );
    text
}

fn section(text: &mut String, title: &str, sentences: Vec<String>) {
    if sentences.is_empty() {
        return;
    }
    text.push('\n');
    text.push_str(title);
    text.push('\n');
    for sentence in sentences {
        text.push_str("* ");
        text.push_str(&sentence);
        text.push('\n');
    }
}

/// Whether it is Ready, and if not, why in short.
fn first(sight: &Sight, status: &VectorClusterStatus) -> String {
    let cluster = &sight.cluster;
    let name = cluster.name_any();
    let Some(ready) = conditions::find(status, "Ready") else {
        return format!(
            "{name} is not Ready: no operator has looked at it yet. Does one run that carries out \
             namespace {}?\n",
            cluster.namespace().unwrap_or_default()
        );
    };
    let time = since(ready.last_transition_time.0.as_second(), sight.now);
    let mut text = if ready.status == "True" {
        format!("{name} is Ready, for {time}: {}.\n", ready.message)
    } else {
        format!(
            "{name} is not Ready, for {time}: {} ({}).\n",
            ready.message, ready.reason
        )
    };
    if cluster.metadata.deletion_timestamp.is_some() {
        text.push_str("It is being deleted.\n");
    }
    if !conditions::is_observed(cluster) {
        let seen = status.observed_generation.unwrap_or_default();
        let newest = cluster.metadata.generation.unwrap_or_default();
        text.push_str(&format!(
            "That is of generation {seen}; the operator has not looked at generation {newest} yet.\n"
        ));
    }
    if conditions::find(status, "Paused").is_some() {
        text.push_str(
            "It is paused: the operator changes nothing, whatever the manifest asks for.\n",
        );
    }
    if conditions::find(status, "Hibernated").is_some_and(|one| one.status == "True") {
        text.push_str("It sleeps: no pod runs, every volume is kept.\n");
    }
    text
}

/// The conditions that say more than `Ready` does.
fn facts(status: &VectorClusterStatus, now: i64) -> Vec<String> {
    let asleep = conditions::find(status, "Hibernated").is_some();
    let under_way = |message: &str| status.operations.iter().any(|one| one.message == message);
    let told = |condition: &&Condition| {
        // What an operation says is told once.
        let said_below = !condition.message.is_empty() && under_way(&condition.message);
        // Asleep nothing runs, and that all say so explains nothing.
        let told_above = ["Paused", "Hibernated"].contains(&&*condition.type_);
        !SUMMED_UP.contains(&&*condition.type_) && !told_above && !asleep && !said_below
    };
    let unusual = conditions::unusual(status).into_iter().filter(told);
    unusual.map(|condition| fact(condition, now)).collect()
}

fn fact(condition: &Condition, now: i64) -> String {
    let time = since(condition.last_transition_time.0.as_second(), now);
    let mut said = condition.message.clone();
    if said.is_empty() {
        said.clone_from(&condition.reason);
    } else {
        said = format!("{said} ({})", condition.reason);
    }
    format!(
        "{} is {}, for {time}: {said}.",
        condition.type_, condition.status
    )
}

fn operations(status: &VectorClusterStatus, now: i64) -> Vec<String> {
    let all = status.operations.iter();
    all.map(|operation| under_way(operation, now)).collect()
}

fn under_way(operation: &Operation, now: i64) -> String {
    let time = since(operation.started_at.0.as_second(), now);
    let done = match operation.total {
        0 => String::new(),
        total => format!(", {} of {total} done", operation.done),
    };
    let next = operation.target.as_ref();
    let next = next.map_or_else(String::new, |next| format!(", next is {next}"));
    let blocked = operation.blocked_since.as_ref();
    let blocked = blocked.map_or_else(String::new, |from| {
        format!(", for {}", since(from.0.as_second(), now))
    });
    let held = match &operation.blocked_by {
        Some(gate) => format!(" It is held up by {gate}{blocked}: {}.", operation.message),
        None if operation.message.is_empty() => String::new(),
        None => format!(" {}.", operation.message),
    };
    format!(
        "{} is {}, for {time}{done}{next}.{held}",
        operation.name,
        operation.state.to_lowercase()
    )
}

fn waiting(pods: &[PodLine]) -> Vec<String> {
    let waiting = pods.iter().filter_map(|pod| {
        let why = pod.why.as_ref()?;
        Some(format!("{}: {why}.", pod.name))
    });
    waiting.collect()
}

fn errors(status: &VectorClusterStatus, now: i64) -> Vec<String> {
    let told = status.last_errors.iter().map(|error| {
        let ago = since(error.time.0.as_second(), now);
        format!("{ago} ago: {} ({}).", error.message, error.code)
    });
    told.collect()
}

#[cfg(test)]
mod tests;
