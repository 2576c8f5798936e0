//! That every node can be reached from the entry: seen to, then checked.
//!
//! Pruning can cut a node off, clusters that lie far apart can lose each other, and a point that
//! equals another takes no part in the build at all. So the finished graph is walked from the entry.
//! Each node that this does not reach is linked from one of the reached nodes nearest to it, in a
//! free slot or instead of a link over which nothing was reached first; then the walk goes on from
//! there. The links over which nodes were reached first are a tree, so none of them is ever taken
//! away again, and a tree of `n` nodes has `n - 1` links: somewhere there is always a slot.
//!
//! Reached is not found: a node that only far ones link to is passed by. So each is also linked from one of
//! those that it links to itself, where there is room; and in the end each is searched for as queries are
//! ([`super::find`]), and those that are not found are linked from the nearest found that has a link to give.
//!
//! Equal points hang below the first of them, [`FAN`] below each, and have its links too: who finds
//! one finds all, and none has more than a few links for the others.

use std::collections::HashMap;

use super::super::{Error, Job};
use super::find::{Finder, Lost};
use super::kernels::{Kernel, Level, Run, run};
use super::link::{Around, Links, pruned};
use super::numbers::{at, wide};
use super::points::Points;
use super::sketch::Viewpoint;
use super::walk::{DEGREE, Damaged, NONE, Walk};

/// Equal points that one of them leads to.
const FAN: usize = 4;

/// The list of a search for nodes near one that is cut off.
const LIST: usize = 64;

/// How often all nodes are searched for at most: the first time finds those to be linked, a second one that all are
/// found; where walks are short and data is odd it took four.
const PASSES: usize = 6;

/// Links of a node that are given at a time to others which have none from near.
const GIVEN_MAX: u8 = 4;

/// Work between two looks at whether to stop.
const STOP_EVERY: usize = 4_096;

/// The finished graph: [`DEGREE`] links a node, filled up with [`NONE`].
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) links: Vec<[u32; DEGREE]>,
    pub(super) entry: u32,
}

/// Takes over the links, hangs equal points in, and sees to it that all nodes are reached, but those
/// that are held out, which no link leads to.
pub(super) fn repair(
    job: &Job<'_>,
    points: &Points,
    firsts: &[u32],
    (links, entry): (&Links, u32),
    held: &[u32],
) -> Result<Repair, Error> {
    let table = pruned(points, links);
    let mut graph = Repair {
        tree: vec![0; table.len()],
        reached: vec![false; table.len()],
        links: table,
        entry,
        queue: Vec::new(),
    };
    graph.hang_equals(firsts);
    graph.reach(None, entry);
    graph.spread(job)?;
    graph.mend(job, points, links, held)?;
    graph.link_back(job, firsts)?;
    Ok(graph)
}

/// A graph whose nodes are all reached, and what may still be changed of it.
pub(super) struct Repair {
    links: Vec<[u32; DEGREE]>,
    entry: u32,
    /// For each node, a bit for each slot whose link is part of the tree.
    tree: Vec<u32>,
    reached: Vec<bool>,
    /// Reached, and its links not looked at yet.
    queue: Vec<u32>,
}

impl Repair {
    /// The links as they are.
    pub(super) fn links(&self) -> &[[u32; DEGREE]] {
        &self.links
    }

    /// Ends the repair: checks that each link leads to a node, and that every node is reached but those that
    /// are held out.
    pub(super) fn finish(self, held: &[u32]) -> Result<Finished, Error> {
        let finished = Finished {
            links: self.links,
            entry: self.entry,
        };
        check(&finished, held)?;
        Ok(finished)
    }

    /// Gives equal points the links of the first of them, and hangs them below it.
    fn hang_equals(&mut self, firsts: &[u32]) {
        let equals = (0u32..).zip(firsts).filter(|(_, first)| **first != NONE);
        let mut equals: Vec<(u32, u32)> = equals.map(|(point, first)| (*first, point)).collect();
        equals.sort_unstable();
        for group in equals.chunk_by(|left, right| left.0 == right.0) {
            let Some((first, _)) = group.first() else {
                continue;
            };
            let first_links = self
                .links
                .get(at(*first))
                .copied()
                .unwrap_or([NONE; DEGREE]);
            let members: Vec<u32> = std::iter::once(*first)
                .chain(group.iter().map(|(_, point)| *point))
                .collect();
            let mut below = members.iter().skip(1);
            for member in &members {
                let children = below.by_ref().take(FAN);
                let own = first_links.iter().filter(|link| **link != NONE).copied();
                // The nearest links stay: lists are nearest first as far as the rule kept them.
                let both: Vec<u32> = children.copied().chain(own).collect();
                if let Some(place) = self.links.get_mut(at(*member)) {
                    *place = [NONE; DEGREE];
                    for (place, link) in place.iter_mut().zip(both) {
                        *place = link;
                    }
                }
            }
        }
    }

