//! Taking a worker out of the choice for new shards, and telling what it still holds.
//!
//! Both under the turn and the term: a collection that is made by this leader was placed before the mark
//! or after it, and one that an earlier leader was making cannot be finished. So a worker that holds
//! nothing when this answers holds nothing from then on, until the mark is taken away.
//!
//! What it holds is read from etcd and not from a mirror. A worker that is not registered has no identity
//! that is known: it holds nothing only when every shard is on one that is.

use std::collections::{HashMap, HashSet};

use super::collections::{Collections, Error, Order};
use crate::coordination::Change;
use crate::coordination::keys::shard_of_suffix;
use crate::coordination::records::{
    CollectionRecord, DrainRecord, ServiceRecord, ShardRecord, decode, encode,
};
use crate::ids::{CollectionId, NodeId};

/// Shards that are named in an answer; of more it is said how many.
const NAMED_MAX: usize = 20;

impl Collections {
    /// Marks a worker, or takes the mark away; the shards that it holds or may hold.
    pub(super) async fn drain(
        &self,
        order: Order,
        worker: &str,
        cancel: bool,
    ) -> Result<Vec<String>, Error> {
        let _one_at_a_time = self.turn(order).await?;
        let key = self.keys.drain(worker);
        let is_marked = self.etcd.get(&key).await?.is_some();
        let change = match (is_marked, cancel) {
            (false, false) => Some(Change::put(
                key,
                encode(&DrainRecord {
                    at_ms: self.clock.wall_ms(),
                })?,
            )),
            (true, true) => Some(Change::Delete(key)),
            (true, false) | (false, true) => None,
        };
        if let Some(change) = change {
            self.commit(vec![self.term(order.term)], vec![change])
                .await?;
            tracing::info!(worker, cancel, "a worker's drain was changed");
        }
        self.held_by(worker).await
    }

    async fn held_by(&self, worker: &str) -> Result<Vec<String>, Error> {
        let services = self.etcd.list(&self.keys.services("worker")).await?;
        let mut nodes: HashMap<NodeId, String> = HashMap::new();
        for entry in &services.entries {
            let record: ServiceRecord = decode(&entry.value)?;
            nodes.insert(record.node, record.name);
        }
        let (prefix, mut held) = (self.keys.shards(), Vec::new());
        for entry in &self.etcd.list(&prefix).await?.entries {
            let record: ShardRecord = decode(&entry.value)?;
            let shard = entry.key.strip_prefix(&prefix).and_then(shard_of_suffix);
            if may_hold(&nodes, &record.replicas, worker)
                && let Some(shard) = shard
            {
                held.push((shard.collection, shard.number));
            }
        }
        self.spell(held).await
    }

    /// The shards as a person knows them.
    async fn spell(&self, held: Vec<(CollectionId, u16)>) -> Result<Vec<String>, Error> {
        let mut spelled = Vec::new();
        let mut names: HashMap<CollectionId, String> = HashMap::new();
        for (collection, number) in held.iter().take(NAMED_MAX) {
            if !names.contains_key(collection) {
                let entry = self.etcd.get(&self.keys.collection(*collection)).await?;
                let name = match entry {
                    Some(entry) => decode::<CollectionRecord>(&entry.value)?.name.to_string(),
                    None => collection.to_string(),
                };
                names.insert(*collection, name);
            }
            let name = names.get(collection).map_or("", String::as_str);
            spelled.push(format!("{name}/{number}"));
        }
        let more = held.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            spelled.push(format!("and {more} more"));
        }
        Ok(spelled)
    }

    /// The names of workers that take no new shards, as etcd has them now.
    pub(super) async fn drained(&self) -> Result<HashSet<String>, Error> {
        let prefix = self.keys.drains();
        let listing = self.etcd.list(&prefix).await?;
        let names = listing.entries.iter().filter_map(|entry| {
            let name = entry.key.strip_prefix(&prefix)?;
            Some(name.to_owned())
        });
        Ok(names.collect())
    }
}

/// Whether a shard is on the worker of this name, as far as that is known.
fn may_hold(nodes: &HashMap<NodeId, String>, replicas: &[NodeId], worker: &str) -> bool {
    let is_registered = nodes.values().any(|name| name == worker);
    replicas.iter().any(|node| match nodes.get(node) {
        Some(name) => name == worker,
        None => !is_registered,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_worker_that_nobody_knows_holds_nothing_only_when_every_shard_is_elsewhere() {
        let node = |number: u128| NodeId(Uuid::from_u128(number));
        let nodes = HashMap::from([(node(1), "w-1".to_owned()), (node(2), "w-2".to_owned())]);
        assert!(may_hold(&nodes, &[node(1)], "w-1"));
        assert!(!may_hold(&nodes, &[node(1)], "w-2"));
        // Somebody who is away has this shard: it may be w-3, it is not w-2.
        assert!(may_hold(&nodes, &[node(9)], "w-3"));
        assert!(!may_hold(&nodes, &[node(9)], "w-2"));
        assert!(!may_hold(&nodes, &[node(1), node(2)], "w-3"));
    }
}
