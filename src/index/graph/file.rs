//! The file of a graph: how it is laid out, written, opened and checked.
//!
//! ```text
//! 0      "VSGRAPH3", nodes, dimensions, bits, entry (32 bits each), zeros up to 4,096
//!        the mean of the rows: dimensions floats
//!        further entries: the number of each, 32 bits, then a copy of the record of each
//!        the row of each node: nodes numbers of 32 bits
//!        the rows ascending, then the node of each: nodes numbers of 32 bits, twice
//!        the links of each node: 32 numbers of 32 bits, filled up with the largest
//!        the record of each node: code, factor, squared length
//! end    the checksum of each MiB before: XXH3, 64 bits
//! ```
//!
//! Every part begins at a multiple of 4,096, all numbers are little-endian, the file is never
//! changed. The manifest, which is read and checked whole, has the counts that say where everything
//! lies, and the checksum of the checksums. So opening reads the first MiB and eight bytes of each
//! further one, however many points there are; each further block is compared with its checksum when
//! it is touched first, and nothing of it is used before. Once all are checked the walk asks no more.
//!
//! A block costs about 50 us to check when it is in memory already, and its reading when it is not.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::super::Error;
use super::super::folder::{FileSeal, SealedFile};
use super::super::mapped::Mapped;
use super::code::{Shape, Width};
use super::entries::{self, EntriesView};
use super::numbers::{at, wide};
use super::order::Order;
use super::repair::Finished;
use super::view::{Unchecked, View};
use super::walk::DEGREE;
use crate::rows::Row;

/// The name of the file in the segment's folder.
pub(super) const GRAPH: &str = "graph";

/// The first bytes.
const MAGIC: [u8; 8] = *b"VSGRAPH3";

/// What each part is aligned to.
const PAGE: u64 = 4_096;

/// Bytes that have a checksum of their own.
const CHECKED: usize = 1024 * 1024;

/// What the manifest says of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Described {
    /// Nodes: as many as covered rows.
    pub(super) nodes: u32,
    /// Components of a row.
    pub(super) dimensions: usize,
    /// Bits of a code's component: 2, 4, 8 or 32.
    pub(super) bits: u8,
    /// The node that walks begin at.
    pub(super) entry: u32,
    /// Further nodes that walks may begin at.
    pub(super) entries: u32,
    /// The checksum of the checksums, in hexadecimal.
    pub(super) checksums: String,
}

/// Where the parts begin.
#[derive(Debug, Clone, Copy)]
struct Places {
    entries: u64,
    rows: u64,
    /// The rows ascending, and the nodes of them.
    sorted: u64,
    links: u64,
    records: u64,
    /// The end of the records, and where the checksums begin.
    end: u64,
    /// Bytes of the file.
    length: u64,
}

impl Places {
    /// `None` when that many bytes cannot be.
    fn new(described: &Described, shape: Shape) -> Option<Self> {
        let page = |from: u64| from.checked_next_multiple_of(PAGE);
        let nodes = u64::from(described.nodes);
        let mean = page(PAGE.checked_add(wide(described.dimensions).checked_mul(4)?)?)?;
        let rows = page(mean.checked_add(entries::bytes(described.entries, shape)?)?)?;
        let sorted = page(rows.checked_add(nodes.checked_mul(4)?)?)?;
        let links = page(sorted.checked_add(nodes.checked_mul(8)?)?)?;
        let records = page(links.checked_add(nodes.checked_mul(wide(4 * DEGREE))?)?)?;
        let end = page(records.checked_add(nodes.checked_mul(wide(shape.stride))?)?)?;
        let blocks = end.div_ceil(wide(CHECKED));
        let length = end.checked_add(blocks.checked_mul(8)?)?;
        Some(Self {
            entries: mean,
            rows,
            sorted,
            links,
            records,
            end,
            length,
        })
    }
}

/// What is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) mean: &'a [f32],
    /// The rows, ascending: the points.
    pub(super) rows: &'a [Row],
    /// The links of each.
    pub(super) graph: &'a Finished,
    /// The record of each.
    pub(super) records: &'a [u8],
    pub(super) shape: Shape,
    /// Where each lies.
    pub(super) order: &'a Order,
    /// Nodes, and the records of them.
    pub(super) entries: EntriesView<'a>,
}

/// A file that is written, with the checksums of its blocks.
struct Summed {
    file: SealedFile,
    block: Vec<u8>,
    sums: Vec<u64>,
}

