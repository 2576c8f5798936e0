//! The leader of the masters, on plain keys: etcd's own election service hands out leaderships that
//! do not exist.
//!
//! Whoever makes `lead/master`, on its session's lease, leads; the key's create revision is the term,
//! so terms grow and no two are alike. [`term_guard`] goes into every control write: what a leader
//! writes after its term is refused by etcd, whatever the leader believes. That guard is the safety;
//! everything else here only makes beliefs few and short-lived:
//!
//! * a candidate believes that it leads only after it has read the key back and found itself and its
//!   own lease there, so an answer that was lost, or a lease that died meanwhile, makes no leader;
//! * the belief ends the moment the session turns suspect, which is before etcd could give the lead
//!   to another, and no call that hangs can delay it;
//! * [`Election::term`] asks the clock too, so a machine that slept does not wake up a leader.
//!
//! A watch tells of changes at once; a read at the pace of keepalives finds what a watch might miss.
//! Every candidate tries when the key vanishes: with the few masters of a cluster that costs a
//! refused write each. Ranks, strategies and the transfer to a named master have their place between
//! "the key vanished" and "try", and are not built yet.
//!
//! A process that comes back finds the key of its former life, on a lease that nobody renews; it
//! deletes that key in place of waiting, which is safe because a data folder has one owner.

mod decide;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::coordination::etcd::{Entry, Etcd, Guard, LeaseId, Notice, Transaction, Watch};
use crate::coordination::records::{self, LeadRecord};
use crate::coordination::session::Session;
use crate::coordination::{Error, Keys};
use crate::fault;
use crate::ids::{Revision, Term};
use crate::resilience::Backoff;
use crate::tasks::Tasks;

use decide::{Step, decide};

/// Between rounds that fail.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));

/// How long who resigned lets others go first.
const RESIGN_PAUSE: Duration = Duration::from_secs(2);

/// Tries of deleting the own key while resigning; after that the lease ends it.
const RESIGN_ROUNDS: u32 = 3;

/// Who leads, as this candidate sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// This process.
    Leader {
        /// For [`term_guard`].
        term: Term,
    },
    /// Not this process.
    Follower {
        /// Who does, and in which term, if anybody.
        leader: Option<(LeadRecord, Term)>,
    },
    /// Nothing is certain: not started yet, or the session is not connected.
    Unknown,
}

/// What every control write of the leader of that term carries.
pub fn term_guard(keys: &Keys, term: Term) -> Guard {
    Guard::CreateRevision(keys.lead_master(), Revision(term.0))
}

/// Whether the candidate may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Will {
    /// It may.
    Stand,
    /// It is giving its leadership up.
    Resigning,
    /// It gave it up a moment ago.
    Pausing,
}

/// A candidate. Cheap to clone; clones are the same candidate.
#[derive(Debug, Clone)]
pub struct Election {
    candidate: Arc<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    etcd: Etcd,
    session: Session,
    record: LeadRecord,
    lead_key: String,
    candidate_key: String,
    leadership: watch::Sender<Leadership>,
    will: watch::Sender<Will>,
}

impl Election {
    /// Starts to stand for the lead, for as long as the tasks run. Returns at once.
    pub fn start(
        etcd: &Etcd,
        keys: &Keys,
        session: &Session,
        record: LeadRecord,
        tasks: &Tasks,
    ) -> Self {
        let candidate = Arc::new(Candidate {
            etcd: etcd.clone(),
            session: session.clone(),
            lead_key: keys.lead_master(),
            candidate_key: keys.candidate_master(record.node),
            record,
            leadership: watch::Sender::new(Leadership::Unknown),
            will: watch::Sender::new(Will::Stand),
        });
        let running = Arc::clone(&candidate);
        let stopping = tasks.stopping();
        tasks.spawn("election", async move {
            tokio::select! {
                biased;
                () = stopping => {},
                () = running.run() => {},
            }
            running.publish(Leadership::Unknown);
        });
        Self { candidate }
    }

    /// Who leads, and every change of it.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.candidate.leadership.subscribe()
    }

    /// The term in which this process leads at this moment, by its clock and all it knows.
    pub fn term(&self) -> Option<Term> {
        let Leadership::Leader { term } = *self.candidate.leadership.borrow() else {
            return None;
        };
        self.candidate.session.is_live().then_some(term)
    }

    /// Gives the lead up, if this process has it: it no longer leads before the key is deleted, and
    /// lets others go first for two seconds.
    ///
    /// # Errors
    /// As [`Etcd::transact`]: the key then goes with its lease, or this process leads on.
    pub async fn resign(&self) -> Result<(), Error> {
        let candidate = &*self.candidate;
        let Leadership::Leader { term } = *candidate.leadership.borrow() else {
            return Ok(());
        };
        let _pause = Pause::of(&candidate.will);
        let mut leadership = candidate.leadership.subscribe();
        let gone = leadership.wait_for(|now| !matches!(now, Leadership::Leader { .. }));
        gone.await.map_err(|_closed| Error::Closed)?;
        candidate.delete(Revision(term.0)).await
    }
}

/// A candidate that stands aside until this is dropped, and for a pause after it.
struct Pause<'a>(&'a watch::Sender<Will>);

impl<'a> Pause<'a> {
    fn of(will: &'a watch::Sender<Will>) -> Self {
        will.send_replace(Will::Resigning);
        Self(will)
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.0.send_replace(Will::Pausing);
    }
}

