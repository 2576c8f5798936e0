//! The API server, as far as one cluster's objects need it: apply, list, delete, each with a deadline.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions,
    PropagationPolicy,
};
use kube::core::{GroupVersionKind, ObjectMeta};
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::Error;
use super::names::{ACCESSORY, CLUSTER, CLUSTER_UID, MANAGER, REVISION_ROLE, ROLE, Subject};
use crate::crd::v1alpha1::VectorCluster;

/// How long one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Who has the number of gateways while an autoscaler is about to take it.
const REPLICAS_MANAGER: &str = "vectorsphere-operator-replicas";

/// The objects of one cluster.
#[derive(Clone)]
pub(super) struct ClusterApi {
    pub(super) client: Client,
    pub(super) subject: Subject,
}

impl ClusterApi {
    fn namespaced<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.subject.namespace)
    }

    fn of_kind(&self, api_version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.subject.namespace, &resource)
    }

    /// Makes an object as it is rendered, or changes what is ours of it.
    pub(super) async fn apply(&self, object: &Value) -> Result<(), Error> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let api = self.of_kind(text("/apiVersion"), text("/kind"));
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(object);
        within(api.patch(text("/metadata/name"), &parameters, &patch)).await?;
        Ok(())
    }

    /// The cluster itself as the server holds it now; none when it is gone, or another has its name.
    pub(super) async fn cluster(&self) -> Result<Option<VectorCluster>, Error> {
        let api = self.namespaced::<VectorCluster>();
        let found = within(api.get_opt(&self.subject.name)).await?;
        Ok(found.filter(|found| found.uid().as_deref() == Some(&*self.subject.uid)))
    }

    /// The pods of the cluster, read from the quorum.
    pub(super) async fn pods(&self) -> Result<Vec<Pod>, Error> {
        Ok(within(self.namespaced::<Pod>().list(&self.ours()))
            .await?
            .items)
    }

    /// The claims of the cluster, read from the quorum.
    pub(super) async fn claims(&self) -> Result<Vec<PersistentVolumeClaim>, Error> {
        let api = self.namespaced::<PersistentVolumeClaim>();
        Ok(within(api.list(&self.ours())).await?.items)
    }

    /// Makes a volume's claim, unless one of this name belongs to another cluster: data is never taken
    /// over without a word.
    pub(super) async fn make_claim(&self, name: &str, claim: &Value) -> Result<(), Error> {
        self.is_ours(name).await?;
        self.apply(claim).await
    }

    /// Whether a volume's claim of this name is this cluster's, if there is one.
    ///
    /// # Errors
    /// [`Error::Foreign`].
    pub(super) async fn is_ours(&self, name: &str) -> Result<(), Error> {
        let there = within(self.namespaced::<PersistentVolumeClaim>().get_opt(name)).await?;
        let of = there.map(|claim| claim.labels().get(CLUSTER_UID).cloned().unwrap_or_default());
        match of {
            Some(uid) if uid != self.subject.uid => Err(Error::Foreign {
                claim: name.to_owned(),
                uid,
            }),
            Some(_) | None => Ok(()),
        }
    }

    fn ours(&self) -> ListParams {
        ListParams::default().labels(&format!("{CLUSTER_UID}={}", self.subject.uid))
    }

    /// A Deployment, if it is there.
    pub(super) async fn deployment(&self, name: &str) -> Result<Option<Deployment>, Error> {
        within(self.namespaced::<Deployment>().get_opt(name)).await
    }

    /// Makes a manager of its own share the number of a Deployment's pods.
    pub(super) async fn give_replicas_away(&self, name: &str, replicas: i32) -> Result<(), Error> {
        let number = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas},
        });
        let parameters = PatchParams::apply(REPLICAS_MANAGER);
        let api = self.of_kind("apps/v1", "Deployment");
        within(api.patch(name, &parameters, &Patch::Apply(&number))).await?;
        Ok(())
    }

    /// The accessories of a kind that the cluster has, by their metadata.
    pub(super) async fn accessories(
        &self,
        api_version: &str,
        kind: &str,
    ) -> Result<Vec<ObjectMeta>, Error> {
        let ours = format!("{CLUSTER_UID}={},{ACCESSORY}=true", self.subject.uid);
        let api = self.of_kind(api_version, kind);
        let listed = within(api.list_metadata(&ListParams::default().labels(&ours))).await?;
        Ok(listed.items.into_iter().map(|one| one.metadata).collect())
    }

    /// Whether there is an object of this kind and name, whoever made it.
    pub(super) async fn is_there(
        &self,
        api_version: &str,
        kind: &str,
        name: &str,
    ) -> Result<bool, Error> {
        let found = within(self.of_kind(api_version, kind).get_metadata_opt(name)).await?;
        Ok(found.is_some())
    }

    /// Deletes this very accessory and no other of its name; one that is gone is as good.
    pub(super) async fn delete_accessory(
        &self,
        api_version: &str,
        kind: &str,
        object: &ObjectMeta,
    ) -> Result<(), Error> {
        let parameters = of_uid(object.uid.clone(), Fate::Whole);
        let name = object.name.as_deref().unwrap_or_default();
        let api = self.of_kind(api_version, kind);
        gone(within(api.delete(name, &parameters)).await)
    }

    /// A Secret that was made for the cluster, if it is there. One of an earlier cluster of this name is
    /// about to go, and is none.
    pub(super) async fn own_secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        let found = self.secret(name).await?;
        Ok(found.filter(|one| one.labels().get(CLUSTER_UID) == Some(&self.subject.uid)))
    }

    /// Whether a Secret of this name may be written: there is none, or it was made for a cluster of this name.
    ///
    /// # Errors
    /// [`Error::NotOurs`].
    pub(super) async fn may_write_secret(&self, name: &str) -> Result<(), Error> {
        let found = self.secret(name).await?;
        if found.is_some_and(|one| one.labels().get(CLUSTER) != Some(&self.subject.name)) {
            return Err(Error::NotOurs {
                kind: "Secret",
                name: name.to_owned(),
            });
        }
        Ok(())
    }

    /// A Secret, if it is there.
    pub(super) async fn secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        within(self.namespaced::<Secret>().get_opt(name)).await
    }

    /// A ConfigMap of the cluster, if it is there.
    pub(super) async fn config_map(&self, name: &str) -> Result<Option<ConfigMap>, Error> {
        let found = within(self.namespaced::<ConfigMap>().get_opt(name)).await?;
        let ours = |one: &ConfigMap| one.labels().get(CLUSTER_UID) == Some(&self.subject.uid);
        Ok(found.filter(ours))
    }

    /// The kept templates of the cluster.
    pub(super) async fn revisions(&self) -> Result<Vec<ControllerRevision>, Error> {
        let api = self.namespaced::<ControllerRevision>();
        let ours = format!("{CLUSTER_UID}={},{ROLE}={REVISION_ROLE}", self.subject.uid);
        let list = ListParams::default().labels(&ours);
        Ok(within(api.list(&list)).await?.items)
    }

    /// A StatefulSet of the cluster, if it is there.
    ///
    /// # Errors
    /// Also when one of this name is somebody else's: it is neither changed nor deleted.
    pub(super) async fn stateful_set(&self, name: &str) -> Result<Option<StatefulSet>, Error> {
        let found = within(self.namespaced::<StatefulSet>().get_opt(name)).await?;
        match found {
            Some(found) if found.labels().get(CLUSTER_UID) != Some(&self.subject.uid) => {
                Err(Error::NotOurs {
                    kind: "StatefulSet",
                    name: name.to_owned(),
                })
            },
            found => Ok(found),
        }
    }

    /// The claims of another cluster of this name.
    pub(super) async fn claims_of(&self, uid: &str) -> Result<Vec<PersistentVolumeClaim>, Error> {
        let theirs = format!("{CLUSTER_UID}={uid},{CLUSTER}={}", self.subject.name);
        let list = ListParams::default().labels(&theirs);
        let api = self.namespaced::<PersistentVolumeClaim>();
        Ok(within(api.list(&list)).await?.items)
    }

    /// The UID of an object of this name, if there is one of this cluster.
    pub(super) async fn uid_of<K>(&self, name: &str) -> Result<Option<String>, Error>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let found = within(self.namespaced::<K>().get_opt(name)).await?;
        let ours = found.filter(|one| one.labels().get(CLUSTER_UID) == Some(&self.subject.uid));
        Ok(ours.and_then(|one| one.uid()))
    }

    /// Merges a change into an object of the cluster.
    pub(super) async fn merge<K>(&self, name: &str, change: &Value) -> Result<(), Error>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(change);
        within(self.namespaced::<K>().patch(name, &parameters, &patch)).await?;
        Ok(())
    }

    /// Deletes this very object and no other of its name; one that is gone is as good.
    pub(super) async fn delete<K>(&self, name: &str, uid: &str, how: Fate) -> Result<(), Error>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let parameters = of_uid(Some(uid.to_owned()), how);
        gone(within(self.namespaced::<K>().delete(name, &parameters)).await)
    }
}

/// What deletes the object of this UID only.
fn of_uid(uid: Option<String>, how: Fate) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        propagation_policy: match how {
            Fate::Whole => None,
            Fate::LeavingPods => Some(PropagationPolicy::Orphan),
        },
        ..DeleteParams::default()
    }
}

/// What was to be deleted is gone also when it was before, or when another has its name.
fn gone<T>(deleted: Result<T, Error>) -> Result<(), Error> {
    match deleted {
        Ok(_) => Ok(()),
        Err(Error::Kubernetes(kube::Error::Api(status)))
            if status.is_not_found() || status.is_conflict() =>
        {
            Ok(())
        },
        Err(error) => Err(error),
    }
}

/// What becomes of the pods of a controller that is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They go with it.
    Whole,
    /// They stay, for one of its name to take over.
    LeavingPods,
}

/// A request within its deadline.
pub(super) async fn within<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(answered) => Ok(answered?),
        Err(_elapsed) => Err(Error::Deadline(REQUEST_TIMEOUT)),
    }
}
