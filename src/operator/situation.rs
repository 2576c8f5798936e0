//! What a round knows, and what follows from it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use k8s_openapi::jiff::Timestamp;

use super::names::{APPROVE, NEW_VOLUME, RESTART, SKIP_GATES, Subject};
use super::observe::{PodSeen, Seen};
use super::ordinals::joined;
use super::revisions::{Kept, Restarts, Templates};
use super::updates::{self, Scene};
use super::volumes::{self, Fills, Growth};
use super::windows;
use crate::crd::v1alpha1::{Power, VectorClusterSpec, VectorClusterStatus};
use crate::rpc::proto;
use crate::topology::{Component, Plan, Role, Settings};

/// What a round knows of its cluster.
pub(super) struct Situation<'a> {
    pub(super) subject: &'a Subject,
    pub(super) spec: &'a VectorClusterSpec,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) generation: i64,
    pub(super) plan: &'a Plan,
    /// Members that etcd has, or is made with.
    pub(super) members: u32,
    pub(super) seen: &'a Seen,
    /// What the masters say, or why they do not.
    pub(super) masters: Result<&'a proto::GetClusterStateResponse, String>,
    pub(super) before: Option<&'a VectorClusterStatus>,
    pub(super) now: Timestamp,
    /// What [`Situation::fills`] found out.
    pub(super) fills: OnceLock<Fills>,
}

/// The revision that pods are brought to, and those around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct InForce<'a> {
    /// What pods are brought to.
    pub(super) target: &'a Kept,
    /// What all of them were brought to last; none while the cluster is made.
    pub(super) current: Option<&'a Kept>,
    /// An update that was given up: the target is what was before it.
    pub(super) given_up: Option<&'a Kept>,
}

/// A worker that the manifest has no place for any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Surplus {
    pub(super) worker: Component,
    /// What it still holds, or why that is not known. Empty: it can go.
    pub(super) held: Result<Vec<String>, String>,
}

impl Surplus {
    /// Whether it holds nothing and takes nothing more.
    pub(super) fn is_empty(&self) -> bool {
        self.held.as_ref().is_ok_and(Vec::is_empty)
    }
}

/// When pods were asked to be made anew, from the annotations of the cluster.
pub(super) fn restarts(annotations: &BTreeMap<String, String>) -> Restarts {
    let mut restarts = Restarts::new();
    for (name, time) in annotations {
        let Some(rest) = name.strip_prefix(RESTART) else {
            continue;
        };
        match rest.strip_prefix('-') {
            Some(role) => restarts.insert(role.to_owned(), time.clone()),
            None if rest.is_empty() => restarts.insert(String::new(), time.clone()),
            None => None,
        };
    }
    restarts
}

impl<'a> Situation<'a> {
    /// The revision in force when this one carries what is asked for.
    pub(super) fn in_force(&self, asked: &'a Kept) -> InForce<'a> {
        let hash = self.before.and_then(|status| status.revision.as_ref());
        let hash = hash.map(|revision| revision.current.as_str());
        let current = hash.and_then(|hash| self.seen.revision(hash));
        match current {
            Some(current)
                if asked.failed.is_some()
                    && self.spec.updates.rollback_on_failure
                    && current.hash != asked.hash =>
            {
                InForce {
                    target: current,
                    current: Some(current),
                    given_up: Some(asked),
                }
            },
            current => InForce {
                target: asked,
                current,
                given_up: None,
            },
        }
    }

    /// How many pods of a role there should be, as far as updates go.
    pub(super) fn wanted(&self, role: Role) -> u32 {
        // Members come one at a time.
        if role == Role::Etcd {
            return self.members;
        }
        let planned = self.plan.components.iter().filter(|one| one.role == role);
        u32::try_from(planned.count()).unwrap_or(u32::MAX)
    }

    /// The master that leads, as the masters say.
    pub(super) fn leader(&self) -> Option<&str> {
        let state = self.masters.as_ref().ok()?;
        (!state.leader.is_empty()).then_some(state.leader.as_str())
    }

    fn shards(&self) -> impl Iterator<Item = &'a proto::ShardState> {
        let collections = self
            .masters
            .as_ref()
            .map_or(&[][..], |state| &state.collections);
        collections.iter().flat_map(|collection| &collection.shards)
    }

    /// Workers with a shard that is not served.
    pub(super) fn troubled(&self) -> BTreeSet<String> {
        let troubled = self.shards().filter(|shard| !is_served(shard));
        troubled.map(|shard| shard.worker.clone()).collect()
    }

    /// How full the workers' volumes are, as the masters say; of a worker that says nothing what it said
    /// last, for it may have died of that. Found out once.
    pub(super) fn fills(&self) -> &Fills {
        let before = self.before.map_or(&[][..], |status| &status.workers);
        let state = self.masters.as_ref().ok().copied();
        let find = || volumes::fills(&self.seen.claims, state, before);
        self.fills.get_or_init(find)
    }

