//! What keeps a cluster from going before its time, what it takes over from an earlier one, and its end.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Error;
use super::act;
use super::cluster_api::{ClusterApi, Fate};
use super::names::{ADOPT, CLUSTER_UID, FINALIZER, FORCE_DELETE};
use super::observe::Seen;
use super::volumes::{self, Ending};
use crate::crd::v1alpha1::VectorCluster;

/// Goes on with a cluster that is deleted; what holds it, if it still stands after this.
pub(super) async fn end(
    cluster: &VectorCluster,
    api: &ClusterApi,
) -> Result<Option<(&'static str, String)>, Error> {
    if !cluster.finalizers().iter().any(|one| one == FINALIZER) {
        return Ok(None);
    }
    let seen = Seen::look(api, Timestamp::now()).await?;
    let forced = cluster.annotations().get(FORCE_DELETE).map(String::as_str) == Some("true");
    match volumes::ending(&cluster.spec, forced, seen.pods.len(), &seen.claims) {
        Ending::Held(reason, message) => Ok(Some((reason, message))),
        Ending::StopProcesses => {
            act::stop_processes(api, &seen).await?;
            let message = format!("{} pods have not ended yet", seen.pods.len());
            Ok(Some(("VolumeInUse", message)))
        },
        Ending::DeleteVolumes(volumes) => {
            // What this round was begun with may be old: a person may have thought better of it.
            let now = api.cluster().await?;
            let same = |now: &VectorCluster| {
                now.uid() == cluster.uid()
                    && now.spec.deletion_policy == cluster.spec.deletion_policy
            };
            if !now.as_ref().is_some_and(same) {
                return Ok(Some(("VolumeInUse", "the manifest has changed".to_owned())));
            }
            for (name, uid) in &volumes {
                let claim = api.delete::<PersistentVolumeClaim>(name, uid, Fate::Whole);
                claim.await?;
                tracing::info!(claim = name, "a volume is deleted with its cluster");
            }
            let message = format!("{} volumes are going", volumes.len());
            Ok(Some(("VolumeInUse", message)))
        },
        Ending::Wait(message) => Ok(Some(("VolumeInUse", message))),
        Ending::Release => {
            let rest: Vec<_> = cluster
                .finalizers()
                .iter()
                .filter(|one| *one != FINALIZER)
                .collect();
            finalizers(cluster, api, json!(rest)).await?;
            Ok(None)
        },
    }
}

/// Puts the finalizer on, once.
pub(super) async fn hold(cluster: &VectorCluster, api: &ClusterApi) -> Result<(), Error> {
    let known = cluster.finalizers();
    if known.iter().any(|one| one == FINALIZER) {
        return Ok(());
    }
    let all: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .chain([FINALIZER])
        .collect();
    finalizers(cluster, api, json!(all)).await
}

/// Writes the finalizers, unless the cluster is another one than was seen.
async fn finalizers(cluster: &VectorCluster, api: &ClusterApi, all: Value) -> Result<(), Error> {
    let change = json!({"metadata": {
        "finalizers": all, "resourceVersion": cluster.resource_version(),
    }});
    match api.merge::<VectorCluster>(&api.subject.name, &change).await {
        Err(Error::Kubernetes(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
        done => done,
    }
}

/// Takes the volumes of an earlier cluster of this name over, when the person names it by its UID.
pub(super) async fn adopt(cluster: &VectorCluster, api: &ClusterApi) -> Result<(), Error> {
    let Some(uid) = cluster.annotations().get(ADOPT) else {
        return Ok(());
    };
    if uid.is_empty() || *uid == api.subject.uid {
        return Ok(());
    }
    for claim in api.claims_of(uid).await? {
        let change = json!({"metadata": {
            "uid": claim.uid(), "labels": {CLUSTER_UID: api.subject.uid},
        }});
        let name = claim.name_any();
        api.merge::<PersistentVolumeClaim>(&name, &change).await?;
        tracing::info!(claim = name, from = uid, "a volume was taken over");
    }
    Ok(())
}
