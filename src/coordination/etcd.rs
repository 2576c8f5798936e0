//! One etcd cluster as the rest of the project sees it. Only this module names etcd-client's types.
//!
//! Every member has a connection of its own and calls stick to one member. etcd-client's way of
//! spreading calls over members keeps sending a share of them to a dead one; here the first failure
//! moves all calls to the next member at once, without a delay, and a delay comes only when every
//! member has failed.
//!
//! A call is tried three times, each at most two seconds, so it answers within seven seconds;
//! a caller with less time drops it (reads may be dropped at any await, a dropped write may still be
//! applied). Three tries reach a live member of any cluster up to five that has a quorum. Whether a
//! failed call is tried again depends on what is known of it (`failure.rs`): what was certainly not
//! applied and what may be repeated is; a write whose answer was lost is not, and comes back as
//! [`Error::UnknownOutcome`] for the caller to read back.
//!
//! HTTP/2 pings go out every 6 s, because etcd closes connections that ping faster than every 5 s;
//! watches therefore have a heartbeat of their own. Every call requires that the member has a leader,
//! so that a member that is cut off says so in place of silence.
//!
//! It does not: authenticate or encrypt (the connection options have the place for it), follow
//! changes of etcd's membership, or look into the values.

mod failure;
mod operations;
mod watch;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, KvClient, LeaseClient, WatchClient};

use crate::coordination::Error;
use crate::coordination::records::VALUE_BYTES_MAX;
use crate::entropy::Entropy;
use crate::ids::Revision;
use crate::limits;
use crate::resilience::Backoff;

use failure::{Failure, Fate};
pub use watch::{Batch, Event, Notice, Watch};

/// Tries of one call.
const TRIES: u32 = 3;

/// The longest that one try takes.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest that a connection takes to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Between HTTP/2 pings: not below the 5 s that etcd tolerates.
const PING_INTERVAL: Duration = Duration::from_secs(6);

/// How long the answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Between tries, once every member has failed.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(400));

/// Members of one cluster that are tried; more than etcd advises to have.
const ENDPOINTS_MAX: usize = 9;

/// Bytes of one answer: a full page of the largest values, and their keys.
const ANSWER_BYTES_MAX: usize = 48 * 1024 * 1024;

/// A lease of etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A key and what etcd knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// When it was made; it keeps this while it is overwritten.
    pub create_revision: Revision,
    /// When it was last written.
    pub mod_revision: Revision,
    /// The lease that it dies with.
    pub lease: Option<LeaseId>,
}

/// All keys under a prefix, as they were at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by key.
    pub entries: Vec<Entry>,
    /// The revision.
    pub revision: Revision,
    /// Which cluster answered.
    pub cluster_id: u64,
}

/// What must hold for a transaction to change anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key does not exist.
    Absent(String),
    /// The key exists and was last written at that revision.
    ModRevision(String, Revision),
    /// The key exists and was made at that revision: the fence of a lock or a leadership.
    CreateRevision(String, Revision),
    /// The key exists and hangs on that lease.
    Lease(String, LeaseId),
}

/// One change of a transaction. A transaction names a key once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a key.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Vec<u8>,
        /// The lease that it is to die with.
        lease: Option<LeaseId>,
    },
    /// Deletes a key, if it is there.
    Delete(String),
    /// Deletes all keys under a prefix.
    DeletePrefix(String),
}

/// Changes that are made together, at one revision, if all guards hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    guards: Vec<Guard>,
    changes: Vec<Change>,
}

