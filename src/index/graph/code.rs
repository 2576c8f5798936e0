//! How a row is written in two, four or eight bits a component, and what is read from that.
//!
//! What is coded is the residual: the row less the mean of all rows, rotated. Each component becomes
//! the nearest of the `2^bits` values `code - half` times a step; of a few steps the one is taken
//! whose code points most nearly where the residual does. Besides the code a record keeps two
//! numbers: a factor, so that `<q, residual> ~ factor * <q, code - half>`, and the residual's squared
//! length. That is the estimator of RaBitQ (Gao and Long, SIGMOD 2024) in its form for several bits
//! (Gao and others, SIGMOD 2025), with a coarser search for the step: right on average for any data,
//! with an error that shrinks with the root of the dimensions.
//!
//! The estimate of a query `q` is a key, not a distance: what is the same for all rows is left out.
//! By squared length: `|r|^2 - 2 <q - mean, r>`; for the dot product: `-2 <q, r>`. Manhattan's
//! distance has no such form: rows that are near by squared length are near by it too, on the whole,
//! and the exact scores decide among more of them.

use super::kernels::{Kernel, Level, Run, run};
use super::numbers::{byte, narrow, share, whole, wide};
use super::rotate::{Rotation, padded};
use crate::vector::Distance;

/// Bits of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    /// Two.
    Two,
    /// Four.
    Four,
    /// Eight.
    Eight,
    /// No code: the components themselves, as floats. Never the cheapest; for who wants no other error
    /// than the graph's.
    Full,
}

impl Width {
    /// Those that a build may choose by itself, the narrowest first.
    pub(super) const CODES: [Self; 3] = [Self::Two, Self::Four, Self::Eight];

    /// The number of bits.
    pub(super) const fn bits(self) -> u8 {
        match self {
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
            Self::Full => 32,
        }
    }

    /// The width of that many bits.
    pub(super) fn of(bits: u8) -> Option<Self> {
        let mut all = Self::CODES.into_iter().chain([Self::Full]);
        all.find(|width| width.bits() == bits)
    }

    /// The steps that are tried, in standard deviations of the residual's components.
    const fn steps(self) -> &'static [f32] {
        match self {
            Self::Two => &[0.8, 0.9, 1.0, 1.1, 1.2],
            Self::Four => &[0.26, 0.3, 0.34, 0.38],
            Self::Eight => &[0.022, 0.027, 0.032],
            Self::Full => &[],
        }
    }

    /// The half of the largest code: what stands for zero.
    pub(super) fn half(self) -> f32 {
        f32::from(u8::MAX >> 8u8.saturating_sub(self.bits())) / 2.0
    }

    /// How many rows are compared exactly, of a list of this length, for `k` neighbours. The
    /// narrower the code the more: with too few the list's length is wasted (measured).
    pub(super) fn exact(self, list: usize, k: usize) -> usize {
        let (least, part) = match self {
            Self::Two => (k.saturating_mul(3), list.saturating_mul(2) / 5),
            Self::Four => (k.saturating_mul(2), list.saturating_mul(3) / 20),
            // Floats too: by Manhattan's distance others are nearest.
            Self::Eight | Self::Full => (k.saturating_add(k / 2), list / 10),
        };
        least.max(part).min(list)
    }
}

/// How the records of one width and number of dimensions are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bits of a component.
    pub(super) width: Width,
    /// Bytes of the code itself; the factor and the squared length follow.
    pub(super) code_bytes: usize,
    /// Bytes from one record to the next.
    pub(super) stride: usize,
}

/// Floats that are worked on at once, and sums that a product is kept in: as many as the widest registers
/// hold, and the same on every machine.
pub(super) const LANES: usize = 16;

/// Bytes of a cache line.
const LINE: usize = 64;

