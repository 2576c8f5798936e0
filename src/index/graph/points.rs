//! The rows of a build: read once, kept as codes of seven bits, compared with each other.
//!
//! A rotated residual is scaled so that its largest component is 63, and rounded; the distance of
//! two rows is that of the decoded codes, exactly the same on every machine, since its sum is of
//! integers. Seven bits because AVX2 multiplies bytes in pairs that saturate with eight.
//!
//! All distances are squared lengths. For the dot product the rows get one more component, which
//! gives all of them the length of the longest (Bachrach and others, RecSys 2014): then the nearest
//! to a query, whose own further component is zero, are those of the largest product.

use std::collections::HashMap;
use std::ops::ControlFlow;

use rayon::prelude::*;
use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use super::super::{Error, Job, Step};
use super::code::{Coder, Turned};
use super::kernels::{Kernel, Level, MIDDLE, Run, prefetch, run};
use super::numbers::{at, byte, float, narrow, share, wide};
use super::rotate::Rotation;
use super::sketch::{Sketches, Viewpoint, Write};
use super::walk::NONE;
use crate::vector::Distance;

/// Rows that are read before the threads work on them.
const PORTION: usize = 1_024;

/// The largest component of a code, above and below [`MIDDLE`].
const LARGEST: f32 = 63.0;

/// What a row needs besides its components. It stands behind them, where the same look at memory
/// finds it.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Side {
    scale: f32,
    /// The squared length of the decoded code.
    squared: f32,
    /// The sum of the code's components.
    sum: i32,
    /// The further component, for the dot product.
    further: f32,
}

/// Bytes of a [`Side`].
const SIDE: usize = 16;

impl Side {
    #[inline(always)]
    fn read(bytes: &[u8]) -> Option<Self> {
        let [scale, squared, sum, further] = bytes.as_chunks::<4>().0 else {
            return None;
        };
        Some(Self {
            scale: f32::from_ne_bytes(*scale),
            squared: f32::from_ne_bytes(*squared),
            sum: i32::from_ne_bytes(*sum),
            further: f32::from_ne_bytes(*further),
        })
    }

    fn write(self, bytes: &mut [u8]) {
        let Self {
            scale,
            squared,
            sum,
            further,
        } = self;
        let numbers = [
            scale.to_ne_bytes(),
            squared.to_ne_bytes(),
            sum.to_ne_bytes(),
            further.to_ne_bytes(),
        ];
        for (place, byte) in bytes.iter_mut().zip(numbers.as_flattened()) {
            *place = *byte;
        }
    }
}

/// All rows of a build, in ascending order.
#[derive(Debug)]
pub(super) struct Points {
    /// Components and [`Side`] of each.
    codes: Vec<u8>,
    /// Components of a code.
    components: usize,
    /// The same in two bits a component.
    sketches: Sketches,
    count: u32,
}

/// What the first look at the rows says.
#[derive(Debug)]
pub(super) struct Survey {
    /// The rows that have a vector.
    pub(super) covered: RoaringBitmap,
    /// What codes them.
    pub(super) coder: Coder,
    /// The largest squared length of a row.
    squared_max: f32,
}

/// The seed of every index's rotation; part of the format.
pub(super) const ROTATION: u64 = 0x0005_EED0;

/// Reads all live rows once: which have a vector, their mean.
pub(super) fn survey(job: &Job<'_>) -> Result<Survey, Error> {
    let rows = job.rows;
    let mut sums = vec![0f64; rows.dimensions()];
    let (mut covered, mut squared_max) = (Vec::new(), 0f32);
    let (mut stopped, live) = (false, rows.live().len());
    rows.visit(rows.live(), &mut |row, vector| {
        if covered.len().is_multiple_of(PORTION) {
            stopped = (job.stop)();
            job.report(Step::Reading, wide(covered.len()), live.saturating_mul(2));
        }
        if stopped {
            return ControlFlow::Break(());
        }
        covered.push(row);
        let mut squared = 0f32;
        for (sum, component) in sums.iter_mut().zip(vector) {
            *sum += f64::from(*component);
            squared += component * component;
        }
        squared_max = squared_max.max(squared);
        ControlFlow::Continue(())
    });
    if stopped {
        return Err(Error::Stopped);
    }
    // Nodes are numbered in 31 bits.
    if covered.len() >= at(i32::MAX.cast_unsigned()) {
        return Err(Error::TooLarge);
    }
    let count = share(wide(covered.len().max(1)));
    let coder = Coder {
        rotation: Rotation::new(rows.dimensions(), ROTATION),
        mean: sums.into_iter().map(|sum| narrow(sum / count)).collect(),
        distance: rows.distance(),
        longest: squared_max.sqrt(),
        typical: 0.0,
    };
    let covered = RoaringBitmap::from_sorted_iter(covered);
    let covered = covered.map_err(|_unsorted| Error::Unsound {
        what: "rows that are not visited in their order",
    })?;
    Ok(Survey {
        covered,
        coder,
        squared_max,
    })
}

