//! Who is there: one record for each process, on its session's lease.
//!
//! The record is written again whenever the session has a new lease, and goes with the lease: a
//! killed process is out of every mirror a lease's life later, one that stops in order at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::records::{Meta, ServiceRecord, ServiceState, VERSION, decode, encode};
use super::session::{Session, Standing, State};
use super::{Change, Error, Etcd, Guard, Keys, Transaction};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::resilience::backoff::Backoff;
use crate::tasks::Tasks;

/// The role whose processes hold data.
const WORKER: &str = "worker";
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(2);

/// The entry of this process.
#[derive(Debug, Clone)]
pub struct Registration {
    state: Arc<watch::Sender<ServiceState>>,
    registered: watch::Receiver<bool>,
}

impl Registration {
    /// Registers a process, and again with each new lease.
    pub fn start(
        etcd: Etcd,
        keys: Keys,
        record: ServiceRecord,
        session: &Session,
        (entropy, tasks): (Arc<Entropy>, &Tasks),
    ) -> Self {
        let state = Arc::new(watch::Sender::new(record.state));
        let (done, registered) = watch::channel(false);
        let keeper = Keeper {
            etcd,
            keys,
            record,
            entropy,
            done,
        };
        let run = keeper.run(session.standing(), state.subscribe(), tasks.clone());
        tasks.spawn("registration", run);
        Self { state, registered }
    }

    /// Says what the process does from now on.
    pub fn set_state(&self, state: ServiceState) {
        self.state.send_replace(state);
    }

    /// Whether the entry is in etcd as far as is known, and news of it.
    pub fn registered(&self) -> watch::Receiver<bool> {
        self.registered.clone()
    }
}

struct Keeper {
    etcd: Etcd,
    keys: Keys,
    record: ServiceRecord,
    entropy: Arc<Entropy>,
    done: watch::Sender<bool>,
}

impl Keeper {
    async fn run(
        mut self,
        mut session: watch::Receiver<Standing>,
        mut state: watch::Receiver<ServiceState>,
        tasks: Tasks,
    ) {
        let mut written: Option<(u64, ServiceState)> = None;
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let standing = *session.borrow_and_update();
            let wanted = (standing.generation, *state.borrow_and_update());
            let due = standing.state == State::Connected && written != Some(wanted);
            if due {
                self.record.state = wanted.1;
                match self.write(standing.lease).await {
                    Ok(()) => {
                        written = Some(wanted);
                        backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
                    },
                    Err(error) if tasks.is_stopping() => {
                        tracing::debug!(error = chain(&error), "the last entry was not written");
                    },
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "registration waits");
                    },
                }
            }
            let there = written.is_some_and(|(generation, _)| generation == standing.generation)
                && standing.state != State::Lost;
            self.done
                .send_if_modified(|done| std::mem::replace(done, there) != there);
            let retry = due && written != Some(wanted);
            tokio::select! {
                () = tasks.stopping() => return,
                changed = session.changed() => if changed.is_err() { return },
                changed = state.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(backoff.next(&self.entropy)), if retry => {},
            }
        }
    }

    async fn write(&self, lease: i64) -> Result<(), Error> {
        let key = self.keys.service(&self.record.role, self.record.node);
        let value = encode(&self.record)?;
        // Whatever was there: an entry of an earlier run is this process's own, since its data folder,
        // and so its id, is locked.
        self.etcd.hold(&key, &value, lease).await?;
        if self.record.role != WORKER {
            return Ok(());
        }
        // Its shards are told by its name also while it is away.
        let key = self.keys.node(self.record.node);
        self.etcd.hold(&key, self.record.name.as_bytes(), 0).await
    }
}

/// Which cluster a process belongs to, as far as it knows before it has asked etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It does not know.
    Any,
    /// It was told by its settings.
    Told(Uuid),
    /// Its data folder remembers.
    Remembered(Uuid),
}

impl Expected {
    const fn uid(self) -> Option<Uuid> {
        match self {
            Self::Any => None,
            Self::Told(uid) | Self::Remembered(uid) => Some(uid),
        }
    }
}

/// Makes or reads what identifies the cluster.
///
/// # Errors
/// [`Error::PrefixInUse`] when etcd knows another than is expected; [`Error::RecordNewer`] when the
/// prefix is of a newer program and this one must not read it.
pub async fn claim_meta(
    etcd: &Etcd,
    keys: &Keys,
    expected: Expected,
    (clock, entropy): (&dyn Clock, &Entropy),
) -> Result<Uuid, Error> {
    let key = keys.meta();
    let mut found = etcd.get(&key).await?;
    if found.is_none() {
        if let Expected::Remembered(ours) = expected {
            // Its collections are gone as well; their data is kept, and reported as orphans.
            let uid = ours.to_string();
            tracing::error!(
                uid,
                key,
                "etcd does not know this cluster: its records are gone"
            );
        }
        let uid = expected.uid().unwrap_or_else(|| entropy.uuid());
        let meta = Meta {
            v: VERSION,
            uid,
            created_ms: clock.wall_ms(),
            min_reader: VERSION,
        };
        let transaction = Transaction {
            guards: vec![Guard::Absent(key.clone())],
            changes: vec![Change::put(key.clone(), encode(&meta)?)],
        };
        match etcd.transact(transaction).await {
            Ok(_) | Err(Error::UnknownOutcome { .. }) => {},
            Err(error) => return Err(error),
        }
        found = etcd.get(&key).await?;
    }
    let found = found.ok_or(Error::UnknownOutcome {
        what: "making the cluster's identity",
    })?;
    let meta: Meta = decode(&found.value)?;
    if meta.min_reader > VERSION {
        let version = u64::from(meta.min_reader);
        return Err(Error::RecordNewer { version });
    }
    match expected.uid() {
        Some(ours) if ours != meta.uid => Err(Error::PrefixInUse {
            found: meta.uid,
            ours,
        }),
        _ => Ok(meta.uid),
    }
}
