//! Whether a search finds each row by its own vector.
//!
//! The graph that is about to be written is searched as it will be: from its entries, by its codes, with the end by
//! distance, at the least effort that a collection may learn. A walk for as many neighbours at a higher effort goes the
//! same way and then on, but for nodes that are equally near; so what a walk comes by here, all come by. What it comes
//! by is answered unless codes are too coarse to tell it from others, which no link would mend.
//!
//! A build that is told to stop ends with [`Error::Stopped`]; a link to nowhere with [`Error::Unsound`].

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::super::{Error, Job, Step};
use super::code::{Coder, Shape};
use super::effort::Plan;
use super::entries::Entries;
use super::kernels::{Kernel, Run};
use super::numbers::wide;
use super::search::{Coded, Lane, With, run_coded, walk};
use super::view::{Asked, View};
use super::walk::{DEGREE, Space};
use crate::rows::Row;
use crate::vector::Distance;

/// What searches for rows.
pub(super) struct Finder<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) coder: &'a Coder,
    pub(super) covered: &'a RoaringBitmap,
    /// The row of each node.
    pub(super) rows: &'a [Row],
    pub(super) records: &'a [u8],
    pub(super) shape: Shape,
    pub(super) entries: &'a Entries,
    pub(super) plan: Plan,
}

/// A node that its own vector does not find.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) node: u32,
    /// What was found instead, the nearest first, at most [`NEAR`].
    pub(super) near: Vec<u32>,
}

/// Nodes that are told of those that were found instead.
const NEAR: usize = 32;

/// Nodes that are searched for before it is said how far that is.
const PORTION: usize = 4_096;

impl Finder<'_> {
    /// Those of these nodes that their own vectors do not find, though they are nearer by their codes than what is
    /// found.
    pub(super) fn lost(
        &self,
        (links, entry): (&[[u32; DEGREE]], u32),
        nodes: &[u32],
    ) -> Result<Vec<Lost>, Error> {
        let view = View {
            links,
            records: self.records,
            rows: self.rows,
            sorted: None,
            shape: self.shape,
            entry,
            entries: self.entries.view(),
            unchecked: None,
        };
        let one = |lane: &mut Lane, node: &u32| self.seek(&view, lane, *node).transpose();
        let (mut lost, mut done) = (Vec::new(), 0u64);
        for portion in nodes.chunks(PORTION) {
            let found = portion
                .par_iter()
                .map_init(|| Lane::new(view.count()), one)
                .flatten();
            lost.extend(found.collect::<Result<Vec<Lost>, Error>>()?);
            done = done.saturating_add(wide(portion.len()));
            self.job.report(Step::Measuring, done, wide(nodes.len()));
        }
        Ok(lost)
    }

    fn seek(&self, view: &View<'_>, lane: &mut Lane, node: u32) -> Result<Option<Lost>, Error> {
        let row = view.row(node).ok_or(NOWHERE)?;
        // One that cannot be read is nobody's to find.
        let Some(vector) = self.job.rows.vector(row) else {
            return Ok(None);
        };
        let with = With {
            coder: self.coder,
            rows: self.job.rows,
            covered: self.covered,
            allowed: None,
            stop: self.job.stop,
        };
        let lanes = std::slice::from_mut(lane);
        walk(
            view,
            &with,
            (self.plan, self.plan.longest),
            &[vector],
            lanes,
        )
        .map_err(told)?;
        let own = Own { view, lane, node };
        let own = run_coded(self.shape.width, own);
        let own = own.ok_or(NOWHERE)?;
        let pool = lane.pool();
        // Of products others may be nearer to a vector than itself: then it is nobody's to find.
        let last = if self.coder.distance == Distance::Dot {
            pool.key_at(self.plan.k.saturating_sub(1))
        } else {
            pool.bound().min(lane.walk.limits.kept)
        };
        if own >= last || pool.nearest().any(|(_, found)| found == node) {
            return Ok(None);
        }
        let near = pool.nearest().take(NEAR).map(|(_, found)| found);
        let near = near.collect();
        Ok(Some(Lost { node, near }))
    }
}

/// Of a graph in memory.
const NOWHERE: Error = Error::Unsound {
    what: "a link to nowhere",
};

/// What a walk calls damage of a file is a fault of the build here.
fn told(error: Error) -> Error {
    if matches!(error, Error::Corrupt { .. }) {
        NOWHERE
    } else {
        error
    }
}

/// How far a node is from the last query.
struct Own<'a> {
    view: &'a View<'a>,
    lane: &'a Lane,
    node: u32,
}

impl<const BITS: u8> Run for Coded<BITS, Own<'_>> {
    type Out = Option<i32>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Self::Out {
        let Self(Own { view, lane, node }) = self;
        let query = lane.query();
        Asked::<BITS> { view, query }.key::<K>(node)
    }
}
