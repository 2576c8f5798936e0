//! The parts that bodies are made of, read straight from their text.
//!
//! Points never become a tree of JSON values: vectors are read into floats and payloads stay text
//! (see [`vector`] and [`compact`]). What is small and of many forms, filters above all, does become
//! a tree ([`Tree`]), and its size is bounded for that.

pub(super) mod compact;
pub(super) mod vector;

#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::gateway::Error;
use crate::ids::PointId;
use crate::limits::{BATCH_POINTS_MAX, JSON_DEPTH_MAX, PATHS_MAX};
use crate::query::{FieldPath, Filter, PayloadSelector, Selection, Shape};

/// Bytes of what becomes a tree: a tree takes up to twenty times its text.
const TREE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The body as this type.
pub(super) fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // Clients know this sentence without a position.
        match text.split_once(" at line ") {
            Some((sentence, _position)) if sentence.contains("valid point ID") => {
                Error::Body(sentence.to_owned())
            },
            _ => Error::Body(text),
        }
    })
}

/// Refuses features by name, when they are asked for.
pub(super) fn not_built(features: &[(&'static str, bool)]) -> Result<(), Error> {
    match features.iter().find(|(_name, asked)| *asked) {
        Some((name, _asked)) => Err(Error::not_built(*name)),
        None => Ok(()),
    }
}

/// A point id: an unsigned number, or a UUID in any of its spellings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(pub(super) PointId);

/// The sentence about what is no point id.
pub(super) fn no_id(value: impl fmt::Display) -> String {
    let value: String = value.to_string().chars().take(64).collect();
    format!(
        "value {value} is not a valid point ID, valid values are either an unsigned integer or a UUID"
    )
}

impl Id {
    /// The id that a path holds.
    pub(super) fn from_path(text: &str) -> Result<PointId, Error> {
        let number = text.parse().ok().map(PointId::Number);
        let uuid = || Uuid::try_parse(text).ok().map(PointId::Uuid);
        number
            .or_else(uuid)
            .ok_or_else(|| Error::Wrong(no_id(text)))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;

        impl Visitor<'_> for Ids {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a point ID")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(PointId::Number(number)))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Id, E> {
                Err(E::custom(no_id(number)))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Id, E> {
                Err(E::custom(no_id(format_args!("{number:?}"))))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Id, E> {
                let uuid = Uuid::try_parse(text);
                let id = uuid.map_err(|_other| E::custom(no_id(text)))?;
                Ok(Id(PointId::Uuid(id)))
            }
        }

        deserializer.deserialize_any(Ids)
    }
}

/// A list of at most so many elements; it is counted while it is read.
#[derive(Debug)]
pub(super) struct List<T, const MOST: usize = BATCH_POINTS_MAX>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<T, MOST> {
            type Value = List<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T, MOST>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if elements.len() == MOST {
                        return Err(A::Error::custom(format!("more than {MOST} elements")));
                    }
                    elements.push(element);
                }
                Ok(List(elements))
            }
        }

        deserializer.deserialize_seq(Elements::<T, MOST>(PhantomData))
    }
}

/// Whether something that is not built is asked for: anything but null, an empty list and an empty
/// object.
#[derive(Debug, Default)]
pub(super) struct Asked(pub(super) bool);

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;

        impl<'de> Visitor<'de> for Anything {
            type Value = Asked;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_unit<E>(self) -> Result<Asked, E> {
                Ok(Asked(false))
            }

            fn visit_bool<E>(self, _truth: bool) -> Result<Asked, E> {
                Ok(Asked(true))
            }

            fn visit_u64<E>(self, _number: u64) -> Result<Asked, E> {
                Ok(Asked(true))
            }

            fn visit_i64<E>(self, _number: i64) -> Result<Asked, E> {
                Ok(Asked(true))
            }

            fn visit_f64<E>(self, _number: f64) -> Result<Asked, E> {
                Ok(Asked(true))
            }

            fn visit_str<E>(self, _text: &str) -> Result<Asked, E> {
                Ok(Asked(true))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Asked, A::Error> {
                let mut asked = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    asked = true;
                }
                Ok(Asked(asked))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
                let mut asked = false;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    asked = true;
                }
                Ok(Asked(asked))
            }
        }

        deserializer.deserialize_any(Anything)
    }
}

