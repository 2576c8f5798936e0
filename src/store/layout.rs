//! How the bytes of a shard lie: its databases, its keys, and the blocks of vectors.
//!
//! Vectors lie in blocks of rows, each block one value of LMDB that fills whole pages. One value for
//! each vector would waste up to half of them: LMDB gives a value above about 2 KB pages of its own,
//! and a vector of 1,024 dimensions is 4,096 bytes, one header too long for one page.

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, RwTxn, WithoutTls};
use roaring::RoaringBitmap;

use super::Error;
use super::places::Places;
use crate::ids::{PointId, Sequence};
use crate::rows::Row;

/// The newest format that this program writes and reads.
pub(super) const FORMAT: u32 = 1;

const PAGE_BYTES: usize = 4096;
/// The header of a value that has pages of its own.
const HEADER_BYTES: usize = 16;
/// A block that fills its pages this well is not made larger: a write of one point writes one block.
const FILL_WANTED: f64 = 0.97;
const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// A database of bytes.
pub(super) type Table = Database<'static, Bytes, Bytes>;

/// The databases of an environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tables {
    /// Names to what describes the shard.
    pub(super) meta: Table,
    /// Ids to row and version.
    pub(super) ids: Table,
    /// Rows to ids.
    pub(super) rows: Table,
    /// Rows to payloads; an empty payload is not kept.
    pub(super) payloads: Table,
    /// Block numbers to vectors.
    pub(super) blocks: Table,
    /// Chunks of 65,536 rows to the bitmap of the live ones.
    pub(super) live: Table,
    /// The same of the freed ones.
    pub(super) freed: Table,
    /// Payload fields to their index.
    pub(super) fields: Table,
    /// Field, value and chunk to rows.
    pub(super) terms: Table,
    /// Sequences to what they wrote.
    pub(super) log: Table,
}

/// How many databases there are.
pub(super) const TABLES: u32 = 10;

impl Tables {
    /// Makes those that are not there and opens all, in a transaction of its own.
    pub(super) fn create(env: &heed::Env<WithoutTls>) -> Result<Self, Error> {
        let names = [
            "meta", "ids", "rows", "payloads", "blocks", "live", "freed", "fields", "terms", "log",
        ];
        let made = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            let mut all = Vec::with_capacity(names.len());
            for name in names {
                all.push(opener.create_database::<Bytes, Bytes>(txn, Some(name))?);
            }
            let all: [Database<'_, Bytes, Bytes>; 10] = all
                .try_into()
                .map_err(|_len| heed::Error::Mdb(heed::MdbError::BadDbi))?;
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(all))
        })?;
        let [
            meta,
            ids,
            rows,
            payloads,
            blocks,
            live,
            freed,
            fields,
            terms,
            log,
        ] = made.unwrap_commit();
        Ok(Self {
            meta,
            ids,
            rows,
            payloads,
            blocks,
            live,
            freed,
            fields,
            terms,
            log,
        })
    }
}

/// How the vectors of a shard lie in blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) dimensions: usize,
    pub(super) rows: u32,
}

impl Blocks {
    /// The blocks of vectors of so many dimensions: the smallest that fill their pages well.
    pub(super) fn of(dimensions: usize) -> Self {
        let row_bytes = dimensions.max(1) * size_of::<f32>();
        let fill = |rows: usize| {
            let bytes = rows * row_bytes;
            let pages = (bytes + HEADER_BYTES).div_ceil(PAGE_BYTES);
            #[expect(clippy::as_conversions, reason = "small numbers")]
            let fill = bytes as f64 / (pages * PAGE_BYTES) as f64;
            fill
        };
        let most = (BLOCK_BYTES_MAX / row_bytes).max(1);
        let mut best = 1;
        for rows in 1..=most {
            if fill(rows) > fill(best) {
                best = rows;
            }
            if fill(best) >= FILL_WANTED {
                break;
            }
        }
        Self {
            dimensions,
            rows: u32::try_from(best).unwrap_or(1),
        }
    }

    /// Bytes of a block.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.rows).unwrap_or(1) * self.dimensions * size_of::<f32>()
    }

    /// Where the blocks of rows below this one lie, none of them known.
    pub(super) fn places(&self, next: Row) -> Places {
        let blocks = next.div_ceil(self.rows.max(1));
        Places::new(usize::try_from(blocks).unwrap_or(0))
    }

    /// The block of a row, and where in it the row's vector starts, in components.
    pub(super) fn place(&self, row: Row) -> (u32, usize) {
        let within = usize::try_from(row % self.rows).unwrap_or(0);
        (row / self.rows, within * self.dimensions)
    }

    /// The rows of a block: the first, and the one after the last.
    pub(super) fn span(&self, block: u32) -> (Row, u64) {
        let first = block.saturating_mul(self.rows);
        (first, u64::from(first) + u64::from(self.rows))
    }
}

