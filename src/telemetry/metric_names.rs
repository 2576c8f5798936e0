//! Every metric: its name, what it means, and its labels.
//!
//! `vectorsphere_<part>_<what>_<unit>`, and `_total` after a count. A label's values come from closed
//! sets in the code: a name of an operation or of an outcome, never anybody's text.

use crate::fault::Kind;

/// The labels of one series.
pub(super) type Labels = Vec<(&'static str, &'static str)>;

/// What a metric is called and means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

const fn description(name: &'static str, help: &'static str) -> Description {
    Description { name, help }
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Well.
    Done,
    /// With an error of this kind.
    Failed(Kind),
}

impl Outcome {
    /// The value of the label `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed(kind) => kind.as_str(),
        }
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Count {
    /// Requests that a gateway answered.
    GatewayRequests {
        /// The operation of the API.
        operation: &'static str,
        /// How it ended.
        outcome: Outcome,
    },
    /// Changes that a leading master made.
    MasterChanges {
        /// What was changed.
        operation: &'static str,
        /// How it ended.
        outcome: Outcome,
    },
    /// Points that a worker wrote durably.
    WorkerPointsWritten,
    /// Index builds that ended.
    WorkerIndexBuilds {
        /// How.
        outcome: Outcome,
    },
    /// TLS handshakes of the HTTP listener that failed.
    ProcessHandshakesFailed {
        /// Whether the certificate that was shown, or was not, is why.
        why: &'static str,
    },
    /// Sessions with etcd that were lost.
    CoordinationSessionsLost,
    /// Records of etcd that did not parse.
    CoordinationRecordsUnreadable,
    /// Rounds of the operator.
    OperatorReconciles {
        /// How each ended.
        result: Outcome,
    },
    /// Errors that the operator's rounds met.
    OperatorErrors {
        /// The code of the error.
        code: &'static str,
    },
    /// Requests of the operator to the API server.
    OperatorRequests {
        /// The verb, as Kubernetes' rights have it.
        verb: &'static str,
        /// The plural name of the kind.
        resource: &'static str,
        /// The status of the answer, or `none`.
        code: &'static str,
    },
}

impl Count {
    /// One of each, for what must know them all.
    pub(super) const EACH: [Self; 10] = [
        Self::GatewayRequests {
            operation: "",
            outcome: Outcome::Done,
        },
        Self::MasterChanges {
            operation: "",
            outcome: Outcome::Done,
        },
        Self::WorkerPointsWritten,
        Self::WorkerIndexBuilds {
            outcome: Outcome::Done,
        },
        Self::ProcessHandshakesFailed { why: "" },
        Self::CoordinationSessionsLost,
        Self::CoordinationRecordsUnreadable,
        Self::OperatorReconciles {
            result: Outcome::Done,
        },
        Self::OperatorErrors { code: "" },
        Self::OperatorRequests {
            verb: "",
            resource: "",
            code: "",
        },
    ];

    pub(super) const fn describe(self) -> Description {
        match self {
            Self::GatewayRequests { .. } => description(
                "vectorsphere_gateway_requests",
                "Requests answered by the gateway, by operation and outcome",
            ),
            Self::MasterChanges { .. } => description(
                "vectorsphere_master_changes",
                "Changes made as the leader, by operation and outcome",
            ),
            Self::WorkerPointsWritten => description(
                "vectorsphere_worker_points_written",
                "Points written durably",
            ),
            Self::WorkerIndexBuilds { .. } => description(
                "vectorsphere_worker_index_builds",
                "Index builds ended, by outcome",
            ),
            Self::ProcessHandshakesFailed { .. } => description(
                "vectorsphere_process_handshakes_failed",
                "TLS handshakes of the HTTP listener that failed, by why",
            ),
            Self::CoordinationSessionsLost => description(
                "vectorsphere_coordination_sessions_lost",
                "Sessions with etcd lost",
            ),
            Self::CoordinationRecordsUnreadable => description(
                "vectorsphere_coordination_records_unreadable",
                "Records of etcd that did not parse, each time they were met",
            ),
            Self::OperatorReconciles { .. } => description(
                "vectorsphere_operator_reconcile",
                "Rounds of the operator, by result",
            ),
            Self::OperatorErrors { .. } => description(
                "vectorsphere_operator_errors",
                "Errors that the operator's rounds met, by code",
            ),
            Self::OperatorRequests { .. } => description(
                "vectorsphere_operator_api_requests",
                "Requests of the operator to the API server, by verb, kind and status of the answer",
            ),
        }
    }

    pub(super) fn labels(self) -> Labels {
        match self {
            Self::GatewayRequests { operation, outcome }
            | Self::MasterChanges { operation, outcome } => {
                vec![("operation", operation), ("outcome", outcome.as_str())]
            },
            Self::WorkerIndexBuilds { outcome } => vec![("outcome", outcome.as_str())],
            Self::OperatorReconciles { result } => vec![("result", result.as_str())],
            Self::OperatorErrors { code } => vec![("code", code)],
            Self::ProcessHandshakesFailed { why } => vec![("why", why)],
            Self::OperatorRequests {
                verb,
                resource,
                code,
            } => vec![("verb", verb), ("resource", resource), ("code", code)],
            Self::WorkerPointsWritten
            | Self::CoordinationSessionsLost
            | Self::CoordinationRecordsUnreadable => Vec::new(),
        }
    }
}

