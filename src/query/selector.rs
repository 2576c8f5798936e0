//! Answers: which parts of a point they carry, and the points themselves.

use super::FieldPath;
use crate::ids::{PointId, Sequence};

/// Which part of the payload an answer carries.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum PayloadSelector {
    /// Nothing.
    #[default]
    None,
    /// All of it.
    All,
    /// Only what these paths lead to.
    Include(Vec<FieldPath>),
    /// All but what these paths lead to.
    Exclude(Vec<FieldPath>),
}

/// A point in an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: PointId,
    /// The sequence of the write that last changed it.
    pub version: Sequence,
    /// The text of a JSON object, when asked for.
    pub payload: Option<Vec<u8>>,
    /// As stored, when asked for.
    pub vector: Option<Vec<f32>>,
}

/// A point that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPoint {
    /// The point.
    pub record: Record,
    /// How near, by the collection's distance. Finite.
    pub score: f32,
}
