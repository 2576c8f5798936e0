//! The builder: which nodes a node is linked to.
//!
//! After DiskANN's Vamana (Subramanya and others, NeurIPS 2019): every point searches the graph for
//! itself; of what the search looked at it keeps the nearest, but none that is nearer to one already
//! kept than to the point itself; the kept are linked back. What differs, each measured on real
//! embeddings: no slack in the rule (alpha 1); lists filled up to the degree with the nearest of what the
//! rule rejected, since unfilled ones were much worse; and once over all points, in a random order, where
//! Vamana goes twice: with filled lists searches gained nothing by a second round.
//!
//! Walks go by sketches ([`super::sketch`]); the choice among what they went through is by the longer codes.
//!
//! Points are taken in batches (as in ParlayANN, Manohar and others, PPoPP 2024): all of a batch
//! search the graph as it was before, then their links are put in. So threads need no locks, and the
//! graph is the same for any number of them.

use rayon::prelude::*;

use super::super::{Error, Job, Step};
use super::kernels::{Kernel, Level, Run, prefetch_numbers, run};
use super::numbers::{at, wide};
use super::points::Points;
use super::rotate::shuffle;
use super::sketch::Viewpoint;
use super::walk::{DEGREE, Damaged, NONE, SLACK, Space, Walk, ahead};

/// The list of a point's search for its neighbours. With 96 the build takes a seventh less, and a search at recall
/// 0.99 compares a seventh more; with 160 and 256 searches gain nothing more (measured).
const LIST: usize = 128;

/// The part of all points that is in a batch at most. Those of one batch do not see each other.
const BATCHES: usize = 256;

/// The part of the points that are linked already that is in a batch at most, while they are few.
const OF_LINKED: usize = 8;

/// The smallest batch that is worth spreading over threads, once there is a graph.
const BATCH_MIN: usize = 32;

/// Points that are asked for ahead of the one whose distance is taken: each is of several lines that follow
/// each other.
const AHEAD: usize = 4;

/// A candidate for a link: its distance, and the point.
pub(super) type Near = (f32, u32);

/// The lists of links while they grow.
#[derive(Debug)]
pub(super) struct Links {
    /// [`ROW`] numbers a point: how many links it has, and the links.
    slots: Vec<u32>,
}

/// Numbers that are kept for a point.
const ROW: usize = SLACK + 1;

impl Links {
    /// None for each point yet.
    pub(super) fn new(count: u32) -> Self {
        Self {
            slots: vec![0; at(count).saturating_mul(ROW)],
        }
    }

    #[inline(always)]
    fn row(&self, point: u32) -> &[u32] {
        let start = at(point).wrapping_mul(ROW);
        self.slots
            .get(start..start.wrapping_add(ROW))
            .unwrap_or_default()
    }

    /// The links of a point.
    #[inline(always)]
    pub(super) fn of(&self, point: u32) -> &[u32] {
        let (degree, links) = self.row(point).split_first().unwrap_or((&0, &[]));
        links.get(..at(*degree)).unwrap_or_default()
    }

    /// Replaces the links of a point, by at most [`SLACK`].
    pub(super) fn set(&mut self, point: u32, links: impl IntoIterator<Item = u32>) {
        let start = at(point).saturating_mul(ROW);
        let row = self.slots.get_mut(start..start.saturating_add(ROW));
        if let Some((degree, places)) = row.and_then(<[u32]>::split_first_mut) {
            *degree = 0;
            for (place, link) in places.iter_mut().zip(links) {
                *place = link;
                *degree = degree.saturating_add(1);
            }
        }
    }
}

/// The graph, seen from one of its points.
pub(super) struct Around<'a> {
    pub(super) points: &'a Points,
    pub(super) links: &'a Links,
    pub(super) from: &'a Viewpoint,
}

impl Space for Around<'_> {
    #[inline(always)]
    fn links(&self, node: u32) -> Option<&[u32]> {
        Some(self.links.of(node))
    }

    #[inline(always)]
    fn ask_links(&self, node: u32) {
        prefetch_numbers(self.links.row(node));
    }

    #[inline(always)]
    fn ask(&self, node: u32) {
        self.points.sketches().ask(node);
    }

    #[inline(always)]
    fn ahead(&self) -> usize {
        ahead(self.points.sketches().bytes())
    }

    #[inline(always)]
    fn key<K: Kernel>(&self, node: u32) -> Option<i32> {
        self.points.sketches().key::<K>(self.from, node)
    }
}