impl Shape {
    /// The layout.
    pub(super) fn new(width: Width, dimensions: usize) -> Self {
        let code_bytes = padded(dimensions) * usize::from(width.bits()) / 8;
        let bytes = code_bytes + 8;
        let aligned = bytes.next_multiple_of(LINE);
        // Aligned, a record touches the fewest lines. Packed, it touches this many on average, in
        // sixteenths; where that is about the same, less memory wins.
        let packed_lines = 16 + (bytes - 8) * 16 / LINE;
        let pays = aligned / LINE * 16 + 4 < packed_lines;
        Self {
            width,
            code_bytes,
            stride: if pays { aligned } else { bytes },
        }
    }

    /// Cache lines that reading a record touches, about.
    pub(super) fn lines(self) -> f64 {
        share(wide(self.code_bytes + 8 + LINE / 2)) / share(wide(LINE))
    }
}

/// What turns rows and queries of one index into codes.
#[derive(Debug, Clone)]
pub(super) struct Coder {
    pub(super) rotation: Rotation,
    /// The mean of all rows.
    pub(super) mean: Vec<f32>,
    pub(super) distance: Distance,
    /// The length of the longest row; only for the dot product.
    pub(super) longest: f32,
    /// The length of a query on average; zero where it is not known yet.
    pub(super) typical: f32,
}

/// Memory that coding reuses.
#[derive(Debug, Default, Clone)]
pub(super) struct Turned {
    centred: Vec<f32>,
    between: Vec<f32>,
    /// What came out of the last rotation.
    pub(super) components: Vec<f32>,
}

impl Coder {
    /// Rotates a vector as it is into `turned`.
    #[inline(always)]
    pub(super) fn turn(&self, vector: &[f32], turned: &mut Turned) {
        self.rotation
            .turn(vector, &mut turned.between, &mut turned.components);
    }

    /// Rotates a row's residual into `turned`.
    #[inline(always)]
    pub(super) fn residual(&self, vector: &[f32], turned: &mut Turned) {
        turned.centred.clear();
        turned.centred.extend_from_slice(vector);
        subtract(&mut turned.centred, &self.mean);
        self.rotation
            .turn(&turned.centred, &mut turned.between, &mut turned.components);
    }

    /// Writes a row's record.
    pub(super) fn encode(
        &self,
        vector: &[f32],
        shape: Shape,
        turned: &mut Turned,
        record: &mut [u8],
    ) {
        let encode = Encode {
            coder: self,
            vector,
            shape,
            turned,
            record,
        };
        run(Level::best(), encode);
    }

    #[inline(always)]
    fn write(&self, vector: &[f32], shape: Shape, turned: &mut Turned, record: &mut [u8]) {
        self.residual(vector, turned);
        let (factor, squared) = if shape.width == Width::Full {
            copy(&turned.components, record)
        } else {
            quantize(&turned.components, shape, record)
        };
        let squared = if self.distance == Distance::Dot {
            0.0
        } else {
            squared
        };
        let numbers = record.get_mut(shape.code_bytes..).unwrap_or_default();
        let (numbers, _) = numbers.as_chunks_mut::<4>();
        for (place, number) in numbers.iter_mut().zip([factor, squared]) {
            *place = number.to_le_bytes();
        }
    }
}

/// Writing a row's record.
struct Encode<'a> {
    coder: &'a Coder,
    vector: &'a [f32],
    shape: Shape,
    turned: &'a mut Turned,
    record: &'a mut [u8],
}

impl Run for Encode<'_> {
    type Out = ();

    #[inline(always)]
    fn run<K: Kernel>(self) {
        let Self {
            coder,
            vector,
            shape,
            turned,
            record,
        } = self;
        coder.write(vector, shape, turned, record);
    }
}

/// Takes the mean from a vector.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "arrays of one constant length, by number so that they are gone through in vectors"
)]
fn subtract(vector: &mut [f32], mean: &[f32]) {
    let (parts, rest) = vector.as_chunks_mut::<LANES>();
    let (means, rest_of_mean) = mean.as_chunks::<LANES>();
    let mut means = means.iter();
    for part in parts {
        let Some(mean) = means.next() else { break };
        for at in 0..LANES {
            part[at] -= mean[at];
        }
    }
    for (component, mean) in rest.iter_mut().zip(rest_of_mean) {
        *component -= mean;
    }
}

