//! What the worker says of its shards.

use std::sync::{Arc, PoisonError};

use super::host::Host;
use super::hosted::Hosted;
use crate::coordination::keys;
use crate::ids::ShardId;
use crate::rpc::{convert, proto};

/// A report of every shard on the disk, and of those that should be.
pub(super) fn gather(host: &Host) -> Vec<proto::ShardReport> {
    let mut reports = Vec::new();
    let places = host.all_places();
    for (shard, place) in &places {
        let open = place
            .hosted
            .try_lock()
            .ok()
            .and_then(|hosted| hosted.clone());
        let mut report = blank(*shard);
        match open {
            Some(hosted) => describe(&mut report, &hosted),
            None => {
                let problem = place
                    .problem
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                report.state = if problem.is_some() {
                    "failed"
                } else {
                    "closed"
                }
                .to_owned();
                report.note = problem.unwrap_or_default();
            },
        }
        let collection = shard.collection.to_string();
        if host.tombstones.view().get(&collection).is_some() {
            report.state = "deleting".to_owned();
            report.note = "its collection is deleted".to_owned();
        } else if host
            .shards
            .view()
            .get(&keys::shard_suffix(*shard))
            .is_none()
        {
            report.state = "orphan".to_owned();
            report.note = "no record names it; it is kept".to_owned();
        }
        reports.push(report);
    }
    for (suffix, held) in host.shards.view().iter() {
        let Some(shard) = keys::shard_of_suffix(suffix) else {
            continue;
        };
        let known = places.iter().any(|(known, _place)| *known == shard);
        if held.value.primary == host.node && !known {
            let mut report = blank(shard);
            report.state = "missing".to_owned();
            report.note = "its data is not on this worker's disk".to_owned();
            reports.push(report);
        }
    }
    reports
}

fn blank(shard: ShardId) -> proto::ShardReport {
    proto::ShardReport {
        collection: convert::collection_to_wire(shard.collection),
        shard: u32::from(shard.number),
        ..proto::ShardReport::default()
    }
}

fn describe(report: &mut proto::ShardReport, hosted: &Arc<Hosted>) {
    let stats = hosted.store.stats();
    let failure = hosted.store.failure();
    let index = hosted.index_state();
    let (kind, indexed) = hosted.index_kind();
    let due = index.as_str() == "idle" && hosted.due().is_some();
    report.state = if failure.is_some() {
        "failed"
    } else {
        "serving"
    }
    .to_owned();
    report.points = stats.points;
    report.epoch = stats.epoch.0;
    report.sequence = stats.sequence.0;
    report.bytes = stats.bytes;
    kind.as_str().clone_into(&mut report.index_kind);
    if due { "due" } else { index.as_str() }.clone_into(&mut report.index_state);
    report.indexed = indexed;
    report.note = failure.unwrap_or_else(|| index.note().to_owned());
    if let Ok(snapshot) = hosted.store.snapshot() {
        report.payload_indexes = snapshot.payload_indexes().into_iter().collect();
    }
}
