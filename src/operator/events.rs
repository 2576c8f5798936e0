//! What a person is told in events, once, when it changes. What to tell is decided purely, from the
//! status before and after a round and from what the round did.
//!
//! Kubernetes joins events of one reason within minutes into one; so numbers that change belong into the
//! status, and a note says what it is about.

use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};

use super::cluster_api::within;
use crate::crd::v1alpha1::{Operation, VectorClusterStatus};
use crate::fault::chain;

/// Characters of a note that an API server takes, with room to spare.
const NOTE_MAX: usize = 900;

/// One event before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) note: String,
}

/// Something that goes as it should.
pub(super) fn told(reason: &'static str, note: impl Into<String>) -> Told {
    Told {
        warning: false,
        reason,
        note: note.into(),
    }
}

/// Something that a person may have to look at.
pub(super) fn warned(reason: &'static str, note: impl Into<String>) -> Told {
    Told {
        warning: true,
        ..told(reason, note)
    }
}

/// What has changed between two rounds.
pub(super) fn transitions(
    before: Option<&VectorClusterStatus>,
    after: &VectorClusterStatus,
) -> Vec<Told> {
    let none = VectorClusterStatus::default();
    let before = before.unwrap_or(&none);
    let mut all = Vec::new();
    of_conditions(before, after, &mut all);
    of_phase(before, after, &mut all);
    of_update(before, after, &mut all);
    of_workers(before, after, &mut all);
    if let Some(leader) = &after.leader
        && before.leader.as_ref().is_some_and(|known| known != leader)
    {
        all.push(told("LeaderChanged", format!("{leader} leads")));
    }
    for (name, end) in &after.certificates {
        let known = before.certificates.get(name);
        if known.is_some_and(|known| known != end) {
            let note = format!("{name} is valid until {end}");
            all.push(told("CertificateRenewed", note));
        }
    }
    all
}

/// A condition's status, reason and message.
fn condition<'a>(
    status: &'a VectorClusterStatus,
    type_: &str,
) -> Option<(&'a str, &'a str, &'a str)> {
    let condition = status.conditions.iter().find(|one| one.type_ == type_)?;
    Some((&condition.status, &condition.reason, &condition.message))
}

fn of_conditions(before: &VectorClusterStatus, after: &VectorClusterStatus, all: &mut Vec<Told>) {
    // Type, the status that is told, and the event's reason.
    let watched = [
        ("SpecValid", "False", "SpecInvalid"),
        ("DeletionBlocked", "True", "DeletionBlocked"),
    ];
    for (type_, status, reason) in watched {
        let now = condition(after, type_).filter(|(now, ..)| *now == status);
        let then = condition(before, type_).filter(|(then, ..)| *then == status);
        if let (Some((_, _, message)), None) = (now, then) {
            all.push(warned(reason, message));
        }
    }
    // What was well and is not; what never was yet is being made.
    let lost = [
        ("EtcdReady", "EtcdUnhealthy"),
        ("CertificatesValid", "CertificateIssueFailed"),
        ("ShardsFullyReplicated", "ShardsUnavailable"),
    ];
    for (type_, reason) in lost {
        let was_well = condition(before, type_).is_some_and(|(status, ..)| status == "True");
        let asleep = condition(after, "Hibernated").is_some();
        let now = condition(after, type_).filter(|(status, ..)| *status == "False" && !asleep);
        if let (true, Some((_, _, message))) = (was_well, now) {
            all.push(warned(reason, message));
        }
    }
    let reason = |status: &VectorClusterStatus, type_: &str| {
        condition(status, type_).map(|(_, reason, _)| reason.to_owned())
    };
    let became = |type_: &str, wanted: &str| {
        reason(after, type_).as_deref() == Some(wanted)
            && reason(before, type_).as_deref() != Some(wanted)
    };
    let message = |type_: &str| condition(after, type_).map_or("", |(_, _, message)| message);
    if became("Progressing", "RolledBack") {
        all.push(warned("UpdateRolledBack", message("Progressing")));
    }
    if became("StorageReady", "ResizeUnsupported") {
        all.push(warned("VolumeResizeUnsupported", message("StorageReady")));
    }
    if became("StorageReady", "VolumeFull") {
        all.push(warned("VolumeFull", message("StorageReady")));
    }
    let was_growing = reason(before, "StorageReady").as_deref() == Some("Resizing");
    if was_growing && reason(after, "StorageReady").as_deref() == Some("Ready") {
        all.push(told("VolumeResizeFinished", "every volume has its size"));
    }
}

