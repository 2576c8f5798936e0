//! What there is of a cluster: its pods, its volumes, its revisions.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::Error;
use super::cluster_api::ClusterApi;
use super::names::{FAILED, ORDINAL, RETIRED, REVISION, ROLE};
use super::ordinals::joined;
use super::revisions::{Kept, Templates};
use crate::crd::v1alpha1::VectorClusterStatus;
use crate::topology::{Observation, Observed, Role, State};

/// Why a container waits that does not start by itself.
const STUCK: &[&str] = &[
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImagePull",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// How long after its time a pod may still be there before that is told: its node may be gone.
const OVERDUE_SECONDS: i64 = 20;

/// One pod of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodSeen {
    pub(super) role: Role,
    pub(super) ordinal: u32,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) node: Option<String>,
    pub(super) address: Option<String>,
    pub(super) created: Option<Timestamp>,
    /// Since when it is not ready, while it is not.
    pub(super) unready_since: Option<Timestamp>,
    /// Which template it was made from.
    pub(super) revision: Option<String>,
    pub(super) ready: bool,
    /// It was told to end.
    pub(super) leaving: bool,
    /// It has ended and does not start again by itself.
    pub(super) over: bool,
    /// Why it cannot become ready.
    pub(super) trouble: Option<String>,
}

impl PodSeen {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where this port of it is; none while it has no address.
    pub(super) fn at(&self, port: u16) -> Option<SocketAddr> {
        socket(self.address.as_deref(), port)
    }
}

/// One volume of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimSeen {
    pub(super) role: Role,
    pub(super) ordinal: u32,
    pub(super) name: String,
    pub(super) uid: String,
    /// Its worker was scaled away; it is kept and never used again.
    pub(super) retired: bool,
    pub(super) leaving: bool,
    /// The size that is asked for.
    pub(super) asked: String,
    /// The size that it has; empty until it is bound.
    pub(super) capacity: String,
    /// What its growth waits for.
    pub(super) resize: Option<String>,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) pods: Vec<PodSeen>,
    pub(super) claims: Vec<ClaimSeen>,
    pub(super) revisions: Vec<Kept>,
    /// Members that etcd's StatefulSet was made with.
    pub(super) etcd: Option<StatefulSet>,
}

impl Seen {
    /// Looks at the objects of a cluster.
    pub(super) async fn look(api: &ClusterApi, now: Timestamp) -> Result<Self, Error> {
        let (pods, claims) = (api.pods().await?, api.claims().await?);
        let revisions = api.revisions().await?;
        let mut claims: Vec<ClaimSeen> = claims.iter().filter_map(claim_seen).collect();
        claims.sort_by_key(|claim| (claim.role, claim.ordinal));
        let mut pods: Vec<PodSeen> = pods.iter().filter_map(|pod| pod_seen(pod, now)).collect();
        pods.sort_by(|one, other| {
            (one.role, one.ordinal, &one.name).cmp(&(other.role, other.ordinal, &other.name))
        });
        Ok(Self {
            pods,
            claims,
            revisions: revisions.iter().filter_map(kept).collect(),
            etcd: api.stateful_set(&api.subject.of(Role::Etcd)).await?,
        })
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

    /// The volumes of workers that are not scaled away.
    pub(super) fn worker_claims(&self) -> impl Iterator<Item = &ClaimSeen> {
        let workers = self.claims.iter().filter(|one| one.role == Role::Worker);
        workers.filter(|claim| !claim.retired && !claim.leaving)
    }

    /// A revision by its hash.
    pub(super) fn revision(&self, hash: &str) -> Option<&Kept> {
        self.revisions.iter().find(|kept| kept.hash == hash)
    }

    /// What the planner is told: a worker exists that has a pod or a volume, or that joined and was not let
    /// go. One that lost both at once would else be forgotten, and its shards with it.
    pub(super) fn observation(
        &self,
        subject: &str,
        before: Option<&VectorClusterStatus>,
    ) -> Observation {
        let next = before.and_then(|status| status.next_worker_ordinal);
        let next_worker_ordinal = u32::try_from(next.unwrap_or(0)).unwrap_or(0);
        let mut workers: BTreeMap<u32, State> = self
            .worker_claims()
            .map(|claim| claim.ordinal)
            .chain(joined(before))
            .map(|ordinal| (ordinal, State::Stopped))
            .collect();
        for pod in self.of(Role::Worker).filter(|pod| !pod.over) {
            workers.insert(pod.ordinal, State::Running);
        }
        let gateways = self
            .of(Role::Gateway)
            .filter(|pod| !pod.leaving && !pod.over);
        let component = |role: Role, ordinal: u32, state: State| Observed {
            role,
            name: format!("{subject}-{role}-{ordinal}"),
            ordinal,
            state,
        };
        let components = workers
            .into_iter()
            .map(|(ordinal, state)| component(Role::Worker, ordinal, state));
        let gateways = (0..)
            .zip(gateways)
            .map(|(ordinal, _)| component(Role::Gateway, ordinal, State::Running));
        // A number that stood on a volume or pod is not given out again, kept or gone.
        let claims = self.claims.iter().filter(|one| one.role == Role::Worker);
        let used = claims.map(|claim| claim.ordinal);
        let used = used.chain(self.of(Role::Worker).map(|pod| pod.ordinal));
        let above = used.map(|ordinal| ordinal.saturating_add(1)).max();
        Observation {
            components: components.chain(gateways).collect(),
            next_worker_ordinal: next_worker_ordinal.max(above.unwrap_or(0)),
        }
    }
}

fn role(name: &str) -> Option<Role> {
    match name {
        "etcd" => Some(Role::Etcd),
        "master" => Some(Role::Master),
        "worker" => Some(Role::Worker),
        "gateway" => Some(Role::Gateway),
        _ => None,
    }
}

fn pod_seen(pod: &Pod, now: Timestamp) -> Option<PodSeen> {
    let labels = pod.labels();
    let role = role(labels.get(ROLE)?)?;
    let name = pod.name_any();
    // A StatefulSet's pods have their number in their name only.
    let ordinal = labels.get(ORDINAL).map_or_else(
        || name.rsplit('-').next().and_then(|end| end.parse().ok()),
        |text| text.parse().ok(),
    );
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten().any(is_ready);
    let phase = status.and_then(|status| status.phase.as_deref());
    let leaving = pod.metadata.deletion_timestamp.is_some();
    Some(PodSeen {
        role,
        ordinal: ordinal.unwrap_or(0),
        uid: pod.uid().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        address: status.and_then(|status| status.pod_ip.clone()),
        created: pod.creation_timestamp().map(|time| time.0),
        unready_since: unready_since(pod),
        revision: labels.get(REVISION).cloned(),
        ready: ready && !leaving,
        leaving,
        over: matches!(phase, Some("Failed" | "Succeeded")),
        trouble: trouble(pod, now),
        name,
    })
}

fn is_ready(condition: &k8s_openapi::api::core::v1::PodCondition) -> bool {
    condition.type_ == "Ready" && condition.status == "True"
}

/// A port at the address that a pod's status tells.
pub(super) fn socket(address: Option<&str>, port: u16) -> Option<SocketAddr> {
    let address: IpAddr = address?.parse().ok()?;
    Some(SocketAddr::new(address, port))
}

/// Since when a pod is not ready; one that never said so, since it was made.
fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.iter().flatten();
    let mut unready = conditions.filter(|one| one.type_ == "Ready" && one.status != "True");
    let since = unready
        .next()
        .and_then(|one| one.last_transition_time.clone());
    since
        .or_else(|| pod.creation_timestamp())
        .map(|time| time.0)
}

