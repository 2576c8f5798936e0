//! `vectorsphere operator`: carries VectorClusters out on Kubernetes.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::{process, refuse};
use crate::clock::SystemClock;
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::operator::{self, Candidacy, Endpoint, Images, Instruments, Parts};
use crate::process::StopRequests;
use crate::settings::{Operator, OperatorArgs};
use crate::tasks::Tasks;
use crate::telemetry::start_logging;

/// Threads: it waits most of the time.
const THREADS: usize = 2;
/// How long rounds that are under way may take after the first request to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long answers to probes may take then.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn run(args: OperatorArgs) -> ExitCode {
    let settings = match args.check() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.faults),
    };
    start_logging(&settings.logging);
    let ended = process::runtime(THREADS)
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(work(settings)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "ended");
            ExitCode::FAILURE
        },
    }
}

async fn work(settings: Operator) -> anyhow::Result<()> {
    let mut stop = StopRequests::of_signals()?;
    let (clock, entropy) = (SystemClock::shared(), Arc::new(Entropy::from_system()));
    let instruments = Instruments::new(Arc::clone(&clock));
    let (tasks, serving) = (Tasks::new(), Tasks::new());
    let endpoint = Endpoint {
        api_key_file: settings.api_key_file,
        tls: settings.tls,
    };
    let listener = process::bind(settings.listen).await?;
    let address = endpoint.serve(listener, &instruments, &entropy, &serving)?;
    tracing::info!(%address, "bound");
    let running = operator::run(Parts {
        namespaces: settings.namespaces,
        images: Images {
            repository: settings.image_repository,
            etcd: settings.etcd_image,
        },
        candidacy: settings.lease.map(|lease| Candidacy {
            namespace: lease.namespace,
            name: lease.name,
        }),
        authority_overlap: settings.authority_overlap,
        instruments,
        clock,
        entropy,
        tasks: tasks.clone(),
    });
    let mut running = std::pin::pin!(running);
    let ended = tokio::select! {
        ended = running.as_mut() => ended,
        _ = stop.next() => {
            tracing::info!("stopping");
            tasks.stop();
            tokio::select! {
                ended = tokio::time::timeout(STOP_TIMEOUT, running) => ended.unwrap_or(Ok(())),
                _ = stop.next() => Ok(()),
            }
        },
    };
    serving.stop();
    serving.join(JOIN_TIMEOUT).await;
    Ok(ended?)
}
