//! Settings of collections: what clients send and what is kept of it. What they are shown is in
//! [`show`].
//!
//! Many settings of the API are about the insides of another system. They are checked, kept and
//! shown again, and change nothing. Those that would change what a client gets (several vectors,
//! copies, other number formats) are refused by name until they are built. What is kept has the form
//! of the answer: `params`, `vectors`, `hnsw_config`, `optimizer_config` and so on.

mod show;

use serde_json::{Map, Value};

use super::input::vector::check_name;
use super::input::{Tree, compact, from_json};
use crate::gateway::Error;
use crate::limits::{DIMENSIONS_MAX, KEPT_DEPTH_MAX, NAME_CHARS_MAX, SHARDS_MAX};
use crate::query::{IndexChoice, Shape};
use crate::vector::Distance;

pub(super) use show::describe;

type Members = Map<String, Value>;

/// Bytes of the settings of one collection: they are part of a small record.
const CONFIG_BYTES_MAX: usize = 32 * 1024;

/// Parameters of an index.
const PARAMETERS_MAX: usize = 32;

/// A collection as it is asked for.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) shape: Shape,
    pub(super) shards: Option<u16>,
    pub(super) index: IndexChoice,
    pub(super) config: Members,
}

/// What `PUT /collections/{collection}` asks for.
pub(super) fn create(bytes: &[u8]) -> Result<Draft, Error> {
    let body = object("the body", from_json::<Tree>(bytes)?.0)?;
    refuse_later(&body)?;
    let (shape, of_vectors) = vectors(body.get("vectors"))?;
    let mut config = sections(&body)?;
    put(&mut config, "vectors", of_vectors);
    let params = pick(
        &body,
        &[
            ("write_consistency_factor", Knob::Whole),
            ("on_disk_payload", Knob::Truth),
        ],
    )?;
    put(&mut config, "params", params);
    Ok(Draft {
        shape,
        shards: shards(&body)?,
        index: index_choice(body.get("vectorsphere"))?,
        config: bounded(config)?,
    })
}

/// What `PATCH /collections/{collection}` changes.
pub(super) fn change(bytes: &[u8], shape: &Shape) -> Result<Members, Error> {
    let body = object("the body", from_json::<Tree>(bytes)?.0)?;
    let mut params = match body.get("params") {
        Some(params) => object("params", params.clone())?,
        None => Members::new(),
    };
    refuse_later(&body)?;
    refuse_later(&params)?;
    if body.contains_key("vectorsphere") {
        return Err(Error::not_built("another index for a collection"));
    }
    let mut config = sections(&body)?;
    if let Some(vectors) = body.get("vectors") {
        for (name, of_vector) in object("vectors", vectors.clone())? {
            check_name(Some(&name), shape)?;
            put(&mut config, "vectors", of_one_vector(&of_vector)?);
        }
    }
    params = pick(
        &params,
        &[
            ("write_consistency_factor", Knob::Whole),
            ("read_fan_out_factor", Knob::Whole),
            ("on_disk_payload", Knob::Truth),
        ],
    )?;
    put(&mut config, "params", params);
    bounded(config)
}

/// A schema of a payload index: a word, or an object with a `type`.
pub(super) fn index_schema(schema: Option<Tree>) -> Result<Value, Error> {
    let Some(Tree(schema)) = schema else {
        return Err(Error::not_built("a payload index whose schema is guessed"));
    };
    let kind = schema.get("type").unwrap_or(&schema).as_str();
    match kind {
        Some("keyword" | "integer" | "float" | "bool" | "uuid") => {},
        Some(later @ ("geo" | "datetime" | "text")) => {
            return Err(Error::not_built(format!("payload index `{later}`")));
        },
        _ => return Err(wrong("field_schema", "a kind of payload index")),
    }
    let text = schema.to_string();
    shallow("field_schema is", &text)?;
    if text.len() > CONFIG_BYTES_MAX {
        return Err(wrong("field_schema", "so large"));
    }
    Ok(schema)
}

/// A kind of value.
#[derive(Debug, Clone, Copy)]
enum Knob {
    Whole,
    Number,
    Truth,
    Object,
    /// A whole number or a word.
    WholeOrWord,
}

impl Knob {
    fn takes(self, value: &Value) -> bool {
        match self {
            Self::Whole => value.is_u64(),
            Self::Number => value.is_number(),
            Self::Truth => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::WholeOrWord => value.is_u64() || value.is_string(),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Truth => "a truth value",
            Self::Object => "an object",
            Self::WholeOrWord => "a whole number or a word",
        }
    }
}

const HNSW: [(&str, Knob); 7] = [
    ("m", Knob::Whole),
    ("ef_construct", Knob::Whole),
    ("full_scan_threshold", Knob::Whole),
    ("max_indexing_threads", Knob::Whole),
    ("on_disk", Knob::Truth),
    ("payload_m", Knob::Whole),
    ("inline_storage", Knob::Truth),
];

