//! A view of a shard at one commit: points, payloads, vectors, and which rows match a filter.

use std::collections::{BTreeMap, HashSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use heed::{RoTxn, WithoutTls};
use roaring::RoaringBitmap;
use serde_json::Value;

use super::Error;
use super::environment::{Environment, Frame};
use super::gate::Ticket;
use super::layout::{Tables, read_id, read_id_value};
use super::payload_index::Fields;
use super::places::Places;
use crate::clock::{Clock, Moment};
use crate::ids::{PointId, Sequence};
use crate::limits::RPC_MESSAGE_BYTES_MAX;
use crate::query::{Condition, Filter, PayloadSelector, Record};
use crate::rows::{Row, Rows};
use crate::vector::Distance;

const EMPTY: &[u8] = b"{}";
/// Points that a long read looks at between two looks at the clock.
const LOOK_EVERY: usize = 256;
/// Bytes of a page of points: it must fit into a message.
const PAGE_BYTES_MAX: usize = RPC_MESSAGE_BYTES_MAX / 4;
/// Bytes of the points that are asked for by their ids: about half of what a message carries.
const ANSWER_BYTES_MAX: usize = RPC_MESSAGE_BYTES_MAX / 2;

/// A view of a shard at one commit. Holding it holds back the reuse of disk space.
pub struct Snapshot {
    // Before the ticket and the environment: fields are dropped in order.
    // LMDB wants one thread at a time in a transaction.
    txn: Mutex<RoTxn<'static, WithoutTls>>,
    _ticket: Ticket,
    frame: Frame,
    places: Arc<Places>,
    environment: Arc<Environment>,
    /// When reading ends, done or not.
    deadline: Option<(Arc<dyn Clock>, Moment)>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("sequence", &self.frame.sequence)
            .finish_non_exhaustive()
    }
}

/// A page of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Points, ids ascending.
    pub records: Vec<Record>,
    /// The first id of the next page.
    pub next: Option<PointId>,
}

impl Snapshot {
    pub(super) fn take(environment: &Arc<Environment>) -> Result<Self, Error> {
        let reading = environment.read()?;
        Ok(Self {
            txn: Mutex::new(reading.txn),
            _ticket: reading.ticket,
            frame: reading.frame,
            places: reading.places,
            environment: Arc::clone(environment),
            deadline: None,
        })
    }

    /// The same view, whose long reads end with [`Error::Late`] after this moment.
    #[must_use]
    pub fn until(mut self, clock: Arc<dyn Clock>, deadline: Moment) -> Self {
        self.deadline = Some((clock, deadline));
        self
    }

    fn is_late(&self) -> bool {
        let late = |(clock, deadline): &(Arc<dyn Clock>, Moment)| clock.now() >= *deadline;
        self.deadline.as_ref().is_some_and(late)
    }

    fn txn(&self) -> MutexGuard<'_, RoTxn<'static, WithoutTls>> {
        self.txn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tables(&self) -> Tables {
        self.environment.tables
    }

    /// The rows of its points. All snapshots of one commit have the same.
    pub fn live_rows(&self) -> &Arc<RoaringBitmap> {
        &self.frame.live
    }

    /// The last write that it shows.
    pub fn sequence(&self) -> Sequence {
        self.frame.sequence
    }

    /// The row and version of a point.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn row_of(&self, id: PointId) -> Result<Option<(Row, Sequence)>, Error> {
        row_of(self.tables(), &self.txn(), id)
    }

    /// The point of a row.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row belongs to none.
    pub fn id_of(&self, row: Row) -> Result<PointId, Error> {
        id_of(self.tables(), &self.txn(), row)
    }

    /// A point with the parts that are asked for.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the row belongs to none.
    pub fn record(
        &self,
        row: Row,
        payload: &PayloadSelector,
        with_vector: bool,
    ) -> Result<Record, Error> {
        let txn = self.txn();
        let id = id_of(self.tables(), &txn, row)?;
        let found = row_of(self.tables(), &txn, id)?;
        let found = found.ok_or_else(|| Error::Corrupt("a row without a point".to_owned()))?;
        self.assemble(&txn, id, found, (payload, with_vector))
    }

