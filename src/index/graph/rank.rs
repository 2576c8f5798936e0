//! The last step of a search: which of the proposed nodes are nearest, by their rows.

use std::collections::VecDeque;

use super::super::simd::kernels;
use super::super::top::Top;
use super::super::{Error, Hit};
use super::effort::Plan;
use super::kernels::prefetch_numbers;
use super::numbers::unordered;
use super::pool::Pool;
use super::query::Query;
use super::search::{With, unsound};
use super::view::View;
use crate::rows::Row;

/// Rows that are on their way from the memory while one is compared, and how much of each is asked for: the
/// processor itself fetches on what is read in order (measured).
const ROWS_AHEAD: usize = 12;
const ROW_HEAD: usize = 96;

/// A row, and its key by its code.
pub(super) type Near = (Row, f32);

/// The allowed rows of a pool, the nearest first, as many as are compared exactly at most.
pub(super) fn nearest(
    view: &View<'_>,
    with: &With<'_>,
    plan: Plan,
    pool: &Pool,
) -> Result<Vec<Near>, Error> {
    let mut near = Vec::with_capacity(plan.rows.min(pool.length()));
    for (key, node) in pool.nearest() {
        let row = view.row(node).ok_or_else(unsound)?;
        if with.allowed.is_none_or(|allowed| allowed.contains(row)) {
            // The sum of its block is right, so this is a fault of what wrote it.
            if !with.covered.contains(row) {
                return Err(Error::corrupt("a node whose row it does not cover"));
            }
            near.push((row, unordered(key)));
            if near.len() == plan.rows {
                break;
            }
        }
    }
    Ok(near)
}

/// The exactly nearest of these rows, and how many were compared. Those that a code's error cannot bring among
/// the nearest are not.
pub(super) fn decide(
    with: &With<'_>,
    plan: Plan,
    (vector, query): (&[f32], &Query),
    near: &[Near],
) -> (Vec<Hit>, u64) {
    let (distance, kernels) = (with.rows.distance(), kernels());
    let slack = plan
        .slack
        .map_or(f32::INFINITY, |slack| slack * query.length());
    // Until `k` rows are compared, the key of the `k`-th code stands for theirs.
    let last = near.get(plan.k.saturating_sub(1)).or_else(|| near.last());
    let mut bound = last.map_or(f32::INFINITY, |(_, key)| key + slack);
    let mut asked = VecDeque::with_capacity(ROWS_AHEAD);
    let (mut top, mut coming) = (Top::new(distance, plan.k), near.iter().peekable());
    let (mut found, mut compared) = (0usize, 0u64);
    loop {
        while asked.len() < ROWS_AHEAD
            && let Some((row, _)) = coming.next_if(|(_, key)| found < plan.k || *key <= bound)
        {
            if let Some(row_vector) = with.rows.vector(*row) {
                prefetch_numbers(row_vector.get(..ROW_HEAD).unwrap_or(row_vector));
                asked.push_back((*row, row_vector));
                found = found.saturating_add(1);
            }
        }
        let Some((row, row_vector)) = asked.pop_front() else {
            return (top.into_hits(), compared);
        };
        let score = kernels.score(distance, vector, row_vector);
        top.offer(Hit { row, score });
        compared = compared.saturating_add(1);
        if let Some(score) = top.farthest() {
            bound = query
                .key_of(distance, score)
                .map_or(f32::INFINITY, |key| key + slack);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;
    use roaring::RoaringBitmap;

    use super::super::code::{Coder, Turned, Width};
    use super::super::effort::Learnt;
    use super::super::rotate::Rotation;
    use super::*;
    use crate::rows::Rows;
    use crate::vector::Distance;

    /// One component a row; some rows are gone.
    struct Line {
        vectors: Vec<[f32; 1]>,
        live: RoaringBitmap,
        distance: Distance,
    }

    impl Rows for Line {
        fn dimensions(&self) -> usize {
            1
        }
        fn distance(&self) -> Distance {
            self.distance
        }
        fn live(&self) -> &RoaringBitmap {
            &self.live
        }
        fn vector(&self, row: Row) -> Option<&[f32]> {
            self.live.contains(row).then_some(())?;
            self.vectors.get(row as usize).map(<[f32; 1]>::as_slice)
        }
        fn visit(&self, _: &RoaringBitmap, _: &mut dyn FnMut(Row, &[f32]) -> ControlFlow<()>) {}
    }

    proptest! {
        /// Rows by codes that are off by less than the slack: leaving rows out changes no answer.
        #[test]
        fn rows_that_are_left_out_would_not_have_been_answered(
            rows in proptest::collection::vec((0f32..2.0, -0.1f32..0.1, any::<bool>()), 0..60),
            k in 1usize..12,
            dot in any::<bool>(),
        ) {
            let distance = if dot { Distance::Dot } else { Distance::Euclid };
            let line = Line {
                vectors: rows.iter().map(|row| [row.0]).collect(),
                live: (0u32..).zip(&rows).filter(|(_, row)| row.2).map(|(row, _)| row).collect(),
                distance,
            };
            let coder = Coder {
                rotation: Rotation::new(1, 1),
                mean: vec![0.0],
                distance,
                longest: 2.0,
                typical: 0.0,
            };
            let (mut turned, mut query) = (Turned::default(), Query::default());
            let vector = [1.5f32];
            coder.query(&vector, Width::Full, &mut turned, &mut query);
            let mut near: Vec<Near> = (0u32..)
                .zip(&rows)
                .map(|(row, (at, off, _))| {
                    let score = kernels().score(distance, &vector, &[*at]);
                    (row, query.key_of(distance, score).unwrap() + off * query.length())
                })
                .collect();
            near.sort_by(|left, right| left.1.total_cmp(&right.1));
            let covered = (0..60).collect();
            let with = With {
                coder: &coder,
                rows: &line,
                covered: &covered,
                allowed: None,
                stop: &|| false,
            };
            let all = Plan::new(Width::Two, k, 60, Learnt::default());
            let some = Plan { slack: Some(0.2), ..all };
            let (all, read_all) = decide(&with, all, (&vector, &query), &near);
            let (some, read_some) = decide(&with, some, (&vector, &query), &near);
            prop_assert_eq!(all, some);
            prop_assert!(read_all == line.live.len() && read_some <= read_all);
        }
    }
}