/// The point that walks begin at: the one in the middle of those that take part and are linked
/// already, if any are.
pub(super) fn entry(points: &Points, firsts: &[u32], fresh: &[u32]) -> u32 {
    let takes_part = |point: u32| firsts.get(at(point)) == Some(&NONE);
    points.middle(|point| takes_part(point) && fresh.binary_search(&point).is_err())
}

/// Links all points but those that equal an earlier one and those that are held out.
pub(super) fn link(
    job: &Job<'_>,
    points: &Points,
    (firsts, held): (&[u32], &[u32]),
    (entry, seed): (u32, u64),
) -> Result<Links, Error> {
    let unique = (0u32..).zip(firsts).filter(|(_, first)| **first == NONE);
    let unique = unique.filter(|(point, _)| held.binary_search(point).is_err());
    let mut order: Vec<u32> = unique.map(|(point, _)| point).collect();
    shuffle(&mut order, seed);
    // The entry is first: later ones find something to be linked to.
    if let Some(place) = order.iter().position(|point| *point == entry) {
        order.swap(0, place);
    }
    let mut links = Links::new(points.count());
    let most = (order.len() / BATCHES).max(BATCH_MIN);
    // The entry is linked by being there.
    let mut done = 1usize;
    while done < order.len() {
        job.go_on()?;
        let batch = order
            .iter()
            .skip(done)
            .take(most.min(done.div_ceil(OF_LINKED)));
        let batch: Vec<u32> = batch.copied().collect();
        add(job, points, &mut links, (&batch, entry))?;
        done = done.saturating_add(batch.len());
        job.report(Step::Growing, wide(done), wide(order.len()));
    }
    Ok(links)
}

/// Links points into a graph that is there, in the order in which they are given.
pub(super) fn insert(
    job: &Job<'_>,
    points: &Points,
    (links, entry): (&mut Links, u32),
    new: &[u32],
) -> Result<(), Error> {
    // A few of a large graph at a time: what they do not see of each other does not matter.
    let linked = at(points.count()).saturating_sub(new.len());
    let mut done = 0u64;
    for batch in new.chunks((linked / BATCHES).max(BATCH_MIN)) {
        job.go_on()?;
        add(job, points, links, (batch, entry))?;
        done = done.saturating_add(wide(batch.len()));
        job.report(Step::Growing, done, wide(new.len()));
    }
    Ok(())
}

/// A point's links with further ones, pruned if they are too many.
pub(super) fn merged(
    points: &Points,
    (point, links): (u32, Vec<u32>),
    new: &[(u32, u32)],
) -> Vec<u32> {
    let merge = Merge {
        points,
        point,
        links: &links,
        new,
        most: SLACK,
    };
    run(Level::best(), merge)
}

/// The links of each point, at most [`DEGREE`].
pub(super) fn pruned(points: &Points, links: &Links) -> Vec<[u32; DEGREE]> {
    let level = Level::best();
    let one = |point: u32| {
        let merge = Merge {
            points,
            point,
            links: links.of(point),
            new: &[],
            most: DEGREE,
        };
        let mut row = [NONE; DEGREE];
        for (place, link) in row.iter_mut().zip(run(level, merge)) {
            *place = link;
        }
        row
    };
    (0..points.count()).into_par_iter().map(one).collect()
}

