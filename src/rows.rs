//! How an index sees the vectors of a shard, whoever stores them.
//!
//! A shard gives each version of a point's vector a row. Rows are never changed: an upsert takes a
//! new row and frees the old one, a delete frees it, and a freed row is used again only when no
//! index covers it any more. So an index built from a snapshot stays right for ever about the rows
//! it covers; what it must not answer is what is no longer live, and what it lacks is `live` less
//! what it covers.

use std::ops::ControlFlow;

use roaring::RoaringBitmap;

use crate::vector::Distance;

/// The number of a row in its shard.
pub type Row = u32;

/// A consistent view of the vectors of one shard. It costs little to hold, but holds back the reuse
/// of disk space: holders bound the time they keep it.
pub trait Rows: Send + Sync {
    /// Components of each vector.
    fn dimensions(&self) -> usize;

    /// How the vectors are compared; for cosine they are normalised already.
    fn distance(&self) -> Distance;

    /// The rows that belong to a point.
    fn live(&self) -> &RoaringBitmap;

    /// The vector of a row: as many components as [`Rows::dimensions`], straight from the mapped
    /// file. `None` when the row was never written or was freed.
    fn vector(&self, row: Row) -> Option<&[f32]>;

    /// Visits these rows in ascending order, faster than one by one. Rows without a vector are
    /// passed over.
    fn visit(&self, rows: &RoaringBitmap, visit: &mut dyn FnMut(Row, &[f32]) -> ControlFlow<()>);
}
