//! What is stored under the keys: JSON that people can read, with its version `v`.
//!
//! Unknown members are passed over, so that an older process reads what a newer one wrote. A record of
//! a newer version is refused: its writer says that older ones must not guess.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Error;
use crate::ids::{CollectionId, CollectionName, Epoch, NodeId, SlotRange};
use crate::vector::Distance;

/// Bytes of one record: small values keep etcd quick.
pub const RECORD_BYTES_MAX: usize = 64 * 1024;

/// The version of the records that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The record as bytes, with its version. They are read back once: what no mirror could read is never
/// written.
///
/// # Errors
/// [`Error::RecordTooLarge`]; [`Error::Record`] when the bytes do not parse.
pub fn encode<T: Serialize + DeserializeOwned>(record: &T) -> Result<Vec<u8>, Error> {
    let mut value = serde_json::to_value(record).map_err(Error::Record)?;
    if let Some(members) = value.as_object_mut() {
        members.entry("v").or_insert_with(|| VERSION.into());
    }
    let bytes = serde_json::to_vec(&value).map_err(Error::Record)?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Error::RecordTooLarge { bytes: bytes.len() });
    }
    decode::<T>(&bytes)?;
    Ok(bytes)
}

/// The record that these bytes are.
///
/// # Errors
/// [`Error::Record`]; [`Error::RecordNewer`], looked at first, so that a newer record is not called
/// malformed; [`Error::RecordTooLarge`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Versioned {
        v: u64,
    }
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(Error::RecordTooLarge { bytes: bytes.len() });
    }
    // What has no version is of the first, or is no record, which the next line finds.
    if let Ok(Versioned { v: version }) = serde_json::from_slice(bytes)
        && version > u64::from(VERSION)
    {
        return Err(Error::RecordNewer { version });
    }
    serde_json::from_slice(bytes).map_err(Error::Record)
}

const fn first() -> u32 {
    1
}

/// `meta`: which cluster this prefix belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Version of the record.
    #[serde(default = "first")]
    pub v: u32,
    /// Identifies the cluster for ever.
    pub uid: Uuid,
    /// When it was made, for people.
    pub created_ms: u64,
    /// The lowest version of records that a reader must know.
    #[serde(default = "first")]
    pub min_reader: u32,
}

/// What a process says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Not ready yet.
    Starting,
    /// Takes requests.
    Serving,
    /// Finishes what it has.
    Draining,
}

/// `svc/<role>/<node>`: a process that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Version of the record.
    #[serde(default = "first")]
    pub v: u32,
    /// Its identity.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// `gateway`, `master` or `worker`.
    pub role: String,
    /// Version of its program.
    pub version: String,
    /// Where it answers gRPC; empty when it does not.
    pub rpc_address: String,
    /// Where it answers HTTP.
    pub http_address: String,
    /// What it does.
    pub state: ServiceState,
    /// Since when, for people.
    pub since_ms: u64,
    /// Tells this run of the process from another.
    pub incarnation: Uuid,
}

/// Where a collection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CollectionState {
    /// Its shards are being made; nobody uses it.
    Creating,
    /// In use.
    Active,
    /// Its records are being removed; its tombstone is written.
    Deleting,
}

/// Which index a collection wants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRecord {
    /// The kind; absent: the system chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Parameters of the kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
}

/// `coll/<id>`: a collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// Version of the record.
    #[serde(default = "first")]
    pub v: u32,
    /// Its id.
    pub id: CollectionId,
    /// Its own name.
    pub name: CollectionName,
    /// Components of its vectors.
    pub dimensions: usize,
    /// How they are compared.
    pub distance: Distance,
    /// Which index it wants.
    #[serde(default)]
    pub index: IndexRecord,
    /// Payload indexes by field, as the client declared them.
    #[serde(default)]
    pub payload_indexes: BTreeMap<String, serde_json::Value>,
    /// What the client sent when it made or changed the collection.
    #[serde(default)]
    pub config: serde_json::Value,
    /// The name of its vectors, when they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_name: Option<String>,
    /// Where it is in its life.
    pub state: CollectionState,
    /// When it was made, for people.
    pub created_ms: u64,
    /// How many shards it has.
    pub shard_count: u16,
}

/// Whether a name is a collection's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameKind {
    /// Its own.
    Name,
    /// Another that leads to it.
    Alias,
}

/// `coll-name/<name>`: what a name leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// The collection.
    pub collection: CollectionId,
    /// Its own name, or an alias.
    pub kind: NameKind,
}

