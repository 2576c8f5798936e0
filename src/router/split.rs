//! Which shard gets which part of a write. Pure.

use std::collections::BTreeMap;

use super::Error;
use super::shard_map::{Collection, Maps, ShardTarget};
use crate::ids::PointId;
use crate::rpc::proto::write_request::Operation;
use crate::rpc::{convert, proto};

/// The part of a write that each shard gets. What is about a filter goes to all.
pub(super) fn split(
    collection: &Collection,
    shards: &[ShardTarget],
    request: proto::WriteRequest,
) -> Result<Vec<(u16, proto::WriteRequest)>, Error> {
    if let [only] = shards {
        return Ok(vec![(only.number, request)]);
    }
    let mut parts: BTreeMap<u16, Operation> = BTreeMap::new();
    match request.operation {
        Some(Operation::Upsert(upsert)) => {
            let mut points: BTreeMap<u16, Vec<proto::PointInput>> = BTreeMap::new();
            for point in upsert.points {
                let id = convert::id_from_wire(&point.id.clone().unwrap_or_default())?;
                let shard = shard_of(collection, shards, id)?;
                points.entry(shard).or_default().push(point);
            }
            let upserts = points
                .into_iter()
                .map(|(shard, points)| (shard, Operation::Upsert(proto::Upsert { points })));
            parts.extend(upserts);
        },
        Some(other) => {
            let by_ids = match selection(&other) {
                Some(on) if on.filter.is_none() => Some(ids_by_shard(collection, shards, &on.ids)?),
                _ => None,
            };
            for shard in shards {
                let mut part = other.clone();
                if let Some(ids) = &by_ids {
                    let Some(ids) = ids.get(&shard.number) else {
                        continue;
                    };
                    if let Some(on) = selection_mut(&mut part) {
                        on.ids.clone_from(ids);
                    }
                }
                parts.insert(shard.number, part);
            }
        },
        None => {},
    }
    let parts = parts.into_iter().map(|(shard, operation)| {
        (
            shard,
            proto::WriteRequest {
                shard: None,
                operation: Some(operation),
            },
        )
    });
    Ok(parts.collect())
}

fn ids_by_shard(
    collection: &Collection,
    shards: &[ShardTarget],
    ids: &[proto::PointId],
) -> Result<BTreeMap<u16, Vec<proto::PointId>>, Error> {
    let mut parts: BTreeMap<u16, Vec<proto::PointId>> = BTreeMap::new();
    for wire in ids {
        let shard = shard_of(collection, shards, convert::id_from_wire(wire)?)?;
        parts.entry(shard).or_default().push(wire.clone());
    }
    Ok(parts)
}

/// The number of the shard that a point belongs into.
pub(super) fn shard_of(
    collection: &Collection,
    shards: &[ShardTarget],
    id: PointId,
) -> Result<u16, Error> {
    let slot = id.slot();
    Maps::of_slot(shards, slot)
        .and_then(|at| shards.get(at))
        .map(|shard| shard.number)
        .ok_or_else(|| Error::NoShard {
            collection: collection.record.name.to_string(),
            slot: slot.0,
        })
}

fn selection(operation: &Operation) -> Option<&proto::Selection> {
    match operation {
        Operation::Upsert(_) => None,
        Operation::Delete(on) | Operation::ClearPayload(on) => Some(on),
        Operation::SetPayload(set) | Operation::OverwritePayload(set) => set.on.as_ref(),
        Operation::DeletePayload(delete) => delete.on.as_ref(),
    }
}

fn selection_mut(operation: &mut Operation) -> Option<&mut proto::Selection> {
    match operation {
        Operation::Upsert(_) => None,
        Operation::Delete(on) | Operation::ClearPayload(on) => Some(on),
        Operation::SetPayload(set) | Operation::OverwritePayload(set) => set.on.as_mut(),
        Operation::DeletePayload(delete) => delete.on.as_mut(),
    }
}
