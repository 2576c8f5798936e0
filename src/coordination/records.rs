//! The values of etcd: JSON records that a person can read with `etcdctl`, each with `"v": 1`.
//!
//! A reader tolerates fields that it does not know, so that a newer process may add some; it refuses
//! a record of a newer version, which means that old readers must not guess. serde's derives stand
//! here because this is the edge; nothing else in the project defines what is stored in etcd.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::fault::{Fault, Kind};
use crate::ids::{CollectionId, Epoch, NodeId, SlotRange};
use crate::vector::Distance;

/// The version of the records that this program writes, and the newest that it reads.
pub const VERSION: u64 = 1;

/// Bytes of one value: etcd holds what steers the cluster, and every process holds all of it in
/// memory.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Why bytes are not a record, or a record cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Above [`VALUE_BYTES_MAX`].
    #[error("record of {bytes} bytes is longer than {VALUE_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Not JSON, or not the fields of the record.
    #[error("bytes are not such a record")]
    Malformed(#[source] serde_json::Error),
    /// Written by a newer program in a way that this one must not read.
    #[error("record has version {version}, this program reads up to {VERSION}")]
    Newer {
        /// Its version.
        version: u64,
    },
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::TooLarge { .. } => Kind::InvalidInput,
            Self::Malformed(_) => Kind::Corrupt,
            Self::Newer { .. } => Kind::Unimplemented,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "coordination.record_too_large",
            Self::Malformed(_) => "coordination.record_malformed",
            Self::Newer { .. } => "coordination.record_newer",
        }
    }
}

/// The record as it is stored.
///
/// # Errors
/// [`Error::TooLarge`]; [`Error::Malformed`] if it is not a JSON object, which no record here is.
pub fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Error> {
    #[derive(Serialize)]
    struct Versioned<'a> {
        v: u64,
        #[serde(flatten)]
        fields: &'a serde_json::Map<String, Value>,
    }
    let fields = match serde_json::to_value(record).map_err(Error::Malformed)? {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(not_an_object());
        },
    };
    let bytes = serde_json::to_vec(&Versioned {
        v: VERSION,
        fields: &fields,
    })
    .map_err(Error::Malformed)?;
    within_bound(&bytes)?;
    Ok(bytes)
}

/// The record that these bytes are.
///
/// # Errors
/// [`Error`]; the version is looked at first, so that a newer record is not called malformed.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Version {
        v: u64,
    }
    within_bound(bytes)?;
    // serde would take a list for a struct, field by field.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(not_an_object());
    }
    let Version { v: version } = serde_json::from_slice(bytes).map_err(Error::Malformed)?;
    if version > VERSION {
        return Err(Error::Newer { version });
    }
    serde_json::from_slice(bytes).map_err(Error::Malformed)
}

fn not_an_object() -> Error {
    Error::Malformed(serde::de::Error::custom("it is not a JSON object"))
}

fn within_bound(bytes: &[u8]) -> Result<(), Error> {
    if bytes.len() > VALUE_BYTES_MAX {
        return Err(Error::TooLarge { bytes: bytes.len() });
    }
    Ok(())
}

/// Whose prefix this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The cluster's own id; another one means that the prefix is in use.
    pub uid: Uuid,
    /// When it was claimed, for people to read.
    pub created_ms: u64,
    /// The oldest version of this program's records that may read the prefix.
    pub min_reader: u64,
}

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Answers the public API.
    Gateway,
    /// Decides.
    Master,
    /// Holds shards.
    Worker,
}

impl Role {
    /// The role's word in keys, records and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Master => "master",
            Self::Worker => "worker",
        }
    }
}

/// What may be asked of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// There, and not ready yet.
    Starting,
    /// Ready.
    Serving,
    /// On its way out: what it has goes on, nothing new.
    Draining,
}

/// A process that lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Its identity, which its data folder keeps.
    pub node: NodeId,
    /// What people call it: the pod's name.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// The version of its program.
    pub version: String,
    /// Where its gRPC service listens, `host:port`; empty if it has none.
    pub rpc_address: String,
    /// Where its HTTP service listens, `host:port`.
    pub http_address: String,
    /// What may be asked of it.
    pub state: ServiceState,
    /// When it started, for people to read.
    pub since_ms: u64,
    /// Grows with each start of the process.
    pub incarnation: u64,
}

/// Where a collection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectionState {
    /// Recorded; its shards may not exist yet.
    Creating,
    /// Serves.
    Active,
    /// No longer there for users; its shards may still be.
    Deleting,
}

/// How the vectors of a collection are indexed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexChoice {
    /// The index kind that was asked for; without one the worker chooses.
    pub algorithm: Option<String>,
    /// Its parameters, as they were given.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionRecord {
    /// Its id for its whole life.
    pub id: CollectionId,
    /// The name that it was created under.
    pub name: String,
    /// Components of its vectors.
    pub dimensions: usize,
    /// How nearness is measured.
    pub distance: Distance,
    /// How its vectors are indexed.
    #[serde(default)]
    pub index: IndexChoice,
    /// Its payload indexes by field: the schema as it was given.
    #[serde(default)]
    pub payload_indexes: BTreeMap<String, Value>,
    /// The configuration as the client gave it, to be given back.
    #[serde(default)]
    pub config: Value,
    /// The name of its vector; none for the nameless one.
    #[serde(default)]
    pub vector_name: Option<String>,
    /// Where it is in its life.
    pub state: CollectionState,
    /// When it was created, for people to read.
    pub created_ms: u64,
    /// Into how many shards its slots are grouped.
    pub shard_count: u16,
}

