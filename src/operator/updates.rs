//! How pods are brought to a new revision, step by step. Pure.
//!
//! Roles come one after the other: etcd, masters, workers, gateways. Within one, a pod is replaced only
//! when the one before is back; the leader master comes last, after it gave the lead away. Gateways are
//! replaced by their Deployment, which has another ready before one ends.
//!
//! Between a person's change and each pod stand gates. What a gate waits for is the operation's
//! `blockedBy` and message. A pod that is broken already passes every gate, and one that is not ready
//! those that guard what serves: it serves nobody, and it may be what the gate waits for. Each gate can be switched off by its name with the annotation
//! `vectorsphere.io/skip-gates`. None of this touches a volume: a worker comes back on its own.

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

use super::observe::PodSeen;
use super::revisions::{ORDER, Templates};
use crate::crd::v1alpha1::{UpdateType, Updates};
use crate::topology::Role;

/// What has to hold before a pod is replaced that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// The update was approved, where that is asked for.
    Approved,
    /// It is a time at which pods may change.
    InWindow,
    /// The operator replaces pods at all.
    Automatic,
    /// Pods that were replaced are ready again, but as many as may be down.
    PreviousPodServing,
    /// No more pods of the role are down than may be.
    MaxUnavailable,
    /// A majority of the members of etcd is ready without the next.
    EtcdQuorum,
    /// A master leads.
    LeaderStable,
    /// Every shard of the other workers is served.
    ShardsFullyReplicated,
}

impl Gate {
    /// Its name in the status and in annotations.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Approved => "Approved",
            Self::InWindow => "InWindow",
            Self::Automatic => "OnDelete",
            Self::PreviousPodServing => "PreviousPodServing",
            Self::MaxUnavailable => "MaxUnavailable",
            Self::EtcdQuorum => "EtcdQuorum",
            Self::LeaderStable => "LeaderStable",
            Self::ShardsFullyReplicated => "ShardsFullyReplicated",
        }
    }
}

/// What is known when the next step of an update is decided.
pub(super) struct Scene<'a> {
    pub(super) pods: &'a [PodSeen],
    /// How many pods of a role there should be.
    pub(super) wanted: &'a dyn Fn(Role) -> u32,
    /// What pods are brought to.
    pub(super) target: &'a Templates,
    /// What they were all brought to before; none while the cluster is made.
    pub(super) current: Option<&'a Templates>,
    pub(super) updates: &'a Updates,
    /// The annotation `approve` names this generation.
    pub(super) approved: bool,
    /// Why it is not the time to replace pods; none when it is.
    pub(super) closed_window: Option<String>,
    /// Names of gates that are switched off.
    pub(super) skipped: &'a BTreeSet<String>,
    /// The master that leads; none while none does or nobody says.
    pub(super) leader: Option<&'a str>,
    /// Workers, by name, with a shard that is not served.
    pub(super) troubled: &'a BTreeSet<String>,
    pub(super) now: Timestamp,
}

/// The next step of an update.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Step {
    /// Roles whose pods are made from the target now; those of the others still from what was before.
    pub(super) on_target: BTreeSet<Role>,
    /// Pods to replace now, by name.
    pub(super) replace: Vec<String>,
    /// The master that should give the lead away before it is replaced.
    pub(super) hand_over: Option<String>,
    /// What is under way; none when every pod is as it should be.
    pub(super) under_way: Option<UnderWay>,
    /// Every pod that there should be is of the target, and ready.
    pub(super) complete: bool,
    /// The target does not work: a pod of it was not ready in time.
    pub(super) failed: Option<String>,
}

/// An update that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct UnderWay {
    /// Pods of the target that are ready.
    pub(super) done: u32,
    /// Pods in all.
    pub(super) total: u32,
    pub(super) blocked_by: Option<Gate>,
    pub(super) message: String,
    pub(super) target: Option<String>,
}

