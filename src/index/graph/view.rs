//! A finished graph as a search reads it: links, records, rows, wherever they lie.

use super::code::Shape;
use super::entries::EntriesView;
use super::file::Blocks;
use super::kernels::{Kernel, prefetch_at, prefetch_numbers};
use super::numbers::{at, wide};
use super::query::Query;
use super::walk::{DEGREE, Space, ahead};
use crate::rows::Row;

/// The parts of a graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// [`DEGREE`] a node.
    pub(super) links: &'a [[u32; DEGREE]],
    /// One record a node.
    pub(super) records: &'a [u8],
    /// The row of each node.
    pub(super) rows: &'a [Row],
    /// The rows ascending, and the node of each; `None` where nodes lie as their rows do.
    pub(super) sorted: Option<(&'a [Row], &'a [u32])>,
    pub(super) shape: Shape,
    pub(super) entry: u32,
    pub(super) entries: EntriesView<'a>,
    /// What is still to be checked before it is read; `None` when nothing is.
    pub(super) unchecked: Option<Unchecked<'a>>,
}

/// Where the parts lie in their file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unchecked<'a> {
    pub(super) blocks: &'a Blocks,
    pub(super) rows_at: u64,
    pub(super) sorted_at: u64,
    pub(super) links_at: u64,
    pub(super) records_at: u64,
}

impl<'a> View<'a> {
    /// How many nodes there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    #[inline(always)]
    fn record(&self, node: u32) -> Option<&'a [u8]> {
        let start = at(node).wrapping_mul(self.shape.stride);
        self.records
            .get(start..start.wrapping_add(self.shape.stride))
    }

    /// The row of a node; `None` when its block does not check or there is no such node.
    #[inline]
    pub(super) fn row(&self, node: u32) -> Option<Row> {
        if let Some(unchecked) = &self.unchecked {
            let start = u64::from(node)
                .checked_mul(4)?
                .checked_add(unchecked.rows_at)?;
            Self::checked(unchecked, start, 4)?;
        }
        self.rows.get(at(node)).copied()
    }

    /// The rows ascending, and the node of each where they do not lie so, checked: what a scan needs that
    /// looks for some of them.
    pub(super) fn sorted(&self) -> Option<(&'a [Row], Option<&'a [u32]>)> {
        let (rows, nodes) = self.sorted.unzip();
        let rows = rows.unwrap_or(self.rows);
        if let Some(unchecked) = &self.unchecked
            && !rows.is_empty()
        {
            let bytes = size_of_val(rows);
            match nodes {
                Some(_) => Self::checked(unchecked, unchecked.sorted_at, bytes.checked_mul(2)?)?,
                None => Self::checked(unchecked, unchecked.rows_at, bytes)?,
            }
        }
        Some((rows, nodes))
    }

    #[cold]
    fn checked(unchecked: &Unchecked<'_>, start: u64, bytes: usize) -> Option<()> {
        unchecked.blocks.check(start, wide(bytes)).then_some(())
    }
}

/// A graph, seen from a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a, const BITS: u8> {
    pub(super) view: &'a View<'a>,
    pub(super) query: &'a Query,
}

impl<const BITS: u8> Space for Asked<'_, BITS> {
    #[inline(always)]
    fn links(&self, node: u32) -> Option<&[u32]> {
        let links = self.view.links.get(at(node))?;
        if let Some(unchecked) = &self.view.unchecked {
            let bytes = size_of_val(links);
            let start = wide(at(node)).wrapping_mul(wide(bytes));
            View::checked(unchecked, unchecked.links_at.wrapping_add(start), bytes)?;
        }
        Some(links)
    }

    #[inline(always)]
    fn ask_links(&self, node: u32) {
        if let Some(links) = self.view.links.get(at(node)) {
            prefetch_numbers(links);
        }
    }

    #[inline(always)]
    fn ask(&self, node: u32) {
        let start = at(node).wrapping_mul(self.view.shape.stride);
        let bytes = self.view.shape.code_bytes.wrapping_add(8);
        prefetch_at(self.view.records, start, bytes);
    }

    #[inline(always)]
    fn ahead(&self) -> usize {
        ahead(self.view.shape.code_bytes)
    }

    #[inline(always)]
    fn key<K: Kernel>(&self, node: u32) -> Option<i32> {
        let record = self.view.record(node)?;
        if let Some(unchecked) = &self.view.unchecked {
            let start = wide(at(node)).wrapping_mul(wide(self.view.shape.stride));
            View::checked(
                unchecked,
                unchecked.records_at.wrapping_add(start),
                record.len(),
            )?;
        }
        self.query
            .key::<K, BITS>(record, self.view.shape.code_bytes)
    }
}
