//! What becomes of a VectorOpsTask next. Pure: the task, the others of its cluster and the cluster in, one
//! step out.
//!
//! A task that can never be done is rejected at once. Of the others of one cluster one runs, the oldest
//! first. That it runs is written down before anything is done, with the time that everything it does is
//! counted from; so a task that was cut off goes on and does nothing twice.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::crd::v1alpha1::{OpsTask, Power, Role, VectorCluster, VectorOpsTask};
use crate::operator::objects::said::Truth;

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Pending,
    Running,
    Succeeded,
    Failed,
    Rejected,
}

impl State {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Rejected => "Rejected",
        }
    }

    /// Whether the task does nothing any more.
    pub(super) const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Rejected)
    }

    /// What the condition `Complete` says of it.
    pub(super) const fn complete(self) -> Truth {
        match self {
            Self::Succeeded => Truth::True,
            Self::Pending | Self::Running | Self::Failed | Self::Rejected => Truth::False,
        }
    }

    fn of(task: &VectorOpsTask) -> Option<Self> {
        let state = task.status.as_ref()?.state.as_deref()?;
        let all = [
            Self::Pending,
            Self::Running,
            Self::Succeeded,
            Self::Failed,
            Self::Rejected,
        ];
        all.into_iter().find(|one| one.as_str() == state)
    }
}

/// What is said of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) state: State,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Report {
    pub(super) fn new(state: State, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            state,
            reason,
            message: message.into(),
        }
    }
}

/// Seconds that a task waits for its cluster to be there.
const CLUSTER_AWAITED: i64 = 120;

/// What is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) task: &'a VectorOpsTask,
    /// The other tasks of its cluster.
    pub(super) others: &'a [VectorOpsTask],
    pub(super) cluster: Option<&'a VectorCluster>,
    /// When the youngest pod was made that the task is about.
    pub(super) youngest: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It has ended; the object stays that long.
    Keep(Duration),
    /// The object has stayed long enough.
    Remove,
    /// This is said, and nothing done.
    Say(Report),
    /// From now on it runs.
    Begin,
    /// Its work, which counts from this time.
    Work(Timestamp),
}

/// Decides.
pub(super) fn decide(facts: &Facts<'_>) -> Step {
    let status = facts.task.status.as_ref();
    let state = State::of(facts.task);
    if state.is_some_and(State::is_end) {
        let ended = status.and_then(|status| status.completed_at.as_ref());
        return ended.map_or(Step::Remove, |ended| kept(facts, ended.0));
    }
    let cluster = match facts.cluster {
        Some(cluster) if cluster.metadata.deletion_timestamp.is_none() => cluster,
        Some(_) | None => {
            let name = &facts.task.spec.cluster;
            let mut message =
                format!("there is no VectorCluster {name} in this namespace, or it goes");
            // Who applies both at once may name the task first.
            let created = facts.task.metadata.creation_timestamp.as_ref();
            let age = created.map(|made| facts.now.as_second().saturating_sub(made.0.as_second()));
            let state = match age {
                Some(age) if age < CLUSTER_AWAITED && state != Some(State::Running) => {
                    message.push_str(&format!("; it is waited for {CLUSTER_AWAITED} s"));
                    State::Pending
                },
                _ => State::Rejected,
            };
            return Step::Say(Report::new(state, "ClusterMissing", message));
        },
    };
    if let Some((reason, message)) = impossible(facts.task, cluster) {
        return Step::Say(Report::new(State::Rejected, reason, message));
    }
    if state == Some(State::Running) {
        let started = status.and_then(|status| status.started_at.as_ref());
        return started.map_or(Step::Begin, |started| Step::Work(started.0));
    }
    match hindrance(facts, cluster) {
        Some((reason, message)) => Step::Say(Report::new(State::Pending, reason, message)),
        None => Step::Begin,
    }
}

