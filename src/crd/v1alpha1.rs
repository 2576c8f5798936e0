//! `vectorsphere.io/v1alpha1`: the kind `VectorCluster`, and below it the kinds that work on one.
//!
//! Every field has its meaning, unit and default in its own text, because that text is what
//! `kubectl explain` prints. Rules that need two fields are rules of the struct that holds both.
//!
//! Two defaults have to agree for each struct: the one that the schema states, field by field, and
//! `Default`, which the schema states for the struct as a whole. A test compares them.
//!
//! Rules that name `oldSelf` speak of a change and are checked only where the parent was there
//! before and after; for "was absent, is set now" the parent compares `has()`.

#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column is an attribute of its own with the same keys"
)]
#![expect(
    unreachable_pub,
    reason = "the derive copies each struct, with its visibility, into a function"
)]

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// A closed set of words. The first is the default.
macro_rules! choice {
    (
        $(#[$doc:meta])*
        $name:ident {
            $(#[$first_doc:meta])* $first:ident,
            $($(#[$rest_doc:meta])* $rest:ident,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(
            schemars::JsonSchema, serde::Deserialize, serde::Serialize,
            Clone, Copy, Debug, Default, PartialEq, Eq,
        )]
        pub enum $name {
            $(#[$first_doc])*
            #[default]
            $first,
            $($(#[$rest_doc])* $rest,)*
        }
    };
}

mod backup;
mod backup_schedule;
mod bootstrap;
mod collection;
mod defaults;
mod etcd;
mod operations;
mod ops_task;
mod pod;
mod restore;
mod roles;
mod security;
mod sharding;
mod status;
mod storage;

pub use backup::{CollectionPattern, VectorBackup, VectorBackupSpec, VectorBackupStatus};
pub use backup_schedule::{
    Concurrency, Keep, VectorBackupSchedule, VectorBackupScheduleSpec, VectorBackupScheduleStatus,
};
pub use bootstrap::{BackupLocation, Bootstrap, S3Location, VolumeLocation};
pub use collection::{
    Algorithm, Index, Metric, RetainOrDelete, VectorCollection, VectorCollectionSpec,
    VectorCollectionStatus,
};
pub use etcd::{Endpoint, Etcd, ExternalEtcd, ManagedEtcd};
pub use operations::{
    LogFormat, Logging, MaintenanceWindow, Monitoring, MonitoringObject, ServiceAccount,
    UpdateType, Updates,
};
pub use ops_task::{OpsTask, Role, VectorOpsTask, VectorOpsTaskSpec, VectorOpsTaskStatus};
pub use pod::{AntiAffinity, EnvironmentVariable, Image, NameReference, PodOptions, PullPolicy};
pub use restore::{OnConflict, VectorRestore, VectorRestoreSpec, VectorRestoreStatus};
pub use roles::{
    Autoscaling, Gateway, GatewayService, Master, Routing, ScaledDownVolumes, ServiceType, Worker,
};
pub use security::{
    Authentication, AuthenticationMode, ClientAuthentication, IssuerReference, NetworkPeer,
    NetworkPolicy, Tls, TlsMode,
};
pub use sharding::{Placement, PlacementMode, Rebalance, RebalanceMode, Sharding};
pub use status::{
    BackupSummary, Endpoints, EtcdStatus, LastError, Operation, Revision, RoleStatus, ShardStatus,
    VectorClusterStatus, VolumeStatus, WorkerStatus,
};
pub use storage::{AutoGrow, ResizePolicy, Storage};

/// A distributed vector search cluster: gateways, masters and workers, coordinated through etcd.
#[derive(CustomResource, KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[kube(
    group = "vectorsphere.io",
    version = "v1alpha1",
    kind = "VectorCluster",
    plural = "vectorclusters",
    shortname = "vc",
    category = "vectorsphere",
    namespaced,
    status = "VectorClusterStatus",
    derive = "PartialEq",
    doc = "A distributed vector search cluster: gateways, masters and workers, coordinated through etcd.",
    scale(
        spec_replicas_path = ".spec.worker.replicas",
        status_replicas_path = ".status.worker.replicas",
        label_selector_path = ".status.worker.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Every component is ready and every shard fully replicated"
    ),
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "What the operator is doing"
    ),
    printcolumn(
        name = "Workers",
        type_ = "string",
        json_path = ".status.worker.summary",
        description = "Ready/desired workers"
    ),
    printcolumn(
        name = "Shards",
        type_ = "string",
        json_path = ".status.shards.summary",
        description = "Fully replicated/total shards"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "Lowest version running"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why Ready is what it is",
        priority = 1
    ),
    printcolumn(
        name = "Gateways",
        type_ = "string",
        json_path = ".status.gateway.summary",
        description = "Ready/desired gateways",
        priority = 1
    ),
    printcolumn(
        name = "Masters",
        type_ = "string",
        json_path = ".status.master.summary",
        description = "Ready/desired masters",
        priority = 1
    ),
    printcolumn(
        name = "Leader",
        type_ = "string",
        json_path = ".status.leader",
        description = "The master that leads",
        priority = 1
    ),
    printcolumn(
        name = "Etcd",
        type_ = "string",
        json_path = ".status.etcd.summary",
        description = "Ready/desired members of etcd",
        priority = 1
    ),
    printcolumn(
        name = "Endpoint",
        type_ = "string",
        json_path = ".status.endpoints.grpc",
        description = "Where gRPC clients connect",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    selectable = ".spec.version",
    selectable = ".spec.power",
    selectable = ".status.phase"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.sharding.replicationFactor <= self.worker.replicas")
        .message("worker.replicas is smaller than sharding.replicationFactor (to stop the cluster set power: Hibernated)")
        .field_path(".worker.replicas"),
    validation = Rule::new("has(self.bootstrap) == has(oldSelf.bootstrap)")
        .message("bootstrap can only be set when the cluster is created")
        .field_path(".bootstrap"),
    validation = Rule::new("self.tls.mode != 'Disabled' || self.tls.clientAuth == 'Disabled'")
        .message("tls.clientAuth needs TLS")
        .field_path(".tls.clientAuth")
)]
pub struct VectorClusterSpec {
    /// Version of VectorSphere to run, such as 0.1.0. Minor versions are upgraded one at a time; a
    /// downgrade is refused with the condition SpecValid=False.
    #[schemars(
        length(min = 5, max = 64),
        regex(pattern = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$")
    )]
    pub version: String,

    /// Where the image of every role comes from.
    #[serde(default)]
    pub image: Image,

    /// How collections are cut into shards, copied and spread, unless a collection says itself.
    #[serde(default)]
    pub sharding: Sharding,

    /// The processes that applications connect to.
    #[serde(default)]
    pub gateway: Gateway,

    /// The processes that decide; one of them leads.
    #[serde(default)]
    pub master: Master,

    /// The processes that hold the vectors.
    pub worker: Worker,

    /// The etcd that coordinates the cluster: one that is run for it, or one that is there already.
    pub etcd: Etcd,

    /// Certificates of every listener.
    #[serde(default)]
    pub tls: Tls,

    /// Credentials of the public API.
    #[serde(default)]
    pub auth: Authentication,

    /// Server settings, passed on as they are. Not built yet: any key is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 128))]
    pub config: BTreeMap<String, String>,

    /// Pod settings for every role; a role's own settings win.
    #[serde(default)]
    pub pod_defaults: PodOptions,

    /// How and when pods are replaced.
    #[serde(default)]
    pub updates: Updates,

    /// Which pods may open connections to this cluster.
    #[serde(default)]
    pub network_policy: NetworkPolicy,

    /// Objects for a monitoring stack.
    #[serde(default)]
    pub monitoring: Monitoring,

    /// What every role logs.
    #[serde(default)]
    pub logging: Logging,

    /// The account that the pods run under.
    #[serde(default)]
    pub service_account: ServiceAccount,

    /// Where a new cluster takes its first data from. Only at creation; immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("bootstrap is immutable")
            .reason(Reason::FieldValueForbidden)
    )]
    pub bootstrap: Option<Bootstrap>,

    /// What happens to the volumes when the VectorCluster is deleted: Retain keeps them, Delete
    /// removes them, Snapshot takes a final backup first and then removes them.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// Refuse deletion while true (by a ValidatingAdmissionPolicy of the chart).
    #[serde(default)]
    pub deletion_protection: bool,

    /// Hibernated stops every pod and keeps every volume.
    #[serde(default)]
    pub power: Power,

    /// Stop acting on this cluster. Status keeps being reported.
    #[serde(default)]
    pub paused: bool,
}

choice! {
    /// What happens to the volumes when the cluster is deleted.
    DeletionPolicy {
        /// They stay.
        Retain,
        /// They go.
        Delete,
        /// They go after a final backup.
        Snapshot,
    }
}

choice! {
    /// Whether the cluster runs.
    Power {
        /// Every component runs.
        Running,
        /// No component runs; every volume stays.
        Hibernated,
    }
}
