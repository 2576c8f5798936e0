//! What an operation changes, inside the transaction of its batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use heed::{RoTxn, RwTxn};
use roaring::RoaringBitmap;
use serde_json::{Map, Value};

use super::environment::{Environment, Frame, write_position};
use super::layout::{Tables, id_value, read_id, read_id_value, write_chunks};
use super::payload_index::{Fields, IndexKind, Terms};
use super::snapshot::matching;
use super::{Error, Written, log};
use crate::ids::{Epoch, PointId, Sequence};
use crate::limits::{JSON_DEPTH_MAX, PAYLOAD_BYTES_MAX};
use crate::query::{FieldPath, Operation, PointInput, Selection};
use crate::rows::Row;

const EMPTY: &[u8] = b"{}";

/// The changes of one transaction.
pub(super) struct Batch<'e> {
    environment: &'e Environment,
    tables: Tables,
    txn: RwTxn<'e>,
    frame: Frame,
    live: RoaringBitmap,
    freed: RoaringBitmap,
    fields: Fields,
    reusable: RoaringBitmap,
    changed_live: RoaringBitmap,
    changed_freed: RoaringBitmap,
    terms: Terms,
    /// Blocks that are being written, by number.
    blocks: BTreeMap<u32, Vec<f32>>,
    /// The points of the operation that was checked last, when that had to look for them.
    chosen: Option<Vec<(PointId, Row)>>,
}

impl<'e> Batch<'e> {
    pub(super) fn new(environment: &'e Environment, txn: RwTxn<'e>) -> Self {
        let frame = environment.frame();
        let (live, freed) = (
            RoaringBitmap::clone(&frame.live),
            RoaringBitmap::clone(&frame.freed),
        );
        let reusable = environment.reusable(&freed);
        let fields = Fields::clone(&frame.fields);
        Self {
            environment,
            tables: environment.tables,
            txn,
            frame,
            live,
            freed,
            fields,
            reusable,
            changed_live: RoaringBitmap::new(),
            changed_freed: RoaringBitmap::new(),
            terms: Terms::default(),
            blocks: BTreeMap::new(),
            chosen: None,
        }
    }

    /// Whether an operation may be applied. Nothing is changed.
    pub(super) fn check(&mut self, epoch: Epoch, operation: &Operation) -> Result<(), Error> {
        self.chosen = None;
        if epoch < self.frame.epoch {
            return Err(Error::Epoch {
                known: self.frame.epoch,
                asked: epoch,
            });
        }
        let wrong = |what: &str| Err(Error::Invalid(what.to_owned()));
        match operation {
            Operation::Upsert(points) => {
                let dimensions = self.environment.identity.dimensions;
                for point in points {
                    if point.vector.len() != dimensions {
                        return wrong("a vector of another number of dimensions");
                    }
                    if !point.vector.iter().all(|component| component.is_finite()) {
                        return wrong("a vector that is not finite");
                    }
                    fits(&point.payload, 0)?;
                }
                let rows = u64::from(self.frame.next_row);
                let wanted = u64::try_from(points.len()).unwrap_or(u64::MAX);
                if rows.saturating_add(wanted) > u64::from(Row::MAX) {
                    return wrong("the shard has no row left");
                }
            },
            Operation::SetPayload { payload, key, on } => {
                fits(payload, key.as_ref().map_or(0, |key| key.steps().len()))?;
                self.check_growth(payload, key.as_ref(), on)?;
            },
            Operation::OverwritePayload { payload, .. } => fits(payload, 0)?,
            Operation::Delete(_) | Operation::DeletePayload { .. } | Operation::ClearPayload(_) => {
            },
        }
        Ok(())
    }

