//! Where a new cluster takes its first data from.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Where a new cluster takes its first data from: exactly one of the two.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.backupName) != has(self.location)")
        .message("set exactly one of backupName and location")
)]
pub struct Bootstrap {
    /// A VectorBackup of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub backup_name: Option<String>,

    /// A place where a backup lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<BackupLocation>,
}

/// Where backups lie: exactly one of s3 and volume.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.s3) != has(self.volume)")
        .message("set exactly one of s3 and volume")
)]
pub struct BackupLocation {
    /// A bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Location>,

    /// A volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeLocation>,

    /// The folder in the bucket or volume. Empty: its top.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub path: String,
}

/// A bucket of an S3-compatible store.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct S3Location {
    /// Its name.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,

    /// Address of the store. Absent: Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300))]
    pub endpoint: Option<String>,

    /// Region of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,

    /// Put the bucket in the path of the address and not in its host.
    #[serde(default)]
    pub force_path_style: bool,

    /// Secret with accessKeyId and secretAccessKey. Absent: workload identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: Option<String>,
}

/// A volume, by its claim.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeLocation {
    /// Name of the claim.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
}