impl Candidate {
    async fn run(&self) {
        let mut standing = self.session.subscribe();
        let mut will = self.will.subscribe();
        let mut failures = 0;
        loop {
            let now = *standing.borrow_and_update();
            let willing = *will.borrow_and_update();
            // What was believed of an earlier lease, or before standing aside, is over.
            let (Some(lease), Will::Stand) = (now.held(), willing) else {
                self.publish(Leadership::Unknown);
                let pause = tokio::time::sleep(RESIGN_PAUSE);
                tokio::select! {
                    changed = standing.changed() => if changed.is_err() { return },
                    changed = will.changed() => if changed.is_err() { return },
                    () = pause, if willing == Will::Pausing => {
                        self.will.send_replace(Will::Stand);
                    },
                }
                continue;
            };
            let failed = tokio::select! {
                // First, so that no answer of etcd is looked at once the session is suspect.
                biased;
                _changed = standing.wait_for(|then| *then != now) => None,
                _changed = will.wait_for(|then| *then != Will::Stand) => None,
                failed = self.campaign(lease, &mut failures) => failed.err(),
            };
            if let Some(error) = failed {
                self.note_failure(&error, failures);
                let delay = self.etcd.delay(BACKOFF, failures);
                failures = failures.saturating_add(1);
                tokio::select! {
                    biased;
                    _changed = standing.wait_for(|then| *then != now) => {},
                    () = tokio::time::sleep(delay) => {},
                }
            }
        }
    }

    /// Stands, leads or follows on one lease until something fails. Dropping it at any await is safe:
    /// whatever it had under way is read back by the next one.
    async fn campaign(&self, lease: LeaseId, failures: &mut u32) -> Result<Infallible, Error> {
        let mine = self.encode(&self.record)?;
        self.etcd.hold(&self.candidate_key, &mine, lease).await?;
        let mut watch = None;
        loop {
            let reading = self.etcd.read(&self.lead_key).await?;
            *failures = 0;
            match decide(self.record.node, lease, reading.entry.as_ref()) {
                Step::Lead(term) => self.publish(Leadership::Leader { term }),
                Step::Follow(leader) => self.publish(Leadership::Follower { leader }),
                Step::Clear(revision) => {
                    self.delete(revision).await?;
                    continue;
                },
                Step::Stand => {
                    self.publish(Leadership::Follower { leader: None });
                    self.stand(lease).await?;
                    continue;
                },
            }
            self.wait_for_change(&mut watch, reading.revision).await;
        }
    }

    /// Tries to make the key. Whether it was made, the next reading tells.
    async fn stand(&self, lease: LeaseId) -> Result<(), Error> {
        let record = LeadRecord {
            since_ms: self.session.clock().wall_ms(),
            ..self.record.clone()
        };
        let attempt = Transaction::new()
            .guard(Guard::Absent(self.lead_key.clone()))
            .put_leased(self.lead_key.as_str(), self.encode(&record)?, lease);
        match self.etcd.transact(&attempt).await {
            Ok(_) | Err(Error::UnknownOutcome { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes the key, if it is still the one that was made at that revision.
    async fn delete(&self, made: Revision) -> Result<(), Error> {
        let attempt = Transaction::new()
            .guard(Guard::CreateRevision(self.lead_key.clone(), made))
            .delete(self.lead_key.as_str());
        let mut last = Ok(());
        for _round in 0..RESIGN_ROUNDS {
            // Deleting this very key twice is deleting it once, so a lost answer is asked for again.
            last = match self.etcd.transact(&attempt).await {
                Ok(_) => return Ok(()),
                Err(error @ Error::UnknownOutcome { .. }) => Err(error),
                Err(error) => return Err(error),
            };
        }
        last
    }

    /// Waits until the key may have changed since that revision, or it is time to look again.
    async fn wait_for_change(&self, watch: &mut Option<Watch>, since: Revision) {
        let pace = tokio::time::sleep(self.session.pace());
        tokio::pin!(pace);
        let told = async {
            let from = Revision(since.0.saturating_add(1));
            let mut following = match watch.take() {
                Some(following) => following,
                None => self.etcd.watch(&self.lead_key, from).await?,
            };
            while let Notice::Progress(_) = following.next().await? {}
            *watch = Some(following);
            Ok::<(), Error>(())
        };
        tokio::select! {
            told = told => if let Err(error) = told {
                // The next reading finds what the watch did not tell; at its pace, as the member
                // that was watched may be the one that is gone.
                let error = fault::chain(&error);
                tracing::debug!(error, "watch of the election ended");
                let soon = self.etcd.delay(BACKOFF, 0);
                tokio::time::sleep(soon).await;
            },
            () = &mut pace => {},
        }
    }

    fn publish(&self, leadership: Leadership) {
        self.leadership.send_if_modified(|known| {
            let news = *known != leadership;
            if news {
                tracing::info!(from = ?known, to = ?leadership, "leadership of the masters");
                *known = leadership;
            }
            news
        });
    }

    fn encode(&self, record: &LeadRecord) -> Result<Vec<u8>, Error> {
        records::encode(record).map_err(|source| Error::Record {
            key: self.candidate_key.clone(),
            source,
        })
    }

    fn note_failure(&self, error: &Error, failures: u32) {
        if matches!(error, Error::LeaseLost) {
            // etcd is certain; the session will be told the same at its next keepalive.
            self.publish(Leadership::Unknown);
        }
        let error = fault::chain(error);
        if failures == 0 {
            tracing::warn!(error, "election does not reach etcd");
        } else {
            tracing::debug!(error, "election still does not reach etcd");
        }
    }
}

impl Leadership {
    /// What a key of the election says of its leader, for who only reads it.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn of_entry(entry: &Entry) -> Result<(LeadRecord, Term), Error> {
        let record = records::decode(&entry.value).map_err(|source| Error::Record {
            key: entry.key.clone(),
            source,
        })?;
        Ok((record, Term(entry.create_revision.0)))
    }
}
