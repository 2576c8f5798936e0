//! An etcd inside the process: one node that speaks etcd's v3 wire protocol, for `dev` and for tests.
//!
//! With it there is one way to coordinate, on a laptop as in a cluster, and `etcdctl` works against
//! both. It answers KV, Lease, Watch and `Maintenance.Status` as etcd does, with its revisions, codes
//! and words; what it does not do it says (`Unimplemented`). It is no cluster and keeps no users.
//!
//! Everything acknowledged is on the disk, through kill -9 ([`persist`]). [`kv`], [`state`] and
//! [`history`] are pure; [`writer`] syncs many changes at once, and readers see what is synced
//! ([`shared`]) without waiting for it; [`watching`] and [`serve`] are the wire. After a restart each
//! lease lives its whole time again, as with etcd.
//!
//! When the disk fails, every call is `Unavailable` at once with the reason, `Maintenance.Status` and
//! an error in the log say it too, and the log is read back until that succeeds; no restart is needed.
//!
//! Bounds: 512 MiB of live keys, then only what frees room is done (`database space exceeded`); a log
//! of 32 MiB more, then it is written anew; of history 20,000 revisions and 64 MiB, and a quarter
//! more before it is compacted. A log that was written anew holds no history: after the next start a
//! watch from before that is answered as compacted.

mod failure;
mod history;
mod kv;
mod persist;
mod serve;
mod shared;
mod state;
mod watching;
mod writer;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer};
use tokio_stream::wrappers::TcpListenerStream;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::fault::{Fault, Kind, chain};
use crate::tasks::Tasks;

use persist::{Changes, Identity, Log};
use serve::Server;
use shared::Shared;
use writer::Bounds;

/// Bytes of one message: more than a request may have, so that it is refused with etcd's own words.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
const STREAMS_MAX: u32 = 4_096;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// What the server needs.
#[derive(Debug)]
pub struct Settings {
    /// Where the log lies. Whoever starts the server has locked it.
    pub data_dir: PathBuf,
    /// Where clients come from; bound already.
    pub listener: TcpListener,
    /// Whether leases of an earlier run end before anything is served.
    pub revoke_leases: bool,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log.
    #[error("open the embedded etcd")]
    Log(#[from] persist::Error),
    /// The listener.
    #[error("listen for clients of the embedded etcd")]
    Listen(#[source] std::io::Error),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Log(persist::Error::Corrupt { .. } | persist::Error::Lost { .. }) => {
                Kind::Corrupt
            },
            Self::Log(persist::Error::Version { .. }) => Kind::Conflict,
            Self::Log(persist::Error::Files(_) | persist::Error::TooLong { .. })
            | Self::Listen(_) => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Log(_) => "embedded_etcd.log",
            Self::Listen(_) => "embedded_etcd.listen",
        }
    }
}

/// A server that runs until its tasks stop.
#[derive(Debug)]
pub struct EmbeddedEtcd {
    address: SocketAddr,
}

impl EmbeddedEtcd {
    /// Opens the log and starts to serve.
    ///
    /// # Errors
    /// [`Error`].
    pub fn start(
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let (cluster, member) = entropy.uuid().as_u64_pair();
        let fresh = Identity { cluster, member };
        let bounds = Bounds::default();
        let mut opened = Log::open(&settings.data_dir, fresh, clock.now(), bounds.disk)?;
        if settings.revoke_leases {
            let mut changes = Changes::default();
            let ids: Vec<i64> = opened.state.leases.keys().copied().collect();
            for done in ids
                .into_iter()
                .filter_map(|id| opened.state.revoke(id).ok())
            {
                changes.push(&done);
                opened.history.push(done.events);
            }
            opened.log.append(&changes)?;
        }
        let identity = opened.log.identity;
        let (shared, works) = Shared::new(&opened, clock);
        writer::start(opened, (Arc::clone(&shared), works), bounds, tasks);
        let server = Server {
            shared,
            identity,
            quota_bytes: bounds.quota_bytes,
            entropy,
            tasks: tasks.clone(),
        };
        let address = settings.listener.local_addr().map_err(Error::Listen)?;
        settings
            .listener
            .set_nonblocking(true)
            .map_err(Error::Listen)?;
        let listener =
            tokio::net::TcpListener::from_std(settings.listener).map_err(Error::Listen)?;
        let stopping = tasks.stopping();
        let serving = tonic::transport::Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .add_service(
                PbKvServer::new(server.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            )
            .add_service(PbLeaseServer::new(server.clone()))
            .add_service(PbWatchServer::new(server.clone()))
            .add_service(PbMaintenanceServer::new(server))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping);
        tasks.spawn("embedded-etcd", async move {
            if let Err(error) = serving.await {
                tracing::error!(error = chain(&error), "embedded etcd ended");
            }
        });
        Ok(Self { address })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
