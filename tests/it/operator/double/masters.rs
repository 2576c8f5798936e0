//! The masters' side of the double: the admin service on the pods' own addresses, over mutual TLS with
//! the certificate of the cluster's Secret.
//!
//! They answer from the pods that are there, and hold no shard. The lead goes to the first that is ready
//! and stays until that one is not, or gives it away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use k8s_openapi::ByteString;
use serde_json::Value;
use vectorsphere::rpc::proto::admin_service_server::{AdminService, AdminServiceServer};
use vectorsphere::rpc::proto::{self, ProcessState};
use vectorsphere::rpc::{self, Request, Response, Status, async_trait};
use vectorsphere::security::{Credentials, Peer, Peers};
use vectorsphere::tasks::Tasks;
use vectorsphere::topology;

use super::pods::is_ready;
use super::store::{Key, Store, text};
use super::{Shared, State};

/// Where masters are asked: `RPC_PORT` of the operator.
const RPC_PORT: u16 = 6335;
/// Addresses that are tried until one is free.
const TRIES: usize = 1_000;

/// What the masters of a cluster have agreed on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Led {
    pub(crate) leader: String,
    pub(crate) term: i64,
    /// Workers that take no new shard.
    pub(crate) draining: BTreeSet<String>,
    /// Shards that a worker still holds which is to go.
    pub(crate) held: Vec<String>,
    /// Bytes that each worker uses of its volume, whose file system is a twentieth smaller than it; none:
    /// not measured.
    pub(crate) used_bytes: Option<u64>,
}

/// An address of this machine that no other pod of this process has.
pub(crate) fn address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin at different ones.
    let from = std::process::id().wrapping_mul(65_537);
    let next = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(from);
    let [_, two, three, four] = next.to_be_bytes();
    Ipv4Addr::new(127, two.max(1), three, four.clamp(1, 254))
}

/// The masters that answer.
pub(crate) struct Masters {
    shared: Arc<Shared>,
    /// By the UID of the pod: what ends it, and its address.
    serving: HashMap<String, Tasks>,
}

impl Masters {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
            serving: HashMap::new(),
        }
    }

    /// Starts a master; its address. None while its certificate is not one.
    pub(crate) fn begin(&mut self, store: &Store, key: &Key, pod: &Value) -> Option<Ipv4Addr> {
        let cluster = text(pod, "/metadata/labels/vectorsphere.io~1cluster");
        let secret = format!("{cluster}-master-tls");
        let secret = store.get(&Key::built_in("", "secrets", &key.namespace, &secret))?;
        let file = |name: &str| {
            let read = serde_json::from_value(secret["data"][name].clone());
            read.map(|bytes: ByteString| bytes.0).unwrap_or_default()
        };
        let credentials =
            Credentials::from_pem(&file("tls.crt"), &file("tls.key"), &file("ca.crt")).ok()?;
        let peers = Peers::new(credentials, cluster, &key.namespace);
        let (listener, address) = listener();
        let master = Master {
            shared: Arc::clone(&self.shared),
            namespace: key.namespace.clone(),
            cluster: cluster.to_owned(),
            pod: key.name.clone(),
        };
        let routes = tonic::service::Routes::new(AdminServiceServer::new(master));
        let tasks = self.shared.tasks.child();
        let acceptor = peers.acceptor(&[Peer::Operator, Peer::Gateway, Peer::Master]);
        rpc::server::serve(listener, routes, acceptor, &tasks).unwrap();
        let uid = text(pod, "/metadata/uid").to_owned();
        if let Some(before) = self.serving.insert(uid, tasks) {
            before.stop();
        }
        Some(address)
    }

    /// Ends the master of a pod that is gone.
    pub(crate) fn end(&mut self, uid: &str) {
        if let Some(tasks) = self.serving.remove(uid) {
            tasks.stop();
        }
    }
}

fn listener() -> (tokio::net::TcpListener, Ipv4Addr) {
    let bound = (0..TRIES).find_map(|_| {
        let address = address();
        let listener = TcpListener::bind(SocketAddr::from((address, RPC_PORT))).ok()?;
        Some((listener, address))
    });
    let (listener, address) = bound.unwrap();
    listener.set_nonblocking(true).unwrap();
    (
        tokio::net::TcpListener::from_std(listener).unwrap(),
        address,
    )
}

/// One master.
struct Master {
    shared: Arc<Shared>,
    namespace: String,
    cluster: String,
    pod: String,
}

