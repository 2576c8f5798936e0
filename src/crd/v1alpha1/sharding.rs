//! How collections are cut, copied and spread.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::defaults;

/// How collections are cut into shards, copied and spread.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Sharding {
    /// Shards of a new collection that does not say itself. Absent: one per worker when the
    /// collection is created. A change is for later collections only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub shards: Option<i32>,

    /// Copies of each shard, of a collection that does not say itself. May be changed; copies are
    /// made before any is dropped. More than 1 is refused until replication is available.
    #[serde(default = "defaults::replication_factor")]
    #[schemars(range(min = 1, max = 7))]
    pub replication_factor: i32,

    /// Where the copies of one shard go.
    #[serde(default)]
    pub placement: Placement,

    /// When and how fast shards move to even out the load.
    #[serde(default)]
    pub rebalance: Rebalance,
}

impl Default for Sharding {
    fn default() -> Self {
        Self {
            shards: None,
            replication_factor: defaults::replication_factor(),
            placement: Placement::default(),
            rebalance: Rebalance::default(),
        }
    }
}

/// Where the copies of one shard go.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Spread keeps the copies of one shard in different domains of topologyKey where it can; Ignore
    /// takes no notice of domains.
    #[serde(default)]
    pub mode: PlacementMode,

    /// The node label whose values are the domains.
    #[serde(default = "defaults::zone_label")]
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            mode: PlacementMode::default(),
            topology_key: defaults::zone_label(),
        }
    }
}

choice! {
    /// Whether copies are kept apart.
    PlacementMode {
        /// In different domains where that is possible.
        Spread,
        /// Wherever there is room.
        Ignore,
    }
}

/// When and how fast shards move to even out the load.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Rebalance {
    /// Auto moves shards whenever the imbalance passes thresholdPercent, OnScale only after workers
    /// came or went, Manual only when a task asks for it.
    #[serde(default)]
    pub mode: RebalanceMode,

    /// Shards under way at once, in the whole cluster.
    #[serde(default = "defaults::concurrent_moves")]
    #[schemars(range(min = 1, max = 64))]
    pub max_concurrent_moves: i32,

    /// Bytes per second that moves may use at each worker.
    #[serde(default = "defaults::move_bandwidth")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self)").message("must be a quantity"))]
    pub bandwidth_per_worker: String,

    /// Smallest imbalance that starts moves, in percent of the mean load.
    #[serde(default = "defaults::imbalance_percent")]
    #[schemars(range(min = 1, max = 100))]
    pub threshold_percent: i32,
}

impl Default for Rebalance {
    fn default() -> Self {
        Self {
            mode: RebalanceMode::default(),
            max_concurrent_moves: defaults::concurrent_moves(),
            bandwidth_per_worker: defaults::move_bandwidth(),
            threshold_percent: defaults::imbalance_percent(),
        }
    }
}

choice! {
    /// What makes shards move.
    RebalanceMode {
        /// An imbalance over the threshold.
        Auto,
        /// Workers that came or went.
        OnScale,
        /// A task, and nothing else.
        Manual,
    }
}
