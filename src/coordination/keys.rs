//! Every key of etcd, spelled here and nowhere else.
//!
//! ```text
//! <prefix>/<namespace>/<name>/
//!     meta                       whose prefix this is
//!     svc/<role>/<node>          a process that lives; on its session's lease
//!     lead/master                the leader; on its session's lease; its create revision is the term
//!     cand/master/<node>         who could lead; on its session's lease
//!     coll/<collection>          a collection
//!     coll-name/<name>           what a name or an alias stands for
//!     shard/<collection>/<n>     who serves a shard
//!     gone/<collection>          a tombstone: it alone lets a worker delete data
//! ```
//!
//! Parts that people choose are percent-encoded, so a part never holds a `/`. Numbers are padded, so
//! that keys sort as the numbers do. The parse functions take what follows a prefix of this file, as
//! a mirror hands it out, and refuse what this file would not have written.

use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use uuid::Uuid;

use crate::ids::{CollectionId, CollectionName, NodeId, ShardId};

/// What is escaped in a part of a key beside all that is not ASCII: the separator, and the escape.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'/').add(b'%').add(b' ');

/// The keys of one cluster. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    root: Arc<str>,
}

impl Keys {
    /// The keys under `<prefix>/<namespace>/<name>/`. `/` at the end of the prefix is dropped.
    pub fn new(prefix: &str, namespace: &str, name: &str) -> Self {
        let prefix = prefix.trim_end_matches('/');
        let root = format!("{prefix}/{}/{}/", escape(namespace), escape(name));
        Self { root: root.into() }
    }

    /// The prefix of all keys of the cluster.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Whose prefix this is: the cluster's UID and the schema.
    pub fn meta(&self) -> String {
        self.under("meta")
    }

    /// The prefix of all processes.
    pub fn services(&self) -> String {
        self.under("svc/")
    }

    /// The entry of one process.
    pub fn service(&self, role: &str, node: NodeId) -> String {
        self.under(&format!("svc/{}/{node}", escape(role)))
    }

    /// The prefix of all leaders.
    pub fn leaders(&self) -> String {
        self.under("lead/")
    }

    /// The leader of the masters.
    pub fn lead_master(&self) -> String {
        self.under("lead/master")
    }

    /// The prefix of the masters that could lead.
    pub fn candidates_master(&self) -> String {
        self.under("cand/master/")
    }

    /// A master that could lead.
    pub fn candidate_master(&self, node: NodeId) -> String {
        self.under(&format!("cand/master/{node}"))
    }

    /// The prefix of all collections.
    pub fn collections(&self) -> String {
        self.under("coll/")
    }

    /// One collection.
    pub fn collection(&self, id: CollectionId) -> String {
        self.under(&format!("coll/{id}"))
    }

    /// The prefix of all names and aliases of collections.
    pub fn collection_names(&self) -> String {
        self.under("coll-name/")
    }

    /// What one name or alias stands for.
    pub fn collection_name(&self, name: &CollectionName) -> String {
        self.under(&format!("coll-name/{}", escape(name.as_str())))
    }

    /// The prefix of all shards.
    pub fn shards(&self) -> String {
        self.under("shard/")
    }

    /// The prefix of the shards of one collection.
    pub fn shards_of(&self, collection: CollectionId) -> String {
        self.under(&format!("shard/{collection}/"))
    }

    /// One shard.
    pub fn shard(&self, shard: ShardId) -> String {
        self.under(&format!("shard/{}/{:05}", shard.collection, shard.number))
    }

    /// The prefix of all tombstones of collections.
    pub fn tombstones(&self) -> String {
        self.under("gone/")
    }

    /// The tombstone of one collection.
    pub fn tombstone(&self, id: CollectionId) -> String {
        self.under(&format!("gone/{id}"))
    }

    fn under(&self, rest: &str) -> String {
        format!("{}{rest}", self.root)
    }
}

/// The role and the process that follow [`Keys::services`].
pub fn parse_service(rest: &str) -> Option<(String, NodeId)> {
    let (role, node) = rest.split_once('/')?;
    Some((unescape(role)?, parse_node(node)?))
}

/// The process that follows [`Keys::candidates_master`].
pub fn parse_node(rest: &str) -> Option<NodeId> {
    let node = NodeId(Uuid::try_parse(rest).ok()?);
    (node.to_string() == rest).then_some(node)
}

/// The collection that follows [`Keys::collections`] or [`Keys::tombstones`].
pub fn parse_collection(rest: &str) -> Option<CollectionId> {
    let id = CollectionId::from_str(rest).ok()?;
    (id.to_string() == rest).then_some(id)
}

