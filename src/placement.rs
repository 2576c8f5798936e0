//! Which worker gets which shard of a new collection, and which slots each shard has.
//!
//! Pure and deterministic: the same workers with the same loads give the same answer, whichever
//! master asks. The worker with the fewest shards comes first, then the name decides, and shards go
//! round, so that no worker gets a second shard of a collection before each has one. Moving shards
//! that exist is not here yet.

use crate::ids::{NodeId, SlotRange};
use crate::limits::SLOTS;

/// A worker that may get shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The process.
    pub node: NodeId,
    /// Its name, which decides between equals.
    pub name: String,
    /// Shards that it has already.
    pub shards: usize,
}

/// The worker of each of `shards` shards, by shard number; empty when there is no worker.
pub fn place(shards: u16, mut candidates: Vec<Candidate>) -> Vec<NodeId> {
    candidates.sort_by(|a, b| (a.shards, &a.name, a.node).cmp(&(b.shards, &b.name, b.node)));
    candidates
        .iter()
        .map(|worker| worker.node)
        .cycle()
        .take(usize::from(shards))
        .collect()
}

/// The slots of each of `shards` shards: contiguous, all of them, their sizes one apart at most.
pub fn slots(shards: u16) -> Vec<SlotRange> {
    let shards = u32::from(shards.clamp(1, SLOTS));
    let edge = |shard: u32| shard * u32::from(SLOTS) / shards;
    let slot = |number: u32| u16::try_from(number).unwrap_or(SLOTS - 1);
    (0..shards)
        .map(|shard| SlotRange {
            first: slot(edge(shard)),
            last: slot(edge(shard + 1) - 1),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn candidate(number: u128, name: &str, shards: usize) -> Candidate {
        Candidate {
            node: NodeId(Uuid::from_u128(number)),
            name: name.to_owned(),
            shards,
        }
    }

    #[test]
    fn the_emptiest_worker_comes_first_and_the_name_decides() {
        let workers = vec![
            candidate(1, "b", 0),
            candidate(2, "a", 0),
            candidate(3, "c", 5),
        ];
        let numbers: Vec<_> = place(4, workers)
            .iter()
            .map(|node| node.0.as_u128())
            .collect();
        assert_eq!(numbers, [2, 1, 3, 2]);
        assert!(place(4, Vec::new()).is_empty());
    }

    proptest! {
        #[test]
        fn slots_are_all_there_once_and_even(shards in 1u16..=SLOTS) {
            let ranges = slots(shards);
            prop_assert_eq!(ranges.len(), usize::from(shards));
            let mut next = 0;
            for range in &ranges {
                prop_assert_eq!(range.first, next);
                let size = range.last + 1 - range.first;
                prop_assert!(size == SLOTS / shards || size == SLOTS / shards + 1);
                next = range.last + 1;
            }
            prop_assert_eq!(next, SLOTS);
        }

        #[test]
        fn no_worker_gets_two_shards_before_each_has_one(shards in 1u16..40, workers in 1u128..9) {
            let candidates = (0..workers).map(|n| candidate(n, &n.to_string(), 0)).collect();
            let placed = place(shards, candidates);
            let mut counts = std::collections::BTreeMap::new();
            for node in placed {
                *counts.entry(node).or_insert(0u16) += 1;
            }
            let most = counts.values().max().copied().unwrap_or(0);
            prop_assert!(most <= shards.div_ceil(u16::try_from(workers).unwrap()));
        }
    }
}
