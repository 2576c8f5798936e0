//! The etcd that is run for a cluster: its StatefulSet, what its members are started with, and its
//! members themselves, brought to those that the manifest asks for (`src/operator/members.rs`).
//!
//! A member reads whom it joins from a ConfigMap, once, when it starts on an empty volume. That names
//! members only while a cluster is made, or while a new one is awaited; else it names nobody, and a
//! member on an empty volume ends. So no etcd is made anew because a volume was lost, and no member
//! comes back as who it was without what it had promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use serde_json::Value;

use super::Error;
use super::act::Act;
use super::cluster_api::Fate;
use super::credentials::Maker;
use super::members::{Scene, Step, emptied, read_volumes, write_volumes};
use super::names::{ADOPT, VOLUMES, claim_of};
use super::render::{self, ETCD_PORT, StartValues};
use crate::coordination::{self, ClusterMember, Etcd};
use crate::crd::v1alpha1::{ManagedEtcd, Power};
use crate::fault::{Fault, Kind, chain};
use crate::topology::{Role, is_smaller};

/// What is under way with the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Work {
    /// What is done, or waited for.
    pub(super) message: String,
    /// Whether it waits for members to be ready.
    pub(super) waits: bool,
    /// Members with a vote.
    pub(super) voting: usize,
    /// How many there should be.
    pub(super) wanted: u32,
}

/// What a round knows of the members when it is done with them.
struct Membership {
    /// What new members are told; none: as before.
    start: Option<StartValues>,
    /// How many pods there should be.
    runs: u32,
    work: Option<Work>,
}