/// The name that follows [`Keys::collection_names`].
pub fn parse_collection_name(rest: &str) -> Option<CollectionName> {
    let name = CollectionName::parse(&unescape(rest)?).ok()?;
    (escape(name.as_str()) == rest).then_some(name)
}

/// The shard that follows [`Keys::shards`].
pub fn parse_shard(rest: &str) -> Option<ShardId> {
    let (collection, number) = rest.split_once('/')?;
    let shard = ShardId {
        collection: parse_collection(collection)?,
        number: number.parse().ok()?,
    };
    (format!("{:05}", shard.number) == number).then_some(shard)
}

fn escape(part: &str) -> String {
    utf8_percent_encode(part, ESCAPED).to_string()
}

fn unescape(part: &str) -> Option<String> {
    let text = percent_decode_str(part).decode_utf8().ok()?;
    Some(text.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> Keys {
        Keys::new("/vectorsphere/", "dev", "laptop")
    }

    fn rest<'a>(key: &'a str, prefix: &str) -> &'a str {
        key.strip_prefix(prefix).unwrap()
    }

    #[test]
    fn keys_are_spelled_as_stored_clusters_have_them() {
        let keys = keys();
        let node = NodeId(Uuid::from_u128(7));
        let id = CollectionId(Uuid::from_u128(9));
        let shard = ShardId {
            collection: id,
            number: 3,
        };
        let name = CollectionName::parse("Zoë 1%").unwrap();
        let spelled = [
            keys.meta(),
            keys.service("worker", node),
            keys.lead_master(),
            keys.candidate_master(node),
            keys.collection(id),
            keys.collection_name(&name),
            keys.shard(shard),
            keys.tombstone(id),
        ];
        let expected = [
            "meta",
            "svc/worker/00000000-0000-0000-0000-000000000007",
            "lead/master",
            "cand/master/00000000-0000-0000-0000-000000000007",
            "coll/00000000000000000000000000000009",
            "coll-name/Zo%C3%AB%201%25",
            "shard/00000000000000000000000000000009/00003",
            "gone/00000000000000000000000000000009",
        ];
        assert_eq!(
            spelled.to_vec(),
            expected.map(|rest| format!("/vectorsphere/dev/laptop/{rest}"))
        );
    }

    #[test]
    fn a_name_with_a_slash_does_not_reach_into_another_cluster() {
        let sly = Keys::new("/v", "a/b", "c");
        let honest = Keys::new("/v", "a", "b/c");
        assert_ne!(sly.root(), honest.root());
        assert!(!sly.root().starts_with("/v/a/"));
    }

    #[test]
    fn what_this_file_would_not_write_is_refused() {
        assert_eq!(parse_service("worker"), None);
        assert_eq!(parse_service("worker/not-a-node"), None);
        assert_eq!(
            parse_collection("00000000-0000-0000-0000-000000000009"),
            None
        );
        assert_eq!(parse_collection_name("a%2Fb"), None);
        assert_eq!(parse_collection_name("%41"), None, "escaped without need");
        let id = CollectionId(Uuid::from_u128(9));
        for bad in ["3", "+0003", "65536", "00003/1", ""] {
            assert_eq!(parse_shard(&format!("{id}/{bad}")), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_key_parses_back(
            collection in any::<u128>(),
            node in any::<u128>(),
            numbers in any::<(u16, u16)>(),
            role in "[ -~é/]{1,12}",
            name in "[^\\x00-\\x1f\\x7f-\\x9f/\\\\<>:\"|?*]{1,40}",
        ) {
            let keys = keys();
            let collection = CollectionId(Uuid::from_u128(collection));
            let node = NodeId(Uuid::from_u128(node));
            let service = keys.service(&role, node);
            prop_assert_eq!(parse_service(rest(&service, &keys.services())), Some((role, node)));
            let key = keys.collection(collection);
            prop_assert_eq!(parse_collection(rest(&key, &keys.collections())), Some(collection));
            let shards = [numbers.0, numbers.1].map(|number| ShardId { collection, number });
            let spelled = shards.map(|shard| keys.shard(shard));
            prop_assert_eq!(spelled[0].cmp(&spelled[1]), numbers.0.cmp(&numbers.1));
            prop_assert_eq!(parse_shard(rest(&spelled[0], &keys.shards())), Some(shards[0]));
            prop_assert!(spelled[0].starts_with(&keys.shards_of(collection)));
            if let Ok(name) = CollectionName::parse(&name) {
                let key = keys.collection_name(&name);
                let rest = rest(&key, &keys.collection_names());
                prop_assert!(!rest.contains('/'));
                prop_assert_eq!(parse_collection_name(rest), Some(name));
            }
        }
    }
}
