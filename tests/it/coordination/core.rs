//! The coordination core against a real etcd: members that die, sleep, lose their history or their
//! data, and processes that vanish.

mod clients;
mod elections;
mod embedded;
mod mirrors;
mod proxy;
mod sessions;
mod users;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;
use vectorsphere::clock::{Clock, Moment, SystemClock};
use vectorsphere::coordination::election::{Election, Leadership};
use vectorsphere::coordination::mirror::Mirror;
use vectorsphere::coordination::records::{LeadRecord, ServiceRecord, ServiceState, decode};
use vectorsphere::coordination::registry::Registration;
use vectorsphere::coordination::session::{Session, Standing, State, TTL_SECONDS};
use vectorsphere::coordination::{Change, Etcd, Guard, Keys, Transaction};
use vectorsphere::entropy::Entropy;
use vectorsphere::ids::{NodeId, Term};
use vectorsphere::security::Credentials;
use vectorsphere::tasks::Tasks;

use crate::support::wait_for::wait_for;

/// Long enough for anything that should come about on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a lease lives.
const TTL: Duration = Duration::from_secs(TTL_SECONDS.unsigned_abs());

/// All keys of the cluster of these tests.
const ROOT: &str = "/test/core/one/";

fn now() -> Moment {
    SystemClock.now()
}

fn within(limit: Duration) -> Moment {
    now() + limit
}

/// Waits for a condition, and says how long it took.
async fn eventually<F: Future<Output = bool>>(
    what: &str,
    limit: Duration,
    condition: impl Fn() -> F,
) -> Duration {
    let began = now();
    wait_for(what, limit, || async { condition().await.then_some(()) }).await;
    now().since(began)
}

fn entropy() -> Arc<Entropy> {
    Arc::new(Entropy::from_seed(7))
}

async fn client(endpoints: &[&str]) -> Etcd {
    let endpoints: Vec<String> = endpoints.iter().map(|&at| at.to_owned()).collect();
    Etcd::connect(&endpoints, &Credentials::plain(), entropy())
        .await
        .unwrap()
}

fn keys() -> Keys {
    Keys::new("/test", "core", "one")
}

fn node(n: u128) -> NodeId {
    NodeId(Uuid::from_u128(n))
}

fn put(key: impl Into<String>, value: impl Into<Vec<u8>>, lease: i64) -> Change {
    Change::Put {
        key: key.into(),
        value: value.into(),
        lease,
    }
}

fn changes(changes: impl Into<Vec<Change>>) -> Transaction {
    Transaction {
        guards: Vec::new(),
        changes: changes.into(),
    }
}

fn guarded(guard: Guard, change: Change) -> Transaction {
    Transaction {
        guards: vec![guard],
        changes: vec![change],
    }
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
    async fn start(endpoint: &str, n: u128) -> Self {
        Self::start_with(client(&[endpoint]).await, n)
    }

    fn start_with(etcd: Etcd, n: u128) -> Self {
        let tasks = Tasks::new();
        let clock = SystemClock::shared;
        let session = Session::start(etcd.clone(), clock(), entropy(), &tasks);
        let incarnation = Entropy::from_system().uuid();
        let record = ServiceRecord {
            v: 1,
            node: node(n),
            name: format!("master-{n}"),
            role: "master".to_owned(),
            version: "0".to_owned(),
            rpc_address: "127.0.0.1:1".to_owned(),
            http_address: "127.0.0.1:2".to_owned(),
            state: ServiceState::Starting,
            since_ms: 1,
            incarnation,
        };
        let plumbing = (entropy(), &tasks);
        let registration = Registration::start(etcd.clone(), keys(), record, &session, plumbing);
        let record = LeadRecord {
            node: node(n),
            name: format!("master-{n}"),
            rpc_address: "127.0.0.1:1".to_owned(),
            since_ms: 0,
            incarnation,
        };
        let leaders = Mirror::start(etcd.clone(), keys().leaders(), clock(), entropy(), &tasks);
        let election = Election::start(
            (etcd.clone(), keys()),
            record,
            &session,
            leaders,
            (clock(), entropy(), &tasks),
        );
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

    fn standing(&self) -> Standing {
        *self.session.standing().borrow()
    }

    async fn connected(&self) -> Standing {
        let mut standing = self.session.standing();
        let connected = standing.wait_for(|now| now.state == State::Connected);
        *tokio::time::timeout(LIMIT, connected)
            .await
            .unwrap()
            .unwrap()
    }

    async fn registered(&self) {
        let mut registered = self.registration.registered();
        let wait = registered.wait_for(|there| *there);
        assert!(*tokio::time::timeout(LIMIT, wait).await.unwrap().unwrap());
    }

    fn term(&self) -> Option<Term> {
        match *self.election.leadership().borrow() {
            Leadership::Leader { term } => Some(term),
            Leadership::Follower { .. } | Leadership::Unknown => None,
        }
    }

    async fn leads(&self) -> Term {
        let leads = || async { self.term().is_some() };
        eventually("to lead", LIMIT, leads).await;
        self.term().unwrap()
    }
}

/// The entry of a process as it stands in etcd, and its lease.
async fn entry_of(etcd: &Etcd, n: u128) -> Option<(ServiceRecord, i64)> {
    let entry = etcd.get(&keys().service("master", node(n))).await.unwrap();
    entry.map(|entry| (decode(&entry.value).unwrap(), entry.lease))
}
