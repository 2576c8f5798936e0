//! The API server, as far as one cluster's objects need it: apply, list, delete, each with a deadline.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Client, ResourceExt};
use serde_json::Value;

use super::Error;
use super::names::{CLUSTER_UID, MANAGER, Subject};

/// How long one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

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

    /// Makes an object as it is rendered, or changes what is ours of it.
    pub(super) async fn apply(&self, object: &Value) -> Result<(), Error> {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (group, version) = text("/apiVersion")
            .split_once('/')
            .unwrap_or_else(|| ("", text("/apiVersion")));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.subject.namespace, &resource);
        let parameters = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(object);
        within(api.patch(text("/metadata/name"), &parameters, &patch)).await?;
        Ok(())
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
        let there = within(self.namespaced::<PersistentVolumeClaim>().get_opt(name)).await?;
        let of = there.map(|claim| claim.labels().get(CLUSTER_UID).cloned().unwrap_or_default());
        match of {
            Some(uid) if uid != self.subject.uid => Err(Error::Foreign {
                claim: name.to_owned(),
                uid,
            }),
            Some(_) | None => self.apply(claim).await,
        }
    }

    fn ours(&self) -> ListParams {
        ListParams::default().labels(&format!("{CLUSTER_UID}={}", self.subject.uid))
    }

    /// A Secret, if it is there.
    pub(super) async fn secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        within(self.namespaced::<Secret>().get_opt(name)).await
    }

    /// Deletes this very pod and no other of its name.
    pub(super) async fn delete_pod(&self, pod: &Pod) -> Result<(), Error> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let deleted = within(
            self.namespaced::<Pod>()
                .delete(&pod.name_any(), &parameters),
        )
        .await;
        match deleted {
            Ok(_) => Ok(()),
            // It is gone, or another has its name.
            Err(Error::Kubernetes(kube::Error::Api(status)))
                if status.is_not_found() || status.is_conflict() =>
            {
                Ok(())
            },
            Err(error) => Err(error),
        }
    }
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
