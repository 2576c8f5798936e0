//! Writes: what a request changes in a shard.

use super::{FieldPath, Filter};
use crate::ids::PointId;

/// A point as it is written: checked, its vector normalised where the distance wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct PointInput {
    /// Its id.
    pub id: PointId,
    /// Its vector, admitted by [`crate::vector::admit`].
    pub vector: Vec<f32>,
    /// Its payload: the compact text of a JSON object, `{}` when there is none.
    pub payload: Vec<u8>,
}

/// The points a write is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// These; absent ones are passed over.
    Ids(Vec<PointId>),
    /// All that match.
    Filter(Filter),
}

/// One write. A shard applies it wholly or not at all.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Writes points, replacing those of the same id. Of an id that stands twice the last counts.
    Upsert(Vec<PointInput>),
    /// Removes points.
    Delete(Selection),
    /// Merges the members of an object into the payload, or into the object that `key` leads to.
    SetPayload {
        /// The text of a JSON object.
        payload: Vec<u8>,
        /// Where in the payload; absent: at its top.
        key: Option<FieldPath>,
        /// Of which points.
        on: Selection,
    },
    /// Replaces the payload.
    OverwritePayload {
        /// The text of a JSON object.
        payload: Vec<u8>,
        /// Of which points.
        on: Selection,
    },
    /// Removes what these paths lead to.
    DeletePayload {
        /// The paths.
        keys: Vec<FieldPath>,
        /// Of which points.
        on: Selection,
    },
    /// Empties the payload.
    ClearPayload(Selection),
}
