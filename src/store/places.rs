//! Where the blocks of one commit lie in the map, as far as they were looked up.
//!
//! A search reads rows at random places, and to find a block by LMDB's tree takes longer than to compare a row that is
//! in it (`docs/performance.md`). No page that a commit shows changes while a reader of it is open, so a
//! place that one reader found holds for the others of the same commit.
//!
//! What is kept are eight bytes for each block that was read, and for others near it, as long as readers of the
//! commit are there or it is one of the last two.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Blocks whose places are kept together. Few: the first search after a commit reads its rows in as many portions.
const PORTION: usize = 64;

/// The places, a null pointer where a block was not looked up yet.
type Portion = Box<[AtomicPtr<f32>]>;

/// The first components of blocks. What a pointer leads to is for the readers of the commit only, and until
/// the map is resized.
#[derive(Debug, Default)]
pub(super) struct Places {
    blocks: usize,
    /// Made by the first reader: of commits that follow each other fast most have none.
    portions: OnceLock<Box<[OnceLock<Portion>]>>,
}

impl Places {
    /// Of so many blocks, none looked up.
    pub(super) fn new(blocks: usize) -> Self {
        Self {
            blocks,
            portions: OnceLock::new(),
        }
    }

    /// Where a block begins; `None`: not known.
    pub(super) fn get(&self, block: usize) -> Option<*const f32> {
        let portion = self.portions.get()?.get(block / PORTION)?.get()?;
        let place = portion.get(block % PORTION)?.load(Ordering::Acquire);
        (!place.is_null()).then_some(place.cast_const())
    }

    /// Keeps where a block begins, of those that there are.
    pub(super) fn put(&self, block: usize, place: *const f32) {
        let portions = self.portions.get_or_init(|| {
            let portions = std::iter::repeat_with(OnceLock::new);
            portions.take(self.blocks.div_ceil(PORTION)).collect()
        });
        let Some(portion) = portions.get(block / PORTION) else {
            return;
        };
        let none = || {
            let places = std::iter::repeat_with(AtomicPtr::default);
            places.take(PORTION).collect()
        };
        if let Some(kept) = portion.get_or_init(none).get(block % PORTION) {
            kept.store(place.cast_mut(), Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_known_once_it_was_found_and_none_beyond_the_last_block() {
        let numbers = [0f32; 3];
        let places = Places::new(PORTION + 1);
        for block in [0, PORTION - 1, PORTION] {
            assert_eq!(places.get(block), None);
            places.put(block, &raw const numbers[1]);
            assert_eq!(places.get(block), Some(&raw const numbers[1]));
        }
        assert_eq!(places.get(1), None);
        for block in [2 * PORTION, usize::MAX] {
            places.put(block, numbers.as_ptr());
            assert_eq!(places.get(block), None);
        }
        assert_eq!(Places::default().get(0), None);
    }
}