/// Writes a rotated residual as it is. Answers its factor and its squared length.
fn copy(residual: &[f32], record: &mut [u8]) -> (f32, f32) {
    let (places, _) = record.as_chunks_mut::<4>();
    for (place, component) in places.iter_mut().zip(residual) {
        *place = component.to_le_bytes();
    }
    let squared: f64 = residual
        .iter()
        .map(|of| f64::from(*of) * f64::from(*of))
        .sum();
    (1.0, narrow(squared))
}

/// The nearest of the codes from 0 to twice the half.
#[inline(always)]
fn nearest(component: f32, inverse: f32, half: f32) -> f32 {
    whole((component * inverse + half).max(0.0).min(2.0 * half))
}

/// Writes the code of a rotated residual. Answers its factor and its squared length.
#[inline(always)]
#[expect(
    clippy::indexing_slicing,
    reason = "arrays of one constant length, by number so that they are gone through in vectors"
)]
pub(super) fn quantize(residual: &[f32], shape: Shape, record: &mut [u8]) -> (f32, f32) {
    let half = shape.width.half();
    let (parts, _) = residual.as_chunks::<LANES>();
    let mut squares = [0f32; LANES];
    for part in parts {
        for at in 0..LANES {
            squares[at] += part[at] * part[at];
        }
    }
    let squared = sum(squares);
    let deviation = narrow((squared / share(wide(residual.len().max(1)))).sqrt()).max(1e-30);
    let (mut best, mut chosen) = (f64::NEG_INFINITY, 1.0 / deviation);
    for step in shape.width.steps() {
        let inverse = 1.0 / (step * deviation);
        let (mut along, mut length) = ([0f32; LANES], [0f32; LANES]);
        for part in parts {
            for at in 0..LANES {
                let code = nearest(part[at], inverse, half) - half;
                along[at] += part[at] * code;
                length[at] += code * code;
            }
        }
        let nearness = sum(along) / sum(length).max(1e-30).sqrt();
        if nearness > best {
            (best, chosen) = (nearness, inverse);
        }
    }
    let mut along = [0f32; LANES];
    let groups = usize::from(8 / shape.width.bits());
    let code = record.get_mut(..shape.code_bytes).unwrap_or_default();
    code.fill(0);
    let (blocks, _) = code.as_chunks_mut::<{ super::kernels::BLOCK }>();
    let mut components = residual.chunks_exact(groups * super::kernels::BLOCK);
    for block in blocks {
        let Some(components) = components.next() else {
            break;
        };
        let mut shift = 0;
        for group in components.as_chunks::<{ super::kernels::BLOCK }>().0 {
            for at in 0..super::kernels::BLOCK {
                let code = nearest(group[at], chosen, half);
                along[at % LANES] += group[at] * (code - half);
                block[at] |= byte(code) << shift;
            }
            shift += shape.width.bits();
        }
    }
    let along = sum(along);
    // A row that is the mean has no direction: its products are all zero.
    let factor = if along > 1e-30 { squared / along } else { 0.0 };
    (narrow(factor), narrow(squared))
}

