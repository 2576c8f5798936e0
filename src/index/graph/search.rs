//! Answering: a walk or a scan over codes proposes nodes, their rows decide exactly.
//!
//! The rows come from the store's own mapping through [`Rows`], so the file holds no second copy. It
//! costs a look-up for each compared row (in the store: where its block lies, which is remembered for the readers of
//! a commit; a lock and a descent in a B-tree the first time) and the row's cache lines; the first of those are asked
//! for while some rows before it are compared.
//!
//! With a filter there are two ways. A scan compares the codes of all allowed rows: exact but for the
//! code's error, and it costs in proportion to them. A filtered walk goes through nodes of any kind,
//! since the allowed ones alone are not connected, and ends when it went through as many allowed ones
//! as a plain walk would; it costs in inverse proportion. The cheaper by estimate is taken, and the
//! scan also when the walk came to its end with too few: where matches exist they are answered.

use std::sync::{Mutex, PoisonError};

use roaring::RoaringBitmap;

use super::super::top::Top;
use super::super::{Error, Hit, Stop};
use super::code::{Coder, Turned, Width};
use super::effort::{Ends, Plan};
use super::entries;
use super::kernels::{Kernel, Level, Run, run};
use super::numbers::{at, count, share, wide};
use super::pool::{LIST_MAX, Pool};
use super::query::Query;
use super::rank::{decide, nearest};
use super::scan::scan;
use super::view::{Asked, View};
use super::walk::{Damaged, Limits, Walk};
use crate::rows::Rows;

/// Queries that one thread answers at a time, when several wait.
pub(super) const TOGETHER: usize = 4;

/// Steps of a walk between two looks at whether to stop.
const STOP_EVERY: u64 = 64;

/// Memories that are kept for later searches; further ones that work at once have their own.
const KEPT: usize = 16;

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
    pub(super) walk: Walk,
    pub(super) query: Query,
    pub(super) turned: Turned,
    matched: Matched,
    /// Rows that were compared.
    read: u64,
    state: State,
}

/// Expanded nodes that are allowed.
#[derive(Debug, Default)]
struct Matched {
    count: usize,
    /// The keys of the nearest of them, ascending.
    keys: Vec<i32>,
}

impl Matched {
    fn clear(&mut self) {
        self.count = 0;
        self.keys.clear();
    }

    /// Adds one, of which so many keys are kept.
    fn add(&mut self, key: i32, most: usize) {
        self.count = self.count.wrapping_add(1);
        let place = self.keys.partition_point(|nearer| *nearer < key);
        if place < most {
            self.keys.truncate(most.saturating_sub(1));
            self.keys.insert(place, key);
        }
    }

    /// The key at a place, from 0; the largest one where nothing is.
    fn key_at(&self, place: usize) -> i32 {
        self.keys.get(place).copied().unwrap_or(i32::MAX)
    }
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
            matched: Matched::default(),
            read: 0,
            state: State::Done,
        }
    }

    /// The last query.
    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// What its walk or scan found.
    pub(super) fn pool(&self) -> &Pool {
        &self.walk.pool
    }

    /// Rows that were compared for it.
    pub(super) fn read(&self) -> u64 {
        self.read
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
        plan.longest
    } else {
        widened(plan.longest, part)
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
        // One whose list came to its end may have found what is allowed at the edge of it only.
        let enough = if lane.walk.limits == Limits::NONE {
            plan.exact
        } else {
            plan.least
        };
        let enough = enough.min(usize::try_from(matching).unwrap_or(usize::MAX));
        if scans || (near.len() < enough && list < at(view.count())) {
            scan(view, with, plan, query, lane)?;
            compared = compared.saturating_add(matching);
            near = nearest(view, with, plan, &lane.walk.pool)?;
        }
        let (hits, rows) = decide(with, plan, (query, &lane.query), &near);
        lane.read = rows;
        answers.push((hits, compared.saturating_add(rows)));
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
    let walked = WALK_BASE + WALK_PER_ENTRY * share(wide(plan.list)) / part.max(1e-9);
    share(matching) < (walked * SCAN_ADVANTAGE).min(f64::from(view.count()))
}

/// Codes that a walk compares with a filter whatever its list, and for each entry of the list over the part
/// of the nodes that is allowed (measured at 100,000 with a tenth and a fifth).
const WALK_BASE: f64 = 750.0;
const WALK_PER_ENTRY: f64 = 8.0;

/// How many codes a scan compares in the time that a walk takes for one. Both lie at random places of memory, and a
/// scan knows all of its own before (measured: 24 ns for one of a scan at 1 and 5 %, 59 for one of a walk at 10 %).
const SCAN_ADVANTAGE: f64 = 3.0;

