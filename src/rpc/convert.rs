//! Messages to words and back, by hand, both ways.
//!
//! A message is checked here once; behind it only words that hold what they promise. Filters and
//! payloads travel as the JSON they are, vectors as little-endian `f32`.

use bytes::Bytes;
use uuid::Uuid;

use super::proto;
use super::status::Error;
use crate::fault::Kind;
use crate::ids::{CollectionId, PointId, Sequence};
use crate::query::{
    FieldPath, Filter, Operation, PayloadSelector, PointInput, Record, ScoredPoint, SearchQuality,
    Selection,
};

fn wrong(what: &str) -> Error {
    Error::new(
        Kind::InvalidInput,
        "rpc.message",
        format!("malformed message: {what}"),
    )
}

/// A vector as it travels.
pub fn vector_to_wire(vector: &[f32]) -> Bytes {
    if cfg!(target_endian = "little") {
        Bytes::copy_from_slice(bytemuck::cast_slice(vector))
    } else {
        vector
            .iter()
            .flat_map(|component| component.to_le_bytes())
            .collect()
    }
}

/// The vector that travelled.
///
/// # Errors
/// When the bytes are no whole number of components.
pub fn vector_from_wire(bytes: &[u8]) -> Result<Vec<f32>, Error> {
    let (components, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(wrong("a vector with a broken component"));
    }
    Ok(components
        .iter()
        .map(|component| f32::from_le_bytes(*component))
        .collect())
}

/// An id as it travels.
pub fn id_to_wire(id: PointId) -> proto::PointId {
    let id = match id {
        PointId::Number(number) => proto::point_id::Id::Number(number),
        PointId::Uuid(uuid) => proto::point_id::Id::Uuid(Bytes::copy_from_slice(uuid.as_bytes())),
    };
    proto::PointId { id: Some(id) }
}

/// The id that travelled.
///
/// # Errors
/// When it is none.
pub fn id_from_wire(id: &proto::PointId) -> Result<PointId, Error> {
    match &id.id {
        Some(proto::point_id::Id::Number(number)) => Ok(PointId::Number(*number)),
        Some(proto::point_id::Id::Uuid(bytes)) => Uuid::from_slice(bytes)
            .map(PointId::Uuid)
            .map_err(|_length| wrong("a UUID that has not 16 bytes")),
        None => Err(wrong("no point id")),
    }
}

/// The ids that travelled.
///
/// # Errors
/// When one is none.
pub fn ids_from_wire(ids: &[proto::PointId]) -> Result<Vec<PointId>, Error> {
    ids.iter().map(id_from_wire).collect()
}

/// A collection's id as it travels.
pub fn collection_to_wire(id: CollectionId) -> Bytes {
    Bytes::copy_from_slice(id.0.as_bytes())
}

/// The collection's id that travelled.
///
/// # Errors
/// When it is none.
pub fn collection_from_wire(bytes: &[u8]) -> Result<CollectionId, Error> {
    Uuid::from_slice(bytes)
        .map(CollectionId)
        .map_err(|_length| wrong("a collection id that has not 16 bytes"))
}

/// What is known of a shard's searches.
pub fn quality_from_wire(quality: &proto::SearchQuality) -> SearchQuality {
    SearchQuality {
        recall: quality.recall,
        effort: quality.effort,
        samples: quality.samples,
    }
}

/// A filter as it travels: nothing for the one that matches all.
pub fn filter_to_wire(filter: &Filter) -> Bytes {
    if filter.is_empty() {
        Bytes::new()
    } else {
        Bytes::from(filter.to_json().to_string())
    }
}

/// The filter that travelled.
///
/// # Errors
/// When it is none.
pub fn filter_from_wire(bytes: &[u8]) -> Result<Filter, Error> {
    if bytes.is_empty() {
        return Ok(Filter::default());
    }
    let value: serde_json::Value =
        serde_json::from_slice(bytes).map_err(|_syntax| wrong("a filter that is no JSON"))?;
    Filter::parse(&value).map_err(|error| wrong(&format!("a filter: {error}")))
}

