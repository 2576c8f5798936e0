//! In which order nodes lie in the file: near ones next to each other.
//!
//! A walk goes from a node to its neighbours, so what it reads of them should lie on the same pages: most of
//! what a read from a random place costs is the way there. So nodes are laid down one after the other, next
//! always the one that most of the last [`WINDOW`] link to (after Gorder, Wei and others, SIGMOD 2016, by links
//! alone; that graphs of neighbours profit from it is by Coleman and others, 2021). Scans go by rows, so the file
//! says for each row, ascending, where its node is.

use std::collections::VecDeque;

use super::numbers::at;
use super::repair::Finished;
use super::walk::{DEGREE, NONE};
use crate::rows::Row;

/// Nodes that lie before one and are near it: about as many records as a page holds.
const WINDOW: usize = 32;

/// A graph whose nodes lie in the order in which they are written.
#[derive(Debug)]
pub(super) struct Ordered {
    /// The row of each node.
    pub(super) rows: Vec<Row>,
    /// The node of each row, by ascending rows.
    pub(super) nodes: Vec<u32>,
    /// The links of each node.
    pub(super) links: Vec<[u32; DEGREE]>,
    /// The record of each node.
    pub(super) records: Vec<u8>,
    /// Where walks begin.
    pub(super) entry: u32,
    /// Where else they may begin.
    pub(super) entries: Vec<u32>,
}

impl Ordered {
    /// Orders a graph whose nodes lie as their rows do, ascending.
    pub(super) fn new(
        (graph, entries): (&Finished, &[u32]),
        sorted: &[Row],
        (records, stride): (&[u8], usize),
    ) -> Self {
        let order = order(&graph.links, graph.entry);
        let mut nodes = vec![NONE; order.len()];
        for (node, before) in (0u32..).zip(&order) {
            if let Some(place) = nodes.get_mut(at(*before)) {
                *place = node;
            }
        }
        let moved = |link: &u32| nodes.get(at(*link)).copied().unwrap_or(NONE);
        let links = order.iter().map(|before| {
            let links = graph.links.get(at(*before)).copied();
            links.unwrap_or([NONE; DEGREE]).each_ref().map(moved)
        });
        let links = links.collect();
        let mut moved_records = Vec::with_capacity(records.len());
        for before in &order {
            let start = at(*before).saturating_mul(stride);
            let record = records.get(start..start.saturating_add(stride));
            moved_records.extend_from_slice(record.unwrap_or_default());
        }
        let row = |before: &u32| sorted.get(at(*before)).copied();
        Self {
            rows: order.iter().filter_map(row).collect(),
            // The first, also where there is none.
            entry: 0,
            entries: entries.iter().map(moved).collect(),
            links,
            records: moved_records,
            nodes,
        }
    }
}

/// All nodes in their order, the entry first; each is reached from there.
fn order(links: &[[u32; DEGREE]], entry: u32) -> Vec<u32> {
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
    order
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
            let sorted: Vec<Row> = (0..60).map(|row| row * 3 + 1).collect();
            let records: Vec<u8> = (0..120).collect();
            let ordered = Ordered::new((&graph, &[entry, 7]), &sorted, (&records, 2));
            prop_assert_eq!(ordered.entry, 0);
            prop_assert_eq!(ordered.entries[0], 0);
            let before = |node: u32| (ordered.rows[at(node)] - 1) / 3;
            prop_assert_eq!(before(ordered.entries[1]), 7);
            let mut rows = ordered.rows.clone();
            rows.sort_unstable();
            prop_assert_eq!(&rows, &sorted);
            for (node, row) in (0u32..).zip(&ordered.rows) {
                let old = at(before(node));
                prop_assert_eq!(ordered.nodes[old], node);
                prop_assert_eq!(sorted[old], *row);
                prop_assert_eq!(&ordered.records[2 * at(node)..][..2], &records[2 * old..][..2]);
                let links = ordered.links[at(node)].map(|link| if link == NONE { NONE } else { before(link) });
                prop_assert_eq!(links, graph.links[old]);
            }
        }
    }

    #[test]
    fn a_graph_of_nothing_has_no_order() {
        assert!(order(&[], 0).is_empty());
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
        let order = order(&table(&lists), 0);
        let apart = order.windows(2).filter(|pair| pair[0] % 4 != pair[1] % 4);
        assert!(apart.count() <= 12, "{order:?}");
    }
}
