//! The controller of VectorCollections: looks at the object, its rivals and its cluster, does what
//! [`mod@decide`] says, and writes what it says.
//!
//! Rivals come from the watch's cache: where that is behind, the collection's own settings and the
//! masters' guard of names decide. What a cluster's masters said serves all its objects for a second, so
//! that a thousand collections do not ask a thousand times; a change that is made ends that at once.

mod decide;
mod measures;
mod told;
mod wanted;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;

use futures::StreamExt;

use super::CONCURRENCY;
use super::desk::Desk;
use super::said::{Said, Truth};
use crate::clock::Moment;
use crate::crd::v1alpha1::{VectorCluster, VectorCollection, VectorCollectionStatus};
use crate::fault::chain;
use crate::operator::cluster_api::ClusterApi;
use crate::operator::masters::{Masters, change_request};
use crate::operator::observe;
use crate::operator::{DEBOUNCE, Error, reconcile, scoped};
use crate::rpc::channel::AdminClient;
use crate::rpc::proto;
use crate::tasks::Tasks;

use decide::{Cluster, Decision, FINALIZER, Facts, Pace, Rival, decide};

/// How long what was seen of a cluster serves.
const SIGHT_LIFE: Duration = Duration::from_secs(1);
/// Clusters of which something is kept. Past that all are looked at again.
const SIGHTS_MAX: usize = 1_024;

/// What was seen of a cluster whose masters answered, and when.
type Seen = (Moment, Arc<Sight>);

/// What a round is made with.
struct Collections {
    desk: Arc<Desk>,
    all: Store<VectorCollection>,
    /// By namespace and name of the cluster.
    sights: Mutex<HashMap<(String, String), Seen>>,
}

/// Carries VectorCollections out until the tasks stop.
pub(super) async fn run(desk: &Arc<Desk>, namespace: Option<&str>, tasks: &Tasks) {
    let client = &desk.context.client;
    let controller = Controller::new(
        scoped::<VectorCollection>(client, namespace),
        watcher::Config::default(),
    );
    let all = controller.store();
    let same = all.clone();
    let context = Arc::new(Collections {
        desk: Arc::clone(desk),
        all: all.clone(),
        sights: Mutex::default(),
    });
    controller
        .with_config(
            Config::default()
                .debounce(DEBOUNCE)
                .concurrency(CONCURRENCY),
        )
        .watches(
            scoped::<VectorCluster>(client, namespace),
            watcher::Config::default(),
            move |cluster| of_cluster(&all, &cluster),
        )
        .watches(
            scoped::<VectorCollection>(client, namespace),
            watcher::Config::default(),
            move |object| rivals_of(&same, &object),
        )
        .graceful_shutdown_on(tasks.stopping())
        .run(round, again, context)
        .for_each(|_done| std::future::ready(()))
        .await;
}

fn of_cluster(
    all: &Store<VectorCollection>,
    cluster: &VectorCluster,
) -> Vec<ObjectRef<VectorCollection>> {
    let (namespace, name) = (cluster.namespace(), cluster.name_any());
    let concerned = all.state_filter(|object| {
        object.spec.cluster == name && object.metadata.namespace == namespace
    });
    concerned
        .iter()
        .map(|object| ObjectRef::from(object.as_ref()))
        .collect()
}

/// Other objects for the same collection: what becomes of this one may make it theirs.
fn rivals_of(
    all: &Store<VectorCollection>,
    object: &VectorCollection,
) -> Vec<ObjectRef<VectorCollection>> {
    let rivals = rivals(all, object);
    rivals
        .iter()
        .map(|rival| ObjectRef::from(rival.as_ref()))
        .collect()
}

fn rivals(all: &Store<VectorCollection>, object: &VectorCollection) -> Vec<Arc<VectorCollection>> {
    all.state_filter(|other| {
        other.metadata.namespace == object.metadata.namespace
            && other.spec.cluster == object.spec.cluster
            && other.metadata.uid != object.metadata.uid
            && wanted::name(other) == wanted::name(object)
    })
}

