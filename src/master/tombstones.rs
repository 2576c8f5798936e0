//! Removing tombstones that nobody needs any more, so that etcd and every mirror do not keep one for
//! each collection that ever was.
//!
//! A tombstone goes when it is old and every worker that is known (registered, or named by a shard's
//! record) has answered that it has no data of the collection. One that is silent or away keeps all of
//! them. A worker that comes back later still, and that no record named, keeps the data: it is an
//! orphan then, reported and never deleted. Being wrong here costs room, and no data.

use std::collections::HashSet;
use std::time::Duration;

use super::collections::{CHUNK, Collections, Error};
use super::state::Reports;
use crate::coordination::records::{Tombstone, decode};
use crate::coordination::{Change, Guard};
use crate::fault::chain;
use crate::ids::{CollectionId, NodeId, Revision, Term};
use crate::rpc::convert;

/// How old a tombstone is at least: a worker may be away for a night.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a leader looks: there is no hurry.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A tombstone as etcd has it.
#[derive(Debug, Clone, Copy)]
struct Found {
    collection: CollectionId,
    at_ms: u64,
    mod_revision: Revision,
}

/// Those of the tombstones that are not needed any more. `named`: workers that shard records name.
fn removable(
    tombstones: Vec<Found>,
    now_ms: u64,
    named: &HashSet<NodeId>,
    reports: &Reports,
) -> Vec<Found> {
    let answered = |node: &NodeId| matches!(reports.get(node), Some(Ok(_shards)));
    if !reports.keys().all(answered) || !named.iter().all(answered) {
        return Vec::new();
    }
    let held: HashSet<Vec<u8>> = reports
        .values()
        .flatten()
        .flat_map(|said| &said.shards)
        .map(|report| report.collection.to_vec())
        .collect();
    let kept_ms = u64::try_from(KEPT_FOR.as_millis()).unwrap_or(u64::MAX);
    let old = |found: &Found| now_ms.saturating_sub(found.at_ms) >= kept_ms;
    let free = |found: &Found| {
        let collection = convert::collection_to_wire(found.collection);
        !held.contains(&collection.to_vec())
    };
    tombstones
        .into_iter()
        .filter(|found| old(found) && free(found))
        .collect()
}

impl Collections {
    /// Removes the tombstones that are not needed any more. Failures are logged and tried again.
    pub(super) async fn sweep(&self, term: Term, reports: &Reports) {
        match self.remove_tombstones(term, reports).await {
            Ok(0) => {},
            Ok(removed) => tracing::info!(removed, "old tombstones removed"),
            Err(error) => tracing::warn!(error = chain(&error), "old tombstones stay"),
        }
    }

    async fn remove_tombstones(&self, term: Term, reports: &Reports) -> Result<usize, Error> {
        // Without workers, or with an old list of them, nothing is known about data.
        let stale = self.maps.workers.is_stale() || self.maps.shards.is_stale();
        if stale || reports.is_empty() {
            return Ok(0);
        }
        let prefix = self.keys.tombstones();
        let mut found = Vec::new();
        for entry in self.etcd.list(&prefix).await?.entries {
            let suffix = entry.key.strip_prefix(&prefix).unwrap_or_default();
            if let Ok(id) = uuid::Uuid::try_parse(suffix) {
                let tombstone: Tombstone = decode(&entry.value)?;
                found.push(Found {
                    collection: CollectionId(id),
                    at_ms: tombstone.at_ms,
                    mod_revision: entry.mod_revision,
                });
            }
        }
        let shards = self.maps.shards.view();
        let named = shards.iter().flat_map(|(_key, held)| &held.value.replicas);
        let named: HashSet<NodeId> = named.copied().collect();
        let old = removable(found, self.clock.wall_ms(), &named, reports);
        for found in old.chunks(CHUNK / 2) {
            let mut guards = vec![self.term(term)];
            let mut changes = Vec::new();
            for found in found {
                let key = self.keys.tombstone(found.collection);
                // While the collection's record is there its deletion goes on.
                guards.push(Guard::Absent(self.keys.collection(found.collection)));
                guards.push(Guard::ModRevision(key.clone(), found.mod_revision));
                changes.push(Change::Delete(key));
            }
            self.commit(guards, changes).await?;
        }
        Ok(old.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::proto;

    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

    fn tombstone(id: u128, at_ms: u64) -> Found {
        Found {
            collection: CollectionId(uuid::Uuid::from_u128(id)),
            at_ms,
            mod_revision: Revision(1),
        }
    }

    fn node(id: u128) -> NodeId {
        NodeId(uuid::Uuid::from_u128(id))
    }

    /// A worker that has data of this collection.
    fn has(id: u128) -> Result<proto::ShardsResponse, String> {
        Ok(proto::ShardsResponse {
            shards: vec![proto::ShardReport {
                collection: convert::collection_to_wire(tombstone(id, 0).collection),
                ..proto::ShardReport::default()
            }],
            disk: None,
        })
    }

    fn empty() -> Result<proto::ShardsResponse, String> {
        Ok(proto::ShardsResponse::default())
    }

    fn removed(now_ms: u64, named: &[NodeId], reports: &Reports) -> Vec<u128> {
        let all = vec![tombstone(1, 0), tombstone(2, 0), tombstone(3, 1)];
        let named = named.iter().copied().collect();
        let removed = removable(all, now_ms, &named, reports).into_iter();
        removed.map(|found| found.collection.0.as_u128()).collect()
    }

    #[test]
    fn a_tombstone_goes_when_it_is_old_and_all_have_said_that_they_need_it_no_more() {
        let all = Reports::from([(node(1), has(2)), (node(2), empty())]);
        assert_eq!(removed(DAY_MS, &[node(1)], &all), [1]);
        assert_eq!(removed(DAY_MS + 1, &[], &all), [1, 3]);
        assert_eq!(removed(DAY_MS - 1, &[], &all), [] as [u128; 0]);
        // The clock went back.
        assert_eq!(removed(0, &[], &all), [] as [u128; 0]);
    }

    #[test]
    fn a_worker_that_is_silent_or_away_keeps_all_of_them() {
        let silent = Reports::from([(node(1), empty()), (node(2), Err("no answer".into()))]);
        assert_eq!(removed(2 * DAY_MS, &[], &silent), [] as [u128; 0]);
        let away = Reports::from([(node(1), empty())]);
        assert_eq!(removed(2 * DAY_MS, &[node(2)], &away), [] as [u128; 0]);
    }
}
