//! Which master leads.
//!
//! The leader holds `lead/master`, made on its session's lease by a transaction that wants the key
//! absent. The key's create revision is the term, so terms grow and no two are alike; every control
//! write carries [`term_guard`], so that whoever merely believes to lead writes nothing. That guard is
//! the safety. What else is here makes beliefs few and short:
//!
//! * a candidate leads only once it has read its own key back, on its own lease, so that an answer
//!   that was lost, or a lease that died meanwhile, makes no leader;
//! * it stops as soon as its session is no longer certain, which is before etcd can give the key to
//!   another, and no call that hangs delays that;
//! * [`Election::term`] asks the clock too, so that a machine that slept does not wake up a leader;
//! * who resigns stops first and deletes the key then.
//!
//! Candidates stand under `cand/master/` and wait for the key to vanish; the transaction decides
//! between them. With the few masters of a cluster that costs a refused write each. Ranks, strategies
//! and the transfer to a named master have their place before "try" and are not built yet.
//!
//! A process that comes back finds the key of its former life, on a lease that nobody renews; it
//! deletes that key in place of waiting, which is safe because a data folder has one owner.

mod decide;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::mirror::Mirror;
use super::records::{LeadRecord, decode, encode};
use super::session::{Session, Standing};
use super::{Change, Error, Etcd, Guard, Keys, Transaction, keys};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::ids::{Revision, Term};
use crate::resilience::backoff::Backoff;
use crate::tasks::Tasks;

use decide::{Seen, Will};

const RETRY_FIRST: Duration = Duration::from_millis(25);
const RETRY_MOST: Duration = Duration::from_secs(1);

/// How long the mirror has to show a key that was just made.
const SHOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// How long who resigned lets others go first.
const RESIGN_PAUSE: Duration = Duration::from_secs(2);

