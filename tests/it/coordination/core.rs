//! The coordination core against a real etcd: members that die, sleep, lose their history or their
//! data, and processes that vanish.

mod clients;
mod elections;
mod mirrors;
mod proxy;
mod server;
mod sessions;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use vectorsphere::clock::{Clock, Moment, SystemClock};
use vectorsphere::coordination::records::{self, LeadRecord, Role, ServiceRecord, ServiceState};
use vectorsphere::coordination::{Election, Etcd, Keys, Registration, Session};
use vectorsphere::entropy::Entropy;
use vectorsphere::ids::NodeId;
use vectorsphere::resilience::Deadline;
use vectorsphere::tasks::Tasks;

use server::Server;

/// Long enough for anything that should come about on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn now() -> Moment {
    SystemClock.now()
}

fn within(limit: Duration) -> Deadline {
    Deadline::after(&SystemClock, limit)
}

/// Waits for a condition, and says how long it took.
async fn eventually<F: Future<Output = bool>>(
    what: &str,
    limit: Duration,
    condition: impl Fn() -> F,
) -> Duration {
    let began = now();
    while !condition().await {
        assert!(now().since(began) < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    now().since(began)
}

async fn client(endpoints: &[&str]) -> Etcd {
    let endpoints: Vec<String> = endpoints.iter().map(|&at| at.to_owned()).collect();
    let entropy = Arc::new(Entropy::from_seed(7));
    Etcd::connect(&endpoints, entropy).await.unwrap()
}

fn keys() -> Keys {
    Keys::new("/test", "core", "one")
}

fn node(n: u128) -> NodeId {
    NodeId(Uuid::from_u128(n))
}

/// A process of the cluster in miniature: its client, its session, its entry, its candidacy.
struct Member {
    tasks: Tasks,
    etcd: Etcd,
    session: Session,
    registration: Registration,
    election: Election,
}

impl Member {
    async fn start(server: &Server, n: u128, ttl: Duration) -> Self {
        let tasks = Tasks::new();
        let etcd = client(&[server.endpoint()]).await;
        let session = Session::start(&etcd, SystemClock::shared(), &tasks, ttl);
        let record = ServiceRecord {
            node: node(n),
            name: format!("master-{n}"),
            role: Role::Master,
            version: "0".to_owned(),
            rpc_address: "127.0.0.1:1".to_owned(),
            http_address: "127.0.0.1:2".to_owned(),
            state: ServiceState::Starting,
            since_ms: 1,
            incarnation: 1,
        };
        let registration = Registration::start(&etcd, &keys(), &session, record, &tasks);
        let record = LeadRecord {
            node: node(n),
            name: format!("master-{n}"),
            rpc_address: "127.0.0.1:1".to_owned(),
            since_ms: 0,
        };
        let election = Election::start(&etcd, &keys(), &session, record, &tasks);
        Self {
            tasks,
            etcd,
            session,
            registration,
            election,
        }
    }

    /// As a kill -9 would: nothing is said to etcd any more.
    async fn crash(&self) {
        self.tasks.stop();
        assert!(self.tasks.join(LIMIT).await);
    }

    async fn leads(&self) {
        let leads = || async { self.election.term().is_some() };
        eventually("to lead", LIMIT, leads).await;
    }
}

/// The entry of a process as it stands in etcd.
async fn entry_of(etcd: &Etcd, n: u128) -> Option<ServiceRecord> {
    let entry = etcd.get(&keys().service("master", node(n))).await.unwrap();
    entry.map(|entry| records::decode(&entry.value).unwrap())
}
