//! Random projection trees: the arroy library grows them, this module stores, walks and measures
//! them.
//!
//! Each tree halves the rows by planes through the space until a leaf holds few enough. A search
//! goes down all trees at once, nearest side first, until the leaves that it met hold enough rows;
//! those are then compared exactly.
//!
//! Why not the library's own reader: it keeps a second copy of every vector in LMDB, looks each
//! candidate up in that B-tree, panics or loops on damaged pages, and measured no faster than an
//! exact scan of 100,000 vectors; see `docs/performance.md`. So the library runs in a scratch
//! database that is thrown away; its trees alone are frozen into one file that is mapped, checked at
//! every step, and a quarter as large as the vectors; candidates are read from the store.
//!
//! The library is not trusted: each tree that it builds is checked to hold every row exactly once.
//! Its planes all go through the origin, which is right only for directions; [`lift`] maps every
//! distance to that case.
//!
//! How many rows a search compares is not guessed: the build measures, on rows of the shard, how far
//! a search must go to find the wanted share of their neighbours ([`measure`]).

use std::path::Path;

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::folder::{COVERED, FileSeal, SealedFile};
use super::top::Top;
use super::{Ask, Error, Hit, Job, Kind, Manifest, Segment, Step, scan};
use crate::query::index::TreeParameters;
use crate::rows::Rows;

mod forest;
mod freeze;
mod grow;
mod lift;
mod measure;

use forest::{Forest, Tree};
use lift::Lift;
use measure::Effort;

const TREES: &str = "trees";

/// The files of a segment, in the order of its manifest.
pub(super) const FILES: [&str; 2] = [COVERED, TREES];

/// What a user may choose. The defaults were chosen by measuring: `docs/performance.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Trees, 1 to 256. More find the same with fewer comparisons, for time and disk.
    pub trees: u16,
    /// Rows of a leaf at most, 16 to 4,096. Smaller leaves mean more planes: larger files, better
    /// chosen candidates.
    pub leaf_rows: u16,
    /// The share of the ten nearest that a search is to find when it does not say how hard to look,
    /// 0.5 to 0.99.
    pub recall: f32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            trees: 24,
            leaf_rows: 200,
            recall: 0.95,
        }
    }
}

impl Parameters {
    /// The parameters that a collection asks for, with the usual ones where it says nothing.
    pub fn of(wanted: TreeParameters) -> Self {
        let usual = Self::default();
        Self {
            trees: wanted.trees.unwrap_or(usual.trees),
            leaf_rows: wanted.leaf_rows.unwrap_or(usual.leaf_rows),
            recall: wanted.recall.unwrap_or(usual.recall),
        }
    }
}

/// What the file of trees holds; part of the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Layout {
    lift: Lift,
    trees: Vec<Tree>,
    effort: Effort,
}

/// What a build leaves for the manifest.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) covered: RoaringBitmap,
    pub(super) layout: Layout,
    pub(super) recall: f32,
    pub(super) seal: FileSeal,
}

/// Builds the trees of the snapshot's rows into the folder.
pub(super) fn grow(
    building: &Path,
    job: &Job<'_>,
    parameters: &Parameters,
) -> Result<Grown, Error> {
    let lift = Lift::fit(job)?;
    let mut file = SealedFile::create(building, TREES)?;
    lift.write(&mut file)?;
    let (covered, trees) = grow::grow(building, job, parameters, &lift, &mut file)?;
    let seal = file.finish()?;
    let lift = lift.described();
    job.report(Step::Measuring, 0, 1);
    let forest = Forest::open(&building.join(TREES), &lift, &trees, &covered)?;
    let (effort, recall) = measure::measure(&forest, job, &covered, parameters.recall)?;
    job.report(Step::Measuring, 1, 1);
    let layout = Layout {
        lift,
        trees,
        effort,
    };
    Ok(Grown {
        covered,
        layout,
        recall,
        seal,
    })
}

/// An open segment of trees.
#[derive(Debug)]
pub(super) struct Arroy {
    sequence: u64,
    covered: RoaringBitmap,
    forest: Forest,
    effort: Effort,
    recall: f32,
    bytes: u64,
}

impl Arroy {
    /// Maps the trees.
    pub(super) fn open(
        path: &Path,
        (manifest, layout): (&Manifest, &Layout),
        covered: RoaringBitmap,
        bytes: u64,
    ) -> Result<Self, Error> {
        let Layout {
            lift,
            trees,
            effort,
        } = layout;
        if lift.dimensions() != manifest.dimensions {
            return Err(Error::corrupt("the dimensions of its trees"));
        }
        Ok(Self {
            sequence: manifest.sequence,
            forest: Forest::open(&path.join(TREES), lift, trees, &covered)?,
            covered,
            effort: effort.clone(),
            recall: manifest.recall,
            bytes,
        })
    }
}

impl Segment for Arroy {
    fn kind(&self) -> Kind {
        Kind::Arroy
    }

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn covered(&self) -> &RoaringBitmap {
        &self.covered
    }

    fn cost(&self, k: usize, effort: Option<u32>) -> u64 {
        self.effort.rows(k, effort)
    }

    fn search(
        &self,
        rows: &dyn Rows,
        query: &[f32],
        ask: &Ask<'_>,
    ) -> Result<(Vec<Hit>, u64), Error> {
        let wanted = self.cost(ask.k, ask.effort);
        let mut walk = self.forest.walk(query, ask.allowed, ask.stop);
        while walk.found() < wanted && walk.next_leaf()?.is_some() {}
        let mut top = Top::new(rows.distance(), ask.k);
        let scored = scan::scan(
            rows,
            &walk.into_found(),
            &[query],
            std::slice::from_mut(&mut top),
            ask.stop,
        )?;
        Ok((top.into_hits(), scored))
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn recall(&self) -> f32 {
        self.recall
    }
}
