//! In which order nodes lie in the file: near ones next to each other.
//!
//! A walk goes from a node to its neighbours, so what it reads of them should lie on the same pages: most of
//! what a read from a random place costs is the way there. So nodes are laid down one after the other, next
//! always the one that most of the last [`WINDOW`] link to (after Gorder, Wei and others, SIGMOD 2016, by links
//! alone; that graphs of neighbours profit from it is by Coleman and others, 2021). Scans go by rows, so the file
//! says for each row, ascending, where its node is.

use std::collections::VecDeque;

use super::super::{Error, Job};
use super::numbers::at;
use super::repair::Finished;
use super::walk::{DEGREE, NONE};

/// Nodes that lie before one and are near it: about as many records as a page holds.
const WINDOW: usize = 32;

/// Where the nodes of a graph lie, whose points are its rows ascending.
#[derive(Debug)]
pub(super) struct Order {
    /// The point of each node.
    pub(super) points: Vec<u32>,
    /// The node of each point.
    pub(super) nodes: Vec<u32>,
}

impl Order {
    /// Orders a graph; its entry becomes the first node.
    pub(super) fn new(job: &Job<'_>, graph: &Finished) -> Result<Self, Error> {
        let points = order(&graph.links, graph.entry, &mut || job.go_on())?;
        let mut nodes = vec![NONE; points.len()];
        for (node, point) in (0u32..).zip(&points) {
            if let Some(place) = nodes.get_mut(at(*point)) {
                *place = node;
            }
        }
        Ok(Self { points, nodes })
    }

    /// The node of a point; [`NONE`] of none.
    pub(super) fn node(&self, point: u32) -> u32 {
        self.nodes.get(at(point)).copied().unwrap_or(NONE)
    }

    /// What belongs to each point, in the order of the nodes.
    pub(super) fn each<'a, T>(&'a self, of_points: &'a [T]) -> impl Iterator<Item = &'a T> {
        self.points
            .iter()
            .filter_map(|point| of_points.get(at(*point)))
    }

    /// The record of each node, of the records of all points.
    pub(super) fn records<'a>(
        &'a self,
        (records, stride): (&'a [u8], usize),
    ) -> impl Iterator<Item = &'a [u8]> {
        self.points.iter().filter_map(move |point| {
            let start = at(*point).checked_mul(stride)?;
            records.get(start..start.checked_add(stride)?)
        })
    }

    /// The links of each node, which lead to nodes.
    pub(super) fn links<'a>(&'a self, graph: &'a Finished) -> impl Iterator<Item = [u32; DEGREE]> {
        let moved = |links: &[u32; DEGREE]| links.map(|link| self.node(link));
        self.each(&graph.links).map(moved)
    }
}

/// Nodes that are placed between two looks at whether to stop.
const STOP_EVERY: usize = 4_096;

/// All points in their order, the entry first.
fn order(
    links: &[[u32; DEGREE]],
    entry: u32,
    go_on: &mut dyn FnMut() -> Result<(), Error>,
) -> Result<Vec<u32>, Error> {
    let mut placing = Placing {
        links,
        placed: vec![false; links.len()],
        counts: vec![0; links.len()],
        near: Vec::new(),
    };
    let first = Some(entry).filter(|entry| at(*entry) < links.len());
    let (mut order, mut next) = (Vec::with_capacity(links.len()), first);
    let mut last: VecDeque<u32> = VecDeque::with_capacity(WINDOW + 1);
    let mut all = (0u32..).take(links.len());
    while let Some(node) = next {
        if order.len().is_multiple_of(STOP_EVERY) {
            go_on()?;
        }
        order.push(node);
        placing.place(node);
        last.push_back(node);
        if last.len() > WINDOW
            && let Some(gone) = last.pop_front()
        {
            placing.forget(gone);
        }
        next = placing.nearest();
        if next.is_none() {
            next = all.find(|node| placing.placed.get(at(*node)) == Some(&false));
        }
    }
    Ok(order)
}

/// All nodes, nearly all of which are placed in the end.
struct Placing<'a> {
    links: &'a [[u32; DEGREE]],
    placed: Vec<bool>,
    /// How many of the last nodes link to each.
    counts: Vec<u8>,
    /// Nodes that are not placed and that one of the last links to.
    near: Vec<u32>,
}

