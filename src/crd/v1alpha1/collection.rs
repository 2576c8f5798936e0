//! The kind `VectorCollection`: a collection of vectors that a VectorCluster is to have.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::ShardStatus;

/// A collection of vectors, kept in a VectorCluster.
#[derive(CustomResource, KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "vectorsphere.io",
    version = "v1alpha1",
    kind = "VectorCollection",
    plural = "vectorcollections",
    shortname = "vcol",
    category = "vectorsphere",
    namespaced,
    status = "VectorCollectionStatus",
    derive = "PartialEq",
    doc = "A collection of vectors, kept in a VectorCluster.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "The collection is there, as the spec says"
    ),
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster",
        description = "The VectorCluster that keeps it"
    ),
    printcolumn(
        name = "Dim",
        type_ = "integer",
        json_path = ".spec.dimension",
        description = "Components of each vector"
    ),
    printcolumn(
        name = "Metric",
        type_ = "string",
        json_path = ".spec.metric",
        description = "How vectors are compared"
    ),
    printcolumn(
        name = "Vectors",
        type_ = "integer",
        json_path = ".status.vectors",
        description = "Vectors it holds"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why Ready is what it is",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    selectable = ".spec.cluster"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.name) == has(oldSelf.name) && (!has(self.name) || self.name == oldSelf.name)")
        .message("name is immutable")
        .field_path(".name")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.shards) == has(oldSelf.shards) && (!has(self.shards) || self.shards == oldSelf.shards)")
        .message("shards is immutable")
        .field_path(".shards")
        .reason(Reason::FieldValueForbidden)
)]
pub struct VectorCollectionSpec {
    /// The VectorCluster of this namespace that keeps the collection. Immutable.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("cluster is immutable")
            .reason(Reason::FieldValueForbidden)
    )]
    pub cluster: String,

    /// Its name in the cluster, as applications know it. Absent: metadata.name. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r#"^[^/\\<>:"|?*\p{Cc}]+$"#)
    )]
    #[x_kube(
        validation = Rule::new("self != '.' && self != '..'").message("a name is not . or ..")
    )]
    pub name: Option<String>,

    /// Components of each vector. Immutable.
    #[schemars(range(min = 1, max = 65536))]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("dimension is immutable")
            .reason(Reason::FieldValueForbidden)
    )]
    pub dimension: i32,

    /// How vectors are compared. Immutable.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("metric is immutable")
            .reason(Reason::FieldValueForbidden)
    )]
    pub metric: Metric,

    /// Shards that the collection is cut into. Absent: as the cluster says when the collection is
    /// created. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub shards: Option<i32>,

    /// Copies of each shard. Absent: as the cluster says. More than 1 is refused until replication
    /// is available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 7))]
    pub replication_factor: Option<i32>,

    /// How near vectors are found fast.
    #[serde(default)]
    pub index: Index,

    /// Take over a collection of this name that is there already. Without it such a collection is
    /// left alone and Ready is False.
    #[serde(default)]
    pub adopt: bool,

    /// What happens to the collection when the VectorCollection is deleted: Retain keeps it, Delete
    /// removes it with its vectors.
    #[serde(default)]
    pub deletion_policy: RetainOrDelete,

    /// Refuse deletion while true (by a ValidatingAdmissionPolicy of the chart).
    #[serde(default)]
    pub deletion_protection: bool,
}

choice! {
    /// How vectors are compared.
    Metric {
        /// By their angle.
        Cosine,
        /// By their distance in a straight line.
        Euclidean,
        /// By their inner product.
        DotProduct,
        /// By the sum of the differences of their components.
        Manhattan,
    }
}

choice! {
    /// What becomes of data whose object is deleted.
    RetainOrDelete {
        /// It stays.
        Retain,
        /// It goes.
        Delete,
    }
}

/// How near vectors are found fast.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.trees) || !has(self.algorithm) || self.algorithm == 'Arroy'")
        .message("trees goes with algorithm Arroy")
        .field_path(".trees")
)]
pub struct Index {
    /// Graph: a graph of neighbours. Arroy: a forest of trees. Flat: no index, every vector is
    /// compared. Absent: the server chooses, Flat for few points and Graph for many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,

    /// Trees of the forest, for the algorithm Arroy. Absent: 24.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub trees: Option<i32>,

    /// Further settings of the algorithm, passed on as they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub parameters: BTreeMap<String, String>,
}

choice! {
    /// What an index is made of.
    Algorithm {
        /// A graph of neighbours.
        Graph,
        /// A forest of trees.
        Arroy,
        /// Nothing: every vector is compared.
        Flat,
    }
}

/// What the operator last saw of the collection.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VectorCollectionStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, Synced and Indexed, each with its reason.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Vectors it holds, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<i64>,

    /// Bytes of its data on all workers, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,

    /// Vectors that the index covers, rounded. The others are compared one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexed_vectors: Option<i64>,

    /// Its shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardStatus>,
}
