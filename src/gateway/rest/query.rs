//! Queries: the nearest points of a vector or of a point, or points in order when nothing is asked
//! to be near.
//!
//! A query by id takes the vector of that point, and leaves the point itself out of the answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

use super::Api;
use super::answer::{Answer, Writer};
use super::call::Call;
use super::input::vector::{Input, check_name, numbers};
use super::input::{
    Asked, List, Tree, filter, from_json, no_id, not_built, payload_selector, vector_selector,
};
use super::read::limit;
use crate::clock::Moment;
use crate::gateway::{Error, Retrieve};
use crate::ids::{CollectionName, PointId};
use crate::limits::{ANSWER_POINTS_MAX, BATCH_ANSWER_POINTS_MAX, BATCH_SEARCHES_MAX};
use crate::query::{PayloadSelector, ScoredPoint, Scroll, Search, Shape};

/// What points are to be near to.
#[derive(Debug)]
enum Near {
    Vector(Input),
    Point(PointId),
    /// Something else, by its name.
    NotBuilt(&'static str),
}

#[derive(Deserialize)]
struct QueryBody {
    query: Option<Near>,
    using: Option<String>,
    filter: Option<Tree>,
    params: Option<ParamsBody>,
    score_threshold: Option<f64>,
    limit: Option<u64>,
    offset: Option<u64>,
    with_payload: Option<Tree>,
    with_vector: Option<Tree>,
    #[serde(default)]
    prefetch: Asked,
    #[serde(default)]
    lookup_from: Asked,
    #[serde(default)]
    shard_key: Asked,
}

#[derive(Deserialize)]
struct ParamsBody {
    hnsw_ef: Option<u64>,
    exact: Option<bool>,
    #[serde(rename = "indexed_only")]
    _indexed_only: Option<bool>,
}

#[derive(Deserialize)]
struct BatchBody {
    searches: List<QueryBody, BATCH_SEARCHES_MAX>,
}

/// A query whose vector is there or is to be looked up, or a walk.
enum Asks {
    Search(Search),
    /// Its vector is that of `exclude`.
    SearchNearPoint(Search, PointId),
    /// The points after so many.
    Walk(Scroll, usize),
}

impl Asks {
    /// Points that have to be found for its answer.
    const fn points(&self) -> usize {
        match self {
            Self::Search(search) | Self::SearchNearPoint(search, _) => {
                search.limit.saturating_add(search.offset)
            },
            Self::Walk(walk, _) => walk.limit,
        }
    }
}

/// `POST /collections/{collection}/points/query`
pub(super) async fn one(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let shape = api.cluster.shape(&collection, call.deadline()).await?;
    let of = shape.clone();
    let asks = call
        .parse(&api, move |bytes| Ok(vec![asks(from_json(bytes)?, &of)?]))
        .await?;
    let found = answer(&api, &collection, asks, call.deadline()).await?;
    let mut result = Writer::new();
    let points = found.first().map(Vec::as_slice).unwrap_or_default();
    write_points(&mut result, points, &shape)?;
    Ok(result.finish())
}

/// `POST /collections/{collection}/points/query/batch`
pub(super) async fn batch(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let shape = api.cluster.shape(&collection, call.deadline()).await?;
    let of = shape.clone();
    let asks = call
        .parse(&api, move |bytes| batch_body(bytes, &of))
        .await?;
    let found = answer(&api, &collection, asks, call.deadline()).await?;
    let mut result = Writer::new();
    result.list(&found, |result, points| {
        write_points(result, points, &shape)
    })?;
    Ok(result.finish())
}

fn write_points(result: &mut Writer, points: &[ScoredPoint], shape: &Shape) -> Result<(), Error> {
    result.raw(b"{\"points\":");
    result.list(points, |result, point| result.scored(point, shape))?;
    result.raw(b"}");
    Ok(())
}

fn batch_body(bytes: &[u8], shape: &Shape) -> Result<Vec<Asks>, Error> {
    let body: BatchBody = from_json(bytes)?;
    let asks = body.searches.0.into_iter().map(|body| asks(body, shape));
    let asks = asks.collect::<Result<Vec<Asks>, Error>>()?;
    let points: usize = asks.iter().map(Asks::points).sum();
    if points > BATCH_ANSWER_POINTS_MAX {
        let must = format!("{BATCH_ANSWER_POINTS_MAX} or smaller, all limits and offsets together");
        return Err(Error::out_of_range("searches", points, &must));
    }
    Ok(asks)
}

fn asks(body: QueryBody, shape: &Shape) -> Result<Asks, Error> {
    not_built(&[
        ("prefetch", body.prefetch.0),
        ("lookup_from", body.lookup_from.0),
        ("shard_key", body.shard_key.0),
    ])?;
    let using = body.using.as_deref();
    check_name(using, shape)?;
    let limit = limit("internal.limit", body.limit)?;
    let offset = body.offset.unwrap_or(0);
    let offset = usize::try_from(offset)
        .ok()
        .filter(|offset| offset.saturating_add(limit) <= ANSWER_POINTS_MAX)
        .ok_or_else(|| {
            let must = format!("{ANSWER_POINTS_MAX} or smaller, together with the limit");
            Error::out_of_range("internal.offset", offset, &must)
        })?;
    let filter = filter(body.filter.as_ref())?;
    let payload = payload_selector(body.with_payload, PayloadSelector::None)?;
    let with_vector = vector_selector(body.with_vector, shape)?;
    let Some(near) = body.query else {
        let walk = Scroll {
            filter,
            from: None,
            limit: limit + offset,
            payload,
            with_vector,
        };
        return Ok(Asks::Walk(walk, offset));
    };
    let (vector, exclude) = match near {
        Near::Vector(input) => (input.admit_as(using, shape)?, None),
        Near::Point(id) => (Vec::new(), Some(id)),
        Near::NotBuilt(name) => return Err(Error::not_built(name)),
    };
    let params = body.params.as_ref();
    let search = Search {
        vector,
        exclude,
        filter,
        offset,
        limit,
        score_threshold: body.score_threshold.map(threshold).transpose()?,
        exact: params.and_then(|params| params.exact).unwrap_or(false),
        effort: params.and_then(|params| params.hnsw_ef).map(effort),
        payload,
        with_vector,
    };
    Ok(match exclude {
        None => Asks::Search(search),
        Some(id) => Asks::SearchNearPoint(search, id),
    })
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "what does not fit becomes infinite, and is refused as such"
)]
fn threshold(threshold: f64) -> Result<f32, Error> {
    let threshold = threshold as f32;
    if threshold.is_finite() {
        return Ok(threshold);
    }
    Err(Error::Body(
        "score_threshold is no 32-bit number".to_owned(),
    ))
}

