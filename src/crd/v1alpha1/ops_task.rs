//! The kind `VectorOpsTask`: one piece of work on a VectorCluster, done once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::defaults;

/// One task on a VectorCluster, done once.
#[derive(CustomResource, KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "vectorsphere.io",
    version = "v1alpha1",
    kind = "VectorOpsTask",
    plural = "vectoropstasks",
    shortname = "vot",
    category = "vectorsphere",
    namespaced,
    status = "VectorOpsTaskStatus",
    derive = "PartialEq",
    doc = "One task on a VectorCluster, done once. Its spec is immutable.",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.cluster",
        description = "The VectorCluster that it is done on"
    ),
    printcolumn(
        name = "Task",
        type_ = "string",
        json_path = ".spec.task",
        description = "What is done"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "How far it is"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        description = "What it does or waits for"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    selectable = ".spec.cluster",
    selectable = ".status.state",
    validation = Rule::new("self.spec == oldSelf.spec")
        .message("the spec of a VectorOpsTask is immutable")
        .field_path(".spec")
        .reason(Reason::FieldValueForbidden)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.worker) == (self.task in ['EvacuateWorker', 'ReplaceWorker'])")
        .message("worker goes with the tasks EvacuateWorker and ReplaceWorker, which need it")
        .field_path(".worker"),
    validation = Rule::new("!has(self.role) || self.task == 'Restart'")
        .message("role goes with the task Restart")
        .field_path(".role")
)]
pub struct VectorOpsTaskSpec {
    /// The VectorCluster of this namespace that the task is done on.
    #[schemars(length(min = 1, max = 40))]
    pub cluster: String,

    /// What is done. A task that is not possible is Rejected with the reason. One task runs at a
    /// time on a cluster; the others are Pending.
    pub task: OpsTask,

    /// Name of the worker, for the tasks EvacuateWorker and ReplaceWorker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub worker: Option<String>,

    /// The role to restart, for the task Restart. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,

    /// Seconds after its end when the VectorOpsTask is removed.
    #[serde(default = "defaults::task_kept_seconds")]
    #[schemars(range(min = 0, max = 2592000))]
    pub ttl_seconds_after_finished: i32,
}

choice! {
    /// What is done.
    OpsTask {
        /// Shards are moved to even out the load.
        Rebalance,
        /// Pods are restarted, one after the other.
        Restart,
        /// Every shard leaves a worker.
        EvacuateWorker,
        /// A worker gets a new volume, after every shard has left it.
        ReplaceWorker,
        /// Certificates are issued anew.
        RotateCertificates,
        /// Members of the managed etcd give back unused space, one after the other.
        DefragmentEtcd,
        /// Workers read everything they hold and compare checksums.
        VerifyData,
    }
}

choice! {
    /// One part of a cluster.
    Role {
        /// The gateways.
        Gateway,
        /// The masters.
        Master,
        /// The workers.
        Worker,
        /// The members of the managed etcd.
        Etcd,
    }
}

/// How far a task is.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VectorOpsTaskStatus {
    /// Pending, Running, Succeeded, Failed or Rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,

    /// What it does or waits for, or why it ended as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,

    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,

    /// What is so now, each with its reason.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
