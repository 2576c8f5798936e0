//! What a round does to the objects of a cluster, step by step.
//!
//! Each step runs by itself: one that fails is kept and stops no other. Volumes come first, since a full
//! one may be why nothing else gets ready.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Error;
use super::accessories;
use super::autoscaling;
use super::cluster_api::{ClusterApi, Fate};
use super::etcd;
use super::events::{Told, told};
use super::masters::Masters;
use super::names::{FAILED, RETIRED, REVISION, REVISION_ROLE, ROLE, claim_of};
use super::observe::{PodSeen, Seen};
use super::render::{self, Render, Workers};
use super::revisions::{Kept, Templates, outdated};
use super::situation::{InForce, Situation, Surplus, templates};
use super::updates;
use crate::crd::v1alpha1::{Power, ScaledDownVolumes};
use crate::entropy::Entropy;
use crate::fault::{Fault, chain};
use crate::topology::{Component, Role};

/// What the steps of a round did, and what stood in their way.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Code and message of each step that failed.
    pub(super) errors: Vec<(String, String)>,
    /// The same codes, to be counted.
    pub(super) codes: Vec<&'static str>,
    /// What is worth an event.
    pub(super) told: Vec<Told>,
    /// Workers that are wanted again and still marked to go.
    pub(super) marked: Vec<String>,
    /// What is under way with the members of etcd.
    pub(super) etcd: Option<etcd::Work>,
}

impl Outcome {
    /// Something is not as it should be, though no step failed.
    pub(super) fn tell(&mut self, code: &'static str, message: String) {
        self.codes.push(code);
        self.errors.push((code.to_owned(), message));
    }

    /// What a step gave, or its error is kept.
    pub(super) fn keep<T>(&mut self, step: &'static str, done: Result<T, Error>) -> Option<T> {
        match done {
            Ok(value) => Some(value),
            Err(error) => {
                let (code, error) = (error.code(), chain(&error));
                tracing::warn!(step, code, error, "a step failed");
                self.codes.push(code);
                self.errors
                    .push((code.to_owned(), format!("{step}: {error}")));
                None
            },
        }
    }
}

/// The parts of one round.
pub(super) struct Act<'a> {
    pub(super) api: &'a ClusterApi,
    pub(super) render: &'a Render<'a>,
    pub(super) situation: &'a Situation<'a>,
    pub(super) in_force: &'a InForce<'a>,
    pub(super) step: &'a updates::Step,
    pub(super) masters: Option<&'a Masters>,
    pub(super) entropy: &'a Arc<Entropy>,
}

