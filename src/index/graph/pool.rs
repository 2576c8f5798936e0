//! What a walk remembers: the nearest nodes so far, and the nodes that it met.
//!
//! Both are made once and used again, so that a search allocates nothing.

use super::kernels::{Kernel, LANES};
use super::numbers::{at, entry, parts};
use super::walk::NONE;

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

    /// Takes a node, whose key is below the largest; of those that are too many the farthest goes, which may
    /// be this one. Equal keys are in the order of their nodes; which of those at the bound stay only decides
    /// among ties.
    #[inline(always)]
    pub(super) fn take<K: Kernel>(&mut self, new: i64) {
        if self.most > K::SHORT {
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
    /// number of the one after it, if there is one. None if its key is beyond the limit.
    #[inline(always)]
    pub(super) fn expand<K: Kernel>(&mut self, limit: i32) -> Option<(i32, u32, Option<u32>)> {
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
        if key > limit {
            return None;
        }
        *entry |= 1;
        self.next = place(open).wrapping_add(1);
        Some((key, node, after))
    }

    /// Keys and nodes, the nearest first.
    pub(super) fn nearest(&self) -> impl Iterator<Item = (i32, u32)> + '_ {
        let entries = self.entries.iter().take(self.length);
        entries.map(|entry| (parts(*entry).0, Self::node(*entry)))
    }

    /// The key at a place, from 0; the largest one where nothing is.
    #[inline(always)]
    pub(super) fn key_at(&self, place: usize) -> i32 {
        self.entries
            .get(place)
            .map_or(i32::MAX, |entry| parts(*entry).0)
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

    /// Adds nodes, up to the first [`NONE`], and puts those that are new into `near`, as far as it has room. Answers how
    /// many are new; `None` for a node that is none.
    #[inline(always)]
    pub(super) fn add_all(&mut self, nodes: &[u32], near: &mut [u32]) -> Option<usize> {
        // In registers, which the fields would not stay in.
        let (words, touched) = (self.words.as_mut_slice(), self.touched.as_mut_slice());
        let (mut used, mut put) = (self.used, 0usize);
        for node in nodes {
            // No word holds the bit of what leads nowhere.
            let Some(word) = words.get_mut(at(*node >> 6)) else {
                if *node == NONE {
                    break;
                }
                // What was marked is to be cleared all the same.
                self.used = used;
                return None;
            };
            let bit = 1u64 << (node & 63);
            let old = *word;
            *word = old | bit;
            // Without a branch: the places are used only if the word had no bit, and if the node is new.
            if let Some(place) = touched.get_mut(used) {
                *place = node >> 6;
            }
            used = used.wrapping_add(usize::from(old == 0));
            if let Some(place) = near.get_mut(put) {
                *place = *node;
            }
            put = put.wrapping_add(usize::from(old & bit == 0));
        }
        self.used = used;
        Some(put)
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

    use super::super::kernels::{Level, Run, run};
    use super::*;

    /// Nodes that are offered with these keys to a list of so many, some of which are expanded then.
    struct Offered<'a> {
        keys: &'a [i16],
        most: usize,
        expanded: usize,
    }

    /// What is in the list; what was expanded, and what was told to be next; the same after a nearer one came.
    type Looked = (Vec<(i32, u32)>, Vec<(u32, Option<u32>)>, Vec<u32>);

    impl Run for Offered<'_> {
        type Out = Looked;
        #[inline(always)]
        fn run<K: Kernel>(self) -> Looked {
            let mut pool = Pool::new();
            pool.clear(self.most);
            for (node, key) in (0u32..).zip(self.keys) {
                pool.offer::<K>(i32::from(*key), node);
            }
            let nearest: Vec<(i32, u32)> = pool.nearest().collect();
            // What is beyond the limit is not expanded, and stays to be.
            let limit = nearest.first().map_or(0, |(key, _)| *key - 1);
            assert_eq!(pool.expand::<K>(limit), None);
            let mut expanded = Vec::new();
            for _ in 0..self.expanded {
                expanded.extend(
                    pool.expand::<K>(i32::MAX)
                        .map(|(_, node, after)| (node, after)),
                );
            }
            // One beyond a full list changes nothing.
            if pool.length() == self.most {
                pool.take::<K>(Pool::new_entry(i32::MAX - 1, 2_000));
            }
            pool.offer::<K>(i32::MIN, 1_000);
            let next = [pool.expand::<K>(i32::MAX), pool.expand::<K>(i32::MAX)];
            let next = next.into_iter().flatten().map(|(_, node, _)| node);
            (nearest, expanded, next.collect())
        }
    }

    proptest! {
        /// Some of them several times, some after the end of the links, some that are none.
        #[test]
        fn links_are_met_together_as_they_are_one_by_one(
            lists in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![9 => 0u32..262, 1 => Just(NONE)], 0..40),
                1..6,
            ),
            room in 0usize..45,
        ) {
            let (mut together, mut alone) = (Seen::new(200), Seen::new(200));
            for links in lists {
                let mut near = vec![7; room];
                let put = together.add_all(&links, &mut near);
                let links = links.iter().copied().take_while(|node| *node != NONE);
                let met = links.map(|node| Some((node, alone.add(node)?)));
                let Some(met) = met.collect::<Option<Vec<(u32, bool)>>>() else {
                    prop_assert_eq!(put, None);
                    together.clear();
                    prop_assert!(together.words.iter().all(|word| *word == 0));
                    return Ok(());
                };
                let new = met.into_iter().filter(|(_, new)| *new);
                let new: Vec<u32> = new.map(|(node, _)| node).collect();
                prop_assert_eq!(put, Some(new.len()));
                let kept = room.min(new.len());
                prop_assert_eq!(&near[..kept], &new[..kept]);
            }
            together.clear();
            prop_assert!(together.words.iter().all(|word| *word == 0));
        }
    }

    proptest! {
        #[test]
        fn the_pool_holds_the_first_of_a_full_sort_at_every_level(
            keys in proptest::collection::vec(any::<i16>(), 0..300),
            most in prop_oneof![1usize..70, 255usize..270],
            expanded in 0usize..20,
        ) {
            let mut all: Vec<(i32, u32)> = (0u32..)
                .zip(&keys)
                .map(|(node, key)| (i32::from(*key), node))
                .collect();
            all.sort_unstable();
            all.truncate(most);
            let keys_of = |of: &[(i32, u32)]| of.iter().map(|(key, _)| *key).collect::<Vec<_>>();
            let mut first: Option<Looked> = None;
            for level in Level::available() {
                let offered = Offered { keys: &keys, most, expanded };
                let got = run(level, offered);
                prop_assert_eq!(keys_of(&got.0), keys_of(&all));
                let nodes: Vec<u32> = got.0.iter().map(|(_, node)| *node).collect();
                let told = nodes.iter().enumerate().take(expanded);
                let told: Vec<_> = told
                    .map(|(at, node)| (*node, nodes.get(at + 1).copied()))
                    .collect();
                prop_assert_eq!(&got.1, &told);
                // A nearer one that comes later is the next, and those behind it stay expanded.
                let left = nodes.iter().take(most - 1).nth(expanded);
                let next: Vec<u32> = [1_000].into_iter().chain(left.copied()).collect();
                prop_assert_eq!(&got.2, &next);
                prop_assert_eq!(first.get_or_insert_with(|| got.clone()), &got);
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
