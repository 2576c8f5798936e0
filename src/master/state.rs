//! The state of the whole cluster, for people and for the operator.
//!
//! Read from etcd at the moment of the question when etcd answers; what etcd does not know, the
//! workers are asked. Who does not answer in time is reported as such: this never waits for the sick.

mod jobs;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use crate::clock::Clock;
use crate::coordination::election::{Election, Leadership};
use crate::coordination::mirror::Mirror;
use crate::coordination::records::{
    CollectionState, NameKind, ServiceRecord, ServiceState, ShardRecord,
};
use crate::coordination::{Etcd, Keys, keys};
use crate::ids::{CollectionId, NodeId, ShardId};
use crate::router::Maps;
use crate::rpc::{self, Channels, Request, convert, proto};
use crate::security::Peer;

const REFRESH_TIMEOUT: Duration = Duration::from_secs(1);
const WORKER_TIMEOUT: Duration = Duration::from_secs(1);

/// Gathers the state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) maps: Maps,
    pub(super) masters: Arc<Mirror<ServiceRecord>>,
    pub(super) gateways: Arc<Mirror<ServiceRecord>>,
    pub(super) election: Arc<Election>,
    pub(super) channels: Arc<Channels>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cluster_uid: uuid::Uuid,
    pub(super) etcd: Etcd,
    pub(super) keys: Keys,
}

/// What a worker said of its shards, or that it did not.
pub(super) type Reports = HashMap<NodeId, Result<proto::ShardsResponse, String>>;

impl State {
    pub(super) async fn gather(&self) -> proto::GetClusterStateResponse {
        let mut jobs = Vec::new();
        let deadline = self.clock.now() + REFRESH_TIMEOUT;
        let fresh = tokio::join!(
            self.maps.collections.refresh(deadline),
            self.maps.names.refresh(deadline),
            self.maps.shards.refresh(deadline),
            self.maps.workers.refresh(deadline),
            self.masters.refresh(deadline),
            self.gateways.refresh(deadline),
        );
        let stale = fresh.0.is_err()
            || fresh.1.is_err()
            || fresh.2.is_err()
            || fresh.3.is_err()
            || fresh.4.is_err()
            || fresh.5.is_err();
        if stale {
            let age = self.maps.shards.age().as_secs();
            jobs.push(format!(
                "etcd does not answer: this is what it said {age} s ago"
            ));
        }
        let (leader, term) = match &*self.election.leadership().borrow() {
            Leadership::Leader { term } => (self.election.name().to_owned(), term.0),
            Leadership::Follower {
                leader: Some((record, term)),
            } => (record.name.clone(), term.0),
            Leadership::Follower { leader: None } | Leadership::Unknown => {
                jobs.push("no master leads: collections cannot be changed".to_owned());
                (String::new(), 0)
            },
        };
        let reports = self.ask_workers().await;
        let processes = self.processes(&reports);
        let away = self.away().await;
        let collections = self.collections((&reports, &away), &mut jobs);
        jobs.extend(self.without_record(&reports));
        jobs.extend(self.mirrors());
        proto::GetClusterStateResponse {
            cluster_uid: self.cluster_uid.to_string(),
            revision: self.maps.shards.revision().0,
            term,
            leader,
            processes,
            collections,
            jobs,
            stale,
        }
    }

    /// What each registered worker says of its shards.
    pub(super) async fn ask_workers(&self) -> Reports {
        let workers = self.maps.workers.view();
        let calls = workers.iter().map(|(_key, held)| async {
            (
                held.value.node,
                self.ask_worker(&held.value.rpc_address).await,
            )
        });
        join_all(calls).await.into_iter().collect()
    }

