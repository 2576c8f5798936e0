//! Collections, as they are asked for and as they are described.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::ids::CollectionName;
use crate::vector::Distance;

/// What every vector of a collection has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Components of a vector.
    pub dimensions: usize,
    /// How two of them are compared.
    pub distance: Distance,
    /// What the vectors are called, when they are called something.
    pub vector_name: Option<String>,
}

/// Which index a collection wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexChoice {
    /// The kind; absent: the system chooses.
    pub algorithm: Option<String>,
    /// Parameters of the kind.
    pub parameters: BTreeMap<String, String>,
}

/// A collection to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCollection {
    /// Its name.
    pub name: CollectionName,
    /// Its vectors.
    pub shape: Shape,
    /// How many shards; absent: what the cluster was told, else one for each worker.
    pub shards: Option<u16>,
    /// Its index.
    pub index: IndexChoice,
    /// Settings that are kept to be shown again: an object.
    pub config: Value,
}

/// Whether a collection serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CollectionStatus {
    /// Every shard serves, and no index build is due.
    Green,
    /// Every shard serves; an index build is due or under way.
    Yellow,
    /// A shard is not served.
    Red,
}

/// An index of a payload field.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadIndexInfo {
    /// The schema as it was declared: a word, or an object with a `type`.
    pub schema: Value,
    /// Points that have a value in it.
    pub points: u64,
}

/// How much searches find of what is there, known from some that were asked again exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchQuality {
    /// The share of the exact answers.
    pub recall: f64,
    /// How hard searches look that do not say it, 100 being the index's own choice; where shards differ,
    /// the hardest.
    pub effort: u32,
    /// How many were asked again.
    pub samples: u32,
}

impl SearchQuality {
    /// What is known of several shards together, each as often as it was asked.
    pub fn over(shards: impl IntoIterator<Item = Self>) -> Option<Self> {
        shards.into_iter().reduce(|all, one| {
            let samples = all.samples.saturating_add(one.samples);
            let found = all.recall * f64::from(all.samples) + one.recall * f64::from(one.samples);
            Self {
                recall: found / f64::from(samples.max(1)),
                effort: all.effort.max(one.effort),
                samples,
            }
        })
    }
}

/// A collection as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionInfo {
    /// Its own name, whatever it was asked for by.
    pub name: CollectionName,
    /// Its vectors.
    pub shape: Shape,
    /// Its index.
    pub index: IndexChoice,
    /// [`NewCollection::config`], with the changes since.
    pub config: Value,
    /// Its payload indexes, by field.
    pub payload_indexes: BTreeMap<String, PayloadIndexInfo>,
    /// Those that shards made by themselves, since filters ask for them, with their points.
    pub own_payload_indexes: BTreeMap<String, u64>,
    /// Whether it serves.
    pub status: CollectionStatus,
    /// How many shards it has.
    pub shards: u16,
    /// How many points.
    pub points: u64,
    /// How many vectors a built index covers.
    pub indexed_vectors: u64,
    /// How many built indexes there are.
    pub segments: u64,
    /// What searches find; `None` before any was asked again.
    pub quality: Option<SearchQuality>,
}

/// Another name for a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// The other name.
    pub alias: CollectionName,
    /// The collection's own.
    pub collection: CollectionName,
}

/// One change of aliases; those of one request are made together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AliasAction {
    /// A new alias, or one that leads elsewhere from now on.
    Create(Alias),
    /// An alias less.
    Delete(CollectionName),
    /// Another name for an alias.
    Rename {
        /// What it is called.
        from: CollectionName,
        /// What it will be called.
        to: CollectionName,
    },
}
