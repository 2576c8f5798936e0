//! What a segment's folder says about itself.
//!
//! `manifest.json` is written last, so a folder that has one is whole. It carries a checksum of its
//! own text, and the length and checksum of every other file.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::{Error, arroy, graph};
use crate::vector::Distance;

/// The format that this program writes, and the only one that it reads. An index of another format
/// is built again, not converted.
const FORMAT: u32 = 1;

/// The same of a graph.
const FORMAT_OF_GRAPHS: u32 = 2;

/// Bytes of a manifest: a few hundred a tree at most.
const MANIFEST_BYTES_MAX: usize = 1024 * 1024;

/// The kinds of index that a collection can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// No index: every search is exact.
    Flat,
    /// Random projection trees.
    Arroy,
    /// A graph of the rows, walked by small codes.
    Graph,
}

/// Bytes of vectors below which a shard has no index unless one is asked for by name: a scan answers in
/// well below a millisecond (measured: `docs/performance.md`), without a build and its memory.
const FLAT_BYTES_MAX: u64 = 8 * 1024 * 1024;

impl Kind {
    /// The kind for a shard whose collection names none.
    pub fn choose(points: u64, dimensions: usize) -> Self {
        if vector_bytes(points, dimensions) <= FLAT_BYTES_MAX {
            Self::Flat
        } else {
            Self::Graph
        }
    }

    /// How to build an index of this kind with its usual parameters; `None` when there is nothing
    /// to build.
    pub fn recipe(self) -> Option<Recipe> {
        match self {
            Self::Flat => None,
            Self::Arroy => Some(Recipe::Arroy(arroy::Parameters::default())),
            Self::Graph => Some(Recipe::Graph(graph::Parameters::default())),
        }
    }

    /// The word in requests and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Arroy => "arroy",
            Self::Graph => "graph",
        }
    }
}

/// Bytes of that many vectors.
pub(super) fn vector_bytes(points: u64, dimensions: usize) -> u64 {
    let dimensions = u64::try_from(dimensions).unwrap_or(u64::MAX);
    points.saturating_mul(dimensions).saturating_mul(4)
}

/// A kind that is built, with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recipe {
    /// Random projection trees.
    Arroy(arroy::Parameters),
    /// A graph of the rows.
    Graph(graph::Parameters),
}

impl Recipe {
    /// The kind of index that comes out.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Arroy(_) => Kind::Arroy,
            Self::Graph(_) => Kind::Graph,
        }
    }

    /// The format of what comes out.
    pub(super) const fn format(&self) -> u32 {
        match self {
            Self::Arroy(_) => FORMAT,
            Self::Graph(_) => FORMAT_OF_GRAPHS,
        }
    }

    /// The share of the ten nearest that searches are to find.
    pub fn recall(&self) -> f32 {
        match self {
            Self::Arroy(parameters) => parameters.recall,
            Self::Graph(parameters) => parameters.recall,
        }
    }
}

/// Whose index it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The life of the store: rows of another one mean other vectors.
    pub store: Uuid,
    /// Components of each vector.
    pub dimensions: usize,
    /// How vectors are compared.
    pub distance: Distance,
}

/// A segment, described.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`Recipe::format`].
    pub format: u32,
    /// The store's sequence number at the snapshot.
    pub sequence: u64,
    /// The store that the rows belong to.
    pub store: Uuid,
    /// Components of each vector.
    pub dimensions: usize,
    /// How vectors are compared.
    pub distance: Distance,
    /// How many rows are covered.
    pub rows: u64,
    /// How it was built.
    pub recipe: Recipe,
    /// The segment that this one stands beside: it covers what that one does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beside: Option<String>,
    /// How long the build took.
    pub build_ms: u64,
    /// The share of the ten nearest that it found, measured at the end of the build.
    pub recall: f32,
    /// What the files of its kind hold, and where.
    pub(super) layout: Layout,
    /// The other files of the folder.
    pub(super) files: Vec<FileSeal>,
}

