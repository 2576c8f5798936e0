//! Answering: a walk or a scan over codes proposes nodes, their rows decide exactly.
//!
//! The rows come from the store's own mapping through [`Rows`], so the file holds no second copy. It
//! costs a look-up for each compared row (in the store: a lock and a descent in a B-tree, some
//! hundred nanoseconds) and the row's cache lines; the first of those are asked for while some rows
//! before it are compared.
//!
//! With a filter there are two ways. A scan compares the codes of all allowed rows: exact but for the
//! code's error, and it costs in proportion to them. A filtered walk goes through nodes of any kind,
//! since the allowed ones alone are not connected, and ends when it went through as many allowed ones
//! as a plain walk would; it costs in inverse proportion. The cheaper by estimate is taken, and the
//! scan also when the walk came to its end with too few: where matches exist they are answered.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::super::simd::kernels;
use super::super::top::Top;
use super::super::{Error, Hit, Stop};
use super::code::{Coder, Query, Turned, Width};
use super::kernels::{Kernel, Level, Run, prefetch_numbers, run};
use super::numbers::{at, count, share, wide};
use super::pool::{LIST_MAX, Pool};
use super::view::{Asked, View};
use super::walk::{Damaged, Space, Walk};
use crate::rows::{Row, Rows};

/// Queries that one thread answers at a time, when several wait.
pub(super) const TOGETHER: usize = 4;

/// Steps of a walk between two looks at whether to stop.
const STOP_EVERY: u64 = 64;

/// Rows of a scan whose codes are asked for before the first is read.
const GROUP: usize = 32;

/// Memories that are kept for later searches; further ones that work at once have their own.
const KEPT: usize = 16;

/// How hard to look, and for how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Hits that are wanted.
    pub(super) k: usize,
    /// The length of the walk's list.
    pub(super) list: usize,
    /// Rows that are compared exactly.
    pub(super) exact: usize,
}

/// What a search needs besides the graph.
#[derive(Clone, Copy)]
pub(super) struct With<'a> {
    pub(super) coder: &'a Coder,
    pub(super) rows: &'a dyn Rows,
    /// The rows that the graph covers.
    pub(super) covered: &'a RoaringBitmap,
    pub(super) allowed: Option<&'a RoaringBitmap>,
    pub(super) stop: Stop<'a>,
}

/// The memory of one search.
#[derive(Debug)]
pub(super) struct Lane {
    walk: Walk,
    query: Query,
    turned: Turned,
    /// Expanded nodes that are allowed.
    matched: usize,
    state: State,
}

/// How far a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asked,
    Done,
}

impl Lane {
    /// For a graph of this many nodes.
    pub(super) fn new(nodes: u32) -> Self {
        Self {
            walk: Walk::new(nodes),
            query: Query::default(),
            turned: Turned::default(),
            matched: 0,
            state: State::Done,
        }
    }
}

/// Memories that wait for the next search.
#[derive(Debug)]
pub(super) struct Lanes {
    nodes: u32,
    waiting: Mutex<Vec<Lane>>,
}

