//! Payload indexes: for each value of a field the rows that have it, as bitmaps.
//!
//! A term is a field, a type and a value, spelled so that numbers sort as numbers; its rows lie in
//! chunks of 65,536, so that a write rewrites little. Numbers are indexed as 64-bit floats, whole ones
//! too: beyond 2^53 a term may hold rows of neighbouring numbers, and its answer is checked against
//! the payload. An index that is still being filled answers nothing and is kept up to date by writes.

use std::collections::BTreeMap;
use std::ops::Bound;

use heed::{RoTxn, RwTxn};
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_128;

use super::Error;
use super::layout::{Tables, chunks, of_chunk, read_bitmap, write_bitmap};
use crate::query::filter::Bounds;
use crate::query::{FieldPath, FieldTest, Scalar};
use crate::rows::Row;

/// Rows that one step of filling reads, and terms that one step of dropping removes.
const STEP_ROWS: usize = 10_000;
const STEP_TERMS: usize = 10_000;
/// A text longer than this is indexed by its hash: keys of LMDB are short.
const TEXT_BYTES_MAX: usize = 256;
/// Whole numbers below this are told apart by a 64-bit float.
const EXACT_BELOW: i64 = 1 << 53;

const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const HASHED: u8 = 3;
const TRUTH: u8 = 4;

/// Which values of a field are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexKind {
    /// Texts, compared whole.
    Keyword,
    /// Numbers.
    Number,
    /// Truth values.
    Bool,
}

/// One field's index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FieldIndex {
    number: u16,
    kind: IndexKind,
    state: FieldState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FieldState {
    /// Rows below this are in it.
    Filling(Row),
    Ready,
    Dropping,
}

/// The payload indexes of a shard.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(BTreeMap<String, (FieldPath, FieldIndex)>);