/// More candidates than an answer may hold are never of use.
fn effort(effort: u64) -> u32 {
    let most = u32::try_from(ANSWER_POINTS_MAX).unwrap_or(u32::MAX);
    u32::try_from(effort).unwrap_or(most).clamp(1, most)
}

/// The answers of several queries: points looked up first, then all searches at once.
async fn answer(
    api: &Api,
    collection: &CollectionName,
    mut asks: Vec<Asks>,
    deadline: Moment,
) -> Result<Vec<Vec<ScoredPoint>>, Error> {
    look_up(api, collection, &mut asks, deadline).await?;
    let mut answers = Vec::with_capacity(asks.len());
    let mut searches = Vec::new();
    let mut places = Vec::new();
    for (place, ask) in asks.into_iter().enumerate() {
        answers.push(Vec::new());
        match ask {
            Asks::Search(search) | Asks::SearchNearPoint(search, _) => {
                searches.push(search);
                places.push(place);
            },
            Asks::Walk(walk, offset) => {
                let page = api.cluster.scroll(collection, walk, deadline).await?;
                let points = page.records.into_iter().skip(offset);
                let unscored = points.map(|record| ScoredPoint { record, score: 0.0 });
                if let Some(answer) = answers.get_mut(place) {
                    *answer = unscored.collect();
                }
            },
        }
    }
    if searches.is_empty() {
        return Ok(answers);
    }
    let found = api.cluster.search(collection, searches, deadline).await?;
    for (place, points) in places.into_iter().zip(found) {
        if let Some(answer) = answers.get_mut(place) {
            *answer = points;
        }
    }
    Ok(answers)
}

