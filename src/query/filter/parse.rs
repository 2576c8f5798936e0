//! The spelling of filters in requests, read and written. Processes send each other the same.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Bounds, Condition, FieldTest, Filter, Scalar};
use crate::ids::PointId;
use crate::limits::{FILTER_CONDITIONS_MAX, FILTER_DEPTH_MAX};
use crate::query::FieldPath;

/// Why a value is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It can never be one.
    #[error("{0}")]
    Malformed(String),
    /// It is one that this version cannot answer.
    #[error("filter condition `{0}` is not built yet")]
    NotBuilt(&'static str),
}

fn malformed(text: impl Into<String>) -> Error {
    Error::Malformed(text.into())
}

/// Conditions of the API that are known and not built.
const NOT_BUILT: [&str; 8] = [
    "geo_bounding_box",
    "geo_radius",
    "geo_polygon",
    "values_count",
    "datetime_range",
    "nested",
    "has_vector",
    "text",
];

/// The whole number as a float, when that is exact.
pub(super) fn exact(number: i64) -> Option<f64> {
    let text = i32::try_from(number).ok().map(f64::from);
    #[expect(
        clippy::as_conversions,
        reason = "there is no lossless conversion; checked below"
    )]
    let float = number as f64;
    text.or_else(|| (float.abs() < 9_007_199_254_740_992.0).then_some(float))
}

/// A point id as requests spell it.
///
/// # Errors
/// [`Error::Malformed`], shaped as clients of the public API expect it.
pub fn point_id(value: &Value) -> Result<PointId, Error> {
    let number = value.as_u64().map(PointId::Number);
    let uuid = || Uuid::try_parse(value.as_str()?).ok().map(PointId::Uuid);
    let id = number.or_else(uuid);
    id.ok_or_else(|| {
        let mut text = value.to_string();
        text.truncate(text.char_indices().map(|(at, _)| at).take_while(|at| *at <= 64).last().unwrap_or(0));
        malformed(format!(
            "value {text} is not a valid point ID, valid values are either an unsigned integer or a UUID"
        ))
    })
}

impl Filter {
    /// The filter that a value spells.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(value: &Value) -> Result<Self, Error> {
        let mut left = FILTER_CONDITIONS_MAX;
        filter(value, 0, &mut left)
    }

    /// The spelling that [`Filter::parse`] reads back.
    pub fn to_json(&self) -> Value {
        let list = |conditions: &[Condition]| -> Value {
            conditions.iter().map(Condition::to_json).collect()
        };
        let mut members = Map::new();
        for (name, conditions) in [
            ("must", &self.must),
            ("should", &self.should),
            ("must_not", &self.must_not),
        ] {
            if !conditions.is_empty() {
                members.insert(name.to_owned(), list(conditions));
            }
        }
        if let Some((least, conditions)) = &self.min_should {
            let value = json!({"conditions": list(conditions), "min_count": least});
            members.insert("min_should".to_owned(), value);
        }
        Value::Object(members)
    }
}

fn filter(value: &Value, depth: usize, left: &mut usize) -> Result<Filter, Error> {
    if depth >= FILTER_DEPTH_MAX {
        return Err(malformed(format!(
            "filters are nested deeper than {FILTER_DEPTH_MAX}"
        )));
    }
    if value.is_null() {
        return Ok(Filter::default());
    }
    let members = value
        .as_object()
        .ok_or_else(|| malformed("a filter is an object"))?;
    let mut list = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => conditions(value, depth, left),
    };
    let (must, should, must_not) = (list("must")?, list("should")?, list("must_not")?);
    let min_should = match members.get("min_should") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let least = value.get("min_count").and_then(Value::as_u64);
            let least = least.and_then(|least| usize::try_from(least).ok());
            let of = value
                .get("conditions")
                .ok_or_else(|| malformed("min_should lacks conditions"))?;
            let least = least.ok_or_else(|| malformed("min_should lacks min_count"))?;
            Some((least, conditions(of, depth, left)?))
        },
    };
    Ok(Filter {
        must,
        should,
        must_not,
        min_should,
    })
}

fn conditions(value: &Value, depth: usize, left: &mut usize) -> Result<Vec<Condition>, Error> {
    let Value::Array(values) = value else {
        return Ok(vec![condition(value, depth, left)?]);
    };
    values
        .iter()
        .map(|value| condition(value, depth, left))
        .collect()
}

fn condition(value: &Value, depth: usize, left: &mut usize) -> Result<Condition, Error> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| malformed(format!("more than {FILTER_CONDITIONS_MAX} conditions")))?;
    let members = value
        .as_object()
        .ok_or_else(|| malformed("a condition is an object"))?;
    if let Some(name) = NOT_BUILT
        .into_iter()
        .find(|name| members.contains_key(*name))
    {
        return Err(Error::NotBuilt(name));
    }
    if let Some(ids) = members.get("has_id") {
        let ids = ids
            .as_array()
            .ok_or_else(|| malformed("has_id is a list of point ids"))?;
        return Ok(Condition::HasId(
            ids.iter().map(point_id).collect::<Result<_, _>>()?,
        ));
    }
    if let Some(of) = members.get("is_empty") {
        return Ok(Condition::IsEmpty(key(of)?));
    }
    if let Some(of) = members.get("is_null") {
        return Ok(Condition::IsNull(key(of)?));
    }
    if members.contains_key("key") {
        return field(value, members);
    }
    let words = ["must", "should", "must_not", "min_should"];
    if words.iter().any(|word| members.contains_key(*word)) {
        return Ok(Condition::Filter(filter(value, depth + 1, left)?));
    }
    Err(malformed(
        "a condition has a key, has_id, is_empty, is_null or clauses of its own",
    ))
}

