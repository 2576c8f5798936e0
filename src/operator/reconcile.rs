//! One round for one cluster: look, plan, act, say.
//!
//! Everything is looked at and applied again in every round, so a round that was cut off is made again
//! from the start. What to do is decided in pure modules beside this one: which templates are in force
//! (`revisions`), which pod is next (`updates`), what becomes of volumes (`volumes`), what is said
//! (`status`, `events`).

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::events::Recorder;
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::accepted::{self, Judged};
use super::act::{self, Act, Outcome};
use super::cluster_api::{ClusterApi, within};
use super::credentials::Maker;
use super::events;
use super::external::{self, Answers, Asked};
use super::holding;
use super::instruments::Instruments;
use super::issuers::{self, Demand, Issuers};
use super::masters::Masters;
use super::names::{MANAGER, MEMBERS, ROTATE, ROTATE_AUTHORITY, Subject};
use super::observe::Seen;
use super::render::{Images, Render};
use super::revisions::{self, Choice, Kept, Restarts};
use super::situation::{self, InForce, Situation, Surplus};
use super::status::{self, Facts};
use super::updates;
use super::{LATER, SOON, WAITING};
use crate::crd::v1alpha1::{VectorCluster, VectorClusterSpec, VectorClusterStatus};
use crate::fault::chain;
use crate::topology::{Plan, Role, plan};

/// What a round is made with.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) images: Images,
    pub(super) maker: Maker,
    pub(super) recorder: Recorder,
    pub(super) instruments: Instruments,
    /// How long each cluster is left alone that waits for something, by its UID.
    pub(super) patience: Arc<Mutex<HashMap<String, Duration>>>,
    /// What each etcd of others said last.
    pub(super) answers: Answers,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// All is as it should be.
    AtRest,
    /// Something has changed, and more will.
    UnderWay,
    /// Nothing has changed, and something should.
    Waiting,
}

impl Context {
    /// When a cluster is looked at again: soon after a change, and less and less often while nothing comes
    /// of it. What happens to its objects is looked at in any case.
    pub(super) fn pause(&self, uid: &str, ended: Ended) -> Duration {
        let mut all = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        match ended {
            Ended::AtRest => {
                all.remove(uid);
                LATER
            },
            Ended::UnderWay => {
                all.remove(uid);
                SOON
            },
            Ended::Waiting => {
                let pause = all.entry(uid.to_owned()).or_insert(SOON / 2);
                *pause = pause.saturating_mul(2).min(WAITING);
                *pause
            },
        }
    }
}

/// What one round is about.
struct Round<'a> {
    cluster: &'a VectorCluster,
    context: &'a Context,
    api: ClusterApi,
    owner: Value,
    restarts: Restarts,
    /// Who issues certificates, and who is trusted; absent when nothing is carried out.
    issuers: Option<Issuers>,
    seen: Seen,
    plan: Plan,
    /// What is known of the manifest; what was accepted before may be in its place here.
    judged: Judged,
    next_worker_ordinal: u32,
    etcd_members: u32,
    /// It is deleted, and this is what that waits for.
    ending: Option<(&'static str, String)>,
}

/// What the steps of a round came to.
#[derive(Default)]
struct Done<'a> {
    outcome: Outcome,
    certificates: Option<Vec<(String, String)>>,
    update: Option<(InForce<'a>, updates::Step)>,
    surplus: Vec<Surplus>,
    external: Option<Asked>,
}

/// Carries a manifest out as far as that goes now; what that came to.
///
/// What a watch told of the cluster may be old, and an old manifest would have workers deleted that a newer
/// one asks for: it is read again first.
///
/// # Errors
/// When not even the objects of the cluster could be looked at, or the status not be written.
pub(super) async fn round(told: &VectorCluster, context: &Context) -> Result<Ended, Error> {
    let api = ClusterApi {
        client: context.client.clone(),
        subject: subject(told)?,
    };
    let Some(mut cluster) = api.cluster().await? else {
        return Ok(Ended::AtRest);
    };
    let judged = accepted::judge(&mut cluster, &api).await?;
    let cluster = &cluster;
    let ending = if cluster.metadata.deletion_timestamp.is_some() {
        match holding::end(cluster, &api).await? {
            Some(ending) => Some(ending),
            None => return Ok(Ended::AtRest),
        }
    } else {
        None
    };
    if ending.is_none() && judged.goes_on() && !cluster.spec.paused {
        holding::hold(cluster, &api).await?;
        holding::adopt(cluster, &api).await?;
    }
    let seen = Seen::look(&api, Timestamp::now()).await?;
    let observation = seen.observation(&api.subject.name, cluster.status.as_ref());
    let plan = plan(&cluster.spec, &api.subject.name, &observation);
    let round = Round {
        cluster,
        context,
        owner: json!(cluster.controller_owner_ref(&())),
        restarts: situation::restarts(cluster.annotations()),
        issuers: None,
        // One that is only planned is not used up: its volume may belong to somebody else.
        next_worker_ordinal: observation.next_worker_ordinal,
        etcd_members: etcd_members(&cluster.spec, &seen),
        judged,
        seen,
        plan,
        api,
        ending,
    };
    // Boxed: all steps in one future are large.
    Box::pin(round.run()).await
}

