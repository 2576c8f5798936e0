//! What there is of a cluster: its pods, its volumes, and what its masters say.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use super::Error;
use super::cluster_api::ClusterApi;
use super::credentials::Maker;
use super::names::{ORDINAL, ROLE};
use super::render::RPC_PORT;
use crate::fault::Kind;
use crate::rpc::{self, Channels, Request, proto};
use crate::security::Peer;
use crate::topology::{Observation, Observed, Role, State};

/// How long the masters have to say how the cluster is.
const MASTERS_TIMEOUT: Duration = Duration::from_secs(5);

/// One pod of a cluster.
#[derive(Debug, Clone)]
pub(super) struct PodSeen {
    pub(super) role: Role,
    pub(super) ordinal: u32,
    pub(super) ready: bool,
    /// It has ended and does not start again by itself.
    pub(super) over: bool,
    pub(super) pod: Pod,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) pods: Vec<PodSeen>,
    /// Numbers of workers that have a volume.
    pub(super) claims: Vec<u32>,
}

impl Seen {
    /// Looks at the objects of a cluster.
    pub(super) async fn look(api: &ClusterApi) -> Result<Self, Error> {
        let pods = api.pods().await?.into_iter().filter_map(pod_seen).collect();
        let mut claims: Vec<u32> = api
            .claims()
            .await?
            .iter()
            .filter_map(claim_ordinal)
            .collect();
        claims.sort_unstable();
        Ok(Self { pods, claims })
    }

    /// The pods of a role.
    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = &PodSeen> {
        self.pods.iter().filter(move |pod| pod.role == role)
    }

    /// How many pods of a role are ready.
    pub(super) fn ready(&self, role: Role) -> u32 {
        let ready = self.of(role).filter(|pod| pod.ready).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// What the planner is told: a worker exists that has a pod or a volume.
    pub(super) fn observation(&self, subject: &str, next_worker_ordinal: u32) -> Observation {
        let mut workers: BTreeMap<u32, State> = self
            .claims
            .iter()
            .map(|ordinal| (*ordinal, State::Stopped))
            .collect();
        for pod in self.of(Role::Worker).filter(|pod| !pod.over) {
            workers.insert(pod.ordinal, State::Running);
        }
        let components = workers.into_iter().map(|(ordinal, state)| Observed {
            role: Role::Worker,
            name: format!("{subject}-{}-{ordinal}", Role::Worker),
            ordinal,
            state,
        });
        Observation {
            components: components.collect(),
            next_worker_ordinal,
        }
    }

    /// Asks the masters how the cluster is; the first that answers.
    pub(super) async fn ask_masters(
        &self,
        api: &ClusterApi,
        maker: &Maker,
    ) -> Result<proto::GetClusterStateResponse, Error> {
        let channels = Channels::new(maker.peers(api).await?);
        let mut last = rpc::Error::new(
            Kind::Unavailable,
            "operator.no_master",
            "no master is ready",
        );
        for master in self.of(Role::Master).filter(|pod| pod.ready) {
            let status = master.pod.status.as_ref();
            let Some(address) = status.and_then(|status| status.pod_ip.as_ref()) else {
                continue;
            };
            let channel = channels.to(Peer::Master, &format!("{address}:{RPC_PORT}"))?;
            let mut request = Request::new(proto::GetClusterStateRequest {});
            request.set_timeout(MASTERS_TIMEOUT);
            let mut client = rpc::channel::admin_client(channel);
            let asked = client.get_cluster_state(request);
            last = match tokio::time::timeout(MASTERS_TIMEOUT, asked).await {
                Ok(Ok(state)) => return Ok(state.into_inner()),
                Ok(Err(status)) => rpc::from_status(&status, false),
                Err(_elapsed) => {
                    rpc::Error::new(Kind::Timeout, "operator.master", "a master is silent")
                },
            };
        }
        Err(last.into())
    }
}

fn pod_seen(pod: Pod) -> Option<PodSeen> {
    let role = match pod.labels().get(ROLE)?.as_str() {
        "etcd" => Role::Etcd,
        "master" => Role::Master,
        "worker" => Role::Worker,
        "gateway" => Role::Gateway,
        _ => return None,
    };
    let ordinal = pod.labels().get(ORDINAL).and_then(|text| text.parse().ok());
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.is_some_and(|conditions| {
        let is_ready = |condition: &&_| is_ready(condition);
        conditions.iter().find(is_ready).is_some()
    });
    let phase = status.and_then(|status| status.phase.as_deref());
    let leaving = pod.metadata.deletion_timestamp.is_some();
    Some(PodSeen {
        role,
        ordinal: ordinal.unwrap_or(0),
        ready: ready && !leaving,
        over: matches!(phase, Some("Failed" | "Succeeded")),
        pod,
    })
}

fn is_ready(condition: &k8s_openapi::api::core::v1::PodCondition) -> bool {
    condition.type_ == "Ready" && condition.status == "True"
}

fn claim_ordinal(claim: &PersistentVolumeClaim) -> Option<u32> {
    let labels = claim.labels();
    (labels.get(ROLE)? == "worker").then_some(())?;
    labels.get(ORDINAL)?.parse().ok()
}