fn of_phase(before: &VectorClusterStatus, after: &VectorClusterStatus, all: &mut Vec<Told>) {
    let then = before.phase.as_deref().unwrap_or_default();
    let now = after.phase.as_deref().unwrap_or_default();
    match (then, now) {
        ("Creating", "Running") if operation(before, "Wake").is_some() => {
            all.push(told("Woken", "every component is ready"));
        },
        ("Creating", "Running") => {
            all.push(told("Created", "every component is ready"));
            let workers = after.worker.as_ref().map_or(0, |workers| workers.replicas);
            if workers == 1 {
                let note = "one worker holds everything: while it restarts nothing is served";
                all.push(warned("NotHighlyAvailable", note));
            }
        },
        (then, "Hibernated") if then != "Hibernated" => {
            all.push(told("Hibernated", "every pod has ended; volumes are kept"));
        },
        _ => {},
    }
}

fn operation<'a>(status: &'a VectorClusterStatus, name: &str) -> Option<&'a Operation> {
    status.operations.iter().find(|one| one.name == name)
}

fn of_update(before: &VectorClusterStatus, after: &VectorClusterStatus, all: &mut Vec<Told>) {
    match (operation(before, "Update"), operation(after, "Update")) {
        (None, Some(now)) => {
            let target = after.revision.as_ref().map_or("", |one| &one.target);
            let note = format!("to revision {target}, {} pods in all", now.total);
            all.push(told("UpdateStarted", note));
        },
        (Some(_), None) if !rolled_back(after) => {
            let current = after.revision.as_ref().map_or("", |one| &one.current);
            let note = format!("every pod is of revision {current}");
            all.push(told("UpdateFinished", note));
        },
        _ => {},
    }
    let blocked = |status: &VectorClusterStatus| {
        let gate = operation(status, "Update")?.blocked_by.clone()?;
        // That one pod waits for the one before is the update's own pace.
        (gate != "PreviousPodServing").then_some(gate)
    };
    if let Some(gate) = blocked(after)
        && blocked(before).as_ref() != Some(&gate)
    {
        let message = operation(after, "Update").map_or("", |one| &one.message);
        all.push(warned("UpdateBlocked", format!("{gate}: {message}")));
    }
}

fn rolled_back(status: &VectorClusterStatus) -> bool {
    condition(status, "Progressing").is_some_and(|(_, reason, _)| reason == "RolledBack")
}

fn of_workers(before: &VectorClusterStatus, after: &VectorClusterStatus, all: &mut Vec<Told>) {
    let state = |status: &VectorClusterStatus, name: &str| {
        let worker = status.workers.iter().find(|worker| worker.name == name);
        worker.map_or_else(String::new, |worker| worker.state.clone())
    };
    let leaves = |state: &str| matches!(state, "Draining" | "Drained" | "Removing");
    for worker in &after.workers {
        let name = &worker.name;
        let then = state(before, name);
        match (&*then, &*worker.state) {
            ("" | "Joining", "Serving") => all.push(told("WorkerJoined", format!("{name} serves"))),
            (then, now) if leaves(now) && !leaves(then) => {
                let note = format!("{name} takes no new shard");
                all.push(told("DrainStarted", note));
            },
            ("Draining", "Drained" | "Removing") => {
                all.push(told("DrainFinished", format!("{name} holds no shard")));
            },
            (then, now) if leaves(then) && !leaves(now) => {
                let note = format!("{name} takes new shards again");
                all.push(told("DrainCancelled", note));
            },
            // Between two pods of an update there is none.
            (then, "Missing")
                if !matches!(then, "" | "Missing") && operation(after, "Update").is_none() =>
            {
                all.push(warned("WorkerMissing", format!("{name} has no pod")));
            },
            _ => {},
        }
    }
    for worker in &before.workers {
        let gone = !after.workers.iter().any(|one| one.name == worker.name);
        if gone && leaves(&worker.state) {
            let note = format!("{} and what the manifest says of its volume", worker.name);
            all.push(told("WorkerRemoved", note));
        }
    }
}

/// Sends events; one that cannot be sent is logged and no more.
pub(super) async fn send<K>(recorder: &Recorder, about: &K, all: &[Told])
where
    K: Resource<DynamicType = ()>,
{
    for one in all {
        let mut note = one.note.clone();
        note.truncate(note.floor_char_boundary(NOTE_MAX));
        tracing::info!(reason = one.reason, note, "event");
        let event = Event {
            type_: if one.warning {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: one.reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference = about.object_ref(&());
        let sent = within(recorder.publish(&event, &reference)).await;
        if let Err(error) = sent {
            tracing::warn!(error = chain(&error), "an event was not taken");
        }
    }
}
