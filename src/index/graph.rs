//! A graph of the rows, walked by small codes: the fastest kind at equal recall, and the default.
//!
//! Each row is a node with at most 32 links to rows near it; a search walks from the nearest of a few entries to
//! nearer and nearer nodes ([`walk`]). What makes it fast is that it compares codes of two to eight
//! bits a component instead of vectors ([`code`]): a walk is bound by the cache lines that it fetches
//! from memory, and a code of two or four bits takes two or four lines at 384 dimensions where the vector takes 24.
//! The rows that it finds are then compared exactly, with their vectors from the store
//! ([`mod@search`]).
//!
//! The build ([`points`], [`link`], [`repair`]) works on codes of its own, of two bits for its walks
//! ([`sketch`]) and of seven for its choices, and gives the same graph for any number of threads. It starts
//! from the graph before where that is less work ([`inherit`]). In the end each row is searched for, and linked if it is
//! not found ([`find`]). Near nodes are laid beside each other
//! ([`order`]). At its peak, with codes, it needs about `2.75 * padded dimensions + 450` bytes of memory a row, where the dimensions are padded to a multiple of 128. It chooses the width of
//! the code and the length of the list by the recall that rows find which are held out of the graph
//! until then ([`measure`]); both stand in the manifest.
//!
//! Memory of a search: a bit a row and some KiB, kept for a few searches at once. Of the file a search
//! touches links and codes: at 384 dimensions 328 bytes a row with four bits, 256 with two.
//!
//! The file ([`mod@file`]) is mapped, and checked block by block before anything of it is used: damage is
//! an error, never a wrong answer. All four distances use the graph of squared lengths: for the
//! cosine and the dot product exactly so ([`points`]), for Manhattan's as the nearest thing to it,
//! with lists as long as the measured recall asks for.

use std::path::Path;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::folder::{COVERED, FileSeal};
use super::{Ask, Error, Hit, Kind, Manifest, Recipe, Segment, Stop};
use crate::query::index::GraphParameters;
use crate::rows::Rows;

mod code;
mod effort;
mod entries;
mod file;
mod find;
mod grow;
mod inherit;
mod kernels;
mod link;
mod measure;
mod numbers;
mod order;
mod points;
mod pool;
mod query;
mod rank;
mod repair;
mod rotate;
mod scan;
mod search;
mod sketch;
mod view;
mod walk;

use code::{Coder, Width};
use effort::Effort;
use file::{Described, GRAPH, Open};
pub(super) use grow::grow;
use numbers::wide;
use search::{Lanes, TOGETHER, With, search};

/// The files of a segment, in the order of its manifest.
pub(super) const FILES: [&str; 2] = [COVERED, GRAPH];

/// What a user may choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Bits of a code's component: 2, 4, 8, or 32 for the floats themselves. Absent, the build chooses by measuring; so it does for
    /// another number, which the edge refuses.
    pub bits: Option<u8>,
    /// The share of the ten nearest that a search is to find when it does not say how hard to look,
    /// 0.5 to 0.99.
    pub recall: f32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            bits: None,
            recall: 0.95,
        }
    }
}

impl Parameters {
    /// The parameters that a collection asks for, with the usual ones where it says nothing.
    pub fn of(wanted: GraphParameters) -> Self {
        let usual = Self::default();
        Self {
            bits: wanted.bits,
            recall: wanted.recall.unwrap_or(usual.recall),
        }
    }
}

/// What the graph's file holds, and how it is searched; part of the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Layout {
    file: Described,
    effort: Effort,
    /// Rows that came or went since the last build that linked every row.
    changed: u64,
}

impl Layout {
    /// Bits of a code's component.
    pub(super) fn bits(&self) -> u8 {
        self.file.bits
    }
}

/// What a build leaves for the manifest.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) covered: RoaringBitmap,
    pub(super) layout: Layout,
    pub(super) recall: f32,
    pub(super) seal: FileSeal,
}

