//! One round for one cluster: look, plan, act, say.
//!
//! The steps run in the order of what needs what, and each by itself: one that fails is told in the
//! status and stops no other. Everything is applied again in every round, so a round that was cut off
//! is made again from the start.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde_json::{Value, json};

use super::Error;
use super::cluster_api::{ClusterApi, within};
use super::credentials::Maker;
use super::names::{MANAGER, Subject, claim_of};
use super::observe::Seen;
use super::render::{self, Images, Render};
use super::status::{self, Facts};
use super::unbuilt;
use crate::crd::v1alpha1::{VectorCluster, VectorClusterStatus};
use crate::fault::{Fault, chain};
use crate::topology::{Component, Plan, Role, plan};

/// What a round is made with.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) images: Images,
    pub(super) maker: Maker,
}

/// The errors of a round, by the step that met them.
#[derive(Default)]
struct Errors(Vec<(String, String)>);

impl Errors {
    /// What a step gave, or its error is kept.
    fn keep<T>(&mut self, step: &'static str, done: Result<T, Error>) -> Option<T> {
        match done {
            Ok(value) => Some(value),
            Err(error) => {
                let (code, error) = (error.code(), chain(&error));
                tracing::warn!(step, code, error, "a step failed");
                self.0.push((code.to_owned(), format!("{step}: {error}")));
                None
            },
        }
    }
}

/// Carries a manifest out as far as that goes now; whether all is as it should be.
///
/// # Errors
/// When not even the objects of the cluster could be looked at, or the status not be written.
pub(super) async fn round(cluster: &Arc<VectorCluster>, context: &Context) -> Result<bool, Error> {
    let subject = subject(cluster)?;
    let api = ClusterApi {
        client: context.client.clone(),
        subject: subject.clone(),
    };
    let owner = json!(cluster.controller_owner_ref(&()));
    let spec = &cluster.spec;
    let not_built = unbuilt::fields(spec);
    let seen = Seen::look(&api).await?;
    let before = cluster.status.as_ref();
    let next = before
        .and_then(|status| status.next_worker_ordinal)
        .unwrap_or(0);
    let observation = seen.observation(&subject.name, u32::try_from(next).unwrap_or(0));
    let plan = plan(spec, &subject.name, &observation);
    let render = Render {
        subject: &subject,
        spec,
        images: &context.images,
        owner: &owner,
    };
    let mut errors = Errors::default();
    let mut certificates = None;
    if not_built.is_empty() && !spec.paused {
        let issued = context.maker.certificates(&api, spec, &owner).await;
        certificates = errors.keep("certificates", issued);
        errors.keep("keys", context.maker.keys(&api, spec, &owner).await);
        act(&api, &render, (&plan, &seen), &mut errors).await;
    }
    let masters = seen.ask_masters(&api, &context.maker).await;
    let masters = masters.map_err(|error| chain(&error));
    let facts = Facts {
        subject: &subject,
        spec,
        generation: cluster.metadata.generation,
        not_built: &not_built,
        components: &plan.components,
        seen: &seen,
        masters: masters.as_ref().map_err(Clone::clone),
        certificates: certificates.as_deref(),
        errors: &errors.0,
        next_worker_ordinal: next_ordinal(&plan, next),
        now: Timestamp::now(),
    };
    let after = status::status(&facts, before);
    let settled = errors.0.is_empty() && after.phase.as_deref() == Some("Running");
    write(&api, &after, before).await?;
    Ok(settled)
}

fn subject(cluster: &VectorCluster) -> Result<Subject, Error> {
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

/// One more than the largest number that a worker has or had.
fn next_ordinal(plan: &Plan, before: i32) -> u32 {
    let workers = plan
        .components
        .iter()
        .filter(|one| one.role == Role::Worker);
    let above = workers.map(|worker| worker.ordinal.saturating_add(1)).max();
    above.unwrap_or(0).max(u32::try_from(before).unwrap_or(0))
}

async fn act(
    api: &ClusterApi,
    render: &Render<'_>,
    (plan, seen): (&Plan, &Seen),
    errors: &mut Errors,
) {
    for service in render.services() {
        errors.keep("services", api.apply(&service).await);
    }
    let of = |role: Role| plan.components.iter().filter(move |one| one.role == role);
    let count = |role: Role| u32::try_from(of(role).count()).unwrap_or(u32::MAX);
    if let Some(etcd) = render.etcd(count(Role::Etcd)) {
        errors.keep("etcd", api.apply(&etcd).await);
    }
    if let Some(master) = of(Role::Master).next() {
        let masters = render::master(render, count(Role::Master), &master.settings);
        errors.keep("masters", api.apply(&masters).await);
    }
    let workers: Vec<&Component> = of(Role::Worker).collect();
    errors.keep("workers", act_on_workers(api, render, &workers, seen).await);
    if count(Role::Gateway) > 0 {
        let gateways = render::gateway(render, count(Role::Gateway));
        errors.keep("gateways", api.apply(&gateways).await);
    }
}

/// Makes each worker's volume before its pod, and replaces pods that have ended. A worker that is scaled
/// away may hold shards, and nobody moves them yet: it stays.
async fn act_on_workers(
    api: &ClusterApi,
    render: &Render<'_>,
    workers: &[&Component],
    seen: &Seen,
) -> Result<(), Error> {
    for worker in workers {
        if !seen.claims.contains(&worker.ordinal) {
            let name = claim_of(&worker.name);
            api.make_claim(&name, &render.claim(worker)).await?;
        }
        let pod = seen
            .of(Role::Worker)
            .find(|pod| pod.ordinal == worker.ordinal);
        match pod {
            Some(pod) if pod.over => api.delete_pod(&pod.pod).await?,
            // What a pod is cannot change; it is replaced by an update.
            Some(_) => {},
            None => api.apply(&render::worker(render, worker)).await?,
        }
    }
    Ok(())
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
        "status": after,
    });
    let clusters: Api<VectorCluster> = Api::namespaced(api.client.clone(), &api.subject.namespace);
    let parameters = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&patch);
    within(clusters.patch_status(&api.subject.name, &parameters, &patch)).await?;
    Ok(())
}
