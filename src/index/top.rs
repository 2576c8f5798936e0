//! The `k` nearest of a stream of scored rows, the same for any order of the stream.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Hit;
use crate::rows::Row;
use crate::vector::Distance;

/// Keeps the nearest `k` hits that it is offered: by score, and by row where scores are equal.
/// Memory grows with what is kept, never beyond `k`.
#[derive(Debug)]
pub struct Top {
    distance: Distance,
    k: usize,
    /// The farthest on top.
    kept: BinaryHeap<Ranked>,
}

impl Top {
    /// Nothing kept yet.
    pub fn new(distance: Distance, k: usize) -> Self {
        Self {
            distance,
            k,
            kept: BinaryHeap::new(),
        }
    }

    /// Takes a hit if it is among the nearest so far.
    pub fn offer(&mut self, hit: Hit) {
        let ranked = Ranked::new(self.distance, hit);
        if self.kept.len() < self.k {
            self.kept.push(ranked);
        } else if let Some(mut farthest) = self.kept.peek_mut()
            && ranked < *farthest
        {
            *farthest = ranked;
        }
    }

    /// The score of the farthest, once there are `k`.
    pub fn farthest(&self) -> Option<f32> {
        let farthest = self.kept.peek().filter(|_| self.kept.len() == self.k);
        farthest.map(|ranked| ranked.score)
    }

    /// What was kept, the nearest first.
    pub fn into_hits(self) -> Vec<Hit> {
        let sorted = self.kept.into_sorted_vec();
        sorted.into_iter().map(|ranked| ranked.hit()).collect()
    }
}

/// A hit with a key that is smaller the nearer it is.
#[derive(Debug, Clone, Copy)]
struct Ranked {
    key: f32,
    row: Row,
    score: f32,
}

impl Ranked {
    fn new(distance: Distance, hit: Hit) -> Self {
        let key = match (hit.score.is_nan(), distance.larger_is_nearer()) {
            // Beyond infinity: a score that is no number is the last to be answered.
            (true, _) => f32::NAN.abs(),
            // Adding zero makes the two zeros one.
            (false, true) => 0.0 - hit.score,
            (false, false) => hit.score + 0.0,
        };
        Self {
            key,
            row: hit.row,
            score: hit.score,
        }
    }

    fn hit(self) -> Hit {
        Hit {
            row: self.row,
            score: self.score,
        }
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = self.key.total_cmp(&other.key);
        by_key.then_with(|| self.row.cmp(&other.row))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_scores_are_kept_in_the_order_of_rows_and_no_number_comes_last() {
        let scores = [f32::NAN, 0.0, -0.0, f32::INFINITY, 1.0, 1.0, -f32::NAN];
        let mut top = Top::new(Distance::Euclid, 5);
        for (row, score) in (0u32..).zip(scores).collect::<Vec<_>>().into_iter().rev() {
            top.offer(Hit { row, score });
        }
        let rows: Vec<Row> = top.into_hits().iter().map(|hit| hit.row).collect();
        assert_eq!(rows, [1, 2, 4, 5, 3]);
    }

    proptest! {
        #[test]
        fn the_kept_are_the_first_of_a_full_sort(
            scores in proptest::collection::vec(-4i8..4, 0..60),
            k in 0usize..20,
            distance in prop_oneof![Just(Distance::Dot), Just(Distance::Manhattan)],
        ) {
            let mut all: Vec<Hit> = (0u32..)
                .zip(&scores)
                .map(|(row, score)| Hit { row, score: f32::from(*score) })
                .collect();
            let mut top = Top::new(distance, k);
            all.iter().for_each(|hit| top.offer(*hit));
            all.sort_by(|a, b| distance.order(a.score, b.score).then(a.row.cmp(&b.row)));
            all.truncate(k);
            prop_assert_eq!(top.into_hits(), all);
        }
    }
}
