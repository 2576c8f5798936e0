//! How wide a code and how long a list, measured on the rows themselves.
//!
//! Some rows, spread evenly, are held out: they are not in the graph yet and asked as if they were
//! queries; one pass over all rows gives their true neighbours among the rest. (Rows of the graph
//! would not do: a walk for one ends where its own links are, and finds far more; measured.) For each width of the code the shortest list is found that
//! finds the wanted share of them, and what a search then costs; the cheapest width is taken. Costs
//! are counted, not timed, so that a build's choice does not depend on what else the machine does: a
//! compared code costs its cache lines, a compared row its own.
//!
//! Real queries lie farther from the rows than rows do from each other, and find less (measured for
//! the trees: `docs/performance.md`). So the rows must miss only a part of what queries may miss.

use std::ops::ControlFlow;

use rayon::prelude::*;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::super::simd::kernels;
use super::super::top::Top;
use super::super::{Error, Hit, Job, Step};
use super::code::{Coder, Width};
use super::numbers::{at, count, narrow, share, wide};
use super::pool::LIST_MAX;
use super::search::{Lane, Plan, With, search};
use super::view::View;
use super::walk::NONE;
use crate::rows::Row;

/// Rows that are asked: enough that the measured share is right to about one in a hundred.
const ASKED: usize = 256;

/// Rows below which a build that takes over a graph takes over what was measured on it too.
const ASKED_MIN: usize = 64;

/// Of this many rows one is asked at most, so that those of a small shard stay like the rest.
const ASKED_OF: usize = 8;

/// The two numbers of neighbours that are measured.
const FEW: usize = 10;
const MANY: usize = 100;

/// Rows that all questions are compared with before the next are read.
const PORTION: usize = 512;

/// The lengths of a list that are tried.
const LISTS: [usize; 17] = [
    16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1_024,
];

/// The part of the misses allowed to a query that a row of the shard is allowed.
const ROWS_MISS: f32 = 1.0 / 3.0;

/// The unit of the public API's effort: this much is the measured list.
const USUAL: f64 = 100.0;

/// What one more compared code costs besides its cache lines, in lines; and the same for a row.
const CODE_COST: f64 = 3.0;
const ROW_COST: f64 = 16.0;

/// How long a search's list is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Effort {
    /// For ten neighbours.
    few: usize,
    /// For a hundred.
    many: usize,
}

impl Effort {
    /// The plan for `k` neighbours at the measured effort or another.
    pub(super) fn plan(&self, width: Width, k: usize, effort: Option<u32>) -> Plan {
        let (few, many) = (share(wide(self.few.max(1))), share(wide(self.many.max(1))));
        // For fewer than ten as hard as for ten: what is short for those is too short for one.
        let hard = k.max(FEW);
        let power = (many / few).log10().max(0.0);
        let by_k = (share(wide(hard)) / share(wide(FEW))).powf(power);
        let by_effort = effort.map_or(1.0, |effort| f64::from(effort) / USUAL);
        let list = count(few * by_k * by_effort).max(k).clamp(1, LIST_MAX);
        Plan {
            k,
            list,
            exact: width.exact(list, hard),
        }
    }
}

/// A row that is asked, and the scores of its nearest, the nearest first.
pub(super) struct Question {
    vector: Vec<f32>,
    truth: Vec<f32>,
}

/// The points to be held out, ascending: spread evenly over those of `new` that equal no other. The
/// entry is none of them. None at all where they would be too few to measure by.
pub(super) fn held_out(firsts: &[u32], entry: u32, new: Option<&[u32]>) -> Vec<u32> {
    let mut alone = vec![new.is_none(); firsts.len()];
    for point in new.unwrap_or_default() {
        if let Some(alone) = alone.get_mut(at(*point)) {
            *alone = true;
        }
    }
    if let Some(alone) = alone.get_mut(at(entry)) {
        *alone = false;
    }
    for (point, first) in firsts.iter().enumerate() {
        for equal in [point, at(*first)] {
            if let Some(alone) = alone.get_mut(equal).filter(|_| *first != NONE) {
                *alone = false;
            }
        }
    }
    let alone: Vec<u32> = (0u32..)
        .zip(alone)
        .filter(|(_, alone)| *alone)
        .map(|(point, _)| point)
        .collect();
    let number = (alone.len() / ASKED_OF).min(ASKED);
    if new.is_some() && number < ASKED_MIN {
        return Vec::new();
    }
    let chosen = (0..number).filter_map(|asked| alone.get(asked * alone.len() / number.max(1)));
    chosen.copied().collect()
}

