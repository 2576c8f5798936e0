//! What the operator says of itself: whether it is ready, and its metrics.
//!
//! It is ready when the definitions of what it carries out are there and it either stands by or, as
//! the leader, has read every cluster once. A process that stands by is ready: else a rollout of two
//! replicas would never end. Nothing here makes anybody restart it.
//!
//! The conditions of clusters, and what holds their operations up, are metrics too, read from the
//! leader's cache whenever somebody asks: a cluster that is gone has no series. Those are the only labels
//! that come from outside, and their number is bounded.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Error;
use super::requests::{self, Asked};
use crate::clock::Clock;
use crate::crd::v1alpha1::VectorCluster;
use crate::fault::Fault;
use crate::probes::{Probes, Readiness, Refusals};
use crate::telemetry::{Count, Level, Metrics, Outcome, Timing};

/// Clusters whose conditions are told; one operator is not made for more.
const CLUSTERS_MAX: usize = 2_000;
/// Conditions, and operations, of one cluster that are told: more than it has.
const CONDITIONS_MAX: usize = 32;

/// What this process is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It has not seen the Lease yet, or has lost it and ends.
    Starting,
    /// Another leads.
    Standby,
    /// It leads.
    Leading,
}

/// What readiness follows from.
#[derive(Debug, Clone)]
struct State {
    /// Whether the definitions are there, or what they lack.
    definitions: Result<(), String>,
    part: Part,
    /// Caches of clusters that a leader reads.
    caches: usize,
    /// Those of them that have been read once.
    filled: usize,
}

impl State {
    fn readiness(&self) -> Readiness {
        match (&self.definitions, self.part) {
            (Err(why), _) => Readiness::NotReady(why.clone()),
            (Ok(()), Part::Starting) => {
                Readiness::NotReady("the Lease has not been seen yet".to_owned())
            },
            (Ok(()), Part::Leading) if self.caches == 0 || self.filled < self.caches => {
                Readiness::NotReady("the VectorClusters have not been read yet".to_owned())
            },
            (Ok(()), Part::Standby | Part::Leading) => Readiness::Ready,
        }
    }
}

/// What one operator says of itself. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Instruments {
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    clusters: Clusters,
}

impl Instruments {
    /// Of an operator that has just started.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let clusters = Clusters {
            caches: Arc::default(),
            clock: Arc::clone(&clock),
        };
        let collector = Box::new(clusters.clone());
        let state = State {
            definitions: Err("the definitions have not been looked at yet".to_owned()),
            part: Part::Starting,
            caches: 0,
            filled: 0,
        };
        Self {
            metrics: Metrics::with_collector("operator", Arc::clone(&clock), collector),
            clock,
            state: Arc::new(Mutex::new(state)),
            clusters,
        }
    }

    /// What the probes ask.
    pub fn probes(&self) -> Probes {
        let (asked, counted) = (self.clone(), self.metrics.clone());
        Probes {
            readiness: Arc::new(move || asked.lock().readiness()),
            metrics: Arc::new(move || counted.render()),
        }
    }

    /// What becomes of handshakes that fail.
    pub(super) fn refusals(&self) -> Refusals {
        Refusals::new(&self.metrics, Arc::clone(&self.clock))
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(super) fn set_definitions(&self, found: Result<(), String>) {
        self.lock().definitions = found;
    }

    pub(super) fn set_part(&self, part: Part) {
        let leads = i64::from(part == Part::Leading);
        self.metrics.level(Level::OperatorIsLeader).set(leads);
        self.lock().part = part;
    }

    /// A cache of clusters: readiness waits until it is filled, and its conditions are metrics.
    pub(super) async fn fill(&self, clusters: Store<VectorCluster>) {
        let add = |count: fn(&mut State) -> &mut usize| {
            let mut state = self.lock();
            let count = count(&mut state);
            *count = count.saturating_add(1);
        };
        add(|state| &mut state.caches);
        self.clusters.lock().push(clusters.clone());
        if clusters.wait_until_ready().await.is_ok() {
            add(|state| &mut state.filled);
        }
    }

    /// Counts a round and measures it.
    pub(super) async fn round<T>(
        &self,
        round: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let stopwatch = self.metrics.start(Timing::OperatorReconcile);
        let ended = round.await;
        stopwatch.stop();
        let result = match &ended {
            Ok(_) => Outcome::Done,
            Err(error) => {
                self.count_error(error.code());
                Outcome::Failed(error.kind())
            },
        };
        self.metrics
            .count(Count::OperatorReconciles { result })
            .inc();
        ended
    }

    /// Counts an error that a round met, by its code.
    pub(super) fn count_error(&self, code: &'static str) {
        self.metrics.count(Count::OperatorErrors { code }).inc();
    }

    /// Counts a request to the API server and how it was answered, if at all.
    pub(super) fn count_request(&self, asked: Asked, answered: Option<StatusCode>) {
        let code = requests::code(answered);
        let Asked { verb, resource } = asked;
        let counted = Count::OperatorRequests {
            verb,
            resource,
            code,
        };
        self.metrics.count(counted).inc();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What was written last is still true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told of the clusters in some caches.
#[derive(Clone)]
struct Clusters {
    caches: Arc<Mutex<Vec<Store<VectorCluster>>>>,
    clock: Arc<dyn Clock>,
}

impl Clusters {
    fn lock(&self) -> MutexGuard<'_, Vec<Store<VectorCluster>>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since 1970.
    fn now(&self) -> i64 {
        i64::try_from(self.clock.wall_ms() / 1_000).unwrap_or(i64::MAX)
    }
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clusters")
    }
}

impl Collector for Clusters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut clusters: Vec<_> = self.lock().iter().flat_map(Store::state).collect();
        clusters.truncate(CLUSTERS_MAX);
        conditions(&clusters, &mut encoder)?;
        blocked(&clusters, self.now(), &mut encoder)
    }
}