impl Summed {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = CHECKED.saturating_sub(self.block.len()).min(rest.len());
            let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.block.extend_from_slice(now);
            rest = later;
            if self.block.len() == CHECKED {
                self.sum()?;
            }
        }
        Ok(())
    }

    fn sum(&mut self) -> Result<(), Error> {
        self.sums.push(xxh3_64(&self.block));
        self.file.put(&self.block)?;
        self.block.clear();
        Ok(())
    }

    /// Zeros up to this byte.
    fn fill(&mut self, until: u64) -> Result<(), Error> {
        let written = self.file.position().saturating_add(wide(self.block.len()));
        let missing = usize::try_from(until.saturating_sub(written)).unwrap_or(0);
        self.put(&vec![0; missing])
    }

    fn put_numbers(&mut self, numbers: &[u32]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(4 * numbers.len().min(1_024));
        for numbers in numbers.chunks(1_024) {
            bytes.clear();
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            self.put(&bytes)?;
        }
        Ok(())
    }
}

/// Writes the file, durably.
pub(super) fn write(building: &Path, parts: &Parts<'_>) -> Result<(Described, FileSeal), Error> {
    let order = parts.order;
    let nodes = u32::try_from(parts.rows.len()).map_err(|_large| Error::TooLarge)?;
    let (dimensions, shape) = (parts.mean.len(), parts.shape);
    let entries = u32::try_from(parts.entries.nodes.len()).map_err(|_large| Error::TooLarge)?;
    let mut described = Described {
        nodes,
        dimensions,
        bits: shape.width.bits(),
        entry: if nodes == 0 {
            0
        } else {
            order.node(parts.graph.entry)
        },
        entries,
        checksums: String::new(),
    };
    let places = Places::new(&described, shape).ok_or(Error::TooLarge)?;
    let mut file = Summed {
        file: SealedFile::create(building, GRAPH)?,
        block: Vec::with_capacity(CHECKED),
        sums: Vec::new(),
    };
    file.put(&MAGIC)?;
    let bits = u32::from(shape.width.bits());
    let wide_dimensions = u32::try_from(dimensions).map_err(|_large| Error::TooLarge)?;
    file.put_numbers(&[nodes, wide_dimensions, bits, described.entry])?;
    file.fill(PAGE)?;
    let mean: Vec<u32> = parts.mean.iter().map(|of| of.to_bits()).collect();
    file.put_numbers(&mean)?;
    file.fill(places.entries)?;
    file.put_numbers(parts.entries.nodes)?;
    file.put(parts.entries.records)?;
    file.fill(places.rows)?;
    for row in order.each(parts.rows) {
        file.put(&row.to_le_bytes())?;
    }
    file.fill(places.sorted)?;
    file.put_numbers(parts.rows)?;
    file.put_numbers(&order.nodes)?;
    file.fill(places.links)?;
    for links in order.links(parts.graph) {
        file.put_numbers(&links)?;
    }
    file.fill(places.records)?;
    for record in order.records((parts.records, shape.stride)) {
        file.put(record)?;
    }
    file.fill(places.end)?;
    if !file.block.is_empty() {
        file.sum()?;
    }
    let sums: Vec<u8> = file.sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    file.file.put(&sums)?;
    let seal = file.file.finish()?;
    described.checksums = format!("{:016x}", xxh3_64(&sums));
    Ok((described, seal))
}

/// The blocks of an open file, and which were checked.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Mapped,
    /// The checksum of each.
    sums: Vec<u64>,
    /// A bit for each that was checked.
    checked: Vec<AtomicU64>,
    left: AtomicUsize,
    all: AtomicBool,
    /// Where the checksums begin.
    end: u64,
}

impl Blocks {
    /// Whether these bytes are what was written. Reads the blocks that they lie in, if that was not
    /// done yet.
    #[inline]
    pub(super) fn check(&self, start: u64, bytes: u64) -> bool {
        let block = |byte: u64| byte / wide(CHECKED);
        let last = start.saturating_add(bytes.saturating_sub(1));
        (block(start)..=block(last)).all(|block| self.is_checked(block) || self.check_block(block))
    }

    #[inline]
    fn is_checked(&self, block: u64) -> bool {
        let word = usize::try_from(block / 64).ok();
        let word = word.and_then(|word| self.checked.get(word));
        // Nothing else depends on the bit: who sees it knows that the bytes were compared, and the
        // bytes never change.
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (block % 64)) != 0)
    }

    #[cold]
    fn check_block(&self, block: u64) -> bool {
        let Ok(number) = usize::try_from(block) else {
            return false;
        };
        let start = block.saturating_mul(wide(CHECKED));
        let bytes = self.end.saturating_sub(start).min(wide(CHECKED));
        let bytes = usize::try_from(bytes).unwrap_or(0);
        let content = self.file.bytes(start, bytes);
        let sum = self.sums.get(number);
        let (Some(content), Some(sum)) = (content, sum) else {
            return false;
        };
        if xxh3_64(content) != *sum {
            return false;
        }
        if let Some(word) = self.checked.get(number / 64) {
            let bit = 1u64 << (block % 64);
            let before = word.fetch_or(bit, Ordering::Relaxed);
            if before & bit == 0 && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.all.store(true, Ordering::Relaxed);
            }
        }
        true
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Open {
    blocks: Blocks,
    places: Places,
    nodes: u32,
    shape: Shape,
    entry: u32,
    entries: usize,
    pub(super) mean: Vec<f32>,
}

