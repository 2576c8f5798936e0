//! The rows of a build in two bits a component: what its walks compare.
//!
//! A walk touches thousands of rows for each that it links, and what it costs is the cache lines of what it
//! compares: two of a sketch of 384 components, where the code of seven bits ([`super::points`]) takes seven. So
//! walks go by sketches, and the links are then chosen among what they went through by the distances
//! of the longer codes.

use super::code::{Shape, Turned, Width, quantize};
use super::kernels::{Kernel, prefetch};
use super::numbers::{at, float, ordered};

/// The width of a sketch.
const WIDTH: Width = Width::Two;
const BITS: u8 = WIDTH.bits();

/// Bytes of the factor, the squared length and the further component, which follow the code.
const SIDE: usize = 12;

/// From one sketch to the next are multiples of so many bytes, so that all touch as few cache lines as the first.
const LINE: usize = 64;

/// The sketches of all rows of a build.
#[derive(Debug)]
pub(super) struct Sketches {
    records: Vec<u8>,
    shape: Shape,
    stride: usize,
}

/// A point that sketches are compared with.
#[derive(Debug, Default)]
pub(super) struct Viewpoint {
    pub(super) code: Vec<i8>,
    slope: f32,
    offset: f32,
    further: f32,
}

impl Viewpoint {
    /// Stands at the row `scale * code`, whose bytes have this sum, and at this further component.
    #[inline(always)]
    pub(super) fn stand(&mut self, scale: f32, sum: i32, further: f32) {
        self.slope = -2.0 * scale;
        self.offset = 2.0 * scale * WIDTH.half() * float(sum);
        self.further = -2.0 * further;
    }
}

impl Sketches {
    /// Of so many rows of so many dimensions, all of them nothing yet; `None` when that is too much.
    pub(super) fn new(count: usize, dimensions: usize) -> Option<Self> {
        let shape = Shape::new(WIDTH, dimensions);
        let stride = shape.code_bytes.checked_add(SIDE)?;
        let stride = stride.checked_next_multiple_of(LINE)?;
        Some(Self {
            records: vec![0; count.checked_mul(stride)?],
            shape,
            stride,
        })
    }

    /// Where the sketches from the one of this number on are written, and by what.
    pub(super) fn places(&mut self, first: usize) -> (impl Iterator<Item = &mut [u8]>, Write) {
        let write = Write(self.shape);
        let records = self.records.chunks_exact_mut(self.stride);
        (records.skip(first), write)
    }

    /// Bytes of a sketch that a comparison reads.
    pub(super) fn bytes(&self) -> usize {
        self.shape.code_bytes.saturating_add(SIDE)
    }

    #[inline(always)]
    fn record(&self, point: u32) -> &[u8] {
        let start = at(point).wrapping_mul(self.stride);
        self.records
            .get(start..start.wrapping_add(self.stride))
            .unwrap_or_default()
    }

    /// Asks the memory for a sketch.
    #[inline(always)]
    pub(super) fn ask(&self, point: u32) {
        let record = self.record(point);
        prefetch(record.get(..self.bytes()).unwrap_or_default());
    }

    /// How far a point is, as a key that is smaller the nearer it is: its squared distance less what is the same
    /// for all. `None`: there is no such point.
    #[inline(always)]
    pub(super) fn key<K: Kernel>(&self, from: &Viewpoint, point: u32) -> Option<i32> {
        let record = self.record(point);
        let (code, side) = record.split_at_checked(self.shape.code_bytes)?;
        let [factor, squared, further] = side.first_chunk::<SIDE>()?.as_chunks::<4>().0 else {
            return None;
        };
        let sum = float(K::code::<BITS>(code, &from.code));
        let product = f32::from_ne_bytes(*factor) * (from.slope * sum + from.offset);
        let apart = from.further * f32::from_ne_bytes(*further);
        Some(ordered(f32::from_ne_bytes(*squared) + product + apart))
    }
}

/// What writes a sketch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write(Shape);

impl Write {
    /// The sketch of a row, by its rotated residual and its further component.
    #[inline(always)]
    pub(super) fn write(self, turned: &Turned, further: f32, record: &mut [u8]) {
        let Self(shape) = self;
        let (factor, squared) = quantize(&turned.components, shape, record);
        let side = record.get_mut(shape.code_bytes..).unwrap_or_default();
        let (places, _) = side.as_chunks_mut::<4>();
        let numbers = [factor, squared + further * further, further];
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = number.to_ne_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernels::{Level, Run, run};
    use super::super::numbers::{narrow, share, signed_byte, unordered};
    use super::super::rotate::{next_random, padded};
    use super::*;

    struct Keyed<'a>(&'a Sketches, &'a Viewpoint, u32);

    impl Run for Keyed<'_> {
        type Out = Option<i32>;
        #[inline(always)]
        fn run<K: Kernel>(self) -> Option<i32> {
            self.0.key::<K>(self.1, self.2)
        }
    }

    fn random(state: &mut u64) -> f32 {
        narrow(share(next_random(state) >> 40) / 16_777_216.0) - 0.5
    }

    #[test]
    fn a_key_says_how_far_a_point_is_and_the_same_at_every_level() {
        for dimensions in [4, 384, 1000] {
            let mut state = 5;
            let mut sketches = Sketches::new(20, dimensions).unwrap();
            let rows: Vec<(Turned, f32)> = (0..20)
                .map(|_| {
                    let mut turned = Turned::default();
                    let components = 0..padded(dimensions);
                    turned.components = components.map(|_| random(&mut state)).collect();
                    (turned, random(&mut state))
                })
                .collect();
            let (places, write) = sketches.places(0);
            for (place, (turned, further)) in places.zip(&rows) {
                write.write(turned, *further, place);
            }
            let own = |(turned, further): &(Turned, f32)| {
                let squares = turned.components.iter().map(|of| of * of);
                squares.sum::<f32>() + further * further
            };
            for from in &rows {
                let scale = 0.5 / 63.0;
                let components = from.0.components.iter();
                let code: Vec<i8> = components.map(|of| signed_byte(of / scale)).collect();
                let sum = code.iter().map(|of| i32::from(*of)).sum();
                let mut viewpoint = Viewpoint {
                    code,
                    ..Viewpoint::default()
                };
                viewpoint.stand(scale, sum, from.1);
                for (point, to) in (0u32..).zip(&rows) {
                    let keys: Vec<i32> = Level::available()
                        .into_iter()
                        .map(|level| run(level, Keyed(&sketches, &viewpoint, point)).unwrap())
                        .collect();
                    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
                    let both = from.0.components.iter().zip(&to.0.components);
                    let exact = both.map(|(a, b)| (a - b) * (a - b)).sum::<f32>()
                        + (from.1 - to.1) * (from.1 - to.1);
                    let said = unordered(keys[0]) + own(from);
                    let size = (own(from) * own(to)).sqrt();
                    assert!((said - exact).abs() < 0.2 * size, "{said} {exact} {size}");
                }
            }
            let beyond = run(Level::SCALAR, Keyed(&sketches, &Viewpoint::default(), 20));
            assert_eq!(beyond, None);
        }
    }
}