impl Act<'_> {
    /// Every step, in the order of what needs what; the workers that have no place any more.
    pub(super) async fn run(&self, outcome: &mut Outcome) -> Vec<Surplus> {
        self.grow_volumes(outcome).await;
        for service in self.render.services() {
            outcome.keep("services", self.api.apply(&service).await);
        }
        let wanted = self.render.accessories(self.workers_for_budget());
        for (step, done) in accessories::settle(self.api, &wanted).await {
            outcome.keep(step, done);
        }
        let etcd = self.etcd().await;
        outcome.etcd = outcome.keep("etcd", etcd).flatten();
        outcome.keep("masters", self.masters().await);
        let surplus = self.look_at_surplus(outcome).await;
        self.workers(&surplus, outcome).await;
        outcome.keep("gateways", self.gateways().await);
        self.replace(outcome).await;
        if let Some(why) = &self.step.failed {
            outcome.keep("rollback", self.give_up(why).await);
        }
        outcome.keep("revisions", self.forget_revisions().await);
        surplus
    }

    pub(super) fn seen(&self) -> &Seen {
        self.situation.seen
    }

    pub(super) fn templates(&self, role: Role) -> &Templates {
        templates(self.step, self.in_force, role)
    }

    fn replicas(&self, role: Role) -> u32 {
        self.situation.replicas(role)
    }

    /// How the workers are, those without a place too; of masters that do not answer nothing is known.
    fn workers_for_budget(&self) -> Workers {
        let situation = self.situation;
        let surplus = u32::try_from(situation.surplus().len()).unwrap_or(u32::MAX);
        Workers {
            count: situation.wanted(Role::Worker).saturating_add(surplus),
            all_served: situation.masters.is_ok() && situation.troubled().is_empty(),
        }
    }

    async fn grow_volumes(&self, outcome: &mut Outcome) {
        for growth in self.situation.growths() {
            let change =
                json!({"spec": {"resources": {"requests": {"storage": growth.size.clone()}}}});
            let grown = self
                .api
                .merge::<PersistentVolumeClaim>(&growth.claim, &change);
            if outcome.keep("volumes", grown.await).is_some() {
                let note = format!("{} grows to {}", growth.claim, growth.size);
                outcome.told.push(told("VolumeResizeStarted", note));
            }
        }
    }

    async fn masters(&self) -> Result<(), Error> {
        let Some(template) = self.templates(Role::Master).of(Role::Master) else {
            return Ok(());
        };
        let masters = render::master(self.render, self.replicas(Role::Master), &template);
        self.api.apply(&masters).await
    }

    async fn gateways(&self) -> Result<(), Error> {
        let Some(template) = self.templates(Role::Gateway).of(Role::Gateway) else {
            return Ok(());
        };
        let planned = self.replicas(Role::Gateway);
        let replicas = autoscaling::replicas(self.api, self.situation.spec, planned).await?;
        let gateways = render::gateway(self.render, replicas, &template);
        self.api.apply(&gateways).await
    }

    /// Has the workers without a place take no new shards, and those that got one back take them again.
    async fn look_at_surplus(&self, outcome: &mut Outcome) -> Vec<Surplus> {
        for name in self.situation.reprieved() {
            let taken_back = match self.masters {
                Some(masters) => outcome.keep("drain", masters.drain(name, true).await),
                None => None,
            };
            if taken_back.is_none() {
                outcome.marked.push(name.to_owned());
            }
        }
        let mut surplus = Vec::new();
        for worker in self.situation.surplus() {
            let held = match self.masters {
                Some(masters) => {
                    let asked = masters.drain(&worker.name, false).await;
                    asked.map_err(|error| chain(&error))
                },
                None => Err("no master can be asked".to_owned()),
            };
            surplus.push(Surplus { worker, held });
        }
        surplus
    }

    async fn workers(&self, surplus: &[Surplus], outcome: &mut Outcome) {
        if self.situation.spec.power == Power::Hibernated {
            self.end_workers(outcome).await;
            return;
        }
        let planned = self.situation.plan.components.iter();
        let planned = planned.filter(|one| one.role == Role::Worker);
        // Who still holds shards serves them, place or not.
        let holding = surplus.iter().filter(|one| !one.is_empty());
        for worker in planned.chain(holding.map(|one| &one.worker)) {
            outcome.keep("workers", self.worker(worker).await);
        }
        for gone in surplus.iter().filter(|one| one.is_empty()) {
            let removed = self.remove(&gone.worker).await;
            outcome.keep("scale in", removed);
        }
    }

    /// Its volume before its pod; a pod that has ended makes room for the next.
    async fn worker(&self, worker: &Component) -> Result<(), Error> {
        if self.situation.has_lost_its_volume(worker) {
            return Err(Error::VolumeLost(worker.name.clone()));
        }
        let mut claims = self.seen().worker_claims();
        if !claims.any(|claim| claim.ordinal == worker.ordinal) {
            let name = claim_of(&worker.name);
            self.api
                .make_claim(&name, &self.render.claim(worker))
                .await?;
        }
        let Some(template) = self.templates(Role::Worker).of(Role::Worker) else {
            return Ok(());
        };
        match self.pod_of(worker) {
            Some(pod) if pod.over => self.delete_pod(pod).await,
            // What a pod is cannot change; an update replaces it.
            Some(_) => Ok(()),
            None => {
                let pod = render::worker(self.render, worker, &template);
                self.api.apply(&pod).await
            },
        }
    }

    fn pod_of(&self, worker: &Component) -> Option<&PodSeen> {
        let mut pods = self.seen().of(Role::Worker);
        pods.find(|pod| pod.ordinal == worker.ordinal)
    }

    async fn delete_pod(&self, pod: &PodSeen) -> Result<(), Error> {
        self.api
            .delete::<Pod>(&pod.name, &pod.uid, Fate::Whole)
            .await
    }

    /// A worker that holds nothing: its pod goes, then its volume as the manifest says.
    async fn remove(&self, worker: &Component) -> Result<(), Error> {
        if let Some(pod) = self.pod_of(worker) {
            return self.delete_pod(pod).await;
        }
        let mut claims = self.seen().worker_claims();
        let Some(claim) = claims.find(|claim| claim.ordinal == worker.ordinal) else {
            return Ok(());
        };
        match self.situation.spec.worker.scaled_down_volumes {
            ScaledDownVolumes::Delete => {
                self.api
                    .delete::<PersistentVolumeClaim>(&claim.name, &claim.uid, Fate::Whole)
                    .await
            },
            ScaledDownVolumes::Retain => {
                let change = json!({"metadata": {
                    "uid": claim.uid, "labels": {RETIRED: self.situation.generation.to_string()},
                }});
                self.api
                    .merge::<PersistentVolumeClaim>(&claim.name, &change)
                    .await
            },
        }
    }

    /// On the way to sleep: workers end when no gateway asks them any more.
    async fn end_workers(&self, outcome: &mut Outcome) {
        if self.seen().of(Role::Gateway).next().is_some() {
            return;
        }
        for pod in self.seen().of(Role::Worker).filter(|pod| !pod.leaving) {
            outcome.keep("workers", self.delete_pod(pod).await);
        }
    }

    /// The pods whose turn it is, and those that have ended.
    async fn replace(&self, outcome: &mut Outcome) {
        if let (Some(leader), Some(masters)) = (&self.step.hand_over, self.masters) {
            outcome.keep("hand-over", masters.hand_over(leader).await);
        }
        for name in &self.step.replace {
            let Some(pod) = self.seen().pods.iter().find(|pod| pod.name == *name) else {
                continue;
            };
            if outcome.keep("update", self.delete_pod(pod).await).is_some() {
                let to = &self.in_force.target.hash;
                outcome.told.push(told(
                    "PodReplaced",
                    format!("{name} is replaced by one of revision {to}"),
                ));
            }
        }
    }

    fn revision_name(&self, hash: &str) -> String {
        revision_name(&self.api.subject.name, hash)
    }

    /// Remembers that the target does not work, so that no round goes back to it.
    async fn give_up(&self, why: &str) -> Result<(), Error> {
        let target = self.in_force.target;
        let current = self.in_force.current;
        let can_go_back = current.is_some_and(|current| current.hash != target.hash)
            && self.situation.spec.updates.rollback_on_failure
            && self.in_force.given_up.is_none();
        if !can_go_back {
            return Ok(());
        }
        let change = json!({"metadata": {"uid": target.uid, "annotations": {FAILED: why}}});
        let name = self.revision_name(&target.hash);
        self.api.merge::<ControllerRevision>(&name, &change).await
    }

    async fn forget_revisions(&self) -> Result<(), Error> {
        let given_up = self.in_force.given_up.map(|kept| kept.hash.as_str());
        let current = self.in_force.current.map(|kept| kept.hash.as_str());
        let before = self
            .situation
            .before
            .and_then(|status| status.revision.as_ref());
        let previous = before.and_then(|revision| revision.previous.as_deref());
        let needed: Vec<&str> = [given_up, current, previous]
            .into_iter()
            .flatten()
            .chain([self.in_force.target.hash.as_str()])
            .collect();
        for kept in outdated(&self.seen().revisions, &needed) {
            let name = self.revision_name(&kept.hash);
            self.api
                .delete::<ControllerRevision>(&name, &kept.uid, Fate::Whole)
                .await?;
        }
        Ok(())
    }
}

