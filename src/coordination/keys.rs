//! Every etcd key, spelled once.
//!
//! All keys of a cluster lie under `<prefix>/<namespace>/<name>/`, so that two clusters of one name
//! in two namespaces never meet. Numbers are padded so that keys sort as they do.

use std::fmt::Write;

use crate::ids::{CollectionId, CollectionName, NodeId, ShardId};

/// The keys of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

impl Keys {
    /// The keys of the cluster `name` in `namespace`, below `prefix` (`/vectorsphere`).
    pub fn new(prefix: &str, namespace: &str, name: &str) -> Self {
        Self {
            root: format!("{}/{namespace}/{name}/", prefix.trim_end_matches('/')),
        }
    }

    /// What identifies the cluster.
    pub fn meta(&self) -> String {
        format!("{}meta", self.root)
    }

    /// The processes of a role: a prefix.
    pub fn services(&self, role: &str) -> String {
        format!("{}svc/{role}/", self.root)
    }

    /// One process.
    pub fn service(&self, role: &str, node: NodeId) -> String {
        format!("{}svc/{role}/{node}", self.root)
    }

    /// Leaders: a prefix.
    pub fn leaders(&self) -> String {
        format!("{}lead/", self.root)
    }

    /// The master that leads.
    pub fn lead_master(&self) -> String {
        format!("{}lead/{LEAD_MASTER_SUFFIX}", self.root)
    }

    /// A master that would lead.
    pub fn candidate(&self, node: NodeId) -> String {
        format!("{}cand/master/{node}", self.root)
    }

    /// Collections: a prefix.
    pub fn collections(&self) -> String {
        format!("{}coll/", self.root)
    }

    /// One collection.
    pub fn collection(&self, id: CollectionId) -> String {
        format!("{}coll/{id}", self.root)
    }

    /// Names and aliases: a prefix.
    pub fn names(&self) -> String {
        format!("{}coll-name/", self.root)
    }

    /// A name or an alias.
    pub fn name(&self, name: &CollectionName) -> String {
        format!("{}coll-name/{}", self.root, name_suffix(name))
    }

    /// All shards: a prefix.
    pub fn shards(&self) -> String {
        format!("{}shard/", self.root)
    }

    /// The shards of a collection: a prefix.
    pub fn shards_of(&self, id: CollectionId) -> String {
        format!("{}shard/{}", self.root, shard_suffix_prefix(id))
    }

    /// One shard.
    pub fn shard(&self, collection: CollectionId, number: u16) -> String {
        format!(
            "{}shard/{}",
            self.root,
            shard_suffix(ShardId { collection, number })
        )
    }

    /// Workers that take no new shards: a prefix.
    pub fn drains(&self) -> String {
        format!("{}drain/worker/", self.root)
    }

    /// Says that the worker of this name takes no new shards.
    pub fn drain(&self, worker: &str) -> String {
        format!("{}drain/worker/{worker}", self.root)
    }

    /// The names of workers that there ever were: a prefix.
    pub fn nodes(&self) -> String {
        format!("{}node/", self.root)
    }

    /// The name of a worker; stays when its lease is gone, so that what it holds can be told by it.
    pub fn node(&self, node: NodeId) -> String {
        format!("{}node/{node}", self.root)
    }

    /// Tombstones: a prefix.
    pub fn tombstones(&self) -> String {
        format!("{}gone/", self.root)
    }

    /// Says that the data of a collection is to be deleted.
    pub fn tombstone(&self, id: CollectionId) -> String {
        format!("{}gone/{id}", self.root)
    }
}

/// The leader of the masters, below [`Keys::leaders`].
pub const LEAD_MASTER_SUFFIX: &str = "master";

/// A name as a part of a key: every byte but letters, digits, `-`, `_` and `.` as `%XX`.
pub fn name_suffix(name: &CollectionName) -> String {
    let mut suffix = String::new();
    for byte in name.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            suffix.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _written = write!(suffix, "%{byte:02X}");
        }
    }
    suffix
}

/// The name that [`name_suffix`] made this of.
pub fn name_of_suffix(suffix: &str) -> Option<String> {
    percent_encoding::percent_decode_str(suffix)
        .decode_utf8()
        .ok()
        .map(|name| name.into_owned())
}

/// A collection's shards below [`Keys::shards`].
pub fn shard_suffix_prefix(id: CollectionId) -> String {
    format!("{id}/")
}

/// A shard below [`Keys::shards`].
pub fn shard_suffix(shard: ShardId) -> String {
    format!("{}/{:05}", shard.collection, shard.number)
}

/// The shard's number at the end of [`shard_suffix`].
pub fn shard_number(suffix: &str) -> Option<u16> {
    suffix.rsplit_once('/')?.1.parse().ok()
}

/// The shard of a [`shard_suffix`].
pub fn shard_of_suffix(suffix: &str) -> Option<ShardId> {
    let (collection, number) = suffix.rsplit_once('/')?;
    Some(ShardId {
        collection: collection.parse().ok()?,
        number: number.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn keys_are_spelled_as_they_always_were() {
        let keys = Keys::new("/vectorsphere/", "dev", "laptop");
        let id = CollectionId(Uuid::from_u128(0xab));
        let shard = keys.shard(id, 7);
        assert_eq!(
            shard,
            "/vectorsphere/dev/laptop/shard/000000000000000000000000000000ab/00007"
        );
        assert!(shard.starts_with(&keys.shards_of(id)));
        let name = CollectionName::parse("Zoë 1.x").unwrap();
        assert_eq!(
            keys.name(&name),
            "/vectorsphere/dev/laptop/coll-name/Zo%C3%AB%201.x"
        );
        assert_eq!(name_of_suffix("Zo%C3%AB%201.x").as_deref(), Some("Zoë 1.x"));
        assert_eq!(keys.lead_master(), "/vectorsphere/dev/laptop/lead/master");
        assert_eq!(
            keys.drain("laptop-worker-3"),
            "/vectorsphere/dev/laptop/drain/worker/laptop-worker-3"
        );
        assert_eq!(
            keys.node(NodeId(Uuid::from_u128(1))),
            "/vectorsphere/dev/laptop/node/00000000-0000-0000-0000-000000000001"
        );
        let suffix = shard_suffix(ShardId {
            collection: id,
            number: 7,
        });
        assert_eq!(
            shard_of_suffix(&suffix),
            Some(ShardId {
                collection: id,
                number: 7
            })
        );
        assert_eq!(shard_number(&suffix), Some(7));
    }
}
