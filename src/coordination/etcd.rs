//! One etcd cluster as the rest of the project sees it: the only module that names `etcd-client`'s
//! types.
//!
//! That crate's own balancing over endpoints keeps asking a dead one, so each endpoint has a client
//! here; calls stay with one that answers, and the first failure moves all of them to the next at
//! once, without a pause: a pause comes only when every endpoint has failed. Three tries of at most
//! two seconds reach a living member of any cluster of up to five that has a quorum.
//!
//! Whether a failed call is tried again depends on what is known of it (`error.rs`): what was surely
//! not carried out and what changes nothing is; a change whose answer was lost is an
//! [`Error::UnknownOutcome`], and who made it reads back. A caller with less time drops the call; a
//! dropped read does nothing, a dropped change may still be carried out.
//!
//! Connections are asked for life every 6 s, because etcd closes those that ask more often than every
//! 5 s; watches have a heartbeat of their own (`mirror.rs`). Every call wants the member to have a
//! leader, so that one that is cut off says so in place of silence.
//!
//! Where etcd asks for users, calls carry a token (`login.rs`).
//!
//! Endpoints of `https` are spoken to with the credentials that are given; of `http` in plain text. It
//! does not follow changes of etcd's membership, or look into values.

mod calls;
mod error;
mod login;
mod members;
mod watching;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    AuthClient, Client, ClusterClient, Compare, CompareOp, ConnectOptions, KvClient, LeaseClient,
    MaintenanceClient, PutOptions, TxnOp, WatchClient,
};

use hyper_util::rt::TokioIo;
use tonic::transport::{Endpoint, Uri};
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

use crate::entropy::Entropy;
use crate::ids::Revision;
use crate::security::Credentials;
use crate::security::peers::Connector;

use self::login::{Pass, Token};

pub use error::Error;
pub use members::ClusterMember;
pub use watching::{Watch, WatchEvent, WatchNews};

/// How long one try of a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Etcd closes connections that ask more often than every 5 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const TRIES: usize = 3;
/// Bytes of one answer: a full page of the largest records, and their keys.
const ANSWER_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Where etcd is: `http://HOST:PORT` or `https://HOST:PORT` of each member.
pub type Endpoints = Vec<String>;

/// A client of one etcd cluster. Cheap to clone; clones share the choice of endpoint.
#[derive(Clone)]
pub struct Etcd {
    members: Arc<[Member]>,
    current: Arc<AtomicUsize>,
    entropy: Arc<Entropy>,
    /// What goes with every call, when it logs in.
    token: Token,
    pass: Option<Pass>,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoints", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// The connections to one member.
#[derive(Clone)]
struct Member {
    kv: KvClient,
    lease: LeaseClient,
    watch: WatchClient,
    maintenance: MaintenanceClient,
    cluster: ClusterClient,
    auth: AuthClient,
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
    /// A client of these endpoints, with these credentials where they are of `https`. Succeeds with
    /// etcd away: connections are made when needed.
    ///
    /// # Errors
    /// When there is no endpoint, or one is no address.
    pub async fn connect(
        endpoints: &Endpoints,
        credentials: &Credentials,
        entropy: Arc<Entropy>,
    ) -> Result<Self, Error> {
        let connector = Connector::by_host(credentials.clone());
        Self::connect_by(endpoints, connector, entropy).await
    }

    /// The same for members that are known by their addresses: their certificates hold this name.
    ///
    /// # Errors
    /// As [`Etcd::connect`].
    pub async fn connect_as(
        endpoints: &Endpoints,
        name: &str,
        credentials: &Credentials,
        entropy: Arc<Entropy>,
    ) -> Result<Self, Error> {
        let connector = Connector::by_name(credentials.clone(), name);
        Self::connect_by(endpoints, connector, entropy).await
    }

    async fn connect_by(
        endpoints: &Endpoints,
        connector: Connector,
        entropy: Arc<Entropy>,
    ) -> Result<Self, Error> {
        let token = Token::default();
        let mut members = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            members.push(Member::connect(endpoint, connector.clone(), &token).await?);
        }
        if members.is_empty() {
            return Err(Error::NoEndpoint);
        }
        Ok(Self {
            members: members.into(),
            current: Arc::default(),
            entropy,
            token,
            pass: None,
        })
    }

    /// The endpoint in use, and its number.
    fn member(&self) -> (usize, Member) {
        let at = self.current.load(Ordering::Relaxed) % self.members.len().max(1);
        #[expect(
            clippy::indexing_slicing,
            reason = "there is an endpoint, and `at` is reduced"
        )]
        let member = self.members[at].clone();
        (at, member)
    }

    /// Goes to the next endpoint, if the one that failed is still in use.
    fn leave(&self, failed: usize) {
        let next = (failed + 1) % self.members.len().max(1);
        let order = Ordering::Relaxed;
        // Somebody else may have gone on already; then theirs stands.
        let _unless_others_did = self.current.compare_exchange(failed, next, order, order);
    }
}

impl Member {
    async fn connect(endpoint: &str, connector: Connector, token: &Token) -> Result<Self, Error> {
        let failed = |source: etcd_client::Error| Error::Endpoint {
            endpoint: endpoint.to_owned(),
            source: Box::new(source),
        };
        let (address, connector) = match endpoint.strip_prefix("https://") {
            Some(rest) => (format!("http://{rest}"), connector),
            None => {
                let connector = Connector::by_host(Credentials::plain());
                (endpoint.to_owned(), connector)
            },
        };
        let channel = Endpoint::from_shared(address)
            .map_err(|error| failed(error.into()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(service_fn(move |to: Uri| {
                let connector = connector.clone();
                async move { connector.connect(&to).await.map(TokioIo::new) }
            }));
        let token = token.clone();
        let channel = channel
            .map_request(move |request| token.show(request))
            .map_err(tower::BoxError::from);
        let channel = etcd_client::Channel::Custom(BoxCloneSyncService::new(channel));
        let options = ConnectOptions::new().with_require_leader(true);
        let client = Client::from_channel(channel, Some(options))
            .await
            .map_err(failed)?;
        Ok(Self {
            kv: client
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            lease: client.lease_client(),
            maintenance: client.maintenance_client(),
            cluster: client.cluster_client(),
            auth: client.auth_client(),
            watch: client
                .watch_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_refused_and_named() {
        let entropy = Arc::new(Entropy::from_seed(1));
        let refused = Etcd::connect(
            &vec!["http://a b".to_owned()],
            &Credentials::plain(),
            Arc::clone(&entropy),
        )
        .await;
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("http://a b"), "{error}");
        let none = Etcd::connect(&Vec::new(), &Credentials::plain(), entropy).await;
        assert!(matches!(none, Err(Error::NoEndpoint)));
    }

    #[tokio::test]
    async fn the_first_failure_moves_all_calls_and_a_late_one_does_not_move_them_again() {
        let endpoints = [1, 2, 3].map(|port| format!("http://127.0.0.1:{port}"));
        let entropy = Arc::new(Entropy::from_seed(1));
        let etcd = Etcd::connect(&endpoints.to_vec(), &Credentials::plain(), entropy)
            .await
            .unwrap();
        let shared = etcd.clone();
        assert_eq!(etcd.member().0, 0);
        etcd.leave(0);
        etcd.leave(0);
        assert_eq!(shared.member().0, 1);
        etcd.leave(1);
        etcd.leave(2);
        assert_eq!(etcd.member().0, 0);
    }
}
