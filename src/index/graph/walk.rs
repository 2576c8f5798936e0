//! The walk through a graph: from a node to the nearest of its neighbours that were not looked at
//! yet, until the list of the nearest holds none of those (the beam search of DiskANN, Subramanya
//! and others, NeurIPS 2019).
//!
//! A step has two halves, [`Walk::expand`] and [`Walk::look`]: the first finds the new neighbours
//! and asks the memory for their codes, the second reads them. Between the halves of one walk
//! another one can work: that is how several queries are answered at once by one thread.

use super::kernels::Kernel;
use super::pool::{Pool, Seen};

/// Links of a node at most, in a finished index.
pub(super) const DEGREE: usize = 32;

/// Links of a node at most while a graph is built: lists grow to this before they are pruned back,
/// which saves most of the prunings.
pub(super) const SLACK: usize = 42;

/// A link that leads nowhere: the end of a list that is not full.
pub(super) const NONE: u32 = u32::MAX;

/// A graph, seen from what is searched for.
pub(super) trait Space {
    /// The neighbours of a node, at most [`SLACK`], up to the first [`NONE`].
    fn links(&self, node: u32) -> Option<&[u32]>;
    /// Asks the memory for the links of a node.
    fn ask_links(&self, node: u32);
    /// Asks the memory for the code of a node.
    fn ask(&self, node: u32);
    /// How far a node is: the smaller the nearer.
    fn key<K: Kernel>(&self, node: u32) -> Option<i32>;
}

/// What was read is no graph: a node that is not there, or a block that does not check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// A walk under way; made once and used for many.
#[derive(Debug)]
pub(super) struct Walk {
    /// The nearest so far.
    pub(super) pool: Pool,
    seen: Seen,
    /// The nodes whose codes were asked for.
    near: [u32; SLACK + 1],
    /// How many they are.
    asked: usize,
    /// Nodes that were compared.
    pub(super) compared: u64,
}

impl Walk {
    /// For a graph of this many nodes.
    pub(super) fn new(nodes: u32) -> Self {
        Self {
            pool: Pool::new(),
            seen: Seen::new(nodes),
            near: [0; SLACK + 1],
            asked: 0,
            compared: 0,
        }
    }

    /// Begins at a node, with a list of this length.
    #[inline(always)]
    pub(super) fn start<K: Kernel, S: Space>(
        &mut self,
        space: &S,
        entry: u32,
        list: usize,
    ) -> Result<(), Damaged> {
        self.pool.clear(list);
        self.seen.clear();
        self.compared = 1;
        self.asked = 0;
        self.seen.add(entry).ok_or(Damaged)?;
        let key = space.key::<K>(entry).ok_or(Damaged)?;
        self.pool.offer(key, entry);
        Ok(())
    }

    /// Expands the nearest node that is left, and asks for the codes of those of its neighbours that
    /// are new. Answers its key and its number; `None`: the walk is at its end.
    #[inline(always)]
    pub(super) fn expand<S: Space>(&mut self, space: &S) -> Result<Option<(i32, u32)>, Damaged> {
        let Some((key, node)) = self.pool.expand() else {
            return Ok(None);
        };
        let mut asked = 0usize;
        for neighbour in space.links(node).ok_or(Damaged)? {
            if *neighbour == NONE {
                break;
            }
            // Without a branch: whether it is new is as good as random.
            let new = self.seen.add(*neighbour).ok_or(Damaged)?;
            if let Some(place) = self.near.get_mut(asked) {
                *place = *neighbour;
            }
            asked = asked.wrapping_add(usize::from(new));
        }
        self.asked = asked.min(SLACK);
        for neighbour in self.near.get(..self.asked).unwrap_or_default() {
            space.ask(*neighbour);
        }
        if let Some(next) = self.pool.peek() {
            space.ask_links(next);
        }
        Ok(Some((key, node)))
    }

    /// Compares what was asked for.
    #[inline(always)]
    pub(super) fn look<K: Kernel, S: Space>(&mut self, space: &S) -> Result<(), Damaged> {
        let mut keys = [i32::MAX; SLACK + 1];
        let near = self.near.get(..self.asked).unwrap_or_default();
        // All keys first, then what branches.
        let mut places = keys.iter_mut();
        let (mut nearest, mut chosen) = (i32::MAX, None);
        for node in near {
            let key = space.key::<K>(*node).ok_or(Damaged)?;
            if let Some(place) = places.next() {
                *place = key;
            }
            if key < nearest {
                (nearest, chosen) = (key, Some(*node));
            }
        }
        // Likely the next to be expanded: its links come while the pool takes the others in.
        if let Some(node) = chosen {
            space.ask_links(node);
        }
        let mut keys = keys.iter();
        for node in near {
            if let Some(key) = keys.next() {
                self.pool.offer(*key, *node);
            }
        }
        self.compared = self.compared.wrapping_add(super::numbers::wide(self.asked));
        Ok(())
    }
}