/// What the files of a kind hold. The kinds have no field in common, so it needs no word of its own:
/// the manifests of trees are as they were before there were graphs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Layout {
    /// Random projection trees.
    Arroy(arroy::Layout),
    /// A graph.
    Graph(graph::Layout),
}

impl Layout {
    /// The files of a segment, in the order of its manifest.
    pub(super) fn files(&self) -> [&'static str; 2] {
        match self {
            Self::Arroy(_) => arroy::FILES,
            Self::Graph(_) => graph::FILES,
        }
    }
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileSeal {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// XXH3, 64 bits, in hexadecimal.
    pub(super) xxh3: String,
}

/// The file as it is on disk: the manifest's text and what checks it.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    xxh3: String,
    #[serde(borrow)]
    manifest: &'a RawValue,
}

/// A checksum as manifests spell it.
pub(super) fn spelled(checksum: u64) -> String {
    format!("{checksum:016x}")
}

impl Manifest {
    /// Bits of a code's component, of a graph.
    pub fn bits(&self) -> Option<u8> {
        match &self.layout {
            Layout::Graph(graph) => Some(graph.bits()),
            Layout::Arroy(_) => None,
        }
    }

    /// The bytes of `manifest.json`.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let encode = || {
            let manifest = serde_json::value::to_raw_value(self)?;
            let xxh3 = spelled(xxh3_64(manifest.get().as_bytes()));
            serde_json::to_vec(&Sealed {
                xxh3,
                manifest: &manifest,
            })
        };
        encode().map_err(|error| Error::from(std::io::Error::from(error)))
    }

    /// The manifest in these bytes, when every one of them checks.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let damaged = |error: serde_json::Error| Error::corrupt(format!("its manifest: {error}"));
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(Error::corrupt("its manifest is too large"));
        }
        let sealed: Sealed<'_> = serde_json::from_slice(bytes).map_err(damaged)?;
        if spelled(xxh3_64(sealed.manifest.get().as_bytes())) != sealed.xxh3 {
            return Err(Error::corrupt("its manifest's checksum"));
        }
        /// The fields that every format has.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
            recipe: serde_json::Value,
        }
        let versioned: Versioned = serde_json::from_str(sealed.manifest.get()).map_err(damaged)?;
        let expected = match versioned.recipe.get("graph") {
            Some(_) => FORMAT_OF_GRAPHS,
            None => FORMAT,
        };
        if versioned.format != expected {
            return Err(Error::Foreign { what: "format" });
        }
        serde_json::from_str(sealed.manifest.get()).map_err(damaged)
    }

    /// Refuses an index that was built for something else.
    pub(super) fn belongs(&self, identity: &Identity) -> Result<(), Error> {
        let what = if self.store != identity.store {
            "store"
        } else if self.dimensions != identity.dimensions {
            "dimensions"
        } else if self.distance != identity.distance {
            "distance"
        } else {
            return Ok(());
        };
        Err(Error::Foreign { what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_another_format_is_no_damage() {
        let decoded = |manifest: &str| {
            let xxh3 = spelled(xxh3_64(manifest.as_bytes()));
            let sealed = format!(r#"{{"xxh3": "{xxh3}", "manifest": {manifest}}}"#);
            Manifest::decode(sealed.as_bytes())
        };
        for other in [
            r#"{"format":1,"recipe":{"graph":{}}}"#,
            r#"{"format":2,"recipe":{"arroy":{}}}"#,
            r#"{"format":3,"recipe":"another"}"#,
        ] {
            let decoded = decoded(other);
            let foreign = matches!(decoded, Err(Error::Foreign { what: "format" }));
            assert!(foreign, "{other}: {decoded:?}");
        }
        for short in [
            r#"{"format":2,"recipe":{"graph":{}}}"#,
            r#"{"format":1,"recipe":{"arroy":{}}}"#,
        ] {
            let decoded = decoded(short);
            assert!(matches!(decoded, Err(Error::Corrupt { .. })), "{decoded:?}");
        }
    }
}
