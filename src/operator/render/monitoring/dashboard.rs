//! The dashboard of one cluster, for Grafana. It asks whoever opens it for the Prometheus to read.

use serde_json::{Value, json};

/// Panels in a row, and their size on a grid of 24.
const COLUMNS: usize = 2;
const WIDTH: usize = 12;
const HEIGHT: usize = 8;

/// A panel: its title, the unit, and its queries, each with what its lines are called. `SERIES` stands
/// for what selects the series of one cluster.
struct Panel(
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const PANELS: &[Panel] = &[
    Panel(
        "Requests",
        "reqps",
        &[(
            "sum by (operation, outcome) (rate(vectorsphere_gateway_requests_total{SERIES}[$__rate_interval]))",
            "{{operation}} {{outcome}}",
        )],
    ),
    Panel(
        "Time to the answer, 99 of 100",
        "s",
        &[(
            "histogram_quantile(0.99, sum by (operation, le) (rate(vectorsphere_gateway_request_seconds_bucket{SERIES}[$__rate_interval])))",
            "{{operation}}",
        )],
    ),
    Panel(
        "Shards",
        "short",
        &[
            ("sum(vectorsphere_worker_shards_open{SERIES})", "open"),
            ("sum(vectorsphere_worker_shards_failed{SERIES})", "failed"),
            ("sum(vectorsphere_worker_shards_missing{SERIES})", "missing"),
            ("sum(vectorsphere_worker_shards_orphan{SERIES})", "orphan"),
        ],
    ),
    Panel(
        "Shards by worker",
        "short",
        &[("vectorsphere_worker_shards{SERIES}", "{{pod}}")],
    ),
    Panel(
        "Workers, 99 of 100",
        "s",
        &[
            (
                "histogram_quantile(0.99, sum by (le) (rate(vectorsphere_worker_search_seconds_bucket{SERIES}[$__rate_interval])))",
                "search",
            ),
            (
                "histogram_quantile(0.99, sum by (le) (rate(vectorsphere_worker_write_seconds_bucket{SERIES}[$__rate_interval])))",
                "write",
            ),
        ],
    ),
    Panel(
        "Points written",
        "wps",
        &[(
            "sum by (pod) (rate(vectorsphere_worker_points_written_total{SERIES}[$__rate_interval]))",
            "{{pod}}",
        )],
    ),
    Panel(
        "Index builds in an hour",
        "short",
        &[(
            "sum by (outcome) (increase(vectorsphere_worker_index_builds_total{SERIES}[1h]))",
            "{{outcome}}",
        )],
    ),
    Panel(
        "Changes by the leader",
        "ops",
        &[(
            "sum by (operation, outcome) (rate(vectorsphere_master_changes_total{SERIES}[$__rate_interval]))",
            "{{operation}} {{outcome}}",
        )],
    ),
    Panel(
        "Who leads, and in which term",
        "short",
        &[("vectorsphere_master_term{SERIES}", "{{pod}}")],
    ),
    Panel(
        "Etcd",
        "short",
        &[
            (
                "sum(vectorsphere_coordination_mirrors_stale{SERIES})",
                "mirrors behind",
            ),
            (
                "sum(increase(vectorsphere_coordination_sessions_lost_total{SERIES}[15m]))",
                "sessions lost in 15 minutes",
            ),
            (
                "sum(increase(vectorsphere_coordination_records_unreadable_total{SERIES}[15m]))",
                "unreadable records met in 15 minutes",
            ),
        ],
    ),
    Panel(
        "Processes that are ready",
        "short",
        &[(
            "sum by (vectorsphere_io_role) (vectorsphere_process_ready{SERIES})",
            "{{vectorsphere_io_role}}",
        )],
    ),
];

/// The dashboard, with this title, of these series.
pub(super) fn dashboard(title: &str, series: &str, interval: &str) -> Value {
    let source = json!({"type": "prometheus", "uid": "${source}"});
    let panel = |(number, panel): (usize, &Panel)| {
        let Panel(title, unit, queries) = panel;
        let targets: Vec<Value> = queries
            .iter()
            .zip('A'..)
            .map(|((expression, legend), id)| {
                json!({
                    "refId": id.to_string(), "datasource": source, "legendFormat": legend,
                    "expr": expression.replace("SERIES", series),
                })
            })
            .collect();
        json!({
            "id": number + 1, "type": "timeseries", "title": title, "datasource": source,
            "gridPos": {
                "x": number % COLUMNS * WIDTH, "y": number / COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT,
            },
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "interval": interval, "targets": targets,
        })
    };
    let panels: Vec<Value> = PANELS.iter().enumerate().map(panel).collect();
    json!({
        "title": title, "editable": true, "schemaVersion": 39, "refresh": interval,
        "time": {"from": "now-1h", "to": "now"}, "tags": ["vectorsphere"], "panels": panels,
        "templating": {"list": [{
            "name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus",
        }]},
    })
}