/// For each condition 1 under the status that it has, and 0 under the others.
fn conditions(
    clusters: &[Arc<VectorCluster>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "vectorsphere_cluster_condition",
        "1 under the status that a condition of a VectorCluster has, else 0",
        None,
        MetricType::Gauge,
    )?;
    for cluster in clusters {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
        for condition in conditions.take(CONDITIONS_MAX) {
            for status in ["True", "False", "Unknown"] {
                let labels = [
                    ("namespace", namespace.as_str()),
                    ("cluster", name.as_str()),
                    ("type", condition.type_.as_str()),
                    ("status", status),
                ];
                let value = i64::from(condition.status == status);
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

/// For each operation that a gate holds up: since how long.
fn blocked(
    clusters: &[Arc<VectorCluster>],
    now: i64,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "vectorsphere_operation_blocked",
        "Since how long a gate holds up an operation of a VectorCluster",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    for cluster in clusters {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let operations = cluster.status.iter().flat_map(|status| &status.operations);
        for operation in operations.take(CONDITIONS_MAX) {
            let (Some(gate), Some(since)) = (&operation.blocked_by, &operation.blocked_since)
            else {
                continue;
            };
            let labels = [
                ("namespace", namespace.as_str()),
                ("cluster", name.as_str()),
                ("operation", operation.name.as_str()),
                ("gate", gate.as_str()),
            ];
            let seconds = now.saturating_sub(since.0.as_second()).max(0);
            ConstGauge::new(seconds).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::clock::ManualClock;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn instruments() -> Instruments {
        Instruments::new(Arc::new(ManualClock::default()))
    }

    fn ready(instruments: &Instruments) -> Result<(), String> {
        match (instruments.probes().readiness)() {
            Readiness::Ready => Ok(()),
            Readiness::NotReady(why) => Err(why),
        }
    }

    #[test]
    fn it_is_ready_when_it_stands_by_and_when_it_leads_with_full_caches() {
        let instruments = instruments();
        assert!(ready(&instruments).unwrap_err().contains("definitions"));
        instruments.set_part(Part::Standby);
        assert!(ready(&instruments).unwrap_err().contains("definitions"));
        instruments.set_definitions(Ok(()));
        assert_eq!(ready(&instruments), Ok(()));
        instruments.set_part(Part::Starting);
        assert!(ready(&instruments).unwrap_err().contains("Lease"));
        instruments.set_part(Part::Leading);
        assert!(ready(&instruments).unwrap_err().contains("not been read"));
        instruments.lock().caches = 1;
        assert!(ready(&instruments).unwrap_err().contains("not been read"));
        instruments.lock().filled = 1;
        assert_eq!(ready(&instruments), Ok(()));
        instruments.set_definitions(Err("gone".to_owned()));
        assert_eq!(ready(&instruments), Err("gone".to_owned()));
    }

    #[tokio::test]
    async fn rounds_errors_and_conditions_are_told() {
        let clock = Arc::new(ManualClock::default());
        let instruments = Instruments::new(Arc::<ManualClock>::clone(&clock));
        clock.advance(Duration::from_secs(90));
        instruments.set_part(Part::Leading);
        let done = instruments.round(async { Ok(7) }).await;
        assert_eq!(done.unwrap(), 7);
        let failed = async { Err::<(), _>(Error::Time("x".to_owned())) };
        instruments.round(failed).await.unwrap_err();
        let cluster = json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCluster",
            "metadata": {"name": "small", "namespace": "search"},
            "spec": {
                "version": "0.1.0", "worker": {"storage": {"size": "1Gi"}}, "etcd": {"managed": {}},
            },
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }], "operations": [{
                "name": "Update", "state": "Waiting", "startedAt": "2026-01-01T00:00:00Z",
                "blockedBy": "Approved", "blockedSince": "1970-01-01T00:00:30Z",
            }]},
        });
        let (clusters, mut writer) = store();
        writer.apply_watcher_event(&Event::Init);
        let cluster = serde_json::from_value(cluster).unwrap();
        writer.apply_watcher_event(&Event::InitApply(cluster));
        writer.apply_watcher_event(&Event::InitDone);
        instruments.fill(clusters).await;
        let request = requests::named(&http::Method::GET, "/api/v1/pods", None);
        instruments.count_request(request, Some(StatusCode::OK));
        let text = instruments.metrics.render();
        for line in [
            "vectorsphere_operator_is_leader 1",
            "vectorsphere_operator_reconcile_total{result=\"done\"} 1",
            "vectorsphere_operator_reconcile_total{result=\"invalid_input\"} 1",
            "vectorsphere_operator_errors_total{code=\"operator.time\"} 1",
            "vectorsphere_operator_reconcile_seconds_count 2",
            "vectorsphere_cluster_condition{namespace=\"search\",cluster=\"small\",type=\"Ready\",status=\"True\"} 0",
            "vectorsphere_cluster_condition{namespace=\"search\",cluster=\"small\",type=\"Ready\",status=\"False\"} 1",
            "vectorsphere_operation_blocked_seconds{namespace=\"search\",cluster=\"small\",operation=\"Update\",gate=\"Approved\"} 60",
            "vectorsphere_operator_api_requests_total{verb=\"list\",resource=\"pods\",code=\"200\"} 1",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