impl Lanes {
    /// None yet.
    pub(super) fn new(nodes: u32) -> Self {
        Self {
            nodes,
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// This many.
    pub(super) fn take(&self, wanted: usize) -> Vec<Lane> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let first = waiting.len().saturating_sub(wanted);
        let mut lanes = waiting.split_off(first);
        drop(waiting);
        lanes.resize_with(wanted, || Lane::new(self.nodes));
        lanes
    }

    /// Takes them back.
    pub(super) fn give_back(&self, lanes: Vec<Lane>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(waiting.len());
        waiting.extend(lanes.into_iter().take(room));
    }
}

/// The nearest of the graph's rows to each query, which are as many as lanes, and how many rows were
/// compared.
pub(super) fn search(
    view: &View<'_>,
    with: &With<'_>,
    plan: Plan,
    queries: &[&[f32]],
    lanes: &mut [Lane],
) -> Result<Vec<(Vec<Hit>, u64)>, Error> {
    if view.rows.is_empty() {
        return Ok(queries.iter().map(|_| (Vec::new(), 0)).collect());
    }
    if plan.k > LIST_MAX / 2 {
        return queries
            .iter()
            .map(|query| everything(with, plan, query))
            .collect();
    }
    let matching = with
        .allowed
        .map_or_else(|| u64::from(view.count()), RoaringBitmap::len);
    let part = share(matching) / f64::from(view.count());
    let scans = scan_pays(view, plan, matching, part);
    let list = if scans {
        plan.list
    } else {
        widened(plan.list, part)
    };
    if !scans {
        walk(view, with, (plan, list), queries, lanes)?;
    }
    let mut answers = Vec::with_capacity(queries.len());
    for (query, lane) in queries.iter().zip(lanes) {
        let mut compared = if scans { 0 } else { lane.walk.compared };
        let mut near = if scans {
            Vec::new()
        } else {
            nearest(view, with, plan, &lane.walk.pool)?
        };
        let enough = plan
            .exact
            .min(usize::try_from(matching).unwrap_or(usize::MAX));
        if scans || (near.len() < enough && list < at(view.count())) {
            scan(view, with, plan, query, lane)?;
            compared = compared.saturating_add(matching);
            near = nearest(view, with, plan, &lane.walk.pool)?;
        }
        compared = compared.saturating_add(wide(near.len()));
        answers.push((decide(with, plan, query, &near), compared));
    }
    Ok(answers)
}

/// The nearest of all rows, exactly: for more of them than a list holds, or hardly.
fn everything(with: &With<'_>, plan: Plan, query: &[f32]) -> Result<(Vec<Hit>, u64), Error> {
    let mut top = Top::new(with.rows.distance(), plan.k);
    let which = with.allowed.unwrap_or(with.covered);
    let tops = std::slice::from_mut(&mut top);
    let scanned = super::super::scan::scan(with.rows, which, &[query], tops, with.stop)?;
    Ok((top.into_hits(), scanned))
}

/// Whether comparing the codes of all allowed rows costs less than the walk, by estimate.
fn scan_pays(view: &View<'_>, plan: Plan, matching: u64, part: f64) -> bool {
    // A walk compares about so many nodes (measured at 100,000), each at a random place of memory.
    let list = share(wide(widened(plan.list, part)));
    let walked = WALK_BASE + WALK_PER_ENTRY * list;
    share(matching) < (walked * SCAN_ADVANTAGE).min(f64::from(view.count()))
}

/// Nodes that a walk compares whatever its list, and for each entry of the list.
const WALK_BASE: f64 = 300.0;
const WALK_PER_ENTRY: f64 = 14.0;

/// How many codes a scan compares in the time that a walk takes for one.
const SCAN_ADVANTAGE: f64 = 2.5;

/// The list of a walk of whose nodes only this part is allowed, with some room for chance.
fn widened(list: usize, part: f64) -> usize {
    if part >= 1.0 {
        return list;
    }
    let wanted = share(wide(list)) * 1.25 / part.max(1e-9) + 8.0;
    count(wanted).clamp(list, LIST_MAX.max(list))
}

/// Walks for all queries, and leaves what is nearest in the lanes' pools.
fn walk(
    view: &View<'_>,
    with: &With<'_>,
    (plan, list): (Plan, usize),
    queries: &[&[f32]],
    lanes: &mut [Lane],
) -> Result<(), Error> {
    let level = Level::best();
    let walks = Walks {
        view,
        with,
        // A plain walk expands a few nodes more than its list is long.
        enough: plan.list.saturating_add(6),
        list,
        queries,
        lanes,
    };
    match view.shape.width {
        Width::Two => run(level, Coded::<2, _>(walks)),
        Width::Four => run(level, Coded::<4, _>(walks)),
        Width::Eight => run(level, Coded::<8, _>(walks)),
        Width::Full => run(level, Coded::<32, _>(walks)),
    }
}

/// Walks to be done, one in each lane.
struct Walks<'a, 'l> {
    view: &'a View<'a>,
    with: &'a With<'a>,
    /// Allowed nodes after which a walk ends.
    enough: usize,
    list: usize,
    queries: &'a [&'a [f32]],
    lanes: &'l mut [Lane],
}

/// Work on codes of a width.
struct Coded<const BITS: u8, W>(W);

impl<const BITS: u8> Run for Coded<BITS, Walks<'_, '_>> {
    type Out = Result<(), Error>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Self::Out {
        let Self(walks) = self;
        for (query, lane) in walks.queries.iter().zip(walks.lanes.iter_mut()) {
            let Lane {
                walk,
                query: coded,
                turned,
                ..
            } = lane;
            walks
                .with
                .coder
                .query(query, walks.view.shape.width, turned, coded);
            let asked = Asked::<BITS> {
                view: walks.view,
                query: coded,
            };
            walk.start::<K, _>(&asked, walks.view.entry, walks.list)
                .map_err(damaged)?;
            (lane.matched, lane.state) = (0, State::Asked);
        }
        let (mut steps, mut going) = (0u64, true);
        while going {
            if steps.is_multiple_of(STOP_EVERY) && (walks.with.stop)() {
                return Err(Error::Stopped);
            }
            steps = steps.wrapping_add(1);
            going = false;
            for lane in walks.lanes.iter_mut() {
                if lane.state == State::Asked {
                    step::<K, BITS>(walks.view, (walks.with.allowed, walks.enough), lane)
                        .map_err(damaged)?;
                    going = true;
                }
            }
        }
        Ok(())
    }
}

/// The second half of a lane's step and the first half of its next.
#[inline(always)]
fn step<K: Kernel, const BITS: u8>(
    view: &View<'_>,
    (allowed, enough): (Option<&RoaringBitmap>, usize),
    lane: &mut Lane,
) -> Result<(), Damaged> {
    let asked = Asked::<BITS> {
        view,
        query: &lane.query,
    };
    lane.walk.look::<K, _>(&asked)?;
    let Some((_, node)) = lane.walk.expand::<K, _>(&asked)? else {
        lane.state = State::Done;
        return Ok(());
    };
    if let Some(allowed) = allowed
        && allowed.contains(view.row(node).ok_or(Damaged)?)
    {
        lane.matched = lane.matched.wrapping_add(1);
        if lane.matched >= enough {
            lane.state = State::Done;
        }
    }
    Ok(())
}

