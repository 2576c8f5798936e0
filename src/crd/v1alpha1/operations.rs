//! How a cluster is run: updates, monitoring, logs, the account of its pods.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::defaults;

/// How and when pods are replaced.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Updates {
    /// Automatic replaces pods one after the other. Supervised waits before the first disruptive
    /// step for the annotation `vectorsphere.io/approve=GENERATION`. OnDelete replaces a pod only
    /// after somebody deleted it.
    #[serde(default, rename = "type")]
    pub type_: UpdateType,

    /// Workers that may be down at once by the operator's doing.
    #[serde(default = "defaults::max_unavailable")]
    #[schemars(range(min = 1, max = 64))]
    pub max_unavailable: i32,

    /// Seconds without progress after which Progressing is False and, with rollbackOnFailure, the
    /// old revision is put back.
    #[serde(default = "defaults::progress_deadline_seconds")]
    #[schemars(range(min = 60, max = 86400))]
    pub progress_deadline_seconds: i32,

    /// Put the old revision back when an update makes no progress.
    #[serde(default = "defaults::yes")]
    pub rollback_on_failure: bool,

    /// Pods change only inside these windows. Empty: at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 14))]
    pub windows: Vec<MaintenanceWindow>,
}

impl Default for Updates {
    fn default() -> Self {
        Self {
            type_: UpdateType::default(),
            max_unavailable: defaults::max_unavailable(),
            progress_deadline_seconds: defaults::progress_deadline_seconds(),
            rollback_on_failure: defaults::yes(),
            windows: Vec::new(),
        }
    }
}

choice! {
    /// Who starts the replacement of a pod.
    UpdateType {
        /// The operator.
        Automatic,
        /// The operator, after an approval.
        Supervised,
        /// Whoever deletes the pod.
        OnDelete,
    }
}

/// A time in which pods may be replaced.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// Its start, as a cron expression of five fields, such as "0 2 * * 6".
    #[schemars(length(min = 9, max = 64))]
    pub schedule: String,

    /// Its length in minutes.
    #[schemars(range(min = 10, max = 10080))]
    pub duration_minutes: i32,

    /// The time zone of the schedule, by its name in the IANA database.
    #[serde(default = "defaults::time_zone")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
}

/// Objects for a monitoring stack.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// A ServiceMonitor of the Prometheus operator.
    #[serde(default)]
    pub service_monitor: MonitoringObject,

    /// A PrometheusRule with the alerts.
    #[serde(default)]
    pub prometheus_rule: MonitoringObject,

    /// A ConfigMap with the dashboard.
    #[serde(default)]
    pub grafana_dashboard: MonitoringObject,
}

/// One object for a monitoring stack.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MonitoringObject {
    /// Make it.
    #[serde(default)]
    pub enabled: bool,

    /// Labels by which the stack finds it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,

    /// Time between two reads of the metrics, in seconds or minutes.
    #[serde(default = "defaults::scrape_interval")]
    #[schemars(regex(pattern = "^[0-9]+(s|m)$"))]
    pub interval: String,
}

impl Default for MonitoringObject {
    fn default() -> Self {
        Self {
            enabled: false,
            labels: BTreeMap::new(),
            interval: defaults::scrape_interval(),
        }
    }
}

/// What every role logs.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
pub struct Logging {
    /// Level, or levels by module, such as "info,vectorsphere::store=debug".
    #[serde(default = "defaults::log_filter")]
    #[schemars(length(min = 1, max = 512))]
    pub filter: String,

    /// Json for machines, Text for people.
    #[serde(default)]
    pub format: LogFormat,
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            filter: defaults::log_filter(),
            format: LogFormat::default(),
        }
    }
}

choice! {
    /// Form of the log lines.
    LogFormat {
        /// One JSON object a line.
        Json,
        /// Lines for people.
        Text,
    }
}

/// The account that the pods run under.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    /// Make it.
    #[serde(default = "defaults::yes")]
    pub create: bool,

    /// Its name. Absent: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,

    /// Its annotations, as workload identities ask for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for ServiceAccount {
    fn default() -> Self {
        Self {
            create: defaults::yes(),
            name: None,
            annotations: BTreeMap::new(),
        }
    }
}