/// Tries of deleting the own key while resigning; after that the lease ends it.
const RESIGN_TRIES: u32 = 3;

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
    /// Nothing is certain: nothing was read yet, its own session is not certain, or it is resigning.
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
    session: Session,
    leadership: watch::Receiver<Leadership>,
    will: Arc<watch::Sender<Will>>,
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
        let will = Arc::new(watch::Sender::new(Will::Stand));
        let name = record.name.clone();
        let candidate = Candidate {
            etcd: etcd.clone(),
            keys: keys.clone(),
            record,
            leaders,
            clock,
            entropy,
            leadership: sender,
            will: Arc::clone(&will),
            announced: 0,
            tasks: tasks.clone(),
        };
        tasks.spawn("election", candidate.run(session.standing()));
        Self {
            etcd,
            keys,
            name,
            session: session.clone(),
            leadership,
            will,
        }
    }

    /// Who leads, and news of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// The term in which this master leads at this moment, by its clock and all it knows.
    pub fn term(&self) -> Option<Term> {
        let Leadership::Leader { term } = *self.leadership.borrow() else {
            return None;
        };
        self.session.is_live().then_some(term)
    }

    /// The name of this candidate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the leadership up, and lets others go first for two seconds. Nothing happens when this
    /// master does not lead.
    ///
    /// # Errors
    /// When etcd does not answer; the key then goes with the lease, or this master leads on.
    pub async fn resign(&self) -> Result<(), Error> {
        let Leadership::Leader { term } = *self.leadership.borrow() else {
            return Ok(());
        };
        let _aside = Aside::step(&self.will);
        let mut leadership = self.leadership.clone();
        let stopped = leadership.wait_for(|now| !matches!(now, Leadership::Leader { .. }));
        stopped.await.map_err(|_closed| Error::Stopping)?;
        let resign = Transaction {
            guards: vec![term_guard(&self.keys, term)],
            changes: vec![Change::Delete(self.keys.lead_master())],
        };
        let mut tries = 1;
        loop {
            // To delete the key of this very term twice is to delete it once.
            match self.etcd.transact(resign.clone()).await {
                Ok(_outcome) => return Ok(()),
                Err(Error::UnknownOutcome { .. }) if tries < RESIGN_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Keeps a candidate aside until this is dropped, and for a pause after that.
struct Aside<'a>(&'a watch::Sender<Will>);

impl<'a> Aside<'a> {
    fn step(will: &'a watch::Sender<Will>) -> Self {
        will.send_replace(Will::Resigning);
        Self(will)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Will::Pausing);
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
    will: Arc<watch::Sender<Will>>,
    /// The generation of the session that the candidacy was written on.
    announced: u64,
    tasks: Tasks,
}

impl Candidate {
    async fn run(mut self, mut session: watch::Receiver<Standing>) {
        let mut changes = self.leaders.changes();
        let mut will = self.will.subscribe();
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
        while !self.tasks.is_stopping() {
            changes.borrow_and_update();
            let standing = *session.borrow_and_update();
            let willing = *will.borrow_and_update();
            self.show(self.decide(standing, willing));
            let due = self.is_due(standing, willing);
            let pausing = willing == Will::Pausing;
            let stopping = self.tasks.stopping();
            let work = async {
                if due {
                    self.advance(standing).await
                } else {
                    std::future::pending().await
                }
            };
            tokio::select! {
                // First, so that nothing that etcd says is looked at once the session is not certain.
                biased;
                () = stopping => {},
                changed = session.changed() => if changed.is_err() { break },
                changed = will.changed() => if changed.is_err() { break },
                changed = changes.changed() => if changed.is_err() { break },
                advanced = work => {
                    self.note(advanced, standing, &mut changes, &mut backoff).await;
                },
                () = tokio::time::sleep(RESIGN_PAUSE), if pausing => {
                    self.will.send_replace(Will::Stand);
                },
            }
        }
        self.show(Leadership::Unknown);
    }

    /// The leader that the mirror shows.
    fn seen(&self) -> Option<Seen> {
        let view = self.leaders.view();
        let held = view.get(keys::LEAD_MASTER_SUFFIX)?;
        Some(Seen {
            record: LeadRecord::clone(&held.value),
            term: Term(held.create_revision.0),
            lease: held.lease,
        })
    }

    fn decide(&self, standing: Standing, will: Will) -> Leadership {
        if self.leaders.revision().0 == 0 {
            return Leadership::Unknown;
        }
        decide::leadership(&self.record, standing, will, self.seen())
    }

    /// Whether there is something to write: the candidacy, or the key of the leader.
    fn is_due(&self, standing: Standing, will: Will) -> bool {
        let Some(lease) = standing.held() else {
            return false;
        };
        let vacant = self.leaders.revision().0 > 0
            && decide::is_vacant(&self.record, lease, self.seen().as_ref());
        self.announced != standing.generation || (vacant && will == Will::Stand)
    }

    /// Announces the candidacy on a new lease, or else tries to make the key. May be dropped at any
    /// await: what it had under way is read back by the next one.
    async fn advance(&self, standing: Standing) -> Result<(), Error> {
        if self.announced != standing.generation {
            let key = self.keys.candidate(self.record.node);
            let value = encode(&self.record)?;
            return self.etcd.hold(&key, &value, standing.lease).await;
        }
        self.stand(standing.lease).await
    }

    /// What came of an advance; then the mirror has a moment to show it. Nobody who leads waits here.
    async fn note(
        &mut self,
        done: Result<(), Error>,
        on: Standing,
        changes: &mut watch::Receiver<Revision>,
        backoff: &mut Backoff,
    ) {
        match done {
            Ok(()) if self.announced != on.generation => self.announced = on.generation,
            Ok(()) => {
                // Shown or not: the next round looks.
                let _shown = tokio::time::timeout(SHOWN_TIMEOUT, changes.changed()).await;
            },
            Err(error) => {
                tracing::warn!(error = chain(&error), "standing for election waits");
                tokio::time::sleep(backoff.next(&self.entropy)).await;
                return;
            },
        }
        *backoff = Backoff::new(RETRY_FIRST, RETRY_MOST);
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
                Leadership::Unknown if self.tasks.is_stopping() => {
                    tracing::debug!("this master stops, and asks no more who leads");
                },
                Leadership::Unknown => tracing::warn!("this master does not know who leads"),
            }
            *known = next;
            true
        });
    }

    /// Tries to make the key.
    async fn stand(&self, lease: i64) -> Result<(), Error> {
        let key = self.keys.lead_master();
        if let Some(entry) = self.etcd.get(&key).await? {
            let seen = Seen {
                record: decode(&entry.value)?,
                term: Term(entry.create_revision.0),
                lease: entry.lease,
            };
            if decide::is_vacant(&self.record, lease, Some(&seen)) {
                // Left by an earlier lease or run of this very process: it leads no more.
                let guards = vec![term_guard(&self.keys, seen.term)];
                let changes = vec![Change::Delete(key)];
                self.etcd.transact(Transaction { guards, changes }).await?;
            }
            return Ok(());
        }
        let record = LeadRecord {
            since_ms: self.clock.wall_ms(),
            ..self.record.clone()
        };
        let transaction = Transaction {
            guards: vec![Guard::Absent(key.clone())],
            changes: vec![Change::Put {
                key,
                value: encode(&record)?,
                lease,
            }],
        };
        match self.etcd.transact(transaction).await {
            Ok(_) | Err(Error::UnknownOutcome { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
