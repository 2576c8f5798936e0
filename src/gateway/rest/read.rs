//! Reads of points by id and in order, and counts.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::Api;
use super::answer::{Answer, Writer};
use super::call::Call;
use super::input::{
    Asked, Id, List, Tree, filter, from_json, not_built, payload_selector, vector_selector,
};
use crate::gateway::{Error, Retrieve};
use crate::limits::ANSWER_POINTS_MAX;
use crate::query::{Filter, PayloadSelector, Scroll, Shape};

/// Points of an answer when the request does not say.
pub(super) const LIMIT_DEFAULT: u64 = 10;

/// `GET /collections/{collection}/points/{id}`
pub(super) async fn get(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let shape = api.cluster.shape(&collection, call.deadline()).await?;
    let id = Id::from_path(call.parameter("id"))?;
    let what = Retrieve {
        ids: vec![id],
        payload: PayloadSelector::All,
        with_vector: true,
    };
    let records = api
        .cluster
        .retrieve(&collection, what, call.deadline())
        .await?;
    let record = records.first().ok_or(Error::NoPoint(id))?;
    let mut result = Writer::new();
    result.record(record, &shape)?;
    Ok(result.finish())
}

#[derive(Deserialize)]
struct RetrieveBody {
    ids: List<Id>,
    with_payload: Option<Tree>,
    with_vector: Option<Tree>,
    #[serde(default)]
    shard_key: Asked,
}

/// `POST /collections/{collection}/points`
pub(super) async fn retrieve(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let shape = api.cluster.shape(&collection, call.deadline()).await?;
    let of = shape.clone();
    let what = call
        .parse(&api, move |bytes| retrieve_body(bytes, &of))
        .await?;
    let records = api
        .cluster
        .retrieve(&collection, what, call.deadline())
        .await?;
    let mut result = Writer::new();
    result.list(&records, |result, record| result.record(record, &shape))?;
    Ok(result.finish())
}

fn retrieve_body(bytes: &[u8], shape: &Shape) -> Result<Retrieve, Error> {
    let body: RetrieveBody = from_json(bytes)?;
    not_built(&[("shard_key", body.shard_key.0)])?;
    Ok(Retrieve {
        ids: body.ids.0.into_iter().map(|Id(id)| id).collect(),
        payload: payload_selector(body.with_payload, PayloadSelector::All)?,
        with_vector: vector_selector(body.with_vector, shape)?,
    })
}

#[derive(Deserialize)]
struct ScrollBody {
    filter: Option<Tree>,
    limit: Option<u64>,
    offset: Option<Id>,
    with_payload: Option<Tree>,
    with_vector: Option<Tree>,
    #[serde(default)]
    order_by: Asked,
    #[serde(default)]
    shard_key: Asked,
}

/// `POST /collections/{collection}/points/scroll`
pub(super) async fn scroll(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let shape = api.cluster.shape(&collection, call.deadline()).await?;
    let of = shape.clone();
    let what = call
        .parse(&api, move |bytes| scroll_body(bytes, &of))
        .await?;
    let page = api
        .cluster
        .scroll(&collection, what, call.deadline())
        .await?;
    let mut result = Writer::new();
    result.raw(b"{\"points\":");
    result.list(&page.records, |result, record| {
        result.record(record, &shape)
    })?;
    result.raw(b",\"next_page_offset\":");
    result.json(&page.next)?;
    result.raw(b"}");
    Ok(result.finish())
}

fn scroll_body(bytes: &[u8], shape: &Shape) -> Result<Scroll, Error> {
    let body: ScrollBody = from_json(bytes)?;
    not_built(&[
        ("order_by", body.order_by.0),
        ("shard_key", body.shard_key.0),
    ])?;
    Ok(Scroll {
        filter: filter(body.filter.as_ref())?,
        from: body.offset.map(|Id(id)| id),
        limit: limit("limit", body.limit)?,
        payload: payload_selector(body.with_payload, PayloadSelector::All)?,
        with_vector: vector_selector(body.with_vector, shape)?,
    })
}

/// How many points an answer may hold.
pub(super) fn limit(field: &'static str, limit: Option<u64>) -> Result<usize, Error> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 {
        return Err(Error::out_of_range(field, limit, "1 or larger"));
    }
    usize::try_from(limit)
        .ok()
        .filter(|limit| *limit <= ANSWER_POINTS_MAX)
        .ok_or_else(|| {
            let must = format!("{ANSWER_POINTS_MAX} or smaller");
            Error::out_of_range(field, limit, &must)
        })
}

#[derive(Deserialize)]
struct CountBody {
    filter: Option<Tree>,
    #[serde(rename = "exact")]
    _exact: Option<bool>,
    #[serde(default)]
    shard_key: Asked,
}

/// `POST /collections/{collection}/points/count`
pub(super) async fn count(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    api.cluster.shape(&collection, call.deadline()).await?;
    let filter = call.parse(&api, count_body).await?;
    let count = api
        .cluster
        .count(&collection, filter, call.deadline())
        .await?;
    Answer::of(&json!({"count": count}))
}

/// Counts are exact, whether asked to be or not.
fn count_body(bytes: &[u8]) -> Result<Filter, Error> {
    let body: CountBody = from_json(bytes)?;
    not_built(&[("shard_key", body.shard_key.0)])?;
    filter(body.filter.as_ref())
}