impl Scene<'_> {
    fn of(&self, role: Role) -> impl Iterator<Item = &PodSeen> {
        self.pods.iter().filter(move |pod| pod.role == role)
    }

    fn is_on_target(&self, pod: &PodSeen) -> bool {
        pod.revision.as_deref() == Some(&*self.target.revision_of(pod.role))
    }

    fn stale(&self, role: Role) -> Vec<&PodSeen> {
        let mut stale: Vec<&PodSeen> = self
            .of(role)
            .filter(|pod| !self.is_on_target(pod))
            .collect();
        let leads = |pod: &PodSeen| self.leader == Some(pod.name());
        stale.sort_by_key(|pod| (leads(pod), pod.ordinal, pod.name().to_owned()));
        stale
    }

    fn done(&self, role: Role) -> u32 {
        let done = self
            .of(role)
            .filter(|pod| pod.ready && self.is_on_target(pod));
        u32::try_from(done.count()).unwrap_or(u32::MAX)
    }

    fn is_complete(&self, role: Role) -> bool {
        self.stale(role).is_empty() && self.done(role) >= (self.wanted)(role)
    }

    fn is_skipped(&self, gate: Gate) -> bool {
        self.skipped.contains(gate.name())
    }

    /// The first gate that holds the next pod of a role up, and why.
    fn closed(&self, role: Role, next: &PodSeen) -> Option<(Gate, String)> {
        let gates = [self.approval(), self.window(), self.previous(role)];
        // A pod that is not ready serves nobody, and may be what these would wait for.
        let serving = next.ready.then(|| {
            [
                self.unavailable(role, next),
                self.quorum(role, next),
                self.leadership(role),
                self.shards(role, next),
            ]
        });
        let serving = serving.into_iter().flatten();
        let mut closed = gates.into_iter().chain(serving).flatten();
        closed.find(|(gate, _)| !self.is_skipped(*gate))
    }

    fn approval(&self) -> Option<(Gate, String)> {
        match self.updates.type_ {
            UpdateType::Automatic | UpdateType::OnDelete => None,
            UpdateType::Supervised if self.approved => None,
            UpdateType::Supervised => Some((
                Gate::Approved,
                "the update waits for the annotation vectorsphere.io/approve with this generation"
                    .to_owned(),
            )),
        }
    }

    fn window(&self) -> Option<(Gate, String)> {
        let why = self.closed_window.clone()?;
        Some((Gate::InWindow, why))
    }

    fn previous(&self, role: Role) -> Option<(Gate, String)> {
        let new = self.of(role).filter(|pod| self.is_on_target(pod));
        // As many may be on their way as may be down.
        let mut waiting = new.filter(|pod| !pod.ready);
        let waiting = waiting.nth(self.allowed(role).saturating_sub(1))?;
        let trouble = waiting.trouble.as_deref().unwrap_or("it is starting");
        let why = format!("{} is not ready: {trouble}", waiting.name());
        Some((Gate::PreviousPodServing, why))
    }

    /// How many pods of a role may be down.
    fn allowed(&self, role: Role) -> usize {
        let workers = usize::try_from(self.updates.max_unavailable).unwrap_or(1);
        if role == Role::Worker {
            workers.max(1)
        } else {
            1
        }
    }

    fn unavailable(&self, role: Role, next: &PodSeen) -> Option<(Gate, String)> {
        let allowed = u32::try_from(self.allowed(role)).unwrap_or(1);
        let wanted = (self.wanted)(role);
        let ready = self
            .of(role)
            .filter(|pod| pod.ready && pod.name() != next.name());
        let ready = u32::try_from(ready.count()).unwrap_or(u32::MAX);
        (ready.saturating_add(allowed) < wanted).then(|| {
            let down = wanted.saturating_sub(ready).saturating_sub(1);
            let why = format!("{down} of {wanted} {role}s are not ready, {allowed} may be down");
            (Gate::MaxUnavailable, why)
        })
    }

    fn quorum(&self, role: Role, next: &PodSeen) -> Option<(Gate, String)> {
        let members = (self.wanted)(Role::Etcd);
        let without = self
            .of(Role::Etcd)
            .filter(|pod| pod.ready && (role != Role::Etcd || pod.name() != next.name()));
        let without = u32::try_from(without.count()).unwrap_or(u32::MAX);
        // One member alone has no quorum to keep while it restarts.
        let enough = without > members / 2 || members == 0 || (role == Role::Etcd && members == 1);
        (!enough).then(|| {
            let why = format!("{without} of {members} members of etcd would be ready");
            (Gate::EtcdQuorum, why)
        })
    }

    fn leadership(&self, role: Role) -> Option<(Gate, String)> {
        // The only master leads nobody while it is away, whenever that is.
        let alone = role == Role::Master && (self.wanted)(Role::Master) == 1;
        let waits = role != Role::Etcd && self.leader.is_none() && !alone;
        waits.then(|| (Gate::LeaderStable, "no master leads".to_owned()))
    }

    fn shards(&self, role: Role, next: &PodSeen) -> Option<(Gate, String)> {
        if role != Role::Worker {
            return None;
        }
        let mut others = self.troubled.iter().filter(|name| *name != next.name());
        let name = others.next()?;
        let why = format!("not every shard of {name} is served");
        Some((Gate::ShardsFullyReplicated, why))
    }

    /// A pod of the role's target that had its time.
    fn overdue(&self, role: Role) -> Option<String> {
        let limit = i64::from(self.updates.progress_deadline_seconds);
        let late = |pod: &&PodSeen| {
            let age = pod
                .unready_since
                .map(|since| self.now.as_second() - since.as_second());
            !pod.ready && self.is_on_target(pod) && age.is_some_and(|age| age > limit)
        };
        let pod = self.of(role).find(late)?;
        let trouble = pod.trouble.as_deref().unwrap_or("it never became ready");
        Some(format!("{} after {limit} s: {trouble}", pod.name()))
    }

    fn under_way(&self, message: String) -> UnderWay {
        UnderWay {
            done: ORDER.iter().map(|role| self.done(*role)).sum(),
            total: ORDER.iter().map(|role| (self.wanted)(*role)).sum(),
            blocked_by: None,
            message,
            target: None,
        }
    }
}

