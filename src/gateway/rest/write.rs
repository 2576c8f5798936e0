//! Writes of points and payloads.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::input::vector::{Column, Input};
use super::input::{Asked, Id, List, Tree, compact, from_json, not_built, paths, selection};
use crate::gateway::Error;
use crate::limits::{KEPT_DEPTH_MAX, PATHS_MAX};
use crate::query::{FieldPath, Operation, PointInput, Shape};

#[derive(Deserialize)]
struct UpsertBody<'a> {
    #[serde(borrow)]
    points: Option<List<PointBody<'a>>>,
    #[serde(borrow)]
    batch: Option<BatchBody<'a>>,
    #[serde(default)]
    shard_key: Asked,
    #[serde(default)]
    update_filter: Asked,
    update_mode: Option<String>,
}

#[derive(Deserialize)]
struct PointBody<'a> {
    id: Id,
    vector: Input,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BatchBody<'a> {
    ids: List<Id>,
    vectors: Column,
    #[serde(borrow)]
    payloads: Option<List<Option<&'a RawValue>>>,
}

/// `PUT /collections/{collection}/points`
pub(super) async fn upsert(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let shape = api.cluster.shape(&collection, call.deadline()).await?;
    let points = call.parse(&api, move |bytes| points(bytes, &shape)).await?;
    let operation = Operation::Upsert(points);
    let options = call.write_options();
    let number = api.cluster.write(&collection, operation, options).await?;
    written(&call, number)
}

fn points(bytes: &[u8], shape: &Shape) -> Result<Vec<PointInput>, Error> {
    let body: UpsertBody<'_> = from_json(bytes)?;
    let mode = body.update_mode.as_deref().unwrap_or("upsert");
    not_built(&[
        ("shard_key", body.shard_key.0),
        ("update_filter", body.update_filter.0),
        ("update_mode", mode != "upsert"),
    ])?;
    let points = match (body.points, body.batch) {
        (Some(List(points)), None) => rows(points, shape)?,
        (None, Some(batch)) => columns(batch, shape)?,
        (None, None) => return Err(Error::Body("missing field `points`".to_owned())),
        (Some(_), Some(_)) => {
            return Err(Error::Body(
                "points and a batch are given, only one of them can be".to_owned(),
            ));
        },
    };
    if points.is_empty() {
        return Err(Error::Wrong("Empty update request".to_owned()));
    }
    Ok(points)
}

fn rows(points: Vec<PointBody<'_>>, shape: &Shape) -> Result<Vec<PointInput>, Error> {
    points
        .into_iter()
        .map(|point| {
            Ok(PointInput {
                id: point.id.0,
                vector: point.vector.admit(shape)?,
                payload: point.payload.map_or_else(|| Ok(b"{}".to_vec()), object)?,
            })
        })
        .collect()
}

fn columns(batch: BatchBody<'_>, shape: &Shape) -> Result<Vec<PointInput>, Error> {
    let ids = batch.ids.0;
    let vectors = batch.vectors.of(shape)?;
    let payloads = match batch.payloads {
        Some(List(payloads)) => payloads,
        None => vec![None; ids.len()],
    };
    if vectors.len() != ids.len() || payloads.len() != ids.len() {
        return Err(Error::Wrong(format!(
            "a batch has as many ids as vectors and payloads, not {}, {} and {}",
            ids.len(),
            vectors.len(),
            payloads.len()
        )));
    }
    ids.into_iter()
        .zip(vectors)
        .zip(payloads)
        .map(|((id, vector), payload)| {
            Ok(PointInput {
                id: id.0,
                vector: vector.admit_row(shape)?,
                payload: payload.map_or_else(|| Ok(b"{}".to_vec()), object)?,
            })
        })
        .collect()
}

