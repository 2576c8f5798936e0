//! A build that starts from the graph before: what is still there keeps its links.
//!
//! A row never changes, so two rows that both graphs cover are as near each other as they were, and
//! the old links between them are as good. A node that linked to one that is gone takes over the
//! links of that one, as FreshDiskANN deletes (Singh and others, 2021), pruned by the rule of every
//! build; what is new is linked in as by a whole build. Codes, mean and
//! checksums are made anew, since they cost little. So a build costs in proportion to what changed,
//! with a fixed part for each row, which is read, coded and searched for.
//!
//! Graphs that grow this way for ever would drift from what a whole build makes: once as many rows
//! came and went since the last whole one as are left of it, the build is a whole one again.

use std::any::Any;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::super::{Error, Job};
use super::link::{Links, merged};
use super::numbers::{at, wide};
use super::points::Points;
use super::view::View;
use super::walk::{DEGREE, NONE};
use super::{Graph, Parameters};

/// A node with fewer links than this, of those that it had, is linked anew.
const LINKS_MIN: usize = 8;

/// Nodes whose links are mended before the next are begun.
const PORTION: usize = 4_096;

/// What a build takes over from the graph before.
#[derive(Debug)]
pub(super) struct Inherited {
    /// The links between what is still there.
    pub(super) links: Links,
    /// Points that have to be linked, ascending.
    pub(super) fresh: Vec<u32>,
    /// Those of them that the graph before did not cover: no link leads to them yet.
    pub(super) came: Vec<u32>,
    /// Rows that came or went since the last whole build, these included.
    pub(super) changed: u64,
}

/// The graph before, and its nodes among the points of the build.
struct Old<'a> {
    view: View<'a>,
    /// For each of its nodes the point that it is now; [`NONE`] where it is gone.
    now: Vec<u32>,
}

impl Old<'_> {
    /// The links of a node that still lead somewhere, and the nodes behind those that do not.
    fn links(&self, node: usize, takes_part: impl Fn(u32) -> bool) -> (Vec<u32>, Vec<u32>) {
        let (mut kept, mut gone) = (Vec::with_capacity(DEGREE), Vec::new());
        let links = self.view.links.get(node).into_iter().flatten();
        for link in links.take_while(|link| **link != NONE) {
            match self.now.get(at(*link)) {
                Some(now) if *now == NONE => gone.push(*link),
                Some(now) if takes_part(*now) => kept.push(*now),
                Some(_) | None => {},
            }
        }
        (kept, gone)
    }
}

impl Inherited {
    /// What can be taken over; `None` when a whole build is right: there is no graph before, it is
    /// damaged, or too much has changed.
    pub(super) fn of(
        job: &Job<'_>,
        (covered, points, firsts): (&RoaringBitmap, &Points, &[u32]),
    ) -> Result<Option<Self>, Error> {
        let Some(graph) = before(job) else {
            return Ok(None);
        };
        let kept = graph.covered.intersection_len(covered);
        let came = covered.len().saturating_sub(kept);
        let went = graph.covered.len().saturating_sub(kept);
        let changed = graph.changed.saturating_add(came).saturating_add(went);
        if changed > kept {
            return Ok(None);
        }
        let Some(view) = graph.file.whole(&|| job.go_on())? else {
            tracing::warn!("the graph before does not check, so all of it is built anew");
            return Ok(None);
        };
        let now = places(view.rows, covered);
        let links = mended(job, points, firsts, &Old { view, now })?;
        let mut fresh = vec![true; firsts.len()];
        for point in points.all() {
            let linked = links.of(point).len() >= LINKS_MIN;
            let equal = firsts.get(at(point)).is_none_or(|first| *first != NONE);
            if let Some(fresh) = fresh.get_mut(at(point)).filter(|_| linked || equal) {
                *fresh = false;
            }
        }
        let fresh: Vec<u32> = points
            .all()
            .zip(fresh)
            .filter_map(|(point, fresh)| fresh.then_some(point))
            .collect();
        // Nothing to begin a walk at.
        if wide(fresh.len()) >= covered.len() {
            return Ok(None);
        }
        let is_new = |point: &u32| {
            let row = covered.select(*point);
            row.is_some_and(|row| !graph.covered.contains(row))
        };
        let came = fresh.iter().copied().filter(is_new).collect();
        Ok(Some(Self {
            links,
            fresh,
            came,
            changed,
        }))
    }
}

/// The graph that the build may start from.
pub(super) fn before<'a>(job: &Job<'a>) -> Option<&'a Graph> {
    let segment: &dyn Any = job.before?;
    segment.downcast_ref::<Graph>()
}

/// The graph before, if it was built by the same parameters.
pub(super) fn measured_before<'a>(job: &Job<'a>, parameters: &Parameters) -> Option<&'a Graph> {
    before(job).filter(|graph| graph.parameters == *parameters)
}

/// For each of these rows, which are all different, its place among the covered ones, or [`NONE`].
fn places(rows: &[u32], covered: &RoaringBitmap) -> Vec<u32> {
    let mut ascending: Vec<(u32, usize)> = rows.iter().copied().zip(0..).collect();
    ascending.sort_unstable();
    let mut places = vec![NONE; rows.len()];
    let mut now = (0u32..).zip(covered.iter()).peekable();
    for (row, node) in ascending {
        while now.next_if(|(_, covered)| *covered < row).is_some() {}
        if let Some((point, _)) = now.next_if(|(_, covered)| *covered == row)
            && let Some(place) = places.get_mut(node)
        {
            *place = point;
        }
    }
    places
}

/// The old links, without those that lead nowhere now.
fn mended(job: &Job<'_>, points: &Points, firsts: &[u32], old: &Old<'_>) -> Result<Links, Error> {
    let takes_part = |point: u32| firsts.get(at(point)) == Some(&NONE);
    let mut links = Links::new(points.count());
    let nodes: Vec<(usize, u32)> = old.now.iter().copied().enumerate().collect();
    for nodes in nodes.chunks(PORTION) {
        job.go_on()?;
        let one = |(node, point): &(usize, u32)| {
            if *point == NONE || !takes_part(*point) {
                return None;
            }
            let (kept, gone) = old.links(*node, takes_part);
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for gone in gone {
                let (theirs, _) = old.links(at(gone), takes_part);
                let others = theirs.into_iter().filter(|link| link != point);
                taken.extend(others.map(|link| (*point, link)));
            }
            Some((*point, merged(points, (*point, kept), &taken)))
        };
        let portion: Vec<(u32, Vec<u32>)> = nodes.par_iter().filter_map(one).collect();
        for (point, list) in portion {
            links.set(point, list);
        }
    }
    Ok(links)
}