    /// Applies a checked operation. An error spoils the whole batch.
    pub(super) fn apply(&mut self, epoch: Epoch, operation: &Operation) -> Result<Written, Error> {
        self.frame.epoch = self.frame.epoch.max(epoch);
        let sequence = Sequence(self.frame.sequence.0 + 1);
        self.frame.sequence = sequence;
        let (kind, ids) = match operation {
            Operation::Upsert(points) => (1, self.upsert(points, sequence)?),
            Operation::Delete(on) => (2, self.delete(on)?),
            Operation::SetPayload { payload, key, on } => {
                let members = object_members(payload)?;
                let set = |whole: &mut Value| merge(whole, key.as_ref(), &members);
                (3, self.change_payloads(on, sequence, set)?)
            },
            Operation::OverwritePayload { payload, on } => {
                let members = object_members(payload)?;
                let set = |whole: &mut Value| *whole = Value::Object(members.clone());
                (4, self.change_payloads(on, sequence, set)?)
            },
            Operation::DeletePayload { keys, on } => {
                let remove = |whole: &mut Value| {
                    for key in keys {
                        key.remove(whole);
                    }
                };
                (5, self.change_payloads(on, sequence, remove)?)
            },
            Operation::ClearPayload(on) => {
                let clear = |whole: &mut Value| *whole = Value::Object(Map::new());
                (6, self.change_payloads(on, sequence, clear)?)
            },
        };
        let log = (self.tables.log, &mut self.txn);
        log::append(log, sequence, (kind, &ids), log::BOUNDS)?;
        Ok(Written {
            sequence,
            points: u64::try_from(ids.len()).unwrap_or(u64::MAX),
        })
    }

    fn upsert(&mut self, points: &[PointInput], sequence: Sequence) -> Result<Vec<PointId>, Error> {
        // Of an id that stands twice the last counts; ids ascend, so that the pages of the map that
        // are touched do too.
        let last: HashMap<PointId, &PointInput> =
            points.iter().map(|point| (point.id, point)).collect();
        let mut ids: Vec<PointId> = last.keys().copied().collect();
        ids.sort_unstable();
        for id in &ids {
            let Some(point) = last.get(id) else { continue };
            let key = id.key();
            if let Some((row, _version)) = self.lookup(*id)? {
                self.free(row)?;
            }
            let row = self.take_row();
            self.tables
                .ids
                .put(&mut self.txn, key.as_bytes(), &id_value(row, sequence))?;
            self.tables
                .rows
                .put(&mut self.txn, &row.to_be_bytes(), key.as_bytes())?;
            if point.payload != EMPTY {
                self.tables
                    .payloads
                    .put(&mut self.txn, &row.to_be_bytes(), &point.payload)?;
            }
            if !self.fields.is_empty() {
                let payload = parse(&point.payload)?;
                self.terms.add(&self.fields, row, &payload);
            }
            self.write_vector(row, &point.vector)?;
            self.live.insert(row);
            self.changed_live.insert(row);
        }
        Ok(ids)
    }

    fn delete(&mut self, on: &Selection) -> Result<Vec<PointId>, Error> {
        let chosen = self.select(on)?;
        for (id, row) in &chosen {
            self.tables.ids.delete(&mut self.txn, id.key().as_bytes())?;
            self.free(*row)?;
        }
        Ok(chosen.into_iter().map(|(id, _row)| id).collect())
    }

    /// Whether no payload grows beyond what an answer can carry: one that did could never be read again.
    fn check_growth(
        &mut self,
        payload: &[u8],
        key: Option<&FieldPath>,
        on: &Selection,
    ) -> Result<(), Error> {
        let chosen = self.select(on)?;
        for (_id, row) in &chosen {
            let stored = self.tables.payloads.get(&self.txn, &row.to_be_bytes())?;
            if stored.map_or(0, <[u8]>::len).saturating_add(payload.len()) <= PAYLOAD_BYTES_MAX {
                continue;
            }
            // What is replaced does not count twice.
            let mut whole = self.payload(*row)?;
            merge(&mut whole, key, &object_members(payload)?);
            if whole.to_string().len() > PAYLOAD_BYTES_MAX {
                return Err(too_large());
            }
        }
        self.chosen = Some(chosen);
        Ok(())
    }

