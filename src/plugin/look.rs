//! The API server, as far as the plugin asks it: the kubeconfig's, each request with a deadline, each list
//! with a bound.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, ResourceExt};
use serde_json::Value;

use super::{Error, FIELD_MANAGER};
use crate::crd::marks::CLUSTER;
use crate::crd::v1alpha1::VectorCluster;

/// How long one request to the API server may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Changes that come together are shown together.
const GATHER: Duration = Duration::from_millis(200);
/// Objects of one kind that are looked at: a cluster has at most 512 workers.
const OBJECTS_MAX: u32 = 1_000;

/// Which Kubernetes, and as whom: what every command of `kubectl` takes.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// The kubeconfig; none: that of `KUBECONFIG` or the home folder, else a pod's account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; none: the current one.
    pub context: Option<String>,
    /// The namespace; none: that of the context.
    pub namespace: Option<String>,
}

/// One namespace of a Kubernetes.
#[derive(Clone)]
pub struct Access {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) connection: Connection,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// What was seen of one cluster.
#[derive(Debug, Clone)]
pub struct Sight {
    /// The cluster.
    pub cluster: VectorCluster,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Warnings of its namespace; empty where they were not asked for.
    pub events: Vec<Event>,
    /// When it was looked, in seconds since 1970.
    pub now: i64,
}

impl Access {
    /// Reads the kubeconfig. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Kubeconfig`], [`Error::NoKubeconfig`], or what a client cannot be made of.
    pub async fn new(connection: Connection) -> Result<Self, Error> {
        let options = KubeConfigOptions {
            context: connection.context.clone(),
            ..KubeConfigOptions::default()
        };
        let wrong = |error| Error::Kubeconfig(Box::new(error));
        let config = match (&connection.kubeconfig, &connection.context) {
            (Some(file), _) => {
                let kubeconfig = Kubeconfig::read_from(file).map_err(wrong)?;
                let read = Config::from_custom_kubeconfig(kubeconfig, &options);
                read.await.map_err(wrong)?
            },
            (None, Some(_)) => Config::from_kubeconfig(&options).await.map_err(wrong)?,
            (None, None) => Config::infer()
                .await
                .map_err(|error| Error::NoKubeconfig(Box::new(error)))?,
        };
        let namespace = connection.namespace.clone();
        Ok(Self {
            namespace: namespace.unwrap_or_else(|| config.default_namespace.clone()),
            client: Client::try_from(config)?,
            connection,
        })
    }

    /// The namespace that is looked at.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn of<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The cluster of this name.
    ///
    /// # Errors
    /// [`Error::NoCluster`], or the API server's.
    pub async fn cluster(&self, name: &str) -> Result<VectorCluster, Error> {
        let found = within(self.of::<VectorCluster>().get_opt(name)).await?;
        match found {
            Some(cluster) => Ok(cluster),
            None => {
                // It says the same of a name that it does not have and of a kind that it does not know.
                self.clusters(Reach::Namespace).await?;
                Err(Error::NoCluster {
                    name: name.to_owned(),
                    namespace: self.namespace.clone(),
                })
            },
        }
    }

    /// The clusters that there are.
    ///
    /// # Errors
    /// [`Error::NoDefinition`], or the API server's.
    pub async fn clusters(&self, reach: Reach) -> Result<Vec<VectorCluster>, Error> {
        let api = match reach {
            Reach::Namespace => self.of::<VectorCluster>(),
            Reach::All => Api::all(self.client.clone()),
        };
        match within(api.list(&bounded())).await {
            Ok(list) => Ok(list.items),
            Err(error) if error.is_not_found() => Err(Error::NoDefinition),
            Err(error) => Err(error),
        }
    }

    /// The pods of a cluster, by role and name.
    ///
    /// # Errors
    /// The API server's.
    pub async fn pods(&self, cluster: &str) -> Result<Vec<Pod>, Error> {
        let list = bounded().labels(&selector(cluster));
        let mut pods = within(self.of::<Pod>().list(&list)).await?.items;
        pods.sort_by_key(super::pods::order);
        Ok(pods)
    }

