//! Vectors, read straight into 32-bit floats.
//!
//! What the API knows and this version does not (several vectors, sparse ones, vectors to be made by
//! a model) is read over and remembered by name, so that it is refused as such and not as a mistake.
//! Whether the numbers are finite is checked after the cast, by [`vector::admit`].

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::gateway::Error;
use crate::limits::DIMENSIONS_MAX;
use crate::query::Shape;
use crate::vector::{self, Unfit};

/// Names of vectors in one object; more are surely wrong.
const NAMES_MAX: usize = 64;

/// A vector as it was sent.
#[derive(Debug, PartialEq)]
pub(in crate::gateway::rest) struct Dense {
    values: Vec<f32>,
    /// How many there were; of more than [`DIMENSIONS_MAX`] the rest is not kept.
    len: usize,
}

/// What stands where a vector is expected.
#[derive(Debug, PartialEq)]
pub(in crate::gateway::rest) enum Input {
    /// A list of numbers.
    Dense(Dense),
    /// Vectors by name.
    Named(Vec<(String, Input)>),
    /// Something that is not built.
    NotBuilt(&'static str),
}

impl Input {
    /// The vector as it may enter a collection.
    pub(in crate::gateway::rest) fn admit(self, shape: &Shape) -> Result<Vec<f32>, Error> {
        match self {
            Self::Dense(dense) => {
                check_name(None, shape)?;
                dense.admit(shape)
            },
            Self::NotBuilt(name) => Err(Error::not_built(name)),
            Self::Named(vectors) => {
                let mut found = None;
                for (name, vector) in vectors {
                    check_name(Some(&name), shape)?;
                    match vector {
                        Self::Dense(dense) if found.is_none() => found = Some(dense),
                        Self::Dense(_) => {
                            return Err(Error::Body(format!("duplicate field `{name}`")));
                        },
                        Self::NotBuilt(what) => return Err(Error::not_built(what)),
                        Self::Named(_) => return Err(Error::not_built("inference")),
                    }
                }
                found
                    .ok_or_else(|| Error::not_built("points without a vector"))?
                    .admit(shape)
            },
        }
    }

    /// The vector of a query, whose name is given apart.
    pub(in crate::gateway::rest) fn admit_as(
        self,
        using: Option<&str>,
        shape: &Shape,
    ) -> Result<Vec<f32>, Error> {
        check_name(using, shape)?;
        match self {
            Self::Dense(dense) => dense.admit(shape),
            Self::NotBuilt(name) => Err(Error::not_built(name)),
            Self::Named(_) => Err(Error::Body("a query is no object of vectors".to_owned())),
        }
    }
}

impl Dense {
    fn admit(self, shape: &Shape) -> Result<Vec<f32>, Error> {
        let mut values = self.values;
        if self.len != values.len() {
            let (expected, got) = (shape.dimensions, self.len);
            return Err(Unfit::Dimensions { expected, got }.into());
        }
        vector::admit(&mut values, shape.dimensions, shape.distance)?;
        Ok(values)
    }
}

/// Refuses a name that is not the one of the collection's vectors. The empty name is no name.
pub(in crate::gateway::rest) fn check_name(name: Option<&str>, shape: &Shape) -> Result<(), Error> {
    let name = name.unwrap_or_default();
    if name == shape.vector_name.as_deref().unwrap_or_default() {
        return Ok(());
    }
    let name: String = name.chars().take(64).collect();
    Err(Error::Wrong(format!(
        "Not existing vector name error: {name}"
    )))
}

/// The numbers of a list, the first of which may have been taken already.
pub(in crate::gateway::rest) fn numbers<'de, A: SeqAccess<'de>>(
    mut seq: A,
) -> Result<Input, A::Error> {
    let mut dense = Dense {
        values: Vec::new(),
        len: 0,
    };
    while let Some(component) = seq.next_element()? {
        let Component::Number(number) = component else {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Input::NotBuilt("multivectors"));
        };
        if dense.len < DIMENSIONS_MAX {
            dense.values.push(number);
        }
        dense.len += 1;
    }
    Ok(Input::Dense(dense))
}

/// An element of a list that stands where a vector is expected.
enum Component {
    Number(f32),
    /// A list: the element of a multivector.
    List,
}

impl<'de> Deserialize<'de> for Component {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Components;