impl Transaction {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more condition.
    #[must_use]
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// With one more change.
    #[must_use]
    pub fn change(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// With one more key to write.
    #[must_use]
    pub fn put(self, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.change(Change::Put {
            key: key.into(),
            value: value.into(),
            lease: None,
        })
    }

    /// With one more key to write, that dies with the lease.
    #[must_use]
    pub fn put_leased(
        self,
        key: impl Into<String>,
        value: impl Into<Vec<u8>>,
        lease: LeaseId,
    ) -> Self {
        self.change(Change::Put {
            key: key.into(),
            value: value.into(),
            lease: Some(lease),
        })
    }

    /// With one more key to delete.
    #[must_use]
    pub fn delete(self, key: impl Into<String>) -> Self {
        self.change(Change::Delete(key.into()))
    }

    /// Operations of it that count towards etcd's bound.
    pub fn len(&self) -> usize {
        self.guards.len().max(self.changes.len())
    }

    /// Whether it neither asks nor changes anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn check(&self) -> Result<(), Error> {
        if self.len() > limits::ETCD_TXN_OPS_MAX {
            return Err(Error::TooLarge {
                what: "operations of a transaction",
                bound: limits::ETCD_TXN_OPS_MAX,
            });
        }
        let long = |change: &Change| match change {
            Change::Put { value, .. } => value.len() > VALUE_BYTES_MAX,
            Change::Delete(_) | Change::DeletePrefix(_) => false,
        };
        if self.changes.iter().any(long) {
            return Err(Error::TooLarge {
                what: "bytes of a value",
                bound: VALUE_BYTES_MAX,
            });
        }
        Ok(())
    }
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Whether all guards held and all changes were made.
    pub succeeded: bool,
    /// The revision of the changes, or of the state that did not fit the guards.
    pub revision: Revision,
}

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing.
    Read,
    /// It changes something; a second time changes nothing more.
    Harmless,
    /// A second time could mean something else.
    Never,
}

/// What a call is called in errors, and whether it may be repeated.
#[derive(Debug, Clone, Copy)]
struct Call {
    what: &'static str,
    repeat: Repeat,
}

/// The connections to one member.
#[derive(Clone)]
struct Member {
    kv: KvClient,
    lease: LeaseClient,
    watch: WatchClient,
}

/// An etcd cluster. Cheap to clone; clones share connections and the choice of the member.
#[derive(Clone)]
pub struct Etcd {
    inner: Arc<Inner>,
}

struct Inner {
    endpoints: Vec<String>,
    members: Vec<Member>,
    current: AtomicUsize,
    entropy: Arc<Entropy>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("endpoints", &self.inner.endpoints)
            .finish_non_exhaustive()
    }
}

impl Etcd {
    /// Prepares connections to the members at these addresses (`http://host:port`). Nothing is sent,
    /// so it succeeds while etcd is down.
    ///
    /// # Errors
    /// [`Error::Endpoint`] for what is not an address, [`Error::TooLarge`] for more than nine.
    pub async fn connect(endpoints: &[String], entropy: Arc<Entropy>) -> Result<Self, Error> {
        if endpoints.is_empty() {
            return Err(Error::Endpoint {
                endpoint: String::new(),
                source: "none is given".into(),
            });
        }
        if endpoints.len() > ENDPOINTS_MAX {
            return Err(Error::TooLarge {
                what: "addresses of etcd",
                bound: ENDPOINTS_MAX,
            });
        }
        let mut members = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            members.push(Member::connect(endpoint).await?);
        }
        let inner = Inner {
            endpoints: endpoints.to_vec(),
            members,
            current: AtomicUsize::new(0),
            entropy,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// A random delay after that many failures in a row.
    pub(in crate::coordination) fn delay(&self, backoff: Backoff, failures: u32) -> Duration {
        backoff.delay(failures, self.inner.entropy.fraction())
    }

    /// The member that calls go to, and its place.
    fn member(&self) -> (usize, Member) {
        let at = self.inner.current.load(Ordering::Relaxed) % self.inner.members.len();
        let member = self.inner.members.get(at);
        (at, member.expect("a remainder of the length").clone())
    }

    /// Moves all calls on from a member that failed, unless another call has done so already.
    fn leave(&self, at: usize) {
        let next = at.wrapping_add(1) % self.inner.members.len();
        let moved =
            self.inner
                .current
                .compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() && next != at {
            tracing::debug!(
                from = self.inner.endpoints.get(at),
                to = self.inner.endpoints.get(next),
                "moving to another etcd member"
            );
        }
    }

    /// Makes a call, as often as it may be made and needs to be.
    async fn call<T, F, R>(&self, call: Call, run: F) -> Result<T, Error>
    where
        F: Fn(Member) -> R,
        R: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut failures = 0;
        loop {
            let failure = match self.try_once(TRY_TIMEOUT, &run).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            failures += 1;
            let lost = failure.fate == Fate::Unknown && call.repeat != Repeat::Read;
            let may_repeat = match failure.fate {
                Fate::Refused(_) => false,
                Fate::NotApplied => true,
                Fate::Unknown => call.repeat != Repeat::Never,
            };
            if !may_repeat || failures >= TRIES {
                return Err(failure.into_error(call.what, lost));
            }
            let all_failed = usize::try_from(failures)
                .is_ok_and(|failures| failures.is_multiple_of(self.inner.members.len()));
            if all_failed {
                tokio::time::sleep(self.delay(BACKOFF, failures - 1)).await;
            }
        }
    }

