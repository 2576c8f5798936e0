//! Where a walk begins: besides the one entry from which every node is reached, at the nearest of a few nodes
//! that are spread over all.
//!
//! From the middle of all rows a walk needs several steps to where the query is, and compares a node's
//! neighbours in each, all at random places of memory. The codes of these few nodes lie together and stay in
//! the cache, so comparing all of them costs less (64 of them, of 100,000 rows: a seventh fewer others at
//! recall 0.90, a tenth at 0.95).

use super::code::Shape;
use super::kernels::{Kernel, Level, Run, run};
use super::numbers::{at, share, wide};
use super::points::Points;
use super::rotate::next_random;
use super::view::Asked;
use super::walk::{DEGREE, NONE};

/// At most so many, one of so many nodes, and their records together of so many bytes.
const MOST: usize = 64;
const ONE_OF: usize = 64;
const BYTES_MAX: usize = 512 * 1024;

/// Nodes that a walk may begin at.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    pub(super) nodes: Vec<u32>,
    /// A copy of the record of each.
    pub(super) records: Vec<u8>,
}

/// The same, wherever they lie.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct EntriesView<'a> {
    pub(super) nodes: &'a [u32],
    pub(super) records: &'a [u8],
}

/// Nodes that the entries are chosen from, for each of them.
const OF_EACH: usize = 16;

/// The choice follows from this alone.
const SEED: u64 = 0xE27A;

/// Chooses nodes of a graph that have links, spread over all as the points are: each the more likely the
/// farther it is from those before (k-means++, Arthur and Vassilvitskii, SODA 2007), so that no cluster is
/// without one.
pub(super) fn choose(points: &Points, links: &[[u32; DEGREE]], shape: Shape) -> Vec<u32> {
    let most = (links.len() / ONE_OF)
        .min(MOST)
        .min(BYTES_MAX / shape.stride.max(1));
    let mut state = SEED;
    let among = most.saturating_mul(OF_EACH);
    let mut some = Vec::with_capacity(among);
    for _ in 0..among {
        let node = below(&mut state, wide(links.len()));
        let place = usize::try_from(node).ok().and_then(|node| links.get(node));
        if place.is_some_and(|links| links[0] != NONE) {
            some.extend(u32::try_from(node));
        }
    }
    let spread = Spread {
        points,
        some: &some,
        most,
        state: &mut state,
    };
    run(Level::best(), spread)
}

/// A random number below another.
fn below(state: &mut u64, end: u64) -> u64 {
    next_random(state) % end.max(1)
}

struct Spread<'a> {
    points: &'a Points,
    some: &'a [u32],
    most: usize,
    state: &'a mut u64,
}

impl Run for Spread<'_> {
    type Out = Vec<u32>;

    #[inline(always)]
    fn run<K: Kernel>(self) -> Vec<u32> {
        let mut chosen: Vec<u32> = Vec::with_capacity(self.most);
        // The squared distance of each to the nearest that is chosen.
        let mut far: Vec<(u32, f64)> = self.some.iter().map(|node| (*node, 1.0)).collect();
        while chosen.len() < self.most {
            let all: f64 = far.iter().map(|(_, far)| far).sum();
            let mut left = all * share(below(self.state, 1 << 32)) / share(1 << 32);
            let next = far.iter().find(|(_, far)| {
                left -= far;
                left < 0.0
            });
            // The sum may be off by its rounding.
            let next = next.or_else(|| far.iter().rfind(|(_, far)| *far > 0.0));
            // Of the others each equals one of the chosen.
            let Some((next, _)) = next.copied() else {
                break;
            };
            for (node, far) in &mut far {
                let new = f64::from(self.points.distance::<K>(*node, next));
                *far = if chosen.is_empty() { new } else { far.min(new) };
            }
            chosen.push(next);
        }
        chosen
    }
}

impl Entries {
    /// These nodes, with their records.
    pub(super) fn of(nodes: Vec<u32>, records: &[u8], shape: Shape) -> Self {
        let record = |node: &u32| {
            let start = at(*node).saturating_mul(shape.stride);
            records.get(start..start.saturating_add(shape.stride))
        };
        let records = nodes.iter().filter_map(record).flatten().copied().collect();
        Self { nodes, records }
    }

    /// To be searched.
    pub(super) fn view(&self) -> EntriesView<'_> {
        EntriesView {
            nodes: &self.nodes,
            records: &self.records,
        }
    }
}

/// The nearest of the entries: its key and its number; `None` when there are none.
#[inline(always)]
pub(super) fn nearest<K: Kernel, const BITS: u8>(asked: &Asked<'_, BITS>) -> Option<(i32, u32)> {
    let (shape, entries) = (asked.view.shape, asked.view.entries);
    let mut best: Option<(i32, u32)> = None;
    let records = entries.records.chunks_exact(shape.stride.max(1));
    for (node, record) in entries.nodes.iter().zip(records) {
        let key = asked.query.key::<K, BITS>(record, shape.code_bytes)?;
        if best.is_none_or(|(least, _)| key < least) {
            best = Some((key, *node));
        }
    }
    best
}

/// Bytes of so many entries: their numbers and their records.
pub(super) fn bytes(entries: u32, shape: Shape) -> Option<u64> {
    wide(shape.stride)
        .checked_add(4)?
        .checked_mul(u64::from(entries))
}
