//! A query that is ready to be compared with codes, and what keys say of distances.

use super::code::{Coder, LANES, Turned, Width};
use super::effort::Ends;
use super::kernels::Kernel;
use super::numbers::{float, ordered, signed_byte, unordered};
use super::walk::Limits;
use crate::vector::Distance;

/// A query, ready.
#[derive(Debug, Default, Clone)]
pub(super) struct Query {
    code: Vec<i8>,
    /// Of rows that are not coded.
    components: Vec<f32>,
    slope: f32,
    offset: f32,
    /// Its length, without the mean where rows are without it; more for one that is longer than usual. Errors
    /// of codes are in proportion to it.
    length: f32,
    /// What a key leaves out of the squared distance.
    zero: f32,
    /// The key of a row whose score is zero, where scores are products.
    scoreless: f32,
}

impl Query {
    /// What the errors of codes are in proportion to.
    pub(super) fn length(&self) -> f32 {
        self.length
    }

    /// The squared distance that a key stands for, about.
    pub(super) fn squared(&self, key: f32) -> f32 {
        key + self.zero
    }

    /// The key of an exact score; `None` where scores say nothing of squared distances.
    pub(super) fn key_of(&self, distance: Distance, score: f32) -> Option<f32> {
        match distance {
            Distance::Cosine | Distance::Dot => Some(self.scoreless - 2.0 * score),
            Distance::Euclid => Some(score * score - self.zero),
            Distance::Manhattan => None,
        }
    }

    /// The keys beyond which a walk ends and keeps no node, by the key at its place.
    #[inline(always)]
    pub(super) fn limits(&self, ends: Ends, key: i32) -> Limits {
        if key == i32::MAX {
            return Limits::NONE;
        }
        let key = unordered(key);
        let more = (ends.growth * (key + self.zero)).max(ends.least * self.length);
        Limits {
            end: ordered(key + more),
            kept: ordered(key + more.max(ends.kept * self.length)),
        }
    }

    /// How far a record's row is, as a key that is smaller the nearer it is. `None` when the record
    /// is too short.
    #[inline(always)]
    pub(super) fn key<K: Kernel, const BITS: u8>(
        &self,
        record: &[u8],
        code_bytes: usize,
    ) -> Option<i32> {
        let (code, numbers) = record.split_at_checked(code_bytes)?;
        let [factor, squared] = numbers.first_chunk::<8>()?.as_chunks::<4>().0 else {
            return None;
        };
        let product = if BITS == 32 {
            -2.0 * product(code, &self.components)
        } else {
            let sum = float(K::code::<BITS>(code, &self.code));
            f32::from_le_bytes(*factor) * (self.slope * sum + self.offset)
        };
        Some(ordered(f32::from_le_bytes(*squared) + product))
    }
}

impl Coder {
    /// Makes a query ready to be compared with codes of this width.
    #[inline(always)]
    pub(super) fn query(
        &self,
        vector: &[f32],
        width: Width,
        turned: &mut Turned,
        query: &mut Query,
    ) {
        if self.distance == Distance::Dot {
            self.turn(vector, turned);
        } else {
            self.residual(vector, turned);
        }
        let squared = sum_of_squares(&turned.components);
        let length = squared.sqrt();
        query.length = length;
        (query.zero, query.scoreless) = if self.distance == Distance::Dot {
            // As far as from a query of the length of the longest row, with a component more that makes all
            // rows as long; in proportion to this query.
            let twice = 2.0 * self.longest * length;
            let middle: f32 = vector
                .iter()
                .zip(&self.mean)
                .map(|(of, mean)| of * mean)
                .sum();
            (twice - 2.0 * middle, 2.0 * middle)
        } else {
            // A code's error is in proportion to the row's length too, and near a long query are long rows.
            if self.typical > 0.0 {
                query.length *= (length / self.typical).max(1.0);
            }
            (squared, 2.0 - squared)
        };
        if width == Width::Full {
            query.components.clone_from(&turned.components);
            return;
        }
        query.code.resize(turned.components.len(), 0);
        let (scale, sum) = signed(&turned.components, &mut query.code);
        query.slope = -2.0 / scale;
        query.offset = -query.slope * width.half() * float(sum);
    }
}

