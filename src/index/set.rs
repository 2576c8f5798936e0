//! The segments of a shard: the main one, and one beside it over what is newer.
//!
//! To build anew what covers most of a large shard, because a few points are new, reads and codes all
//! of it. So a segment may stand beside the main one, over the rows that this does not cover; searches
//! ask both. When more is new, another takes the place of the one beside; when it is a tenth of the main
//! one, both become one. So there are never more than two, and the second is small.
//!
//! The manifest of the second names the main one. Publishing it is the moment at which the pair is what
//! a start finds; a main segment that is gone or damaged leaves the second, which is right about what
//! it covers.

use std::ops::ControlFlow;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Open, Segment};
use crate::rows::{Row, Rows};
use crate::vector::Distance;

/// The segments in use.
#[derive(Debug, Clone, Default)]
pub struct Set {
    /// The one that covers most.
    pub main: Option<Open>,
    /// The one beside it.
    pub side: Option<Open>,
}

impl Set {
    /// All of them.
    pub fn each(&self) -> impl Iterator<Item = &Open> {
        self.main.iter().chain(&self.side)
    }

    /// What to hand to `search`.
    pub fn segments(&self) -> Vec<Arc<dyn Segment>> {
        self.each().map(|open| Arc::clone(&open.segment)).collect()
    }

    /// The rows that one of them covers.
    pub fn covered(&self) -> RoaringBitmap {
        let mut covered = RoaringBitmap::new();
        self.each()
            .for_each(|open| covered |= open.segment.covered());
        covered
    }

    /// The set with a segment that was built: beside the main one, or instead of all.
    #[must_use]
    pub fn with(self, built: Open) -> Self {
        let main = self.main.filter(|main| built.stands_beside(main));
        match main {
            Some(main) => Self {
                main: Some(main),
                side: Some(built),
            },
            None => Self {
                main: Some(built),
                side: None,
            },
        }
    }

    /// Takes a segment out, by the name of its folder: another one of the same sequence stays.
    pub fn take(&mut self, name: &str) -> Option<Open> {
        let is = |open: &mut Open| open.name() == name;
        let taken = self.main.take_if(is).or_else(|| self.side.take_if(is));
        if self.main.is_none() {
            self.main = self.side.take();
        }
        taken
    }
}

/// Rows without those that a segment covers.
pub(super) struct Uncovered<'a> {
    rows: &'a dyn Rows,
    live: RoaringBitmap,
}

impl<'a> Uncovered<'a> {
    pub(super) fn new(rows: &'a dyn Rows, covered: &RoaringBitmap) -> Self {
        Self {
            rows,
            live: rows.live() - covered,
        }
    }
}

impl Rows for Uncovered<'_> {
    fn dimensions(&self) -> usize {
        self.rows.dimensions()
    }

    fn distance(&self) -> Distance {
        self.rows.distance()
    }

    fn live(&self) -> &RoaringBitmap {
        &self.live
    }

    fn vector(&self, row: Row) -> Option<&[f32]> {
        self.rows.vector(row)
    }

    fn visit(&self, rows: &RoaringBitmap, visit: &mut dyn FnMut(Row, &[f32]) -> ControlFlow<()>) {
        self.rows.visit(rows, visit);
    }
}