/// Takes some rows: the number of the first, and their vectors one after the other.
pub(super) type Take<'a> = &'a mut dyn FnMut(usize, &[f32]) -> Result<(), Error>;

/// Shows all covered rows, some at a time.
pub(super) fn portions(
    job: &Job<'_>,
    covered: &RoaringBitmap,
    take: Take<'_>,
) -> Result<(), Error> {
    let dimensions = job.rows.dimensions().max(1);
    let mut portion: Vec<f32> = Vec::with_capacity(PORTION * dimensions);
    let (mut first, mut failed) = (0usize, None);
    let mut pass_on = |portion: &mut Vec<f32>| {
        job.go_on()?;
        let result = take(first, portion);
        first += portion.len() / dimensions;
        portion.clear();
        result
    };
    job.rows.visit(covered, &mut |_row, vector| {
        portion.extend_from_slice(vector);
        if portion.len() >= PORTION * dimensions
            && let Err(error) = pass_on(&mut portion)
        {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    if let Some(error) = failed {
        return Err(error);
    }
    pass_on(&mut portion)?;
    if wide(first) == covered.len() {
        Ok(())
    } else {
        Err(Error::Unsound {
            what: "a snapshot that changed while it was read",
        })
    }
}

impl Points {
    /// Codes all rows, by the threads of the pool that it runs in.
    pub(super) fn read(job: &Job<'_>, survey: &Survey) -> Result<Self, Error> {
        let count = usize::try_from(survey.covered.len()).map_err(|_large| Error::TooLarge)?;
        let components = survey.coder.rotation.padded();
        let stride = components.saturating_add(SIDE);
        let mut codes = vec![0u8; count.checked_mul(stride).ok_or(Error::TooLarge)?];
        let dimensions = job.rows.dimensions().max(1);
        let mut sketches = Sketches::new(count, job.rows.dimensions()).ok_or(Error::TooLarge)?;
        portions(job, &survey.covered, &mut |first, vectors| {
            let codes = codes.chunks_exact_mut(stride).skip(first);
            let (sketches, write) = sketches.places(first);
            let rows = vectors.chunks_exact(dimensions);
            let places: Vec<_> = codes.zip(sketches).zip(rows).collect();
            places.into_par_iter().for_each_init(
                Turned::default,
                |turned, ((code, sketch), vector)| {
                    let encode = Encode {
                        survey,
                        vector,
                        turned,
                        code,
                        sketch: (sketch, write),
                    };
                    run(Level::best(), encode);
                },
            );
            let done = survey.covered.len().saturating_add(wide(first));
            job.report(Step::Reading, done, survey.covered.len().saturating_mul(2));
            Ok(())
        })?;
        Ok(Self {
            codes,
            components,
            sketches,
            count: u32::try_from(count).map_err(|_large| Error::TooLarge)?,
        })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// What is kept of a point.
    #[inline(always)]
    fn record(&self, point: u32) -> &[u8] {
        let stride = self.components.wrapping_add(SIDE);
        let start = at(point).wrapping_mul(stride);
        self.codes
            .get(start..start.wrapping_add(stride))
            .unwrap_or_default()
    }

    /// The components of a point's code, and what goes with them.
    #[inline(always)]
    fn parts(&self, point: u32) -> (&[u8], Side) {
        let parts = self.record(point).split_at_checked(self.components);
        let (code, side) = parts.unwrap_or_default();
        (code, Side::read(side).unwrap_or_default())
    }

    /// The points as walks compare them.
    #[inline(always)]
    pub(super) fn sketches(&self) -> &Sketches {
        &self.sketches
    }

    /// Stands at a point, to compare others with it.
    pub(super) fn stand(&self, point: u32, at: &mut Viewpoint) {
        let (code, side) = self.parts(point);
        at.code.clear();
        let signed = |byte: &u8| byte.wrapping_sub(MIDDLE).cast_signed();
        at.code.extend(code.iter().map(signed));
        at.stand(side.scale, side.sum, side.further);
    }

    /// Asks the memory for a point.
    #[inline(always)]
    pub(super) fn ask(&self, point: u32) {
        prefetch(self.record(point));
    }

    /// The squared distance of two points.
    #[inline(always)]
    pub(super) fn distance<K: Kernel>(&self, left: u32, right: u32) -> f32 {
        let (left_code, left_side) = self.parts(left);
        let (right_code, right_side) = self.parts(right);
        let sum = K::pair(left_code, right_code);
        let sum = sum.wrapping_sub(i32::from(MIDDLE).wrapping_mul(right_side.sum));
        let product = left_side.scale * right_side.scale * float(sum);
        let further = left_side.further - right_side.further;
        let squared = left_side.squared + right_side.squared - 2.0 * product;
        (squared + further * further).max(0.0)
    }

    /// All of them.
    pub(super) fn all(&self) -> std::ops::Range<u32> {
        0..self.count
    }

    /// Of these points the one nearest to the middle of all.
    pub(super) fn middle(&self, may: impl Fn(u32) -> bool) -> u32 {
        let sides = || (0..self.count).map(|point| self.parts(point).1);
        let further: f64 = sides().map(|side| f64::from(side.further)).sum();
        let further = narrow(further / f64::from(self.count.max(1)));
        let away = |side: &Side| side.squared + (side.further - further) * (side.further - further);
        let nearest = (0u32..).zip(sides()).filter(|(point, _)| may(*point));
        let nearest = nearest.min_by(|(_, left), (_, right)| away(left).total_cmp(&away(right)));
        nearest.map_or(0, |(point, _)| point)
    }

    /// For each point that equals an earlier one, the first that it equals; [`NONE`] for others. What
    /// is equal cannot be told apart by distances, so only one of them takes part in the build.
    pub(super) fn firsts(&self) -> Vec<u32> {
        let mut by_hash: HashMap<u64, u32> = HashMap::with_capacity(at(self.count));
        let first = |point: u32| {
            // Of two codes with one hash that differ, the later is taken for one of a kind.
            let first = *by_hash.entry(xxh3_64(self.record(point))).or_insert(point);
            let equal = first != point && self.record(first) == self.record(point);
            if equal { first } else { NONE }
        };
        (0..self.count()).map(first).collect()
    }
}

/// Writing the code of a row.
struct Encode<'a> {
    survey: &'a Survey,
    vector: &'a [f32],
    turned: &'a mut Turned,
    /// Components and [`Side`].
    code: &'a mut [u8],
    sketch: (&'a mut [u8], Write),
}

impl Run for Encode<'_> {
    type Out = ();

    #[inline(always)]
    fn run<K: Kernel>(self) {
        let Self {
            survey,
            vector,
            turned,
            code,
            sketch: (sketch, write),
        } = self;
        survey.coder.residual(vector, turned);
        let mut largest = 0f32;
        for component in &turned.components {
            largest = largest.max(component.abs());
        }
        let steps = if largest > 0.0 {
            LARGEST / largest
        } else {
            0.0
        };
        let (mut sum, mut squared) = (0i32, 0i32);
        let (code, side) = code
            .split_at_mut_checked(turned.components.len())
            .unwrap_or_default();
        let mut components = turned.components.iter();
        for place in code {
            if let Some(component) = components.next() {
                *place = byte(component * steps + f32::from(MIDDLE));
            }
            let signed = i32::from(*place).wrapping_sub(i32::from(MIDDLE));
            sum = sum.wrapping_add(signed);
            squared = squared.wrapping_add(signed.wrapping_mul(signed));
        }
        // So small that its inverse is none: as good as the mean itself.
        let scale = if steps.is_normal() { 1.0 / steps } else { 0.0 };
        let further = if survey.coder.distance == Distance::Dot {
            let own: f32 = vector.iter().map(|component| component * component).sum();
            (survey.squared_max - own).max(0.0).sqrt()
        } else {
            0.0
        };
        let written = Side {
            scale,
            squared: scale * scale * float(squared),
            sum,
            further,
        };
        written.write(side);
        write.write(turned, further, sketch);
    }
}