/// The product of a row that is written as floats, and a query. Padded components are zeros.
#[inline(always)]
fn product(row: &[u8], query: &[f32]) -> f32 {
    let (row, _) = row.as_chunks::<4>();
    let ((row, _), (query, _)) = (row.as_chunks::<LANES>(), query.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (row, query) in row.iter().zip(query) {
        for ((sum, row), query) in sums.iter_mut().zip(row).zip(query) {
            *sum += f32::from_le_bytes(*row) * query;
        }
    }
    let mut all = 0f32;
    for sum in sums {
        all += sum;
    }
    all
}

/// The squared length of a vector that is padded.
#[inline(always)]
fn sum_of_squares(components: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    for part in components.as_chunks::<LANES>().0 {
        for (sum, of) in sums.iter_mut().zip(part) {
            *sum += of * of;
        }
    }
    sums.into_iter().sum()
}

/// Writes a query's components, which are padded, as signed bytes. Answers what they are multiplied by,
/// and the sum of the bytes.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "arrays of one constant length, by number so that they are gone through in vectors"
)]
fn signed(components: &[f32], code: &mut [i8]) -> (f32, i32) {
    let (parts, _) = components.as_chunks::<LANES>();
    let mut largest = [1e-30f32; LANES];
    for part in parts {
        for at in 0..LANES {
            let size = part[at].abs();
            largest[at] = if size > largest[at] {
                size
            } else {
                largest[at]
            };
        }
    }
    let scale = 127.0 / largest.into_iter().fold(1e-30, f32::max);
    let mut sums = [0i32; LANES];
    let (codes, _) = code.as_chunks_mut::<LANES>();
    let mut parts = parts.iter();
    for code in codes {
        let Some(part) = parts.next() else { break };
        for at in 0..LANES {
            code[at] = signed_byte(part[at] * scale);
            sums[at] = sums[at].wrapping_add(i32::from(code[at]));
        }
    }
    (scale, sums.into_iter().fold(0, i32::wrapping_add))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::code::Shape;
    use super::super::kernels::{Level, Run, run};
    use super::super::rotate::{Rotation, next_random};
    use super::*;
    use crate::index::simd::kernels;
    use crate::vector::admit;

    const DIMENSIONS: usize = 40;

    struct Keyed<'a>(&'a Query, &'a [u8], usize);

    impl Run for Keyed<'_> {
        type Out = f32;
        #[inline(always)]
        fn run<K: Kernel>(self) -> f32 {
            let Self(query, record, code_bytes) = self;
            unordered(query.key::<K, 32>(record, code_bytes).unwrap())
        }
    }

    fn random(seed: u64, distance: Distance) -> Vec<f32> {
        let mut state = seed;
        let mut of = |_| f32::from(u16::try_from(next_random(&mut state) >> 48).unwrap());
        let mut vector: Vec<f32> = (0..DIMENSIONS).map(|at| of(at) / 32_768.0 - 0.7).collect();
        admit(&mut vector, DIMENSIONS, distance).unwrap();
        vector
    }

    proptest! {
        /// A code that is the row itself has the key of its exact score, and with it the squared distance;
        /// for the dot product that of the row and the query made as long as the longest row.
        #[test]
        fn keys_of_codes_and_of_scores_are_the_same(of_query in any::<u64>(), of_row in any::<u64>()) {
            for distance in [Distance::Cosine, Distance::Dot, Distance::Euclid] {
                let (vector, row) = (random(of_query, distance), random(of_row, distance));
                let own = |of: &[f32]| of.iter().map(|of| of * of).sum::<f32>();
                let longest = own(&row).sqrt() * 1.5;
                let rotation = Rotation::new(DIMENSIONS, 3);
                let coder = Coder { rotation, mean: vec![0.1; DIMENSIONS], distance, longest, typical: 0.0 };
                let shape = Shape::new(Width::Full, DIMENSIONS);
                let (mut turned, mut query) = (Turned::default(), Query::default());
                let mut record = vec![0; shape.stride];
                coder.encode(&row, shape, &mut turned, &mut record);
                coder.query(&vector, Width::Full, &mut turned, &mut query);
                let key = run(Level::best(), Keyed(&query, &record, shape.code_bytes));
                let score = kernels().score(distance, &vector, &row);
                let exact = query.key_of(distance, score).unwrap();
                prop_assert!((key - exact).abs() < 1e-3, "{distance:?}: {key} {exact}");
                let squared = if distance == Distance::Dot {
                    let length = own(&vector).sqrt();
                    // In proportion to the query: the squared distance, over the longest row's length to its own.
                    let (whole, along) = (2.0 * longest * longest, 2.0 * score * longest / length);
                    (whole - along) * length / longest
                } else {
                    vector.iter().zip(&row).map(|(a, b)| (a - b) * (a - b)).sum()
                };
                prop_assert!((query.squared(key) - squared).abs() < 1e-3, "{distance:?}: {squared}");
            }
        }

        #[test]
        fn a_walk_ends_no_nearer_than_the_node_at_its_place(
            key in -5f32..5.0,
            zero in 0f32..5.0,
            length in 0f32..3.0,
            growth in 0f32..0.5,
        ) {
            let query = Query { zero, length, ..Query::default() };
            let ends = Ends { place: 9, growth, least: 0.02, kept: 0.1 };
            let limits = query.limits(ends, ordered(key));
            prop_assert!(limits.end >= ordered(key) && limits.kept >= limits.end);
            prop_assert_eq!(query.limits(ends, i32::MAX), Limits::NONE);
        }
    }
}
