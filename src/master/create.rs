//! Making a collection.
//!
//! The steps: one transaction takes the name and writes the record as `Creating`; each worker that
//! gets a shard makes it, durably; the shard records are written; last the record becomes `Active`,
//! and only then anybody uses it. When a step fails the collection is deleted again, by a tombstone,
//! so that no worker keeps a shard that nobody knows.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;

use super::collections::{CHANGE_TIMEOUT, CHUNK, Changed, Collections, Error};
use crate::coordination::records::{
    CollectionRecord, CollectionState, IndexRecord, NameKind, NameRecord, ServiceRecord,
    ServiceState, ShardRecord, ShardRecordState, encode,
};
use crate::coordination::{Change, Guard};
use crate::fault::{Fault, Kind, chain};
use crate::ids::{CollectionId, CollectionName, Epoch, NodeId, Revision, SlotRange, Term};
use crate::limits::{COLLECTIONS_MAX, DIMENSIONS_MAX, SHARDS_MAX};
use crate::placement::{self, Candidate};
use crate::rpc::{self, Request, convert, proto};
use crate::security::Peer;
use crate::vector::Distance;

/// How long a worker may take to make one empty shard.
const CREATE_SHARD_TIMEOUT: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct NewCollection {
    pub(super) name: CollectionName,
    pub(super) dimensions: usize,
    pub(super) distance: Distance,
    pub(super) vector_name: Option<String>,
    /// Absent: one for each worker.
    pub(super) shards: Option<u16>,
    pub(super) index: IndexRecord,
    pub(super) config: serde_json::Value,
}

impl Collections {
    /// Makes a collection; when this answers, every shard of it is durable.
    pub(super) async fn create(&self, term: Term, new: NewCollection) -> Result<Changed, Error> {
        let _one_at_a_time = self.changing.lock().await;
        self.check(&new).await?;
        let workers = self.workers();
        let count = new.shards.unwrap_or_else(|| {
            u16::try_from(workers.len())
                .unwrap_or(SHARDS_MAX)
                .clamp(1, SHARDS_MAX)
        });
        let placed = placement::place(count, self.candidates(&workers));
        if placed.is_empty() {
            return Err(Error::NoWorker);
        }
        let mut record = self.record(&new, count);
        let (id, key) = (record.id, self.keys.collection(record.id));
        let created = self.claim(term, &record).await?;
        let made = tokio::time::timeout(
            CHANGE_TIMEOUT,
            self.make_shards(term, &record, &placed, &workers),
        )
        .await
        .unwrap_or(Err(Error::TooLong {
            what: "making its shards",
        }));
        let active = match made {
            Ok(()) => {
                record.state = CollectionState::Active;
                let guards = vec![self.term(term), Guard::ModRevision(key.clone(), created)];
                self.commit(guards, vec![Change::put(key, encode(&record)?)])
                    .await
            },
            Err(error) => Err(error),
        };
        match active {
            Ok(revision) => {
                tracing::info!(collection = %new.name, shards = count, "collection created");
                Ok(Changed {
                    changed: true,
                    revision,
                })
            },
            Err(error) => {
                self.take_back(term, id).await;
                Err(error)
            },
        }
    }

    /// What is known of a collection that is being made.
    fn record(&self, new: &NewCollection, shard_count: u16) -> CollectionRecord {
        CollectionRecord {
            v: 1,
            id: CollectionId(self.entropy.uuid()),
            name: new.name.clone(),
            dimensions: new.dimensions,
            distance: new.distance,
            index: new.index.clone(),
            payload_indexes: BTreeMap::new(),
            config: new.config.clone(),
            vector_name: new.vector_name.clone(),
            state: CollectionState::Creating,
            created_ms: self.clock.wall_ms(),
            shard_count,
        }
    }

    /// Writes the intent and takes the name, both or neither; the revision of it.
    async fn claim(&self, term: Term, record: &CollectionRecord) -> Result<Revision, Error> {
        let key = self.keys.collection(record.id);
        let name_key = self.keys.name(&record.name);
        let name = NameRecord {
            collection: record.id,
            kind: NameKind::Name,
        };
        let guards = vec![self.term(term), Guard::Absent(name_key.clone())];
        let changes = vec![
            Change::put(key, encode(record)?),
            Change::put(name_key.clone(), encode(&name)?),
        ];
        match self.commit(guards, changes).await {
            Err(Error::Overtaken) if self.etcd.get(&name_key).await?.is_some() => {
                Err(Error::Exists(record.name.to_string()))
            },
            claimed => claimed,
        }
    }

