//! What a walk remembers: the nearest nodes so far, and the nodes that it met.
//!
//! Both are made once and used again, so that a search allocates nothing.

use super::kernels::{Kernel, LANES};
use super::numbers::{at, entry, parts};

/// Lists up to this length are gone through whole for each node that comes in: in vectors and without a
/// branch that is guessed wrong. In longer ones its place is searched for.
const SHORT: usize = 256;

/// The longest list of a walk.
pub(super) const LIST_MAX: usize = 4_096;

/// The nearest nodes so far, sorted. An entry is a key, a node and whether the node was expanded.
#[derive(Debug)]
pub(super) struct Pool {
    /// Behind the last one, as many of [`NOTHING`] as fill up the lanes.
    entries: Vec<i64>,
    length: usize,
    most: usize,
    /// Keys from here on do not come in.
    bound: i32,
    /// The first entry that may not be expanded yet.
    next: usize,
}

/// Farther than every node.
const NOTHING: i64 = i64::MAX;

impl Pool {
    /// An empty pool.
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            length: 0,
            most: 1,
            bound: i32::MAX,
            next: 0,
        }
    }

    /// Empties it, to keep this many nodes, at least one and at most [`LIST_MAX`].
    pub(super) fn clear(&mut self, most: usize) {
        let most = most.clamp(1, LIST_MAX);
        self.entries.clear();
        self.entries
            .resize(most.next_multiple_of(LANES) + LANES, NOTHING);
        (self.length, self.most, self.bound, self.next) = (0, most, i32::MAX, 0);
    }

    /// Keys from here on do not come in.
    #[inline(always)]
    pub(super) fn bound(&self) -> i32 {
        self.bound
    }

    /// Takes a node if it is among the nearest.
    #[inline(always)]
    pub(super) fn offer<K: Kernel>(&mut self, key: i32, node: u32) {
        if key < self.bound {
            self.take::<K>(Self::new_entry(key, node));
        }
    }

    /// What [`Pool::take`] takes: a node that is not expanded.
    #[inline(always)]
    pub(super) fn new_entry(key: i32, node: u32) -> i64 {
        entry(key, node.wrapping_shl(1))
    }

    /// The node of an entry.
    #[inline(always)]
    pub(super) fn node(entry: i64) -> u32 {
        parts(entry).1 >> 1
    }

    /// Takes a node; of those that are too many the farthest goes. Equal keys come in by their node.
    #[inline(always)]
    pub(super) fn take<K: Kernel>(&mut self, new: i64) {
        if self.most > SHORT {
            self.take_far(new);
            return;
        }
        let used = (self.length / LANES).wrapping_add(1);
        let (groups, _) = self.entries.as_chunks_mut::<LANES>();
        let rank = K::insert(groups.get_mut(..used).unwrap_or_default(), new);
        if let Some(beyond) = self.entries.get_mut(self.most) {
            *beyond = NOTHING;
        }
        self.next = self.next.min(rank);
        self.length = self.length.wrapping_add(1).min(self.most);
        if let Some(last) = self.entries.get(self.most.wrapping_sub(1)) {
            // Of a list that is not full that is nothing, which everything is nearer than.
            self.bound = parts(*last).0;
        }
    }

    fn take_far(&mut self, new: i64) {
        let old = self.entries.get(..self.length).unwrap_or_default();
        let rank = old.partition_point(|old| *old < new);
        let kept = self.length.min(self.most.wrapping_sub(1));
        let Some(moved) = self.entries.get_mut(rank..=kept) else {
            return;
        };
        if let Some(last) = moved.len().checked_sub(1) {
            moved.copy_within(..last, 1);
        }
        if let Some(place) = moved.first_mut() {
            *place = new;
        }
        self.next = self.next.min(rank);
        self.length = kept.wrapping_add(1);
        if self.length == self.most
            && let Some(last) = self.entries.get(kept)
        {
            self.bound = parts(*last).0;
        }
    }

    /// The key and the number of the nearest node that was not expanded, now marked as expanded, and the
    /// number of the one after it, if there is one.
    #[inline(always)]
    pub(super) fn expand<K: Kernel>(&mut self) -> Option<(i32, u32, Option<u32>)> {
        // All before `next` are expanded, so its whole group is looked at. What fills the list up is odd.
        let from = self.next / LANES;
        let end = (self.length / LANES).wrapping_add(1);
        let (groups, _) = self.entries.as_chunks::<LANES>();
        let (open, after) = K::even(groups.get(from..end).unwrap_or_default());
        let place = |of: usize| from.wrapping_mul(LANES).wrapping_add(of);
        let entries = self.entries.get_mut(..self.length)?;
        let after = entries.get(place(after)).copied().map(Self::node);
        let entry = entries.get_mut(place(open))?;
        let (key, node) = (parts(*entry).0, Self::node(*entry));
        *entry |= 1;
        self.next = place(open).wrapping_add(1);
        Some((key, node, after))
    }

    /// Keys and nodes, the nearest first.
    pub(super) fn nearest(&self) -> impl Iterator<Item = (i32, u32)> + '_ {
        let entries = self.entries.iter().take(self.length);
        entries.map(|entry| (parts(*entry).0, Self::node(*entry)))
    }

    /// How many nodes it holds.
    pub(super) fn length(&self) -> usize {
        self.length
    }
}

