//! What a person sees of a cluster: phase, conditions, counts. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::names::Subject;
use super::observe::Seen;
use super::render::HTTP_PORT;
use crate::crd::v1alpha1::{
    Endpoints, EtcdStatus, LastError, RoleStatus, ShardStatus, VectorClusterSpec,
    VectorClusterStatus, WorkerStatus,
};
use crate::rpc::proto;
use crate::topology::{Component, Role};

/// Errors that are kept.
const LAST_ERRORS_MAX: usize = 10;

/// What a status is made of.
pub(super) struct Facts<'a> {
    pub(super) subject: &'a Subject,
    pub(super) spec: &'a VectorClusterSpec,
    pub(super) generation: Option<i64>,
    /// Fields that cannot be carried out, and why.
    pub(super) not_built: &'a [String],
    pub(super) components: &'a [Component],
    pub(super) seen: &'a Seen,
    /// What the masters say, or why they do not.
    pub(super) masters: Result<&'a proto::GetClusterStateResponse, String>,
    /// When each certificate ends; absent when that was not looked at in this round.
    pub(super) certificates: Option<&'a [(String, String)]>,
    /// Steps that failed: code and message.
    pub(super) errors: &'a [(String, String)],
    pub(super) next_worker_ordinal: u32,
    pub(super) now: Timestamp,
}

impl Facts<'_> {
    fn wanted(&self, role: Role) -> u32 {
        let wanted = self.components.iter().filter(|one| one.role == role);
        u32::try_from(wanted.count()).unwrap_or(u32::MAX)
    }

    fn role_status(&self, role: Role) -> RoleStatus {
        let there = count(self.seen.of(role).count());
        let ready = number(self.seen.ready(role));
        RoleStatus {
            replicas: there,
            ready_replicas: ready,
            updated_replicas: there,
            selector: self.subject.selector_text(role),
            summary: format!("{ready}/{}", self.wanted(role)),
        }
    }

    /// What is not ready yet, one phrase a role.
    fn missing(&self) -> Vec<String> {
        let roles = [Role::Etcd, Role::Master, Role::Worker, Role::Gateway];
        let short = roles.into_iter().filter_map(|role| {
            let (ready, wanted) = (self.seen.ready(role), self.wanted(role));
            (ready < wanted).then(|| format!("{ready} of {wanted} {role}s are ready"))
        });
        short.collect()
    }

    fn shards(&self) -> Option<ShardStatus> {
        let state = self.masters.as_ref().ok()?;
        let shards = || {
            state
                .collections
                .iter()
                .flat_map(|collection| &collection.shards)
        };
        let serves = |shard: &&proto::ShardState| {
            let report = shard.report.as_ref();
            report.is_some_and(|report| matches!(&*report.state, "serving" | "closed"))
        };
        let (total, serving) = (shards().count(), shards().filter(serves).count());
        Some(ShardStatus {
            total: count(total),
            fully_replicated: count(serving),
            under_replicated: 0,
            unavailable: count(total.saturating_sub(serving)),
            moving: 0,
            summary: format!("{serving}/{total}"),
        })
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let workers = self
            .components
            .iter()
            .filter(|one| one.role == Role::Worker);
        let status = workers.map(|worker| {
            let pod = self
                .seen
                .of(Role::Worker)
                .find(|pod| pod.ordinal == worker.ordinal);
            let state = match pod {
                Some(pod) if pod.ready => "Serving",
                Some(_) => "Joining",
                None => "Missing",
            };
            let node = pod.and_then(|pod| pod.pod.spec.as_ref()?.node_name.clone());
            WorkerStatus {
                name: worker.name.clone(),
                ordinal: number(worker.ordinal),
                state: state.to_owned(),
                node,
                ..WorkerStatus::default()
            }
        });
        status.collect()
    }
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The status that follows from the facts; `before` says when conditions changed last.
pub(super) fn status(
    facts: &Facts<'_>,
    before: Option<&VectorClusterStatus>,
) -> VectorClusterStatus {
    let host = facts.subject.dns(&facts.subject.of(Role::Gateway));
    let leader = facts
        .masters
        .as_ref()
        .ok()
        .map(|state| state.leader.clone());
    let etcd = facts.role_status(Role::Etcd);
    let mut status = VectorClusterStatus {
        observed_generation: facts.generation,
        phase: Some(phase(facts).to_owned()),
        version: Some(facts.spec.version.clone()),
        operator_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        gateway: Some(facts.role_status(Role::Gateway)),
        master: Some(facts.role_status(Role::Master)),
        worker: Some(facts.role_status(Role::Worker)),
        etcd: Some(EtcdStatus {
            members: etcd.replicas,
            ready_members: etcd.ready_replicas,
            summary: etcd.summary,
            ..EtcdStatus::default()
        }),
        leader: leader.filter(|leader| !leader.is_empty()),
        shards: facts.shards(),
        workers: facts.workers(),
        next_worker_ordinal: Some(number(facts.next_worker_ordinal)),
        endpoints: Some(Endpoints {
            grpc: String::new(),
            http: format!("https://{host}:{HTTP_PORT}"),
        }),
        certificates: match facts.certificates {
            Some(ends) => ends.iter().cloned().collect(),
            None => before
                .map(|status| status.certificates.clone())
                .unwrap_or_default(),
        },
        last_errors: last_errors(facts, before),
        ..VectorClusterStatus::default()
    };
    status.conditions = conditions(facts, before);
    status
}