impl Act<'_> {
    /// The set and its members; what is under way with them.
    pub(super) async fn etcd(&self) -> Result<Option<Work>, Error> {
        let (templates, render) = (self.templates(Role::Etcd), self.render);
        let (Some(template), Some(managed)) =
            (templates.of(Role::Etcd), render.spec.etcd.managed.as_ref())
        else {
            return Ok(None);
        };
        let Membership { start, runs, work } = self.membership(managed).await?;
        if let Some(start) = start {
            self.api.apply(&render.etcd_start(&start)).await?;
        }
        let replicas = self.situation.replicas(Role::Etcd);
        let Some(wanted) = render.etcd((replicas, runs), &template) else {
            return Ok(None);
        };
        let name = render.subject.of(Role::Etcd);
        match &self.seen().etcd {
            None => {
                for member in 0..runs {
                    self.api
                        .is_ours(&claim_of(&format!("{name}-{member}")))
                        .await?;
                }
            },
            // What its volumes are made from cannot change: it is made anew around its pods.
            Some(there) if claims_are_smaller(there, &wanted) => {
                let uid = there.uid().unwrap_or_default();
                // It is applied again when this one is gone.
                self.api
                    .delete::<StatefulSet>(&name, &uid, Fate::LeavingPods)
                    .await?;
                return Ok(work);
            },
            Some(_) => {},
        }
        self.api.apply(&wanted).await?;
        Ok(work)
    }

    /// Asks etcd for its members, and goes one step.
    async fn membership(&self, managed: &ManagedEtcd) -> Result<Membership, Error> {
        let set = self.render.subject.of(Role::Etcd);
        let runs = self.situation.members;
        let wanted = u32::try_from(managed.replicas).unwrap_or(0);
        let kept = self.api.config_map(&set).await?;
        let ready: Vec<u32> = self
            .seen()
            .of(Role::Etcd)
            .filter(|pod| pod.ready)
            .map(|pod| pod.ordinal)
            .collect();
        let annotated = kept.as_ref().and_then(|one| one.annotations().get(VOLUMES));
        let known = read_volumes(annotated.map_or("", String::as_str));
        let claims = self.member_claims();
        let asked = if self.situation.spec.power == Power::Running && !ready.is_empty() {
            self.listed().await.map_err(|error| Some(silence(&error)))
        } else {
            Err(None)
        };
        let (etcd, listed) = match asked {
            Ok(answered) => answered,
            Err(why) => {
                let emptied = emptied(&ready, &claims, &known);
                return Ok(self.unanswered(kept.as_ref(), wanted, (why, &emptied)));
            },
        };
        let scene = Scene {
            set: &set,
            listed: &listed,
            wanted,
            runs,
            ready: &ready,
            claims: &claims,
            known: &known,
        };
        self.step(&etcd, &scene).await
    }

    /// Nothing is known of the members. Those of a cluster that never was are told to make it; of one
    /// that has volumes, or was ready once, nobody is.
    fn unanswered(
        &self,
        kept: Option<&ConfigMap>,
        wanted: u32,
        (why, emptied): (Option<String>, &[u32]),
    ) -> Membership {
        let situation = self.situation;
        let runs = situation.members;
        let revision = situation.before.and_then(|status| status.revision.as_ref());
        let was_made = revision.is_some_and(|revision| !revision.current.is_empty());
        let adopts = situation.annotations.contains_key(ADOPT);
        let is_new = !was_made && !adopts && self.member_claims().is_empty();
        let start = StartValues {
            ordinals: if is_new {
                (0..runs).collect()
            } else {
                Vec::new()
            },
            is_new,
            volumes: String::new(),
        };
        // What it is made with stays until it was made: nobody makes another afterwards.
        let is_due = kept.is_none_or(|kept| was_made && render::makes_etcd(kept));
        let ready = situation.seen.ready(Role::Etcd);
        let message = match (emptied.first(), why) {
            (Some(ordinal), _) => {
                let set = self.render.subject.of(Role::Etcd);
                Some(format!(
                    "{set}-{ordinal} has another volume than it had, and etcd does not answer"
                ))
            },
            (None, Some(why)) if ready > runs / 2 => Some(why),
            (None, _) if wanted > runs => {
                Some(format!("when etcd answers it gets {wanted} members"))
            },
            (None, _) => None,
        };
        Membership {
            start: is_due.then_some(start),
            runs,
            work: message.map(|message| Work {
                message,
                waits: true,
                voting: 0,
                wanted: wanted.max(runs),
            }),
        }
    }

    /// The volumes that members have now.
    fn member_claims(&self) -> BTreeMap<u32, String> {
        let claims = self.seen().claims.iter();
        let claims = claims.filter(|claim| claim.role == Role::Etcd && !claim.leaving);
        claims
            .map(|claim| (claim.ordinal, claim.uid.clone()))
            .collect()
    }

    /// Goes one step, and looks again.
    async fn step(&self, etcd: &Etcd, scene: &Scene<'_>) -> Result<Membership, Error> {
        let step = scene.step();
        let said = self.go(etcd, &step).await?;
        let listed = match step {
            Step::Rest | Step::Wait(_) => scene.listed.to_vec(),
            Step::Add(_) | Step::Promote(..) | Step::Remove(..) => etcd.members().await?,
        };
        let mut known = scene.known.clone();
        if let Step::Remove(_, ordinal) = step {
            known.remove(&ordinal);
        }
        let after = Scene {
            listed: &listed,
            known: &known,
            ..*scene
        };
        Ok(Membership {
            start: Some(StartValues {
                ordinals: after.joined(),
                is_new: false,
                volumes: write_volumes(&after.volumes()),
            }),
            runs: after.runs(),
            work: said.map(|message| Work {
                message,
                waits: matches!(step, Step::Wait(_)),
                voting: voting(&listed),
                wanted: scene.wanted.max(after.runs()),
            }),
        })
    }

    /// Etcd, and the members that it lists. It is asked where its pods are, so that no name is looked up:
    /// a name server that answers slowly would hold up the rounds of all clusters.
    async fn listed(&self) -> Result<(Etcd, Vec<ClusterMember>), Error> {
        let subject = self.render.subject;
        let credentials = Maker::own(self.api).await?;
        let ready = self.seen().of(Role::Etcd).filter(|pod| pod.ready);
        let addresses = ready.filter_map(|pod| pod.at(ETCD_PORT));
        let mut endpoints: Vec<String> = addresses.map(|at| format!("https://{at}")).collect();
        // Not the same first each time: one that answers wrongly holds up one round, and not all.
        endpoints.sort_by_cached_key(|_endpoint| self.entropy.uuid());
        let name = subject.dns(&subject.of(Role::Etcd));
        let entropy = Arc::clone(self.entropy);
        let etcd = Etcd::connect_as(&endpoints, &name, &credentials, entropy).await?;
        let listed = etcd.members().await?;
        Ok((etcd, listed))
    }

    /// Carries a step out; what is said of it.
    async fn go(&self, etcd: &Etcd, step: &Step) -> Result<Option<String>, Error> {
        let subject = self.render.subject;
        let name = |ordinal: &u32| format!("{}-{ordinal}", subject.of(Role::Etcd));
        let said = match step {
            Step::Rest => return Ok(None),
            Step::Wait(why) => why.clone(),
            Step::Add(ordinal) => {
                self.api.is_ours(&claim_of(&name(ordinal))).await?;
                etcd.add_learner(&self.render.etcd_peer(*ordinal)).await?;
                self.start_again(*ordinal).await?;
                format!("{} is added and catches up", name(ordinal))
            },
            Step::Promote(id, ordinal) => match etcd.promote(*id).await {
                Ok(()) => format!("{} has its vote", name(ordinal)),
                Err(coordination::Error::Refused { .. }) => {
                    format!("{} catches up", name(ordinal))
                },
                Err(error) => return Err(error.into()),
            },
            Step::Remove(id, ordinal) => {
                etcd.remove_member(*id).await?;
                let name = name(ordinal);
                tracing::warn!(
                    member = name,
                    "a member has lost its volume and is replaced"
                );
                format!("{name} has lost its volume and is replaced")
            },
        };
        Ok(Some(said))
    }

    /// Ends a pod that was started before it was a member, and waits longer and longer.
    async fn start_again(&self, ordinal: u32) -> Result<(), Error> {
        let mut pods = self.seen().of(Role::Etcd);
        let Some(pod) = pods.find(|pod| pod.ordinal == ordinal && !pod.ready) else {
            return Ok(());
        };
        self.api
            .delete::<Pod>(&pod.name, &pod.uid, Fate::Whole)
            .await
    }
}