impl Master {
    fn pods(&self, state: &State) -> BTreeMap<String, Arc<Value>> {
        let all = state.store.list("", "pods", &self.namespace);
        let label = |pod: &Value| {
            text(pod, "/metadata/labels/vectorsphere.io~1cluster") == self.cluster && is_ready(pod)
        };
        let ours = all.into_iter().filter(|(_, pod)| label(pod));
        ours.map(|(key, pod)| (key.name, pod)).collect()
    }

    /// How full the volume of a worker is.
    fn disk(&self, state: &State, worker: &str, used_bytes: Option<u64>) -> Option<proto::Disk> {
        let claim = format!("data-{worker}");
        let key = Key::built_in("", "persistentvolumeclaims", &self.namespace, &claim);
        let claim = state.store.get(&key)?;
        let capacity = topology::units(text(&claim, "/status/capacity/storage"))?;
        Some(proto::Disk {
            bytes: capacity / 20 * 19,
            used_bytes: used_bytes?,
        })
    }

    /// What is agreed on now; another leads when the last leader is gone.
    fn led<'a>(&self, state: &'a mut State) -> &'a mut Led {
        let pods = self.pods(state);
        let masters = pods.iter().filter(|(_, pod)| role(pod) == "master");
        let masters: Vec<&String> = masters.map(|(name, _)| name).collect();
        let key = (self.namespace.clone(), self.cluster.clone());
        let led = state.led.entry(key).or_default();
        if !masters.contains(&&led.leader) {
            led.leader = masters
                .first()
                .map(|name| (*name).clone())
                .unwrap_or_default();
            led.term += 1;
        }
        led
    }
}

fn role(pod: &Value) -> &str {
    text(pod, "/metadata/labels/vectorsphere.io~1role")
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the double keeps no collections"))
}

#[async_trait]
impl AdminService for Master {
    async fn get_cluster_state(
        &self,
        _request: Request<proto::GetClusterStateRequest>,
    ) -> Result<Response<proto::GetClusterStateResponse>, Status> {
        let mut state = self.shared.lock();
        let led = self.led(&mut state).clone();
        let pods = self.pods(&state);
        let state = &*state;
        let processes = pods.iter().filter(|(_, pod)| role(pod) != "etcd");
        let processes = processes.map(|(name, pod)| {
            let image = text(pod, "/spec/containers/0/image");
            let version = image.rsplit_once(':').map_or("", |(_, version)| version);
            ProcessState {
                node: text(pod, "/spec/nodeName").to_owned(),
                name: name.clone(),
                role: role(pod).to_owned(),
                version: version.to_owned(),
                state: "serving".to_owned(),
                health: "ok".to_owned(),
                disk: self.disk(state, name, led.used_bytes),
                ..ProcessState::default()
            }
        });
        Ok(Response::new(proto::GetClusterStateResponse {
            revision: 1,
            term: led.term,
            leader: led.leader,
            processes: processes.collect(),
            ..proto::GetClusterStateResponse::default()
        }))
    }

    async fn transfer_leader(
        &self,
        _request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        let mut state = self.shared.lock();
        let pods = self.pods(&state);
        let mut masters = pods.iter().filter(|(_, pod)| role(pod) == "master");
        let next = masters.find(|(name, _)| **name != self.pod);
        let next = next.map(|(name, _)| name.clone());
        let led = self.led(&mut state);
        if let (true, Some(next)) = (led.leader == self.pod, next) {
            led.leader = next;
            led.term += 1;
        }
        let term = led.term;
        Ok(Response::new(proto::TransferLeaderResponse { term }))
    }

    async fn drain_process(
        &self,
        request: Request<proto::DrainProcessRequest>,
    ) -> Result<Response<proto::DrainProcessResponse>, Status> {
        let asked = request.into_inner();
        let mut state = self.shared.lock();
        let led = self.led(&mut state);
        if asked.cancel {
            led.draining.remove(&asked.name);
        } else {
            led.draining.insert(asked.name);
        }
        let shards = led.held.clone();
        Ok(Response::new(proto::DrainProcessResponse { shards }))
    }

    async fn create_collection(
        &self,
        _request: Request<proto::CreateCollectionRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        not_here()
    }

    async fn update_collection(
        &self,
        _request: Request<proto::UpdateCollectionRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        not_here()
    }

    async fn delete_collection(
        &self,
        _request: Request<proto::DeleteCollectionRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        not_here()
    }

    async fn update_aliases(
        &self,
        _request: Request<proto::UpdateAliasesRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        not_here()
    }
}
