//! A scan: the codes of all allowed rows, in their order.

use super::super::Error;
use super::effort::Plan;
use super::kernels::{Kernel, Run};
use super::numbers::at;
use super::pool::Pool;
use super::search::{Coded, Lane, With, damaged, run_coded};
use super::view::{Asked, View};
use super::walk::{Damaged, Space};
use crate::rows::Row;

/// Rows between two looks at whether to stop.
const STOP_EVERY: u64 = 256;

/// Nodes that are on their way from the memory, at most.
const RING: usize = 32;

/// Compares the codes of all allowed rows, and leaves the nearest in the lane's pool.
pub(super) fn scan(
    view: &View<'_>,
    with: &With<'_>,
    plan: Plan,
    query: &[f32],
    lane: &mut Lane,
) -> Result<(), Error> {
    let scan = Scan {
        view,
        with,
        rows: plan.rows,
        query,
        lane,
    };
    run_coded(view.shape.width, scan)
}

struct Scan<'a, 'l> {
    view: &'a View<'a>,
    with: &'a With<'a>,
    rows: usize,
    query: &'a [f32],
    lane: &'l mut Lane,
}

impl<const BITS: u8> Run for Coded<BITS, Scan<'_, '_>> {
    type Out = Result<(), Error>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Self::Out {
        let Self(Scan {
            view,
            with,
            rows: wanted,
            query,
            lane,
        }) = self;
        let Lane {
            walk,
            query: coded,
            turned,
            ..
        } = lane;
        with.coder.query(query, view.shape.width, turned, coded);
        let asked = Asked::<BITS> { view, query: coded };
        let (rows, nodes) = view.sorted().ok_or(Damaged).map_err(damaged)?;
        walk.pool.clear(wanted);
        let (mut places, mut ring) = (Places::new(rows, nodes), Ring::new(asked.ahead()));
        let (allowed, mut looked) = (with.allowed.unwrap_or(with.covered), 0u64);
        for row in allowed {
            // A row that has no node is nobody's to answer for here.
            if let Some(node) = places.of(row) {
                asked.ask(node);
                if let Some(before) = ring.pass(node) {
                    compare::<K, BITS>(&asked, &mut walk.pool, before)?;
                }
            }
            looked = looked.wrapping_add(1);
            if looked.is_multiple_of(STOP_EVERY) && (with.stop)() {
                return Err(Error::Stopped);
            }
        }
        for node in ring.rest() {
            compare::<K, BITS>(&asked, &mut walk.pool, node)?;
        }
        Ok(())
    }
}

#[inline(always)]
fn compare<K: Kernel, const BITS: u8>(
    asked: &Asked<'_, BITS>,
    pool: &mut Pool,
    node: u32,
) -> Result<(), Error> {
    let key = asked.key::<K>(node).ok_or(Damaged).map_err(damaged)?;
    pool.offer::<K>(key, node);
    Ok(())
}

/// The last few nodes, whose codes are on their way; each comes out when so many others went in.
struct Ring {
    nodes: [u32; RING],
    put: usize,
    ahead: usize,
}

impl Ring {
    fn new(ahead: usize) -> Self {
        Self {
            nodes: [0; RING],
            put: 0,
            ahead: ahead.clamp(1, RING),
        }
    }

    /// Takes a node, and gives the one that was put so many before, if there was one.
    #[inline(always)]
    fn pass(&mut self, node: u32) -> Option<u32> {
        let before = self.put.checked_sub(self.ahead);
        let before = before.and_then(|before| self.nodes.get(before % RING).copied());
        if let Some(place) = self.nodes.get_mut(self.put % RING) {
            *place = node;
        }
        self.put = self.put.wrapping_add(1);
        before
    }

    /// Those that did not come out yet, in their order.
    fn rest(&self) -> impl Iterator<Item = u32> {
        let (nodes, first) = (self.nodes, self.put.saturating_sub(self.ahead));
        (first..self.put).filter_map(move |at| nodes.get(at % RING).copied())
    }
}

/// Finds the nodes of ascending rows.
struct Places<'a> {
    rows: &'a [Row],
    /// The node of each; absent: they lie as their rows do.
    nodes: Option<&'a [u32]>,
    /// The first row, where none is missing between it and the last: places follow from rows then.
    whole: Option<Row>,
    /// The place after the last that was found, and its row's successor.
    next: usize,
    row: Row,
}

impl<'a> Places<'a> {
    /// Of rows that ascend.
    fn new(rows: &'a [Row], nodes: Option<&'a [u32]>) -> Self {
        let ends = rows.first().zip(rows.last());
        let whole = ends.filter(|(first, last)| {
            let apart = last.checked_sub(**first);
            apart.is_some_and(|apart| at(apart).wrapping_add(1) == rows.len())
        });
        Self {
            rows,
            nodes,
            whole: whole.map(|(first, _)| *first),
            next: 0,
            row: 0,
        }
    }

    /// The node of a row that is higher than those before.
    #[inline(always)]
    fn of(&mut self, row: Row) -> Option<u32> {
        let place = match self.whole {
            Some(first) => at(row.checked_sub(first)?),
            None => self.place_of(row)?,
        };
        match self.nodes {
            Some(nodes) => nodes.get(place).copied(),
            None => u32::try_from(place)
                .ok()
                .filter(|_| place < self.rows.len()),
        }
    }

    #[inline(always)]
    fn place_of(&mut self, row: Row) -> Option<usize> {
        // Where no row between is missing, the place is as much further as the row.
        let guess = self.next.wrapping_add(at(row.wrapping_sub(self.row)));
        let place = if self.rows.get(guess) == Some(&row) {
            guess
        } else {
            let end = guess.clamp(self.next, self.rows.len());
            let before = self.rows.get(self.next..end)?;
            self.next.wrapping_add(before.binary_search(&row).ok()?)
        };
        (self.next, self.row) = (place.wrapping_add(1), row.wrapping_add(1));
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_comes_out_once_and_in_order() {
        for (count, ahead) in [
            (0u32, 5),
            (3, 5),
            (5, 5),
            (9, 0),
            (100, 2),
            (100, RING),
            (100, 99),
        ] {
            let mut ring = Ring::new(ahead);
            let mut out: Vec<u32> = (0..count).filter_map(|node| ring.pass(node)).collect();
            assert_eq!(
                out.len(),
                (count as usize).saturating_sub(ahead.clamp(1, RING))
            );
            out.extend(ring.rest());
            assert_eq!(out, (0..count).collect::<Vec<_>>(), "{count} {ahead}");
        }
    }

    #[test]
    fn each_row_has_its_node_with_and_without_holes_and_others_have_none() {
        for rows in [vec![], vec![5], vec![3, 4, 5, 6], vec![3, 5, 6, 90]] {
            let nodes: Vec<u32> = (0..).zip(&rows).map(|(place, _)| 100 - place).collect();
            for nodes in [None, Some(nodes.as_slice())] {
                let mut places = Places::new(&rows, nodes);
                for row in 0..100 {
                    let place = rows.iter().position(|of| *of == row);
                    let node = place.map(|place| nodes.map_or(place as u32, |nodes| nodes[place]));
                    assert_eq!(places.of(row), node, "{rows:?} {row}");
                }
            }
        }
    }
}