/// A payload selector as it travels.
pub fn selector_to_wire(selector: &PayloadSelector) -> proto::PayloadSelector {
    use proto::payload_selector::Kind as Wire;
    let (kind, fields) = match selector {
        PayloadSelector::None => (Wire::None, &[][..]),
        PayloadSelector::All => (Wire::All, &[][..]),
        PayloadSelector::Include(fields) => (Wire::Include, &fields[..]),
        PayloadSelector::Exclude(fields) => (Wire::Exclude, &fields[..]),
    };
    let fields = fields
        .iter()
        .map(|field| field.as_str().to_owned())
        .collect();
    proto::PayloadSelector {
        kind: kind.into(),
        fields,
    }
}

/// The payload selector that travelled.
///
/// # Errors
/// When a path of it is none.
pub fn selector_from_wire(
    selector: Option<&proto::PayloadSelector>,
) -> Result<PayloadSelector, Error> {
    use proto::payload_selector::Kind as Wire;
    let Some(selector) = selector else {
        return Ok(PayloadSelector::None);
    };
    Ok(match selector.kind() {
        Wire::None => PayloadSelector::None,
        Wire::All => PayloadSelector::All,
        Wire::Include => PayloadSelector::Include(paths(&selector.fields)?),
        Wire::Exclude => PayloadSelector::Exclude(paths(&selector.fields)?),
    })
}

fn paths(texts: &[String]) -> Result<Vec<FieldPath>, Error> {
    texts.iter().map(|text| path(text)).collect()
}

fn path(text: &str) -> Result<FieldPath, Error> {
    FieldPath::parse(text).map_err(|error| wrong(&format!("a field: {error}")))
}

/// A point of an answer as it travels.
pub fn record_to_wire(record: Record) -> proto::Record {
    proto::Record {
        id: Some(id_to_wire(record.id)),
        version: record.version.0,
        payload: record.payload.map(Bytes::from),
        vector: record.vector.map(|vector| vector_to_wire(&vector)),
    }
}

/// The point of an answer that travelled.
///
/// # Errors
/// When its id or its vector is none.
pub fn record_from_wire(record: proto::Record) -> Result<Record, Error> {
    Ok(Record {
        id: id_from_wire(&record.id.unwrap_or_default())?,
        version: Sequence(record.version),
        payload: record.payload.map(Vec::from),
        vector: record
            .vector
            .map(|bytes| vector_from_wire(&bytes))
            .transpose()?,
    })
}

/// A found point as it travels.
pub fn scored_to_wire(point: ScoredPoint) -> proto::ScoredRecord {
    proto::ScoredRecord {
        record: Some(record_to_wire(point.record)),
        score: point.score,
    }
}

/// The found point that travelled.
///
/// # Errors
/// When its record is none.
pub fn scored_from_wire(point: proto::ScoredRecord) -> Result<ScoredPoint, Error> {
    Ok(ScoredPoint {
        record: record_from_wire(point.record.unwrap_or_default())?,
        score: point.score,
    })
}

fn selection_to_wire(selection: &Selection) -> proto::Selection {
    match selection {
        Selection::Ids(ids) => proto::Selection {
            filter: None,
            ids: ids.iter().copied().map(id_to_wire).collect(),
        },
        Selection::Filter(filter) => proto::Selection {
            filter: Some(filter_to_wire(filter)),
            ids: Vec::new(),
        },
    }
}

fn selection_from_wire(selection: Option<&proto::Selection>) -> Result<Selection, Error> {
    let selection = selection.ok_or_else(|| wrong("no selection"))?;
    match &selection.filter {
        Some(filter) => filter_from_wire(filter).map(Selection::Filter),
        None => ids_from_wire(&selection.ids).map(Selection::Ids),
    }
}