/// Why a pod cannot become ready by waiting.
fn trouble(pod: &Pod, now: Timestamp) -> Option<String> {
    let status = pod.status.as_ref()?;
    let told = pod.metadata.deletion_timestamp.as_ref();
    if told.is_some_and(|told| now.as_second() - told.0.as_second() > OVERDUE_SECONDS) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.unwrap_or("its node");
        return Some(format!("it was told to end, and {node} has not ended it"));
    }
    let conditions = status.conditions.iter().flatten();
    let mut unscheduled =
        conditions.filter(|one| one.type_ == "PodScheduled" && one.status == "False");
    if let Some(condition) = unscheduled.next() {
        let message = condition.message.as_deref().unwrap_or("no node takes it");
        return Some(format!("it is on no node: {message}"));
    }
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("its container failed");
        return Some(format!("it has ended: {reason}"));
    }
    let mut containers = status.container_statuses.iter().flatten();
    containers.find_map(stuck)
}

fn stuck(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    if !STUCK.contains(&reason) {
        return None;
    }
    // The message of a back-off counts seconds: what it repeats is enough.
    let image = match reason {
        "CrashLoopBackOff" | "RunContainerError" => "",
        _ => &container.image,
    };
    Some(format!("{reason} {image}").trim_end().to_owned())
}

fn claim_seen(claim: &PersistentVolumeClaim) -> Option<ClaimSeen> {
    let labels = claim.labels();
    let role = role(labels.get(ROLE)?)?;
    let name = claim.name_any();
    let ordinal = name.rsplit('-').next().and_then(|end| end.parse().ok());
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref();
    let asked = requests.and_then(|requests| requests.get("storage"));
    let status = claim.status.as_ref();
    let capacity = status.and_then(|status| status.capacity.as_ref()?.get("storage"));
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let resize = conditions.into_iter().flatten().find(|one| {
        one.status == "True" && (one.type_.contains("Resiz") || one.type_.contains("Resize"))
    });
    Some(ClaimSeen {
        role,
        ordinal: ordinal?,
        uid: claim.uid().unwrap_or_default(),
        retired: labels.contains_key(RETIRED),
        leaving: claim.metadata.deletion_timestamp.is_some(),
        asked: asked.map(|size| size.0.clone()).unwrap_or_default(),
        capacity: capacity.map(|size| size.0.clone()).unwrap_or_default(),
        resize: resize.map(|one| one.type_.clone()),
        name,
    })
}

fn kept(revision: &ControllerRevision) -> Option<Kept> {
    let held: Templates = serde_json::from_value(revision.data.as_ref()?.0.clone()).ok()?;
    Some(Kept {
        hash: revision.labels().get(REVISION)?.clone(),
        uid: revision.uid().unwrap_or_default(),
        number: revision.revision,
        failed: revision.annotations().get(FAILED).cloned(),
        held,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_at_an_address_of_either_family_and_nowhere_without_one() {
        let at = |address| socket(address, 2379).map(|at| at.to_string());
        assert_eq!(at(Some("10.0.0.7")).as_deref(), Some("10.0.0.7:2379"));
        assert_eq!(at(Some("fd00::7")).as_deref(), Some("[fd00::7]:2379"));
        assert_eq!(
            [at(Some("")), at(Some("here")), at(None)],
            [None, None, None]
        );
    }
}