    fn change_payloads(
        &mut self,
        on: &Selection,
        sequence: Sequence,
        change: impl Fn(&mut Value),
    ) -> Result<Vec<PointId>, Error> {
        let chosen = match self.chosen.take() {
            Some(chosen) => chosen,
            None => self.select(on)?,
        };
        for (id, row) in &chosen {
            let mut payload = self.payload(*row)?;
            if !self.fields.is_empty() {
                self.terms.remove(&self.fields, *row, &payload);
            }
            change(&mut payload);
            if !self.fields.is_empty() {
                self.terms.add(&self.fields, *row, &payload);
            }
            let (row_key, text) = (row.to_be_bytes(), payload.to_string());
            if text.as_bytes() == EMPTY {
                self.tables.payloads.delete(&mut self.txn, &row_key)?;
            } else {
                self.tables
                    .payloads
                    .put(&mut self.txn, &row_key, text.as_bytes())?;
            }
            self.tables.ids.put(
                &mut self.txn,
                id.key().as_bytes(),
                &id_value(*row, sequence),
            )?;
        }
        Ok(chosen.into_iter().map(|(id, _row)| id).collect())
    }

    /// The points of a selection that are there.
    fn select(&mut self, on: &Selection) -> Result<Vec<(PointId, Row)>, Error> {
        match on {
            Selection::Ids(ids) => {
                let mut ids = ids.clone();
                ids.sort_unstable();
                ids.dedup();
                let mut chosen = Vec::new();
                for id in ids {
                    if let Some((row, _version)) = self.lookup(id)? {
                        chosen.push((id, row));
                    }
                }
                Ok(chosen)
            },
            Selection::Filter(filter) => {
                // Terms of this batch must be seen by its own filters.
                self.terms.write(self.tables, &mut self.txn)?;
                let txn: &RoTxn<'_> = &self.txn;
                let from = (self.tables, txn, &self.fields, &self.live);
                let rows = matching(from, filter, &|| false)?;
                let mut chosen = Vec::new();
                for row in rows {
                    let key = self.tables.rows.get(&self.txn, &row.to_be_bytes())?;
                    let key =
                        key.ok_or_else(|| Error::Corrupt("a row without an id".to_owned()))?;
                    chosen.push((read_id(key)?, row));
                }
                Ok(chosen)
            },
        }
    }

    fn lookup(&self, id: PointId) -> Result<Option<(Row, Sequence)>, Error> {
        let value = self.tables.ids.get(&self.txn, id.key().as_bytes())?;
        value.map(read_id_value).transpose()
    }

    fn payload(&self, row: Row) -> Result<Value, Error> {
        let bytes = self.tables.payloads.get(&self.txn, &row.to_be_bytes())?;
        parse(bytes.unwrap_or(EMPTY))
    }

    fn take_row(&mut self) -> Row {
        if let Some(row) = self.reusable.min() {
            self.reusable.remove(row);
            self.freed.remove(row);
            self.changed_freed.insert(row);
            return row;
        }
        let row = self.frame.next_row;
        self.frame.next_row += 1;
        row
    }

    /// The row no longer belongs to a point. Its vector goes when its block has no point left.
    fn free(&mut self, row: Row) -> Result<(), Error> {
        if !self.fields.is_empty() {
            let payload = self.payload(row)?;
            self.terms.remove(&self.fields, row, &payload);
        }
        let key = row.to_be_bytes();
        self.tables.rows.delete(&mut self.txn, &key)?;
        self.tables.payloads.delete(&mut self.txn, &key)?;
        self.live.remove(row);
        self.freed.insert(row);
        self.changed_live.insert(row);
        self.changed_freed.insert(row);
        let blocks = self.environment.blocks;
        let (block, _at) = blocks.place(row);
        let (first, end) = blocks.span(block);
        let last = Row::try_from(end.saturating_sub(1)).unwrap_or(Row::MAX);
        let open = self.frame.next_row < last;
        if self.live.range_cardinality(first..=last) == 0 && !open {
            self.blocks.remove(&block);
            self.tables
                .blocks
                .delete(&mut self.txn, &block.to_be_bytes())?;
        }
        Ok(())
    }