    /// Marks a node as reached, over a slot of another.
    fn reach(&mut self, over: Option<(u32, usize)>, node: u32) {
        if let Some(reached) = self.reached.get_mut(at(node)).filter(|reached| !**reached) {
            *reached = true;
            self.queue.push(node);
            if let Some((parent, slot)) = over
                && let Some(tree) = self.tree.get_mut(at(parent))
            {
                *tree |= 1 << slot;
            }
        }
    }

    /// Reaches all that can be.
    fn spread(&mut self, job: &Job<'_>) -> Result<(), Error> {
        let mut done = 0usize;
        while let Some(node) = self.queue.pop() {
            done = done.wrapping_add(1);
            if done.is_multiple_of(STOP_EVERY) {
                job.go_on()?;
            }
            let links = self.links.get(at(node)).copied().unwrap_or([NONE; DEGREE]);
            for (slot, link) in links.into_iter().enumerate() {
                if link != NONE {
                    self.reach(Some((node, slot)), link);
                }
            }
        }
        Ok(())
    }

    /// A slot of a reached node that may lead elsewhere: a free one, or the last that is not part of
    /// the tree.
    fn slot(&self, node: u32) -> Option<usize> {
        if !self.reached.get(at(node)).copied().unwrap_or(false) {
            return None;
        }
        let links = self.links.get(at(node))?;
        if let Some(free) = links.iter().position(|link| *link == NONE) {
            return Some(free);
        }
        let tree = self.tree.get(at(node)).copied()?;
        (0..DEGREE).rev().find(|slot| tree & (1 << slot) == 0)
    }

    /// Links each node that is not reached from a reached one, as near as can be.
    fn mend(
        &mut self,
        job: &Job<'_>,
        points: &Points,
        links: &Links,
        held: &[u32],
    ) -> Result<(), Error> {
        let (mut walk, mut from) = (Walk::new(points.count()), Viewpoint::default());
        for node in 0..points.count() {
            let reached = self.reached.get(at(node)).copied().unwrap_or(true);
            if reached || held.binary_search(&node).is_ok() {
                continue;
            }
            job.go_on()?;
            points.stand(node, &mut from);
            let around = Around {
                points,
                links,
                from: &from,
            };
            let near = run(
                Level::best(),
                Nearest {
                    around,
                    entry: self.entry,
                    walk: &mut walk,
                },
            );
            let near = near.map_err(|Damaged| Error::Unsound {
                what: "a link to nowhere",
            })?;
            let found = near
                .into_iter()
                .find_map(|near| Some((near, self.slot(near)?)));
            // That none of the near has a slot is rare enough to look through all.
            let anywhere =
                || (0..points.count()).find_map(|other| Some((other, self.slot(other)?)));
            let found = found.or_else(anywhere);
            let Some((parent, slot)) = found else {
                return Err(Error::Unsound {
                    what: "a graph without room for a link",
                });
            };
            self.replace((parent, slot), node);
            self.reach(Some((parent, slot)), node);
            self.spread(job)?;
        }
        Ok(())
    }

    /// Sees to it that each node is linked from one of those that it links to: deletions can leave it with links
    /// from afar alone, over which walks that are near it do not come. Equal points hang below their first, so
    /// nothing is near over them.
    fn link_back(&mut self, job: &Job<'_>, firsts: &[u32]) -> Result<(), Error> {
        let mut given = vec![0u8; self.links.len()];
        for (node, first) in (0u32..).zip(firsts) {
            if at(node).is_multiple_of(STOP_EVERY) {
                job.go_on()?;
            }
            if *first != NONE {
                continue;
            }
            let own = self.links.get(at(node)).copied().unwrap_or([NONE; DEGREE]);
            let own = own
                .iter()
                .filter(|other| firsts.get(at(**other)) == Some(&NONE));
            let slot_of = |other: u32, to: u32| {
                let links = self.links.get(at(other))?;
                Some((other, links.iter().position(|link| *link == to)?))
            };
            let room = |other: &&u32| {
                given
                    .get(at(**other))
                    .is_some_and(|given| *given < GIVEN_MAX)
            };
            let back = own.clone().find_map(|other| slot_of(*other, node));
            let free = || own.clone().find_map(|other| slot_of(*other, NONE));
            let other = || {
                own.clone()
                    .filter(room)
                    .find_map(|other| Some((*other, self.slot(*other)?)))
            };
            if let Some((other, slot)) = back.or_else(free).or_else(other) {
                if back.is_none()
                    && let Some(given) = given.get_mut(at(other))
                {
                    *given = given.saturating_add(1);
                }
                // Also where it was linked already: no later node takes that link.
                self.replace((other, slot), node);
            }
        }
        Ok(())
    }

