//! The answers of several shards made into one. Pure.

use std::cmp::Ordering;

use crate::ids::PointId;
use crate::rpc::{Error, convert, proto};
use crate::vector::Distance;

fn id(record: &proto::Record) -> Result<PointId, Error> {
    convert::id_from_wire(&record.id.clone().unwrap_or_default())
}

/// One page of the pages of several shards: at most `limit` records in the order of their ids, and
/// the first id that did not fit.
///
/// # Errors
/// When a record has no id.
pub(super) fn pages(
    pages: Vec<proto::ScrollResponse>,
    limit: usize,
) -> Result<proto::ScrollResponse, Error> {
    let mut next: Option<PointId> = None;
    let mut records = Vec::new();
    for page in pages {
        if let Some(first) = &page.next {
            let first = convert::id_from_wire(first)?;
            next = Some(next.map_or(first, |known| known.min(first)));
        }
        for record in page.records {
            records.push((id(&record)?, record));
        }
    }
    records.sort_by_key(|(id, _record)| *id);
    // A shard that had more than it sent may hold ids below those of another shard's page.
    let whole = records
        .iter()
        .take_while(|(id, _)| next.is_none_or(|next| *id < next))
        .count();
    let keep = whole.min(limit);
    let beyond = records.get(keep).map(|(id, _record)| *id);
    let next = match (beyond, next) {
        (Some(beyond), Some(next)) => Some(beyond.min(next)),
        (first, second) => first.or(second),
    };
    records.truncate(keep);
    Ok(proto::ScrollResponse {
        records: records.into_iter().map(|(_id, record)| record).collect(),
        next: next.map(convert::id_to_wire),
    })
}

/// The nearest of what several shards found, nearest first; of equals the lower id first.
///
/// # Errors
/// When a record has no id.
pub(super) fn nearest(
    found: Vec<proto::SearchResult>,
    distance: Distance,
    top: usize,
) -> Result<proto::SearchResult, Error> {
    if let [_one] = found.as_slice() {
        return Ok(found.into_iter().next().unwrap_or_default());
    }
    let mut points = Vec::new();
    for point in found.into_iter().flat_map(|result| result.points) {
        let id = id(&point.record.clone().unwrap_or_default())?;
        points.push((id, point));
    }
    points.sort_by(|(left_id, left), (right_id, right)| -> Ordering {
        distance
            .order(left.score, right.score)
            .then_with(|| left_id.cmp(right_id))
    });
    points.truncate(top);
    Ok(proto::SearchResult {
        points: points.into_iter().map(|(_id, point)| point).collect(),
    })
}
