//! What a walk remembers: the nearest nodes so far, and the nodes that it met.
//!
//! Both are made once and used again, so that a search allocates nothing.

use super::numbers::{at, entry, parts};

/// Entries that are compared at once.
const LANES: usize = 8;

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

    /// Takes a node if it is among the nearest.
    #[inline(always)]
    pub(super) fn offer(&mut self, key: i32, node: u32) {
        if key >= self.bound {
            return;
        }
        let new = entry(key, node.wrapping_shl(1));
        // How many are nearer, by halving: always as many steps, and none that is guessed wrong.
        let (mut rank, mut left) = (0usize, self.length);
        while left > 0 {
            let half = left.div_ceil(2);
            let middle = rank.wrapping_add(half);
            let nearer = self
                .entries
                .get(middle.wrapping_sub(1))
                .is_some_and(|old| *old < new);
            rank = if nearer { middle } else { rank };
            left = left.wrapping_sub(half);
        }
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
            // Equal keys come in by their node; those at the bound are left out, which only
            // decides among ties.
            self.bound = parts(*last).0;
        }
    }

    /// The key and the number of the nearest node that was not expanded, now marked as expanded.
    #[inline(always)]
    pub(super) fn expand(&mut self) -> Option<(i32, u32)> {
        let open = self.entries.get_mut(self.next..self.length)?;
        for entry in open {
            self.next = self.next.wrapping_add(1);
            if *entry & 1 == 0 {
                *entry |= 1;
                let (key, node) = parts(*entry);
                return Some((key, node >> 1));
            }
        }
        None
    }

    /// The node that [`Pool::expand`] would give.
    #[inline(always)]
    pub(super) fn peek(&self) -> Option<u32> {
        let open = self.entries.get(self.next..self.length)?;
        for entry in open {
            if *entry & 1 == 0 {
                return Some(parts(*entry).1 >> 1);
            }
        }
        None
    }

    /// Keys and nodes, the nearest first.
    pub(super) fn nearest(&self) -> impl Iterator<Item = (i32, u32)> + '_ {
        let entries = self.entries.iter().take(self.length);
        entries.map(|entry| (parts(*entry).0, parts(*entry).1 >> 1))
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

    use super::*;

    proptest! {
        #[test]
        fn the_pool_holds_the_first_of_a_full_sort(
            keys in proptest::collection::vec(any::<i16>(), 0..300),
            most in 1usize..70,
            expanded in 0usize..20,
        ) {
            let mut pool = Pool::new();
            pool.clear(most);
            let mut all: Vec<(i32, u32)> = Vec::new();
            for (node, key) in (0u32..).zip(&keys) {
                pool.offer(i32::from(*key), node);
                all.push((i32::from(*key), node));
            }
            all.sort_unstable();
            all.truncate(most);
            let got: Vec<i32> = pool.nearest().map(|(key, _)| key).collect();
            let expected: Vec<i32> = all.iter().map(|(key, _)| *key).collect();
            prop_assert_eq!(&got, &expected);
            let nodes: Vec<u32> = pool.nearest().map(|(_, node)| node).collect();
            for expected in nodes.iter().take(expanded) {
                prop_assert_eq!(pool.peek(), Some(*expected));
                prop_assert_eq!(pool.expand().map(|(_, node)| node), Some(*expected));
            }
            // A nearer one that comes later is the next, and those behind it stay expanded.
            if all.iter().all(|(key, _)| *key > i32::MIN) && most > expanded {
                pool.offer(i32::MIN, 1_000);
                prop_assert_eq!(pool.expand(), Some((i32::MIN, 1_000)));
                let left = nodes.iter().take(most - 1).nth(expanded);
                prop_assert_eq!(pool.expand().map(|(_, node)| node), left.copied());
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
