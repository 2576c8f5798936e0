//! The alerts. Each has a page in `docs/runbooks` that says what it means and what to do.

use serde_json::{Value, json};

/// One alert.
pub(in crate::operator::render) struct Alert {
    /// Its name, and that of its page.
    pub(in crate::operator::render) name: &'static str,
    /// What is asked; `SERIES` stands for what selects the series of one cluster.
    pub(in crate::operator::render) expression: &'static str,
    /// How long it has to be so.
    for_: &'static str,
    /// `critical`: somebody is woken; `warning`: somebody looks in the morning.
    severity: &'static str,
    /// What happens, in a sentence.
    summary: &'static str,
}

/// All of them.
pub(in crate::operator::render) const ALERTS: &[Alert] = &[
    Alert {
        name: "VectorSphereProcessDown",
        expression: "up{SERIES} == 0",
        for_: "5m",
        severity: "critical",
        summary: "The metrics of a process cannot be read",
    },
    Alert {
        name: "VectorSphereProcessNotReady",
        expression: "vectorsphere_process_ready{SERIES} == 0",
        for_: "5m",
        severity: "warning",
        summary: "A process runs and says that it is not ready",
    },
    Alert {
        name: "VectorSphereNoLeader",
        expression: "max(vectorsphere_master_term{SERIES}) == 0",
        for_: "1m",
        severity: "critical",
        summary: "No master leads: collections cannot be changed",
    },
    Alert {
        name: "VectorSphereShardFailed",
        expression: "vectorsphere_worker_shards_failed{SERIES} > 0",
        for_: "1m",
        severity: "critical",
        summary: "Shards stopped or could not be opened",
    },
    Alert {
        name: "VectorSphereShardMissing",
        expression: "vectorsphere_worker_shards_missing{SERIES} > 0",
        for_: "1m",
        severity: "critical",
        summary: "The data of shards is not where it should be",
    },
    Alert {
        name: "VectorSphereShardOrphan",
        expression: "vectorsphere_worker_shards_orphan{SERIES} > 0",
        for_: "1h",
        severity: "warning",
        summary: "A worker keeps data that no record names",
    },
    Alert {
        name: "VectorSphereRequestsFail",
        expression: "sum(rate(vectorsphere_gateway_requests_total{SERIES,\
                     outcome=~\"unavailable|timeout|exhausted|no_room|unknown_outcome|corrupt|internal\"}\
                     [5m])) / sum(rate(vectorsphere_gateway_requests_total{SERIES}[5m])) > 0.05",
        for_: "5m",
        severity: "critical",
        summary: "More than one request of twenty fails, and not by its caller's fault",
    },
    Alert {
        name: "VectorSphereIndexBuildsFail",
        expression: "increase(vectorsphere_worker_index_builds_total{SERIES,outcome!=\"done\"}[1h]) > 0",
        for_: "15m",
        severity: "warning",
        summary: "Index builds fail: searches stay exact and get slower",
    },
    Alert {
        name: "VectorSphereEtcdBehind",
        expression: "vectorsphere_coordination_mirrors_stale{SERIES} > 0",
        for_: "5m",
        severity: "warning",
        summary: "A process serves from what it last read of etcd",
    },
    Alert {
        name: "VectorSphereSessionsLost",
        expression: "increase(vectorsphere_coordination_sessions_lost_total{SERIES}[15m]) > 3",
        for_: "5m",
        severity: "warning",
        summary: "A process loses its session with etcd again and again",
    },
    Alert {
        name: "VectorSphereRecordUnreadable",
        expression: "increase(vectorsphere_coordination_records_unreadable_total{SERIES}[15m]) > 0",
        for_: "5m",
        severity: "warning",
        summary: "Records in etcd cannot be read",
    },
];

impl Alert {
    pub(super) fn rule(&self, cluster: &str, series: &str) -> Value {
        json!({
            "alert": self.name, "expr": self.expression.replace("SERIES", series),
            "for": self.for_, "labels": {"severity": self.severity, "vectorsphere_cluster": cluster},
            "annotations": {
                "summary": format!("{} ({cluster})", self.summary),
                "runbook": format!("docs/runbooks/{}.md", self.name),
            },
        })
    }
}