impl Placing<'_> {
    fn links(&self, node: u32) -> [u32; DEGREE] {
        self.links.get(at(node)).copied().unwrap_or([NONE; DEGREE])
    }

    /// Places a node: those that it links to are near.
    fn place(&mut self, node: u32) {
        if let Some(placed) = self.placed.get_mut(at(node)) {
            *placed = true;
        }
        for link in self.links(node) {
            if let Some(count) = self.counts.get_mut(at(link)) {
                if *count == 0 && self.placed.get(at(link)) == Some(&false) {
                    self.near.push(link);
                }
                *count = count.saturating_add(1);
            }
        }
    }

    /// A node is not one of the last any more.
    fn forget(&mut self, node: u32) {
        for link in self.links(node) {
            if let Some(count) = self.counts.get_mut(at(link)) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// The node that most of the last link to; of those the one that was found first.
    fn nearest(&mut self) -> Option<u32> {
        let Self {
            near,
            placed,
            counts,
            ..
        } = self;
        let count = |node: &u32| counts.get(at(*node)).copied().unwrap_or(0);
        near.retain(|node| count(node) > 0 && placed.get(at(*node)) == Some(&false));
        let mut best: Option<(u8, u32)> = None;
        for node in near.iter() {
            let count = count(node);
            if best.is_none_or(|(most, _)| count > most) {
                best = Some((count, *node));
            }
        }
        best.map(|(_, node)| node)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(lists: &[Vec<u32>]) -> Vec<[u32; DEGREE]> {
        let row = |list: &Vec<u32>| {
            let mut row = [NONE; DEGREE];
            row.iter_mut()
                .zip(list)
                .for_each(|(place, link)| *place = *link);
            row
        };
        lists.iter().map(row).collect()
    }

    proptest! {
        /// Also a node that no link leads to has its place.
        #[test]
        fn an_ordered_graph_is_the_same_graph(
            lists in proptest::collection::vec(proptest::collection::vec(0u32..60, 0..DEGREE), 60),
            entry in 0u32..60,
        ) {
            let graph = Finished { links: table(&lists), entry };
            let points = order(&graph.links, entry, &mut || Ok(())).unwrap();
            prop_assert_eq!(points[0], entry);
            let mut nodes = vec![NONE; 60];
            for (node, point) in (0u32..).zip(&points) {
                nodes[at(*point)] = node;
            }
            let order = Order { points, nodes };
            prop_assert!((0..60).all(|point| order.points[at(order.node(point))] == point));
            let rows: Vec<u32> = (0..60).map(|row| row * 3 + 1).collect();
            let records: Vec<u8> = (0..120).collect();
            let both = order.each(&rows).zip(order.records((&records, 2)));
            for ((point, links), (row, record)) in order.points.iter().zip(order.links(&graph)).zip(both) {
                prop_assert_eq!(rows[at(*point)], *row);
                prop_assert_eq!(record, &records[2 * at(*point)..][..2]);
                let back = |link: u32| order.points.get(at(link)).copied().unwrap_or(NONE);
                prop_assert_eq!(links.map(back), graph.links[at(*point)]);
            }
        }
    }

    #[test]
    fn a_graph_of_nothing_has_no_order() {
        assert!(order(&[], 0, &mut || Ok(())).unwrap().is_empty());
    }

    #[test]
    fn an_order_stops_when_it_is_told_to() {
        let links = vec![[NONE; DEGREE]; 3 * STOP_EVERY];
        let mut left = 2;
        let stopped = order(&links, 0, &mut || {
            left -= 1;
            if left > 0 {
                Ok(())
            } else {
                Err(Error::Stopped)
            }
        });
        assert!(matches!(stopped, Err(Error::Stopped)));
    }

    #[test]
    fn nodes_of_one_neighbourhood_lie_together() {
        // Four neighbourhoods of forty, whose numbers are mixed; a link from each leads to the next.
        let lists: Vec<Vec<u32>> = (0..160u32)
            .map(|node| {
                let near = (1..9).map(|step| (node + 4 * step) % 160);
                let next = (node < 4).then_some((node + 1) % 4);
                near.chain(next).collect()
            })
            .collect();
        let order = order(&table(&lists), 0, &mut || Ok(())).unwrap();
        let apart = order.windows(2).filter(|pair| pair[0] % 4 != pair[1] % 4);
        assert!(apart.count() <= 12, "{order:?}");
    }
}
