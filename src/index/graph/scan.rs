//! A scan: the codes of all allowed rows, in their order.

use super::super::Error;
use super::effort::Plan;
use super::kernels::{Kernel, Level, Run};
use super::numbers::at;
use super::search::{Coded, Lane, With, damaged, run_coded};
use super::view::{Asked, View};
use super::walk::{Damaged, Space};
use crate::rows::Row;

/// Rows whose nodes are found before their codes are compared.
const GROUP: usize = 256;

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
    let level = Level::best();
    run_coded(level, view.shape.width, scan)
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
        let mut allowed = with.allowed.unwrap_or(with.covered).iter();
        let mut places = Places {
            rows,
            nodes,
            next: 0,
            row: 0,
        };
        let (mut nodes, ahead) = (Vec::with_capacity(GROUP), asked.ahead());
        loop {
            nodes.clear();
            // A row that has no node is nobody's to answer for here.
            nodes.extend(
                allowed
                    .by_ref()
                    .take(GROUP)
                    .filter_map(|row| places.of(row)),
            );
            for node in nodes.iter().take(ahead) {
                asked.ask(*node);
            }
            let mut coming = nodes.get(ahead..).unwrap_or_default().iter();
            for node in &nodes {
                if let Some(node) = coming.next() {
                    asked.ask(*node);
                }
                let key = asked.key::<K>(*node).ok_or(Damaged).map_err(damaged)?;
                walk.pool.offer::<K>(key, *node);
            }
            if nodes.len() < GROUP && allowed.len() == 0 {
                return Ok(());
            }
            if (with.stop)() {
                return Err(Error::Stopped);
            }
        }
    }
}

/// Finds the nodes of ascending rows.
struct Places<'a> {
    rows: &'a [Row],
    /// The node of each; absent: they lie as their rows do.
    nodes: Option<&'a [u32]>,
    /// The place after the last that was found, and its row's successor.
    next: usize,
    row: Row,
}

impl Places<'_> {
    /// The node of a row that is higher than those before.
    #[inline(always)]
    fn of(&mut self, row: Row) -> Option<u32> {
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
        match self.nodes {
            Some(nodes) => nodes.get(place).copied(),
            None => u32::try_from(place).ok(),
        }
    }
}