/// An open segment with a graph.
#[derive(Debug)]
pub(super) struct Graph {
    sequence: u64,
    covered: RoaringBitmap,
    file: Open,
    coder: Coder,
    width: Width,
    effort: Effort,
    parameters: Parameters,
    changed: u64,
    lanes: Lanes,
    recall: f32,
    bytes: u64,
}

impl Graph {
    /// Maps the graph.
    pub(super) fn open(
        path: &Path,
        (manifest, layout): (&Manifest, &Layout),
        covered: RoaringBitmap,
        bytes: u64,
    ) -> Result<Self, Error> {
        let Described {
            nodes,
            dimensions,
            bits,
            ..
        } = &layout.file;
        if *dimensions != manifest.dimensions {
            return Err(Error::corrupt("the dimensions of its graph"));
        }
        if u64::from(*nodes) != covered.len() {
            return Err(Error::corrupt("the number of its nodes"));
        }
        let mut file = Open::new(&path.join(GRAPH), &layout.file)?;
        let width = Width::of(*bits).ok_or_else(|| Error::corrupt("the width of its codes"))?;
        Ok(Self {
            sequence: manifest.sequence,
            coder: Coder {
                rotation: rotate::Rotation::new(*dimensions, points::ROTATION),
                mean: std::mem::take(&mut file.mean),
                distance: manifest.distance,
                longest: layout.effort.learnt.longest,
                typical: layout.effort.learnt.typical,
            },
            file,
            covered,
            width,
            effort: layout.effort.clone(),
            parameters: match &manifest.recipe {
                Recipe::Graph(parameters) => parameters.clone(),
                Recipe::Arroy(_) => return Err(Error::corrupt("the recipe of a graph")),
            },
            changed: layout.changed,
            lanes: Lanes::new(*nodes),
            recall: manifest.recall,
            bytes,
        })
    }

    fn some(
        &self,
        rows: &dyn Rows,
        queries: &[&[f32]],
        ask: &Ask<'_>,
    ) -> Result<Vec<(Vec<Hit>, u64)>, Error> {
        let view = self
            .file
            .view()
            .ok_or_else(|| Error::corrupt("the parts of its graph"))?;
        let plan = self.effort.plan(self.width, ask.k, ask.effort);
        let with = With {
            coder: &self.coder,
            rows,
            covered: &self.covered,
            allowed: ask.allowed,
            stop: ask.stop,
        };
        let mut lanes = self.lanes.take(queries.len());
        let answers = search(&view, &with, plan, queries, &mut lanes);
        self.lanes.give_back(lanes);
        answers
    }
}

impl Segment for Graph {
    fn kind(&self) -> Kind {
        Kind::Graph
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn covered(&self) -> &RoaringBitmap {
        &self.covered
    }

    fn cost(&self, k: usize, effort: Option<u32>) -> u64 {
        // A code costs a fraction of a row: what a walk compares adds little to the exact rows.
        wide(self.effort.plan(self.width, k, effort).exact)
    }

    fn search(
        &self,
        rows: &dyn Rows,
        query: &[f32],
        ask: &Ask<'_>,
    ) -> Result<(Vec<Hit>, u64), Error> {
        let answers = self.some(rows, &[query], ask)?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    fn search_many(
        &self,
        rows: &dyn Rows,
        queries: &[&[f32]],
        ask: &Ask<'_>,
    ) -> Result<Vec<(Vec<Hit>, u64)>, Error> {
        let mut answers = Vec::with_capacity(queries.len());
        for queries in queries.chunks(TOGETHER) {
            answers.extend(self.some(rows, queries, ask)?);
        }
        Ok(answers)
    }

    fn verify(&self, stop: Stop<'_>) -> Result<(), Error> {
        let go_on = || if stop() { Err(Error::Stopped) } else { Ok(()) };
        let whole = self.file.whole(&go_on)?;
        let damaged = || Error::corrupt("a block of its graph");
        whole.map(|_view| ()).ok_or_else(damaged)
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn recall(&self) -> f32 {
        self.recall
    }
}
