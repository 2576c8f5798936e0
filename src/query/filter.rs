//! Filters: which points a request is about. What they are, and whether a point matches; their
//! spelling is in [`parse`].

mod parse;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use super::FieldPath;
use crate::ids::PointId;

pub use parse::{Error, point_id};

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

impl Filter {
    /// Whether every point matches because nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.must.is_empty()
            && self.should.is_empty()
            && self.must_not.is_empty()
            && self.min_should.is_none()
    }

    /// Whether a point matches.
    pub fn matches(&self, id: PointId, payload: &Value) -> bool {
        let holds = |condition: &Condition| condition.holds(id, payload);
        self.must.iter().all(holds)
            && (self.should.is_empty() || self.should.iter().any(holds))
            && !self.must_not.iter().any(holds)
            && self.min_should.as_ref().is_none_or(|(least, conditions)| {
                conditions
                    .iter()
                    .filter(|condition| holds(condition))
                    .count()
                    >= *least
            })
    }
}

impl Condition {
    /// Whether the condition holds for a point.
    pub fn holds(&self, id: PointId, payload: &Value) -> bool {
        match self {
            Self::Field(path, test) => any(path, payload, |value| test.passes(value)),
            Self::IsEmpty(path) => path.values(payload).into_iter().all(is_empty),
            Self::IsNull(path) => any(path, payload, Value::is_null),
            Self::HasId(ids) => ids.contains(&id),
            Self::Filter(filter) => filter.matches(id, payload),
        }
    }
}

/// Whether the test holds for a value that the path leads to, or for an element of an array there.
fn any(path: &FieldPath, payload: &Value, test: impl Fn(&Value) -> bool) -> bool {
    let holds = |value: &Value| match value.as_array() {
        Some(elements) => elements.iter().any(&test),
        None => test(value),
    };
    path.values(payload).into_iter().any(holds)
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

impl FieldTest {
    /// Whether one value, no array, passes.
    pub fn passes(&self, value: &Value) -> bool {
        match self {
            Self::Match(scalar) => scalar.equals(value),
            Self::MatchAny(scalars) => scalars.iter().any(|scalar| scalar.equals(value)),
            Self::MatchExcept(scalars) => {
                !value.is_null() && !scalars.iter().any(|scalar| scalar.equals(value))
            },
            Self::Range(bounds) => value.as_f64().is_some_and(|number| bounds.hold(number)),
        }
    }
}

impl Scalar {
    /// Whether a payload value is this. A number equals a whole number however it is written.
    pub fn equals(&self, value: &Value) -> bool {
        match self {
            Self::Keyword(text) => value.as_str() == Some(text),
            Self::Bool(truth) => value.as_bool() == Some(*truth),
            Self::Integer(number) => {
                value.as_i64() == Some(*number)
                    || value.is_f64() && value.as_f64() == parse::exact(*number)
            },
        }
    }
}
