//! The master: decides what exists and who serves it, and tells what the cluster does.
//!
//! Several masters may run; one leads. Only the leader changes records, every change in a
//! transaction that holds only while its term does, so that a leader that was deposed without
//! knowing writes nothing. Every master answers what the state is, and routes for gateways that want
//! it (`routing: ViaMaster`), leading or not.
//!
//! A change that takes several steps writes down first what it is about to do, so that the next
//! leader finishes it or takes it back ([`collections`]). Nothing here is kept that a restart loses.

mod admin_api;
mod aliases;
mod collections;
mod create;
mod drain;
mod route_api;
mod state;
mod tombstones;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::coordination::election::{Election, Leadership};
use crate::coordination::mirror::Mirror;
use crate::coordination::records::ServiceRecord;
use crate::coordination::{Etcd, Keys};
use crate::entropy::Entropy;
use crate::limits::RPC_MESSAGE_BYTES_MAX;
use crate::router::{FanOut, Maps};
use crate::rpc::proto::admin_service_server::AdminServiceServer;
use crate::rpc::proto::router_service_server::RouterServiceServer;
use crate::rpc::{self, Channels};
use crate::security::{Peer, Peers};
use crate::tasks::Tasks;
use crate::telemetry::{Level, Metrics};

use collections::{CHANGES_WAITING_MAX, Collections};
use tombstones::SWEEP_INTERVAL;

/// How often a leader looks for changes that were left half done.
const REPAIR_INTERVAL: Duration = Duration::from_secs(5);

/// What a master is made of; the command line puts it together.
#[derive(Debug)]
pub struct Parts {
    /// The coordination service.
    pub etcd: Etcd,
    /// The keys of this cluster.
    pub keys: Keys,
    /// The mirrors that routing reads.
    pub maps: Maps,
    /// The masters that are alive.
    pub masters: Arc<Mirror<ServiceRecord>>,
    /// The gateways that are alive.
    pub gateways: Arc<Mirror<ServiceRecord>>,
    /// This master's candidacy.
    pub election: Election,
    /// Who asks it, and whom it asks.
    pub peers: Peers,
    /// Shards of a collection that does not say itself; absent: one for each worker.
    pub shards: Option<u16>,
    /// Identifies the cluster.
    pub cluster_uid: uuid::Uuid,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where ids come from.
    pub entropy: Arc<Entropy>,
    /// What it spawns.
    pub tasks: Tasks,
    /// What is counted.
    pub metrics: Metrics,
}

/// Starts serving on the listener. Returns at once; ends with the tasks.
///
/// # Errors
/// When the listener has no address.
pub fn start(parts: Parts, listener: TcpListener) -> std::io::Result<()> {
    let Parts {
        peers,
        etcd,
        keys,
        maps,
        masters,
        gateways,
        election,
        shards,
        cluster_uid,
        clock,
        entropy,
        tasks,
        metrics,
    } = parts;
    let acceptor = peers.acceptor(&[Peer::Gateway, Peer::Master, Peer::Operator]);
    let channels = Arc::new(Channels::new(peers));
    let fan_out = FanOut::new(
        maps.clone(),
        Arc::clone(&channels),
        Arc::clone(&clock),
        Arc::clone(&entropy),
    );
    let election = Arc::new(election);
    let collections = Arc::new(Collections {
        etcd: etcd.clone(),
        keys: keys.clone(),
        maps: maps.clone(),
        channels: Arc::clone(&channels),
        clock: Arc::clone(&clock),
        entropy,
        shards,
        changing: tokio::sync::Mutex::new(()),
    });
    let state = Arc::new(state::State {
        maps: maps.clone(),
        masters,
        gateways,
        election: Arc::clone(&election),
        channels,
        clock: Arc::clone(&clock),
        cluster_uid,
        etcd,
        keys,
    });
    let admin = admin_api::Admin {
        collections: Arc::clone(&collections),
        election: Arc::clone(&election),
        state: Arc::clone(&state),
        clock: Arc::clone(&clock),
        waiting: Arc::new(Semaphore::new(CHANGES_WAITING_MAX)),
        tasks: tasks.clone(),
        metrics: metrics.clone(),
    };
    let route = route_api::Route {
        maps,
        fan_out,
        clock,
    };
    rpc::server::serve(listener, routes(admin, route), acceptor, &tasks)?;
    let repairing = repair(collections, state, election, metrics, tasks.clone());
    tasks.spawn("collection-repair", repairing);
    Ok(())
}

/// The services, with their bounds.
fn routes(admin: admin_api::Admin, route: route_api::Route) -> tonic::service::Routes {
    tonic::service::Routes::new(
        AdminServiceServer::new(admin)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX),
    )
    .add_service(
        RouterServiceServer::new(route)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX),
    )
}

/// Finishes or takes back, while this master leads, what an earlier leader left half done, and now and
/// then removes what is not needed any more.
async fn repair(
    collections: Arc<Collections>,
    state: Arc<state::State>,
    election: Arc<Election>,
    metrics: Metrics,
    tasks: Tasks,
) {
    let mut leadership = election.leadership();
    let level = metrics.level(Level::MasterTerm);
    let mut swept = None;
    loop {
        let now = leadership.borrow_and_update().clone();
        let term = match &now {
            Leadership::Leader { term } => term.0,
            Leadership::Follower { .. } | Leadership::Unknown => 0,
        };
        level.set(term);
        if let Leadership::Leader { term } = now {
            collections.repair(term).await;
            let now = collections.clock.now();
            if swept.is_none_or(|swept| now.since(swept) >= SWEEP_INTERVAL) {
                let reports = state.ask_workers().await;
                collections.sweep(term, &reports).await;
                swept = Some(now);
            }
        }
        tokio::select! {
            () = tasks.stopping() => return,
            changed = leadership.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(REPAIR_INTERVAL) => {},
        }
    }
}
