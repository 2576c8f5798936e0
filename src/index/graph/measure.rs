//! How wide a code and how long a list, measured on the rows themselves.
//!
//! Some rows, spread evenly, are held out: they are not in the graph yet and asked as if they were
//! queries; one pass over all rows gives their true neighbours among the rest. (Rows of the graph
//! would not do: a walk for one ends where its own links are, and finds far more; measured.) For each width of the code the shortest list is found that
//! finds the wanted share of them, and what a search then costs; by that the width is chosen. Costs
//! are counted, not timed, so that a build's choice does not depend on what else the machine does: a
//! compared code costs its cache lines, a compared row its own.
//!
//! Real queries lie farther from the rows than rows do from each other, and find less (measured for
//! the trees: `docs/performance.md`). So the rows must miss only a part of what queries may miss.

use std::ops::ControlFlow;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::super::simd::kernels;
use super::super::top::Top;
use super::super::{Error, Hit, Job, Step};
use super::code::Coder;
use super::effort::{Effort, FEW, Learnt, MANY, Plan};
use super::numbers::{at, narrow, share, unordered, wide};
use super::search::{Lane, With, search};
use super::view::View;
use super::walk::NONE;
use crate::rows::Row;

/// Rows that are asked: enough that the measured share is right to about one in a hundred.
const ASKED: usize = 256;

/// Rows below which a build that takes over a graph takes over what was measured on it too.
const ASKED_MIN: usize = 64;

/// Of this many rows one is asked at most, so that those of a small shard stay like the rest.
const ASKED_OF: usize = 8;

/// Rows that all questions are compared with before the next are read.
const PORTION: usize = 512;

/// The lengths of a list that are tried.
const LISTS: [usize; 19] = [
    16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1_024,
];

/// The part of the misses allowed to a query that a row of the shard is allowed.
const ROWS_MISS: f32 = 1.0 / 3.0;

/// What one more compared code costs besides its cache lines, in lines: where codes of two bits touch two lines, a line
/// more makes a code an eighth dearer (measured with two and four bits, 100,000 and 500,000 points, at the lists of
/// recall 0.95 to 0.99). And the same for a row.
const CODE_COST: f64 = 6.0;
const ROW_COST: f64 = 20.0;

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
    /// What a search costs, in cache lines, by a list that would find just what is wanted.
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
    let learnt = learn(view, &with, questions)?;
    let of = |k: usize| -> Result<(usize, f32, f64), Error> {
        let mut last: Option<(usize, f32, f64)> = None;
        for list in LISTS.into_iter().filter(|list| *list >= k) {
            let plan = Plan::new(view.shape.width, k, list, learnt);
            let asked = asked(view, &with, plan, questions)?;
            let cost = asked.codes * (CODE_COST + view.shape.lines())
                + asked.rows * (ROW_COST + share(wide(job.rows.dimensions())) / 16.0);
            // Between two lists what would just be enough.
            let cost = match last {
                Some((_, less, cheaper)) if asked.recall > wanted.max(less) => {
                    let part = f64::from((wanted - less) / (asked.recall - less));
                    cheaper + (cost - cheaper) * part
                },
                _ => cost,
            };
            last = Some((list, asked.recall, cost));
            // A list as long as the graph has everything.
            if asked.recall >= wanted || list > at(view.count()) {
                break;
            }
        }
        Ok(last.unwrap_or((MANY, 1.0, 0.0)))
    };
    let (few, recall, cost) = of(FEW)?;
    let (many, _, _) = of(MANY)?;
    job.report(Step::Measuring, 1, 1);
    Ok(Found {
        effort: Effort {
            few,
            many: many.max(few),
            learnt,
        },
        recall,
        cost,
    })
}

/// The length of the list by whose nodes it is learnt how distances grow and how far codes are off.
const LEARNT_LIST: usize = 128;

