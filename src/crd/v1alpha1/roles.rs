//! The three roles: gateways, masters and workers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{PodOptions, Storage, defaults};

/// The processes that applications connect to.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// Number of gateways. Left to the autoscaler when autoscaling is set.
    #[serde(default = "defaults::gateway_replicas")]
    #[schemars(range(min = 1, max = 200))]
    pub replicas: i32,

    /// Let the number of gateways follow the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// Direct: the gateway fans out to the workers itself. ViaMaster: it balances over the masters,
    /// which do.
    #[serde(default)]
    pub routing: Routing,

    /// How the gateways are reached.
    #[serde(default)]
    pub service: GatewayService,

    /// CPU and memory of each gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Pod settings of the gateways.
    #[serde(default)]
    pub pod: PodOptions,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            replicas: defaults::gateway_replicas(),
            autoscaling: None,
            routing: Routing::default(),
            service: GatewayService::default(),
            resources: None,
            pod: PodOptions::default(),
        }
    }
}

choice! {
    /// Which process fans a data request out to the workers.
    Routing {
        /// The gateway: no extra hop.
        Direct,
        /// A master: the gateway balances over them.
        ViaMaster,
    }
}

/// Bounds and goal of an autoscaler.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("minReplicas is larger than maxReplicas")
)]
pub struct Autoscaling {
    /// Never fewer than this.
    #[serde(default = "defaults::autoscaling_min")]
    #[schemars(range(min = 1, max = 200))]
    pub min_replicas: i32,

    /// Never more than this.
    #[schemars(range(min = 1, max = 200))]
    pub max_replicas: i32,

    /// The mean use of the requested CPU that is aimed at, in percent.
    #[serde(default = "defaults::target_cpu_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_percent: i32,
}

/// How the gateways are reached.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GatewayService {
    /// Kind of the Service.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations of the Service, as load balancers ask for them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,

    /// Class of the load balancer, for the type LoadBalancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancer_class: Option<String>,

    /// Networks that the load balancer lets in, such as 10.0.0.0/8. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub load_balancer_source_ranges: Vec<String>,
}

choice! {
    /// Kind of a Service.
    ServiceType {
        /// Reachable inside the Kubernetes cluster.
        ClusterIP,
        /// Reachable at a port of every node.
        NodePort,
        /// Reachable through a load balancer.
        LoadBalancer,
    }
}

/// The processes that decide; one of them leads.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Master {
    /// Number of masters: 1, 3 or 5.
    #[serde(default = "defaults::master_replicas")]
    #[x_kube(
        validation = Rule::new("self in [1, 3, 5]").message("master.replicas must be 1, 3 or 5")
    )]
    pub replicas: i32,

    /// CPU and memory of each master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Pod settings of the masters.
    #[serde(default)]
    pub pod: PodOptions,
}

impl Default for Master {
    fn default() -> Self {
        Self {
            replicas: defaults::master_replicas(),
            resources: None,
            pod: PodOptions::default(),
        }
    }
}

/// The processes that hold the vectors.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Number of workers; also set by `kubectl scale` and by autoscalers. Workers that leave are
    /// drained first.
    #[serde(default = "defaults::worker_replicas")]
    #[schemars(range(min = 1, max = 512))]
    pub replicas: i32,

    /// The volume of each worker.
    pub storage: Storage,

    /// CPU and memory of each worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Seconds after which a drain is reported as stalled; it is never cut short.
    #[serde(default = "defaults::drain_deadline_seconds")]
    #[schemars(range(min = 60, max = 604800))]
    pub drain_deadline_seconds: i32,

    /// Seconds that a worker may be gone before its shards are copied elsewhere.
    #[serde(default = "defaults::repair_delay_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub repair_delay_seconds: i32,

    /// What happens to the volumes of workers that were removed by scaling in (empty by then).
    #[serde(default)]
    pub scaled_down_volumes: ScaledDownVolumes,

    /// Pod settings of the workers.
    #[serde(default)]
    pub pod: PodOptions,
}

choice! {
    /// What happens to the empty volumes of removed workers.
    ScaledDownVolumes {
        /// They go.
        Delete,
        /// They stay.
        Retain,
    }
}