fn phase(facts: &Facts<'_>) -> &'static str {
    if !facts.not_built.is_empty() {
        return "Invalid";
    }
    if facts.spec.paused {
        return "Paused";
    }
    if !facts.missing().is_empty() || facts.masters.is_err() {
        return "Creating";
    }
    if facts.shards().is_some_and(|shards| shards.unavailable > 0) {
        return "Degraded";
    }
    "Running"
}

/// Type, whether it is true, reason, message.
type Said = (&'static str, bool, &'static str, String);

fn said(facts: &Facts<'_>) -> Vec<Said> {
    let missing = facts.missing();
    let ready: (bool, &'static str, String) = if !facts.not_built.is_empty() {
        (
            false,
            "ComponentsNotReady",
            "the manifest cannot be carried out".to_owned(),
        )
    } else if !missing.is_empty() {
        (false, "ComponentsNotReady", missing.join("; "))
    } else if let Err(why) = &facts.masters {
        (false, "ProbeFailed", why.clone())
    } else if facts.shards().is_some_and(|shards| shards.unavailable > 0) {
        let summary = facts
            .shards()
            .map(|shards| shards.summary)
            .unwrap_or_default();
        (
            false,
            "ShardsUnderReplicated",
            format!("{summary} shards are served"),
        )
    } else {
        (
            true,
            "AllComponentsReady",
            "every component is ready".to_owned(),
        )
    };
    let valid: Said = if facts.not_built.is_empty() {
        ("SpecValid", true, "Valid", String::new())
    } else {
        ("SpecValid", false, "NotBuilt", facts.not_built.join("; "))
    };
    let elected = facts
        .masters
        .as_ref()
        .is_ok_and(|state| !state.leader.is_empty());
    let leads: Said = if elected {
        let leader = facts.masters.as_ref().map_or("", |state| &state.leader);
        ("LeaderElected", true, "Elected", format!("{leader} leads"))
    } else {
        (
            "LeaderElected",
            false,
            "NoLeader",
            "no master leads".to_owned(),
        )
    };
    let members = (facts.seen.ready(Role::Etcd), facts.wanted(Role::Etcd));
    let quorate = members.1 > 0 && members.0 > members.1 / 2;
    let etcd = format!("{} of {} members are ready", members.0, members.1);
    let reason = if quorate { "Quorate" } else { "NoQuorum" };
    vec![
        ("Ready", ready.0, ready.1, ready.2),
        valid,
        ("EtcdReady", quorate, reason, etcd),
        leads,
    ]
}

fn conditions(facts: &Facts<'_>, before: Option<&VectorClusterStatus>) -> Vec<Condition> {
    let known = |type_: &str| {
        let conditions = before
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        conditions.iter().find(|condition| condition.type_ == type_)
    };
    let made = said(facts).into_iter().map(|(type_, on, reason, message)| {
        let status = if on { "True" } else { "False" };
        let since = match known(type_) {
            Some(condition) if condition.status == status => condition.last_transition_time.clone(),
            _ => Time(facts.now),
        };
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            observed_generation: facts.generation,
            last_transition_time: since,
        }
    });
    made.collect()
}

fn last_errors(facts: &Facts<'_>, before: Option<&VectorClusterStatus>) -> Vec<LastError> {
    let mut errors = before
        .map(|status| status.last_errors.clone())
        .unwrap_or_default();
    for (code, message) in facts.errors {
        // The same error again changes nothing: a status that ticks wakes everybody.
        let same = |error: &&mut LastError| error.code == *code && error.message == *message;
        if errors.iter_mut().find(same).is_none() {
            errors.insert(
                0,
                LastError {
                    code: code.clone(),
                    message: message.clone(),
                    time: Time(facts.now),
                    count: 1,
                },
            );
        }
    }
    errors.truncate(LAST_ERRORS_MAX);
    errors
}