/// Compares the codes of all allowed rows, and leaves the nearest in the lane's pool.
fn scan(
    view: &View<'_>,
    with: &With<'_>,
    plan: Plan,
    query: &[f32],
    lane: &mut Lane,
) -> Result<(), Error> {
    let scan = Scan {
        view,
        with,
        exact: plan.exact,
        query,
        lane,
    };
    let level = Level::best();
    match view.shape.width {
        Width::Two => run(level, Coded::<2, _>(scan)),
        Width::Four => run(level, Coded::<4, _>(scan)),
        Width::Eight => run(level, Coded::<8, _>(scan)),
        Width::Full => run(level, Coded::<32, _>(scan)),
    }
}

struct Scan<'a, 'l> {
    view: &'a View<'a>,
    with: &'a With<'a>,
    exact: usize,
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
            exact,
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
        let rows = view.all_rows().ok_or(Damaged).map_err(damaged)?;
        walk.pool.clear(exact);
        let mut allowed = with.allowed.unwrap_or(with.covered).iter();
        let mut places = Places {
            rows,
            next: 0,
            row: 0,
        };
        let (mut now, mut coming) = ([0u32; GROUP], [0u32; GROUP]);
        let mut asked_for = 0usize;
        loop {
            let mut found = 0usize;
            while found < GROUP {
                let Some(row) = allowed.next() else { break };
                // A row that has no node is nobody's to answer for here.
                if let (Some(node), Some(place)) = (places.of(row), coming.get_mut(found)) {
                    *place = node;
                    asked.ask(node);
                    found = found.wrapping_add(1);
                }
            }
            for node in now.get(..asked_for).unwrap_or_default() {
                let key = asked.key::<K>(*node).ok_or(Damaged).map_err(damaged)?;
                walk.pool.offer::<K>(key, *node);
            }
            if found == 0 {
                return Ok(());
            }
            if (with.stop)() {
                return Err(Error::Stopped);
            }
            (now, asked_for) = (coming, found);
        }
    }
}

/// Finds the nodes of ascending rows.
struct Places<'a> {
    rows: &'a [Row],
    /// The node after the last that was found, and its row's successor.
    next: usize,
    row: Row,
}

impl Places<'_> {
    /// The node of a row that is higher than those before.
    #[inline(always)]
    fn of(&mut self, row: Row) -> Option<u32> {
        // Where no row between is missing, the node is as much further as the row.
        let guess = self.next.wrapping_add(at(row.wrapping_sub(self.row)));
        let node = if self.rows.get(guess) == Some(&row) {
            guess
        } else {
            let end = guess.clamp(self.next, self.rows.len());
            let before = self.rows.get(self.next..end)?;
            self.next.wrapping_add(before.binary_search(&row).ok()?)
        };
        (self.next, self.row) = (node.wrapping_add(1), row.wrapping_add(1));
        u32::try_from(node).ok()
    }
}

/// The allowed rows of a pool, the nearest first, as many as are compared exactly.
fn nearest(view: &View<'_>, with: &With<'_>, plan: Plan, pool: &Pool) -> Result<Vec<Row>, Error> {
    let mut near = Vec::with_capacity(plan.exact.min(pool.length()));
    for (_, node) in pool.nearest() {
        let row = view.row(node).ok_or(Damaged).map_err(damaged)?;
        if with.allowed.is_none_or(|allowed| allowed.contains(row)) {
            // The sum of its block is right, so this is a fault of what wrote it.
            if !with.covered.contains(row) {
                return Err(Error::corrupt("a node whose row it does not cover"));
            }
            near.push(row);
            if near.len() == plan.exact {
                break;
            }
        }
    }
    Ok(near)
}

/// Rows that are on their way from the memory while one is compared, and how much of each is asked for: the
/// processor itself fetches on what is read in order (measured).
const ROWS_AHEAD: usize = 12;
const ROW_HEAD: usize = 96;

/// The exactly nearest of these rows.
fn decide(with: &With<'_>, plan: Plan, query: &[f32], near: &[Row]) -> Vec<Hit> {
    let (distance, kernels) = (with.rows.distance(), kernels());
    let mut coming = near
        .iter()
        .filter_map(|row| Some((*row, with.rows.vector(*row)?)))
        .inspect(|(_, vector)| prefetch_numbers(vector.get(..ROW_HEAD).unwrap_or(vector)));
    let mut asked = VecDeque::with_capacity(ROWS_AHEAD.saturating_add(1));
    asked.extend(coming.by_ref().take(ROWS_AHEAD));
    let mut top = Top::new(distance, plan.k);
    while let Some((row, vector)) = asked.pop_front() {
        asked.extend(coming.next());
        let score = kernels.score(distance, query, vector);
        top.offer(Hit { row, score });
    }
    top.into_hits()
}

fn damaged(_damaged: Damaged) -> Error {
    Error::corrupt("a block of its graph, or a link of it")
}