impl Round<'_> {
    async fn run(mut self) -> Result<Ended, Error> {
        let stands = self
            .ending
            .as_ref()
            .is_none_or(|(reason, _)| *reason == "Protected");
        let acts = self.judged.goes_on() && !self.cluster.spec.paused && stands;
        let mut outcome = Outcome::default();
        if acts {
            let found = self.find_issuers().await;
            if let Some((issuers, told)) = outcome.keep("certificates", found) {
                outcome.keep("certificates", told);
                self.issuers = Some(issuers);
            }
            self.restart_for_trust();
        }
        self.round(acts, outcome).await
    }

    /// The authorities, after the step of their change that is due.
    async fn find_issuers(&self) -> Result<(Issuers, Result<(), Error>), Error> {
        let demand = self.cluster.annotations().get(ROTATE_AUTHORITY);
        let members = self.seen.of(Role::Etcd);
        let started = members.filter_map(|pod| pod.created).min();
        let started =
            started.and_then(|time| OffsetDateTime::from_unix_timestamp(time.as_second()).ok());
        let status = self.cluster.status.as_ref();
        let current = status.and_then(|status| status.revision.as_ref());
        let current = current.map(|revision| revision.current.as_str());
        let demand = Demand {
            demand: demand.map(String::as_str),
            etcd_started: started,
            gateways_ask: issuers::gateways_ask(&self.seen, current),
        };
        let maker = &self.context.maker;
        let spec = &self.cluster.spec;
        maker.issuers(&self.api, spec, &self.owner, demand).await
    }

    /// Whom etcd trusts it reads when it starts.
    fn restart_for_trust(&mut self) {
        let trusted = self.issuers.as_ref().and_then(|all| all.own.trusted_since);
        let Some(trusted) = trusted.and_then(|since| since.format(&Rfc3339).ok()) else {
            return;
        };
        self.restarts.insert(revisions::trust(Role::Etcd), trusted);
    }

    async fn round(&self, acts: bool, mut outcome: Outcome) -> Result<Ended, Error> {
        let masters = Masters::of(&self.api, &self.context.maker, &self.seen).await;
        let state = match &masters {
            Ok(masters) => masters.state().await.map_err(|error| chain(&error)),
            Err(error) => Err(chain(error)),
        };
        let none = BTreeMap::new();
        let situation = Situation {
            subject: &self.api.subject,
            spec: &self.cluster.spec,
            annotations: self.cluster.metadata.annotations.as_ref().unwrap_or(&none),
            generation: self.cluster.metadata.generation.unwrap_or(0),
            plan: &self.plan,
            members: self.etcd_members,
            seen: &self.seen,
            masters: state.as_ref().map_err(Clone::clone),
            before: self.cluster.status.as_ref(),
            now: Timestamp::now(),
            fills: OnceLock::new(),
        };
        let asked = if acts {
            let asked = self.asked().await;
            outcome.keep("revisions", asked)
        } else {
            None
        };
        let mut done = Done {
            outcome,
            ..Done::default()
        };
        if let Some(asked) = &asked {
            self.act(&situation, asked, masters.as_ref().ok(), &mut done)
                .await;
            let by = (&self.context.maker, &self.context.answers);
            done.external = external::asked(&self.api, by, &situation).await;
            if let Some(Asked::Refuses(why)) = &done.external {
                done.outcome.tell("operator.etcd_refuses", why.clone());
            }
        }
        self.say(&situation, &done).await
    }

    fn render(&self) -> Render<'_> {
        Render {
            subject: &self.api.subject,
            spec: &self.cluster.spec,
            images: &self.context.images,
            owner: &self.owner,
            restarts: &self.restarts,
            operator_namespace: self.context.client.default_namespace(),
        }
    }

    /// The revision that carries what is asked for; a new one is kept before anything is made from it.
    async fn asked(&self) -> Result<Kept, Error> {
        // Whom etcd trusts is part of what is asked for: while that is not known nothing changes.
        let known = self.cluster.status.as_ref();
        let known = known.and_then(|status| status.revision.as_ref());
        let current = known.and_then(|revision| self.seen.revision(&revision.current));
        if let (None, Some(current)) = (&self.issuers, current) {
            return Ok(current.clone());
        }
        let inputs = revisions::inputs(&self.cluster.spec, &self.restarts);
        let render = self.render();
        let kept = &self.seen.revisions;
        match revisions::choose(kept, &inputs, |role| render.role_template(role)) {
            Choice::New { number, held } => {
                act::keep_revision(&self.api, &self.owner, number, &held).await
            },
            Choice::Kept(hash) => {
                let found = self.seen.revision(&hash).cloned();
                found.ok_or(Error::Incomplete {
                    object: hash,
                    field: "data",
                })
            },
        }
    }

    async fn act<'a>(
        &self,
        situation: &Situation<'a>,
        asked: &'a Kept,
        masters: Option<&Masters>,
        done: &mut Done<'a>,
    ) {
        let maker = &self.context.maker;
        let spec = &self.cluster.spec;
        if self.judged.refused.is_none() {
            let kept = accepted::keep(&self.api, self.cluster, &self.judged, &self.owner).await;
            done.outcome.keep("manifest", kept);
        }
        let rotate = self.cluster.annotations().get(ROTATE).map(String::as_str);
        if let Some(issuers) = &self.issuers {
            let by = (issuers, rotate);
            let issued = maker.certificates(&self.api, spec, &self.owner, by).await;
            done.certificates = done.outcome.keep("certificates", issued);
        }
        let keys = maker.keys(&self.api, spec, &self.owner).await;
        done.outcome.keep("keys", keys);
        let given = Maker::given(&self.api, spec).await;
        done.outcome.keep("secrets", given);
        let in_force = situation.in_force(asked);
        let step = situation.update(&in_force);
        let render = self.render();
        let act = Act {
            api: &self.api,
            render: &render,
            situation,
            in_force: &in_force,
            step: &step,
            masters,
            entropy: &maker.entropy,
        };
        done.surplus = act.run(&mut done.outcome).await;
        done.update = Some((in_force, step));
    }

    /// Writes the status and sends the events; what the round came to.
    async fn say(&self, situation: &Situation<'_>, done: &Done<'_>) -> Result<Ended, Error> {
        for code in &done.outcome.codes {
            self.context.instruments.count_error(code);
        }
        let after = status::status(&Facts {
            situation,
            refused: self.judged.refused.as_ref(),
            update: done
                .update
                .as_ref()
                .map(|(in_force, step)| (in_force, step)),
            surplus: &done.surplus,
            etcd: done.outcome.etcd.as_ref(),
            external: done.external.as_ref(),
            marked: &done.outcome.marked,
            acted: done.update.is_some(),
            ending: self.ending.clone(),
            certificates: done.certificates.as_deref(),
            authority: self.issuers.as_ref().and_then(Issuers::under_way),
            errors: &done.outcome.errors,
            next_worker_ordinal: self.next_worker_ordinal,
        });
        write(&self.api, &after, situation.before).await?;
        let mut told = events::transitions(situation.before, &after);
        told.extend(done.outcome.told.iter().cloned());
        events::send(&self.context.recorder, self.cluster, &told).await;
        let phase = after.phase.as_deref();
        let at_rest = matches!(phase, Some("Running" | "Hibernated" | "Paused" | "Invalid"));
        Ok(if done.outcome.errors.is_empty() && at_rest {
            Ended::AtRest
        } else if situation.before == Some(&after) {
            Ended::Waiting
        } else {
            Ended::UnderWay
        })
    }
}