/// What an id leads to: its row and its version.
pub(super) fn id_value(row: Row, version: Sequence) -> [u8; 12] {
    let mut bytes = [0; 12];
    let (left, right) = bytes.split_at_mut(4);
    left.copy_from_slice(&row.to_be_bytes());
    right.copy_from_slice(&version.0.to_be_bytes());
    bytes
}

/// The row and version of [`id_value`].
pub(super) fn read_id_value(bytes: &[u8]) -> Result<(Row, Sequence), Error> {
    let read = || {
        let (row, version) = bytes.split_at_checked(4)?;
        let row = Row::from_be_bytes(row.try_into().ok()?);
        Some((row, Sequence(u64::from_be_bytes(version.try_into().ok()?))))
    };
    read().ok_or_else(|| Error::Corrupt("an id without a row".to_owned()))
}

/// The id of a key of the `ids` table, or a value of the `rows` table.
pub(super) fn read_id(bytes: &[u8]) -> Result<PointId, Error> {
    PointId::from_key(bytes).ok_or_else(|| Error::Corrupt("a key that is no id".to_owned()))
}

/// Reads a bitmap that lies in chunks.
pub(super) fn read_chunks(table: Table, txn: &heed::RoTxn<'_>) -> Result<RoaringBitmap, Error> {
    let mut all = RoaringBitmap::new();
    for entry in table.iter(txn)? {
        let (_chunk, bytes) = entry?;
        all |= read_bitmap(bytes)?;
    }
    Ok(all)
}

/// Writes the chunks of a bitmap that hold any of the changed rows.
pub(super) fn write_chunks(
    table: Table,
    txn: &mut RwTxn<'_>,
    all: &RoaringBitmap,
    changed: &RoaringBitmap,
) -> Result<(), Error> {
    for chunk in chunks(changed) {
        write_bitmap(table, txn, &chunk.to_be_bytes(), &of_chunk(all, chunk))?;
    }
    Ok(())
}

/// The chunks that rows of a bitmap lie in.
pub(super) fn chunks(rows: &RoaringBitmap) -> Vec<u16> {
    let mut chunks = Vec::new();
    let mut next = rows.min();
    while let Some(row) = next {
        let chunk = u16::try_from(row >> 16).unwrap_or(u16::MAX);
        chunks.push(chunk);
        next = match u32::from(chunk)
            .checked_add(1)
            .and_then(|after| after.checked_mul(65_536))
        {
            Some(start) => rows.range(start..).next(),
            None => None,
        };
    }
    chunks
}

/// The part of a bitmap that lies in a chunk.
pub(super) fn of_chunk(all: &RoaringBitmap, chunk: u16) -> RoaringBitmap {
    let first = u32::from(chunk) << 16;
    all.range(first..=first | 0xFFFF).collect()
}

/// Writes a bitmap, or removes its key when it is empty.
pub(super) fn write_bitmap(
    table: Table,
    txn: &mut RwTxn<'_>,
    key: &[u8],
    rows: &RoaringBitmap,
) -> Result<(), Error> {
    if rows.is_empty() {
        table.delete(txn, key)?;
        return Ok(());
    }
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    rows.serialize_into(&mut bytes)?;
    table.put(txn, key, &bytes)?;
    Ok(())
}

/// The bitmap that [`write_bitmap`] wrote.
pub(super) fn read_bitmap(bytes: &[u8]) -> Result<RoaringBitmap, Error> {
    RoaringBitmap::deserialize_from(bytes)
        .map_err(|error| Error::Corrupt(format!("a bitmap: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_fill_their_pages() {
        // Stored data rests on these numbers.
        for (dimensions, rows) in [
            (4, 249),
            (384, 13),
            (768, 13),
            (1_024, 16),
            (1_536, 9),
            (65_536, 1),
        ] {
            let blocks = Blocks::of(dimensions);
            assert_eq!(blocks.rows, rows, "{dimensions}");
            let pages = (blocks.bytes() + HEADER_BYTES).div_ceil(PAGE_BYTES);
            let fill = blocks.bytes() as f64 / (pages * PAGE_BYTES) as f64;
            assert!(fill > 0.9, "{dimensions}: {} rows, {fill}", blocks.rows);
            // Larger than what LMDB keeps beside other values, which would not be aligned.
            assert!(blocks.bytes() > 2_100, "{dimensions}");
        }
        let blocks = Blocks {
            dimensions: 3,
            rows: 5,
        };
        assert_eq!(blocks.place(12), (2, 6));
        assert_eq!(blocks.span(2), (10, 15));
    }

    #[test]
    fn bitmaps_are_cut_into_chunks() {
        let rows: RoaringBitmap = [1, 65_535, 65_536, 500_000, u32::MAX].into_iter().collect();
        assert_eq!(chunks(&rows), [0, 1, 7, 65_535]);
        assert_eq!(of_chunk(&rows, 0).iter().collect::<Vec<_>>(), [1, 65_535]);
        assert_eq!(
            of_chunk(&rows, 65_535).iter().collect::<Vec<_>>(),
            [u32::MAX]
        );
    }
}
