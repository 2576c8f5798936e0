//! From YAML to one JSON value, bounded.
//!
//! A small text can stand for a huge value: an alias repeats what its anchor holds, and anchors may
//! hold aliases. So values are counted while they are made, and the reading stops at a bound.
//! Keys that are given twice, which would hide one another, are found here too.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::BYTES_MAX;
use crate::topology::field::excerpt;
use crate::topology::{FieldFault, FieldPath};

/// What the value may weigh: a unit for each byte of text, and [`NODE_WEIGHT`] for each node.
const WEIGHT_MAX: usize = 4 * BYTES_MAX;

/// What a node weighs beside its text.
const NODE_WEIGHT: usize = 16;

/// Brackets that may be open at once. The reader of YAML refuses a depth of 128 itself, but only
/// after it has looked at the whole text, in a time that grows with the square of the open brackets.
const OPEN_BRACKETS_MAX: usize = 1_000;

/// The value of the one document of the text, and what is wrong with its keys and numbers.
pub(super) fn read(text: &str) -> Result<(Value, Vec<FieldFault>), FieldFault> {
    let refused = |problem: String| Err(FieldFault::new(FieldPath::root(), problem));
    if text.len() > BYTES_MAX {
        return refused(format!("is larger than {BYTES_MAX} bytes"));
    }
    if open_brackets(text) > OPEN_BRACKETS_MAX {
        return refused(format!("has more than {OPEN_BRACKETS_MAX} open brackets"));
    }
    let mut reader = Reader {
        weight_left: WEIGHT_MAX,
        faults: Vec::new(),
    };
    let mut found = None;
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let node = Node {
            reader: &mut reader,
            path: FieldPath::root(),
        };
        match node.deserialize(document) {
            Ok(Value::Null) => {},
            Ok(_) if found.is_some() => {
                return refused(
                    "holds more than one document: one VectorCluster is expected".into(),
                );
            },
            Ok(value) => found = Some(value),
            Err(error) => return refused(format!("is not readable: {}", excerpt_of(&error))),
        }
    }
    match found {
        Some(value) => Ok((value, reader.faults)),
        None => refused("is empty: one VectorCluster is expected".into()),
    }
}

/// The most brackets that are open anywhere, those in quotes and comments counted too: a bound, not
/// a parser.
fn open_brackets(text: &str) -> usize {
    let mut open = 0_usize;
    let mut most = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {},
        }
        most = most.max(open);
    }
    most
}

/// The error with the place at its end kept, however long a text it repeats.
fn excerpt_of(error: &serde_yaml_ng::Error) -> String {
    let text = error.to_string();
    match error.location() {
        Some(at) if text.len() > 200 => {
            format!(
                "{} at line {} column {}",
                excerpt(&text),
                at.line(),
                at.column()
            )
        },
        _ => text,
    }
}

struct Reader {
    weight_left: usize,
    faults: Vec<FieldFault>,
}

impl Reader {
    fn charge<E: Error>(&mut self, text: &str) -> Result<(), E> {
        let weight = NODE_WEIGHT.saturating_add(text.len());
        match self.weight_left.checked_sub(weight) {
            Some(left) => {
                self.weight_left = left;
                Ok(())
            },
            None => Err(E::custom("it stands for too large a value")),
        }
    }
}

/// Makes the value at a path.
struct Node<'r> {
    reader: &'r mut Reader,
    path: FieldPath,
}

impl Node<'_> {
    fn number<E: Error>(self, number: f64) -> Result<Value, E> {
        self.reader.charge("")?;
        // JSON has one kind of number: 3.0 is 3, as it is for kubectl.
        let rounded = number.to_string();
        if let Ok(integer) = rounded.parse::<i64>() {
            return Ok(Value::from(integer));
        }
        if let Some(number) = Number::from_f64(number) {
            return Ok(Value::Number(number));
        }
        let fault = FieldFault::new(self.path, "is not a finite number");
        self.reader.faults.push(fault);
        Ok(Value::Null)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a tag")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.reader.charge("")?;
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.reader.charge("")?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.reader.charge("")?;
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.reader.charge("")?;
        Ok(Value::from(value))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.number(value.to_string().parse().unwrap_or(f64::MIN))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.number(value.to_string().parse().unwrap_or(f64::MAX))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.number(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.reader.charge(text)?;
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.reader.charge("")?;
        let mut list = Vec::new();
        loop {
            let node = Node {
                path: self.path.item(list.len()),
                reader: self.reader,
            };
            match items.next_element_seed(node)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.reader.charge("")?;
        let mut object = Map::new();
        loop {
            let key = entries.next_key_seed(Node {
                reader: self.reader,
                path: self.path.clone(),
            })?;
            let Some(key) = key else {
                return Ok(Value::Object(object));
            };
            let Some(name) = name_of(key) else {
                let fault = FieldFault::new(self.path.clone(), "has a key that is not a text");
                self.reader.faults.push(fault);
                entries.next_value_seed(Node {
                    reader: self.reader,
                    path: self.path.clone(),
                })?;
                continue;
            };
            let path = self.path.field(&name);
            let value = entries.next_value_seed(Node {
                reader: self.reader,
                path: path.clone(),
            })?;
            if object.insert(name, value).is_some() {
                let fault = FieldFault::new(path, "is given more than once");
                self.reader.faults.push(fault);
            }
        }
    }
}

/// A key as text. Numbers and booleans are texts as keys, as they are for kubectl.
fn name_of(key: Value) -> Option<String> {
    match key {
        Value::String(name) => Some(name),
        Value::Bool(name) => Some(name.to_string()),
        Value::Number(name) => Some(name.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
