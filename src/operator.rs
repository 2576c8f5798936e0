//! The operator: carries VectorClusters out on Kubernetes.
//!
//! It looks at what there is, asks the pure planner that `dev` asks too, applies what should be, and
//! says in the status how far that is. Workers are pods and volumes of its own, since their numbers are
//! never used twice; masters, gateways and etcd are left to Kubernetes' own controllers. The cluster's
//! state it learns from the masters' admin service and from nowhere else.
//!
//! Of several operators one acts (`src/operator/leadership.rs`); all wait for their definitions
//! (`src/operator/definitions.rs`) and answer probes (`src/operator/endpoint.rs`).
//!
//! What is not here yet is refused by name in the condition `SpecValid` (`src/operator/unbuilt.rs`), or
//! listed in `docs/operator.md`.

mod accepted;
mod accessories;
mod act;
mod authority;
mod autoscaling;
mod certificates;
mod cluster_api;
mod credentials;
mod definitions;
#[cfg(test)]
mod documented;
mod endpoint;
mod error;
mod etcd;
mod events;
mod external;
mod holding;
mod instruments;
mod issuers;
mod leadership;
mod masters;
mod members;
mod names;
mod objects;
mod observe;
mod ordinals;
mod reconcile;
mod render;
mod requests;
mod revisions;
mod situation;
mod status;
mod unbuilt;
mod updates;
mod volumes;
mod windows;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::client::ClientBuilder;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::events::Recorder;
use kube::runtime::watcher;
use kube::{Api, Client, Config as Connections};

use crate::clock::Clock;
use crate::crd::v1alpha1::VectorCluster;
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::tasks::Tasks;

use credentials::Maker;
use instruments::Part;
use leadership::Leadership;
use names::CLUSTER;
use reconcile::Context;
use requests::Counting;

pub use endpoint::Endpoint;
pub use error::Error;
pub use instruments::Instruments;
pub use leadership::Candidacy;
pub use render::Images;

/// Who reports events.
const REPORTER: &str = "vectorsphere-operator";
/// Clusters that are carried out at the same time, of all namespaces or, where some are named, of each: a
/// round waits for seconds where an etcd or a master is silent, and a few that are may not hold up the rest.
const CONCURRENCY: u16 = 16;
/// Changes that come together are one round.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// How long a connection to the API server may be silent while an answer is waited for. A watch is told
/// something every minute, if only how far it is; a list that starts one has no other deadline.
const SILENCE: Duration = Duration::from_secs(120);
/// When a cluster is looked at again that is not as it should be.
const SOON: Duration = Duration::from_secs(2);
/// The longest that one is left alone which waits for something.
const WAITING: Duration = Duration::from_secs(10);
/// When one is looked at again that is.
const LATER: Duration = Duration::from_secs(30);

/// What the operator is made of; the command line puts it together.
pub struct Parts {
    /// The namespaces whose clusters it carries out; none: all.
    pub namespaces: Vec<String>,
    /// The images of a manifest that names none.
    pub images: Images,
    /// The Lease that it has to hold; absent: it is sure to be alone.
    pub candidacy: Option<Candidacy>,
    /// What it says of itself.
    pub instruments: Instruments,
    /// How long each step of a change of authorities lasts at least.
    pub authority_overlap: Duration,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where keys and names come from.
    pub entropy: Arc<Entropy>,
    /// Told to stop by the shell.
    pub tasks: Tasks,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("namespaces", &self.namespaces)
            .field("images", &self.images)
            .field("candidacy", &self.candidacy)
            .finish_non_exhaustive()
    }
}

/// Waits for the definitions and for the Lease, and carries clusters out until the tasks stop.
///
/// # Errors
/// When there is no API server to ask, or the Lease is lost.
pub async fn run(parts: Parts) -> Result<(), Error> {
    let (tasks, instruments) = (parts.tasks.clone(), parts.instruments.clone());
    let client = client(&instruments).await?;
    if !definitions::wait(&client, &instruments, &tasks).await {
        return Ok(());
    }
    let Some(candidacy) = parts.candidacy.clone() else {
        instruments.set_part(Part::Leading);
        controllers(client, parts, tasks).await;
        return Ok(());
    };
    let leadership = Leadership::new(client.clone(), candidacy, instruments);
    let work = |working| controllers(client, parts, working);
    leadership.while_held(&tasks, work).await
}

/// Who asks the API server that the environment names.
async fn client(instruments: &Instruments) -> Result<Client, Error> {
    let mut connections = Connections::infer()
        .await
        .map_err(kube::Error::InferConfig)?;
    connections.read_timeout = Some(SILENCE);
    // What a connection was idle before it is used again does not count.
    connections.reset_reader_on_write = true;
    let building = ClientBuilder::try_from(connections)?;
    Ok(building.with_layer(&Counting(instruments.clone())).build())
}

/// The controllers, until the tasks stop: those of one namespace after the other, or of all at once.
async fn controllers(client: Client, parts: Parts, working: Tasks) {
    let context = Arc::new(Context {
        client: client.clone(),
        images: parts.images,
        maker: Maker {
            clock: parts.clock,
            entropy: parts.entropy,
            overlap: parts.authority_overlap,
        },
        recorder: Recorder::new(client, REPORTER.into()),
        instruments: parts.instruments,
        patience: Arc::default(),
        answers: external::Answers::default(),
    });
    let mut scopes: Vec<Option<&str>> = parts.namespaces.iter().map(|one| Some(&**one)).collect();
    if scopes.is_empty() {
        scopes.push(None);
    }
    let each = scopes
        .into_iter()
        .map(|scope| clusters(&context, scope, &working));
    futures::future::join_all(each).await;
}

/// Carries out the VectorClusters of one namespace, or of all.
async fn clusters(context: &Arc<Context>, namespace: Option<&str>, working: &Tasks) {
    let client = &context.client;
    let ours = || watcher::Config::default().labels(CLUSTER);
    let controller = Controller::new(
        scoped::<VectorCluster>(client, namespace),
        watcher::Config::default(),
    )
    .with_config(
        Config::default()
            .debounce(DEBOUNCE)
            .concurrency(CONCURRENCY),
    )
    .owns(scoped::<Pod>(client, namespace), ours())
    .owns(scoped::<StatefulSet>(client, namespace), ours())
    .owns(scoped::<Deployment>(client, namespace), ours())
    .graceful_shutdown_on(working.stopping());
    let filling = context.instruments.fill(controller.store());
    let running = controller
        .run(reconcile, again, Arc::clone(context))
        .for_each(|done| async move {
            if let Err(error) = done {
                tracing::debug!(%error, "a round failed");
            }
        });
    let objects = objects::run(context, namespace, working);
    futures::join!(running, filling, objects);
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

async fn reconcile(cluster: Arc<VectorCluster>, context: Arc<Context>) -> Result<Action, Error> {
    // Boxed: a round with all its steps is large.
    let round = Box::pin(reconcile::round(&cluster, &context));
    let ended = context.instruments.round(round).await?;
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    Ok(Action::requeue(context.pause(uid, ended)))
}

fn again(_cluster: Arc<VectorCluster>, error: &Error, _context: Arc<Context>) -> Action {
    tracing::warn!(error = chain(error), "a cluster could not be looked at");
    Action::requeue(SOON)
}
