//! Reads: what a request asks of a collection's points.

use super::{Filter, PayloadSelector, Record};
use crate::ids::PointId;

/// One nearest-neighbour search.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    /// Near to what: admitted by [`crate::vector::admit`].
    pub vector: Vec<f32>,
    /// A point to leave out: the one whose vector is asked for.
    pub exclude: Option<PointId>,
    /// Among which points.
    pub filter: Filter,
    /// How many of the nearest are passed over.
    pub offset: usize,
    /// How many points follow, at least 1. With `offset` at most
    /// [`crate::limits::ANSWER_POINTS_MAX`].
    pub limit: usize,
    /// Only points at least as near as this. Finite.
    pub score_threshold: Option<f32>,
    /// Compare with every point that matches, whatever the index says.
    pub exact: bool,
    /// Candidates to look at; absent: the index decides.
    pub effort: Option<u32>,
    /// Which part of the payload is answered.
    pub payload: PayloadSelector,
    /// Whether the vector is answered.
    pub with_vector: bool,
}

/// A walk over points in the order of their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct Scroll {
    /// Over which points.
    pub filter: Filter,
    /// The first id that may be answered.
    pub from: Option<PointId>,
    /// How many points at most, 1 to [`crate::limits::ANSWER_POINTS_MAX`].
    pub limit: usize,
    /// Which part of the payload is answered.
    pub payload: PayloadSelector,
    /// Whether the vector is answered.
    pub with_vector: bool,
}

/// A stretch of such a walk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Its points.
    pub records: Vec<Record>,
    /// The id that the next stretch starts with; absent at the end.
    pub next: Option<PointId>,
}
