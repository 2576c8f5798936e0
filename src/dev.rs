//! `vectorsphere dev`: a manifest carried out on this machine, each component a child process of the
//! same binary.
//!
//! The plan is the one that Kubernetes would get, made fit for one machine. The embedded etcd runs in
//! this process, on a port that stays the same while it is free; everything else runs as a child,
//! as it would in a pod, and is started again when it dies ([`supervisor`] decides, [`children`] does).
//!
//! Promises. One `dev` at a time has a data folder. When `dev` ends, in whatever way, its children
//! end at once: the kernel kills them with it, and the end of their standard input stops them. A
//! killed run leaves no leases behind, since they are revoked before etcd serves, so that the next
//! run need not wait for them. Asked to stop, it ends gateways, workers, masters and etcd in this
//! order, each within a bound; asked again, it kills them.
//!
//! What every component would stumble over again and again is refused before anything starts, and so is
//! a data folder that is somebody else's ([`refusals`]).
//!
//! What it does not do: it drains no worker. A worker that the manifest no longer has is not started,
//! its data stays, and a warning says so.

mod announce;
mod child_log;
mod children;
mod endpoints;
mod launch;
mod prepare;
mod readiness;
mod refusals;
mod supervisor;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use tokio::net::TcpSocket;

use crate::clock::Clock;
use crate::crd::v1alpha1::VectorClusterSpec;
use crate::embedded_etcd::{self, EmbeddedEtcd};
use crate::entropy::Entropy;
use crate::fault::{Fault, Kind};
use crate::process::{self, DataFolder, StopRequests, write_atomically};
use crate::settings::{Dev, SettingFault};
use crate::tasks::Tasks;
use crate::topology::FieldFault;

use announce::{Announcer, say};
use children::{Children, End};
use launch::Binary;

pub use endpoints::Endpoints;

/// The namespace of every cluster that `dev` runs.
pub const NAMESPACE: &str = "dev";

const ETCD_PORT_FILE: &str = "etcd-port";
const ETCD_FOLDER: &str = "etcd";
const LOG_FOLDER: &str = "logs";
/// How long etcd may take to finish what it has.
const ETCD_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the port of a run that was just killed is waited for.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
const PORT_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Why a local cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest cannot be read; the source names it.
    #[error("read the manifest")]
    Read(#[source] std::io::Error),
    /// The manifest is not one that can be carried out.
    #[error("{file}: {} faults", .faults.len())]
    Manifest {
        /// Where it is from.
        file: String,
        /// Every fault of it.
        faults: Vec<FieldFault>,
    },
    /// Files that the settings name cannot be used.
    #[error("{} of the settings cannot be used", .0.len())]
    Settings(Vec<SettingFault>),
    /// The data folder is another cluster's.
    #[error(
        "data folder {} belongs to the cluster {owner}, not to {asked}: give another with --data-dir",
        .folder.display()
    )]
    OtherCluster {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who was to run there.
        asked: String,
    },
    /// The data folder holds what is no cluster's.
    #[error(
        "data folder {} holds {entry:?} and was never a cluster's: give an empty one with --data-dir",
        .folder.display()
    )]
    Strange {
        /// The folder.
        folder: PathBuf,
        /// Something in it.
        entry: String,
    },
    /// The data folder.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A file of `dev`'s own; the source names it.
    #[error("keep the files of the local cluster")]
    Files(#[source] std::io::Error),
    /// Somebody else listens there.
    #[error("listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or its key.
    #[error("ask the gateway whether it is ready")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The embedded etcd.
    #[error(transparent)]
    Etcd(#[from] embedded_etcd::Error),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(_)
            | Self::Manifest { .. }
            | Self::Settings(_)
            | Self::OtherCluster { .. }
            | Self::Strange { .. }
            | Self::Certificate(_) => Kind::InvalidInput,
            Self::Process(error) => error.kind(),
            Self::Files(_) => Kind::Internal,
            Self::Listen { .. } => Kind::Conflict,
            Self::Etcd(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Read(_) => "dev.read",
            Self::Manifest { .. } => "dev.manifest",
            Self::Settings(_) => "dev.settings",
            Self::OtherCluster { .. } => "dev.other_cluster",
            Self::Strange { .. } => "dev.strange_folder",
            Self::Process(error) => error.code(),
            Self::Files(_) => "dev.files",
            Self::Listen { .. } => "dev.listen",
            Self::Certificate(_) => "dev.certificate",
            Self::Etcd(error) => error.code(),
        }
    }
}