    async fn ask_worker(&self, address: &str) -> Result<proto::ShardsResponse, String> {
        let channel = self
            .channels
            .to(Peer::Worker, address)
            .map_err(|error| error.to_string())?;
        let mut client = rpc::channel::shard_client(channel);
        let mut request = Request::new(proto::ShardsRequest {});
        request.set_timeout(WORKER_TIMEOUT);
        match tokio::time::timeout(WORKER_TIMEOUT, client.shards(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(rpc::from_status(&status, false).to_string()),
            Err(_elapsed) => Err(format!("no answer in {} s", WORKER_TIMEOUT.as_secs())),
        }
    }

    fn processes(&self, reports: &Reports) -> Vec<proto::ProcessState> {
        let views = [
            self.gateways.view(),
            self.masters.view(),
            self.maps.workers.view(),
        ];
        let records = views.iter().flat_map(|view| view.iter());
        let mut processes: Vec<_> = records
            .map(|(_key, held)| {
                let record = &held.value;
                let said = reports.get(&record.node);
                let health = match said {
                    Some(Err(problem)) => problem.clone(),
                    Some(Ok(said)) => jobs::worker_health(&said.shards),
                    // Of the others it is known that their lease lives, and no more.
                    None => "registered".to_owned(),
                };
                proto::ProcessState {
                    node: record.node.to_string(),
                    name: record.name.clone(),
                    role: record.role.clone(),
                    version: record.version.clone(),
                    state: service_state(record.state).to_owned(),
                    health,
                    lease: held.lease,
                    rpc_address: record.rpc_address.clone(),
                    http_address: record.http_address.clone(),
                    since_ms: record.since_ms,
                    disk: said.and_then(|said| said.as_ref().ok()?.disk),
                }
            })
            .collect();
        processes.sort_by(|a, b| (&a.role, &a.name).cmp(&(&b.role, &b.name)));
        processes
    }

    /// The names of the workers that hold shards and are not registered, as far as etcd tells them.
    async fn away(&self) -> HashMap<NodeId, String> {
        let workers = self.maps.workers.view();
        let is_away = |node: &NodeId| workers.get(&node.to_string()).is_none();
        let shards = self.maps.shards.view();
        if !shards
            .iter()
            .any(|(_key, held)| is_away(&held.value.primary))
        {
            return HashMap::new();
        }
        let prefix = self.keys.nodes();
        let listed = tokio::time::timeout(REFRESH_TIMEOUT, self.etcd.list(&prefix)).await;
        let Ok(Ok(listed)) = listed else {
            return HashMap::new();
        };
        let named = listed.entries.into_iter().filter_map(|entry| {
            let node = uuid::Uuid::try_parse(entry.key.strip_prefix(&prefix)?).ok()?;
            Some((NodeId(node), String::from_utf8(entry.value).ok()?))
        });
        named.filter(|(node, _name)| is_away(node)).collect()
    }

    fn collections(
        &self,
        (reports, away): (&Reports, &HashMap<NodeId, String>),
        told: &mut Vec<String>,
    ) -> Vec<proto::CollectionState> {
        let mut aliases: HashMap<CollectionId, Vec<String>> = HashMap::new();
        for (suffix, held) in self.maps.names.view().iter() {
            if held.value.kind == NameKind::Alias {
                let alias = keys::name_of_suffix(suffix);
                aliases
                    .entry(held.value.collection)
                    .or_default()
                    .extend(alias);
            }
        }
        let mut collections = Vec::new();
        for (_key, held) in self.maps.collections.view().iter() {
            let record = &held.value;
            let state = match record.state {
                CollectionState::Creating => "creating",
                CollectionState::Active => "active",
                CollectionState::Deleting => "deleting",
            };
            if record.state != CollectionState::Active {
                told.push(format!("{state} collection `{}`", record.name));
            }
            let shards = self.maps.shards(record.id).into_iter().map(|shard| {
                let report = report(reports, record.id, shard.number, &shard.record);
                let worker = away.get(&shard.record.primary).cloned();
                let worker = worker.unwrap_or(shard.worker);
                told.extend(jobs::of_shard(
                    &record.name.to_string(),
                    shard.number,
                    &worker,
                    &report,
                ));
                proto::ShardState {
                    number: u32::from(shard.number),
                    worker,
                    epoch: shard.record.epoch.0,
                    report: Some(report),
                }
            });
            collections.push(proto::CollectionState {
                id: record.id.to_string(),
                name: record.name.to_string(),
                dimensions: u32::try_from(record.dimensions).unwrap_or(u32::MAX),
                distance: record.distance.as_str().to_owned(),
                state: state.to_owned(),
                aliases: aliases.remove(&record.id).unwrap_or_default(),
                shards: shards.collect(),
                config: record.config.to_string().into(),
                index_algorithm: record.index.algorithm.clone(),
                index_parameters: record.index.parameters.clone().into_iter().collect(),
            });
        }
        collections.sort_by(|a, b| a.name.cmp(&b.name));
        collections
    }

    /// What the workers have that no record gives them: after etcd has lost records, all that is
    /// left of a collection.
    fn without_record(&self, reports: &Reports) -> Vec<String> {
        let workers = self.maps.workers.view();
        let of_worker = workers.iter().filter_map(|(_key, held)| {
            let said = reports.get(&held.value.node)?.as_ref().ok()?;
            let lost = said.shards.iter().filter_map(|report| {
                let id = convert::collection_from_wire(&report.collection).ok()?;
                let number = u16::try_from(report.shard).ok()?;
                let lost =
                    report.state != "deleting" && !self.is_given(held.value.node, id, number);
                lost.then(|| (id.to_string(), report.shard))
            });
            jobs::without_record(&held.value.name, lost.collect())
        });
        of_worker.collect()
    }

    /// Whether a record gives a shard to a worker, or is about to.
    fn is_given(&self, node: NodeId, id: CollectionId, number: u16) -> bool {
        let shards = self.maps.shards.view();
        let shard = ShardId {
            collection: id,
            number,
        };
        if let Some(held) = shards.get(&keys::shard_suffix(shard)) {
            return held.value.replicas.contains(&node);
        }
        // While a collection is made or removed its data is there without a record.
        let collection = self.maps.collection(id);
        collection.is_some_and(|found| found.record.state != CollectionState::Active)
    }

    fn mirrors(&self) -> Vec<String> {
        let Maps {
            collections,
            names,
            shards,
            workers,
        } = &self.maps;
        [
            (
                "collections",
                collections.condition(),
                collections.unreadable(),
            ),
            ("names", names.condition(), names.unreadable()),
            ("shards", shards.condition(), shards.unreadable()),
            ("workers", workers.condition(), workers.unreadable()),
            (
                "masters",
                self.masters.condition(),
                self.masters.unreadable(),
            ),
            (
                "gateways",
                self.gateways.condition(),
                self.gateways.unreadable(),
            ),
        ]
        .into_iter()
        .flat_map(|(records, condition, unreadable)| {
            jobs::of_mirror(records, condition, unreadable)
        })
        .collect()
    }
}

fn service_state(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Starting => "starting",
        ServiceState::Serving => "serving",
        ServiceState::Draining => "draining",
    }
}

/// What the primary of a shard said of it.
fn report(
    reports: &Reports,
    collection: CollectionId,
    number: u16,
    record: &ShardRecord,
) -> proto::ShardReport {
    let wire = convert::collection_to_wire(collection);
    let silent = |state: &str, note: String| proto::ShardReport {
        collection: wire.clone(),
        shard: u32::from(number),
        state: state.to_owned(),
        note,
        ..proto::ShardReport::default()
    };
    match reports.get(&record.primary) {
        None => silent("away", "its worker is not registered".to_owned()),
        Some(Err(problem)) => silent("silent", problem.clone()),
        Some(Ok(said)) => said
            .shards
            .iter()
            .find(|shard| shard.collection == wire && shard.shard == u32::from(number))
            .cloned()
            .unwrap_or_else(|| silent("missing", "its worker does not have it".to_owned())),
    }
}