const OPTIMIZER: [(&str, Knob); 8] = [
    ("deleted_threshold", Knob::Number),
    ("vacuum_min_vector_number", Knob::Whole),
    ("default_segment_number", Knob::Whole),
    ("max_segment_size", Knob::Whole),
    ("memmap_threshold", Knob::Whole),
    ("indexing_threshold", Knob::Whole),
    ("flush_interval_sec", Knob::Whole),
    ("max_optimization_threads", Knob::WholeOrWord),
];

const WAL: [(&str, Knob); 3] = [
    ("wal_capacity_mb", Knob::Whole),
    ("wal_segments_ahead", Knob::Whole),
    ("wal_retain_closed", Knob::Whole),
];

fn wrong(name: &str, must: &str) -> Error {
    Error::Body(format!("{name} is not {must}"))
}

/// The members of an object; those that are null count as absent.
fn object(name: &str, value: Value) -> Result<Members, Error> {
    let Value::Object(mut members) = value else {
        return Err(wrong(name, "an object"));
    };
    members.retain(|_name, value| !value.is_null());
    Ok(members)
}

/// The known ones of these members, each of its kind.
fn pick(members: &Members, knobs: &[(&str, Knob)]) -> Result<Members, Error> {
    let mut picked = Members::new();
    for (name, knob) in knobs {
        let Some(value) = members.get(*name).filter(|value| !value.is_null()) else {
            continue;
        };
        if !knob.takes(value) {
            return Err(wrong(name, knob.name()));
        }
        picked.insert((*name).to_owned(), value.clone());
    }
    Ok(picked)
}

fn put(config: &mut Members, name: &str, members: Members) {
    if !members.is_empty() {
        config.insert(name.to_owned(), Value::Object(members));
    }
}

/// The sections that are kept, named as in answers.
fn sections(body: &Members) -> Result<Members, Error> {
    let mut config = Members::new();
    for (asked, kept, knobs) in [
        ("hnsw_config", "hnsw_config", &HNSW[..]),
        ("optimizers_config", "optimizer_config", &OPTIMIZER[..]),
        ("wal_config", "wal_config", &WAL[..]),
    ] {
        if let Some(section) = body.get(asked) {
            put(
                &mut config,
                kept,
                pick(&object(asked, section.clone())?, knobs)?,
            );
        }
    }
    for name in ["strict_mode_config", "metadata"] {
        if let Some(section) = body.get(name) {
            put(&mut config, name, object(name, section.clone())?);
        }
    }
    if let Some(quantization) = body.get("quantization_config") {
        // It may be switched off by a word.
        if !quantization.is_object() && !quantization.is_string() {
            return Err(wrong("quantization_config", Knob::Object.name()));
        }
        config.insert("quantization_config".to_owned(), quantization.clone());
    }
    Ok(config)
}

fn bounded(config: Members) -> Result<Members, Error> {
    let text = Value::Object(config.clone()).to_string();
    shallow("settings are", &text)?;
    if text.len() > CONFIG_BYTES_MAX {
        let most = CONFIG_BYTES_MAX;
        return Err(Error::Wrong(format!(
            "settings are larger than {most} bytes"
        )));
    }
    Ok(config)
}

/// Refuses what is nested so deep that, kept in a record, nobody could read it back.
fn shallow(what: &str, text: &str) -> Result<(), Error> {
    match compact::compact(text, KEPT_DEPTH_MAX) {
        Err(compact::Problem::Depth(most)) => {
            Err(Error::Wrong(format!("{what} nested deeper than {most}")))
        },
        _ => Ok(()),
    }
}

/// Refuses what is not built, by name.
fn refuse_later(body: &Members) -> Result<(), Error> {
    for (member, name) in [
        ("sparse_vectors", "sparse vectors"),
        ("init_from", "a collection from another"),
    ] {
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        if body.get(member).is_some_and(|value| !empty(value)) {
            return Err(Error::not_built(name));
        }
    }
    match body.get("sharding_method").map(Value::as_str) {
        None | Some(Some("auto")) => {},
        Some(Some("custom")) => return Err(Error::not_built("custom sharding")),
        Some(_) => return Err(wrong("sharding_method", "auto or custom")),
    }
    match body.get("replication_factor").map(Value::as_u64) {
        None | Some(Some(1)) => Ok(()),
        Some(Some(0)) => Err(Error::out_of_range("replication_factor", 0, "1 or larger")),
        Some(Some(_)) => Err(Error::not_built("a replication_factor above 1")),
        Some(None) => Err(wrong("replication_factor", Knob::Whole.name())),
    }
}