/// What goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Level {
    /// 1 while the process says that it is ready.
    ProcessReady,
    /// Shards whose data is on this worker's disk.
    WorkerShards,
    /// Shards that are open.
    WorkerShardsOpen,
    /// Shards that stopped or could not be opened.
    WorkerShardsFailed,
    /// Shards whose record names this worker, and whose data is not here.
    WorkerShardsMissing,
    /// Shards whose data is here, and that no record names.
    WorkerShardsOrphan,
    /// The term in which this master leads; 0 while it does not.
    MasterTerm,
    /// Mirrors of etcd that may be behind it.
    CoordinationMirrorsStale,
    /// 1 while this operator leads.
    OperatorIsLeader,
}

impl Level {
    pub(super) const EACH: [Self; 9] = [
        Self::ProcessReady,
        Self::WorkerShards,
        Self::WorkerShardsOpen,
        Self::WorkerShardsFailed,
        Self::WorkerShardsMissing,
        Self::WorkerShardsOrphan,
        Self::MasterTerm,
        Self::CoordinationMirrorsStale,
        Self::OperatorIsLeader,
    ];

    pub(super) const fn describe(self) -> Description {
        match self {
            Self::ProcessReady => description(
                "vectorsphere_process_ready",
                "1 while the process says that it is ready",
            ),
            Self::WorkerShards => description(
                "vectorsphere_worker_shards",
                "Shards whose data is on this worker's disk",
            ),
            Self::WorkerShardsOpen => {
                description("vectorsphere_worker_shards_open", "Shards that are open")
            },
            Self::WorkerShardsFailed => description(
                "vectorsphere_worker_shards_failed",
                "Shards that stopped or could not be opened",
            ),
            Self::WorkerShardsMissing => description(
                "vectorsphere_worker_shards_missing",
                "Shards whose record names this worker and whose data is not on its disk",
            ),
            Self::WorkerShardsOrphan => description(
                "vectorsphere_worker_shards_orphan",
                "Shards whose data is on this worker's disk and that no record names",
            ),
            Self::CoordinationMirrorsStale => description(
                "vectorsphere_coordination_mirrors_stale",
                "Mirrors of etcd that may be behind it",
            ),
            Self::OperatorIsLeader => description(
                "vectorsphere_operator_is_leader",
                "1 while this operator leads",
            ),
            Self::MasterTerm => description(
                "vectorsphere_master_term",
                "The term in which this master leads, 0 while it does not",
            ),
        }
    }
}

/// What takes time. Its unit is the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Timing {
    /// A request, at the gateway, from its first byte to its answer.
    GatewayRequest {
        /// The operation of the API.
        operation: &'static str,
    },
    /// A search in the shards of one worker.
    WorkerSearch,
    /// A durable write, from its place in the queue to its answer.
    WorkerWrite,
    /// An index build.
    WorkerIndexBuild,
    /// A round of the operator for one cluster.
    OperatorReconcile,
}

impl Timing {
    pub(super) const EACH: [Self; 5] = [
        Self::GatewayRequest { operation: "" },
        Self::WorkerSearch,
        Self::WorkerWrite,
        Self::WorkerIndexBuild,
        Self::OperatorReconcile,
    ];

    pub(super) const fn describe(self) -> Description {
        match self {
            Self::GatewayRequest { .. } => description(
                "vectorsphere_gateway_request",
                "Time from a request's first byte to its answer, by operation",
            ),
            Self::WorkerSearch => description(
                "vectorsphere_worker_search",
                "Time of a search in the shards of this worker",
            ),
            Self::WorkerWrite => description(
                "vectorsphere_worker_write",
                "Time of a durable write, its wait in the queue counted",
            ),
            Self::WorkerIndexBuild => {
                description("vectorsphere_worker_index_build", "Time of an index build")
            },
            Self::OperatorReconcile => description(
                "vectorsphere_operator_reconcile",
                "Time of a round of the operator for one cluster",
            ),
        }
    }

    pub(super) fn labels(self) -> Labels {
        match self {
            Self::GatewayRequest { operation } => vec![("operation", operation)],
            Self::WorkerSearch
            | Self::WorkerWrite
            | Self::WorkerIndexBuild
            | Self::OperatorReconcile => Vec::new(),
        }
    }
}

/// The names of all series, as a scrape has them.
#[cfg(test)]
pub(crate) fn series() -> Vec<String> {
    let counts = Count::EACH.map(|count| format!("{}_total", count.describe().name));
    let levels = Level::EACH.map(|level| level.describe().name.to_owned());
    let timings = Timing::EACH.map(|timing| timing.describe().name);
    let timings = timings
        .into_iter()
        .flat_map(|name| ["bucket", "count", "sum"].map(|part| format!("{name}_seconds_{part}")));
    let recalls = super::recall::names().map(str::to_owned);
    let named = counts.into_iter().chain(levels).chain(recalls);
    named.chain(timings).collect()
}