/// The next step towards the target.
pub(super) fn step(scene: &Scene<'_>) -> Step {
    let mut step = Step::default();
    if scene.current.is_none() {
        // It is being made: everything at once, and what waits for what starts again until it is there.
        step.on_target = ORDER.into_iter().collect();
    } else if scene.updates.type_ == UpdateType::OnDelete {
        return on_delete(scene);
    }
    for role in ORDER {
        step.on_target.insert(role);
        let same = scene
            .current
            .is_none_or(|current| current.revision_of(role) == scene.target.revision_of(role));
        // Where nothing of a role changes, what is not ready there is no matter of the update.
        let concerned = !same || !scene.stale(role).is_empty();
        if concerned && !scene.is_complete(role) {
            // A role whose template stays the same says nothing about the target.
            step.failed = if same { None } else { scene.overdue(role) };
            of_role(scene, role, &mut step);
            return step;
        }
    }
    step.complete = ORDER.iter().all(|role| scene.is_complete(*role));
    step
}

/// Whatever is deleted by a person comes back on the target. A Deployment knows no such way, so gateways
/// stay until the update is somebody's again.
fn on_delete(scene: &Scene<'_>) -> Step {
    let stale: usize = ORDER.iter().map(|role| scene.stale(*role).len()).sum();
    let under_way = (stale > 0).then(|| UnderWay {
        blocked_by: Some(Gate::Automatic),
        ..scene.under_way(format!(
            "{stale} pods are of an older revision; each is replaced when somebody deletes it"
        ))
    });
    let on_target = ORDER.into_iter().filter(|role| *role != Role::Gateway);
    Step {
        on_target: on_target.collect(),
        complete: ORDER.iter().all(|role| scene.is_complete(*role)),
        under_way,
        ..Step::default()
    }
}

/// Pods that serve nobody and are not of the target.
fn broken(scene: &Scene<'_>, roles: &[Role]) -> Vec<String> {
    let stale = roles
        .iter()
        .filter(|role| **role != Role::Gateway)
        .flat_map(|role| scene.stale(*role));
    stale
        .filter(|pod| pod.trouble.is_some() && !pod.ready && !pod.leaving)
        .map(|pod| pod.name().to_owned())
        .collect()
}

fn of_role(scene: &Scene<'_>, role: Role, step: &mut Step) {
    let wanted = (scene.wanted)(role);
    let done = scene.done(role);
    let mut under_way = scene.under_way(format!(
        "{done} of {wanted} {role}s are of the new revision"
    ));
    let stale = scene.stale(role);
    if role == Role::Gateway {
        // Its Deployment has the next ready before one ends; it is given the target or not.
        let mut gates = scene.approval().into_iter().chain(scene.window());
        if let Some((gate, why)) = gates.find(|(gate, _)| !scene.is_skipped(*gate)) {
            step.on_target.remove(&role);
            under_way.blocked_by = Some(gate);
            under_way.message = format!("{}; {why}", under_way.message);
        }
        step.under_way = Some(under_way);
        return;
    }
    step.replace = broken(scene, &[role]);
    let next = stale
        .into_iter()
        .find(|pod| !pod.leaving && (pod.ready || pod.trouble.is_none()));
    if let Some(next) = next {
        under_way.target = Some(next.name().to_owned());
        match scene.closed(role, next) {
            Some((gate, why)) => {
                under_way.message = format!("{}; next: {}: {why}", under_way.message, next.name());
                under_way.blocked_by = Some(gate);
                if matches!(gate, Gate::Approved | Gate::InWindow) {
                    // Nothing that dies meanwhile comes back as something nobody wants now.
                    step.on_target.remove(&role);
                }
            },
            None if !step.replace.is_empty() => {},
            None if role == Role::Master && wanted > 1 && scene.leader == Some(next.name()) => {
                under_way.message =
                    format!("{}; {} gives the lead away", under_way.message, next.name());
                step.hand_over = Some(next.name().to_owned());
            },
            None => step.replace.push(next.name().to_owned()),
        }
    } else if let Some((_, why)) = scene.previous(role) {
        under_way.message = format!("{}; {why}", under_way.message);
    }
    step.under_way = Some(under_way);
}

#[cfg(test)]
mod tests;