    /// The volumes that should be larger.
    pub(super) fn growths(&self) -> Vec<Growth> {
        volumes::growths(self.spec, &self.seen.claims, self.fills())
    }

    /// The next step of an update to the revision in force.
    pub(super) fn update(&self, in_force: &InForce<'_>) -> updates::Step {
        let annotation = |name: &str| self.annotations.get(name).map(String::as_str);
        let approved = annotation(APPROVE).and_then(|text| text.parse().ok());
        let skipped = annotation(SKIP_GATES).unwrap_or_default().split(',');
        let skipped = skipped.map(|name| name.trim().to_owned()).collect();
        let leader = self.leader();
        updates::step(&Scene {
            pods: &self.seen.pods,
            wanted: &|role| self.wanted(role),
            target: &in_force.target.held,
            current: in_force.current.map(|kept| &kept.held),
            updates: &self.spec.updates,
            approved: approved == Some(self.generation),
            closed_window: windows::closed(&self.spec.updates.windows, self.now),
            skipped: &skipped,
            leader,
            troubled: &self.troubled(),
            now: self.now,
        })
    }

    /// How many pods of a role its controller should run now. To sleep, gateways end first and etcd last,
    /// each when those that need it are gone.
    pub(super) fn replicas(&self, role: Role) -> u32 {
        if self.spec.power == Power::Running {
            return self.wanted(role);
        }
        let there = |role: Role| self.seen.of(role).next().is_some();
        let masters = u32::try_from(self.spec.master.replicas).unwrap_or(0);
        match role {
            Role::Gateway | Role::Worker => 0,
            Role::Master if there(Role::Gateway) || there(Role::Worker) => masters,
            Role::Etcd if there(Role::Gateway) || there(Role::Worker) || there(Role::Master) => {
                self.members
            },
            Role::Master | Role::Etcd => 0,
        }
    }

    /// The workers that the manifest has no place for, the latest first. None while the cluster sleeps.
    pub(super) fn surplus(&self) -> Vec<Component> {
        if self.spec.power == Power::Hibernated {
            return Vec::new();
        }
        let planned = |ordinal: u32| {
            let mut workers = self.plan.components.iter();
            workers.any(|one| one.role == Role::Worker && one.ordinal == ordinal)
        };
        let pods = self.seen.of(Role::Worker).map(|pod: &PodSeen| pod.ordinal);
        let claims = self.seen.worker_claims().map(|claim| claim.ordinal);
        let all: BTreeSet<u32> = pods.chain(claims).chain(joined(self.before)).collect();
        let beyond = all.into_iter().rev().filter(|ordinal| !planned(*ordinal));
        beyond
            .map(|ordinal| Component {
                role: Role::Worker,
                name: format!("{}-{}-{ordinal}", self.subject.name, Role::Worker),
                ordinal,
                settings: Settings::Worker,
            })
            .collect()
    }

    /// Whether a worker had a volume that is gone, and nobody has said that it may begin with an empty one.
    pub(super) fn has_lost_its_volume(&self, worker: &Component) -> bool {
        let next = self.before.and_then(|status| status.next_worker_ordinal);
        let was_there = i64::from(worker.ordinal) < i64::from(next.unwrap_or(0));
        let mut claims = self.seen.worker_claims();
        let is_there = claims.any(|claim| claim.ordinal == worker.ordinal);
        let allowed = self.annotations.get(NEW_VOLUME).map_or("", String::as_str);
        let is_allowed = allowed.split(',').any(|name| name.trim() == worker.name);
        was_there && !is_there && !is_allowed
    }

    /// Workers that were to go and are wanted again.
    pub(super) fn reprieved(&self) -> Vec<&str> {
        let before = self.before.map_or(&[][..], |status| &status.workers);
        let leaving = before
            .iter()
            .filter(|worker| matches!(&*worker.state, "Draining" | "Drained"));
        leaving
            .map(|worker| worker.name.as_str())
            .filter(|name| self.plan.components.iter().any(|one| one.name == *name))
            .collect()
    }
}

/// Whether a shard is answered for. One that is opening answers when it is asked first.
pub(super) fn is_served(shard: &proto::ShardState) -> bool {
    let report = shard.report.as_ref();
    report.is_some_and(|report| matches!(&*report.state, "serving" | "closed" | "opening"))
}

/// The templates that the pods of a role are made from at this step.
pub(super) fn templates<'a>(
    step: &updates::Step,
    in_force: &InForce<'a>,
    role: Role,
) -> &'a Templates {
    match in_force.current {
        Some(current) if !step.on_target.contains(&role) => &current.held,
        _ => &in_force.target.held,
    }
}