/// A write as it travels.
pub fn operation_to_wire(operation: &Operation) -> proto::write_request::Operation {
    use proto::write_request::Operation as Wire;
    let set = |payload: &[u8], key: Option<&FieldPath>, on: &Selection| proto::SetPayload {
        payload: Bytes::copy_from_slice(payload),
        key: key.map(|key| key.as_str().to_owned()),
        on: Some(selection_to_wire(on)),
    };
    match operation {
        Operation::Upsert(points) => Wire::Upsert(proto::Upsert {
            points: points
                .iter()
                .map(|point| proto::PointInput {
                    id: Some(id_to_wire(point.id)),
                    vector: vector_to_wire(&point.vector),
                    payload: Bytes::copy_from_slice(&point.payload),
                })
                .collect(),
        }),
        Operation::Delete(on) => Wire::Delete(selection_to_wire(on)),
        Operation::SetPayload { payload, key, on } => {
            Wire::SetPayload(set(payload, key.as_ref(), on))
        },
        Operation::OverwritePayload { payload, on } => {
            Wire::OverwritePayload(set(payload, None, on))
        },
        Operation::DeletePayload { keys, on } => Wire::DeletePayload(proto::DeletePayload {
            keys: keys.iter().map(|key| key.as_str().to_owned()).collect(),
            on: Some(selection_to_wire(on)),
        }),
        Operation::ClearPayload(on) => Wire::ClearPayload(selection_to_wire(on)),
    }
}

/// The write that travelled.
///
/// # Errors
/// When a part of it is malformed.
pub fn operation_from_wire(
    operation: Option<proto::write_request::Operation>,
) -> Result<Operation, Error> {
    use proto::write_request::Operation as Wire;
    match operation.ok_or_else(|| wrong("no operation"))? {
        Wire::Upsert(upsert) => {
            let points = upsert.points.into_iter().map(|point| {
                Ok(PointInput {
                    id: id_from_wire(&point.id.unwrap_or_default())?,
                    vector: vector_from_wire(&point.vector)?,
                    payload: point.payload.into(),
                })
            });
            points.collect::<Result<_, Error>>().map(Operation::Upsert)
        },
        Wire::Delete(on) => selection_from_wire(Some(&on)).map(Operation::Delete),
        Wire::SetPayload(set) => Ok(Operation::SetPayload {
            key: set.key.as_deref().map(path).transpose()?,
            on: selection_from_wire(set.on.as_ref())?,
            payload: set.payload.into(),
        }),
        Wire::OverwritePayload(set) => Ok(Operation::OverwritePayload {
            on: selection_from_wire(set.on.as_ref())?,
            payload: set.payload.into(),
        }),
        Wire::DeletePayload(delete) => Ok(Operation::DeletePayload {
            keys: paths(&delete.keys)?,
            on: selection_from_wire(delete.on.as_ref())?,
        }),
        Wire::ClearPayload(on) => selection_from_wire(Some(&on)).map(Operation::ClearPayload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_write_arrives_as_it_was_sent() {
        let uuid = PointId::Uuid(Uuid::from_u128(5));
        let some = || Selection::Ids(vec![PointId::Number(7), uuid]);
        let field = || FieldPath::parse("a.b[].c").unwrap();
        let point = PointInput {
            id: uuid,
            vector: vec![0.5, -1e-30],
            payload: b"{}".to_vec(),
        };
        for operation in [
            Operation::Upsert(vec![point]),
            Operation::Delete(some()),
            Operation::Delete(Selection::Filter(Filter::default())),
            Operation::SetPayload {
                payload: b"{}".to_vec(),
                key: Some(field()),
                on: some(),
            },
            Operation::OverwritePayload {
                payload: b"{}".to_vec(),
                on: some(),
            },
            Operation::DeletePayload {
                keys: vec![field()],
                on: some(),
            },
            Operation::ClearPayload(some()),
        ] {
            let wire = operation_to_wire(&operation);
            assert_eq!(operation_from_wire(Some(wire)).unwrap(), operation);
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        assert!(vector_from_wire(&[0; 5]).is_err());
        assert!(id_from_wire(&proto::PointId { id: None }).is_err());
        let short = proto::point_id::Id::Uuid(Bytes::from_static(b"short"));
        assert!(id_from_wire(&proto::PointId { id: Some(short) }).is_err());
        assert!(operation_from_wire(None).is_err());
        assert!(filter_from_wire(b"{").is_err());
    }
}
