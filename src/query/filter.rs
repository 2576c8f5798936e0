//! Filters: which points a request is about.

use std::collections::BTreeSet;

use super::FieldPath;
use crate::ids::PointId;

/// All of `must`, at least one of `should` (if there are any), none of `must_not`, and at least
/// `min_should.0` of `min_should.1`. The empty filter matches every point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Every one of them holds.
    pub must: Vec<Condition>,
    /// At least one of them holds, unless the list is empty.
    pub should: Vec<Condition>,
    /// Not one of them holds.
    pub must_not: Vec<Condition>,
    /// At least so many of these hold.
    pub min_should: Option<(usize, Vec<Condition>)>,
}

/// One condition on a point.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A test of the values that the path leads to; of an array, one element that passes is enough.
    Field(FieldPath, FieldTest),
    /// The path leads nowhere, to null, or to an empty array.
    IsEmpty(FieldPath),
    /// The path leads to a null.
    IsNull(FieldPath),
    /// The point has one of these ids.
    HasId(BTreeSet<PointId>),
    /// A filter as a condition.
    Filter(Filter),
}

/// A test of one payload value.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldTest {
    /// Equal to this.
    Match(Scalar),
    /// Equal to one of these.
    MatchAny(Vec<Scalar>),
    /// There, and equal to none of these.
    MatchExcept(Vec<Scalar>),
    /// A number inside these bounds.
    Range(Bounds),
}

/// A payload value that can be compared for equality.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scalar {
    /// A text.
    Keyword(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Bool(bool),
}

/// Bounds of a range; an absent one does not bind. Finite.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bounds {
    /// Greater than.
    pub gt: Option<f64>,
    /// Greater than or equal.
    pub gte: Option<f64>,
    /// Less than.
    pub lt: Option<f64>,
    /// Less than or equal.
    pub lte: Option<f64>,
}

impl Bounds {
    /// Whether the number lies inside.
    pub fn hold(&self, number: f64) -> bool {
        self.gt.is_none_or(|bound| number > bound)
            && self.gte.is_none_or(|bound| number >= bound)
            && self.lt.is_none_or(|bound| number < bound)
            && self.lte.is_none_or(|bound| number <= bound)
    }
}
