//! Merging, against a model that has everything in one place.

use proptest::prelude::*;

use super::merge;
use crate::ids::PointId;
use crate::rpc::{convert, proto};
use crate::vector::Distance;

fn record(id: u64) -> proto::Record {
    let id = Some(convert::id_to_wire(PointId::Number(id)));
    proto::Record {
        id,
        ..proto::Record::default()
    }
}

fn numbers(records: &[proto::Record]) -> Vec<u64> {
    let number = |record: &proto::Record| match record.id.clone().unwrap().id.unwrap() {
        proto::point_id::Id::Number(number) => number,
        proto::point_id::Id::Uuid(_) => unreachable!("only numbers are made here"),
    };
    records.iter().map(number).collect()
}

/// What a shard answers that holds these ids.
fn page(ids: &[u64], from: u64, limit: usize) -> proto::ScrollResponse {
    let mut ids: Vec<u64> = ids.iter().copied().filter(|id| *id >= from).collect();
    ids.sort_unstable();
    let next = ids
        .get(limit)
        .map(|id| convert::id_to_wire(PointId::Number(*id)));
    ids.truncate(limit);
    proto::ScrollResponse {
        records: ids.into_iter().map(record).collect(),
        next,
    }
}

proptest! {
    #[test]
    fn pages_of_shards_walk_all_points_once_in_order(
        ids in proptest::collection::btree_set(0u64..200, 0..60),
        shards in 1usize..5,
        limit in 1usize..12,
    ) {
        let parts: Vec<Vec<u64>> = (0..shards)
            .map(|shard| ids.iter().copied().filter(|id| *id as usize % shards == shard).collect())
            .collect();
        let (mut seen, mut from) = (Vec::new(), 0);
        loop {
            let answers = parts.iter().map(|part| page(part, from, limit)).collect();
            let merged = merge::pages(answers, limit).unwrap();
            prop_assert!(merged.records.len() <= limit);
            seen.extend(numbers(&merged.records));
            match merged.next.map(|next| convert::id_from_wire(&next).unwrap()) {
                Some(PointId::Number(next)) => from = next,
                Some(PointId::Uuid(_)) | None => break,
            }
        }
        prop_assert_eq!(seen, ids.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_nearest_of_shards_are_the_nearest_of_all(
        scores in proptest::collection::vec(0u8..40, 0..60),
        shards in 1usize..5,
        top in 0usize..20,
    ) {
        let all: Vec<proto::ScoredRecord> = scores
            .iter()
            .zip(0u64..)
            .map(|(score, id)| proto::ScoredRecord {
                record: Some(record(id)),
                score: f32::from(*score),
            })
            .collect();
        for distance in [Distance::Cosine, Distance::Euclid] {
            let mut sorted = all.clone();
            sorted.sort_by(|a, b| distance.order(a.score, b.score));
            let parts = (0..shards)
                .map(|shard| {
                    let mine = sorted.iter().enumerate().filter(|(at, _)| at % shards == shard);
                    proto::SearchResult { points: mine.map(|(_, point)| point.clone()).take(top).collect() }
                })
                .collect();
            let merged = merge::nearest(parts, distance, top).unwrap();
            let got: Vec<f32> = merged.points.iter().map(|point| point.score).collect();
            let expected: Vec<f32> = sorted.iter().take(top).map(|point| point.score).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
