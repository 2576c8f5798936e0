//! What the worker says of its shards.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::Error;
use super::host::{Host, Place};
use super::hosted::Hosted;
use crate::coordination::keys;
use crate::fault::chain;
use crate::ids::ShardId;
use crate::rpc::{convert, proto};
use crate::tasks::Tasks;

/// How long a shard that is being opened or closed is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// How long the disk has to say how full it is: one of others may never answer.
const DISK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it may take to count what payload indexes know.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long etcd has to say whether a shard without a record has one by now: a part of what whoever asks for a
/// report waits for it.
const RECORD_TIMEOUT: Duration = Duration::from_millis(500);

/// How much a report tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// How each shard is.
    States,
    /// And how many points each payload index knows, which takes reading.
    Counts,
}

/// A report of every shard on the disk, and of those that should be.
///
/// # Errors
/// [`Error::Broken`].
pub(super) async fn gather(
    host: &Arc<Host>,
    depth: Depth,
) -> Result<Vec<proto::ShardReport>, Error> {
    let mut reports = Vec::new();
    read_records(host).await;
    let places = host.all_places();
    for (shard, place) in &places {
        let locked = tokio::time::timeout(LOCK_TIMEOUT, place.hosted.lock()).await;
        let open = locked.ok().and_then(|hosted| hosted.clone());
        let mut report = match open {
            Some(hosted) => {
                let (place, shard) = (Arc::clone(place), *shard);
                let (clock, deadline) = (Arc::clone(&host.clock), host.clock.now() + COUNT_TIMEOUT);
                let describing = move || {
                    let mut report = remember(shard, &place, &hosted);
                    if depth == Depth::States {
                        return report;
                    }
                    let counted = hosted.store.snapshot();
                    let counted = counted.and_then(|s| s.until(clock, deadline).payload_indexes());
                    report.payload_indexes = counted.unwrap_or_default().into_iter().collect();
                    report
                };
                let described = host.tasks.spawn_blocking(describing).await;
                described.map_err(|_panicked| Error::Broken)?
            },
            None => closed(host, *shard, place),
        };
        let suffix = keys::shard_suffix(*shard);
        let collection = shard.collection.to_string();
        if host.tombstones.view().get(&collection).is_some() {
            report.state = "deleting".to_owned();
            report.note = "its collection is deleted".to_owned();
        } else if host.shards.view().get(&suffix).is_none() {
            report.state = "orphan".to_owned();
            report.note = "no record names it; it is kept".to_owned();
        }
        reports.push(report);
    }
    for (suffix, held) in host.shards.view().iter() {
        let Some(shard) = keys::shard_of_suffix(suffix) else {
            continue;
        };
        // Asked now: it may have been made since the others were listed.
        if held.value.primary == host.node && host.known_place(shard).is_none() {
            reports.push(missing(blank(shard)));
        }
    }
    Ok(reports)
}

/// Reads what etcd says by now, when a shard has no record that this worker knows of: that of a collection that was
/// just made may be on its way. When etcd does not answer, what it said last is used.
async fn read_records(host: &Host) {
    let is_known = |shard: &ShardId| {
        let collection = shard.collection.to_string();
        host.shards
            .view()
            .get(&keys::shard_suffix(*shard))
            .is_some()
            || host.tombstones.view().get(&collection).is_some()
    };
    if host
        .all_places()
        .iter()
        .all(|(shard, _place)| is_known(shard))
    {
        return;
    }
    let deadline = host.clock.now() + RECORD_TIMEOUT;
    if let Err(error) = host.shards.refresh(deadline).await {
        let error = chain(&error);
        tracing::debug!(
            error,
            "shards without a record are told of by what etcd said last"
        );
    }
}

/// How full the disk is; none when nobody can say in time.
pub(super) async fn disk(host: &Host) -> Option<proto::Disk> {
    let root = host.root.clone();
    in_time(&host.tasks, &host.measuring, move || measure(&root)).await
}