fn revision_name(cluster: &str, hash: &str) -> String {
    format!("{cluster}-{hash}")
}

/// Keeps a revision, before anything is made from it.
pub(super) async fn keep_revision(
    api: &ClusterApi,
    owner: &Value,
    number: i64,
    held: &Templates,
) -> Result<Kept, Error> {
    let hash = held.hash();
    let mut labels = api.subject.labels();
    labels.insert(REVISION.to_owned(), hash.clone());
    labels.insert(ROLE.to_owned(), REVISION_ROLE.to_owned());
    let object = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": revision_name(&api.subject.name, &hash), "namespace": api.subject.namespace,
            "labels": labels, "ownerReferences": [owner],
        },
        "revision": number, "data": held,
    });
    api.apply(&object).await?;
    Ok(Kept {
        hash,
        number,
        uid: String::new(),
        failed: None,
        held: held.clone(),
    })
}

/// Ends every process of a cluster that is deleted, so that nobody writes to its volumes any more.
pub(super) async fn stop_processes(api: &ClusterApi, seen: &Seen) -> Result<(), Error> {
    if let Some(etcd) = &seen.etcd {
        let uid = etcd.uid().unwrap_or_default();
        api.delete::<StatefulSet>(&etcd.name_any(), &uid, Fate::Whole)
            .await?;
    }
    let masters = api.subject.of(Role::Master);
    if let Some(masters) = api.stateful_set(&masters).await? {
        let uid = masters.uid().unwrap_or_default();
        api.delete::<StatefulSet>(&masters.name_any(), &uid, Fate::Whole)
            .await?;
    }
    let gateways = api.subject.of(Role::Gateway);
    if let Some(uid) = api.uid_of::<Deployment>(&gateways).await? {
        api.delete::<Deployment>(&gateways, &uid, Fate::Whole)
            .await?;
    }
    for pod in seen.of(Role::Worker).filter(|pod| !pod.leaving) {
        api.delete::<Pod>(&pod.name, &pod.uid, Fate::Whole).await?;
    }
    Ok(())
}