/// A payload as it is stored.
fn object(raw: &RawValue) -> Result<Vec<u8>, Error> {
    if !raw.get().starts_with('{') {
        return Err(Error::Body("a payload is an object".to_owned()));
    }
    compact::compact(raw.get(), KEPT_DEPTH_MAX).map_err(|problem| Error::Body(problem.to_string()))
}

#[derive(Deserialize)]
struct SelectionBody {
    points: Option<List<Id>>,
    filter: Option<Tree>,
    #[serde(default)]
    shard_key: Asked,
}

/// `POST /collections/{collection}/points/delete`
pub(super) async fn delete(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    apply(api, call, |bytes| {
        let body: SelectionBody = from_json(bytes)?;
        not_built(&[("shard_key", body.shard_key.0)])?;
        let on = selection(body.points, body.filter.as_ref())?;
        Ok(Operation::Delete(on))
    })
    .await
}

/// `POST /collections/{collection}/points/payload/clear`
pub(super) async fn clear_payload(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    apply(api, call, |bytes| {
        let body: SelectionBody = from_json(bytes)?;
        not_built(&[("shard_key", body.shard_key.0)])?;
        let on = selection(body.points, body.filter.as_ref())?;
        Ok(Operation::ClearPayload(on))
    })
    .await
}

#[derive(Deserialize)]
struct PayloadBody<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    points: Option<List<Id>>,
    filter: Option<Tree>,
    key: Option<String>,
    #[serde(default)]
    shard_key: Asked,
}

/// `POST /collections/{collection}/points/payload`
pub(super) async fn set_payload(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    apply(api, call, |bytes| {
        let body: PayloadBody<'_> = from_json(bytes)?;
        not_built(&[("shard_key", body.shard_key.0)])?;
        let key = body.key.as_deref().map(FieldPath::parse).transpose()?;
        Ok(Operation::SetPayload {
            payload: object(body.payload)?,
            key,
            on: selection(body.points, body.filter.as_ref())?,
        })
    })
    .await
}

/// `PUT /collections/{collection}/points/payload`
pub(super) async fn overwrite_payload(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    apply(api, call, |bytes| {
        let body: PayloadBody<'_> = from_json(bytes)?;
        not_built(&[
            ("shard_key", body.shard_key.0),
            ("overwriting a part of a payload", body.key.is_some()),
        ])?;
        Ok(Operation::OverwritePayload {
            payload: object(body.payload)?,
            on: selection(body.points, body.filter.as_ref())?,
        })
    })
    .await
}

#[derive(Deserialize)]
struct DeletePayloadBody {
    keys: List<String, PATHS_MAX>,
    points: Option<List<Id>>,
    filter: Option<Tree>,
    #[serde(default)]
    shard_key: Asked,
}

/// `POST /collections/{collection}/points/payload/delete`
pub(super) async fn delete_payload(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    apply(api, call, |bytes| {
        let body: DeletePayloadBody = from_json(bytes)?;
        not_built(&[("shard_key", body.shard_key.0)])?;
        Ok(Operation::DeletePayload {
            keys: paths(body.keys.0.iter().map(|key| Some(key.as_str())))?,
            on: selection(body.points, body.filter.as_ref())?,
        })
    })
    .await
}

/// Reads an operation from the body, and applies it.
async fn apply(
    api: Arc<Api>,
    mut call: Call,
    parse: impl FnOnce(&[u8]) -> Result<Operation, Error> + Send + 'static,
) -> Result<Answer, Error> {
    let collection = call.collection()?;
    api.cluster.shape(&collection, call.deadline()).await?;
    let operation = call.parse(&api, parse).await?;
    let options = call.write_options();
    let number = api.cluster.write(&collection, operation, options).await?;
    written(&call, number)
}

/// The answer to a write.
pub(super) fn written(call: &Call, number: u64) -> Result<Answer, Error> {
    let status = if call.wait() {
        "completed"
    } else {
        "acknowledged"
    };
    Answer::of(&json!({"operation_id": number, "status": status}))
}