impl Fields {
    pub(super) fn read(tables: Tables, txn: &RoTxn<'_>) -> Result<Self, Error> {
        let corrupt = |what: String| Error::Corrupt(format!("a payload index: {what}"));
        let mut fields = BTreeMap::new();
        for entry in tables.fields.iter(txn)? {
            let (name, value) = entry?;
            let name = String::from_utf8_lossy(name).into_owned();
            let path = FieldPath::parse(&name).map_err(|error| corrupt(error.to_string()))?;
            let index =
                serde_json::from_slice(value).map_err(|error| corrupt(error.to_string()))?;
            fields.insert(name, (path, index));
        }
        Ok(Self(fields))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that answer, or will.
    pub(super) fn kinds(&self) -> BTreeMap<String, IndexKind> {
        let stays = |index: &FieldIndex| index.state != FieldState::Dropping;
        let fields = self.0.iter().filter(|(_name, (_path, index))| stays(index));
        fields
            .map(|(name, (_path, index))| (name.clone(), index.kind))
            .collect()
    }

    /// Whether the indexes are others than these.
    pub(super) fn differ(&self, wanted: &BTreeMap<String, IndexKind>) -> bool {
        self.0.len() != wanted.len()
            || wanted.iter().any(|(name, kind)| {
                !self.0.get(name).is_some_and(|(_path, index)| {
                    index.kind == *kind && index.state == FieldState::Ready
                })
            })
    }

    /// The index of a field, when it answers.
    fn ready(&self, path: &FieldPath) -> Option<&FieldIndex> {
        let (_path, index) = self.0.get(path.as_str())?;
        (index.state == FieldState::Ready).then_some(index)
    }

    /// The live points in each index that answers. Reads all their terms.
    pub(super) fn points(
        &self,
        (tables, txn): (Tables, &RoTxn<'_>),
        live: &RoaringBitmap,
        late: &dyn Fn() -> bool,
    ) -> Result<BTreeMap<String, u64>, Error> {
        let mut points = BTreeMap::new();
        for (name, (path, _index)) in &self.0 {
            let Some(index) = self.ready(path) else {
                continue;
            };
            let mut rows = RoaringBitmap::new();
            for (seen, entry) in tables
                .terms
                .prefix_iter(txn, &index.number.to_be_bytes())?
                .enumerate()
            {
                if seen % STEP_TERMS == 0 && late() {
                    return Err(Error::Late);
                }
                rows |= read_bitmap(entry?.1)?;
            }
            points.insert(name.clone(), rows.intersection_len(live));
        }
        Ok(points)
    }

    /// One step towards the wanted indexes: drops a part, or fills a part.
    pub(super) fn step(
        &mut self,
        tables: Tables,
        txn: &mut RwTxn<'_>,
        wanted: &BTreeMap<String, IndexKind>,
        live: &RoaringBitmap,
    ) -> Result<(), Error> {
        let unwanted = self.0.iter().find(|(name, (_path, index))| {
            index.state == FieldState::Dropping || wanted.get(*name) != Some(&index.kind)
        });
        if let Some((name, (_path, index))) = unwanted {
            let (name, number) = (name.clone(), index.number);
            if drop_terms(tables, txn, number)? {
                self.0.remove(&name);
                tables.fields.delete(txn, name.as_bytes())?;
                return Ok(());
            }
            return self.set_state(tables, txn, &name, FieldState::Dropping);
        }
        if let Some((name, kind)) = wanted
            .iter()
            .find(|(name, _kind)| !self.0.contains_key(*name))
        {
            let path = FieldPath::parse(name).map_err(|error| Error::Invalid(error.to_string()))?;
            let used: Vec<u16> = self.0.values().map(|(_path, index)| index.number).collect();
            let number = (0..=u16::MAX)
                .find(|number| !used.contains(number))
                .unwrap_or(0);
            let index = FieldIndex {
                number,
                kind: *kind,
                state: FieldState::Filling(0),
            };
            self.0.insert(name.clone(), (path, index));
            return self.set_state(tables, txn, name, FieldState::Filling(0));
        }
        let filling = self
            .0
            .iter()
            .find_map(|(name, (_path, index))| match index.state {
                FieldState::Filling(next) => Some((name.clone(), next)),
                FieldState::Ready | FieldState::Dropping => None,
            });
        let Some((name, next)) = filling else {
            return Ok(());
        };
        let rows: Vec<Row> = live.range(next..).take(STEP_ROWS).collect();
        let mut terms = Terms::default();
        for row in &rows {
            let Some(bytes) = tables.payloads.get(txn, &row.to_be_bytes())? else {
                continue;
            };
            let payload: Value = serde_json::from_slice(bytes)
                .map_err(|error| Error::Corrupt(format!("a payload: {error}")))?;
            if let Some((path, index)) = self.0.get(&name) {
                terms.add_field(path, index, *row, &payload);
            }
        }
        terms.write(tables, txn)?;
        let state = match rows.last().and_then(|last| last.checked_add(1)) {
            Some(next) if rows.len() == STEP_ROWS => FieldState::Filling(next),
            _ => FieldState::Ready,
        };
        self.set_state(tables, txn, &name, state)
    }

    fn set_state(
        &mut self,
        tables: Tables,
        txn: &mut RwTxn<'_>,
        name: &str,
        state: FieldState,
    ) -> Result<(), Error> {
        let Some((_path, index)) = self.0.get_mut(name) else {
            return Ok(());
        };
        index.state = state;
        let text = serde_json::to_vec(index).map_err(|error| Error::Files(error.to_string()))?;
        tables.fields.put(txn, name.as_bytes(), &text)?;
        Ok(())
    }

    /// The rows that pass a test of a field, if its index can tell, and whether they are exactly
    /// those or some more. Removed rows may be among them.
    pub(super) fn rows(
        &self,
        (tables, txn): (Tables, &RoTxn<'_>),
        path: &FieldPath,
        test: &FieldTest,
    ) -> Result<Option<(RoaringBitmap, bool)>, Error> {
        let Some(index) = self.ready(path) else {
            return Ok(None);
        };
        let one = |scalar: &Scalar| -> Result<Option<(RoaringBitmap, bool)>, Error> {
            let Some((term, exact)) = scalar_term(index, scalar) else {
                return Ok(None);
            };
            Ok(Some((read_term(tables, txn, &term)?, exact)))
        };
        match test {
            FieldTest::Match(scalar) => one(scalar),
            FieldTest::MatchAny(scalars) => {
                let (mut all, mut exact) = (RoaringBitmap::new(), true);
                for scalar in scalars {
                    let Some((rows, exactly)) = one(scalar)? else {
                        return Ok(None);
                    };
                    all |= rows;
                    exact &= exactly;
                }
                Ok(Some((all, exact)))
            },
            FieldTest::Range(bounds) if index.kind == IndexKind::Number => {
                Ok(Some((read_range(tables, txn, index.number, bounds)?, true)))
            },
            FieldTest::Range(_) | FieldTest::MatchExcept(_) => Ok(None),
        }
    }
}

/// Removes some of a field's terms; whether none is left.
fn drop_terms(tables: Tables, txn: &mut RwTxn<'_>, number: u16) -> Result<bool, Error> {
    let mut keys = Vec::new();
    for entry in tables
        .terms
        .prefix_iter(txn, &number.to_be_bytes())?
        .take(STEP_TERMS)
    {
        keys.push(entry?.0.to_vec());
    }
    for key in &keys {
        tables.terms.delete(txn, key)?;
    }
    Ok(keys.len() < STEP_TERMS)
}

/// A number as bytes that sort as numbers do. Minus zero is zero.
fn number_bytes(number: f64) -> [u8; 8] {
    let bits = (number + 0.0).to_bits();
    let ordered = if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    };
    ordered.to_be_bytes()
}

fn term(number: u16, kind: u8, value: &[u8]) -> Vec<u8> {
    let mut term = number.to_be_bytes().to_vec();
    term.push(kind);
    term.extend(value);
    if kind == TEXT {
        // No text is the beginning of another's term: zero ends it, and zeros in it are doubled up.
        term.truncate(3);
        for byte in value {
            term.push(*byte);
            if *byte == 0 {
                term.push(1);
            }
        }
        term.extend([0, 0]);
    }
    term
}

fn text_term(number: u16, text: &str) -> Vec<u8> {
    if text.len() <= TEXT_BYTES_MAX / 2 {
        term(number, TEXT, text.as_bytes())
    } else {
        term(number, HASHED, &xxh3_128(text.as_bytes()).to_be_bytes())
    }
}

/// The term of a wanted value, and whether it holds no rows of other values.
fn scalar_term(index: &FieldIndex, scalar: &Scalar) -> Option<(Vec<u8>, bool)> {
    match (index.kind, scalar) {
        (IndexKind::Keyword, Scalar::Keyword(text)) => Some((text_term(index.number, text), true)),
        (IndexKind::Number, Scalar::Integer(number)) => {
            #[expect(clippy::as_conversions, reason = "rounding is what is indexed")]
            let float = *number as f64;
            let exact = number.unsigned_abs() < EXACT_BELOW.unsigned_abs();
            Some((term(index.number, NUMBER, &number_bytes(float)), exact))
        },
        (IndexKind::Bool, Scalar::Bool(truth)) => {
            Some((term(index.number, TRUTH, &[u8::from(*truth)]), true))
        },
        _ => None,
    }
}

/// The term of a payload value, if the index takes such values.
fn value_term(index: &FieldIndex, value: &Value) -> Option<Vec<u8>> {
    match (index.kind, value) {
        (IndexKind::Keyword, Value::String(text)) => Some(text_term(index.number, text)),
        (IndexKind::Number, Value::Number(number)) => {
            Some(term(index.number, NUMBER, &number_bytes(number.as_f64()?)))
        },
        (IndexKind::Bool, Value::Bool(truth)) => {
            Some(term(index.number, TRUTH, &[u8::from(*truth)]))
        },
        _ => None,
    }
}

fn read_term(tables: Tables, txn: &RoTxn<'_>, term: &[u8]) -> Result<RoaringBitmap, Error> {
    let mut rows = RoaringBitmap::new();
    for entry in tables.terms.prefix_iter(txn, term)? {
        let (key, bytes) = entry?;
        // A hashed or numeric term has one length; a longer key belongs to another.
        if key.len() == term.len() + 2 {
            rows |= read_bitmap(bytes)?;
        }
    }
    Ok(rows)
}

fn read_range(
    tables: Tables,
    txn: &RoTxn<'_>,
    number: u16,
    bounds: &Bounds,
) -> Result<RoaringBitmap, Error> {
    let at = |value: f64| term(number, NUMBER, &number_bytes(value));
    let low = bounds
        .gt
        .into_iter()
        .chain(bounds.gte)
        .fold(f64::NEG_INFINITY, f64::max);
    let high = bounds
        .lt
        .into_iter()
        .chain(bounds.lte)
        .fold(f64::INFINITY, f64::min);
    let start = at(low);
    let mut end = at(high);
    end.extend([0xFF, 0xFF, 0xFF]);
    let mut rows = RoaringBitmap::new();
    if low > high {
        return Ok(rows);
    }
    let span = (
        Bound::Included(start.as_slice()),
        Bound::Excluded(end.as_slice()),
    );
    for entry in tables.terms.range(txn, &span)? {
        let (key, bytes) = entry?;
        let value = key
            .get(3..11)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_be_bytes);
        let Some(ordered) = value else { continue };
        let bits = if ordered >> 63 == 1 {
            ordered ^ 1 << 63
        } else {
            !ordered
        };
        if bounds.hold(f64::from_bits(bits)) {
            rows |= read_bitmap(bytes)?;
        }
    }
    Ok(rows)
}

/// Changes of terms that wait to be written together.
#[derive(Debug, Default)]
pub(super) struct Terms(BTreeMap<Vec<u8>, (RoaringBitmap, RoaringBitmap)>);

impl Terms {
    /// A row has a payload.
    pub(super) fn add(&mut self, fields: &Fields, row: Row, payload: &Value) {
        for (path, index) in fields.0.values() {
            self.add_field(path, index, row, payload);
        }
    }