    fn write_vector(&mut self, row: Row, vector: &[f32]) -> Result<(), Error> {
        let blocks = self.environment.blocks;
        let (block, at) = blocks.place(row);
        let open = match self.blocks.entry(block) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let stored = self.tables.blocks.get(&self.txn, &block.to_be_bytes())?;
                vacant.insert(match stored {
                    Some(bytes) => bytemuck::pod_collect_to_vec(bytes),
                    None => vec![0.0; blocks.bytes() / size_of::<f32>()],
                })
            },
        };
        let place = open.get_mut(at..at + vector.len());
        place
            .ok_or_else(|| Error::Corrupt("a short block".to_owned()))?
            .copy_from_slice(vector);
        Ok(())
    }

    /// Goes one step towards these payload indexes.
    pub(super) fn step_indexes(
        &mut self,
        wanted: &BTreeMap<String, IndexKind>,
    ) -> Result<Written, Error> {
        self.terms.write(self.tables, &mut self.txn)?;
        let live = &self.live;
        self.fields.step(self.tables, &mut self.txn, wanted, live)?;
        Ok(Written {
            sequence: self.frame.sequence,
            points: 0,
        })
    }

    /// Makes everything durable and visible.
    pub(super) fn commit(mut self) -> Result<(), Error> {
        self.terms.write(self.tables, &mut self.txn)?;
        for (block, vectors) in &self.blocks {
            let bytes = bytemuck::cast_slice(vectors);
            self.tables
                .blocks
                .put(&mut self.txn, &block.to_be_bytes(), bytes)?;
        }
        write_chunks(
            self.tables.live,
            &mut self.txn,
            &self.live,
            &self.changed_live,
        )?;
        write_chunks(
            self.tables.freed,
            &mut self.txn,
            &self.freed,
            &self.changed_freed,
        )?;
        write_position(self.tables, &mut self.txn, &self.frame)?;
        // What did not change stays where it is, and what was found out about it holds.
        let kept = |rows: RoaringBitmap, changed: &RoaringBitmap, before: &Arc<RoaringBitmap>| {
            if changed.is_empty() {
                Arc::clone(before)
            } else {
                Arc::new(rows)
            }
        };
        let frame = Frame {
            live: kept(self.live, &self.changed_live, &self.frame.live),
            freed: kept(self.freed, &self.changed_freed, &self.frame.freed),
            fields: Arc::new(self.fields),
            ..self.frame
        };
        self.environment.commit(self.txn, frame)
    }
}

/// Puts members into a payload, or into what lies at a key of it.
fn merge(whole: &mut Value, key: Option<&FieldPath>, members: &Map<String, Value>) {
    match (key, whole) {
        (Some(key), whole) => key.merge(whole, members),
        (None, Value::Object(whole)) => whole.extend(members.clone()),
        (None, _) => {},
    }
}

fn too_large() -> Error {
    let mib = PAYLOAD_BYTES_MAX / (1024 * 1024);
    Error::Invalid(format!("a payload of more than {mib} MiB"))
}

/// Whether a payload is the text of an object that can be read again when it lies so many steps below
/// the top. Only its ends and its brackets are looked at: the edge has checked it.
fn fits(payload: &[u8], below: usize) -> Result<(), Error> {
    if payload.first() != Some(&b'{') || payload.last() != Some(&b'}') {
        return Err(Error::Invalid("a payload that is no object".to_owned()));
    }
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(too_large());
    }
    if depth(payload).saturating_add(below) > JSON_DEPTH_MAX {
        return Err(Error::Invalid(format!(
            "a payload nested deeper than {JSON_DEPTH_MAX}"
        )));
    }
    Ok(())
}

/// How deep a JSON text is nested.
fn depth(json: &[u8]) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    let (mut text, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            _ if text => {},
            b'{' | b'[' => {
                open += 1;
                deepest = deepest.max(open);
            },
            b'}' | b']' => open = open.saturating_sub(1),
            _ => {},
        }
    }
    deepest
}

fn parse(payload: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(payload).map_err(|error| Error::Corrupt(format!("a payload: {error}")))
}

fn object_members(payload: &[u8]) -> Result<Map<String, Value>, Error> {
    serde_json::from_slice(payload)
        .map_err(|error| Error::Invalid(format!("a payload that is no object: {error}")))
}