/// The list of a walk of whose nodes only this part is allowed, with some room for chance.
fn widened(list: usize, part: f64) -> usize {
    if part >= 1.0 {
        return list;
    }
    let wanted = share(wide(list)) * 1.25 / part.max(1e-9) + 8.0;
    count(wanted).clamp(list, LIST_MAX.max(list))
}

/// Walks for all queries, and leaves what is nearest in the lanes' pools.
pub(super) fn walk(
    view: &View<'_>,
    with: &With<'_>,
    (plan, list): (Plan, usize),
    queries: &[&[f32]],
    lanes: &mut [Lane],
) -> Result<(), Error> {
    let walks = Walks {
        view,
        with,
        // A plain walk expands a few nodes more than its list is long.
        enough: plan.longest.saturating_add(6),
        list,
        ends: plan.ends,
        queries,
        lanes,
    };
    run_coded(view.shape.width, walks)
}

/// Does work on codes of this width, at the best level that the machine has.
pub(super) fn run_coded<W, Out>(width: Width, work: W) -> Out
where
    Coded<2, W>: Run<Out = Out>,
    Coded<4, W>: Run<Out = Out>,
    Coded<8, W>: Run<Out = Out>,
    Coded<32, W>: Run<Out = Out>,
{
    let level = Level::best();
    match width {
        Width::Two => run(level, Coded::<2, _>(work)),
        Width::Four => run(level, Coded::<4, _>(work)),
        Width::Eight => run(level, Coded::<8, _>(work)),
        Width::Full => run(level, Coded::<32, _>(work)),
    }
}

/// Walks to be done, one in each lane.
struct Walks<'a, 'l> {
    view: &'a View<'a>,
    with: &'a With<'a>,
    /// Allowed nodes after which a walk ends.
    enough: usize,
    list: usize,
    ends: Option<Ends>,
    queries: &'a [&'a [f32]],
    lanes: &'l mut [Lane],
}

/// Where walks are, and when they end.
struct Until<'a> {
    view: &'a View<'a>,
    allowed: Option<&'a RoaringBitmap>,
    enough: usize,
    ends: Option<Ends>,
}

/// Work on codes of a width.
pub(super) struct Coded<const BITS: u8, W>(pub(super) W);

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
            if let Some(near) = entries::nearest::<K, BITS>(&asked) {
                let compared = walks.view.entries.nodes.len();
                walk.also::<K>(near, compared).map_err(damaged)?;
            }
            lane.matched.clear();
            lane.state = State::Asked;
        }
        let until = Until {
            view: walks.view,
            allowed: walks.with.allowed,
            enough: walks.enough,
            ends: walks.ends,
        };
        let (mut steps, mut going) = (0u64, true);
        while going {
            if steps.is_multiple_of(STOP_EVERY) && (walks.with.stop)() {
                return Err(Error::Stopped);
            }
            steps = steps.wrapping_add(1);
            going = false;
            for lane in walks.lanes.iter_mut() {
                if lane.state == State::Asked {
                    step::<K, BITS>(&until, lane).map_err(damaged)?;
                    going = true;
                }
            }
        }
        Ok(())
    }
}

/// The second half of a lane's step and the first half of its next.
#[inline(always)]
fn step<K: Kernel, const BITS: u8>(until: &Until<'_>, lane: &mut Lane) -> Result<(), Damaged> {
    let asked = Asked::<BITS> {
        view: until.view,
        query: &lane.query,
    };
    lane.walk.look::<K, _>(&asked)?;
    if let Some(ends) = until.ends {
        let key = if until.allowed.is_none() {
            lane.walk.pool.key_at(ends.place)
        } else {
            lane.matched.key_at(ends.place)
        };
        lane.walk.limits = lane.query.limits(ends, key);
    }
    let Some((key, node)) = lane.walk.expand::<K, _>(&asked)? else {
        lane.state = State::Done;
        return Ok(());
    };
    if let Some(allowed) = until.allowed
        && allowed.contains(until.view.row(node).ok_or(Damaged)?)
    {
        let place = until.ends.map_or(0, |ends| ends.place);
        lane.matched.add(key, place.saturating_add(1));
        if lane.matched.count >= until.enough {
            lane.state = State::Done;
        }
    }
    Ok(())
}

pub(super) fn damaged(_damaged: Damaged) -> Error {
    unsound()
}

/// What the file says cannot be.
pub(super) fn unsound() -> Error {
    Error::corrupt("a block of its graph, or a link of it")
}