/// Links the points of a batch into the graph.
fn add(
    job: &Job<'_>,
    points: &Points,
    links: &mut Links,
    (batch, entry): (&[u32], u32),
) -> Result<(), Error> {
    let (level, graph) = (Level::best(), &*links);
    let found: Vec<Vec<Near>> = batch
        .par_iter()
        .map_init(
            || (Walk::new(points.count()), Viewpoint::default()),
            |(walk, from), point| {
                if (job.stop)() {
                    return Err(Error::Stopped);
                }
                points.stand(*point, from);
                let around = Around {
                    points,
                    links: graph,
                    from,
                };
                let search = Search {
                    around,
                    point: *point,
                    entry,
                    walk,
                };
                run(level, search).map_err(|Damaged| Error::Unsound {
                    what: "a link to nowhere",
                })
            },
        )
        .collect::<Result<_, _>>()?;
    let mut back: Vec<(u32, u32)> = Vec::new();
    for (point, kept) in batch.iter().zip(&found) {
        links.set(*point, kept.iter().map(|(_, link)| *link));
        back.extend(kept.iter().map(|(_, link)| (*link, *point)));
    }
    back.sort_unstable();
    let graph = &*links;
    let groups: Vec<&[(u32, u32)]> = back.chunk_by(|left, right| left.0 == right.0).collect();
    let merged: Vec<(u32, Vec<u32>)> = groups
        .into_par_iter()
        .filter_map(|group| {
            let (point, _) = group.first()?;
            let new = group;
            let merge = Merge {
                points,
                point: *point,
                links: graph.of(*point),
                new,
                most: SLACK,
            };
            Some((*point, run(level, merge)))
        })
        .collect();
    for (point, list) in merged {
        links.set(point, list);
    }
    Ok(())
}

/// A point's search for its neighbours.
struct Search<'a> {
    around: Around<'a>,
    point: u32,
    entry: u32,
    walk: &'a mut Walk,
}

impl Run for Search<'_> {
    type Out = Result<Vec<Near>, Damaged>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Self::Out {
        let Self {
            around,
            point,
            entry,
            walk,
        } = self;
        walk.start::<K, _>(&around, entry, LIST)?;
        // All that the walk went through, not only the nearest: the far ones become the long links
        // that later walks travel by.
        let mut through: Vec<u32> = Vec::with_capacity(2 * LIST);
        while let Some((_key, node)) = walk.expand::<K, _>(&around)? {
            if node != point {
                through.push(node);
            }
            walk.look::<K, _>(&around)?;
        }
        for link in around.links.of(point) {
            if !through.contains(link) {
                through.push(*link);
            }
        }
        let candidates = distances::<K>(around.points, point, &through);
        Ok(prune::<K>(around.points, candidates))
    }
}

/// The distances of some points from one.
#[inline(always)]
fn distances<K: Kernel>(points: &Points, from: u32, to: &[u32]) -> Vec<Near> {
    let mut near: Vec<Near> = Vec::with_capacity(to.len());
    for other in to.iter().take(AHEAD) {
        points.ask(*other);
    }
    let mut coming = to.iter().skip(AHEAD);
    for other in to {
        if let Some(coming) = coming.next() {
            points.ask(*coming);
        }
        near.push((points.distance::<K>(*other, from), *other));
    }
    near
}

/// Putting new links into a point's list, which is pruned if it grows beyond `most`.
struct Merge<'a> {
    points: &'a Points,
    point: u32,
    links: &'a [u32],
    /// Pairs of the point and a new link.
    new: &'a [(u32, u32)],
    most: usize,
}

impl Run for Merge<'_> {
    type Out = Vec<u32>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Vec<u32> {
        let mut list = self.links.to_vec();
        for (_, new) in self.new {
            if !list.contains(new) {
                list.push(*new);
            }
        }
        if list.len() <= self.most {
            return list;
        }
        let near = distances::<K>(self.points, self.point, &list);
        let kept = prune::<K>(self.points, near);
        list.clear();
        for (_, link) in kept {
            list.push(link);
        }
        list
    }
}

/// The candidates to link to, at most [`DEGREE`].
#[inline(always)]
fn prune<K: Kernel>(points: &Points, mut candidates: Vec<Near>) -> Vec<Near> {
    candidates
        .sort_unstable_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
    let mut kept: Vec<Near> = Vec::with_capacity(DEGREE);
    let mut rejected: Vec<Near> = Vec::with_capacity(DEGREE);
    for (distance, candidate) in candidates {
        if kept.len() == DEGREE {
            break;
        }
        let mut near_another = false;
        for (_, other) in &kept {
            if points.distance::<K>(*other, candidate) < distance {
                near_another = true;
                break;
            }
        }
        if !near_another {
            kept.push((distance, candidate));
        } else if rejected.len() < DEGREE {
            rejected.push((distance, candidate));
        }
    }
    let room = DEGREE.saturating_sub(kept.len());
    kept.extend(rejected.into_iter().take(room));
    kept
}
