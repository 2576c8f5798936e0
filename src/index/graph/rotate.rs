//! A random rotation that costs little: what spreads a vector evenly over its components, so that
//! two bits of each say the same about every vector, whatever its data.
//!
//! Twice: signs turned at random, then Hadamard transforms of blocks of 128; between the two, the
//! components of all blocks are dealt out anew, so that each of the result depends on each of the
//! vector up to 16,384 dimensions. (The transform with random signs stands for a random rotation
//! since Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform", 2009.) It costs
//! `14 * dimensions` additions instead of the `dimensions^2` products of a matrix, and nothing is
//! stored: the signs follow from a seed.
//!
//! A vector is filled up with zeros to whole blocks; the rotation keeps lengths and products.

use super::numbers::wide;

/// Components of a block.
pub(super) const BLOCK: usize = 128;

/// The scale that makes the transform of a block keep lengths: one over the root of 128.
const SCALE: f32 = 0.088_388_35;

/// Components after filling up.
pub(super) fn padded(dimensions: usize) -> usize {
    dimensions.max(1).next_multiple_of(BLOCK)
}

/// A rotation.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    /// One for each component of the first pass, then of the second; the scale is in them.
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Rotation {
    /// The rotation of a seed.
    pub(super) fn new(dimensions: usize, seed: u64) -> Self {
        let padded = padded(dimensions);
        let mut state = seed;
        let mut signs = || -> Vec<f32> {
            let mut sign = || {
                if next_random(&mut state) >> 63 == 1 {
                    SCALE
                } else {
                    -SCALE
                }
            };
            (0..padded).map(|_| sign()).collect()
        };
        Self {
            first: signs(),
            second: signs(),
        }
    }

    /// Components of what comes out.
    pub(super) fn padded(&self) -> usize {
        self.first.len()
    }

    /// Rotates `vector`, filled up with zeros, into `turned`; `between` is overwritten. Both become
    /// as long as needed.
    #[inline(always)]
    pub(super) fn turn(&self, vector: &[f32], between: &mut Vec<f32>, turned: &mut Vec<f32>) {
        let padded = self.padded();
        between.clear();
        between.extend_from_slice(vector);
        between.resize(padded, 0.0);
        let mut signs = self.first.as_chunks::<BLOCK>().0.iter();
        for block in between.as_chunks_mut::<BLOCK>().0 {
            let Some(signs) = signs.next() else { break };
            multiply(block, signs);
        }
        turned.resize(padded, 0.0);
        // Dealt out: one component of each block, then the next of each.
        let blocks = padded / BLOCK;
        let mut first = 0usize;
        for block in between.as_chunks_mut::<BLOCK>().0 {
            transform(block);
            let mut place = first;
            for component in block {
                if let (Some(to), Some(sign)) = (turned.get_mut(place), self.second.get(place)) {
                    *to = *component * sign;
                }
                place = place.wrapping_add(blocks);
            }
            first = first.wrapping_add(1);
        }
        for block in turned.as_chunks_mut::<BLOCK>().0 {
            transform(block);
        }
    }
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "arrays of one constant length")]
fn multiply(block: &mut [f32; BLOCK], signs: &[f32; BLOCK]) {
    for at in 0..BLOCK {
        block[at] *= signs[at];
    }
}

/// Rows and columns of a block, laid out as a table.
const ROWS: usize = 16;
const COLUMNS: usize = BLOCK / ROWS;

/// The Hadamard transform of a block, not scaled: between the rows of a table, then, after exchanging rows
/// and columns, between what were its columns. So that each step adds whole rows, which vectors hold.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "tables of constant sizes, gone through whole"
)]
fn transform(block: &mut [f32; BLOCK]) {
    let (mut table, mut turned) = ([[0f32; COLUMNS]; ROWS], [[0f32; ROWS]; COLUMNS]);
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            table[row][column] = block[row * COLUMNS + column];
        }
    }
    butterflies::<8, COLUMNS>(&mut table);
    butterflies::<4, COLUMNS>(&mut table);
    butterflies::<2, COLUMNS>(&mut table);
    butterflies::<1, COLUMNS>(&mut table);
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            turned[column][row] = table[row][column];
        }
    }
    butterflies::<4, ROWS>(&mut turned);
    butterflies::<2, ROWS>(&mut turned);
    butterflies::<1, ROWS>(&mut turned);
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            block[row * COLUMNS + column] = turned[column][row];
        }
    }
}

/// Sums and differences of rows that are `APART`.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "the rows of a pair are of one constant length"
)]
fn butterflies<const APART: usize, const LENGTH: usize>(table: &mut [[f32; LENGTH]]) {
    for halves in table.chunks_exact_mut(2 * APART) {
        let (left, right) = halves.split_at_mut(APART);
        for pair in 0..APART {
            let (left, right) = (&mut left[pair], &mut right[pair]);
            for at in 0..LENGTH {
                let (a, b) = (left[at], right[at]);
                (left[at], right[at]) = (a + b, a - b);
            }
        }
    }
}

/// The next of a sequence of evenly spread numbers (splitmix64, Steele and others 2014). For the
/// build's choices, which are to be the same each time.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A permutation of these numbers.
pub(super) fn shuffle(numbers: &mut [u32], seed: u64) {
    let mut state = seed;
    for last in (1..numbers.len()).rev() {
        let other = next_random(&mut state) % wide(last).saturating_add(1);
        numbers.swap(last, usize::try_from(other).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{narrow, share};
    use super::*;

    #[test]
    fn lengths_and_products_stay_and_every_component_is_spread() {
        for dimensions in [1, 4, 5, 31, 127, 128, 129, 384, 1000, 4096] {
            let rotation = Rotation::new(dimensions, 7);
            let turned = |vector: &[f32]| {
                let (mut between, mut turned) = (Vec::new(), Vec::new());
                rotation.turn(vector, &mut between, &mut turned);
                turned
            };
            let mut state = 1;
            let mut random = || {
                let vector = (0..dimensions)
                    .map(|_| narrow(share(next_random(&mut state) >> 40) / 1e7) - 0.8);
                vector.collect::<Vec<f32>>()
            };
            let (left, right) = (random(), random());
            let product = |left: &[f32], right: &[f32]| -> f32 {
                left.iter()
                    .zip(right)
                    .map(|(left, right)| left * right)
                    .sum()
            };
            let (expected, size) = (product(&left, &right), product(&left, &left));
            let got = product(&turned(&left), &turned(&right));
            assert!(
                (got - expected).abs() < 1e-4 * size,
                "{dimensions}: {got} {expected}"
            );
            let mut unit = vec![0.0; dimensions];
            unit[dimensions - 1] = 1.0;
            let largest = turned(&unit)
                .iter()
                .fold(0.0f32, |max, of| max.max(of.abs()));
            let bound = 12.0 / narrow(share(wide(padded(dimensions)))).sqrt();
            assert!(largest < bound, "{dimensions}: {largest}");
        }
    }
}
