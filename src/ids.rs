//! The names and numbers that everything else speaks in. Each is checked once, when it is made, so
//! that whoever holds one needs not to ask again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::limits;

/// A text that is not the name or number it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} {problem}")]
pub struct Malformed {
    /// What it should have been: `collection name`, `point id` ...
    pub what: &'static str,
    /// What was given, cut to a length fit for a message.
    pub value: String,
    /// What is wrong with it, as the end of a sentence.
    pub problem: &'static str,
}

impl Malformed {
    fn new(what: &'static str, value: &str, problem: &'static str) -> Self {
        Self {
            what,
            value: value.chars().take(64).collect(),
            problem,
        }
    }
}

/// Which process this is: a UUID that its data folder keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub Uuid);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A collection for its whole life, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CollectionId(pub Uuid);

impl fmt::Display for CollectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl FromStr for CollectionId {
    type Err = Malformed;
    fn from_str(text: &str) -> Result<Self, Malformed> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_unhelpful| Malformed::new("collection id", text, "is not a UUID"))
    }
}

/// One shard of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId {
    /// The collection it is a part of.
    pub collection: CollectionId,
    /// Its number in the collection, from 0.
    pub number: u16,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.collection, self.number)
    }
}

/// What a person calls a collection: 1 to 255 characters, no `/`, no control characters, not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CollectionName(String);

impl CollectionName {
    /// The name, if it may be one.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = |problem| Err(Malformed::new("collection name", text, problem));
        if text.is_empty() {
            return wrong("is empty");
        }
        if text.chars().count() > limits::NAME_CHARS_MAX {
            return wrong("is longer than 255 characters");
        }
        if text == "." || text == ".." {
            return wrong("is a path");
        }
        if text.contains(['/', '\\', '<', '>', ':', '"', '|', '?', '*'])
            || text.chars().any(char::is_control)
        {
            return wrong("holds a character that is not allowed");
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CollectionName {
    type Error = Malformed;
    fn try_from(text: String) -> Result<Self, Malformed> {
        Self::parse(&text)
    }
}

impl From<CollectionName> for String {
    fn from(name: CollectionName) -> Self {
        name.0
    }
}

impl fmt::Display for CollectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What names a point in its collection. Numbers sort before UUIDs, each ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PointId {
    /// An unsigned number.
    Number(u64),
    /// A UUID.
    Uuid(Uuid),
}

impl PointId {
    /// A UUID in any of its usual spellings.
    pub fn parse_uuid(text: &str) -> Result<Self, Malformed> {
        Uuid::try_parse(text)
            .map(Self::Uuid)
            .map_err(|_unhelpful| Malformed::new("point id", text, "is not a UUID"))
    }

    /// The id as bytes that sort as ids do: a tag (0 number, 1 UUID) and the id big-endian.
    pub fn key(self) -> PointKey {
        let mut bytes = [0u8; 17];
        let len = match self {
            Self::Number(number) => {
                let (_tag, rest) = bytes.split_at_mut(1);
                if let Some(place) = rest.first_chunk_mut::<8>() {
                    *place = number.to_be_bytes();
                }
                9
            },
            Self::Uuid(uuid) => {
                bytes = std::array::from_fn(|i| match i.checked_sub(1) {
                    None => 1,
                    Some(at) => uuid.as_bytes().get(at).copied().unwrap_or(0),
                });
                17
            },
        };
        PointKey { bytes, len }
    }

    /// The id whose [`PointId::key`] these bytes are.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        match key.split_first()? {
            (0, rest) => Some(Self::Number(u64::from_be_bytes(rest.try_into().ok()?))),
            (1, rest) => Some(Self::Uuid(Uuid::from_bytes(rest.try_into().ok()?))),
            _ => None,
        }
    }

    /// The slot that the id hashes to. Stored data rests on it: it never changes.
    pub fn slot(self) -> Slot {
        let hash = xxh3_64(self.key().as_bytes());
        Slot(u16::try_from(hash >> 52).unwrap_or(0))
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

impl Serialize for PointId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Uuid(uuid) => serializer.collect_str(uuid),
        }
    }
}

/// The bytes of a [`PointId`], without an allocation.
#[derive(Debug, Clone, Copy)]
pub struct PointKey {
    bytes: [u8; 17],
    len: usize,
}

impl PointKey {
    /// 9 bytes of a number, 17 of a UUID.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// One of the [`limits::SLOTS`] parts that a collection's ids hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u16);

/// Slots `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRange {
    /// The first slot of the range.
    pub first: u16,
    /// The last slot of the range, itself inside.
    pub last: u16,
}

impl SlotRange {
    /// Whether the slot lies in the range.
    pub fn contains(self, slot: Slot) -> bool {
        (self.first..=self.last).contains(&slot.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Numbers the primaries of a shard: it grows with each new one, and with nothing else.
    Epoch(u64)
}
number! {
    /// A leadership of the masters: the create revision of the leader's election key.
    Term(i64)
}
number! {
    /// A revision of etcd.
    Revision(i64)
}
number! {
    /// The position of a write in its shard's log, and the version of the points it wrote.
    Sequence(u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_known_ids_never_change() {
        let uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let slots = [
            PointId::Number(0),
            PointId::Number(1),
            PointId::Number(u64::MAX),
            PointId::Uuid(Uuid::nil()),
            PointId::Uuid(uuid),
        ]
        .map(|id| id.slot().0);
        assert_eq!(slots, [836, 165, 1226, 2649, 2427]);
    }

    #[test]
    fn keys_sort_as_ids_and_read_back() {
        let mut ids = [
            PointId::Uuid(Uuid::from_u128(7)),
            PointId::Number(256),
            PointId::Number(u64::MAX),
            PointId::Uuid(Uuid::nil()),
            PointId::Number(3),
        ];
        let mut keys = ids.map(|id| id.key().as_bytes().to_vec());
        ids.sort();
        keys.sort();
        assert_eq!(keys.map(|key| PointId::from_key(&key)), ids.map(Some));
        assert_eq!(PointId::from_key(&[2, 0]), None);
        assert_eq!(PointId::from_key(&[0, 1]), None);
    }

    #[test]
    fn collection_names_are_checked() {
        for good in ["a", "Zoë 1", "a.b-c_d", &"x".repeat(255)] {
            assert!(CollectionName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a\0", "a\nb", "a*", &"x".repeat(256)] {
            assert!(CollectionName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
