//! Index builds: one at a time for the whole worker, in the background.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Error;
use super::host::Host;
use super::hosted::{Hosted, IndexState};
use crate::clock::Moment;
use crate::fault::{Fault, chain};
use crate::ids::ShardId;
use crate::index;
use crate::index::due::{Due, Extent};
use crate::telemetry::{Count, Outcome, Timing};

/// How often it is looked whether a build is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a shard whose build failed waits for the next try.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Builds what is due until the tasks stop.
pub(super) async fn run(host: Arc<Host>) {
    let mut failed: HashMap<ShardId, Moment> = HashMap::new();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {},
            () = host.tasks.stopping() => return,
        }
        let now = host.clock.now();
        failed.retain(|_shard, at| now.since(*at) < RETRY_AFTER);
        for (shard, place) in host.all_places() {
            if host.tasks.is_stopping() {
                return;
            }
            let Some(hosted) = place.open().filter(|_hosted| !failed.contains_key(&shard)) else {
                continue;
            };
            let Some(due) = hosted.due() else {
                continue;
            };
            let (kind, reason) = (due.recipe.kind().as_str(), due.reason.as_str());
            let beside = due.extent == Extent::Beside;
            tracing::info!(%shard, kind, reason, beside, "index build starts");
            let stopwatch = host.metrics.start(Timing::WorkerIndexBuild);
            let built = build(&host, Arc::clone(&hosted), due).await;
            let outcome = match &built {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Failed(error.kind()),
            };
            let builds = Count::WorkerIndexBuilds { outcome };
            host.metrics.count(builds).inc();
            match built {
                Ok(()) => {
                    stopwatch.stop();
                    hosted.set_index_state(IndexState::Idle);
                    let built = hosted.built();
                    let recall = built.as_ref().map(|built| built.recall);
                    let bits = built.and_then(|built| built.bits());
                    tracing::info!(%shard, bits, recall, "index build done");
                },
                Err(_) if host.tasks.is_stopping() => return,
                Err(Error::Index(index::Error::Stopped)) => {
                    hosted.set_index_state(IndexState::Idle);
                    tracing::info!(%shard, "index build broke off; it is made again later");
                },
                Err(error) => {
                    let error = chain(&error);
                    tracing::error!(%shard, error, "index build failed");
                    hosted.set_index_state(IndexState::Failed(error));
                    failed.insert(shard, host.clock.now());
                },
            }
        }
    }
}

async fn build(host: &Host, hosted: Arc<Hosted>, due: Due) -> Result<(), Error> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    hosted.set_index_state(IndexState::Building("starting".to_owned()));
    let threads = host.limits.build_threads;
    let building = host
        .tasks
        .spawn_blocking(move || hosted.build(&due, threads, &|| flag.load(Ordering::Relaxed)));
    tokio::pin!(building);
    tokio::select! {
        built = &mut building => return built.map_err(|_panicked| Error::Broken)?,
        () = host.tasks.stopping() => stopped.store(true, Ordering::Relaxed),
    }
    building.await.map_err(|_panicked| Error::Broken)?
}