fn kept(facts: &Facts<'_>, ended: Timestamp) -> Step {
    let ttl = i64::from(facts.task.spec.ttl_seconds_after_finished);
    let until = ended.as_second().saturating_add(ttl);
    let left = until.saturating_sub(facts.now.as_second());
    match u64::try_from(left) {
        Ok(0) | Err(_) => Step::Remove,
        Ok(left) => Step::Keep(Duration::from_secs(left)),
    }
}

/// Why a task can never be done, if so.
fn impossible(
    task: &VectorOpsTask,
    cluster: &VectorCluster,
) -> Option<(&'static str, &'static str)> {
    let managed = cluster.spec.etcd.managed.is_some();
    let asleep = cluster.spec.power == Power::Hibernated;
    match task.spec.task {
        OpsTask::Rebalance => Some(("RebalanceNotAvailable", "no shard can be moved yet")),
        OpsTask::EvacuateWorker | OpsTask::ReplaceWorker => Some((
            "EvacuationNotAvailable",
            "no shard can be moved to another worker yet",
        )),
        OpsTask::VerifyData => Some((
            "VerificationNotAvailable",
            "workers cannot compare checksums of all they hold yet",
        )),
        OpsTask::Restart | OpsTask::DefragmentEtcd if asleep => Some((
            "Hibernated",
            "the cluster is hibernated: nothing of it runs",
        )),
        OpsTask::DefragmentEtcd if !managed => Some(("EtcdExternal", EXTERNAL)),
        OpsTask::Restart if !managed && task.spec.role == Some(Role::Etcd) => {
            Some(("EtcdExternal", EXTERNAL))
        },
        OpsTask::Restart | OpsTask::DefragmentEtcd | OpsTask::RotateCertificates => None,
    }
}

const EXTERNAL: &str = "the etcd of this cluster is run by others";

