//! Mapping each distance to angles.
//!
//! The planes of the trees go through the origin: they part directions. Normalised vectors are
//! directions already. For the other distances a vector gets one more component, chosen so that
//! vectors are near in angle when they are near in the distance:
//!
//! * Euclid and Manhattan: the vector is moved so that the mean becomes the origin, scaled so that
//!   the typical distance from it is 1, and lifted to height 1. A plane through the origin of the
//!   lifted space is any plane of the vectors' own space. (For Manhattan it is an approximation of
//!   the distance; the measured effort pays for it.)
//! * Dot: vectors are scaled by the largest norm, and what each lacks to norm 1 is its last
//!   component; the query gets 0 there. Then a larger dot product is a smaller angle. (After
//!   Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
//!   inner-product spaces", 2014.)
//!
//! Only the choice of candidates rests on this; scores come from the vectors themselves.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::super::folder::SealedFile;
use super::super::mapped::Mapped;
use super::super::{Error, Job};
use crate::vector::Distance;

/// A mapping, as the manifest describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Lift {
    /// Directions already.
    Plain {
        /// Components of a vector.
        dimensions: usize,
    },
    /// Around the mean, which is the first thing in the trees' file.
    Centred {
        /// Components of a vector.
        dimensions: usize,
        /// What makes the typical distance from the mean 1.
        scale: f32,
    },
    /// By the largest norm.
    Reduced {
        /// Components of a vector.
        dimensions: usize,
        /// What makes the largest norm 1.
        scale: f32,
    },
}

/// A mapping fitted to the rows of a build.
#[derive(Debug)]
pub(super) struct Fitted {
    lift: Lift,
    mean: Vec<f32>,
}

impl Lift {
    /// The mapping for the snapshot's distance and rows.
    pub(super) fn fit(job: &Job<'_>) -> Result<Fitted, Error> {
        let dimensions = job.rows.dimensions();
        let (lift, mean) = match job.rows.distance() {
            Distance::Cosine => (Self::Plain { dimensions }, Vec::new()),
            Distance::Euclid | Distance::Manhattan => {
                let mean = mean(job)?;
                let mut squares = Mean::default();
                each(job, |vector| squares.take(squared_distance(vector, &mean)))?;
                let scale = inverse(squares.value().sqrt());
                (Self::Centred { dimensions, scale }, mean)
            },
            Distance::Dot => {
                let mut largest = 0.0f64;
                each(job, |vector| largest = largest.max(squared_norm(vector)))?;
                let scale = inverse(largest.sqrt());
                (Self::Reduced { dimensions, scale }, Vec::new())
            },
        };
        Ok(Fitted { lift, mean })
    }

    /// Components of a vector.
    pub(super) fn dimensions(&self) -> usize {
        match self {
            Self::Plain { dimensions }
            | Self::Centred { dimensions, .. }
            | Self::Reduced { dimensions, .. } => *dimensions,
        }
    }

    /// Components of a lifted vector.
    pub(super) fn lifted_dimensions(&self) -> usize {
        match self {
            Self::Plain { dimensions } => *dimensions,
            Self::Centred { dimensions, .. } | Self::Reduced { dimensions, .. } => dimensions + 1,
        }
    }

    /// A query, lifted and of norm 1, so that no product with a plane overflows.
    pub(super) fn query(&self, file: &Mapped, query: &[f32]) -> Vec<f32> {
        let mut lifted = Vec::with_capacity(self.lifted_dimensions());
        match self {
            Self::Plain { .. } => lifted.extend_from_slice(query),
            Self::Centred { dimensions, scale } => {
                let mean = file.floats(0, *dimensions).unwrap_or_default();
                centre(query, mean, *scale, &mut lifted);
            },
            Self::Reduced { .. } => {
                lifted.extend_from_slice(query);
                lifted.push(0.0);
            },
        }
        let norm = squared_norm(&lifted).sqrt();
        for component in &mut lifted {
            *component = narrow(f64::from(*component) / norm.max(f64::MIN_POSITIVE));
        }
        lifted
    }
}

impl Fitted {
    /// What the manifest keeps.
    pub(super) fn described(self) -> Lift {
        self.lift
    }

    /// Components of a lifted vector.
    pub(super) fn lifted_dimensions(&self) -> usize {
        self.lift.lifted_dimensions()
    }

    /// Writes the mean, which must be the first thing in the trees' file.
    pub(super) fn write(&self, file: &mut SealedFile) -> Result<(), Error> {
        let bytes: Vec<u8> = self.mean.iter().flat_map(|f| f.to_le_bytes()).collect();
        file.put(&bytes)
    }

    /// A row's vector, lifted into `lifted`. One that is not finite becomes zero: it then lies on no
    /// side of any plane and spoils no mean.
    pub(super) fn row(&self, vector: &[f32], lifted: &mut Vec<f32>) {
        lifted.clear();
        match &self.lift {
            Lift::Plain { .. } => lifted.extend_from_slice(vector),
            Lift::Centred { scale, .. } => centre(vector, &self.mean, *scale, lifted),
            Lift::Reduced { scale, .. } => {
                lifted.extend(vector.iter().map(|component| component * scale));
                let lacking = 1.0 - squared_norm(lifted);
                lifted.push(narrow(lacking.max(0.0).sqrt()));
            },
        }
        if !squared_norm(lifted).is_finite() {
            lifted.fill(0.0);
        }
    }
}

fn centre(vector: &[f32], mean: &[f32], scale: f32, lifted: &mut Vec<f32>) {
    let components = vector.iter().zip(mean);
    lifted.extend(components.map(|(component, mean)| (component - mean) * scale));
    lifted.push(1.0);
}

/// The mean of all finite vectors.
fn mean(job: &Job<'_>) -> Result<Vec<f32>, Error> {
    let mut means = vec![Mean::default(); job.rows.dimensions()];
    each(job, |vector| {
        if squared_norm(vector).is_finite() {
            for (mean, component) in means.iter_mut().zip(vector) {
                mean.take(f64::from(*component));
            }
        }
    })?;
    Ok(means.iter().map(|mean| narrow(mean.value())).collect())
}

/// Visits every live row's vector, unless told to stop.
fn each(job: &Job<'_>, mut take: impl FnMut(&[f32])) -> Result<(), Error> {
    let mut stopped = false;
    job.rows.visit(job.rows.live(), &mut |row, vector| {
        stopped = row.is_multiple_of(256) && (job.stop)();
        if stopped {
            return ControlFlow::Break(());
        }
        take(vector);
        ControlFlow::Continue(())
    });
    if stopped { Err(Error::Stopped) } else { Ok(()) }
}

/// A mean that grows by one value at a time.
#[derive(Debug, Clone, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn take(&mut self, value: f64) {
        if value.is_finite() {
            self.sum += value;
            self.count = self.count.saturating_add(1);
        }
    }

    fn value(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}

fn squared_norm(vector: &[f32]) -> f64 {
    vector.iter().map(|f| f64::from(*f) * f64::from(*f)).sum()
}

fn squared_distance(vector: &[f32], mean: &[f32]) -> f64 {
    let pairs = vector.iter().zip(mean);
    pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

/// `1 / value`, or 1 where that is no finite number.
fn inverse(value: f64) -> f32 {
    let inverse = narrow(1.0 / value);
    if inverse.is_finite() && inverse > 0.0 { inverse } else { 1.0 }
}

#[expect(clippy::as_conversions, reason = "rounding to the nearest f32 is what is meant")]
fn narrow(value: f64) -> f32 {
    value as f32
}