fn key(value: &Value) -> Result<FieldPath, Error> {
    let text = value.get("key").and_then(Value::as_str);
    let text = text.ok_or_else(|| malformed("a condition on a field has a key"))?;
    FieldPath::parse(text).map_err(|error| malformed(error.to_string()))
}

fn field(value: &Value, members: &Map<String, Value>) -> Result<Condition, Error> {
    let path = key(value)?;
    if let Some(of) = members.get("match") {
        return Ok(Condition::Field(path, matching(of)?));
    }
    if let Some(of) = members.get("range") {
        return Ok(Condition::Field(path, FieldTest::Range(bounds(of)?)));
    }
    let flag = |name: &str| members.get(name).and_then(Value::as_bool);
    if let Some(wanted) = flag("is_empty") {
        return Ok(unless(wanted, Condition::IsEmpty(path)));
    }
    if let Some(wanted) = flag("is_null") {
        return Ok(unless(wanted, Condition::IsNull(path)));
    }
    Err(malformed(format!(
        "the condition on `{path}` has neither match nor range"
    )))
}

fn unless(wanted: bool, condition: Condition) -> Condition {
    if wanted {
        return condition;
    }
    Condition::Filter(Filter {
        must_not: vec![condition],
        ..Filter::default()
    })
}

fn matching(value: &Value) -> Result<FieldTest, Error> {
    let members = value
        .as_object()
        .ok_or_else(|| malformed("match is an object"))?;
    if let Some(name) = ["text", "phrase", "text_any"]
        .into_iter()
        .find(|n| members.contains_key(*n))
    {
        let name = if name == "text" {
            "match text"
        } else {
            "match phrase"
        };
        return Err(Error::NotBuilt(name));
    }
    if let Some(value) = members.get("value") {
        return Ok(FieldTest::Match(scalar(value)?));
    }
    let list = |name: &str| -> Option<Result<Vec<Scalar>, Error>> {
        let values = members.get(name)?.as_array();
        Some(match values {
            Some(values) => values.iter().map(scalar).collect(),
            None => Err(malformed(format!("match {name} is a list"))),
        })
    };
    if let Some(any) = list("any") {
        return Ok(FieldTest::MatchAny(any?));
    }
    if let Some(except) = list("except") {
        return Ok(FieldTest::MatchExcept(except?));
    }
    Err(malformed("match has a value, any or except"))
}

fn scalar(value: &Value) -> Result<Scalar, Error> {
    match value {
        Value::String(text) => Ok(Scalar::Keyword(text.clone())),
        Value::Bool(truth) => Ok(Scalar::Bool(*truth)),
        Value::Number(number) => number.as_i64().map(Scalar::Integer).ok_or_else(|| {
            malformed(format!(
                "{number} cannot be matched: whole numbers of 64 bits can"
            ))
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(malformed(
            "a text, a whole number or a truth value can be matched",
        )),
    }
}

fn bounds(value: &Value) -> Result<Bounds, Error> {
    let members = value
        .as_object()
        .ok_or_else(|| malformed("range is an object"))?;
    let bound = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(Value::String(_)) => Err(Error::NotBuilt("datetime range")),
        Some(_) => Err(malformed(format!("bound {name} of a range is a number"))),
    };
    Ok(Bounds {
        gt: bound("gt")?,
        gte: bound("gte")?,
        lt: bound("lt")?,
        lte: bound("lte")?,
    })
}

impl Condition {
    fn to_json(&self) -> Value {
        match self {
            Self::Field(path, test) => {
                let key = path.as_str();
                match test {
                    FieldTest::Match(scalar) => {
                        json!({"key": key, "match": {"value": spell(scalar)}})
                    },
                    FieldTest::MatchAny(of) => json!({"key": key, "match": {"any": spell_all(of)}}),
                    FieldTest::MatchExcept(of) => {
                        json!({"key": key, "match": {"except": spell_all(of)}})
                    },
                    FieldTest::Range(bounds) => json!({"key": key, "range": {
                        "gt": bounds.gt, "gte": bounds.gte, "lt": bounds.lt, "lte": bounds.lte,
                    }}),
                }
            },
            Self::IsEmpty(path) => json!({"is_empty": {"key": path.as_str()}}),
            Self::IsNull(path) => json!({"is_null": {"key": path.as_str()}}),
            Self::HasId(ids) => json!({"has_id": ids}),
            Self::Filter(filter) if filter.is_empty() => json!({"must": []}),
            Self::Filter(filter) => filter.to_json(),
        }
    }
}

fn spell(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Keyword(text) => json!(text),
        Scalar::Integer(number) => json!(number),
        Scalar::Bool(truth) => json!(truth),
    }
}

fn spell_all(scalars: &[Scalar]) -> Value {
    scalars.iter().map(spell).collect()
}