/// A JSON value of a bounded size, without duplicate keys.
#[derive(Debug)]
pub(super) struct Tree(pub(super) Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw.len() > TREE_BYTES_MAX {
            let most = TREE_BYTES_MAX;
            return Err(D::Error::custom(format!(
                "a part is larger than {most} bytes"
            )));
        }
        compact::compact(raw, JSON_DEPTH_MAX).map_err(D::Error::custom)?;
        serde_json::from_str(raw)
            .map(Self)
            .map_err(D::Error::custom)
    }
}

/// The filter, or the one that matches all.
pub(super) fn filter(tree: Option<&Tree>) -> Result<Filter, Error> {
    Ok(tree.map_or_else(|| Ok(Filter::default()), |tree| Filter::parse(&tree.0))?)
}

/// The points that a write is about: ids or a filter, and never both.
pub(super) fn selection(
    points: Option<List<Id>>,
    filter: Option<&Tree>,
) -> Result<Selection, Error> {
    match (points, filter) {
        (Some(List(ids)), None) => Ok(Selection::Ids(ids.into_iter().map(|Id(id)| id).collect())),
        (None, Some(tree)) => Ok(Selection::Filter(Filter::parse(&tree.0)?)),
        (None, None) => Err(Error::Body("points or a filter must be given".to_owned())),
        (Some(_), Some(_)) => Err(Error::Body(
            "points and a filter are given, only one of them can be".to_owned(),
        )),
    }
}

/// Paths of a list of texts; what is no text is no path.
pub(super) fn paths<'a>(
    texts: impl ExactSizeIterator<Item = Option<&'a str>>,
) -> Result<Vec<FieldPath>, Error> {
    if texts.len() > PATHS_MAX {
        return Err(Error::Body(format!("more than {PATHS_MAX} payload keys")));
    }
    texts
        .map(|text| match text {
            Some(text) => Ok(FieldPath::parse(text)?),
            None => Err(Error::Body("a payload key is a text".to_owned())),
        })
        .collect()
}

/// `with_payload`: a truth value, a list of paths, or `{"include"}` or `{"exclude"}` of one.
pub(super) fn payload_selector(
    tree: Option<Tree>,
    default: PayloadSelector,
) -> Result<PayloadSelector, Error> {
    let wrong = || Error::Body("with_payload is a truth value, a list or a selector".to_owned());
    match tree {
        None => Ok(default),
        Some(Tree(Value::Bool(true))) => Ok(PayloadSelector::All),
        Some(Tree(Value::Bool(false))) => Ok(PayloadSelector::None),
        Some(Tree(Value::Array(list))) => Ok(PayloadSelector::Include(paths(
            list.iter().map(Value::as_str),
        )?)),
        Some(Tree(Value::Object(members))) => {
            match (members.get("include"), members.get("exclude")) {
                (Some(Value::Array(list)), None) => Ok(PayloadSelector::Include(paths(
                    list.iter().map(Value::as_str),
                )?)),
                (None, Some(Value::Array(list))) => Ok(PayloadSelector::Exclude(paths(
                    list.iter().map(Value::as_str),
                )?)),
                _ => Err(wrong()),
            }
        },
        Some(_) => Err(wrong()),
    }
}

/// `with_vector`: a truth value, or a list of names.
pub(super) fn vector_selector(tree: Option<Tree>, shape: &Shape) -> Result<bool, Error> {
    let wrong = || Error::Body("with_vector is a truth value or a list of names".to_owned());
    match tree {
        None => Ok(false),
        Some(Tree(Value::Bool(wanted))) => Ok(wanted),
        Some(Tree(Value::Array(names))) => {
            for name in &names {
                vector::check_name(Some(name.as_str().ok_or_else(wrong)?), shape)?;
            }
            Ok(!names.is_empty())
        },
        Some(_) => Err(wrong()),
    }
}
