//! Vectors in memory, as a shard would show them to an index; for tests and benches.

use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;
use vectorsphere::index::{Coverage, Segment};
use vectorsphere::rows::{Row, Rows};
use vectorsphere::vector::{Distance, admit};

/// Vectors in memory, one after the other.
pub(crate) struct Flat {
    dimensions: usize,
    distance: Distance,
    pub(crate) live: Arc<RoaringBitmap>,
    pub(crate) vectors: Vec<f32>,
}

impl Flat {
    /// All of them live, and as a collection would admit them.
    pub(crate) fn new(vectors: Vec<f32>, dimensions: usize, distance: Distance) -> Self {
        let mut vectors = vectors;
        for vector in vectors.chunks_exact_mut(dimensions) {
            admit(vector, dimensions, distance).unwrap();
        }
        let mut live = RoaringBitmap::new();
        live.insert_range(0..u32::try_from(vectors.len() / dimensions).unwrap());
        Self {
            dimensions,
            distance,
            live: Arc::new(live),
            vectors,
        }
    }
}

/// Who of these segments answers for which of the live rows.
pub(crate) fn covered_by(segments: Vec<Arc<dyn Segment>>, rows: &Flat) -> Coverage {
    Coverage::new(segments, Arc::clone(&rows.live))
}

impl Rows for Flat {
    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn distance(&self) -> Distance {
        self.distance
    }

    fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    fn vector(&self, row: Row) -> Option<&[f32]> {
        let start = usize::try_from(row).unwrap() * self.dimensions;
        self.vectors.get(start..start + self.dimensions)
    }

    fn visit(&self, rows: &RoaringBitmap, visit: &mut dyn FnMut(Row, &[f32]) -> ControlFlow<()>) {
        for row in rows {
            if let Some(vector) = self.vector(row)
                && visit(row, vector).is_break()
            {
                return;
            }
        }
    }
}
