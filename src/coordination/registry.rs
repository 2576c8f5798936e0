//! Who is there, and whose prefix this is.
//!
//! Every process has one entry under `svc/`, on its session's lease: it appears when the session has
//! a lease, again when the lease is another, and vanishes with it. Readers mirror the prefix. What a
//! reader sees of a process that died is at most the time to live and half a second old, and of one
//! that left by closing its session, as old as its mirror; an entry therefore says where a process
//! was, not that it answers.
//!
//! [`claim_meta`] keeps two clusters apart that were given the same prefix.
//!
//! Filters, groups, longer leases for slow processes and the guard against mass loss stand on the
//! same entries and are not built yet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::Clock;
use crate::coordination::etcd::{Entry, Etcd, Guard, LeaseId, Transaction};
use crate::coordination::records::{self, Meta, ServiceRecord, ServiceState};
use crate::coordination::session::Session;
use crate::coordination::{Error, Keys};
use crate::fault;
use crate::resilience::{Backoff, Deadline};
use crate::tasks::Tasks;

/// Between writes of the entry that fail.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));

/// Rounds of reading and writing `meta` before giving up: one is needed, a second after a lost
/// answer.
const CLAIM_ROUNDS: u32 = 4;

/// The entry of this process.
#[derive(Debug)]
pub struct Registration {
    clock: Arc<dyn Clock>,
    record: watch::Sender<ServiceRecord>,
    written: watch::Receiver<Option<Written>>,
}

/// What stands in etcd for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    lease: LeaseId,
    record: ServiceRecord,
}

impl Registration {
    /// Starts to keep this process's entry, for as long as the tasks run. Returns at once.
    pub fn start(
        etcd: &Etcd,
        keys: &Keys,
        session: &Session,
        record: ServiceRecord,
        tasks: &Tasks,
    ) -> Self {
        let (written, reader) = watch::channel(None);
        let keeper = Keeper {
            etcd: etcd.clone(),
            session: session.clone(),
            key: keys.service(record.role.as_str(), record.node),
            written,
        };
        let record = watch::Sender::new(record);
        let wanted = record.subscribe();
        let stopping = tasks.stopping();
        tasks.spawn("registration", async move {
            tokio::select! {
                () = stopping => {},
                () = keeper.run(wanted) => {},
            }
        });
        Self {
            clock: Arc::clone(session.clock()),
            record,
            written: reader,
        }
    }

    /// Says what may be asked of this process from now on. Takes effect as soon as etcd answers; see
    /// [`Registration::registered`].
    pub fn set_state(&self, state: ServiceState) {
        self.record.send_if_modified(|record| {
            let news = record.state != state;
            record.state = state;
            news
        });
    }

    /// Waits until the entry stands in etcd as it was last set.
    ///
    /// # Errors
    /// [`Error::DeadlinePassed`]; [`Error::Closed`] when the process is stopping.
    pub async fn registered(&self, deadline: Deadline) -> Result<(), Error> {
        let wanted = self.record.borrow().clone();
        let mut written = self.written.clone();
        let stands = |now: &Option<Written>| now.as_ref().is_some_and(|now| now.record == wanted);
        let left = deadline.remaining(self.clock.now());
        match tokio::time::timeout(left, written.wait_for(stands)).await {
            Ok(Ok(_written)) => Ok(()),
            Ok(Err(_closed)) => Err(Error::Closed),
            Err(_elapsed) => Err(Error::DeadlinePassed {
                what: "the registration",
            }),
        }
    }
}

struct Keeper {
    etcd: Etcd,
    session: Session,
    key: String,
    written: watch::Sender<Option<Written>>,
}

impl Keeper {
    async fn run(self, mut wanted: watch::Receiver<ServiceRecord>) {
        let mut standing = self.session.subscribe();
        let mut failures = 0;
        loop {
            let lease = standing.borrow_and_update().held();
            let record = wanted.borrow_and_update().clone();
            let goal = lease.map(|lease| Written { lease, record });
            let failed = match goal.filter(|goal| self.written.borrow().as_ref() != Some(goal)) {
                None => false,
                Some(goal) => self.write(goal, failures).await.is_err(),
            };
            let delay = self.etcd.delay(BACKOFF, failures);
            failures = if failed {
                failures.saturating_add(1)
            } else {
                0
            };
            tokio::select! {
                changed = standing.changed() => if changed.is_err() { return },
                changed = wanted.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(delay), if failed => {},
            }
        }
    }

    async fn write(&self, goal: Written, failures: u32) -> Result<(), Error> {
        let written = match records::encode(&goal.record) {
            Ok(value) => self.etcd.hold(&self.key, &value, goal.lease).await,
            Err(source) => Err(Error::Record {
                key: self.key.clone(),
                source,
            }),
        };
        match written {
            Ok(()) => {
                tracing::info!(key = self.key, state = ?goal.record.state, "registered");
                self.written.send_replace(Some(goal));
                Ok(())
            },
            Err(error) => {
                if failures == 0 {
                    let error = fault::chain(&error);
                    tracing::warn!(key = self.key, error, "registration was not written");
                }
                Err(error)
            },
        }
    }
}

/// Makes the prefix this cluster's own, or finds that it is.
///
/// # Errors
/// [`Error::PrefixInUse`] if it is another's, [`Error::ReaderTooOld`] if this program must not read
/// it; as [`Etcd::transact`].
pub async fn claim_meta(
    etcd: &Etcd,
    keys: &Keys,
    uid: Uuid,
    clock: &dyn Clock,
) -> Result<Meta, Error> {
    let key = keys.meta();
    let meta = Meta {
        uid,
        created_ms: clock.wall_ms(),
        min_reader: records::VERSION,
    };
    let value = records::encode(&meta).map_err(|source| Error::Record {
        key: key.clone(),
        source,
    })?;
    let claim = Transaction::new()
        .guard(Guard::Absent(key.clone()))
        .put(key.as_str(), value);
    for _round in 0..CLAIM_ROUNDS {
        if let Some(entry) = etcd.get(&key).await? {
            return check_meta(keys, uid, &entry);
        }
        match etcd.transact(&claim).await {
            // Read back in the next round, whoever won.
            Ok(_) | Err(Error::UnknownOutcome { .. }) => {},
            Err(error) => return Err(error),
        }
    }
    Err(Error::Unreachable {
        what: "claim the prefix",
        source: "it is not there after it was written".into(),
    })
}

fn check_meta(keys: &Keys, uid: Uuid, entry: &Entry) -> Result<Meta, Error> {
    let meta: Meta = records::decode(&entry.value).map_err(|source| Error::Record {
        key: entry.key.clone(),
        source,
    })?;
    if meta.min_reader > records::VERSION {
        return Err(Error::ReaderTooOld {
            root: keys.root().to_owned(),
            needed: meta.min_reader,
        });
    }
    if meta.uid != uid {
        return Err(Error::PrefixInUse {
            root: keys.root().to_owned(),
            ours: uid,
            theirs: meta.uid,
        });
    }
    Ok(meta)
}
