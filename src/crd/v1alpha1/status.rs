//! What the operator reports.
//!
//! Words such as phases and states are strings and not enums: a newer operator may know more of
//! them than the definition that is installed.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::defaults;

/// What the operator last saw, does, and waits for.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VectorClusterStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pending, Creating, Running, Updating, ScalingOut, ScalingIn, Resizing, Rebalancing,
    /// Repairing, Restoring, Hibernating, Hibernated, Paused, Degraded, Invalid or Deleting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,

    /// Lowest version that any pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// Version of the operator that last reconciled without an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_version: Option<String>,

    /// Ready, Available, Progressing, Degraded, SpecValid and others, each with its reason.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<RoleStatus>,

    /// The masters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<RoleStatus>,

    /// The workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<RoleStatus>,

    /// The etcd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<EtcdStatus>,

    /// Name of the master that leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,

    /// The shards of all collections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<ShardStatus>,

    /// Each worker; of more than 100 only those that do not serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 512))]
    pub workers: Vec<WorkerStatus>,

    /// Next worker number; numbers are never used twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_worker_ordinal: Option<i32>,

    /// Numbers of the workers that joined and were not let go, such as `0-4,7`: also of those of which no
    /// pod and no volume is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_ordinals: Option<String>,

    /// What is under way, and what holds it up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub operations: Vec<Operation>,

    /// The latest errors, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub last_errors: Vec<LastError>,

    /// Where applications connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// Name of the serving certificate to the time it ends.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, String>,

    /// The newest backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_backup: Option<BackupSummary>,

    /// The entry of the configuration history that spec.config was written as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_revision: Option<i64>,

    /// The revisions of the pods' templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// The pods of a role.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// Pods that there are.
    pub replicas: i32,

    /// Pods that are ready.
    pub ready_replicas: i32,

    /// Pods of the target revision.
    pub updated_replicas: i32,

    /// The label selector of the pods, in its text form.
    #[serde(default)]
    pub selector: String,

    /// Ready/desired, such as 3/3.
    pub summary: String,
}

/// The etcd.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStatus {
    /// Members that there are.
    pub members: i32,

    /// Members that answer.
    pub ready_members: i32,

    /// Ready/desired, such as 3/3.
    pub summary: String,

    /// Size of the largest member's database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub db_size_bytes: Option<i64>,

    /// The cluster's id in etcd, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
}

/// The shards of all collections, counted.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    /// All of them.
    pub total: i32,

    /// With every copy.
    pub fully_replicated: i32,

    /// Served, with a copy missing.
    pub under_replicated: i32,

    /// Not served.
    pub unavailable: i32,

    /// On their way to another worker.
    pub moving: i32,

    /// Fully replicated/total, such as 16/16.
    pub summary: String,
}

/// One worker.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,

    /// Its number.
    pub ordinal: i32,

    /// Joining, Serving, Away (its pod is not ready), Missing (it has none), Draining, Drained or
    /// Removing.
    pub state: String,

    /// The node it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,

    /// The zone of that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,

    /// The version it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The revision of its template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,

    /// Shards it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<i32>,

    /// Its volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeStatus>,

    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A worker's volume.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeStatus {
    /// Name of its claim.
    pub claim: String,

    /// Its size.
    pub capacity: String,

    /// Its use, in steps of 5 percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<i32>,

    /// What its growth waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<String>,
}

/// Something under way, and what holds it up.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Update, ScaleOut, ScaleIn, Resize, EtcdMembers, Hibernate, Wake or RotateCertificates.
    pub name: String,

    /// Waiting, Running or Stalled.
    pub state: String,

    /// When it began.
    pub started_at: Time,

    /// Steps that are done.
    #[serde(default)]
    pub done: i32,

    /// Steps in all.
    #[serde(default)]
    pub total: i32,

    /// Name of the check that holds the operation up, such as ShardsFullyReplicated or
    /// InWindow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,

    /// Since when that check holds it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_since: Option<Time>,

    /// The same for people, with numbers.
    #[serde(default)]
    pub message: String,

    /// The pod or volume that is next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// An error that the operator met.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
pub struct LastError {
    /// Its stable code.
    pub code: String,

    /// What happened.
    pub message: String,

    /// When it happened last.
    pub time: Time,

    /// How often it happened.
    #[serde(default = "defaults::seen_once")]
    pub count: i32,
}

/// Where applications connect.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Host and port of gRPC.
    pub grpc: String,

    /// Host and port of HTTP.
    pub http: String,
}

/// The newest backup.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackupSummary {
    /// Name of its VectorBackup.
    pub name: String,

    /// When it was complete.
    pub completed_at: Time,

    /// Whether every file was read back and matched.
    pub verified: bool,
}

/// Revisions of the pods' templates, by their hashes.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// That most pods have.
    pub current: String,

    /// That pods are brought to.
    pub target: String,

    /// That is put back when an update fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}
