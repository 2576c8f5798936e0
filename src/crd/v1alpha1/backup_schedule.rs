//! The kind `VectorBackupSchedule`: backups at set times.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{VectorBackupSpec, defaults};

/// Backups at set times.
#[derive(CustomResource, KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "vectorsphere.io",
    version = "v1alpha1",
    kind = "VectorBackupSchedule",
    plural = "vectorbackupschedules",
    shortname = "vbs",
    category = "vectorsphere",
    namespaced,
    status = "VectorBackupScheduleStatus",
    derive = "PartialEq",
    doc = "Backups of a VectorCluster at set times.",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.template.cluster",
        description = "The VectorCluster that is saved"
    ),
    printcolumn(
        name = "Schedule",
        type_ = "string",
        json_path = ".spec.schedule",
        description = "When backups begin"
    ),
    printcolumn(
        name = "Suspend",
        type_ = "boolean",
        json_path = ".spec.suspend",
        description = "No backup is begun"
    ),
    printcolumn(
        name = "Last Success",
        type_ = "date",
        json_path = ".status.lastSuccessAt",
        description = "When the newest complete backup ended"
    ),
    printcolumn(
        name = "Next",
        type_ = "string",
        json_path = ".status.nextAt",
        description = "When the next backup begins",
        priority = 1
    ),
    printcolumn(
        name = "Last Backup",
        type_ = "string",
        json_path = ".status.lastBackup",
        description = "Name of the newest VectorBackup",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    selectable = ".spec.template.cluster"
)]
#[serde(rename_all = "camelCase")]
pub struct VectorBackupScheduleSpec {
    /// When backups begin, as a cron expression of five fields, such as "30 3 * * *".
    #[schemars(length(min = 9, max = 64), regex(pattern = r"^\S+(\s+\S+){4}$"))]
    pub schedule: String,

    /// The time zone of the schedule, by its name in the IANA database.
    #[serde(default = "defaults::time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,

    /// Begin no backup while true.
    #[serde(default)]
    pub suspend: bool,

    /// Begin one backup at once when the schedule is created.
    #[serde(default)]
    pub immediate: bool,

    /// What happens when a backup is due and the one before still runs: Forbid leaves the new one
    /// out, Replace ends the old one.
    #[serde(default)]
    pub concurrency: Concurrency,

    /// Seconds that a backup may begin late. Later it is left out and counted as missed.
    #[serde(default = "defaults::starting_deadline_seconds")]
    #[schemars(range(min = 60, max = 604800))]
    pub starting_deadline_seconds: i32,

    /// Which backups are kept.
    #[serde(default)]
    pub keep: Keep,

    /// The backup to make.
    pub template: VectorBackupSpec,
}

choice! {
    /// What happens when a backup is due and the one before still runs.
    Concurrency {
        /// The new one is left out.
        Forbid,
        /// The old one is ended.
        Replace,
    }
}

/// Which backups of a schedule are kept.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Keep {
    /// Complete backups that are kept. The newest verified one is never removed.
    #[serde(default = "defaults::keep_last")]
    #[schemars(range(min = 1, max = 1000))]
    pub last: i32,

    /// Days after which complete backups are removed, even of those that last would keep. Absent:
    /// age removes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3650))]
    pub days: Option<i32>,

    /// Failed backups that are kept.
    #[serde(default = "defaults::keep_failed")]
    #[schemars(range(min = 0, max = 100))]
    pub failed: i32,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            last: defaults::keep_last(),
            days: None,
            failed: defaults::keep_failed(),
        }
    }
}

/// What a schedule did last and does next.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VectorBackupScheduleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is so now, each with its reason.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// When the newest backup began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Time>,

    /// When the newest complete backup ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success_at: Option<Time>,

    /// When the next backup begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Time>,

    /// Name of the newest VectorBackup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<String>,

    /// Backups that were due and did not begin in time.
    #[serde(default)]
    pub missed: i32,
}