    fn assemble(
        &self,
        txn: &RoTxn<'_>,
        id: PointId,
        (row, version): (Row, Sequence),
        (payload, with_vector): (&PayloadSelector, bool),
    ) -> Result<Record, Error> {
        let payload = if matches!(payload, PayloadSelector::None) {
            None
        } else {
            payload.apply(payload_of(self.tables(), txn, row)?)
        };
        let vector = if with_vector {
            // Not `self.vector`, which would wait for the lock that `txn` comes from.
            let (block, at) = self.environment.blocks.place(row);
            let block = block_of(self.tables(), txn, block);
            let vector = block.get(at..at + self.environment.blocks.dimensions);
            Some(
                vector
                    .ok_or_else(|| Error::Corrupt("a row without a vector".to_owned()))?
                    .to_vec(),
            )
        } else {
            None
        };
        Ok(Record {
            id,
            version,
            payload,
            vector,
        })
    }

    /// The points of these ids that are there, in this order, each once.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Late`]; [`Error::Invalid`] when they are more than an answer holds.
    pub fn retrieve(
        &self,
        ids: &[PointId],
        payload: &PayloadSelector,
        with_vector: bool,
    ) -> Result<Vec<Record>, Error> {
        let (mut records, mut room) = (Vec::new(), ANSWER_BYTES_MAX);
        let mut known = HashSet::new();
        let txn = self.txn();
        for (seen, id) in ids.iter().enumerate() {
            if seen % LOOK_EVERY == 0 && self.is_late() {
                return Err(Error::Late);
            }
            if !known.insert(*id) {
                continue;
            }
            let Some(found) = row_of(self.tables(), &txn, *id)? else {
                continue;
            };
            let record = self.assemble(&txn, *id, found, (payload, with_vector))?;
            let left = room.checked_sub(record.about_bytes());
            room = left.ok_or_else(|| {
                let what = "the answer is too large: ask for fewer points, or for less of them";
                Error::Invalid(what.to_owned())
            })?;
            records.push(record);
        }
        Ok(records)
    }

    /// Points that match, ids ascending, from an id on: at most `limit`, and fewer when they are large.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Late`].
    pub fn scroll(
        &self,
        (from, limit): (Option<PointId>, usize),
        filter: &Filter,
        payload: &PayloadSelector,
        with_vector: bool,
    ) -> Result<Page, Error> {
        let (tables, txn) = (self.tables(), self.txn());
        let candidates = candidates(tables, &txn, &self.frame.fields, filter)?;
        let from = from.map(PointId::key);
        let start = from
            .as_ref()
            .map_or(Bound::Unbounded, |key| Bound::Included(key.as_bytes()));
        let (mut records, mut bytes) = (Vec::new(), 0_usize);
        let entries = tables.ids.range(&txn, &(start, Bound::Unbounded))?;
        for (seen, entry) in entries.enumerate() {
            if seen % LOOK_EVERY == 0 && self.is_late() {
                return Err(Error::Late);
            }
            let (key, value) = entry?;
            let (row, version) = read_id_value(value)?;
            let id = read_id(key)?;
            let fits = match &candidates {
                Some((rows, _exact)) if !rows.contains(row) => false,
                Some((_rows, true)) => true,
                _ => filter.is_empty() || matches(tables, &txn, (id, row), filter)?,
            };
            if !fits {
                continue;
            }
            if records.len() == limit || bytes >= PAGE_BYTES_MAX {
                return Ok(Page {
                    records,
                    next: Some(id),
                });
            }
            let record = self.assemble(&txn, id, (row, version), (payload, with_vector))?;
            bytes = bytes.saturating_add(record.about_bytes());
            records.push(record);
        }
        Ok(Page {
            records,
            next: None,
        })
    }