fn shards(body: &Members) -> Result<Option<u16>, Error> {
    let Some(value) = body.get("shard_number") else {
        return Ok(None);
    };
    let number = value
        .as_u64()
        .ok_or_else(|| wrong("shard_number", Knob::Whole.name()))?;
    let shards = u16::try_from(number).ok();
    let shards = shards.filter(|shards| (1..=SHARDS_MAX).contains(shards));
    match shards {
        Some(shards) => Ok(Some(shards)),
        None => {
            let must = format!("from 1 to {SHARDS_MAX}");
            Err(Error::out_of_range("shard_number", number, &must))
        },
    }
}

/// The shape, and the settings of the one vector.
fn vectors(vectors: Option<&Value>) -> Result<(Shape, Members), Error> {
    let none = || Error::not_built("a collection without vectors");
    let members = object("vectors", vectors.ok_or_else(none)?.clone())?;
    let is_one = ["size", "distance"]
        .into_iter()
        .any(|name| members.get(name).is_some_and(|value| !value.is_object()));
    let (name, one) = if is_one {
        (String::new(), Value::Object(members))
    } else {
        let mut named = members.into_iter();
        let first = named.next().ok_or_else(none)?;
        if named.next().is_some() {
            return Err(Error::not_built("a collection with several vectors"));
        }
        first
    };
    if name.chars().count() > NAME_CHARS_MAX {
        let must = format!("at most {NAME_CHARS_MAX} characters long");
        return Err(Error::out_of_range("vectors", "of that name", &must));
    }
    let of_vector = object("vectors", one.clone())?;
    let field = |field: &str| of_vector.get(field);
    let size = field("size").ok_or_else(|| Error::Body("missing field `size`".to_owned()))?;
    let size = size
        .as_u64()
        .ok_or_else(|| wrong("size", Knob::Whole.name()))?;
    let dimensions = usize::try_from(size)
        .ok()
        .filter(|size| (1..=DIMENSIONS_MAX).contains(size))
        .ok_or_else(|| {
            let must = format!("from 1 to {DIMENSIONS_MAX}");
            Error::out_of_range("vectors.size", size, &must)
        })?;
    let distance = field("distance");
    let distance = distance.ok_or_else(|| Error::Body("missing field `distance`".to_owned()))?;
    let distance = distance
        .as_str()
        .and_then(Distance::parse)
        .ok_or_else(|| wrong("distance", "one of Cosine, Euclid, Dot, Manhattan"))?;
    let shape = Shape {
        dimensions,
        distance,
        vector_name: Some(name).filter(|name| !name.is_empty()),
    };
    Ok((shape, of_one_vector(&one)?))
}

/// The settings of a vector that are kept.
fn of_one_vector(value: &Value) -> Result<Members, Error> {
    let members = object("vectors", value.clone())?;
    if members.contains_key("multivector_config") {
        return Err(Error::not_built("multivectors"));
    }
    match members.get("datatype").map(Value::as_str) {
        None | Some(Some("float32")) => {},
        Some(Some(_)) => return Err(Error::not_built("a datatype other than float32")),
        Some(None) => return Err(wrong("datatype", "a word")),
    }
    let mut kept = pick(&members, &[("on_disk", Knob::Truth)])?;
    if let Some(hnsw) = members.get("hnsw_config") {
        put(
            &mut kept,
            "hnsw_config",
            pick(&object("hnsw_config", hnsw.clone())?, &HNSW)?,
        );
    }
    if let Some(quantization) = members.get("quantization_config") {
        kept.insert("quantization_config".to_owned(), quantization.clone());
    }
    Ok(kept)
}

/// The member `vectorsphere`: our own part of the request.
fn index_choice(own: Option<&Value>) -> Result<IndexChoice, Error> {
    let Some(own) = own else {
        return Ok(IndexChoice::default());
    };
    let own = object("vectorsphere", own.clone())?;
    if let Some(unknown) = own.keys().find(|name| *name != "index") {
        return Err(wrong(unknown, "known in vectorsphere; index is"));
    }
    let index = match own.get("index") {
        Some(index) => object("vectorsphere.index", index.clone())?,
        None => return Ok(IndexChoice::default()),
    };
    let mut choice = IndexChoice::default();
    for (name, value) in index {
        match (name.as_str(), value) {
            ("algorithm", Value::String(word)) => {
                choice.algorithm = Some(word.to_ascii_lowercase());
            },
            ("parameters", Value::Object(parameters)) if parameters.len() <= PARAMETERS_MAX => {
                for (name, value) in parameters {
                    choice.parameters.insert(name, parameter(value)?);
                }
            },
            ("algorithm" | "parameters", _) => {
                return Err(wrong(&name, "as vectorsphere.index wants it"));
            },
            _ => return Err(wrong(&name, "known in vectorsphere.index")),
        }
    }
    choice.wanted()?;
    Ok(choice)
}

fn parameter(value: Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(wrong(
            "a parameter of the index",
            "a text, a number or a truth value",
        )),
    }
}
