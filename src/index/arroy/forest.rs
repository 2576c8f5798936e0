//! The trees' file, and the walk through it.
//!
//! After the lift's mean comes one block a tree, aligned to a cache line: the planes' normals, the
//! splits' two children each, the ends of the leaves, the rows of all leaves one after the other. A
//! child is a split's number, or a leaf's with the highest bit set; the first of either is the root.
//!
//! Everything that is read is checked, so a damaged file ends a walk with an error or proposes odd
//! rows; it cannot make it read outside, panic or go round for ever.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::Path;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::super::mapped::Mapped;
use super::super::simd::{Kernel, kernels};
use super::super::{Error, Stop};
use super::Lift;
use crate::rows::Row;

/// The bit of a child that is a leaf.
pub(super) const LEAF: u32 = 1 << 31;

/// What each block of a tree is aligned to.
pub(super) const ALIGN: u64 = 64;

/// Steps of a walk between two looks at whether to stop.
const STOP_EVERY: u64 = 64;

/// Where a tree lies in the file; part of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    /// The byte that its block starts at.
    pub(super) at: u64,
    /// Its planes.
    pub(super) splits: u32,
    /// Its leaves.
    pub(super) leaves: u32,
    /// The rows in them.
    pub(super) rows: u32,
}

/// A tree's parts, in place in the mapped file.
#[derive(Debug, Clone, Copy)]
struct Parts {
    normals: u64,
    children: u64,
    ends: u64,
    rows: u64,
    tree: Tree,
}

impl Tree {
    /// Bytes of a block with these parts, without what aligns the next.
    fn parts(self, dimensions: usize) -> Option<(Parts, u64)> {
        let wide = u64::from;
        let dimensions = u64::try_from(dimensions).ok()?;
        let normal = dimensions.checked_mul(4)?;
        let children = wide(self.splits)
            .checked_mul(normal)?
            .checked_add(self.at)?;
        let ends = wide(self.splits).checked_mul(8)?.checked_add(children)?;
        let rows = wide(self.leaves).checked_mul(4)?.checked_add(ends)?;
        let end = wide(self.rows).checked_mul(4)?.checked_add(rows)?;
        let parts = Parts {
            normals: self.at,
            children,
            ends,
            rows,
            tree: self,
        };
        Some((parts, end))
    }

    /// The root, as a child is written.
    fn root(self) -> u32 {
        if self.splits == 0 { LEAF } else { 0 }
    }
}

/// Mapped trees.
#[derive(Debug)]
pub(super) struct Forest {
    file: Mapped,
    lift: Lift,
    trees: Vec<Parts>,
    /// One more than the last row that is covered.
    rows_end: usize,
    /// Nodes of all trees: more steps than this, and a walk goes round in a circle.
    nodes: u64,
}

impl Forest {
    /// Maps the file and checks that every part lies in it.
    pub(super) fn open(
        path: &Path,
        lift: &Lift,
        trees: &[Tree],
        covered: &RoaringBitmap,
    ) -> Result<Self, Error> {
        let file = Mapped::open(path)?;
        let length = u64::try_from(file.length()).unwrap_or(u64::MAX);
        let mut parts = Vec::with_capacity(trees.len());
        let mut nodes = 0u64;
        for tree in trees {
            let fits = tree
                .parts(lift.lifted_dimensions())
                .filter(|(_, end)| *end <= length && tree.at.is_multiple_of(ALIGN));
            let Some((part, _)) = fits else {
                return Err(Error::corrupt("a tree that is not within its file"));
            };
            parts.push(part);
            nodes = nodes
                .saturating_add(u64::from(tree.splits))
                .saturating_add(u64::from(tree.leaves));
        }
        Ok(Self {
            file,
            lift: lift.clone(),
            trees: parts,
            rows_end: covered.max().map_or(0, |last| at(last) + 1),
            nodes,
        })
    }