/// The nodes that a walk met: one bit each, and a list of the words that have one, so that clearing
/// costs as much as the walk did and not as the index is large.
#[derive(Debug)]
pub(super) struct Seen {
    words: Vec<u64>,
    /// The words that have a bit; as long as there are words and one more, of which so many are used.
    touched: Vec<u32>,
    used: usize,
}

impl Seen {
    /// No node of this many met.
    pub(super) fn new(nodes: u32) -> Self {
        Self {
            words: vec![0; at(nodes.div_ceil(64))],
            touched: vec![0; at(nodes.div_ceil(64)).saturating_add(1)],
            used: 0,
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        for word in self.touched.get(..self.used).unwrap_or_default() {
            if let Some(word) = self.words.get_mut(at(*word)) {
                *word = 0;
            }
        }
        self.used = 0;
    }

    /// Adds a node. Answers whether it is new; `None` for a node that is none.
    #[inline(always)]
    pub(super) fn add(&mut self, node: u32) -> Option<bool> {
        let word = self.words.get_mut(at(node >> 6))?;
        let bit = 1u64 << (node & 63);
        let old = *word;
        *word = old | bit;
        // Without a branch: the place is used only if the word had no bit.
        if let Some(place) = self.touched.get_mut(self.used) {
            *place = node >> 6;
        }
        self.used = self.used.wrapping_add(usize::from(old == 0));
        Some(old & bit == 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::kernels::Scalar;
    use super::*;

    proptest! {
        #[test]
        fn the_pool_holds_the_first_of_a_full_sort(
            keys in proptest::collection::vec(any::<i16>(), 0..300),
            most in prop_oneof![1usize..70, SHORT - 1..SHORT + 20],
            expanded in 0usize..20,
        ) {
            let mut pool = Pool::new();
            pool.clear(most);
            let mut all: Vec<(i32, u32)> = Vec::new();
            for (node, key) in (0u32..).zip(&keys) {
                pool.offer::<Scalar>(i32::from(*key), node);
                all.push((i32::from(*key), node));
            }
            all.sort_unstable();
            all.truncate(most);
            let got: Vec<i32> = pool.nearest().map(|(key, _)| key).collect();
            let expected: Vec<i32> = all.iter().map(|(key, _)| *key).collect();
            prop_assert_eq!(&got, &expected);
            let nodes: Vec<u32> = pool.nearest().map(|(_, node)| node).collect();
            let mut told = Vec::new();
            for expected in nodes.iter().take(expanded) {
                let (_, node, after) = pool.expand::<Scalar>().unwrap();
                prop_assert_eq!(node, *expected);
                told.push(after);
            }
            let after = (1..).map(|next| nodes.get(next).copied());
            prop_assert_eq!(&told, &after.take(told.len()).collect::<Vec<_>>());
            // A nearer one that comes later is the next, and those behind it stay expanded.
            if all.iter().all(|(key, _)| *key > i32::MIN) && most > expanded {
                pool.offer::<Scalar>(i32::MIN, 1_000);
                let left = nodes.iter().take(most - 1).nth(expanded).copied();
                prop_assert_eq!(pool.expand::<Scalar>(), Some((i32::MIN, 1_000, left)));
                prop_assert_eq!(pool.expand::<Scalar>().map(|(_, node, _)| node), left);
            }
        }
    }

    #[test]
    fn a_node_is_met_once_until_all_are_forgotten() {
        let mut seen = Seen::new(130);
        for _ in 0..2 {
            assert_eq!(
                [seen.add(129), seen.add(0), seen.add(129)],
                [Some(true), Some(true), Some(false)]
            );
            seen.clear();
        }
        assert_eq!(seen.add(192), None);
    }
}