/// Whether a shard serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShardRecordState {
    /// It does.
    Active,
}

/// `shard/<collection>/<number>`: who holds a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Version of the record.
    #[serde(default = "first")]
    pub v: u32,
    /// Numbers its primaries.
    pub epoch: Epoch,
    /// Who orders its writes.
    pub primary: NodeId,
    /// Who has every acknowledged write.
    pub in_sync: Vec<NodeId>,
    /// Who has a copy.
    pub replicas: Vec<NodeId>,
    /// The slots in it.
    pub slots: Vec<SlotRange>,
    /// Whether it serves.
    pub state: ShardRecordState,
}

/// `gone/<collection>`: its data is to be deleted wherever it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// When, for people.
    pub at_ms: u64,
}

/// `drain/worker/<name>`: the worker takes no new shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRecord {
    /// Since when, for people.
    pub at_ms: u64,
}

/// `lead/master`: the master that leads. The term is the key's create revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadRecord {
    /// The process.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where it answers.
    pub rpc_address: String,
    /// Since when, for people.
    pub since_ms: u64,
    /// Tells this candidacy from an earlier one of the same process.
    pub incarnation: Uuid,
}

#[cfg(test)]
impl CollectionRecord {
    /// One with nothing set, for tests.
    pub(crate) fn bare() -> Self {
        Self {
            v: 1,
            id: CollectionId(Uuid::nil()),
            name: CollectionName::parse("a").unwrap(),
            dimensions: 2,
            distance: Distance::Dot,
            index: IndexRecord::default(),
            payload_indexes: BTreeMap::new(),
            config: serde_json::json!({}),
            vector_name: None,
            state: CollectionState::Creating,
            created_ms: 0,
            shard_count: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shard() -> ShardRecord {
        let node = NodeId(Uuid::from_u128(7));
        ShardRecord {
            v: 1,
            epoch: Epoch(4),
            primary: node,
            in_sync: vec![node],
            replicas: vec![node],
            slots: vec![SlotRange {
                first: 0,
                last: 4095,
            }],
            state: ShardRecordState::Active,
        }
    }

    #[test]
    fn records_are_stored_as_clusters_have_them() {
        let stored = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
        let node = "00000000-0000-0000-0000-000000000007";
        assert_eq!(
            stored(encode(&shard()).unwrap()),
            json!({
                "v": 1, "epoch": 4, "primary": node, "in_sync": [node], "replicas": [node],
                "slots": [{"first": 0, "last": 4095}], "state": "active",
            })
        );
        let tombstone = Tombstone { at_ms: 5 };
        assert_eq!(
            stored(encode(&tombstone).unwrap()),
            json!({"v": 1, "at_ms": 5})
        );
    }

    #[test]
    fn members_of_a_newer_program_are_passed_over_and_newer_versions_are_not() {
        let read = |text: &str| decode::<Tombstone>(text.as_bytes());
        let tombstone = Tombstone { at_ms: 5 };
        assert_eq!(read(r#"{"v":1,"at_ms":5,"by":"x"}"#).unwrap(), tombstone);
        assert_eq!(read(r#"{"at_ms":5}"#).unwrap(), tombstone);
        assert!(matches!(
            read(r#"{"v":2,"moment":{}}"#),
            Err(Error::RecordNewer { version: 2 })
        ));
        for bad in ["", "{}", r#"{"v":1}"#, "\u{0}"] {
            assert!(matches!(read(bad), Err(Error::Record(_))), "{bad}");
        }
    }

    #[test]
    fn what_is_too_large_is_neither_written_nor_read() {
        let mut tall = shard();
        tall.replicas = vec![tall.primary; 2_000];
        assert!(matches!(encode(&tall), Err(Error::RecordTooLarge { .. })));
        let long = decode::<Tombstone>(&vec![b' '; RECORD_BYTES_MAX + 1]);
        assert!(matches!(long, Err(Error::RecordTooLarge { .. })));
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let deep = |levels: usize| CollectionRecord {
            config: (0..levels).fold(json!(1), |inner, _level| json!([inner])),
            ..CollectionRecord::bare()
        };
        let bytes = encode(&deep(100)).unwrap();
        assert_eq!(decode::<CollectionRecord>(&bytes).unwrap(), deep(100));
        assert!(matches!(encode(&deep(127)), Err(Error::Record(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode::<CollectionRecord>(&bytes).is_err());
        }
    }
}