    /// Makes a call once, at most for `limit`, and leaves the member if it does not answer.
    async fn try_once<T, F, R>(&self, limit: Duration, run: &F) -> Result<T, Failure>
    where
        F: Fn(Member) -> R,
        R: Future<Output = Result<T, etcd_client::Error>>,
    {
        let (at, member) = self.member();
        let failure = match tokio::time::timeout(limit, run(member)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Failure::from_client(error),
            Err(elapsed) => Failure::silence(elapsed),
        };
        if !matches!(failure.fate, Fate::Refused(_)) {
            self.leave(at);
        }
        Err(failure)
    }
}

impl Member {
    async fn connect(endpoint: &str) -> Result<Self, Error> {
        // `new` and not `default`: the default sends no pings while a connection is idle.
        let options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_require_leader(true);
        let client = Client::connect([endpoint], Some(options))
            .await
            .map_err(|source| Error::Endpoint {
                endpoint: endpoint.to_owned(),
                source: source.into(),
            })?;
        Ok(Self {
            kv: client
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX),
            lease: client.lease_client(),
            watch: client
                .watch_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_above_etcds_bound_is_refused_before_it_is_sent() {
        let put = |n: usize| {
            (0..n).fold(Transaction::new(), |txn, i| {
                txn.put(format!("k{i}"), vec![0u8; 1])
            })
        };
        assert!(put(limits::ETCD_TXN_OPS_MAX).check().is_ok());
        let refused = put(limits::ETCD_TXN_OPS_MAX + 1).check();
        assert!(matches!(refused, Err(Error::TooLarge { bound: 128, .. })));
        let long = Transaction::new().put("k", vec![0u8; VALUE_BYTES_MAX + 1]);
        assert!(matches!(long.check(), Err(Error::TooLarge { .. })));
    }

    #[tokio::test]
    async fn what_is_not_an_address_is_refused_and_named() {
        let entropy = Arc::new(Entropy::from_seed(1));
        let refused = Etcd::connect(&["http://a b".to_owned()], Arc::clone(&entropy)).await;
        let error = refused.unwrap_err();
        assert!(error.to_string().contains("http://a b"), "{error}");
        let none = Etcd::connect(&[], Arc::clone(&entropy)).await;
        assert!(matches!(none, Err(Error::Endpoint { .. })));
        let many = vec!["http://127.0.0.1:1".to_owned(); ENDPOINTS_MAX + 1];
        let many = Etcd::connect(&many, entropy).await;
        assert!(matches!(many, Err(Error::TooLarge { .. })));
    }

    #[tokio::test]
    async fn the_first_failure_moves_all_calls_and_a_late_one_does_not_move_them_again() {
        let endpoints = [
            "http://127.0.0.1:1",
            "http://127.0.0.1:2",
            "http://127.0.0.1:3",
        ];
        let endpoints = endpoints.map(str::to_owned);
        let entropy = Arc::new(Entropy::from_seed(1));
        let etcd = Etcd::connect(&endpoints, entropy).await.unwrap();
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
