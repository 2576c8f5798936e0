//! Vectors as they may enter the system, and how two of them are compared.
//!
//! A vector is checked once, at the public edge: the right number of dimensions, every component
//! finite after the cast to `f32`, its squared norm finite too, so that no score is ever NaN. For
//! [`Distance::Cosine`] it is stored normalised; the zero vector stays zero and scores 0 with all.

use std::cmp::Ordering;

/// How the nearness of two vectors is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Distance {
    /// Dot product of the normalised vectors; larger is nearer.
    Cosine,
    /// Euclidean distance; smaller is nearer.
    Euclid,
    /// Dot product; larger is nearer.
    Dot,
    /// Sum of absolute differences; smaller is nearer.
    Manhattan,
}

impl Distance {
    /// Whether a larger score is nearer.
    pub const fn larger_is_nearer(self) -> bool {
        matches!(self, Self::Cosine | Self::Dot)
    }

    /// Orders two scores, the nearer first. Total: scores are never NaN, and would sort last.
    pub fn order(self, left: f32, right: f32) -> Ordering {
        let by_value = if self.larger_is_nearer() {
            right.partial_cmp(&left)
        } else {
            left.partial_cmp(&right)
        };
        by_value.unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
    }

    /// Whether a score is at least as near as a threshold.
    pub fn reaches(self, score: f32, threshold: f32) -> bool {
        if self.larger_is_nearer() {
            score >= threshold
        } else {
            score <= threshold
        }
    }

    /// The word in requests and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosine => "Cosine",
            Self::Euclid => "Euclid",
            Self::Dot => "Dot",
            Self::Manhattan => "Manhattan",
        }
    }

    /// The distance of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Cosine, Self::Euclid, Self::Dot, Self::Manhattan]
            .into_iter()
            .find(|distance| distance.as_str() == text)
    }
}

/// Why a list of numbers is not a vector of a collection.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// Another number of dimensions.
    #[error("Vector dimension error: expected dim: {expected}, got {got}")]
    Dimensions {
        /// What the collection has.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// NaN or infinite, perhaps only after the cast to `f32`.
    #[error("vector component {at} is not a finite 32-bit number")]
    NotFinite {
        /// The component, from 0.
        at: usize,
    },
    /// Finite components whose norm is not.
    #[error("the norm of the vector is too large for a 32-bit number")]
    NormOverflow,
}

/// Checks a vector for a collection and, for cosine, normalises it in place.
///
/// # Errors
/// [`Unfit`], with the vector as it was.
pub fn admit(vector: &mut [f32], dimensions: usize, distance: Distance) -> Result<(), Unfit> {
    if vector.len() != dimensions {
        return Err(Unfit::Dimensions {
            expected: dimensions,
            got: vector.len(),
        });
    }
    if let Some(at) = vector.iter().position(|component| !component.is_finite()) {
        return Err(Unfit::NotFinite { at });
    }
    let squared: f32 = vector.iter().map(|component| component * component).sum();
    // Four times the norm bounds every Euclidean distance of two such vectors.
    if !(squared * 4.0).is_finite() {
        return Err(Unfit::NormOverflow);
    }
    if distance == Distance::Cosine {
        normalise(vector, squared);
    }
    Ok(())
}

fn normalise(vector: &mut [f32], squared: f32) {
    // Components so small that their squares vanish are scaled up first.
    if squared < f32::MIN_POSITIVE {
        let largest = vector
            .iter()
            .fold(0.0f32, |max, component| max.max(component.abs()));
        if largest > 0.0 {
            for component in &mut *vector {
                *component /= largest;
            }
            let squared = vector.iter().map(|component| component * component).sum();
            normalise(vector, squared);
        }
        return;
    }
    let norm = squared.sqrt();
    // A vector that is normalised already stays as it is, bit for bit.
    if (norm - 1.0).abs() > 1e-6 {
        for component in vector {
            *component /= norm;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(mut vector: Vec<f32>, distance: Distance) -> Result<Vec<f32>, Unfit> {
        let dimensions = vector.len();
        admit(&mut vector, dimensions, distance).map(|()| vector)
    }

    #[test]
    fn what_is_not_finite_is_refused() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX * 10.0] {
            let refused = admitted(vec![0.0, bad], Distance::Dot);
            assert_eq!(refused, Err(Unfit::NotFinite { at: 1 }));
        }
        assert_eq!(
            admitted(vec![3e38; 4], Distance::Dot),
            Err(Unfit::NormOverflow)
        );
        let mut short = [1.0];
        let refused = admit(&mut short, 4, Distance::Dot);
        assert_eq!(
            refused,
            Err(Unfit::Dimensions {
                expected: 4,
                got: 1
            })
        );
    }

    #[test]
    fn cosine_normalises_even_the_smallest() {
        let unit = admitted(vec![3.0, 4.0], Distance::Cosine).unwrap();
        assert_eq!(unit, [0.6, 0.8]);
        let tiny = admitted(vec![3e-40, 4e-40], Distance::Cosine).unwrap();
        assert!(
            (tiny[0] - 0.6).abs() < 1e-3 && (tiny[1] - 0.8).abs() < 1e-3,
            "{tiny:?}"
        );
        assert_eq!(admitted(vec![0.0; 3], Distance::Cosine).unwrap(), [0.0; 3]);
        assert_eq!(
            admitted(vec![3.0, 4.0], Distance::Euclid).unwrap(),
            [3.0, 4.0]
        );
    }

    #[test]
    fn nearer_scores_come_first() {
        let mut scores: [f32; 3] = [0.5, 0.1, 0.9];
        scores.sort_by(|a, b| Distance::Cosine.order(*a, *b));
        let expected: [f32; 3] = [0.9, 0.5, 0.1];
        assert_eq!(scores.map(f32::to_bits), expected.map(f32::to_bits));
        scores.sort_by(|a, b| Distance::Euclid.order(*a, *b));
        let expected: [f32; 3] = [0.1, 0.5, 0.9];
        assert_eq!(scores.map(f32::to_bits), expected.map(f32::to_bits));
        assert!(Distance::Euclid.reaches(0.1, 0.2) && !Distance::Cosine.reaches(0.1, 0.2));
    }
}
