//! What searches find of what is there, for each collection.
//!
//! The label is the collection's id. There are no more of them than a worker has shards, and a
//! collection that is gone is gone from here with the next round.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// What is told of a collection's searches: a number for each of [`EACH`].
pub(super) type Told = [f64; EACH.len()];

/// What was told last, by collection.
pub(super) type Qualities = Arc<Mutex<BTreeMap<String, Told>>>;

/// The names, and what they mean.
const EACH: [(&str, &str); 3] = [
    (
        "vectorsphere_worker_search_recall",
        "The share of the exact answers that searches find, of the latest asked again, by collection",
    ),
    (
        "vectorsphere_worker_search_effort",
        "How hard searches look that do not say it, 100 being the index's own choice, by collection",
    ),
    (
        "vectorsphere_worker_search_samples",
        "Searches that were asked again and are remembered, by collection",
    ),
];

/// The names of all series.
#[cfg(test)]
pub(super) fn names() -> [&'static str; 3] {
    EACH.map(|(name, _)| name)
}

/// Renders what was told last.
#[derive(Debug)]
pub(super) struct RecallCollector(pub(super) Qualities);

impl Collector for RecallCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let qualities = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if qualities.is_empty() {
            return Ok(());
        }
        for (at, (name, help)) in EACH.into_iter().enumerate() {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (collection, told) in qualities.iter() {
                let labels = [("collection", collection.as_str())];
                let number = told.get(at).copied().unwrap_or(f64::NAN);
                ConstGauge::new(number).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
