//! Alerts and dashboard speak of metrics that exist, and every alert has its page.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{objects, spec};
use crate::operator::render::monitoring::alerts::ALERTS;
use crate::telemetry;

fn monitored() -> Vec<Value> {
    let on = json!({"enabled": true});
    objects(&spec(&json!({"monitoring": {
        "serviceMonitor": on, "prometheusRule": on, "grafanaDashboard": on,
    }})))
}

/// The names of metrics of ours in a text: words that begin as they do, and are no labels.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("vectorsphere_"));
    let labels = [
        "vectorsphere_io_cluster",
        "vectorsphere_io_role",
        "vectorsphere_cluster",
    ];
    ours.filter(|word| !labels.contains(word))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let known = telemetry::series();
    let objects = monitored();
    for kind in ["PrometheusRule", "ConfigMap"] {
        let object = objects.iter().find(|one| one["kind"] == kind).unwrap();
        let asked = metrics(&object.to_string());
        assert!(asked.len() > 5, "{asked:?}");
        let unknown: Vec<_> = asked.iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{kind}: {unknown:?}");
        assert!(!object.to_string().contains("SERIES"));
    }
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let mut pages = BTreeSet::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs_err::read_to_string(&path).unwrap();
        for part in ["## What it means", "## What to look at", "## What to do"] {
            assert!(text.contains(part), "{name} has no part {part:?}");
        }
        let alert = ALERTS.iter().find(|alert| alert.name == name);
        let asked = alert
            .map(|alert| metrics(alert.expression))
            .unwrap_or_default();
        assert!(
            asked.iter().all(|metric| text.contains(metric)),
            "{name}: {asked:?}"
        );
        pages.insert(name);
    }
    let alerts: BTreeSet<String> = ALERTS.iter().map(|alert| alert.name.to_owned()).collect();
    assert_eq!(pages, alerts);
}
