//! Which master leads.
//!
//! The leader holds `lead/master`, made on its session's lease by a transaction that wants the key
//! absent. The key's create revision is the term; every control write carries [`term_guard`], so that
//! whoever merely believes to lead writes nothing. A candidate leads only once it has read its own
//! key back, and stops as soon as its session is no longer certain, which is before etcd can give the
//! key to another.
//!
//! Candidates wait for the key to vanish; the transaction decides between them. An answer that was
//! lost is settled by reading the key.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::mirror::Mirror;
use super::records::{LeadRecord, decode, encode};
use super::session::{Session, Standing, State};
use super::{Change, Error, Etcd, Guard, Keys, Transaction, keys};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::ids::{Revision, Term};
use crate::resilience::backoff::Backoff;
use crate::tasks::Tasks;

const RETRY_FIRST: Duration = Duration::from_millis(25);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// What a master knows of the leadership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// It leads, in this term.
    Leader {
        /// The term.
        term: Term,
    },
    /// It does not; who does, as far as is known.
    Follower {
        /// The leader and its term.
        leader: Option<(LeadRecord, Term)>,
    },
    /// Nothing has been read yet.
    Unknown,
}

/// The guard of every control write of a leader.
pub fn term_guard(keys: &Keys, term: Term) -> Guard {
    Guard::CreateRevision(keys.lead_master(), Revision(term.0))
}

/// A master's candidacy.
#[derive(Debug)]
pub struct Election {
    etcd: Etcd,
    keys: Keys,
    name: String,
    leadership: watch::Receiver<Leadership>,
}

impl Election {
    /// Stands for election, for as long as the tasks run.
    pub fn start(
        (etcd, keys): (Etcd, Keys),
        record: LeadRecord,
        session: &Session,
        leaders: Arc<Mirror<LeadRecord>>,
        (clock, entropy, tasks): (Arc<dyn Clock>, Arc<Entropy>, &Tasks),
    ) -> Self {
        let (sender, leadership) = watch::channel(Leadership::Unknown);
        let name = record.name.clone();
        let candidate = Candidate {
            etcd: etcd.clone(),
            keys: keys.clone(),
            record,
            leaders,
            clock,
            entropy,
            leadership: sender,
        };
        tasks.spawn("election", candidate.run(session.standing(), tasks.clone()));
        Self {
            etcd,
            keys,
            name,
            leadership,
        }
    }

    /// Who leads, and news of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// The name of this candidate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the leadership up. Nothing happens when this master does not lead.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub async fn resign(&self) -> Result<(), Error> {
        let Leadership::Leader { term } = *self.leadership.borrow() else {
            return Ok(());
        };
        let transaction = Transaction {
            guards: vec![term_guard(&self.keys, term)],
            changes: vec![Change::Delete(self.keys.lead_master())],
        };
        self.etcd.transact(transaction).await.map(|_outcome| ())
    }
}

struct Candidate {
    etcd: Etcd,
    keys: Keys,
    record: LeadRecord,
    leaders: Arc<Mirror<LeadRecord>>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    leadership: watch::Sender<Leadership>,
}

impl Candidate {
    async fn run(mut self, mut session: watch::Receiver<Standing>, tasks: Tasks) {
        let mut changes = self.leaders.changes();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        loop {
            let standing = *session.borrow_and_update();
            changes.borrow_and_update();
            let mut retry = false;
            if standing.state == State::Connected
                && self.leaders.revision().0 > 0
                && self.is_vacant(standing.lease)
            {
                match self.stand(standing.lease).await {
                    Ok(()) => {
                        backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
                        // The mirror brings the key, or that of another.
                        retry = true;
                    },
                    Err(error) => {
                        tracing::warn!(error = chain(&error), "standing for election waits");
                        retry = true;
                    },
                }
            }
            self.show(self.decide(&standing));
            tokio::select! {
                () = tasks.stopping() => return,
                changed = session.changed() => if changed.is_err() { return },
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(backoff.next(&self.entropy)), if retry => {},
            }
        }
    }

    /// The leader that the mirror shows: its record, term and lease.
    fn seen(&self) -> Option<(LeadRecord, Term, i64)> {
        let view = self.leaders.view();
        let held = view.get(keys::LEAD_MASTER_SUFFIX)?;
        Some((
            LeadRecord::clone(&held.value),
            Term(held.create_revision.0),
            held.lease,
        ))
    }

    /// Whether nobody leads, or only an earlier run of this very process.
    fn is_vacant(&self, lease: i64) -> bool {
        self.seen().is_none_or(|(record, _term, held_by)| {
            record.node == self.record.node
                && (record.incarnation != self.record.incarnation || held_by != lease)
        })
    }

    /// What to believe: only an own key, on the lease that certainly lives, is a leadership.
    fn decide(&self, standing: &Standing) -> Leadership {
        if self.leaders.revision().0 == 0 {
            return Leadership::Unknown;
        }
        match self.seen() {
            Some((record, term, lease))
                if record.node == self.record.node
                    && record.incarnation == self.record.incarnation
                    && lease == standing.lease =>
            {
                if standing.state == State::Connected {
                    Leadership::Leader { term }
                } else {
                    Leadership::Unknown
                }
            },
            Some((record, term, _lease)) => Leadership::Follower {
                leader: Some((record, term)),
            },
            None => Leadership::Follower { leader: None },
        }
    }

    fn show(&self, next: Leadership) {
        self.leadership.send_if_modified(|known| {
            if *known == next {
                return false;
            }
            match &next {
                Leadership::Leader { term } => tracing::info!(term = term.0, "this master leads"),
                Leadership::Follower {
                    leader: Some((record, term)),
                } => {
                    tracing::info!(leader = record.name, term = term.0, "another master leads");
                },
                Leadership::Follower { leader: None } => tracing::info!("no master leads"),
                Leadership::Unknown => tracing::warn!("this master does not know who leads"),
            }
            *known = next;
            true
        });
    }

    /// Tries to make the key.
    async fn stand(&mut self, lease: i64) -> Result<(), Error> {
        let key = self.keys.lead_master();
        if let Some(entry) = self.etcd.get(&key).await? {
            let record: LeadRecord = decode(&entry.value)?;
            let own = record.node == self.record.node;
            if own && (entry.lease != lease || record.incarnation != self.record.incarnation) {
                // Left by an earlier lease or run of this very process: it leads no more.
                let guards = vec![Guard::CreateRevision(key.clone(), entry.create_revision)];
                let changes = vec![Change::Delete(key)];
                self.etcd.transact(Transaction { guards, changes }).await?;
            }
            return Ok(());
        }
        self.record.since_ms = self.clock.wall_ms();
        let transaction = Transaction {
            guards: vec![Guard::Absent(key.clone())],
            changes: vec![Change::Put {
                key,
                value: encode(&self.record)?,
                lease,
            }],
        };
        match self.etcd.transact(transaction).await {
            Ok(_) | Err(Error::UnknownOutcome { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
