//! The worker: keeps shards and answers for them.
//!
//! Which shards it serves, and at which epoch, it reads from etcd's records; data it makes only when
//! a leader master asks ([`service`]), and deletes only for a tombstone ([`host`]). It never speaks
//! to Kubernetes and never decides placement. While etcd is away it serves on by the records it has
//! read: it is then the only in-sync copy, or nobody could have replaced it without its consent.

mod build;
mod error;
mod host;
mod hosted;
mod live;
mod own_fields;
mod reports;
mod scrub;
mod search;
mod service;
mod upkeep;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::clock::Clock;
use crate::coordination::mirror::Mirror;
use crate::coordination::records::{CollectionRecord, ShardRecord, Tombstone};
use crate::entropy::Entropy;
use crate::ids::NodeId;
use crate::limits::RPC_MESSAGE_BYTES_MAX;
use crate::rpc;
use crate::rpc::proto::shard_service_server::ShardServiceServer;
use crate::security::{Peer, Peers};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;

pub use error::Error;
pub use host::Limits;

/// What a worker is made of; the command line puts it together.
#[derive(Debug)]
pub struct Parts {
    /// Who this worker is.
    pub node: NodeId,
    /// Its data folder, locked by this process.
    pub data_dir: PathBuf,
    /// Identifies the cluster: data of another is never opened.
    pub cluster_uid: uuid::Uuid,
    /// Who may ask it.
    pub peers: Peers,
    /// Collections by id.
    pub collections: Arc<Mirror<CollectionRecord>>,
    /// Shards by collection and number.
    pub shards: Arc<Mirror<ShardRecord>>,
    /// Collections whose data is to be deleted.
    pub tombstones: Arc<Mirror<Tombstone>>,
    /// Bounds.
    pub limits: Limits,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<Entropy>,
    /// What it spawns.
    pub tasks: Tasks,
    /// What is counted.
    pub metrics: Metrics,
}

/// Starts serving on the listener. Returns when the worker is ready; ends with the tasks.
///
/// # Errors
/// When the data folder cannot be read, or the listener has no address.
pub fn start(parts: Parts, listener: TcpListener) -> Result<(), Error> {
    let tasks = parts.tasks.clone();
    let acceptor = parts.peers.acceptor(&[Peer::Gateway, Peer::Master]);
    let host = Arc::new(host::Host::open(parts)?);
    let service = service::Service {
        host: Arc::clone(&host),
    };
    let routes = tonic::service::Routes::new(
        ShardServiceServer::new(service)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX),
    );
    rpc::server::serve(listener, routes, acceptor, &tasks).map_err(Error::Listen)?;
    tasks.spawn("shard-open-all", Arc::clone(&host).open_all());
    tasks.spawn("shard-upkeep", upkeep::run(Arc::clone(&host)));
    tasks.spawn("index-builds", build::run(Arc::clone(&host)));
    tasks.spawn("index-scrub", scrub::run(Arc::clone(&host)));
    let stopping = tasks.stopping();
    tasks.spawn("shard-close", async move {
        stopping.await;
        host.close_all().await;
    });
    Ok(())
}