    /// The rows of the points that match, exactly.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Late`].
    pub fn matching(&self, filter: &Filter) -> Result<RoaringBitmap, Error> {
        let txn = self.txn();
        let (fields, live) = (&*self.frame.fields, &*self.frame.live);
        let txn: &RoTxn<'_> = &txn;
        let from = (self.tables(), txn, fields, live);
        matching(from, filter, &|| self.is_late())
    }

    /// The vectors of a block, for as long as the snapshot lives.
    fn block(&self, block: u32) -> &[f32] {
        let number = usize::try_from(block).unwrap_or(usize::MAX);
        let whole = self.environment.blocks.bytes() / size_of::<f32>();
        let (start, length) = match self.places.get(number) {
            Some(start) => (start, whole),
            None => {
                let txn = self.txn();
                let vectors = block_of(self.tables(), &txn, block);
                if vectors.len() == whole {
                    self.places.put(number, vectors.as_ptr());
                }
                (vectors.as_ptr(), vectors.len())
            },
        };
        #[expect(
            unsafe_code,
            reason = "the slice outlives the lock, not the transaction"
        )]
        // SAFETY: the slice points into the map at pages that belong to this read transaction's view.
        // LMDB neither changes nor frees them while the transaction is open, and it is open as long as
        // `self`, to which the returned slice is bound. The lock only orders the look-up. A place that
        // another snapshot found is of a transaction of the same number, so of the same view, and of a
        // block as long as all are; the environment forgets the places before it moves the map, which it
        // does while no snapshot is there.
        unsafe {
            std::slice::from_raw_parts(start, length)
        }
    }

    /// How many points each payload index that answers knows.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Late`].
    pub fn payload_indexes(&self) -> Result<BTreeMap<String, u64>, Error> {
        let txn = self.txn();
        let txn: &RoTxn<'_> = &txn;
        let from = (self.tables(), txn);
        self.frame
            .fields
            .points(from, &self.frame.live, &|| self.is_late())
    }
}

impl Rows for Snapshot {
    fn dimensions(&self) -> usize {
        self.environment.blocks.dimensions
    }

    fn distance(&self) -> Distance {
        self.environment.identity.distance
    }

    fn live(&self) -> &RoaringBitmap {
        &self.frame.live
    }

    fn vector(&self, row: Row) -> Option<&[f32]> {
        let (block, at) = self.environment.blocks.place(row);
        self.block(block)
            .get(at..at + self.environment.blocks.dimensions)
    }

    fn visit(&self, rows: &RoaringBitmap, visit: &mut dyn FnMut(Row, &[f32]) -> ControlFlow<()>) {
        let blocks = self.environment.blocks;
        let mut open: Option<(u32, &[f32])> = None;
        for row in rows {
            let (block, at) = blocks.place(row);
            if open.is_none_or(|(number, _vectors)| number != block) {
                open = Some((block, self.block(block)));
            }
            let vector = open.and_then(|(_block, vectors)| vectors.get(at..at + blocks.dimensions));
            if let Some(vector) = vector
                && visit(row, vector).is_break()
            {
                return;
            }
        }
    }
}

/// The vectors of a block; none when it is not there. It has pages of its own, so it is aligned.
fn block_of<'t>(tables: Tables, txn: &'t RoTxn<'_>, block: u32) -> &'t [f32] {
    let bytes = tables.blocks.get(txn, &block.to_be_bytes()).ok().flatten();
    bytes
        .and_then(|bytes| bytemuck::try_cast_slice(bytes).ok())
        .unwrap_or_default()
}

fn row_of(tables: Tables, txn: &RoTxn<'_>, id: PointId) -> Result<Option<(Row, Sequence)>, Error> {
    tables
        .ids
        .get(txn, id.key().as_bytes())?
        .map(read_id_value)
        .transpose()
}

fn id_of(tables: Tables, txn: &RoTxn<'_>, row: Row) -> Result<PointId, Error> {
    let key = tables.rows.get(txn, &row.to_be_bytes())?;
    read_id(key.ok_or_else(|| Error::Corrupt("a row without an id".to_owned()))?)
}