    fn add_field(&mut self, path: &FieldPath, index: &FieldIndex, row: Row, payload: &Value) {
        for term in terms_of(path, index, payload) {
            let (add, remove) = self.0.entry(term).or_default();
            remove.remove(row);
            add.insert(row);
        }
    }

    /// A row has a payload no longer.
    pub(super) fn remove(&mut self, fields: &Fields, row: Row, payload: &Value) {
        for (path, index) in fields.0.values() {
            for term in terms_of(path, index, payload) {
                let (add, remove) = self.0.entry(term).or_default();
                add.remove(row);
                remove.insert(row);
            }
        }
    }

    /// Writes what waits.
    pub(super) fn write(&mut self, tables: Tables, txn: &mut RwTxn<'_>) -> Result<(), Error> {
        for (term, (add, remove)) in std::mem::take(&mut self.0) {
            for chunk in chunks(&(&add | &remove)) {
                let mut key = term.clone();
                key.extend(chunk.to_be_bytes());
                let stored = tables.terms.get(txn, &key)?.map(read_bitmap).transpose()?;
                let mut rows = stored.unwrap_or_default();
                rows -= &of_chunk(&remove, chunk);
                rows |= &of_chunk(&add, chunk);
                write_bitmap(tables.terms, txn, &key, &rows)?;
            }
        }
        Ok(())
    }
}

fn terms_of<'a>(
    path: &'a FieldPath,
    index: &'a FieldIndex,
    payload: &'a Value,
) -> impl Iterator<Item = Vec<u8>> + 'a {
    let values = path.values(payload).into_iter().flat_map(|value| {
        let elements = value.as_array();
        elements.map_or_else(|| vec![value], |elements| elements.iter().collect())
    });
    values.filter_map(|value| value_term(index, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_numbers() {
        let numbers = [
            f64::NEG_INFINITY,
            -1e300,
            -2.5,
            -1.0,
            0.0,
            1e-300,
            1.0,
            2.0,
            1e300,
        ];
        let bytes = numbers.map(number_bytes);
        assert!(bytes.windows(2).all(|pair| pair[0] < pair[1]), "{bytes:?}");
        assert_eq!(number_bytes(-0.0), number_bytes(0.0));
    }

    #[test]
    fn no_text_is_the_beginning_of_another() {
        let texts = ["", "a", "ab", "a\0", "a\0\0", "a\0b"];
        let terms = texts.map(|text| text_term(7, text));
        for (at, one) in terms.iter().enumerate() {
            for (other_at, other) in terms.iter().enumerate() {
                assert_eq!(other.starts_with(one), at == other_at, "{at} {other_at}");
            }
        }
    }
}