    /// A walk that proposes rows near the query, of all or of the allowed.
    pub(super) fn walk<'a>(
        &'a self,
        query: &[f32],
        allowed: Option<&'a RoaringBitmap>,
        stop: Stop<'a>,
    ) -> Walk<'a> {
        let bytes = self.rows_end.div_ceil(8);
        let mut queue = BinaryHeap::with_capacity(4 * self.trees.len() + 64);
        for (tree, parts) in self.trees.iter().enumerate() {
            queue.push(Next {
                bound: 0.0,
                tree,
                node: parts.tree.root(),
            });
        }
        Walk {
            forest: self,
            query: self.lift.query(&self.file, query),
            dot: kernels().dot,
            allowed,
            stop,
            queue,
            steps: 0,
            seen: vec![0; bytes],
            kept: allowed.map(|_| vec![0; bytes]),
            found: 0,
        }
    }

    /// The children of a split and its plane.
    fn split(&self, parts: &Parts, split: u32) -> Option<(u32, u32, &[f32])> {
        if split >= parts.tree.splits {
            return None;
        }
        let dimensions = self.lift.lifted_dimensions();
        let normal = u64::from(split) * u64::try_from(dimensions).ok()? * 4 + parts.normals;
        let normal = self.file.floats(normal, dimensions)?;
        let children = u64::from(split) * 8 + parts.children;
        match self.file.words(children, 2)? {
            [left, right] => Some((*left, *right, normal)),
            _ => None,
        }
    }

    /// The rows of a leaf.
    fn leaf(&self, parts: &Parts, leaf: u32) -> Option<&[Row]> {
        let ends = self.file.words(parts.ends, at(parts.tree.leaves))?;
        let end = *ends.get(at(leaf))?;
        let start = match leaf.checked_sub(1) {
            None => 0,
            Some(before) => *ends.get(at(before))?,
        };
        let rows = self.file.words(parts.rows, at(parts.tree.rows))?;
        rows.get(at(start)..at(end))
    }
}

/// A walk under way.
pub(super) struct Walk<'a> {
    forest: &'a Forest,
    query: Vec<f32>,
    dot: Kernel,
    allowed: Option<&'a RoaringBitmap>,
    stop: Stop<'a>,
    queue: BinaryHeap<Next>,
    steps: u64,
    /// One bit a row: met in some leaf.
    seen: Vec<u8>,
    /// One bit a row: met and allowed; `None` when all are.
    kept: Option<Vec<u8>>,
    found: u64,
}

impl<'a> Walk<'a> {
    /// How many different rows it proposes so far.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Goes on to the next leaf, takes its rows and shows them; `None` when there is none left.
    pub(super) fn next_leaf(&mut self) -> Result<Option<&'a [Row]>, Error> {
        while let Some(next) = self.queue.pop() {
            self.steps += 1;
            if self.steps > self.forest.nodes {
                return Err(Error::corrupt("a tree with a circle"));
            }
            if self.steps.is_multiple_of(STOP_EVERY) && (self.stop)() {
                return Err(Error::Stopped);
            }
            let damaged = || Error::corrupt("a tree with a link to nowhere");
            let parts = self.forest.trees.get(next.tree).ok_or_else(damaged)?;
            if next.node & LEAF == 0 {
                let split = self.forest.split(parts, next.node).ok_or_else(damaged)?;
                self.descend(next, split);
            } else {
                let rows = self
                    .forest
                    .leaf(parts, next.node & !LEAF)
                    .ok_or_else(damaged)?;
                rows.iter().for_each(|row| self.meet(*row));
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }

    /// Queues both sides of a plane; the side that the query lies on as near as the node itself, the
    /// other as far as the plane is.
    fn descend(&mut self, from: Next, (left, right, normal): (u32, u32, &[f32])) {
        let margin = (self.dot)(normal, &self.query);
        let sides = [(left, -margin), (right, margin)];
        for (node, margin) in sides {
            self.queue.push(Next {
                bound: from.bound - margin.min(0.0).powi(2),
                tree: from.tree,
                node,
            });
        }
    }

    /// Notes a row of a leaf. One that no row can have, in a damaged file, is passed over.
    fn meet(&mut self, row: Row) {
        if !mark(&mut self.seen, row) {
            return;
        }
        match (&mut self.kept, self.allowed) {
            (Some(kept), Some(allowed)) => {
                if allowed.contains(row) && mark(kept, row) {
                    self.found += 1;
                }
            },
            _ => self.found += 1,
        }
    }

    /// The rows that it proposes.
    pub(super) fn into_found(self) -> RoaringBitmap {
        RoaringBitmap::from_lsb0_bytes(0, self.kept.as_ref().unwrap_or(&self.seen))
    }
}

/// Sets a row's bit. Whether it was there and clear.
fn mark(bits: &mut [u8], row: Row) -> bool {
    let Some(byte) = bits.get_mut(at(row >> 3)) else {
        return false;
    };
    let bit = 1u8 << (row & 7);
    let clear = *byte & bit == 0;
    *byte |= bit;
    clear
}

/// A number of 32 bits as an index.
fn at(number: u32) -> usize {
    // Nothing is that long where it does not fit.
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A node to go on from: the one whose worst plane is nearest comes first.
#[derive(Debug, Clone, Copy)]
struct Next {
    /// How far on its side of the nearest-missed plane above it the query lies; negative when it
    /// lies on the other side.
    bound: f32,
    tree: usize,
    node: u32,
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_bound = self.bound.total_cmp(&other.bound);
        by_bound
            .then_with(|| other.tree.cmp(&self.tree))
            .then_with(|| other.node.cmp(&self.node))
    }
}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Next {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Next {}