pub(super) fn subject(cluster: &VectorCluster) -> Result<Subject, Error> {
    let lacks = |field| Error::Incomplete {
        object: cluster.name_any(),
        field,
    };
    Ok(Subject {
        name: cluster.name_any(),
        namespace: cluster.namespace().ok_or_else(|| lacks("namespace"))?,
        uid: cluster.uid().ok_or_else(|| lacks("uid"))?,
    })
}

/// The members that etcd has, by its set or, where that is gone, its volumes; before that those of the
/// manifest. Where others run it there are none.
fn etcd_members(spec: &VectorClusterSpec, seen: &Seen) -> u32 {
    if spec.etcd.managed.is_none() {
        return 0;
    }
    let annotated = seen.etcd.as_ref().and_then(|etcd| {
        let members = etcd.annotations().get(MEMBERS)?;
        members.parse().ok()
    });
    let wanted = spec.etcd.managed.as_ref().map_or(0, |etcd| etcd.replicas);
    let claims = seen.claims.iter().filter(|claim| claim.role == Role::Etcd);
    let kept = claims.map(|claim| claim.ordinal.saturating_add(1)).max();
    annotated
        .or(kept)
        .unwrap_or_else(|| u32::try_from(wanted).unwrap_or(0))
}

/// Writes the status, if it says something else than before.
async fn write(
    api: &ClusterApi,
    after: &VectorClusterStatus,
    before: Option<&VectorClusterStatus>,
) -> Result<(), Error> {
    if before == Some(after) {
        return Ok(());
    }
    let patch: Value = json!({
        "apiVersion": VectorCluster::api_version(&()), "kind": VectorCluster::kind(&()),
        // A status of this one and of no other of its name.
        "metadata": {"uid": api.subject.uid},
        "status": after,
    });
    let clusters: Api<VectorCluster> = Api::namespaced(api.client.clone(), &api.subject.namespace);
    let parameters = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&patch);
    within(clusters.patch_status(&api.subject.name, &parameters, &patch)).await?;
    Ok(())
}
