//! The client of etcd: the only file that names `etcd-client`'s types.
//!
//! That crate's own balancing over endpoints keeps asking a dead one, so each endpoint has a client
//! here; calls stay with the one that answers and go to the next when the transport fails. Every
//! call has a deadline. A read is tried again; a change only when it was surely not sent: a change
//! whose answer was lost is an [`Error::UnknownOutcome`], and who made it reads back.

mod calls;
mod error;
mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, ConnectOptions, PutOptions, TxnOp};

use crate::entropy::Entropy;
use crate::ids::Revision;

pub use error::Error;
pub use watching::{KeepAlive, Watch, WatchEvent, WatchNews};

/// How long one call may take.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Etcd closes connections that ask more often than every 5 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const TRIES: usize = 3;

/// Where etcd is: `http://HOST:PORT` of each member.
pub type Endpoints = Vec<String>;

/// A client of one etcd cluster. Cheap to clone; clones share the choice of endpoint.
#[derive(Clone)]
pub struct Etcd {
    clients: Arc<[Client]>,
    current: Arc<AtomicUsize>,
    entropy: Arc<Entropy>,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoints", &self.clients.len())
            .finish_non_exhaustive()
    }
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The revision that made the key.
    pub create_revision: Revision,
    /// The revision that changed it last.
    pub mod_revision: Revision,
    /// The lease that it hangs on; 0 for none.
    pub lease: i64,
}

/// The keys of a prefix at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The keys, ascending.
    pub entries: Vec<Entry>,
    /// The revision they are of.
    pub revision: Revision,
    /// Which etcd cluster answered.
    pub cluster: u64,
}

/// What must hold for a transaction to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key is not there.
    Absent(String),
    /// The key was changed last at this revision.
    ModRevision(String, Revision),
    /// The key was made at this revision.
    CreateRevision(String, Revision),
}

/// What a transaction changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a key.
    Put {
        /// The key.
        key: String,
        /// Its value.
        value: Vec<u8>,
        /// The lease it hangs on; 0 for none.
        lease: i64,
    },
    /// Removes a key, if it is there.
    Delete(String),
}

impl Change {
    /// Writes a key that hangs on no lease.
    pub fn put(key: String, value: Vec<u8>) -> Self {
        Self::Put {
            key,
            value,
            lease: 0,
        }
    }
}

/// Changes that are made together, if every guard holds, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What is changed.
    pub changes: Vec<Change>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the guards held.
    pub succeeded: bool,
    /// The revision of the transaction, or of etcd when it was not carried out.
    pub revision: Revision,
}

impl Etcd {
    /// A client of these endpoints. Succeeds with etcd away: connections are made when needed.
    ///
    /// # Errors
    /// When there is no endpoint, or one is no address.
    pub async fn connect(endpoints: &Endpoints, entropy: Arc<Entropy>) -> Result<Self, Error> {
        let mut clients = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let options = ConnectOptions::new()
                .with_connect_timeout(CONNECT_TIMEOUT)
                .with_keep_alive(KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT)
                .with_keep_alive_while_idle(true)
                .with_require_leader(true);
            let client = Client::connect([endpoint], Some(options)).await;
            clients.push(client.map_err(|error| error::classify("connect", false, error))?);
        }
        if clients.is_empty() {
            return Err(Error::NoEndpoint);
        }
        Ok(Self {
            clients: clients.into(),
            current: Arc::default(),
            entropy,
        })
    }

    /// The client of the endpoint in use, and its number.
    fn client(&self) -> (usize, Client) {
        let at = self.current.load(Ordering::Relaxed);
        let at = at % self.clients.len().max(1);
        #[expect(
            clippy::indexing_slicing,
            reason = "there is an endpoint, and `at` is reduced"
        )]
        let client = self.clients[at].clone();
        (at, client)
    }

    /// Goes to the next endpoint, if the one that failed is still in use.
    fn leave(&self, failed: usize) {
        let next = (failed + 1) % self.clients.len().max(1);
        let order = Ordering::Relaxed;
        // Somebody else may have gone on already; then theirs stands.
        let _unless_others_did = self.current.compare_exchange(failed, next, order, order);
    }
}

impl From<Guard> for Compare {
    fn from(guard: Guard) -> Self {
        match guard {
            Guard::Absent(key) => Self::create_revision(key, CompareOp::Equal, 0),
            Guard::ModRevision(key, revision) => {
                Self::mod_revision(key, CompareOp::Equal, revision.0)
            },
            Guard::CreateRevision(key, revision) => {
                Self::create_revision(key, CompareOp::Equal, revision.0)
            },
        }
    }
}

impl From<Change> for TxnOp {
    fn from(change: Change) -> Self {
        match change {
            Change::Put { key, value, lease } => {
                Self::put(key, value, Some(PutOptions::new().with_lease(lease)))
            },
            Change::Delete(key) => Self::delete(key, None),
        }
    }
}
