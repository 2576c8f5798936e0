//! What a person sees of a cluster: phase, conditions, counts, what is under way. Pure.

mod conditions;
mod operations;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::accepted::Refused;
use super::etcd::Work;
use super::external::Asked;
use super::observe::PodSeen;
use super::ordinals::{self, joined};
use super::render::HTTP_PORT;
use super::situation::{InForce, Situation, Surplus, is_served};
use super::updates;
use super::volumes;
use crate::crd::v1alpha1::{
    Endpoints, EtcdStatus, LastError, Power, Revision, RoleStatus, ShardStatus,
    VectorClusterStatus, VolumeStatus, WorkerStatus,
};
use crate::topology::{Component, Role};

/// Errors that are kept.
const LAST_ERRORS_MAX: usize = 10;
/// How long an error is shown after it was last met, in seconds.
const ERROR_SHOWN: i64 = 600;
/// Workers up to which each is listed; of more only those that do not serve.
const WORKERS_LISTED: usize = 100;

/// A volume's use is told in steps of so many percent: a status that moves with every write would be
/// written all the time.
const USED_STEP: u32 = 5;

/// Shards that are not served up to which each is named.
const SHARDS_NAMED: usize = 8;

/// What a status is made of.
pub(super) struct Facts<'a> {
    pub(super) situation: &'a Situation<'a>,
    /// Why the manifest is not carried out.
    pub(super) refused: Option<&'a Refused>,
    /// The revision in force, and the step towards it; absent when nothing is carried out.
    pub(super) update: Option<(&'a InForce<'a>, &'a updates::Step)>,
    /// Workers without a place.
    pub(super) surplus: &'a [Surplus],
    /// Workers that are wanted again and still marked to go.
    pub(super) marked: &'a [String],
    /// Whether anything was carried out: what was not looked at stays as it was said.
    pub(super) acted: bool,
    /// What is under way with the members of etcd.
    pub(super) etcd: Option<&'a Work>,
    /// What an etcd of others answered the operator, if it was asked.
    pub(super) external: Option<&'a Asked>,
    /// It is deleted, and this is what that waits for: reason and message.
    pub(super) ending: Option<(&'static str, String)>,
    /// When each certificate ends; absent when that was not looked at in this round.
    pub(super) certificates: Option<&'a [(String, String)]>,
    /// How far a change of the authority is.
    pub(super) authority: Option<String>,
    /// Steps that failed: code and message.
    pub(super) errors: &'a [(String, String)],
    pub(super) next_worker_ordinal: u32,
}

impl<'a> Facts<'a> {
    fn wanted(&self, role: Role) -> u32 {
        self.situation.wanted(role)
    }

    fn pods(&self, role: Role) -> impl Iterator<Item = &'a PodSeen> {
        self.situation.seen.of(role)
    }

    fn role_status(&self, role: Role) -> RoleStatus {
        let target = self.update.map(|(in_force, _)| in_force.target);
        let target = target.map(|kept| kept.held.revision_of(role));
        let updated = self.pods(role).filter(|pod| pod.revision == target);
        let ready = number(self.situation.seen.ready(role));
        RoleStatus {
            replicas: count(self.pods(role).count()),
            ready_replicas: ready,
            updated_replicas: count(updated.count()),
            selector: self.situation.subject.selector_text(role),
            summary: format!("{ready}/{}", self.wanted(role)),
        }
    }

    /// What is not ready yet, one phrase a role.
    fn missing(&self) -> Vec<String> {
        let roles = [Role::Etcd, Role::Master, Role::Worker, Role::Gateway];
        let short = roles.into_iter().filter_map(|role| {
            let (ready, wanted) = (self.situation.seen.ready(role), self.wanted(role));
            let why = self.pods(role).find_map(|pod| {
                let trouble = pod.trouble.as_ref()?;
                Some(format!(" ({}: {trouble})", pod.name))
            });
            let why = why.unwrap_or_default();
            (ready < wanted).then(|| format!("{ready} of {wanted} {role}s are ready{why}"))
        });
        short.collect()
    }

    fn shards(&self) -> Option<ShardStatus> {
        let state = self.situation.masters.as_ref().ok()?;
        let shards = || {
            state
                .collections
                .iter()
                .flat_map(|collection| &collection.shards)
        };
        let serving = shards().filter(|shard| is_served(shard)).count();
        let total = shards().count();
        Some(ShardStatus {
            total: count(total),
            fully_replicated: count(serving),
            under_replicated: 0,
            unavailable: count(total.saturating_sub(serving)),
            moving: 0,
            summary: format!("{serving}/{total}"),
        })
    }

    /// The shards that are not served, by name; of many the first.
    fn unserved(&self) -> String {
        let state = self.situation.masters.as_ref().ok();
        let collections = state.map_or(&[][..], |state| &state.collections);
        let named = collections.iter().flat_map(|collection| {
            let unserved = collection.shards.iter().filter(|shard| !is_served(shard));
            unserved.map(|shard| {
                let (number, worker) = (shard.number, &shard.worker);
                format!("shard {number} of {} on {worker}", collection.name)
            })
        });
        let mut named: Vec<String> = named.collect();
        let more = named.len().saturating_sub(SHARDS_NAMED);
        named.truncate(SHARDS_NAMED);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        named.join(", ")
    }

    fn unavailable(&self) -> i32 {
        self.shards().map_or(0, |shards| shards.unavailable)
    }

    /// Each worker; of many those that do not serve.
    fn workers(&self) -> Vec<WorkerStatus> {
        let mut workers = self.all_workers();
        if workers.len() > WORKERS_LISTED {
            workers.retain(|worker| worker.state != "Serving");
        }
        workers
    }

    /// The numbers of the workers that joined and were not let go.
    fn joined(&self) -> String {
        let mut all = joined(self.situation.before);
        let workers = self.all_workers();
        let joined = workers.iter().filter(|one| one.state != "Joining");
        all.extend(joined.filter_map(|one| u32::try_from(one.ordinal).ok()));
        // What is drained may go, and is no loss any more.
        for gone in self.surplus.iter().filter(|one| one.is_empty()) {
            all.remove(&gone.worker.ordinal);
        }
        ordinals::write(&all)
    }

    fn all_workers(&self) -> Vec<WorkerStatus> {
        let planned = self.situation.plan.components.iter();
        let planned = planned.filter(|one| one.role == Role::Worker);
        let joined = joined(self.situation.before);
        let was_there = |ordinal: u32| joined.contains(&ordinal);
        let mut workers: Vec<WorkerStatus> = planned
            .map(|worker| self.worker(worker, was_there(worker.ordinal), None))
            .chain(self.surplus.iter().map(|surplus| {
                let worker = &surplus.worker;
                self.worker(worker, was_there(worker.ordinal), Some(surplus))
            }))
            .collect();
        for one in self.unlooked() {
            if !workers.iter().any(|known| known.name == one.name) {
                workers.push(one);
            }
        }
        workers.sort_by_key(|worker| worker.ordinal);
        workers
    }

    /// Whether a worker with a place is still marked to go, or may be.
    fn is_marked(&self, name: &str) -> bool {
        let before = self.situation.before;
        let before = before.map_or(&[][..], |status| &status.workers);
        let mut before = before.iter();
        let was =
            before.any(|one| one.name == name && matches!(&*one.state, "Draining" | "Drained"));
        self.marked.iter().any(|one| one == name) || (was && !self.acted)
    }

    /// Workers without a place that this round did not look at, and whose volumes are there.
    fn unlooked(&self) -> Vec<WorkerStatus> {
        let before = self.situation.before;
        let before = before.map_or(&[][..], |status| &status.workers);
        let leaves =
            |one: &&WorkerStatus| matches!(&*one.state, "Draining" | "Drained" | "Removing");
        let is_there = |one: &&WorkerStatus| {
            let mut claims = self.situation.seen.worker_claims();
            claims.any(|claim| i64::from(claim.ordinal) == i64::from(one.ordinal))
        };
        before
            .iter()
            .filter(leaves)
            .filter(is_there)
            .cloned()
            .collect()
    }

    fn worker(
        &self,
        worker: &Component,
        was_there: bool,
        surplus: Option<&Surplus>,
    ) -> WorkerStatus {
        let (name, ordinal) = (&*worker.name, worker.ordinal);
        let pod = self.pods(Role::Worker).find(|pod| pod.ordinal == ordinal);
        let mut claims = self.situation.seen.worker_claims();
        let claim = claims.find(|claim| claim.ordinal == ordinal);
        let state = match (surplus, pod) {
            (Some(surplus), Some(_)) if surplus.is_empty() => "Drained",
            (Some(surplus), None) if surplus.is_empty() => "Removing",
            (Some(_), _) => "Draining",
            (None, _) if self.is_marked(name) => "Draining",
            (None, Some(pod)) if pod.ready => "Serving",
            (None, Some(_)) if was_there => "Away",
            (None, None) if was_there => "Missing",
            (None, Some(_) | None) => "Joining",
        };
        let state_of = self.situation.masters.as_ref().ok();
        let shards = state_of.map(|state| {
            let shards = state.collections.iter().flat_map(|one| &one.shards);
            count(shards.filter(|shard| shard.worker == name).count())
        });
        let version = state_of.and_then(|state| {
            let mut processes = state.processes.iter();
            Some(processes.find(|one| one.name == name)?.version.clone())
        });
        WorkerStatus {
            name: name.to_owned(),
            ordinal: number(ordinal),
            state: state.to_owned(),
            node: pod.and_then(|pod| pod.node.clone()),
            version,
            revision: pod.and_then(|pod| pod.revision.clone()),
            shards,
            volume: claim.map(|claim| VolumeStatus {
                claim: claim.name.clone(),
                capacity: claim.capacity.clone(),
                used_percent: self.used_percent(&claim.name),
                resize: claim.resize.clone(),
            }),
            message: pod.and_then(|pod| pod.trouble.clone()),
            zone: None,
        }
    }

    /// How full a worker's volume is, in steps.
    fn used_percent(&self, claim: &str) -> Option<i32> {
        let percent = *self.situation.fills().get(claim)?;
        Some(number(percent - percent % USED_STEP))
    }

    /// The revisions as they stand after this round.
    fn revision(&self) -> Option<Revision> {
        let before = || {
            self.situation
                .before
                .and_then(|status| status.revision.clone())
        };
        let Some((in_force, step)) = self.update else {
            return before();
        };
        let target = &in_force.target.hash;
        let known = before();
        let (current, previous) = match known {
            Some(known) => (known.current, known.previous),
            None => (String::new(), None),
        };
        // Asleep nothing has shown yet that the target works.
        let runs = self.situation.spec.power == Power::Running;
        let (current, previous) = if runs && step.complete && current != *target {
            let previous = Some(current).filter(|hash| !hash.is_empty());
            (target.clone(), previous)
        } else {
            (current, previous)
        };
        Some(Revision {
            current,
            target: target.clone(),
            previous,
        })
    }

    /// The lowest version that a process says it is of.
    fn version(&self) -> String {
        let state = self.situation.masters.as_ref().ok();
        let versions = state.map(|state| state.processes.iter().map(|one| one.version.as_str()));
        let lowest = versions.and_then(|versions| versions.min_by_key(|version| parts(version)));
        lowest.map_or_else(|| self.situation.spec.version.clone(), ToOwned::to_owned)
    }

    /// It slept, and not everything is ready again.
    fn is_waking(&self) -> bool {
        let Some(before) = self.situation.before else {
            return false;
        };
        let slept = before
            .conditions
            .iter()
            .any(|one| one.type_ == "Hibernated")
            || before.operations.iter().any(|one| one.name == "Wake");
        let whole = self.missing().is_empty() && self.situation.masters.is_ok();
        slept && !whole && self.situation.spec.power == Power::Running
    }

    fn phase(&self) -> &'static str {
        let spec = self.situation.spec;
        let pods = self.situation.seen.pods.len();
        let surplus = !self.surplus.is_empty();
        let is_made = self
            .revision()
            .is_some_and(|revision| !revision.current.is_empty());
        if matches!(self.ending, Some((reason, _)) if reason != "Protected") {
            "Deleting"
        } else if self
            .refused
            .is_some_and(|refused| refused.instead.is_none())
        {
            "Invalid"
        } else if spec.paused {
            "Paused"
        } else if spec.power == Power::Hibernated {
            if pods == 0 {
                "Hibernated"
            } else {
                "Hibernating"
            }
        } else if !is_made || self.is_waking() {
            "Creating"
        } else if self
            .update
            .is_some_and(|(_, step)| step.under_way.is_some())
        {
            "Updating"
        } else if surplus {
            "ScalingIn"
        } else if self.is_scaling_out() {
            "ScalingOut"
        } else if !volumes::growing(&self.situation.seen.claims).is_empty() {
            "Resizing"
        } else if !self.missing().is_empty()
            || self.situation.masters.is_err()
            || self.unavailable() > 0
        {
            "Degraded"
        } else {
            "Running"
        }
    }

    /// A worker is on its way that never served.
    fn is_scaling_out(&self) -> bool {
        self.workers()
            .iter()
            .any(|worker| worker.state == "Joining")
    }
}