fn voting(listed: &[ClusterMember]) -> usize {
    let voting = |one: &&ClusterMember| !one.learner && !one.name.is_empty();
    listed.iter().filter(voting).count()
}

/// Whether the volumes of a StatefulSet would be smaller than what is wanted.
fn claims_are_smaller(there: &StatefulSet, wanted: &Value) -> bool {
    let spec = there.spec.as_ref();
    let templates = spec.and_then(|spec| spec.volume_claim_templates.as_ref());
    let size = templates.and_then(|templates| {
        let claim = templates.first()?.spec.as_ref()?;
        claim.resources.as_ref()?.requests.as_ref()?.get("storage")
    });
    let wanted = wanted.pointer("/spec/volumeClaimTemplates/0/spec/resources/requests/storage");
    let wanted = wanted.and_then(Value::as_str);
    size.zip(wanted)
        .is_some_and(|(size, wanted)| is_smaller(&size.0, wanted))
}

/// What is said of an etcd that told nothing. Whether nobody was there or nobody answered in time changes
/// from look to look, and a status that says which would be written every time; the log says it.
fn silence(error: &impl Fault) -> String {
    let why = chain(error);
    if matches!(error.kind(), Kind::Unavailable | Kind::Timeout) {
        tracing::debug!(error = why, "etcd does not answer");
        return "etcd does not answer".to_owned();
    }
    format!("etcd does not answer: {why}")
}