    /// Searches for each node that equals no earlier one, and links those that are not found from the nearest
    /// that are; then again, since such a link takes the place of another that may have led to somebody.
    pub(super) fn let_be_found(
        &mut self,
        firsts: &[u32],
        finder: &Finder<'_>,
    ) -> Result<(), Error> {
        let alone = (0u32..).zip(firsts).filter(|(_, first)| **first == NONE);
        let alone: Vec<u32> = alone.map(|(node, _)| node).collect();
        for pass in 1.. {
            let lost = finder.lost((&self.links, self.entry), &alone)?;
            let mut given = HashMap::new();
            let linked = if pass == PASSES {
                0
            } else {
                lost.iter()
                    .filter(|lost| self.lead_to(lost, &mut given))
                    .count()
            };
            if linked == 0 {
                if !lost.is_empty() {
                    let rows = lost.len();
                    tracing::warn!(
                        rows,
                        "rows are not found by their own vectors at the least effort"
                    );
                }
                break;
            }
        }
        Ok(())
    }

    /// Links a node that was not found; false when none of those that were found has a link to give. Each gives a
    /// few at a time: of a cluster that is lost as a whole, one that is linked leads to the others.
    fn lead_to(&mut self, lost: &Lost, given: &mut HashMap<u32, u8>) -> bool {
        let slot = lost.near.iter().find_map(|near| {
            let given = given.get(near).copied().unwrap_or(0);
            Some((*near, self.slot(*near).filter(|_| given < GIVEN_MAX)?))
        });
        if let Some(slot) = slot {
            self.replace(slot, lost.node);
            let given = given.entry(slot.0).or_default();
            *given = given.saturating_add(1);
        }
        slot.is_some()
    }

    /// Lets a slot of a node lead to another, for good.
    fn replace(&mut self, (node, slot): (u32, usize), to: u32) {
        let links = self.links.get_mut(at(node));
        if let Some(place) = links.and_then(|links| links.get_mut(slot)) {
            *place = to;
        }
        if let Some(tree) = self.tree.get_mut(at(node)) {
            *tree |= 1 << slot;
        }
    }
}

/// The nodes near a point, found from the entry.
struct Nearest<'a> {
    around: Around<'a>,
    entry: u32,
    walk: &'a mut Walk,
}

impl Run for Nearest<'_> {
    type Out = Result<Vec<u32>, Damaged>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Self::Out {
        let Self {
            around,
            entry,
            walk,
        } = self;
        walk.start::<K, _>(&around, entry, LIST)?;
        while walk.expand::<K, _>(&around)?.is_some() {
            walk.look::<K, _>(&around)?;
        }
        Ok(walk.pool.nearest().map(|(_, node)| node).collect())
    }
}

/// That each link leads to a node, and every node is reached.
fn check(graph: &Finished, held: &[u32]) -> Result<(), Error> {
    if graph.links.is_empty() {
        return Ok(());
    }
    let mut reached = vec![false; graph.links.len()];
    let mut queue = vec![graph.entry];
    let mut count = 0u64;
    while let Some(node) = queue.pop() {
        let Some(new) = reached.get_mut(at(node)) else {
            return Err(Error::Unsound {
                what: "a link to nowhere",
            });
        };
        if std::mem::replace(new, true) {
            continue;
        }
        count = count.saturating_add(1);
        let links = graph.links.get(at(node)).into_iter().flatten();
        let links = links.take_while(|link| **link != NONE);
        queue.extend(links.filter(|link| reached.get(at(**link)) != Some(&true)));
    }
    if count.saturating_add(wide(held.len())) == wide(graph.links.len()) {
        Ok(())
    } else {
        Err(Error::Unsound {
            what: "a node that no walk can reach",
        })
    }
}
