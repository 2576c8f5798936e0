//! How hard a search has to look, measured.
//!
//! Rows of the shard, spread evenly, are asked as if they were queries. One scan of all rows gives
//! their true neighbours (without themselves); one walk each tells after how many proposed rows each
//! neighbour turned up. The number that suffices for the wanted share of all neighbours is what a
//! search goes by. It is taken for ten neighbours and for a hundred, and follows a power of `k`
//! between and beyond.
//!
//! Real queries lie farther from the rows than rows do from each other, and find less (measured:
//! `docs/performance.md`). So the rows must miss only a third of what queries may miss.

use std::ops::ControlFlow;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::super::simd::kernels;
use super::super::top::Top;
use super::super::{Error, Hit, Job};
use super::forest::Forest;
use crate::rows::{Row, Rows};

/// Rows that are asked: enough that the measured share is right to about one in a hundred.
const ASKED: u64 = 200;

/// The two numbers of neighbours that are measured.
const FEW: usize = 10;
const MANY: usize = 100;

/// Beyond the last wanted neighbour, this many of equal score are as good.
const TIES: usize = 28;

/// The part of the misses allowed to a query that a row of the shard is allowed.
const ROWS_MISS: f32 = 1.0 / 3.0;

/// The unit of the public API's effort: this much is the measured effort.
const USUAL: f64 = 100.0;

/// How many rows a search compares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Effort {
    /// For ten neighbours.
    few: u64,
    /// For a hundred.
    many: u64,
}

impl Effort {
    /// Rows to compare for `k` neighbours, at the measured effort or another.
    #[expect(
        clippy::as_conversions,
        reason = "approximate on purpose; `as` saturates and never wraps for floats"
    )]
    pub(super) fn rows(&self, k: usize, effort: Option<u32>) -> u64 {
        let (few, many) = (self.few.max(1) as f64, self.many.max(1) as f64);
        let power = (many / few).log10().max(0.0);
        let by_k = (k.max(1) as f64 / FEW as f64).powf(power);
        let by_effort = effort.map_or(1.0, |effort| f64::from(effort) / USUAL);
        let rows = (few * by_k * by_effort).ceil() as u64;
        // Fewer than a few times `k` cannot be meant.
        rows.max(u64::try_from(k).unwrap_or(u64::MAX).saturating_mul(4))
    }
}

/// Measures the effort that finds this share of a query's neighbours, and the share of a row's
/// neighbours that it finds.
pub(super) fn measure(
    forest: &Forest,
    job: &Job<'_>,
    covered: &RoaringBitmap,
    share: f32,
) -> Result<(Effort, f32), Error> {
    let share = 1.0 - (1.0 - share) * ROWS_MISS;
    let asked = sample(job.rows, covered);
    let truths = truths(job, covered, &asked)?;
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for (asked, truth) in asked.iter().zip(truths) {
        let found = found_after(forest, job, &asked.vector, &truth)?;
        few.extend(wanted(&found, FEW));
        many.extend(wanted(&found, MANY));
    }
    let effort = Effort {
        few: quantile(&mut few, share),
        many: quantile(&mut many, share),
    };
    Ok((effort.clone(), found_within(&few, effort.few)))
}

/// A row that is asked.
struct Asked {
    row: Row,
    vector: Vec<f32>,
}

/// Rows spread evenly over all.
fn sample(rows: &dyn Rows, covered: &RoaringBitmap) -> Vec<Asked> {
    let count = covered.len().min(ASKED);
    let ranks = (0..count).map(|asked| asked * covered.len() / count.max(1));
    let asked = ranks.filter_map(|rank| {
        let row = covered.select(u32::try_from(rank).ok()?)?;
        let vector = rows.vector(row)?.to_vec();
        Some(Asked { row, vector })
    });
    asked.collect()
}

/// The nearest other rows of each asked row, in one pass over all.
fn truths(job: &Job<'_>, covered: &RoaringBitmap, asked: &[Asked]) -> Result<Vec<Vec<Hit>>, Error> {
    let (kernels, distance) = (kernels(), job.rows.distance());
    let top = || Top::new(distance, MANY + TIES);
    let mut tops: Vec<Top> = asked.iter().map(|_| top()).collect();
    let mut stopped = false;
    job.rows.visit(covered, &mut |row, vector| {
        stopped = (job.stop)();
        if stopped {
            return ControlFlow::Break(());
        }
        for (asked, top) in asked.iter().zip(&mut tops) {
            if asked.row != row {
                let score = kernels.score(distance, &asked.vector, vector);
                top.offer(Hit { row, score });
            }
        }
        ControlFlow::Continue(())
    });
    if stopped {
        return Err(Error::Stopped);
    }
    Ok(tops.into_iter().map(Top::into_hits).collect())
}

/// A true neighbour, and after how many proposed rows it turned up.
struct Neighbour {
    score: f32,
    after: u64,
}

/// Walks until all true neighbours have turned up or the trees are at their end. In the order of
/// the neighbours.
fn found_after(
    forest: &Forest,
    job: &Job<'_>,
    query: &[f32],
    truth: &[Hit],
) -> Result<Vec<Neighbour>, Error> {
    let mut found: Vec<Neighbour> = truth
        .iter()
        .map(|hit| Neighbour {
            score: hit.score,
            after: u64::MAX,
        })
        .collect();
    let mut by_row: Vec<(Row, usize)> = truth
        .iter()
        .enumerate()
        .map(|(rank, hit)| (hit.row, rank))
        .collect();
    by_row.sort_unstable();
    let mut missing = found.len();
    let mut walk = forest.walk(query, None, job.stop);
    while missing > 0 {
        let Some(rows) = walk.next_leaf()? else { break };
        for row in rows {
            let rank = by_row.binary_search_by_key(row, |(row, _)| *row).ok();
            let rank = rank.and_then(|at| by_row.get(at)).map(|(_, rank)| *rank);
            let neighbour = rank.and_then(|rank| found.get_mut(rank));
            if let Some(neighbour) = neighbour.filter(|neighbour| neighbour.after == u64::MAX) {
                neighbour.after = walk.found();
                missing -= 1;
            }
        }
    }
    Ok(found)
}

/// After how many rows the first `k` neighbours turned up, where one that is as near as the `k`th is
/// as good as it.
fn wanted(found: &[Neighbour], k: usize) -> Vec<u64> {
    let last = found.get(k.saturating_sub(1)).or_else(|| found.last());
    let Some(last) = last.map(|neighbour| neighbour.score) else {
        return Vec::new();
    };
    let nearer = found.iter().take(k);
    let ties = found.iter().skip(k);
    let ties = ties.take_while(|neighbour| neighbour.score.total_cmp(&last).is_eq());
    let mut after: Vec<u64> = nearer
        .chain(ties)
        .map(|neighbour| neighbour.after)
        .collect();
    after.sort_unstable();
    after.truncate(k);
    after
}

/// The smallest number that this share of the values does not exceed.
#[expect(
    clippy::as_conversions,
    reason = "an index of a list in memory, rounded on purpose"
)]
fn quantile(values: &mut [u64], share: f32) -> u64 {
    values.sort_unstable();
    let rank = (values.len() as f64 * f64::from(share)).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// The share of sorted values up to this one.
#[expect(
    clippy::as_conversions,
    reason = "a share of counts, rounded on purpose"
)]
fn found_within(values: &[u64], limit: u64) -> f32 {
    let within = values.partition_point(|value| *value <= limit);
    if values.is_empty() {
        1.0
    } else {
        (within as f64 / values.len() as f64) as f32
    }
}
