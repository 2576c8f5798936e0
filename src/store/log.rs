//! A shard's log: what each write was about, for copies that catch up.
//!
//! It is bounded twice, since a write by a filter names every point that it changed. What a copy misses
//! that is further behind than the log reaches is copied anew, so old entries may go at any time; the
//! log has no gap between its first entry and the shard's position.

use heed::RwTxn;

use super::Error;
use super::layout::Table;
use crate::ids::{PointId, Sequence};

/// What a log keeps at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Entries.
    pub(super) len: usize,
    /// Bytes of the pages that hold them.
    pub(super) bytes: usize,
}

/// What the log of every shard keeps.
pub(super) const BOUNDS: Bounds = Bounds {
    len: 10_000,
    bytes: 64 * 1024 * 1024,
};

/// Bytes of an id in an entry, of the longest kind.
const ID_BYTES_MAX: usize = 17;

/// Appends an entry, and drops the oldest ones that there is no more room for. An entry that alone is
/// too large is not kept, and none before it.
pub(super) fn append(
    (log, txn): (Table, &mut RwTxn<'_>),
    sequence: Sequence,
    (kind, ids): (u8, &[PointId]),
    bounds: Bounds,
) -> Result<(), Error> {
    if ids.len().saturating_mul(ID_BYTES_MAX) > bounds.bytes {
        return Ok(log.clear(txn)?);
    }
    let mut bytes = vec![kind];
    for id in ids {
        bytes.extend(id.key().as_bytes());
    }
    log.put(txn, &sequence.0.to_be_bytes(), &bytes)?;
    // Each round removes one entry.
    loop {
        let stat = log.stat(txn)?;
        let pages = stat.leaf_pages.saturating_add(stat.overflow_pages);
        let page_bytes = usize::try_from(stat.page_size).unwrap_or(usize::MAX);
        if stat.entries <= bounds.len && pages.saturating_mul(page_bytes) <= bounds.bytes {
            return Ok(());
        }
        let Some((first, _ids)) = log.first(txn)? else {
            return Ok(());
        };
        let first = first.to_owned();
        log.delete(txn, &first)?;
    }
}
