//! The metrics of one process: handles to count with, and their text for whoever asks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::metric_names::{Count, Labels, Level, Timing};
use super::process::ProcessCollector;
use super::recall::{Qualities, RecallCollector, Told};
use crate::clock::{Clock, Moment};

pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::gauge::Gauge;

/// Upper bounds of the buckets, in seconds: from what a search in memory takes to what a client
/// waits for, each about two and a half times the one before.
const BUCKET_SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

#[derive(Debug, Clone, Copy)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKET_SECONDS)
    }
}

/// The metrics of one process. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    counts: HashMap<&'static str, Family<Labels, Counter>>,
    levels: HashMap<&'static str, Gauge>,
    timings: HashMap<&'static str, Family<Labels, Histogram, Buckets>>,
    qualities: Qualities,
    clock: Arc<dyn Clock>,
}

impl Metrics {
    /// Nothing is counted yet. `role` is a label of what every process says of itself.
    pub fn new(role: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self::over(Registry::default(), role, clock)
    }

    /// The same, with what a collector tells when somebody asks.
    pub fn with_collector(
        role: &'static str,
        clock: Arc<dyn Clock>,
        collector: Box<dyn Collector>,
    ) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(collector);
        Self::over(registry, role, clock)
    }

    fn over(mut registry: Registry, role: &'static str, clock: Arc<dyn Clock>) -> Self {
        let mut counts = HashMap::new();
        for count in Count::EACH {
            let (what, family) = (count.describe(), Family::default());
            registry.register(what.name, what.help, Family::clone(&family));
            counts.insert(what.name, family);
        }
        let mut levels = HashMap::new();
        for level in Level::EACH {
            let (what, gauge) = (level.describe(), Gauge::default());
            registry.register(what.name, what.help, gauge.clone());
            levels.insert(what.name, gauge);
        }
        let mut timings = HashMap::new();
        for timing in Timing::EACH {
            let what = timing.describe();
            let family = Family::new_with_constructor(Buckets);
            registry.register_with_unit(what.name, what.help, Unit::Seconds, family.clone());
            timings.insert(what.name, family);
        }
        let process = ProcessCollector::new(role, Arc::clone(&clock));
        registry.register_collector(Box::new(process));
        let qualities = Qualities::default();
        registry.register_collector(Box::new(RecallCollector(Qualities::clone(&qualities))));
        Self(Arc::new(Inner {
            registry,
            counts,
            levels,
            timings,
            qualities,
            clock,
        }))
    }

    /// The handle of a count. Taking it costs a look-up; counting an atomic addition.
    pub fn count(&self, what: Count) -> Counter {
        let family = self.0.counts.get(what.describe().name);
        // Each count is registered (a test), so the default, which nobody sees, is never taken.
        family.map_or_else(Counter::default, |family| {
            family.get_or_create_owned(&what.labels())
        })
    }

    /// The handle of a level.
    pub fn level(&self, what: Level) -> Gauge {
        let gauge = self.0.levels.get(what.describe().name);
        gauge.cloned().unwrap_or_default()
    }

    /// What searches find, by the ids of collections: the share of the exact answers, the effort, and
    /// how many samples say so. What was told before is forgotten.
    pub fn set_search_qualities(&self, qualities: BTreeMap<String, Told>) {
        let told = self.0.qualities.lock();
        *told.unwrap_or_else(PoisonError::into_inner) = qualities;
    }

    /// Starts to measure how long something takes.
    pub fn start(&self, what: Timing) -> Stopwatch {
        let family = self.0.timings.get(what.describe().name);
        let histogram = family.map_or_else(
            || Buckets.new_metric(),
            |family| family.get_or_create_owned(&what.labels()),
        );
        Stopwatch {
            histogram,
            started: self.0.clock.now(),
            clock: Arc::clone(&self.0.clock),
        }
    }

    /// All metrics as they are now, as Prometheus and OpenMetrics read them.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.0.registry) {
            tracing::error!(%error, "metrics cannot be rendered");
        }
        text
    }
}

/// Measures one thing. Nothing is recorded when it is dropped: who breaks off took no time.
#[derive(Debug)]
pub struct Stopwatch {
    histogram: Histogram,
    started: Moment,
    clock: Arc<dyn Clock>,
}

impl Stopwatch {
    /// Records the time since the start, and tells it.
    pub fn stop(self) -> Duration {
        let took = self.clock.now().since(self.started);
        self.histogram.observe(took.as_secs_f64());
        took
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::fault::Kind;
    use crate::telemetry::Outcome;

    #[test]
    fn what_is_counted_is_rendered_under_its_name_and_labels() {
        let clock = Arc::new(ManualClock::default());
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let metrics = Metrics::new("worker", shared);
        let outcome = Outcome::Failed(Kind::NotFound);
        let query = Count::GatewayRequests {
            operation: "query",
            outcome,
        };
        metrics.count(query).inc();
        metrics.count(query).inc_by(2);
        metrics.level(Level::WorkerShards).set(7);
        let stopwatch = metrics.start(Timing::WorkerSearch);
        clock.advance(Duration::from_millis(20));
        assert_eq!(stopwatch.stop(), Duration::from_millis(20));
        let of = |collection: &str, told| BTreeMap::from([(collection.to_owned(), told)]);
        metrics.set_search_qualities(of("gone", [0.5, 100.0, 1.0]));
        metrics.set_search_qualities(of("c", [0.75, 141.0, 64.0]));
        drop(metrics.start(Timing::WorkerWrite));
        let text = metrics.render();
        for line in [
            "vectorsphere_gateway_requests_total{operation=\"query\",outcome=\"not_found\"} 3",
            "vectorsphere_worker_shards 7",
            "vectorsphere_worker_search_seconds_sum 0.02",
            "vectorsphere_worker_search_seconds_bucket{le=\"0.01\"} 0",
            "vectorsphere_worker_search_seconds_bucket{le=\"0.025\"} 1",
            "vectorsphere_worker_write_seconds_count 0",
            "vectorsphere_process_uptime_seconds 0.02",
            "vectorsphere_worker_search_recall{collection=\"c\"} 0.75",
            "vectorsphere_worker_search_effort{collection=\"c\"} 141.0",
            "vectorsphere_worker_search_samples{collection=\"c\"} 64.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
        assert!(!text.contains("gone"));
    }

    #[test]
    fn every_metric_has_its_own_name_of_the_house() {
        // A count and a timing of one name differ in what is put after it.
        let timings = Timing::EACH.map(|timing| timing.describe().name);
        let others = Level::EACH.map(|level| level.describe().name);
        let counts = Count::EACH.map(|count| count.describe().name);
        let names = [&counts[..], &others, &timings].concat();
        let parts = [
            "gateway",
            "rpc",
            "master",
            "worker",
            "coordination",
            "process",
            "operator",
        ];
        for name in &names {
            let rest = name.strip_prefix("vectorsphere_").unwrap();
            assert!(parts.iter().any(|part| rest.starts_with(part)), "{name}");
            assert!(
                !name.ends_with("_total") && !name.ends_with("_seconds"),
                "{name}"
            );
        }
        let rendered = |name: &&str, end: &str| format!("{name}{end}");
        let mut names: Vec<String> = others.iter().map(|name| rendered(name, "")).collect();
        names.extend(counts.iter().map(|name| rendered(name, "_total")));
        names.extend(timings.iter().map(|name| rendered(name, "_seconds")));
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