/// Whether a name is a collection's own or one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// The collection's own name.
    Name,
    /// An alias.
    Alias,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRecord {
    /// The collection.
    pub collection: CollectionId,
    /// Whether it is its own name.
    pub kind: NameKind,
}

/// Where a shard is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// Recorded; its primary may not have made it yet.
    Creating,
    /// Serves.
    Active,
    /// To be dropped.
    Deleting,
}

/// Who serves a shard. Only the leader master changes it, guarded by its term.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// Grows with each new primary, and with nothing else.
    pub epoch: Epoch,
    /// Who orders its writes.
    pub primary: NodeId,
    /// Who has every acknowledged write, the primary among them.
    pub in_sync: Vec<NodeId>,
    /// Who holds a copy, in sync or not.
    pub replicas: Vec<NodeId>,
    /// The slots that it serves.
    pub slots: Vec<SlotRange>,
    /// Where it is in its life.
    pub state: ShardState,
}

/// Says that a collection is gone for good: with it, and only with it, a worker deletes data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// When it was deleted, for people to read.
    pub at_ms: u64,
}

/// Who leads, or could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadRecord {
    /// The process.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// Where its gRPC service listens.
    pub rpc_address: String,
    /// When it wrote this, for people to read.
    pub since_ms: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shard() -> ShardRecord {
        let node = NodeId(Uuid::from_u128(7));
        ShardRecord {
            epoch: Epoch(4),
            primary: node,
            in_sync: vec![node],
            replicas: vec![node],
            slots: vec![SlotRange {
                first: 0,
                last: 4095,
            }],
            state: ShardState::Active,
        }
    }

    #[test]
    fn a_shard_record_is_stored_as_clusters_have_it() {
        let bytes = encode(&shard()).unwrap();
        let node = "00000000-0000-0000-0000-000000000007";
        assert_eq!(
            serde_json::from_slice::<Value>(&bytes).unwrap(),
            json!({
                "v": 1, "epoch": 4, "primary": node, "in_sync": [node], "replicas": [node],
                "slots": [{"first": 0, "last": 4095}], "state": "active",
            })
        );
        assert!(bytes.starts_with(br#"{"v":1,"#), "the version comes first");
        assert_eq!(decode::<ShardRecord>(&bytes).unwrap(), shard());
    }

    #[test]
    fn fields_of_a_newer_program_are_tolerated_and_newer_versions_are_not() {
        let read = |text: &str| decode::<Tombstone>(text.as_bytes());
        let tombstone = Tombstone { at_ms: 5 };
        assert_eq!(read(r#"{"v":1,"at_ms":5,"by":"x"}"#).unwrap(), tombstone);
        assert!(matches!(
            read(r#"{"v":2,"moment":{}}"#),
            Err(Error::Newer { version: 2 })
        ));
        for bad in ["", "{}", r#"{"at_ms":5}"#, r#"{"v":1}"#, "\u{0}", "[1]"] {
            assert!(matches!(read(bad), Err(Error::Malformed(_))), "{bad}");
        }
    }

    #[test]
    fn a_record_without_its_newer_parts_is_read() {
        let bytes =
            br#"{"v":1,"id":"00000000-0000-0000-0000-000000000009","name":"a","dimensions":4,
            "distance":"Dot","state":"active","created_ms":1,"shard_count":2}"#;
        let record: CollectionRecord = decode(bytes).unwrap();
        assert_eq!(record.index, IndexChoice::default());
        assert_eq!(record.vector_name, None);
        let again: CollectionRecord = decode(&encode(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }

    #[test]
    fn what_is_too_large_is_neither_written_nor_read() {
        let mut tall = shard();
        tall.replicas = vec![tall.primary; 2_000];
        assert!(matches!(encode(&tall), Err(Error::TooLarge { .. })));
        let long = vec![b' '; VALUE_BYTES_MAX + 1];
        assert!(matches!(
            decode::<Tombstone>(&long),
            Err(Error::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode::<CollectionRecord>(&bytes).is_err());
        }

        #[test]
        fn service_records_come_back_whole(name in ".{0,20}", since_ms: u64, incarnation: u64) {
            let record = ServiceRecord {
                node: NodeId(Uuid::from_u128(incarnation.into())),
                name,
                role: Role::Worker,
                version: "0.1.0".to_owned(),
                rpc_address: "127.0.0.1:1".to_owned(),
                http_address: String::new(),
                state: ServiceState::Draining,
                since_ms,
                incarnation,
            };
            prop_assert_eq!(decode::<ServiceRecord>(&encode(&record).unwrap()).unwrap(), record);
        }
    }
}
