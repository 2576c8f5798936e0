//! The kind `VectorRestore`: a backup put back into a VectorCluster, done once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{Bootstrap, CollectionPattern, defaults};

/// Puts a backup back into a VectorCluster that runs.
#[derive(CustomResource, KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "vectorsphere.io",
    version = "v1alpha1",
    kind = "VectorRestore",
    plural = "vectorrestores",
    shortname = "vr",
    category = "vectorsphere",
    namespaced,
    status = "VectorRestoreStatus",
    derive = "PartialEq",
    doc = "Puts a backup back into a VectorCluster that runs. Its spec is immutable.",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster",
        description = "The VectorCluster that gets the data"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "How far it is"
    ),
    printcolumn(
        name = "Vectors",
        type_ = "integer",
        json_path = ".status.vectors",
        description = "Vectors that were put back"
    ),
    printcolumn(
        name = "Completed",
        type_ = "date",
        json_path = ".status.completedAt",
        description = "When it ended"
    ),
    printcolumn(
        name = "Error",
        type_ = "string",
        json_path = ".status.error",
        description = "Why it failed",
        priority = 1
    ),
    selectable = ".spec.cluster",
    selectable = ".status.state",
    validation = Rule::new("self.spec == oldSelf.spec")
        .message("the spec of a VectorRestore is immutable")
        .field_path(".spec")
        .reason(Reason::FieldValueForbidden)
)]
#[serde(rename_all = "camelCase")]
pub struct VectorRestoreSpec {
    /// The VectorCluster of this namespace that gets the data.
    #[schemars(length(min = 1, max = 40))]
    pub cluster: String,

    /// The backup: exactly one of backupName and location.
    pub source: Bootstrap,

    /// Collections to put back. `*` is all that the backup holds.
    #[serde(default = "defaults::every_collection")]
    #[schemars(length(min = 1, max = 1000))]
    pub collections: Vec<CollectionPattern>,

    /// Put in front of the names of the restored collections. Empty: they keep their names.
    #[serde(default)]
    #[schemars(length(max = 64), regex(pattern = r#"^[^/\\<>:"|?*\p{Cc}]*$"#))]
    pub name_prefix: String,

    /// What happens when there is a collection of the name already: Fail refuses before anything is
    /// changed, Replace swaps it once the restored one is complete, Skip leaves it as it is.
    #[serde(default)]
    pub on_conflict: OnConflict,
}

choice! {
    /// What happens when there is a collection of the name already.
    OnConflict {
        /// The restore fails before anything is changed.
        Fail,
        /// The restored one takes its place once it is complete.
        Replace,
        /// It stays, and is not restored.
        Skip,
    }
}

/// How far a restore is.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VectorRestoreStatus {
    /// Pending, Running, Succeeded, Failed or Rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// Complete and Verified, each with its reason.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,

    /// Vectors that were put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<i64>,

    /// Bytes that were put back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,

    /// Shards that are put back.
    #[serde(default)]
    pub shards_done: i32,

    /// Shards in all.
    #[serde(default)]
    pub shards_total: i32,

    /// Where the backup lies, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,

    /// The checksum of the backup's list of files, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,

    /// Why it failed or was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
