//! Taking the trees out of the library's database.
//!
//! Its keys and values are not part of its public interface, so every byte is checked on the way: a
//! version that writes something else makes the build fail with [`Error::Unsound`], and the shard
//! goes on exactly. The same for a tree that does not hold every row once.
//!
//! Key: index (2 bytes), mode (0 metadata, 2 tree, 3 item), number (4, big-endian), 0. Value of a
//! tree node: tag 1 and a serialised bitmap of rows, or tag 2, left child, right child (mode and
//! number each) and the plane's normal in the machine's own floats.

use heed::types::Bytes;
use heed::{Database, RoTxn};
use roaring::RoaringBitmap;

use super::super::Error;
use super::super::folder::SealedFile;
use super::forest::{ALIGN, LEAF, Tree};

const TREE: u8 = 2;
const ITEM: u8 = 3;
const DESCENDANTS: u8 = 1;
const SPLIT: u8 = 2;

/// A node of the library: its mode and its number.
type NodeId = [u8; 5];

/// The library's database, seen as bytes.
pub(super) struct Library<'a> {
    pub(super) database: Database<'static, Bytes, Bytes>,
    pub(super) txn: &'a RoTxn<'a, heed::WithoutTls>,
    /// Components of a lifted vector.
    pub(super) dimensions: usize,
}

impl Library<'_> {
    /// The roots of all trees.
    pub(super) fn roots(&self) -> Result<Vec<u32>, Error> {
        let unsound = || Error::Unsound {
            what: "its metadata",
        };
        let metadata = self.database.get(self.txn, &[0; 8])?.ok_or_else(unsound)?;
        // Name, 0, dimensions, length of the items, items, roots.
        let name = metadata.iter().position(|byte| *byte == 0);
        let (_, rest) = name
            .and_then(|end| metadata.split_at_checked(end + 1 + 4))
            .ok_or_else(unsound)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(unsound)?;
        let items = usize::try_from(u32::from_be_bytes(*length)).ok();
        let (_, roots) = items
            .and_then(|items| rest.split_at_checked(items))
            .ok_or_else(unsound)?;
        let (roots, odd) = roots.as_chunks::<4>();
        if !odd.is_empty() {
            return Err(unsound());
        }
        Ok(roots.iter().map(|root| u32::from_ne_bytes(*root)).collect())
    }

    /// Writes one tree behind what the file holds, and says where.
    pub(super) fn freeze(
        &self,
        root: u32,
        covered: &RoaringBitmap,
        file: &mut SealedFile,
    ) -> Result<Tree, Error> {
        let mut frozen = Frozen::default();
        let [a, b, c, d] = root.to_be_bytes();
        // What is still to be read, and where its parent is waiting for its number.
        let mut open: Vec<(NodeId, Option<usize>)> = vec![([TREE, a, b, c, d], None)];
        while let Some((id, waiting)) = open.pop() {
            let number = self.take(id, &mut frozen, &mut open)?;
            if let Some(slot) = waiting.and_then(|slot| frozen.children.get_mut(slot)) {
                *slot = number;
            }
            // As many leaves or splits as there are rows: the library's nodes are not a tree.
            if frozen.leaves() > covered.len() {
                return Err(Error::Unsound {
                    what: "more leaves than rows",
                });
            }
        }
        frozen.check(covered)?;
        frozen.write(file)
    }

    /// Takes one node: a leaf whole, of a split the plane, with its children to be read next.
    fn take(
        &self,
        id: NodeId,
        frozen: &mut Frozen,
        open: &mut Vec<(NodeId, Option<usize>)>,
    ) -> Result<u32, Error> {
        let unsound = |what| Error::Unsound { what };
        let [mode, a, b, c, d] = id;
        if mode == ITEM {
            return frozen.leaf([u32::from_be_bytes([a, b, c, d])]);
        }
        let key = [0, 0, mode, a, b, c, d, 0];
        let value = self.database.get(self.txn, &key)?;
        match value.and_then(|value| value.split_first()) {
            Some((&DESCENDANTS, rows)) => {
                let rows = RoaringBitmap::deserialize_from(rows)
                    .map_err(|_malformed| unsound("the rows of a leaf"))?;
                frozen.leaf(rows)
            },
            Some((&SPLIT, rest)) => {
                let children = rest.split_first_chunk::<5>();
                let children = children.and_then(|(left, rest)| {
                    let (right, normal) = rest.split_first_chunk::<5>()?;
                    Some((*left, *right, normal))
                });
                let (left, right, normal) = children.ok_or_else(|| unsound("a split"))?;
                let (normal, odd) = normal.as_chunks::<4>();
                if normal.len() != self.dimensions || !odd.is_empty() {
                    return Err(unsound("the dimensions of a plane"));
                }
                let split = frozen.children.len() / 2;
                let numbers = normal.iter().map(|bytes| f32::from_ne_bytes(*bytes));
                frozen.normals.extend(numbers);
                open.push((right, Some(2 * split + 1)));
                open.push((left, Some(2 * split)));
                frozen.children.extend([0, 0]);
                Frozen::number(split)
            },
            _ => Err(unsound("a node that is missing or of an unknown kind")),
        }
    }
}

/// A tree on its way into the file.
#[derive(Debug, Default)]
struct Frozen {
    normals: Vec<f32>,
    /// Two a split.
    children: Vec<u32>,
    /// The end of each leaf in `rows`.
    ends: Vec<u32>,
    rows: Vec<u32>,
}

impl Frozen {
    fn leaves(&self) -> u64 {
        u64::try_from(self.ends.len()).unwrap_or(u64::MAX)
    }

    /// Adds a leaf and answers how a parent names it.
    fn leaf(&mut self, rows: impl IntoIterator<Item = u32>) -> Result<u32, Error> {
        let leaf = Self::number(self.ends.len())?;
        self.rows.extend(rows);
        self.ends.push(Self::number(self.rows.len())?);
        Ok(leaf | LEAF)
    }

    /// A count that leaves the highest bit free.
    fn number(count: usize) -> Result<u32, Error> {
        let number = u32::try_from(count).ok();
        number
            .filter(|number| number & LEAF == 0)
            .ok_or(Error::TooLarge)
    }

    /// That every row is in the tree exactly once.
    fn check(&self, covered: &RoaringBitmap) -> Result<(), Error> {
        let rows: RoaringBitmap = self.rows.iter().copied().collect();
        let once = u64::try_from(self.rows.len()).is_ok_and(|count| count == rows.len());
        if once && rows == *covered {
            Ok(())
        } else {
            Err(Error::Unsound {
                what: "a tree without every row once",
            })
        }
    }

    fn write(&self, file: &mut SealedFile) -> Result<Tree, Error> {
        let fill = ALIGN - file.position() % ALIGN;
        file.put(vec![0u8; usize::try_from(fill % ALIGN).unwrap_or(0)].as_slice())?;
        let tree = Tree {
            at: file.position(),
            splits: Self::number(self.children.len() / 2)?,
            leaves: Self::number(self.ends.len())?,
            rows: Self::number(self.rows.len())?,
        };
        for normal in &self.normals {
            file.put(&normal.to_le_bytes())?;
        }
        for numbers in [&self.children, &self.ends, &self.rows] {
            for number in numbers {
                file.put(&number.to_le_bytes())?;
            }
        }
        Ok(tree)
    }
}
