//! The walk through a graph: from a node to the nearest of its neighbours that were not looked at
//! yet, until the list of the nearest holds none of those (the beam search of DiskANN, Subramanya
//! and others, NeurIPS 2019).
//!
//! A step has two halves, [`Walk::expand`] and [`Walk::look`]: the first finds the new neighbours
//! and asks the memory for the first codes, the second reads them and asks for the others in time. Between the halves of one walk
//! another one can work: that is how several queries are answered at once by one thread.

use super::kernels::Kernel;
use super::pool::{Pool, Seen};

/// Links of a node at most, in a finished index.
pub(super) const DEGREE: usize = 32;

/// Links of a node at most while a graph is built: lists grow to this before they are pruned back,
/// which saves most of the prunings.
pub(super) const SLACK: usize = 42;

/// Cache lines of codes that are on their way from the memory while one is compared. A core awaits only so many
/// at a time; asked for all at once, the rest would hold it up. Measured with codes of two lines 8 to 20 differ by less than
/// runs do, with codes of four 16 to 32; with those 12 is worse.
const LINES_AHEAD: usize = 20;

/// Codes of so many bytes that are asked for ahead of the one that is compared.
pub(super) fn ahead(bytes: usize) -> usize {
    (LINES_AHEAD / bytes.div_ceil(64).max(1)).max(2)
}

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
    /// How many codes are asked for ahead of the one that is compared.
    fn ahead(&self) -> usize;
    /// How far a node is: the smaller the nearer.
    fn key<K: Kernel>(&self, node: u32) -> Option<i32>;
}

/// What was read is no graph: a node that is not there, or a block that does not check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// Keys beyond which nodes do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// The walk is at its end when only such nodes are left.
    pub(super) end: i32,
    /// The list takes no such nodes.
    pub(super) kept: i32,
}

impl Limits {
    /// All nodes matter.
    pub(super) const NONE: Self = Self {
        end: i32::MAX,
        kept: i32::MAX,
    };
}

/// A walk under way; made once and used for many.
#[derive(Debug)]
pub(super) struct Walk {
    /// The nearest so far.
    pub(super) pool: Pool,
    seen: Seen,
    /// The nodes that are to be compared next; the codes of the first of them were asked for.
    near: [u32; SLACK + 1],
    /// How many they are.
    asked: usize,
    /// Nodes that were compared.
    pub(super) compared: u64,
    /// What does not matter any more.
    pub(super) limits: Limits,
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
            limits: Limits::NONE,
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
        self.limits = Limits::NONE;
        self.asked = 0;
        self.seen.add(entry).ok_or(Damaged)?;
        let key = space.key::<K>(entry).ok_or(Damaged)?;
        self.pool.offer::<K>(key, entry);
        Ok(())
    }

    /// Begins at a further node too, which has this key and is the nearest of so many that were compared.
    #[inline(always)]
    pub(super) fn also<K: Kernel>(
        &mut self,
        (key, node): (i32, u32),
        compared: usize,
    ) -> Result<(), Damaged> {
        if self.seen.add(node).ok_or(Damaged)? {
            self.pool.offer::<K>(key, node);
        }
        self.compared = self.compared.wrapping_add(super::numbers::wide(compared));
        Ok(())
    }

    /// Expands the nearest node that is left, and asks for the codes of the first of its neighbours that
    /// are new. Answers its key and its number; `None`: the walk is at its end, since there is none within
    /// its limits.
    #[inline(always)]
    pub(super) fn expand<K: Kernel, S: Space>(
        &mut self,
        space: &S,
    ) -> Result<Option<(i32, u32)>, Damaged> {
        let Some((key, node, after)) = self.pool.expand::<K>(self.limits.end) else {
            return Ok(None);
        };
        let links = space.links(node).ok_or(Damaged)?;
        let asked = self.seen.add_all(links, &mut self.near);
        self.asked = asked.ok_or(Damaged)?.min(SLACK);
        for neighbour in self
            .near
            .get(..self.asked.min(space.ahead()))
            .unwrap_or_default()
        {
            space.ask(*neighbour);
        }
        if let Some(after) = after {
            space.ask_links(after);
        }
        Ok(Some((key, node)))
    }

    /// Compares the neighbours that are new.
    #[inline(always)]
    pub(super) fn look<K: Kernel, S: Space>(&mut self, space: &S) -> Result<(), Damaged> {
        let near = self.near.get(..self.asked).unwrap_or_default();
        let mut coming = near.get(space.ahead()..).unwrap_or_default().iter();
        // All keys first, then what depends on them.
        let mut entries = [0i64; SLACK + 1];
        let (mut taken, mut nearest) = (0usize, i64::MAX);
        let bound = self.pool.bound().min(self.limits.kept);
        for node in near {
            if let Some(node) = coming.next() {
                space.ask(*node);
            }
            let key = space.key::<K>(*node).ok_or(Damaged)?;
            let new = Pool::new_entry(key, *node);
            // Without a branch: whether it is near enough is as good as random.
            if let Some(place) = entries.get_mut(taken) {
                *place = new;
            }
            taken = taken.wrapping_add(usize::from(key < bound));
            nearest = nearest.min(new);
        }
        let entries = entries.get(..taken).unwrap_or_default();
        // Likely the next to be expanded: its links come while the pool takes the others in.
        if !entries.is_empty() {
            space.ask_links(Pool::node(nearest));
        }
        for entry in entries {
            self.pool.take::<K>(*entry);
        }
        self.compared = self.compared.wrapping_add(super::numbers::wide(self.asked));
        Ok(())
    }
}