impl Open {
    /// Maps the file and checks what it needs: the lengths, the checksums, the first block.
    pub(super) fn new(path: &Path, described: &Described) -> Result<Self, Error> {
        let Described {
            nodes,
            dimensions,
            bits,
            entry,
            entries,
            checksums,
        } = described;
        let width = Width::of(*bits).ok_or_else(|| Error::corrupt("the width of its codes"))?;
        let shape = Shape::new(width, *dimensions);
        if *entry >= (*nodes).max(1) {
            return Err(Error::corrupt("the entry of its graph"));
        }
        let file = Mapped::open(path)?;
        let places = Places::new(described, shape);
        let places = places.filter(|places| places.length == wide(file.length()));
        let places = places.ok_or_else(|| Error::corrupt("the length of its graph"))?;
        let count = places.end.div_ceil(wide(CHECKED));
        let count = usize::try_from(count).map_err(|_large| Error::TooLarge)?;
        let sums = file
            .bytes(places.end, count.saturating_mul(8))
            .unwrap_or_default();
        if format!("{:016x}", xxh3_64(sums)) != *checksums {
            return Err(Error::corrupt("the checksums of its graph"));
        }
        let sums: Vec<u64> = sums
            .as_chunks::<8>()
            .0
            .iter()
            .map(|sum| u64::from_le_bytes(*sum))
            .collect();
        let blocks = Blocks {
            checked: (0..sums.len().div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
            left: AtomicUsize::new(sums.len()),
            all: AtomicBool::new(sums.is_empty()),
            sums,
            file,
            end: places.end,
        };
        let mut open = Self {
            blocks,
            places,
            nodes: *nodes,
            shape,
            entry: *entry,
            entries: at(*entries),
            mean: Vec::new(),
        };
        open.mean = open
            .head(*dimensions)
            .ok_or_else(|| Error::corrupt("the head of its graph"))?;
        Ok(open)
    }

    /// Checks the first page and the entries, and gives the mean.
    fn head(&self, dimensions: usize) -> Option<Vec<f32>> {
        let file = &self.blocks.file;
        self.blocks.check(0, self.places.rows).then_some(())?;
        let said = [
            self.nodes,
            u32::try_from(dimensions).ok()?,
            u32::from(self.shape.width.bits()),
            self.entry,
        ];
        let same = file.bytes(0, MAGIC.len())? == MAGIC && file.words(8, said.len())? == said;
        let mut entries = self.entries()?.nodes.iter();
        let same = same && entries.all(|node| *node < self.nodes);
        same.then(|| file.floats(PAGE, dimensions).map(<[f32]>::to_vec))?
    }

    /// The further entries, which opening checked.
    fn entries(&self) -> Option<EntriesView<'_>> {
        let (file, count) = (&self.blocks.file, self.entries);
        let records = self
            .places
            .entries
            .checked_add(wide(count).checked_mul(4)?)?;
        Some(EntriesView {
            nodes: file.words(self.places.entries, count)?,
            records: file.bytes(records, count.checked_mul(self.shape.stride)?)?,
        })
    }

    /// The parts, every block of which was compared with its checksum; `None` when one is damaged. Asks
    /// whether to go on before each that was not yet.
    pub(super) fn whole(
        &self,
        go_on: &dyn Fn() -> Result<(), Error>,
    ) -> Result<Option<View<'_>>, Error> {
        let blocks = 0..wide(self.blocks.sums.len());
        for block in blocks.filter(|block| !self.blocks.is_checked(*block)) {
            go_on()?;
            if !self.blocks.check_block(block) {
                return Ok(None);
            }
        }
        Ok(self.view())
    }

    /// The parts, to be searched.
    pub(super) fn view(&self) -> Option<View<'_>> {
        let (file, places, nodes) = (&self.blocks.file, &self.places, at(self.nodes));
        let links = file.words(places.links, nodes.checked_mul(DEGREE)?)?;
        let unchecked = Unchecked {
            blocks: &self.blocks,
            rows_at: places.rows,
            sorted_at: places.sorted,
            links_at: places.links,
            records_at: places.records,
        };
        let sorted = file.words(places.sorted, nodes.checked_mul(2)?)?;
        Some(View {
            sorted: Some(sorted.split_at_checked(nodes)?),
            links: links.as_chunks::<DEGREE>().0,
            records: file.bytes(places.records, nodes.checked_mul(self.shape.stride)?)?,
            rows: file.words(places.rows, nodes)?,
            shape: self.shape,
            entry: self.entry,
            entries: self.entries()?,
            unchecked: (!self.blocks.all.load(Ordering::Relaxed)).then_some(unchecked),
        })
    }
}
