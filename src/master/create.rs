//! Making a collection.
//!
//! The steps: one transaction takes the name and writes the record as `Creating`; each worker that
//! gets a shard makes it, durably; the shard records are written; last the record becomes `Active`,
//! and only then anybody uses it. When a step fails the collection is deleted again, by a tombstone,
//! so that no worker keeps a shard that nobody knows. When the outcome of the last step is not known,
//! etcd is asked: a collection that is active was made, and stands.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::future::join_all;

use super::collections::{CHANGE_TIMEOUT, CHUNK, Changed, Collections, Error, Found, Order};
use crate::coordination::records::{
    CollectionRecord, CollectionState, IndexRecord, NameKind, NameRecord, ServiceRecord,
    ServiceState, ShardRecord, ShardRecordState, decode, encode,
};
use crate::coordination::{Change, Guard};
use crate::fault::{Fault, Kind, chain};
use crate::ids::{CollectionId, CollectionName, Epoch, NodeId, Revision, SlotRange, Term};
use crate::limits::{
    COLLECTIONS_MAX, DIMENSIONS_MAX, SHARDS_MAX, SHARDS_TOTAL_MAX, TOMBSTONES_MAX,
};
use crate::placement::{self, Candidate};
use crate::rpc::{self, Request, convert, proto};
use crate::security::Peer;
use crate::vector::Distance;

/// How long a worker may take to make one empty shard.
const CREATE_SHARD_TIMEOUT: Duration = Duration::from_secs(10);

/// How often taking back looks again when something came between: one step at most can.
const TAKE_BACK_ATTEMPTS: usize = 3;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct NewCollection {
    pub(super) name: CollectionName,
    pub(super) dimensions: usize,
    pub(super) distance: Distance,
    pub(super) vector_name: Option<String>,
    /// Absent: what the master was told, else one for each worker.
    pub(super) shards: Option<u16>,
    pub(super) index: IndexRecord,
    pub(super) config: serde_json::Value,
}

impl Collections {
    /// Makes a collection; when this answers, every shard of it is durable.
    pub(super) async fn create(&self, order: Order, new: NewCollection) -> Result<Changed, Error> {
        let _one_at_a_time = self.turn(order).await?;
        let term = order.term;
        self.check(term, &new).await?;
        let workers = self.workers().await?;
        let count = new.shards.or(self.shards).unwrap_or_else(|| {
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
            self.make_shards((term, created), &record, &placed, &workers),
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
        let revision = match active {
            Ok(revision) => revision,
            Err(error) => self.take_back(term, id).await.ok_or(error)?,
        };
        tracing::info!(collection = %new.name, shards = count, "collection created");
        Ok(Changed {
            changed: true,
            revision,
        })
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

    async fn check(&self, term: Term, new: &NewCollection) -> Result<(), Error> {
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
        let said = new.shards.or(self.shards).map(usize::from);
        let asked = said.unwrap_or_else(|| self.maps.workers.view().len().max(1));
        let there = self.maps.shards.view().len();
        if there.saturating_add(asked) > SHARDS_TOTAL_MAX {
            return Err(Error::Invalid(format!(
                "a cluster has at most {SHARDS_TOTAL_MAX} shards, and {there} are there"
            )));
        }
        let gone = self.etcd.count(&self.keys.tombstones()).await?;
        if gone >= TOMBSTONES_MAX {
            return Err(Error::Tombstones(gone));
        }
        let key = self.keys.name(&new.name);
        let Some(taken) = self.etcd.get(&key).await? else {
            return Ok(());
        };
        // What an earlier leader left half made or half deleted is not there for anybody.
        let taken: NameRecord = decode(&taken.value)?;
        self.go_on(term, taken.collection).await?;
        if self.etcd.get(&key).await?.is_some() {
            return Err(Error::Exists(new.name.to_string()));
        }
        Ok(())
    }

    /// The workers that take new shards.
    async fn workers(&self) -> Result<HashMap<NodeId, ServiceRecord>, Error> {
        let drained = self.drained().await?;
        let takes = |record: &ServiceRecord| {
            record.state == ServiceState::Serving && !drained.contains(&record.name)
        };
        let view = self.maps.workers.view();
        let takers = view.iter().filter(|(_key, held)| takes(&held.value));
        Ok(takers
            .map(|(_key, held)| (held.value.node, ServiceRecord::clone(&held.value)))
            .collect())
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
        (term, created): (Term, Revision),
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
            // Not when the collection was taken back meanwhile: nobody would ever remove such a record.
            let guards = vec![
                self.term(term),
                Guard::ModRevision(self.keys.collection(record.id), created),
            ];
            self.commit(guards, changes).await?;
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

    /// Deletes what was made so far; what cannot be now is done by the next repair. When the
    /// collection turns out to be active it stands, since others may have used it already: its
    /// revision.
    async fn take_back(&self, term: Term, id: CollectionId) -> Option<Revision> {
        for _attempt in 0..TAKE_BACK_ATTEMPTS {
            let undone = match self.by_id(id).await.map(after_failure) {
                Ok(AfterFailure::Stands(revision)) => return Some(revision),
                Ok(AfterFailure::Nothing) => return None,
                Ok(AfterFailure::Delete(found)) => self.begin_delete(term, found).await,
                Err(error) => Err(error),
            };
            match undone {
                Ok(_deleted) => return None,
                // The step whose outcome was not known may have come between.
                Err(Error::Overtaken) => {},
                Err(error) => {
                    let kind = error.kind().as_str();
                    tracing::warn!(collection = %id, kind, error = chain(&error), "taking back waits");
                    return None;
                },
            }
        }
        None
    }
}

/// What a creation whose last step failed is to do about what etcd has of it.
enum AfterFailure {
    /// It succeeded after all, at the latest at this revision.
    Stands(Revision),
    /// Nobody uses it.
    Delete(Found<CollectionRecord>),
    /// It is gone, or somebody deletes it.
    Nothing,
}

/// The record's id belongs to one attempt only, so a half made one is that attempt's own.
fn after_failure(found: Option<Found<CollectionRecord>>) -> AfterFailure {
    match found {
        Some(found) => match found.value.state {
            CollectionState::Active => AfterFailure::Stands(found.mod_revision),
            CollectionState::Creating => AfterFailure::Delete(found),
            CollectionState::Deleting => AfterFailure::Nothing,
        },
        None => AfterFailure::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(state: CollectionState) -> Option<Found<CollectionRecord>> {
        let value = CollectionRecord {
            v: 1,
            id: CollectionId(uuid::Uuid::nil()),
            name: CollectionName::parse("a").unwrap(),
            dimensions: 2,
            distance: Distance::Dot,
            index: IndexRecord::default(),
            payload_indexes: BTreeMap::new(),
            config: serde_json::Value::Null,
            vector_name: None,
            state,
            created_ms: 0,
            shard_count: 1,
        };
        Some(Found {
            value,
            mod_revision: Revision(7),
        })
    }

    #[test]
    fn a_creation_that_took_place_is_never_taken_back() {
        let active = after_failure(found(CollectionState::Active));
        assert!(matches!(active, AfterFailure::Stands(Revision(7))));
        let creating = after_failure(found(CollectionState::Creating));
        assert!(matches!(creating, AfterFailure::Delete(_)));
        let deleting = after_failure(found(CollectionState::Deleting));
        assert!(matches!(deleting, AfterFailure::Nothing));
        assert!(matches!(after_failure(None), AfterFailure::Nothing));
    }
}
