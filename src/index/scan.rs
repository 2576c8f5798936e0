//! The exact search: every row compared with the query.
//!
//! It is the truth that every other kind is measured against, and what answers for rows that no
//! segment covers. Outside the caches it is bound by reading the vectors.

use std::ops::ControlFlow;

use roaring::RoaringBitmap;

use super::simd::kernels;
use super::top::Top;
use super::{Error, Hit, Stop};
use crate::rows::Rows;

/// Comparisons between two looks at whether to stop: about a tenth of a millisecond.
const STOP_EVERY: usize = 1_024;

/// Offers every one of these rows to the query's `top`, for each query. Answers how many had a vector.
///
/// # Errors
/// [`Error::Stopped`] when told to stop.
pub(super) fn scan(
    rows: &dyn Rows,
    which: &RoaringBitmap,
    queries: &[&[f32]],
    tops: &mut [Top],
    stop: Stop<'_>,
) -> Result<u64, Error> {
    let (kernels, distance) = (kernels(), rows.distance());
    let rows_between = STOP_EVERY.checked_div(queries.len()).unwrap_or(1).max(1);
    let rows_between = u64::try_from(rows_between).unwrap_or(1);
    let mut seen = 0u64;
    let mut stopped = stop();
    if stopped {
        return Err(Error::Stopped);
    }
    rows.visit(which, &mut |row, vector| {
        seen += 1;
        if seen.is_multiple_of(rows_between) && stop() {
            stopped = true;
            return ControlFlow::Break(());
        }
        // A row is read once for all of them.
        for (query, top) in queries.iter().zip(tops.iter_mut()) {
            let score = kernels.score(distance, query, vector);
            top.offer(Hit { row, score });
        }
        ControlFlow::Continue(())
    });
    if stopped {
        Err(Error::Stopped)
    } else {
        Ok(seen)
    }
}
