//! The shell around a gateway, a master or a worker: from checked settings to a running process, and
//! from a signal to its end.
//!
//! In order: the process ties itself to its parent before anything else; it takes its data folder,
//! binds its listeners, and writes its card; then the role's own work runs, until the tasks are told
//! to stop. A first request to stop starts a drain with a bound, after which the process ends with 0;
//! a second one ends it at once. When its parent is gone the bound is a second.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

use crate::clock::{Clock, SystemClock};
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::ids::NodeId;
use crate::limits::DRAIN_TIMEOUT;
use crate::process::{Card, DataFolder, Reason, StopRequests, parent};
use crate::settings::Process;
use crate::tasks::{BLOCKING_KEEP_ALIVE, BLOCKING_THREADS_MAX, Tasks};
use crate::telemetry::{Metrics, start_logging};

/// How long the tasks may take after the role's own work has drained.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);
/// A process whose parent is gone must not outlive it by two seconds.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(1);
/// Threads of what serves nobody in particular; connections have their own.
const OWN_THREADS_MAX: usize = 2;

/// What the shell hands to a role's own work.
#[derive(Debug)]
pub(super) struct Shell {
    /// Who this process is.
    pub(super) node: NodeId,
    /// Its data folder, locked.
    pub(super) folder: DataFolder,
    /// Where HTTP is answered; bound, not served yet.
    pub(super) http: TcpListener,
    /// Where gRPC is answered, at a role that does; bound, not served yet.
    pub(super) rpc: Option<TcpListener>,
    /// How others find it.
    pub(super) card: Card,
    /// Where time comes from.
    pub(super) clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub(super) entropy: Arc<Entropy>,
    /// What is spawned; told to stop by the shell.
    pub(super) tasks: Tasks,
    /// What is counted.
    pub(super) metrics: Metrics,
}

/// Runs a role. `work` gets going, waits until the tasks are told to stop, and drains.
pub(super) fn run<F>(
    settings: &Process,
    role: &'static str,
    rpc_listen: Option<SocketAddr>,
    work: impl FnOnce(Shell) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    start_logging(&settings.logging);
    name_process();
    let ended = tie_to_parent(settings)
        .and_then(|()| Ok(runtime(settings.threads.min(OWN_THREADS_MAX))?))
        .and_then(|runtime| {
            let running = async {
                let (shell, mut stop) = set_up(settings, role, rpc_listen).await?;
                let tasks = shell.tasks.clone();
                until_stopped(work(shell), tasks, &mut stop).await
            };
            let ended = runtime.block_on(running);
            runtime.shutdown_background();
            ended
        });
    match ended {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "ended");
            ExitCode::FAILURE
        },
    }
}

fn tie_to_parent(settings: &Process) -> anyhow::Result<()> {
    match settings.end_with_parent {
        Some(tie) => Ok(parent::end_with(tie.pid)?),
        None => Ok(()),
    }
}

/// Threads for a process: few, since each costs memory also when idle.
pub(super) fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_keep_alive(BLOCKING_KEEP_ALIVE)
        .enable_all()
        .build()
}

/// A child is started by way of a link, whose name is what `ps` would show.
pub(super) fn name_process() {
    if let Err(error) = fs_err::write("/proc/self/comm", "vectorsphere") {
        tracing::debug!(%error, "the process keeps the name of its file");
    }
}

async fn set_up(
    settings: &Process,
    role: &'static str,
    rpc_listen: Option<SocketAddr>,
) -> anyhow::Result<(Shell, StopRequests)> {
    let stop = match settings.end_with_parent {
        Some(_) => StopRequests::of_signals_and_input()?,
        None => StopRequests::of_signals()?,
    };
    let clock = SystemClock::shared();
    let entropy = Arc::new(Entropy::from_system());
    let folder = DataFolder::open(&settings.data_dir, clock.as_ref()).await?;
    let node = folder.identity(&entropy)?;
    let http = bind(settings.listen).await?;
    let rpc = match rpc_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let rpc_address = rpc.as_ref().map(TcpListener::local_addr).transpose()?;
    let card = Card {
        name: settings.name.clone(),
        role: role.to_owned(),
        pid: std::process::id(),
        node,
        http_address: found_at(settings, http.local_addr()?),
        rpc_address: rpc_address.map(|address| found_at(settings, address)),
    };
    card.write(folder.path())?;
    tracing::info!(role, %node, http = card.http_address, rpc = card.rpc_address, "bound");
    let shell = Shell {
        node,
        folder,
        http,
        rpc,
        card,
        clock: Arc::clone(&clock),
        entropy,
        tasks: Tasks::with_lanes(settings.threads)?,
        metrics: Metrics::new(role, clock),
    };
    Ok((shell, stop))
}

/// Where the others find a listener.
fn found_at(settings: &Process, bound: SocketAddr) -> String {
    let Some(host) = &settings.advertise else {
        return bound.to_string();
    };
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, bound.port()).to_string(),
        Err(_a_name) => format!("{host}:{}", bound.port()),
    }
}

pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| anyhow::Error::new(error).context(format!("listen on {address}")))
}

async fn until_stopped(
    work: impl Future<Output = anyhow::Result<()>>,
    tasks: Tasks,
    stop: &mut StopRequests,
) -> anyhow::Result<ExitCode> {
    let mut work = pin!(work);
    let reason = tokio::select! {
        ended = work.as_mut() => {
            tasks.stop();
            tasks.join(JOIN_TIMEOUT).await;
            return ended.map(|()| ExitCode::SUCCESS);
        },
        reason = stop.next() => reason,
    };
    let limit = match reason {
        Reason::Signal => DRAIN_TIMEOUT,
        Reason::InputEnded => ORPHAN_TIMEOUT,
    };
    tracing::info!(?reason, "stopping");
    tasks.stop();
    let drain = async {
        let ended = work.await;
        tasks.join(JOIN_TIMEOUT).await;
        ended
    };
    tokio::select! {
        drained = tokio::time::timeout(limit, drain) => match drained {
            Ok(ended) => ended.map(|()| ExitCode::SUCCESS),
            Err(_elapsed) => {
                tracing::warn!("ended with requests unfinished: they took too long");
                Ok(ExitCode::SUCCESS)
            },
        },
        _ = stop.next() => {
            tracing::warn!("ended at once: asked a second time");
            Ok(ExitCode::FAILURE)
        },
    }
}
