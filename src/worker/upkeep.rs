//! What follows from etcd's records: payload indexes that a collection wants, and tombstones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::host::Host;
use super::hosted::Hosted;
use super::reports::{self, Depth};
use crate::coordination::records::CollectionRecord;
use crate::fault::chain;
use crate::ids::ShardId;
use crate::limits::INDEXED_FIELD_BYTES_MAX;
use crate::query::SearchQuality;
use crate::rpc::{convert, proto};
use crate::store::IndexKind;
use crate::telemetry::Level;

/// How often everything is looked at even when no record has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long one shard's payload indexes may take before others have their turn.
const INDEX_TIMEOUT: Duration = Duration::from_secs(60);

/// Follows the records until the tasks stop.
pub(super) async fn run(host: Arc<Host>) {
    let (mut gone, mut changed) = (host.tombstones.changes(), host.collections.changes());
    loop {
        gone.borrow_and_update();
        changed.borrow_and_update();
        bury(&host).await;
        count(&host).await;
        for (shard, place) in host.all_places() {
            if let Some(hosted) = place.open()
                && let Err(error) = settle(&host, shard, &hosted).await
            {
                tracing::warn!(%shard, error = chain(&error), "payload indexes wait");
            }
        }
        tokio::select! {
            changed = gone.changed() => if changed.is_err() { return },
            changed = changed.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK_INTERVAL) => {},
            () = host.tasks.stopping() => return,
        }
    }
}

/// Tells how many shards there are, how many of them are open, and how many do not serve.
async fn count(host: &Arc<Host>) {
    let places = host.all_places();
    let open = places
        .iter()
        .filter(|(_shard, place)| place.open().is_some());
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let open = number(open.count());
    host.metrics.level(Level::WorkerShardsOpen).set(open);
    let all = number(places.len());
    host.metrics.level(Level::WorkerShards).set(all);
    let Ok(reports) = reports::gather(host, Depth::States).await else {
        return;
    };
    for (state, level) in [
        ("failed", Level::WorkerShardsFailed),
        ("missing", Level::WorkerShardsMissing),
        ("orphan", Level::WorkerShardsOrphan),
    ] {
        let of_state = reports.iter().filter(|report| report.state == state);
        host.metrics.level(level).set(number(of_state.count()));
    }
    host.metrics.set_search_qualities(qualities(&reports));
}

/// What searches of each collection find in the shards of this worker.
fn qualities(reports: &[proto::ShardReport]) -> BTreeMap<String, [f64; 3]> {
    let mut shards: BTreeMap<String, Vec<SearchQuality>> = BTreeMap::new();
    for report in reports {
        if let (Some(quality), Ok(collection)) = (
            &report.quality,
            convert::collection_from_wire(&report.collection),
        ) {
            let quality = convert::quality_from_wire(quality);
            let of = shards.entry(collection.to_string()).or_default();
            of.push(quality);
        }
    }
    let over = |(collection, shards)| {
        let quality = SearchQuality::over(shards)?;
        let (effort, samples) = (f64::from(quality.effort), f64::from(quality.samples));
        Some((collection, [quality.recall, effort, samples]))
    };
    shards.into_iter().filter_map(over).collect()
}

async fn bury(host: &Host) {
    let dead: Vec<_> = {
        let tombstones = host.tombstones.view();
        let mut held: Vec<_> = host
            .all_places()
            .iter()
            .map(|(shard, _)| shard.collection)
            .collect();
        held.sort_unstable();
        held.dedup();
        held.retain(|collection| tombstones.get(&collection.to_string()).is_some());
        held
    };
    for collection in dead {
        if let Err(error) = host.bury(collection).await {
            tracing::warn!(%collection, error = chain(&error), "removing deleted data waits");
        }
    }
}

/// Gives an open shard the payload indexes that its collection wants.
pub(super) async fn settle(host: &Host, shard: ShardId, hosted: &Hosted) -> Result<(), Error> {
    let key = shard.collection.to_string();
    let Some(record) = host
        .collections
        .view()
        .get(&key)
        .map(|held| Arc::clone(&held.value))
    else {
        return Ok(());
    };
    let deadline = host.clock.now() + INDEX_TIMEOUT;
    let is_declared = |field: &str| record.payload_indexes.contains_key(field);
    let wanted = hosted.own_fields.beside(wanted(&record), is_declared);
    let there = hosted.store.payload_indexes();
    for field in wanted.keys() {
        if !is_declared(field) && !there.contains_key(field) {
            tracing::info!(%shard, field, "filters ask for a payload index that nobody declared: it is made");
        }
    }
    Ok(hosted.store.set_payload_indexes(&wanted, deadline).await?)
}

/// The payload indexes that a shard keeps of those that a collection declares. What is declared and
/// needs another kind of index (geo, text), or whose name is no key of the store, is answered by reading
/// payloads.
fn wanted(record: &CollectionRecord) -> BTreeMap<String, IndexKind> {
    let kinds = record.payload_indexes.iter().filter_map(|(field, schema)| {
        let kind = schema.as_str().or_else(|| schema.get("type")?.as_str())?;
        let kind = match kind {
            "keyword" | "uuid" | "datetime" => IndexKind::Keyword,
            "integer" | "float" => IndexKind::Number,
            "bool" => IndexKind::Bool,
            _ => return None,
        };
        (field.len() <= INDEXED_FIELD_BYTES_MAX).then(|| (field.clone(), kind))
    });
    kinds.collect()
}