    async fn check(&self, new: &NewCollection) -> Result<(), Error> {
        if new.dimensions == 0 || new.dimensions > DIMENSIONS_MAX {
            return Err(Error::Invalid(format!(
                "a vector has 1 to {DIMENSIONS_MAX} dimensions"
            )));
        }
        if new
            .shards
            .is_some_and(|shards| shards == 0 || shards > SHARDS_MAX)
        {
            return Err(Error::Invalid(format!(
                "a collection has 1 to {SHARDS_MAX} shards"
            )));
        }
        if self.maps.collections.view().len() >= COLLECTIONS_MAX {
            return Err(Error::Invalid(format!(
                "a cluster has at most {COLLECTIONS_MAX} collections"
            )));
        }
        if self.etcd.get(&self.keys.name(&new.name)).await?.is_some() {
            return Err(Error::Exists(new.name.to_string()));
        }
        Ok(())
    }

    /// The workers that take new shards.
    fn workers(&self) -> HashMap<NodeId, ServiceRecord> {
        self.maps
            .workers
            .view()
            .iter()
            .filter(|(_key, held)| held.value.state == ServiceState::Serving)
            .map(|(_key, held)| (held.value.node, ServiceRecord::clone(&held.value)))
            .collect()
    }

    fn candidates(&self, workers: &HashMap<NodeId, ServiceRecord>) -> Vec<Candidate> {
        let mut shards: HashMap<NodeId, usize> = HashMap::new();
        for (_key, held) in self.maps.shards.view().iter() {
            for node in &held.value.replicas {
                *shards.entry(*node).or_default() += 1;
            }
        }
        workers
            .values()
            .map(|worker| Candidate {
                node: worker.node,
                name: worker.name.clone(),
                shards: shards.get(&worker.node).copied().unwrap_or(0),
            })
            .collect()
    }

    async fn make_shards(
        &self,
        term: Term,
        record: &CollectionRecord,
        placed: &[NodeId],
        workers: &HashMap<NodeId, ServiceRecord>,
    ) -> Result<(), Error> {
        let slots = placement::slots(record.shard_count);
        let parts: Vec<(u16, NodeId, SlotRange)> = (0..record.shard_count)
            .zip(placed)
            .zip(slots)
            .map(|((number, node), slots)| (number, *node, slots))
            .collect();
        for parts in parts.chunks(CHUNK) {
            let calls = parts.iter().map(|(number, node, _slots)| {
                self.make_shard(term, record, *number, workers.get(node))
            });
            join_all(calls)
                .await
                .into_iter()
                .collect::<Result<Vec<()>, Error>>()?;
            let changes = parts.iter().map(|(number, node, slots)| {
                let shard = ShardRecord {
                    v: 1,
                    epoch: Epoch(1),
                    primary: *node,
                    in_sync: vec![*node],
                    replicas: vec![*node],
                    slots: vec![*slots],
                    state: ShardRecordState::Active,
                };
                Ok(Change::put(
                    self.keys.shard(record.id, *number),
                    encode(&shard)?,
                ))
            });
            let changes = changes.collect::<Result<Vec<_>, Error>>()?;
            self.commit(vec![self.term(term)], changes).await?;
        }
        Ok(())
    }

    async fn make_shard(
        &self,
        term: Term,
        record: &CollectionRecord,
        number: u16,
        worker: Option<&ServiceRecord>,
    ) -> Result<(), Error> {
        let worker = worker.ok_or(Error::NoWorker)?;
        let failed = |source| Error::CreateShard {
            shard: number,
            worker: worker.name.clone(),
            source,
        };
        let mut request = Request::new(proto::CreateShardRequest {
            shard: Some(proto::ShardRef {
                collection: convert::collection_to_wire(record.id),
                shard: u32::from(number),
                epoch: 1,
                revision: 0,
            }),
            term: term.0,
            dimensions: u32::try_from(record.dimensions).unwrap_or(u32::MAX),
            distance: record.distance.as_str().to_owned(),
        });
        request.set_timeout(CREATE_SHARD_TIMEOUT);
        let channel = self
            .channels
            .to(Peer::Worker, &worker.rpc_address)
            .map_err(failed)?;
        let mut client = rpc::channel::shard_client(channel);
        match tokio::time::timeout(CREATE_SHARD_TIMEOUT, client.create_shard(request)).await {
            Ok(Ok(_made)) => Ok(()),
            Ok(Err(status)) => Err(failed(rpc::from_status(&status, true))),
            Err(_elapsed) => Err(failed(rpc::Error::new(
                Kind::Timeout,
                "master.create_shard",
                "no answer",
            ))),
        }
    }

    /// Deletes what was made so far. What cannot be now is done by the next repair.
    async fn take_back(&self, term: Term, id: CollectionId) {
        let undone = match self.by_id(id).await {
            Ok(Some(found)) => self
                .begin_delete(term, found)
                .await
                .map(|_revision: Revision| ()),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = undone {
            let kind = error.kind().as_str();
            tracing::warn!(collection = %id, kind, error = chain(&error), "taking back waits");
        }
    }
}