        impl<'de> Visitor<'de> for Components {
            type Value = Component;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            #[inline]
            #[expect(
                clippy::as_conversions,
                clippy::cast_possible_truncation,
                reason = "what does not fit becomes infinite, and is refused as such"
            )]
            fn visit_f64<E>(self, number: f64) -> Result<Component, E> {
                Ok(Component::Number(number as f32))
            }

            #[expect(clippy::as_conversions, reason = "any u64 has a nearest f32")]
            fn visit_u64<E>(self, number: u64) -> Result<Component, E> {
                Ok(Component::Number(number as f32))
            }

            #[expect(clippy::as_conversions, reason = "any i64 has a nearest f32")]
            fn visit_i64<E>(self, number: i64) -> Result<Component, E> {
                Ok(Component::Number(number as f32))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Component, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Component::List)
            }
        }

        deserializer.deserialize_any(Components)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inputs;

        impl<'de> Visitor<'de> for Inputs {
            type Value = Input;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vector")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Input, A::Error> {
                numbers(seq)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Input, A::Error> {
                named(map)
            }
        }

        deserializer.deserialize_any(Inputs)
    }
}

/// An object that stands where a vector is expected: vectors by name, a sparse vector, or something
/// that a model is to make a vector of.
fn named<'de, A: MapAccess<'de>>(mut map: A) -> Result<Input, A::Error> {
    let mut vectors = Vec::new();
    let mut words = Vec::new();
    while let Some(name) = map.next_key::<String>()? {
        if vectors.len() + words.len() == NAMES_MAX {
            return Err(A::Error::custom(format!("more than {NAMES_MAX} vectors")));
        }
        match map.next_value()? {
            Member::Vector(vector) => vectors.push((name, vector)),
            Member::Object => vectors.push((name, Input::NotBuilt("sparse vectors and inference"))),
            Member::Word => words.push(name),
        }
    }
    let has = |wanted: &str| vectors.iter().any(|(name, _vector)| name == wanted);
    if has("indices") && has("values") && vectors.len() == 2 {
        return Ok(Input::NotBuilt("sparse vectors"));
    }
    if words
        .iter()
        .any(|word| ["text", "image", "object", "model"].contains(&word.as_str()))
    {
        return Ok(Input::NotBuilt("inference"));
    }
    match words.first() {
        Some(name) => Err(A::Error::custom(format!("`{name}` is no vector"))),
        None => Ok(Input::Named(vectors)),
    }
}

/// A member of such an object.
enum Member {
    Vector(Input),
    Object,
    Word,
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vector")
            }

            fn visit_str<E>(self, _text: &str) -> Result<Member, E> {
                Ok(Member::Word)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Member, A::Error> {
                numbers(seq).map(Member::Vector)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Member::Object)
            }
        }

        deserializer.deserialize_any(Members)
    }
}

/// The vectors of a columnar batch: one list, or one by name.
#[derive(Debug, PartialEq)]
pub(in crate::gateway::rest) enum Column {
    /// Of the vectors without a name.
    Plain(Vec<Input>),
    /// By name.
    Named(Vec<(String, Vec<Input>)>),
}

impl Column {
    /// The vectors of the collection.
    pub(in crate::gateway::rest) fn of(self, shape: &Shape) -> Result<Vec<Input>, Error> {
        match self {
            Self::Plain(vectors) => {
                check_name(None, shape)?;
                Ok(vectors)
            },
            Self::Named(columns) => {
                let mut found = None;
                for (name, vectors) in columns {
                    check_name(Some(&name), shape)?;
                    if found.replace(vectors).is_some() {
                        return Err(Error::Body(format!("duplicate field `{name}`")));
                    }
                }
                found.ok_or_else(|| Error::not_built("points without a vector"))
            },
        }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns;

        impl<'de> Visitor<'de> for Columns {
            type Value = Column;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of vectors, or lists of vectors by name")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Column, A::Error> {
                let list = serde::de::value::SeqAccessDeserializer::new(seq);
                let super::List(vectors) = <super::List<Input>>::deserialize(list)?;
                Ok(Column::Plain(vectors))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Column, A::Error> {
                let mut columns = Vec::new();
                while let Some((name, column)) = map.next_entry::<String, super::List<Input>>()? {
                    if columns.len() == NAMES_MAX {
                        return Err(A::Error::custom(format!("more than {NAMES_MAX} vectors")));
                    }
                    columns.push((name, column.0));
                }
                Ok(Column::Named(columns))
            }
        }

        deserializer.deserialize_any(Columns)
    }
}

impl Input {
    /// The vector of one row of a [`Column`], whose name has been checked.
    pub(in crate::gateway::rest) fn admit_row(self, shape: &Shape) -> Result<Vec<f32>, Error> {
        match self {
            Self::Dense(dense) => dense.admit(shape),
            Self::NotBuilt(name) => Err(Error::not_built(name)),
            Self::Named(_) => Err(Error::Body(
                "an element of `vectors` is no vector".to_owned(),
            )),
        }
    }
}