/// What the questions' walks say of distances and codes.
fn learn(view: &View<'_>, with: &With<'_>, questions: &[Question]) -> Result<Learnt, Error> {
    let (kernels, distance) = (kernels(), with.rows.distance());
    let plan = Plan::new(view.shape.width, FEW, LEARNT_LIST, Learnt::default());
    // The squared distances of the tenth and the hundredth node, and the sum of squared errors and of
    // what they are in proportion to; the length of the question, and that there is one.
    let one = |lane: &mut Lane, question: &Question| {
        let queries = [question.vector.as_slice()];
        search(view, with, plan, &queries, std::slice::from_mut(lane))?;
        let (query, pool) = (lane.query(), lane.pool());
        let mut sums = [0f64; 6];
        if pool.length() < MANY {
            return Ok(sums);
        }
        let far = |place: usize| query.squared(unordered(pool.key_at(place))).max(0.0);
        sums[0] = f64::from(far(FEW - 1));
        sums[1] = f64::from(far(MANY - 1));
        for (key, node) in pool.nearest().take(FEW * 3) {
            let row = view.row(node).and_then(|row| with.rows.vector(row));
            let exact = row.map(|row| kernels.score(distance, &question.vector, row));
            if let Some(exact) = exact.and_then(|score| query.key_of(distance, score)) {
                let error = f64::from(exact - unordered(key));
                sums[2] += error * error;
                sums[3] += f64::from(query.length()) * f64::from(query.length());
            }
        }
        sums[4] = f64::from(query.length());
        sums[5] = 1.0;
        Ok(sums)
    };
    let sums: Vec<[f64; 6]> = questions
        .par_iter()
        .map_init(|| Lane::new(view.count()), one)
        .collect::<Result<_, Error>>()?;
    let sum = |of: usize| -> f64 { sums.iter().filter_map(|sums| sums.get(of)).sum() };
    let (ten, hundred, errors, squares) = (sum(0), sum(1), sum(2), sum(3));
    let finite = |number: f64| {
        if number.is_finite() {
            narrow(number)
        } else {
            0.0
        }
    };
    let times = share(wide(MANY)) / share(wide(FEW));
    Ok(Learnt {
        growth: finite((hundred / ten).ln() / times.ln()).max(0.0),
        error: finite((errors / squares).sqrt()),
        longest: with.coder.longest,
        typical: finite(sum(4) / sum(5)),
    })
}

/// What questions were answered.
struct Asked {
    /// The share of the neighbours that was found.
    recall: f32,
    /// Codes that were compared for one question.
    codes: f64,
    /// Rows that were.
    rows: f64,
}

/// Asks all questions.
fn asked(
    view: &View<'_>,
    with: &With<'_>,
    plan: Plan,
    questions: &[Question],
) -> Result<Asked, Error> {
    let one = |lane: &mut Lane, question: &Question| {
        let queries = [question.vector.as_slice()];
        let answers = search(view, with, plan, &queries, std::slice::from_mut(lane))?;
        let (hits, compared) = answers.into_iter().next().unwrap_or_default();
        let rows = lane.read();
        let codes = compared.saturating_sub(rows);
        let truth = question.truth.get(..plan.k).unwrap_or(&question.truth);
        let Some(last) = truth.last() else {
            return Ok([0, 0, codes, rows]);
        };
        let distance = with.rows.distance();
        let found = hits
            .iter()
            .filter(|hit| distance.reaches(hit.score, *last))
            .count();
        Ok([wide(found), wide(truth.len()), codes, rows])
    };
    let answers: Vec<[u64; 4]> = questions
        .par_iter()
        .map_init(|| Lane::new(view.count()), one)
        .collect::<Result<_, Error>>()?;
    let sum = |of: usize| share(answers.iter().filter_map(|answer| answer.get(of)).sum());
    let (found, wanted, codes, rows) = (sum(0), sum(1), sum(2), sum(3));
    let asked = share(wide(answers.len().max(1)));
    Ok(Asked {
        recall: if wanted > 0.0 {
            narrow(found / wanted)
        } else {
            1.0
        },
        codes: codes / asked,
        rows: rows / asked,
    })
}
