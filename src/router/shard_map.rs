//! What the mirrors say of a collection: what it is, its shards, and who serves them.

use std::sync::Arc;

use crate::coordination::keys;
use crate::coordination::mirror::Mirror;
use crate::coordination::records::{
    CollectionRecord, CollectionState, NameRecord, ServiceRecord, ShardRecord,
};
use crate::ids::{CollectionId, CollectionName, NodeId, Revision, Slot};

/// The mirrors that routing reads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Maps {
    /// Collections by id.
    pub collections: Arc<Mirror<CollectionRecord>>,
    /// Names and aliases.
    pub names: Arc<Mirror<NameRecord>>,
    /// Shards by collection and number.
    pub shards: Arc<Mirror<ShardRecord>>,
    /// The workers that are alive.
    pub workers: Arc<Mirror<ServiceRecord>>,
}

/// A collection as the mirrors have it.
#[derive(Debug, Clone)]
pub struct Collection {
    /// The record.
    pub record: Arc<CollectionRecord>,
    /// The revision up to which the mirror had read when it was looked up.
    pub revision: Revision,
}

/// A shard and who serves it.
#[derive(Debug, Clone)]
pub struct ShardTarget {
    /// The shard's number.
    pub number: u16,
    /// Its record.
    pub record: Arc<ShardRecord>,
    /// The revision of that record.
    pub revision: Revision,
    /// The primary's name, or its id when it is not registered.
    pub worker: String,
    /// The primary's address, when it is registered.
    pub address: Option<String>,
}

impl Maps {
    /// The collection that a name or an alias leads to, when it is there and active.
    pub fn resolve(&self, name: &CollectionName) -> Option<Collection> {
        let names = self.names.view();
        let id = names.get(&keys::name_suffix(name))?.value.collection;
        self.collection(id)
            .filter(|found| found.record.state == CollectionState::Active)
    }

    /// The collection of this id, in whatever state.
    pub fn collection(&self, id: CollectionId) -> Option<Collection> {
        let collections = self.collections.view();
        let held = collections.get(&id.to_string())?;
        Some(Collection {
            record: Arc::clone(&held.value),
            revision: collections.revision(),
        })
    }

    /// The shards of a collection, by number.
    pub fn shards(&self, id: CollectionId) -> Vec<ShardTarget> {
        let shards = self.shards.view();
        let prefix = keys::shard_suffix_prefix(id);
        shards
            .range(&prefix)
            .filter_map(|(suffix, held)| {
                let number = keys::shard_number(suffix)?;
                let (worker, address) = self.worker(held.value.primary);
                Some(ShardTarget {
                    number,
                    record: Arc::clone(&held.value),
                    revision: held.mod_revision,
                    worker,
                    address,
                })
            })
            .collect()
    }

    /// The shard that a slot lies in, of these.
    pub fn of_slot(shards: &[ShardTarget], slot: Slot) -> Option<usize> {
        shards
            .iter()
            .position(|shard| shard.record.slots.iter().any(|range| range.contains(slot)))
    }

    fn worker(&self, node: NodeId) -> (String, Option<String>) {
        match self.workers.view().get(&node.to_string()) {
            Some(held) => (
                held.value.name.clone(),
                Some(held.value.rpc_address.clone()),
            ),
            None => (format!("worker {node} (not registered)"), None),
        }
    }
}