/// What a task waits for before it begins.
fn hindrance(facts: &Facts<'_>, cluster: &VectorCluster) -> Option<(&'static str, String)> {
    let named = |task: &VectorOpsTask| task.metadata.name.clone().unwrap_or_default();
    let running = facts
        .others
        .iter()
        .find(|one| State::of(one) == Some(State::Running));
    if let Some(running) = running {
        return Some((
            "TaskRunning",
            format!("the task {} runs first", named(running)),
        ));
    }
    let age = |task: &VectorOpsTask| {
        let created = task.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, named(task))
    };
    let unfinished = facts
        .others
        .iter()
        .filter(|one| !State::of(one).is_some_and(State::is_end));
    let first = unfinished.min_by_key(|one| age(one));
    if let Some(first) = first.filter(|first| age(first) < age(facts.task)) {
        return Some((
            "TaskRunning",
            format!("the task {} comes first", named(first)),
        ));
    }
    if cluster.spec.paused {
        let message = "the cluster is paused: nothing is changed in it";
        return Some(("ClusterPaused", message.to_owned()));
    }
    // Pods are told from those made after the beginning by the second that they were made in.
    let young = facts
        .youngest
        .is_some_and(|youngest| youngest.as_second() >= facts.now.as_second());
    young.then(|| {
        (
            "PodsTooYoung",
            "a pod was made in this very second".to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{at, cluster, task};
    use super::*;

    fn step(task: &VectorOpsTask, others: &[VectorOpsTask], cluster: &VectorCluster) -> Step {
        decide(&Facts {
            task,
            others,
            cluster: Some(cluster),
            youngest: None,
            now: at(1_000),
        })
    }

    /// What is said: state and reason.
    fn said(step: &Step) -> (&'static str, &'static str) {
        let Step::Say(report) = step else {
            panic!("{step:?}");
        };
        (report.state.as_str(), report.reason)
    }

    #[test]
    fn what_can_never_be_done_is_rejected_with_its_reason() {
        let plain = cluster(|_| {});
        for (spec, reason) in [
            (json!({"task": "Rebalance"}), "RebalanceNotAvailable"),
            (
                json!({"task": "EvacuateWorker", "worker": "w"}),
                "EvacuationNotAvailable",
            ),
            (
                json!({"task": "ReplaceWorker", "worker": "w"}),
                "EvacuationNotAvailable",
            ),
            (json!({"task": "VerifyData"}), "VerificationNotAvailable"),
        ] {
            let task = task("t", 1, spec, json!({}));
            assert_eq!(said(&step(&task, &[], &plain)), ("Rejected", reason));
        }
        let external = cluster(|cluster| cluster.spec.etcd.managed = None);
        for spec in [json!({"role": "Etcd"}), json!({"task": "DefragmentEtcd"})] {
            let task = task("t", 1, spec.clone(), json!({}));
            assert_eq!(
                said(&step(&task, &[], &external)),
                ("Rejected", "EtcdExternal")
            );
            assert_eq!(step(&task, &[], &plain), Step::Begin, "{spec}");
        }
        let asleep = cluster(|cluster| cluster.spec.power = Power::Hibernated);
        let restart = task("t", 1, json!({}), json!({}));
        assert_eq!(
            said(&step(&restart, &[], &asleep)),
            ("Rejected", "Hibernated")
        );
        let missing = |now: i64| {
            decide(&Facts {
                task: &restart,
                others: &[],
                cluster: None,
                youngest: None,
                now: at(now),
            })
        };
        assert_eq!(said(&missing(120)), ("Pending", "ClusterMissing"));
        assert_eq!(said(&missing(121)), ("Rejected", "ClusterMissing"));
    }

    #[test]
    fn one_task_of_a_cluster_runs_and_the_oldest_comes_first() {
        let plain = cluster(|_| {});
        let state = |state: &str| json!({"state": state});
        let mine = task("b", 5, json!({}), json!({}));
        let pending = ("Pending", "TaskRunning");
        let runs = task("z", 9, json!({}), state("Running"));
        assert_eq!(said(&step(&mine, &[runs], &plain)), pending);
        for older in [
            task("z", 4, json!({}), json!({})),
            task("a", 5, json!({}), state("Pending")),
        ] {
            assert_eq!(said(&step(&mine, &[older], &plain)), pending);
        }
        let others = [
            task("z", 5, json!({}), json!({})),
            task("a", 1, json!({}), state("Succeeded")),
            task("a", 1, json!({}), state("Failed")),
            task("a", 1, json!({}), state("Rejected")),
        ];
        assert_eq!(step(&mine, &others, &plain), Step::Begin);
        let paused = cluster(|cluster| cluster.spec.paused = true);
        assert_eq!(
            said(&step(&mine, &[], &paused)),
            ("Pending", "ClusterPaused")
        );
    }

    #[test]
    fn a_running_task_counts_from_its_beginning_and_waits_for_no_other() {
        let plain = cluster(|_| {});
        let status = json!({"state": "Running", "startedAt": at(900)});
        let mine = task("b", 5, json!({}), status);
        let older = task("a", 1, json!({}), json!({}));
        assert_eq!(step(&mine, &[older], &plain), Step::Work(at(900)));
    }

    #[test]
    fn a_restart_begins_when_every_pod_is_older_than_now() {
        let plain = cluster(|_| {});
        let mine = task("b", 5, json!({}), json!({}));
        let step = |youngest| {
            decide(&Facts {
                task: &mine,
                others: &[],
                cluster: Some(&plain),
                youngest: Some(at(youngest)),
                now: at(1_000),
            })
        };
        assert_eq!(said(&step(1_000)), ("Pending", "PodsTooYoung"));
        assert_eq!(step(999), Step::Begin);
    }

    #[test]
    fn a_task_that_has_ended_is_kept_for_a_while_and_removed() {
        let plain = cluster(|_| {});
        for state in ["Succeeded", "Failed", "Rejected"] {
            let ended = |at_second: i64| {
                let status = json!({"state": state, "completedAt": at(at_second)});
                step(&task("t", 1, json!({}), status), &[], &plain)
            };
            assert_eq!(ended(990), Step::Keep(Duration::from_secs(50)));
            assert_eq!(ended(940), Step::Remove);
            assert_eq!(ended(1), Step::Remove);
        }
    }
}