/// The sum of what lanes have summed.
#[inline(always)]
fn sum(lanes: [f32; LANES]) -> f64 {
    let mut all = 0f64;
    for lane in lanes {
        all += f64::from(lane);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::numbers::unordered;
    use super::super::query::Query;
    use super::super::rotate::next_random;
    use super::*;

    struct Keyed<'a>(&'a Query, &'a [u8], Shape);

    impl Run for Keyed<'_> {
        type Out = Option<i32>;
        #[inline(always)]
        fn run<K: Kernel>(self) -> Option<i32> {
            let Self(query, record, shape) = self;
            match shape.width {
                Width::Two => query.key::<K, 2>(record, shape.code_bytes),
                Width::Four => query.key::<K, 4>(record, shape.code_bytes),
                Width::Eight => query.key::<K, 8>(record, shape.code_bytes),
                Width::Full => query.key::<K, 32>(record, shape.code_bytes),
            }
        }
    }

    fn random(state: &mut u64, dimensions: usize) -> Vec<f32> {
        let number = |state: &mut u64| narrow(share(next_random(state) >> 40) / 16_777_216.0) - 0.4;
        (0..dimensions).map(|_| number(state)).collect()
    }

    #[test]
    fn keys_are_near_the_truth_and_the_wider_the_nearer() {
        for dimensions in [4, 5, 31, 384, 1000, 4096] {
            for distance in [Distance::Euclid, Distance::Dot] {
                let mut state = 3;
                let coder = Coder {
                    rotation: Rotation::new(dimensions, 9),
                    mean: vec![0.1; dimensions],
                    distance,
                    longest: 1.0,
                    typical: 0.0,
                };
                let mut errors = Vec::new();
                for width in Width::CODES.into_iter().chain([Width::Full]) {
                    let shape = Shape::new(width, dimensions);
                    let mut worst = 0.0f64;
                    for _ in 0..50 {
                        let (row, asked) = (
                            random(&mut state, dimensions),
                            random(&mut state, dimensions),
                        );
                        let (mut turned, mut query) = (Turned::default(), Query::default());
                        let mut record = vec![0xAA; shape.stride];
                        coder.encode(&row, shape, &mut turned, &mut record);
                        coder.query(&asked, width, &mut turned, &mut query);
                        let mut keys = Level::available()
                            .into_iter()
                            .map(|level| run(level, Keyed(&query, &record, shape)).unwrap())
                            .collect::<Vec<_>>();
                        keys.dedup();
                        // Fused products may round differently in the last place.
                        assert!(
                            keys.iter().all(|key| key.abs_diff(keys[0]) <= 64),
                            "{keys:?}"
                        );
                        let key = f64::from(unordered(keys[0]));
                        let (mut truth, mut size) = (0.0f64, 1e-9f64);
                        for (of_row, of_query) in row.iter().zip(&asked) {
                            let (r, q) = (f64::from(of_row - 0.1), f64::from(*of_query));
                            let from = if distance == Distance::Dot { 0.0 } else { 0.1 };
                            truth -= 2.0 * r * (q - from);
                            truth += if distance == Distance::Dot {
                                0.0
                            } else {
                                r * r
                            };
                            size += r * r + (q - from) * (q - from);
                        }
                        worst = worst.max((key - truth).abs() / size);
                    }
                    errors.push(worst);
                }
                let padded = share(wide(padded(dimensions)));
                for (error, bound) in errors.iter().zip([2.5, 0.6, 0.2, 0.001]) {
                    assert!(
                        *error < bound / padded.sqrt(),
                        "{dimensions} {distance:?} {errors:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_that_is_the_mean_and_a_record_that_is_too_short() {
        let coder = Coder {
            rotation: Rotation::new(8, 9),
            mean: vec![0.5; 8],
            distance: Distance::Euclid,
            longest: 1.0,
            typical: 0.0,
        };
        let (mut turned, mut query) = (Turned::default(), Query::default());
        let shape = Shape::new(Width::Two, 8);
        let mut record = vec![0; shape.stride];
        coder.encode(&[0.5; 8], shape, &mut turned, &mut record);
        coder.query(&[0.5; 8], shape.width, &mut turned, &mut query);
        assert_eq!(run(Level::best(), Keyed(&query, &record, shape)), Some(0));
        let short = Keyed(&query, &record[..shape.code_bytes + 7], shape);
        assert_eq!(run(Level::best(), short), None);
    }

    #[test]
    fn records_take_few_lines_or_little_memory() {
        let stride = |width, dimensions| Shape::new(width, dimensions).stride;
        assert_eq!(stride(Width::Two, 384), 128);
        assert_eq!(stride(Width::Four, 384), 200);
        assert_eq!(stride(Width::Two, 4), 64);
    }
}