fn payload_of<'t>(tables: Tables, txn: &'t RoTxn<'_>, row: Row) -> Result<&'t [u8], Error> {
    Ok(tables
        .payloads
        .get(txn, &row.to_be_bytes())?
        .unwrap_or(EMPTY))
}

fn matches(
    tables: Tables,
    txn: &RoTxn<'_>,
    (id, row): (PointId, Row),
    filter: &Filter,
) -> Result<bool, Error> {
    let payload: Value = serde_json::from_slice(payload_of(tables, txn, row)?)
        .map_err(|error| Error::Corrupt(format!("a payload: {error}")))?;
    Ok(filter.matches(id, &payload))
}

/// The live rows that match, exactly. Ends when it is late.
pub(super) fn matching(
    (tables, txn, fields, live): (Tables, &RoTxn<'_>, &Fields, &RoaringBitmap),
    filter: &Filter,
    late: &dyn Fn() -> bool,
) -> Result<RoaringBitmap, Error> {
    let (rows, exact) = match candidates(tables, txn, fields, filter)? {
        Some((rows, exact)) => (rows & live, exact),
        None => (live.clone(), filter.is_empty()),
    };
    if exact {
        return Ok(rows);
    }
    let mut found = RoaringBitmap::new();
    for (seen, row) in rows.iter().enumerate() {
        if seen % LOOK_EVERY == 0 && late() {
            return Err(Error::Late);
        }
        if matches(tables, txn, (id_of(tables, txn, row)?, row), filter)? {
            found.insert(row);
        }
    }
    Ok(found)
}

/// The rows that can match, if the indexes can tell anything, and whether they all do. Rows that are
/// no longer live may be among them.
fn candidates(
    tables: Tables,
    txn: &RoTxn<'_>,
    fields: &Fields,
    filter: &Filter,
) -> Result<Option<(RoaringBitmap, bool)>, Error> {
    let of = |condition: &Condition| of_condition(tables, txn, fields, condition);
    let (mut rows, mut exact): (Option<RoaringBitmap>, bool) = (None, filter.min_should.is_none());
    for condition in &filter.must {
        match of(condition)? {
            Some((found, exactly)) => {
                exact &= exactly;
                rows = Some(rows.map_or_else(|| found.clone(), |rows| rows & &found));
            },
            None => exact = false,
        }
    }
    if !filter.should.is_empty() {
        let (mut any, mut all_known) = (RoaringBitmap::new(), true);
        for condition in &filter.should {
            match of(condition)? {
                Some((found, exactly)) => {
                    exact &= exactly;
                    any |= found;
                },
                None => all_known = false,
            }
        }
        if all_known {
            rows = Some(rows.map_or_else(|| any.clone(), |rows| rows & &any));
        } else {
            exact = false;
        }
    }
    // Without rows to take from there is nothing that a denial could narrow exactly.
    for condition in &filter.must_not {
        match (of(condition)?, &mut rows) {
            (Some((found, true)), Some(rows)) => *rows -= found,
            _ => exact = false,
        }
    }
    Ok(rows.map(|rows| (rows, exact)))
}

fn of_condition(
    tables: Tables,
    txn: &RoTxn<'_>,
    fields: &Fields,
    condition: &Condition,
) -> Result<Option<(RoaringBitmap, bool)>, Error> {
    match condition {
        Condition::Field(path, test) => fields.rows((tables, txn), path, test),
        Condition::HasId(ids) => {
            let mut rows = RoaringBitmap::new();
            for id in ids {
                if let Some(value) = tables.ids.get(txn, id.key().as_bytes())? {
                    rows.insert(read_id_value(value)?.0);
                }
            }
            Ok(Some((rows, true)))
        },
        Condition::Filter(filter) => candidates(tables, txn, fields, filter),
        Condition::IsEmpty(_) | Condition::IsNull(_) => Ok(None),
    }
}