/// Puts the vectors of points where they are asked for.
async fn look_up(
    api: &Api,
    collection: &CollectionName,
    asks: &mut [Asks],
    deadline: Moment,
) -> Result<(), Error> {
    let mut ids: Vec<PointId> = asks
        .iter()
        .filter_map(|ask| match ask {
            Asks::SearchNearPoint(_, id) => Some(*id),
            Asks::Search(_) | Asks::Walk(..) => None,
        })
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    ids.sort_unstable();
    ids.dedup();
    let what = Retrieve {
        ids,
        payload: PayloadSelector::None,
        with_vector: true,
    };
    let records = api.cluster.retrieve(collection, what, deadline).await?;
    let vectors: HashMap<PointId, Vec<f32>> = records
        .into_iter()
        .filter_map(|record| Some((record.id, record.vector?)))
        .collect();
    for ask in asks {
        if let Asks::SearchNearPoint(search, id) = ask {
            let vector = vectors.get(id).ok_or(Error::NoVectorOf(*id))?;
            search.vector.clone_from(vector);
        }
    }
    Ok(())
}

/// Queries that are known and not built.
const NOT_BUILT: [&str; 9] = [
    "recommend",
    "discover",
    "context",
    "order_by",
    "fusion",
    "rrf",
    "formula",
    "sample",
    "relevance_feedback",
];

impl<'de> Deserialize<'de> for Near {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nears;

        impl<'de> Visitor<'de> for Nears {
            type Value = Near;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vector, a point ID or a query object")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Near, E> {
                Ok(Near::Point(PointId::Number(number)))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Near, E> {
                Err(E::custom(no_id(number)))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Near, E> {
                Err(E::custom(no_id(format_args!("{number:?}"))))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Near, E> {
                let uuid = Uuid::try_parse(text);
                let uuid = uuid.map_err(|_other| E::custom(no_id(text)))?;
                Ok(Near::Point(PointId::Uuid(uuid)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Near, A::Error> {
                numbers(seq).map(Near::Vector)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Near, A::Error> {
                query_object(map)
            }
        }

        deserializer.deserialize_any(Nears)
    }
}

fn query_object<'de, A: MapAccess<'de>>(mut map: A) -> Result<Near, A::Error> {
    let (mut nearest, mut later, mut unknown) = (None, None, None);
    while let Some(key) = map.next_key::<String>()? {
        if key == "nearest" {
            if nearest.replace(map.next_value()?).is_some() {
                return Err(A::Error::duplicate_field("nearest"));
            }
            continue;
        }
        let Asked(asked) = map.next_value()?;
        match key.as_str() {
            "mmr" if asked => later = Some("mmr"),
            "mmr" => {},
            "indices" | "values" => later = Some("sparse vectors"),
            "text" | "image" | "object" | "model" | "options" => later = Some("inference"),
            other => match NOT_BUILT.into_iter().find(|known| *known == other) {
                Some(known) => later = Some(known),
                None => unknown = Some(key),
            },
        }
    }
    match (nearest, later, unknown) {
        (_, Some(name), _) => Ok(Near::NotBuilt(name)),
        (Some(nearest), None, _) => Ok(nearest),
        (None, None, Some(key)) => Err(A::Error::custom(format!("unknown query `{key}`"))),
        (None, None, None) => Err(A::Error::missing_field("nearest")),
    }
}