fn parts(version: &str) -> Vec<u64> {
    let numbers = version.split(['.', '-', '+']);
    numbers.map_while(|part| part.parse().ok()).collect()
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn count(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// The status that follows from the facts.
pub(super) fn status(facts: &Facts<'_>) -> VectorClusterStatus {
    let situation = facts.situation;
    let subject = situation.subject;
    let host = subject.dns(&subject.of(Role::Gateway));
    let etcd = facts.role_status(Role::Etcd);
    let known = situation.before.map(|status| status.certificates.clone());
    let operator = env!("CARGO_PKG_VERSION").to_owned();
    let operator_before = situation
        .before
        .and_then(|status| status.operator_version.clone());
    VectorClusterStatus {
        observed_generation: Some(situation.generation),
        phase: Some(facts.phase().to_owned()),
        version: Some(facts.version()),
        operator_version: if facts.errors.is_empty() {
            Some(operator)
        } else {
            operator_before
        },
        conditions: conditions::conditions(facts),
        gateway: Some(facts.role_status(Role::Gateway)),
        master: Some(facts.role_status(Role::Master)),
        worker: Some(facts.role_status(Role::Worker)),
        etcd: Some(EtcdStatus {
            members: etcd.replicas,
            ready_members: etcd.ready_replicas,
            summary: match &situation.spec.etcd.external {
                Some(_) => "external".to_owned(),
                None => etcd.summary,
            },
            ..EtcdStatus::default()
        }),
        leader: situation.leader().map(ToOwned::to_owned),
        shards: facts.shards(),
        workers: facts.workers(),
        next_worker_ordinal: Some(number(facts.next_worker_ordinal)),
        worker_ordinals: Some(facts.joined()).filter(|all| !all.is_empty()),
        operations: operations::operations(facts),
        endpoints: Some(Endpoints {
            grpc: String::new(),
            http: format!("https://{host}:{HTTP_PORT}"),
        }),
        certificates: match facts.certificates {
            Some(ends) => ends.iter().cloned().collect(),
            None => known.unwrap_or_default(),
        },
        last_errors: last_errors(facts),
        revision: facts.revision(),
        ..VectorClusterStatus::default()
    }
}

fn last_errors(facts: &Facts<'_>) -> Vec<LastError> {
    let situation = facts.situation;
    let before = situation.before.map(|status| status.last_errors.clone());
    let is_met = |error: &LastError| {
        let mut met = facts.errors.iter();
        met.any(|(code, message)| error.code == *code && error.message == *message)
    };
    let mut errors = before.unwrap_or_default();
    errors.retain(|error| {
        let age = situation.now.as_second() - error.time.0.as_second();
        is_met(error) || age < ERROR_SHOWN
    });
    for (code, message) in facts.errors {
        // The same error again changes nothing: a status that ticks wakes everybody.
        let known = errors
            .iter()
            .any(|error| error.code == *code && error.message == *message);
        if known {
            continue;
        }
        if errors.len() >= LAST_ERRORS_MAX {
            // One that is still met is not put out by another.
            let Some(over) = errors.iter().rposition(|error| !is_met(error)) else {
                break;
            };
            errors.remove(over);
        }
        let met = LastError {
            code: code.clone(),
            message: message.clone(),
            time: Time(situation.now),
            count: 1,
        };
        errors.insert(0, met);
    }
    errors
}

#[cfg(test)]
mod tests;