fn again(object: Arc<VectorCollection>, error: &Error, context: Arc<Collections>) -> Action {
    let (collection, error) = (object.name_any(), chain(error));
    tracing::warn!(collection, error, "a collection could not be looked at");
    context.desk.wait(object.as_ref())
}

async fn round(object: Arc<VectorCollection>, context: Arc<Collections>) -> Result<Action, Error> {
    let desk = &context.desk;
    let Some(object) = desk.fresh(object.as_ref()).await? else {
        return Ok(desk.done(object.as_ref()));
    };
    let sight = context.sight(&object).await?;
    let decision = decide(&Facts {
        object: &object,
        rivals: &context.rivals(&object),
        cluster: Sight::cluster(sight.as_deref()),
    });
    let leaving = object.metadata.deletion_timestamp.is_some();
    let acted = act(&object, &decision.action, sight.as_deref(), desk).await;
    if decision.action != decide::Action::Nothing {
        context.forget(&object);
    }
    if leaving && decision.action == decide::Action::Release && acted.is_ok() {
        return Ok(desk.done(&object));
    }
    let (decision, idle) = match acted {
        Ok(()) => {
            let idle = decision.action == decide::Action::Nothing;
            (decision, idle)
        },
        Err(error) => {
            let (collection, error) = (object.name_any(), chain(&error));
            tracing::warn!(collection, error, "a collection was not changed");
            (failed(decision, error), true)
        },
    };
    let before = object.status.as_ref();
    let after = status(&object, &decision, desk.now());
    desk.write_status(&object, &after, before).await?;
    let before = before.map_or(&[][..], |status| &status.conditions);
    let told = told::transition(before, &after.conditions);
    desk.tell(&object, told.as_slice()).await;
    Ok(match (idle, decision.pace) {
        (false, _) => desk.go_on(&object),
        (true, Pace::Calm) => desk.calm(&object),
        (true, Pace::Waiting) => desk.wait(&object),
    })
}

fn place(object: &VectorCollection) -> (String, String) {
    let namespace = object.namespace().unwrap_or_default();
    (namespace, object.spec.cluster.clone())
}

impl Collections {
    /// What is to be seen of the cluster of an object.
    async fn sight(&self, object: &VectorCollection) -> Result<Option<Arc<Sight>>, Error> {
        let now = self.desk.context.maker.clock.now();
        let place = place(object);
        if let Some((at, sight)) = self.sights().get(&place)
            && now.since(*at) < SIGHT_LIFE
        {
            return Ok(Some(Arc::clone(sight)));
        }
        let looking = Box::pin(Sight::of(object, &self.desk));
        let sight = looking.await?.map(Arc::new);
        // What was not there may be there now.
        let Some(answered) = sight.as_ref().filter(|sight| sight.masters.is_ok()) else {
            return Ok(sight);
        };
        let mut sights = self.sights();
        if sights.len() >= SIGHTS_MAX {
            sights.clear();
        }
        sights.insert(place, (now, Arc::clone(answered)));
        drop(sights);
        Ok(sight)
    }

    /// The cluster of an object was changed, or may have been.
    fn forget(&self, object: &VectorCollection) {
        self.sights().remove(&place(object));
    }

    fn sights(&self) -> MutexGuard<'_, HashMap<(String, String), Seen>> {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other objects for the same collection.
    fn rivals(&self, object: &VectorCollection) -> Vec<Rival> {
        let rivals = rivals(&self.all, object);
        let rivals = rivals.iter().map(|other| Rival {
            name: other.name_any(),
            uid: other.uid().unwrap_or_default(),
            created: other.creation_timestamp().map(|time| time.0),
        });
        rivals.collect()
    }
}

/// What was seen of the cluster of an object.
struct Sight {
    leaving: bool,
    paused: bool,
    masters: Result<(Masters, proto::GetClusterStateResponse), String>,
}