    /// A cluster and its pods.
    ///
    /// # Errors
    /// As [`Access::cluster`].
    pub async fn sight(&self, name: &str) -> Result<Sight, Error> {
        let cluster = self.cluster(name).await?;
        Ok(Sight {
            pods: self.pods(name).await?,
            cluster,
            events: Vec::new(),
            now: jiff::Timestamp::now().as_second(),
        })
    }

    /// The same with the warnings of the namespace.
    ///
    /// # Errors
    /// As [`Access::cluster`].
    pub async fn sight_with_warnings(&self, name: &str) -> Result<Sight, Error> {
        let mut sight = self.sight(name).await?;
        let warnings = bounded().fields("type=Warning");
        sight.events = within(self.of::<Event>().list(&warnings)).await?.items;
        Ok(sight)
    }

    /// Shows a cluster and its pods each time that one of them changes, until nobody reads it any more.
    ///
    /// # Errors
    /// As [`Access::cluster`] at first; later the API server may be away for a while.
    pub async fn watch(
        &self,
        name: &str,
        mut show: impl FnMut(&Sight) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // One that is not there is no reason to wait for ever.
        show(&self.sight(name).await?)?;
        let this = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let pods = watcher::Config::default().labels(&selector(name));
        let cluster = watcher(self.of::<VectorCluster>(), this).default_backoff();
        let pods = watcher(self.of::<Pod>(), pods).default_backoff();
        // What is not there any more is seen when it is looked at; what failed is tried again.
        let mut news = pin!(futures::stream::select(
            cluster.map(|change| change.is_ok()),
            pods.map(|change| change.is_ok()),
        ));
        while let Some(changed) = news.next().await {
            if !changed {
                continue;
            }
            // One change seldom comes alone.
            let quiet = async { while news.next().await.is_some() {} };
            drop(tokio::time::timeout(GATHER, quiet).await);
            show(&self.sight(name).await?)?;
        }
        Ok(())
    }

    /// Merges a change into this very cluster: one of another UID is left alone.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is another by now, or the API server's.
    pub async fn merge(&self, cluster: &VectorCluster, mut change: Value) -> Result<(), Error> {
        let name = cluster.name_any();
        if let (Some(change), Some(uid)) = (change.as_object_mut(), cluster.uid()) {
            let metadata = change
                .entry("metadata")
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("uid".to_owned(), Value::String(uid));
            }
        }
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.of::<VectorCluster>();
        match within(api.patch(&name, &parameters, &Patch::Merge(change))).await {
            Ok(_changed) => Ok(()),
            Err(error) if error.is_conflict() => Err(Error::Refused(format!(
                "VectorCluster {name} was changed or made anew in between; look again"
            ))),
            Err(error) => Err(error),
        }
    }

    /// What a Secret holds under a key.
    ///
    /// # Errors
    /// [`Error::Incomplete`], or the API server's.
    pub(super) async fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>, Error> {
        let found = within(self.of::<Secret>().get_opt(name)).await?;
        let incomplete = |field: &str| Error::Incomplete {
            object: format!("Secret {name} of namespace {}", self.namespace),
            field: field.to_owned(),
        };
        let secret = found.ok_or_else(|| incomplete("data: it is not there"))?;
        let data = secret.data.unwrap_or_default();
        let value = data.get(key).ok_or_else(|| incomplete(key))?;
        Ok(value.0.clone())
    }
}

/// How far a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One namespace.
    Namespace,
    /// All of them.
    All,
}

/// The objects of a cluster, by their label.
pub(super) fn selector(cluster: &str) -> String {
    format!("{CLUSTER}={cluster}")
}

/// A list of bounded length.
pub(super) fn bounded() -> ListParams {
    ListParams::default().limit(OBJECTS_MAX)
}

/// A request within its deadline. Boxed: a request with its decoding is large.
pub(super) fn within<'a, T>(
    request: impl Future<Output = Result<T, kube::Error>> + Send + 'a,
) -> BoxFuture<'a, Result<T, Error>> {
    let timed = tokio::time::timeout(REQUEST_TIMEOUT, request);
    Box::pin(async move {
        match timed.await {
            Ok(answered) => Ok(answered?),
            Err(_elapsed) => Err(Error::Deadline(REQUEST_TIMEOUT)),
        }
    })
}
