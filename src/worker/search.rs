//! Searches of one shard: what is asked, made into rows, made into points.

use roaring::RoaringBitmap;

use super::Error;
use super::hosted::Hosted;
use crate::clock::{Clock, Moment};
use crate::fault::{Fault, Kind};
use crate::ids::PointId;
use crate::index::{self, Ask, Hit};
use crate::query::{Filter, PayloadSelector, ScoredPoint};
use crate::rows::Rows;
use crate::store::Snapshot;

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

impl Search {
    /// Whether two searches look at the same rows in the same way, so that one walk's waiting is
    /// another's work.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        let kind = |search: &Self| (search.top, search.exact, search.effort);
        let alone = self.exclude.is_some() || other.exclude.is_some();
        !alone && kind(self) == kind(other) && self.filter == other.filter
    }
}

/// Searches of one request that are brief together.
const BRIEF_SEARCHES_MAX: usize = 4;

/// Neighbours of a brief search.
const BRIEF_TOP_MAX: usize = 100;

/// Points of a brief search whose payloads or vectors are asked for.
const BRIEF_POINTS_MAX: usize = 16;

/// The effort of a brief search.
const BRIEF_EFFORT_MAX: u32 = 400;

/// Rows that a brief search scans.
const BRIEF_ROWS_MAX: u64 = 2_000;

/// Whether these searches of a shard take a fraction of a millisecond: no filter has to be read, and an
/// index answers for nearly all rows.
pub(super) fn brief(searches: &[Search]) -> impl FnOnce(&Hosted) -> bool + use<> {
    let each = |search: &Search| {
        let plain = search.filter.is_empty() && !search.exact && search.exclude.is_none();
        let effort = search.effort.unwrap_or(0);
        // Payloads and vectors may have to come from a disk, a point each.
        let bare = matches!(search.payload, PayloadSelector::None) && !search.with_vector;
        let few = search.top
            <= if bare {
                BRIEF_TOP_MAX
            } else {
                BRIEF_POINTS_MAX
            };
        plain && few && effort <= BRIEF_EFFORT_MAX
    };
    let brief = searches.len() <= BRIEF_SEARCHES_MAX && searches.iter().all(each);
    move |hosted| brief && hosted.uncovered() <= BRIEF_ROWS_MAX
}

/// Answers searches that go with each other, in their order. Blocks its thread. What it answers is
/// taken off `room`, in bytes.
///
/// # Errors
/// [`Error`]; past the deadline an index's [`index::Error::Stopped`]; without room left that more was
/// asked for than an answer holds.
pub(super) fn search(
    hosted: &Hosted,
    snapshot: &Snapshot,
    searches: &[Search],
    (clock, deadline): (&dyn Clock, Moment),
    room: &mut usize,
) -> Result<Vec<Vec<ScoredPoint>>, Error> {
    let Some(first) = searches.first() else {
        return Ok(Vec::new());
    };
    let points = snapshot.live().len();
    hosted.own_fields.count(&first.filter, points);
    let allowed = allowed(snapshot, first)?;
    let stop = || clock.now() >= deadline;
    let serving = hosted.serving(snapshot.live_rows());
    let set = &serving.set;
    let learnt = || set.main.as_ref().map(|open| hosted.live.effort(open));
    let ask = Ask {
        k: first.top,
        effort: first.effort.or_else(learnt),
        exact: first.exact,
        allowed: allowed.as_ref(),
        stop: &stop,
    };
    let vectors: Vec<&[f32]> = searches.iter().map(|search| &*search.vector).collect();
    let mut results = Vec::with_capacity(searches.len());
    let answers = index::search_many(&serving.coverage, snapshot, &vectors, &ask)?;
    for (asked, answer) in searches.iter().zip(answers) {
        for (sequence, error) in &answer.failed {
            let failed = set.each().find(|open| open.segment.sequence() == *sequence);
            if let Some(failed) = failed
                && matches!(error.kind(), Kind::Corrupt | Kind::Internal)
            {
                hosted.quarantine(&failed.name(), error);
            }
        }
        results.push(scored(snapshot, asked, answer.hits, room)?);
    }
    Ok(results)
}

/// The rows that a search may answer, if not all.
fn allowed(snapshot: &Snapshot, asked: &Search) -> Result<Option<RoaringBitmap>, Error> {
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
    Ok(allowed)
}

/// The points of the rows that were found, with what was asked for of each.
fn scored(
    snapshot: &Snapshot,
    asked: &Search,
    hits: Vec<Hit>,
    room: &mut usize,
) -> Result<Vec<ScoredPoint>, Error> {
    let distance = snapshot.distance();
    let mut points = Vec::with_capacity(hits.len());
    for hit in hits {
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