impl Sight {
    /// Looks; nothing when there is no such cluster.
    async fn of(object: &VectorCollection, desk: &Desk) -> Result<Option<Self>, Error> {
        let cluster: Option<VectorCluster> = desk.get(object, &object.spec.cluster).await?;
        let Some(cluster) = cluster else {
            return Ok(None);
        };
        let api = ClusterApi {
            client: desk.context.client.clone(),
            subject: reconcile::subject(&cluster)?,
        };
        let seen = observe::Seen::look(&api, Timestamp::now()).await?;
        let asked = async {
            let masters = Masters::of(&api, &desk.context.maker, &seen).await?;
            let state = masters.state().await?;
            Ok::<_, Error>((masters, state))
        };
        Ok(Some(Self {
            leaving: cluster.metadata.deletion_timestamp.is_some(),
            paused: cluster.spec.paused,
            masters: asked.await.map_err(|error| chain(&error)),
        }))
    }

    fn cluster(sight: Option<&Self>) -> Cluster<'_> {
        let Some(sight) = sight else {
            return Cluster::Missing;
        };
        let masters = sight.masters.as_ref();
        Cluster::There {
            leaving: sight.leaving,
            paused: sight.paused,
            masters: masters.map(|(_masters, state)| state).map_err(|why| &**why),
        }
    }
}

async fn act(
    object: &VectorCollection,
    action: &decide::Action,
    sight: Option<&Sight>,
    desk: &Desk,
) -> Result<(), Error> {
    use decide::Action as Do;
    match action {
        Do::Nothing => return Ok(()),
        Do::Keep => return desk.set_finalizer(object, FINALIZER, true).await,
        Do::Release => return desk.set_finalizer(object, FINALIZER, false).await,
        Do::Create(_) | Do::Adopt(_) | Do::Delete(_) => {},
    }
    // It is decided by what they say, so they are there.
    let Some(Ok((masters, state))) = sight.map(|sight| &sight.masters) else {
        return Ok(());
    };
    let (collection, leader) = (wanted::name(object), &state.leader);
    let done = match action {
        Do::Create(asked) => {
            let call = |mut admin: AdminClient| {
                let asked = change_request(asked.clone());
                async move { admin.create_collection(asked).await }
            };
            ("made", masters.change(leader, call).await?)
        },
        Do::Adopt(asked) => {
            let call = |mut admin: AdminClient| {
                let asked = change_request(asked.clone());
                async move { admin.update_collection(asked).await }
            };
            ("taken over", masters.change(leader, call).await?)
        },
        Do::Delete(asked) => {
            let call = |mut admin: AdminClient| {
                let asked = change_request(asked.clone());
                async move { admin.delete_collection(asked).await }
            };
            ("deleted", masters.change(leader, call).await?)
        },
        Do::Nothing | Do::Keep | Do::Release => return Ok(()),
    };
    let (what, changed) = (done.0, done.1.changed);
    tracing::info!(collection, what, changed, "a collection was changed");
    Ok(())
}

/// What is said when the action failed. What is known of an index stays.
fn failed(decision: Decision, error: String) -> Decision {
    let said = |truth, message: String| Said::new(truth, "ChangeFailed", message);
    let unknown = decision.indexed.reason == decision.ready.reason;
    let indexed = if unknown {
        said(Truth::Unknown, String::new())
    } else {
        decision.indexed
    };
    Decision {
        ready: said(Truth::False, error.clone()),
        synced: said(Truth::False, error),
        indexed,
        pace: Pace::Waiting,
        ..decision
    }
}

fn status(
    object: &VectorCollection,
    decision: &Decision,
    now: Timestamp,
) -> VectorCollectionStatus {
    // What is not known now stays as it was last known.
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation;
    let condition =
        |type_: &str, said: &Said| said.condition(type_, &before.conditions, generation, now);
    let conditions = vec![
        condition("Ready", &decision.ready),
        condition("Synced", &decision.synced),
        condition("Indexed", &decision.indexed),
    ];
    let mut after = VectorCollectionStatus {
        observed_generation: generation,
        conditions,
        ..before
    };
    if let Some(measures) = &decision.measures {
        after.shards = Some(measures.shards.clone());
        if let Some(counts) = measures.counts {
            after.vectors = Some(counts.vectors);
            after.size_bytes = Some(counts.bytes);
            after.indexed_vectors = Some(counts.indexed);
        }
    }
    after
}

#[cfg(test)]
mod tests;
