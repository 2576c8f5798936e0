//! Searches of one shard: what is asked, made into rows, made into points.

use super::Error;
use super::hosted::Hosted;
use crate::clock::{Clock, Moment};
use crate::fault::Fault;
use crate::ids::PointId;
use crate::index::{self, Ask};
use crate::query::{Filter, PayloadSelector, ScoredPoint};
use crate::rows::Rows;
use crate::store::Snapshot;
use std::sync::Arc;

/// One search.
#[derive(Debug)]
pub(super) struct Search {
    pub(super) vector: Vec<f32>,
    pub(super) filter: Filter,
    pub(super) top: usize,
    pub(super) score_threshold: Option<f32>,
    pub(super) exact: bool,
    pub(super) effort: Option<u32>,
    pub(super) payload: PayloadSelector,
    pub(super) with_vector: bool,
    pub(super) exclude: Option<PointId>,
}

/// Answers a search. Blocks its thread. What it answers is taken off `room`, in bytes.
///
/// # Errors
/// [`Error`]; past the deadline an index's [`index::Error::Stopped`]; without room left that more was
/// asked for than an answer holds.
pub(super) fn search(
    hosted: &Hosted,
    snapshot: &Snapshot,
    asked: &Search,
    (clock, deadline): (&dyn Clock, Moment),
    room: &mut usize,
) -> Result<Vec<ScoredPoint>, Error> {
    let mut allowed = if asked.filter.is_empty() {
        None
    } else {
        Some(snapshot.matching(&asked.filter)?)
    };
    if let Some(exclude) = asked.exclude
        && let Some((row, _version)) = snapshot.row_of(exclude)?
    {
        let mut rows = allowed.unwrap_or_else(|| snapshot.live().clone());
        rows.remove(row);
        allowed = Some(rows);
    }
    let stop = || clock.now() >= deadline;
    let ask = Ask {
        k: asked.top,
        effort: asked.effort,
        exact: asked.exact,
        allowed: allowed.as_ref(),
        stop: &stop,
    };
    let segment = hosted.segment();
    let segments: Vec<_> = segment
        .iter()
        .map(|open| Arc::clone(&open.segment))
        .collect();
    let answer = index::search(&segments, snapshot, &asked.vector, &ask)?;
    for (sequence, error) in &answer.failed {
        if matches!(
            error.kind(),
            crate::fault::Kind::Corrupt | crate::fault::Kind::Internal
        ) {
            hosted.quarantine(*sequence, error);
        }
    }
    let distance = snapshot.distance();
    let mut points = Vec::with_capacity(answer.hits.len());
    for hit in answer.hits {
        if asked
            .score_threshold
            .is_some_and(|least| !distance.reaches(hit.score, least))
        {
            break;
        }
        let record = snapshot.record(hit.row, &asked.payload, asked.with_vector)?;
        *room = room.checked_sub(record.about_bytes()).ok_or_else(|| {
            Error::Invalid(
                "the answer is too large: ask for fewer points, or for less of them".to_owned(),
            )
        })?;
        points.push(ScoredPoint {
            record,
            score: hit.score,
        });
    }
    Ok(points)
}