/// The vectors of what is held out, with their true neighbours among the rest, from one pass.
pub(super) fn questions(
    job: &Job<'_>,
    covered: &RoaringBitmap,
    held: &[u32],
) -> Result<Vec<Question>, Error> {
    let (kernels, distance) = (kernels(), job.rows.distance());
    let held: RoaringBitmap = held
        .iter()
        .filter_map(|point| covered.select(*point))
        .collect();
    let asked = held
        .iter()
        .filter_map(|row| Some((job.rows.vector(row)?.to_vec(), Top::new(distance, MANY))));
    let mut asked: Vec<(Vec<f32>, Top)> = asked.collect();
    let others = covered - held;
    let dimensions = job.rows.dimensions().max(1);
    let (mut rows, mut vectors) = (Vec::new(), Vec::new());
    let mut compare = |rows: &mut Vec<Row>, vectors: &mut Vec<f32>| {
        asked.par_iter_mut().for_each(|(query, top)| {
            for (row, vector) in rows.iter().zip(vectors.chunks_exact(dimensions)) {
                let score = kernels.score(distance, query, vector);
                top.offer(Hit { row: *row, score });
            }
        });
        rows.clear();
        vectors.clear();
    };
    let mut stopped = false;
    job.rows.visit(&others, &mut |row, vector| {
        rows.push(row);
        vectors.extend_from_slice(vector);
        if rows.len() == PORTION {
            stopped = (job.stop)();
            compare(&mut rows, &mut vectors);
        }
        if stopped {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    if stopped {
        return Err(Error::Stopped);
    }
    compare(&mut rows, &mut vectors);
    let questions = asked.into_iter().map(|(vector, top)| Question {
        vector,
        truth: top.into_hits().iter().map(|hit| hit.score).collect(),
    });
    Ok(questions.collect())
}

/// What was found for a width.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) effort: Effort,
    /// The share of the ten nearest that it finds.
    pub(super) recall: f32,
    /// What a search costs, in cache lines.
    pub(super) cost: f64,
}

/// The shortest lists of this graph that find this share of a query's neighbours.
pub(super) fn measure(
    job: &Job<'_>,
    (view, coder, covered): (&View<'_>, &Coder, &RoaringBitmap),
    questions: &[Question],
    wanted: f32,
) -> Result<Found, Error> {
    let wanted = 1.0 - (1.0 - wanted) * ROWS_MISS;
    let with = With {
        coder,
        rows: job.rows,
        covered,
        allowed: None,
        stop: job.stop,
    };
    let of = |k: usize| -> Result<(usize, f32, f64), Error> {
        let mut last = (MANY, 1.0, 0.0);
        for list in LISTS.into_iter().filter(|list| *list >= k) {
            let plan = Plan {
                k,
                list,
                exact: view.shape.width.exact(list, k),
            };
            let (recall, compared) = asked(view, &with, plan, questions)?;
            let cost = compared * (CODE_COST + view.shape.lines())
                + share(wide(plan.exact)) * (ROW_COST + share(wide(job.rows.dimensions())) / 16.0);
            last = (list, recall, cost);
            // A list as long as the graph has everything.
            if recall >= wanted || list > at(view.count()) {
                break;
            }
        }
        Ok(last)
    };
    let (few, recall, cost) = of(FEW)?;
    let (many, _, _) = of(MANY)?;
    job.report(Step::Measuring, 1, 1);
    Ok(Found {
        effort: Effort {
            few,
            many: many.max(few),
        },
        recall,
        cost,
    })
}

/// Asks all questions: the share of the neighbours that was found, and how many codes were compared
/// for one.
fn asked(
    view: &View<'_>,
    with: &With<'_>,
    plan: Plan,
    questions: &[Question],
) -> Result<(f32, f64), Error> {
    let one = |lane: &mut Lane, question: &Question| {
        let answers = search(
            view,
            with,
            plan,
            &[&question.vector],
            std::slice::from_mut(lane),
        )?;
        let (hits, compared) = answers.into_iter().next().unwrap_or_default();
        let truth = question.truth.get(..plan.k).unwrap_or(&question.truth);
        let Some(last) = truth.last() else {
            return Ok((0, 0, compared));
        };
        let distance = with.rows.distance();
        let found = hits
            .iter()
            .filter(|hit| distance.reaches(hit.score, *last))
            .count();
        Ok((wide(found), wide(truth.len()), compared))
    };
    let answers: Vec<(u64, u64, u64)> = questions
        .par_iter()
        .map_init(|| Lane::new(view.count()), one)
        .collect::<Result<_, Error>>()?;
    let sum = |of: fn(&(u64, u64, u64)) -> u64| share(answers.iter().map(of).sum());
    let (found, wanted, compared) = (sum(|of| of.0), sum(|of| of.1), sum(|of| of.2));
    let recall = if wanted > 0.0 { found / wanted } else { 1.0 };
    Ok((narrow(recall), compared / share(wide(answers.len().max(1)))))
}
