//! The kind `VectorBackup`: one backup of a VectorCluster, made once.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{BackupLocation, RetainOrDelete, defaults};

/// One backup of a VectorCluster.
#[derive(CustomResource, KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "vectorsphere.io",
    version = "v1alpha1",
    kind = "VectorBackup",
    plural = "vectorbackups",
    shortname = "vb",
    category = "vectorsphere",
    namespaced,
    status = "VectorBackupStatus",
    derive = "PartialEq",
    doc = "One backup of a VectorCluster. Its spec is immutable.",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster",
        description = "The VectorCluster that is saved"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "How far it is"
    ),
    printcolumn(
        name = "Verified",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Verified\")].status",
        description = "Every file was read back and matched"
    ),
    printcolumn(
        name = "Vectors",
        type_ = "integer",
        json_path = ".status.vectors",
        description = "Vectors in it"
    ),
    printcolumn(
        name = "Size",
        type_ = "integer",
        json_path = ".status.sizeBytes",
        description = "Its bytes"
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
        .message("the spec of a VectorBackup is immutable")
        .field_path(".spec")
        .reason(Reason::FieldValueForbidden)
)]
#[serde(rename_all = "camelCase")]
pub struct VectorBackupSpec {
    /// The VectorCluster of this namespace that is saved.
    #[schemars(length(min = 1, max = 40))]
    pub cluster: String,

    /// Collections to save. `*` is all of them.
    #[serde(default = "defaults::every_collection")]
    #[schemars(length(min = 1, max = 1000))]
    pub collections: Vec<CollectionPattern>,

    /// Where the backup lies.
    pub location: BackupLocation,

    /// Read every file back and compare its checksum and its counts before the backup is complete.
    #[serde(default = "defaults::yes")]
    pub verify: bool,

    /// What happens to the files when the VectorBackup is deleted: Retain keeps them, Delete removes
    /// them.
    #[serde(default)]
    pub deletion_policy: RetainOrDelete,

    /// Seconds after which a backup that is not complete has failed. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 604800))]
    pub deadline_seconds: Option<i64>,
}

/// The name of a collection, or `*` for all. A type of its own, so that its length is bounded: a
/// rule may only walk a list whose items are.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct CollectionPattern(pub String);

impl JsonSchema for CollectionPattern {
    fn schema_name() -> Cow<'static, str> {
        "CollectionPattern".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": r#"^(\*|[^/\\<>:"|?*\p{Cc}]+)$"#,
        })
    }
}

/// How far a backup is.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VectorBackupStatus {
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

    /// Vectors in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vectors: Option<i64>,

    /// Its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,

    /// Shards that are saved.
    #[serde(default)]
    pub shards_done: i32,

    /// Shards in all.
    #[serde(default)]
    pub shards_total: i32,

    /// Where it lies, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,

    /// The checksum of its list of files, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_sha256: Option<String>,

    /// The version of VectorSphere that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_version: Option<String>,

    /// The UID of the VectorCluster that was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<String>,

    /// Why it failed or was rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