/// Runs the cluster of the manifest until somebody asks to stop. To be awaited on the main thread:
/// children end with the thread that started them.
///
/// # Errors
/// [`Error`]; nothing runs any more then.
pub async fn run(
    mut settings: Dev,
    stop: &mut StopRequests,
    (clock, entropy): (Arc<dyn Clock>, Arc<Entropy>),
) -> Result<(), Error> {
    let manifest = prepare::read(settings.file.as_deref())?;
    let data_dir = settings.data_dir.of(&manifest.name);
    refuse(&settings, &data_dir, &manifest.name)?;
    let folder = DataFolder::open(&data_dir, clock.as_ref()).await?;
    let has_file = settings.file.is_some();
    let prepared = prepare::plan(&manifest, folder.path(), has_file).map_err(Error::Files)?;
    for notice in &prepared.notices {
        say(notice);
    }
    warn_of_external_etcd(&manifest.spec);
    if prepared.components.is_empty() {
        return Ok(());
    }
    let reserved = reserve(settings.listen, clock.as_ref()).await?;
    settings.listen = reserved.local_addr().map_err(Error::Files)?;
    Endpoints::remove(folder.path()).map_err(Error::Files)?;
    fs::create_dir_all(folder.path().join(LOG_FOLDER)).map_err(Error::Files)?;

    let etcd_tasks = Tasks::new();
    let etcd = start_etcd(folder.path(), &clock, &entropy, &etcd_tasks)?;
    say(&format!("data {}", folder.path().display()));
    // Without a scheme: etcdctl before 3.5 makes a wrong request of one.
    say(&format!("etcd {etcd} (etcdctl --endpoints {etcd})"));
    let etcd = format!("http://{etcd}");

    let tasks = Tasks::new();
    let probe = readiness::Probe::new(settings.tls.as_ref()).map_err(Error::Certificate)?;
    let announcer = Announcer::new(&manifest.name, etcd.clone(), &prepared.components, probe);
    let launch = Binary {
        settings,
        data_dir: folder.path().to_owned(),
        cluster: manifest.name,
        etcd,
        tasks: tasks.clone(),
    };
    let components = prepared.components;
    let (mut children, news) = Children::new(launch, components, clock, entropy, &tasks);
    let announcing = announcer.run(news, folder.path().to_owned(), tasks.clone());
    tasks.spawn("announce", announcing);
    let end = children
        .run(async || {
            stop.next().await;
        })
        .await;

    tasks.stop();
    etcd_tasks.stop();
    if end == End::InOrder {
        let all = tasks.join(ETCD_STOP_TIMEOUT).await && etcd_tasks.join(ETCD_STOP_TIMEOUT).await;
        if !all {
            tracing::warn!("the embedded etcd did not finish in time");
        }
    }
    Endpoints::remove(folder.path()).map_err(Error::Files)
}

/// Refuses what can be known to be wrong before anything is made.
fn refuse(settings: &Dev, data_dir: &Path, cluster: &str) -> Result<(), Error> {
    let faults = refusals::faults_of_files(settings);
    if !faults.is_empty() {
        return Err(Error::Settings(faults));
    }
    refusals::check_folder(data_dir, cluster)
}

/// Whoever names an etcd expects the cluster's records to be there.
fn warn_of_external_etcd(spec: &VectorClusterSpec) {
    if let Some(external) = &spec.etcd.external {
        let endpoints: Vec<&str> = external
            .endpoints
            .iter()
            .map(|one| one.0.as_str())
            .collect();
        let endpoints = endpoints.join(",");
        tracing::warn!(
            endpoints,
            "the manifest's etcd is not used: on one machine the embedded one takes its place"
        );
    }
}

/// The address of the first gateway, kept for it while the socket lives: port 0 becomes a port that is
/// free, and nobody is given it in the moments when no gateway listens there, at the start and while
/// one is started again. Refuses at once what would otherwise be its endless trouble. The gateway of a
/// run that was just killed is waited for.
///
/// Bound and never listened on. Such a port is not among those that the kernel picks from; whoever
/// names it and lets others use it again, as every listener here does, may listen there.
async fn reserve(address: SocketAddr, clock: &dyn Clock) -> Result<TcpSocket, Error> {
    let give_up = clock.now() + PORT_PATIENCE;
    loop {
        match bind(address) {
            Ok(socket) => return Ok(socket),
            Err(_) if clock.now() < give_up => tokio::time::sleep(PORT_RETRY_INTERVAL).await,
            Err(source) => return Err(Error::Listen { address, source }),
        }
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Starts etcd on the port of the last run, or on another when that one is taken.
fn start_etcd(
    data_dir: &Path,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<Entropy>,
    tasks: &Tasks,
) -> Result<SocketAddr, Error> {
    let file = data_dir.join(ETCD_PORT_FILE);
    let last = match fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().ok(),
        Err(_) => None,
    };
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound = match last.map(bind) {
        Some(Ok(listener)) => Ok(listener),
        Some(Err(_)) | None => bind(0),
    };
    let listener = bound.map_err(|source| Error::Listen {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        source,
    })?;
    let settings = embedded_etcd::Settings {
        data_dir: etcd_folder(data_dir)?,
        listener,
        revoke_leases: true,
    };
    let etcd = EmbeddedEtcd::start(settings, Arc::clone(clock), Arc::clone(entropy), tasks)?;
    let address = etcd.address();
    if last != Some(address.port()) {
        let text = format!("{}\n", address.port());
        write_atomically(&file, text.as_bytes()).map_err(Error::Files)?;
    }
    Ok(address)
}

fn etcd_folder(data_dir: &Path) -> Result<PathBuf, Error> {
    let folder = data_dir.join(ETCD_FOLDER);
    fs::create_dir_all(&folder).map_err(Error::Files)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn the_port_of_the_gateway_is_kept_for_whoever_names_it() {
        let clock = SystemClock::shared();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let reserved = reserve(any, clock.as_ref()).await.unwrap();
        let address = reserved.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let stranger = TcpSocket::new_v4().unwrap();
        stranger.set_reuseaddr(false).unwrap();
        assert!(stranger.bind(address).is_err());
        for _start in 0..3 {
            let gateway = tokio::net::TcpListener::bind(address).await.unwrap();
            let client = tokio::net::TcpStream::connect(address);
            let (accepted, connected) = tokio::join!(gateway.accept(), client);
            accepted.unwrap();
            connected.unwrap();
        }
        let gateway = tokio::net::TcpListener::bind(address).await.unwrap();
        let second = reserve(address, clock.as_ref()).await;
        assert!(matches!(second, Err(Error::Listen { .. })), "{second:?}");
        drop(gateway);
        reserve(address, clock.as_ref()).await.unwrap();
    }
}