/// What a measurement gives that may never end. One runs at a time, so that a disk that hangs takes one thread
/// and not one for each report. One that was begun goes on when nobody waits for it any more.
async fn in_time<T: Send + 'static>(
    tasks: &Tasks,
    turns: &Arc<Semaphore>,
    measure: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    let measured = async {
        let turn = Arc::clone(turns).acquire_owned().await.ok()?;
        let measuring = tasks.spawn_blocking(move || {
            let measured = measure();
            drop(turn);
            measured
        });
        measuring.await.ok().flatten()
    };
    let measured = tokio::time::timeout(DISK_TIMEOUT, measured).await;
    measured.ok().flatten()
}

fn measure(root: &Path) -> Option<proto::Disk> {
    let found = rustix::fs::statvfs(root).ok()?;
    let used = found.f_blocks.saturating_sub(found.f_bfree);
    let of_blocks = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(proto::Disk {
        bytes: of_blocks(used.saturating_add(found.f_bavail)),
        used_bytes: of_blocks(used),
    })
}

/// What is known of a shard that is not open.
fn closed(host: &Host, shard: ShardId, place: &Place) -> proto::ShardReport {
    let lock = place.problem.lock();
    let problem = lock.unwrap_or_else(PoisonError::into_inner).clone();
    let lock = place.last.lock();
    let last = lock.unwrap_or_else(PoisonError::into_inner).clone();
    let seen = last.is_some();
    let mut report = last.unwrap_or_else(|| blank(shard));
    match problem {
        Some(_) if !host.folder(shard).join("store").is_dir() => return missing(report),
        Some(problem) => {
            "failed".clone_into(&mut report.state);
            report.note = problem;
        },
        None => {
            let state = if seen { "closed" } else { "opening" };
            state.clone_into(&mut report.state);
        },
    }
    report
}

fn missing(mut report: proto::ShardReport) -> proto::ShardReport {
    "missing".clone_into(&mut report.state);
    "its data is not on this worker's disk".clone_into(&mut report.note);
    report
}

fn blank(shard: ShardId) -> proto::ShardReport {
    proto::ShardReport {
        collection: convert::collection_to_wire(shard.collection),
        shard: u32::from(shard.number),
        ..proto::ShardReport::default()
    }
}

/// A shard that was just made: there is nothing in it.
pub(super) fn is_empty(shard: ShardId, place: &Place) {
    let mut last = place.last.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Some(blank(shard));
}

/// How an open shard is; kept for when it is closed.
pub(super) fn remember(shard: ShardId, place: &Place, hosted: &Hosted) -> proto::ShardReport {
    let report = describe(blank(shard), hosted);
    let mut last = place.last.lock().unwrap_or_else(PoisonError::into_inner);
    *last = Some(report.clone());
    report
}

fn describe(mut report: proto::ShardReport, hosted: &Hosted) -> proto::ShardReport {
    let stats = hosted.store.stats();
    let failure = hosted.store.failure();
    let index = hosted.index_state();
    let (kind, indexed) = hosted.index_kind();
    let due = index.as_str() == "idle" && hosted.wants_build();
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
    report.built = hosted.built().map(|built| proto::IndexBuild {
        bits: built.bits().map_or(0, u32::from),
        recall: built.recall.into(),
    });
    report.quality = hosted.quality().map(|quality| proto::SearchQuality {
        recall: quality.recall,
        effort: quality.effort,
        samples: quality.samples,
    });
    report
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_takes_one_thread_and_no_report_waits_long_for_it() {
        let (tasks, turns) = (Tasks::new(), Arc::new(Semaphore::new(1)));
        assert_eq!(in_time(&tasks, &turns, || Some(1)).await, Some(1));
        let (release, hung) = mpsc::channel::<()>();
        let hanging = move || hung.recv().ok().map(|()| 2);
        assert_eq!(in_time(&tasks, &turns, hanging).await, None);
        let (began, another) = mpsc::channel();
        let second = move || began.send(()).ok().map(|()| 3);
        assert_eq!(in_time(&tasks, &turns, second).await, None);
        assert!(another.try_recv().is_err(), "two at a time");
        release.send(()).unwrap();
        assert_eq!(in_time(&tasks, &turns, || Some(4)).await, Some(4));
    }
}
