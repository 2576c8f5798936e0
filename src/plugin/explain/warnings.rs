//! The warnings of the last hour about a cluster and what belongs to it. Pure.

use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;

use crate::plugin::conditions;
use crate::plugin::look::Sight;
use crate::plugin::pods::ROLES;
use crate::plugin::table::{short, since};

/// How old a warning may be, in seconds: Kubernetes forgets it about then.
const AGE_MAX: i64 = 3_600;
/// Warnings that are told, newest first.
const TOLD_MAX: usize = 10;
/// Characters of a note.
const NOTE_CHARS_MAX: usize = 240;

/// The warnings as sentences, newest first.
pub(super) fn sentences(sight: &Sight) -> Vec<String> {
    let name = sight.cluster.name_any();
    let is_ready = conditions::is_ready(&sight.cluster);
    let ours = sight.events.iter().filter(|event| {
        event.type_.as_deref() == Some("Warning")
            && is_about(event, &name)
            // That pods stumbled while they started is no news once all is well.
            && (!is_ready || is_of_operator(event))
    });
    // What is older is about another cluster of the name.
    let made = sight.cluster.creation_timestamp();
    let made = made.map_or(0, |time| time.0.as_second());
    let first = made.max(sight.now.saturating_sub(AGE_MAX));
    let mut recent: Vec<(i64, &Event)> = ours
        .map(|event| (last(event), event))
        .filter(|(last, _)| *last >= first)
        .collect();
    recent.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    let told = recent.into_iter().take(TOLD_MAX);
    told.map(|(last, event)| sentence(event, since(last, sight.now)))
        .collect()
}

/// Whether an event is about a cluster of this name, or about what is named after it.
pub(in crate::plugin) fn is_about(event: &Event, cluster: &str) -> bool {
    let Some(regarding) = &event.regarding else {
        return false;
    };
    let about = regarding.name.as_deref().unwrap_or_default();
    if regarding.kind.as_deref() == Some("VectorCluster") {
        return about == cluster;
    }
    let about = about.strip_prefix("data-").unwrap_or(about);
    let rest = about.strip_prefix(cluster);
    let Some(rest) = rest.and_then(|rest| rest.strip_prefix('-')) else {
        return false;
    };
    ROLES.iter().any(|role| {
        let behind = rest.strip_prefix(role);
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('-'))
    })
}

/// Whether the operator said it.
fn is_of_operator(event: &Event) -> bool {
    let regarding = event.regarding.as_ref();
    let kind = regarding.and_then(|regarding| regarding.kind.as_deref());
    kind == Some("VectorCluster")
}

/// When it happened last, in seconds since 1970.
fn last(event: &Event) -> i64 {
    let series = event.series.as_ref();
    let series = series.map(|series| series.last_observed_time.0.as_second());
    let old = event.deprecated_last_timestamp.as_ref();
    let old = old.map(|time| time.0.as_second());
    let once = event.event_time.as_ref().map(|time| time.0.as_second());
    let made = event.creation_timestamp().map(|time| time.0.as_second());
    series.or(old).or(once).or(made).unwrap_or(0)
}

fn sentence(event: &Event, ago: String) -> String {
    let regarding = event.regarding.clone().unwrap_or_default();
    let often = event
        .series
        .as_ref()
        .map(|series| series.count)
        .or(event.deprecated_count);
    let often = often.filter(|count| *count > 1);
    let often = often.map_or_else(String::new, |count| format!(", {count} times"));
    format!(
        "{ago} ago{often}, {} {}: {}: {}",
        regarding.kind.unwrap_or_default(),
        regarding.name.unwrap_or_default(),
        event.reason.as_deref().unwrap_or_default(),
        short(event.note.as_deref().unwrap_or_default(), NOTE_CHARS_MAX)
    )
}
