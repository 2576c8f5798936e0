//! One of several operators acts: the one that holds the Lease.
//!
//! The Lease lies in the operator's own namespace. What follows from it is decided in [`decision`];
//! here it is read and written, each write on the version that was read, so that of two that write
//! only one succeeds. The holder renews it in a task of its own, which no round delays.
//!
//! When the Lease is lost the work is told to stop and gets what is left of the time in which nobody
//! else may act; then the process is to end with an error and to start anew, with nothing that it
//! remembers. When the process is told to stop, the work ends first and the Lease is given up last,
//! so that the next holder need not wait.
//!
//! What it cannot do: a process that is frozen between its look at the clock and a request to the API
//! server sends that request when it wakes. So every delete names the object's UID, and every write says
//! what should be and not what to change.

mod decision;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};

use super::Error;
use super::instruments::{Instruments, Part};
use super::names::MANAGER;
use crate::fault::chain;
use crate::tasks::Tasks;

use decision::{Belief, Candidate, LEASE, Record, Step};

/// How long one request about the Lease may take: several fit into what a holder may believe.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two looks while the API server does not answer.
const AWAY_INTERVAL: Duration = Duration::from_secs(2);

/// Where the Lease lies and under which name this process holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidacy {
    /// The namespace of the Lease: the operator's own.
    pub namespace: String,
    /// The name of this process, which no other has: its pod's.
    pub name: String,
}

/// The Lease, for one process.
#[derive(Clone)]
pub(super) struct Leadership {
    leases: Api<Lease>,
    name: String,
    instruments: Instruments,
}

/// A Lease that this process holds.
struct Held {
    lease: Lease,
    belief: Belief,
}

/// A Lease that this process no longer holds, and how long its work may still take.
struct Lost {
    why: String,
    drain: Duration,
}

impl Lost {
    fn broke() -> Self {
        Self {
            why: "its task broke".to_owned(),
            drain: Duration::ZERO,
        }
    }
}

impl Leadership {
    pub(super) fn new(client: Client, candidacy: Candidacy, instruments: Instruments) -> Self {
        Self {
            leases: Api::namespaced(client, &candidacy.namespace),
            name: candidacy.name,
            instruments,
        }
    }

    /// Waits for the Lease, and does the work while it is held. The work ends soon after its tasks are
    /// told to stop; they are with `tasks`, and when the Lease is lost.
    ///
    /// # Errors
    /// [`Error::LeaseLost`].
    pub(super) async fn while_held<F: Future<Output = ()>>(
        &self,
        tasks: &Tasks,
        work: impl FnOnce(Tasks) -> F,
    ) -> Result<(), Error> {
        let won = tokio::select! {
            held = self.win() => held,
            () = tasks.stopping() => return Ok(()),
        };
        let (working, keeping) = (tasks.child(), Tasks::new());
        let keep = self.clone().keep(won, keeping.clone());
        let mut keep = keeping.spawn("lease", keep);
        self.instruments.set_part(Part::Leading);
        let mut work = Box::pin(work(working.clone()));
        let ended = tokio::select! {
            () = &mut work => None,
            ended = &mut keep => Some(ended),
        };
        let Some(ended) = ended else {
            keeping.stop();
            if let Ok(Ok(held)) = keep.await {
                self.give_up(held).await;
            }
            return Ok(());
        };
        self.instruments.set_part(Part::Starting);
        let Lost { why, drain } = ended.ok().and_then(Result::err).unwrap_or_else(Lost::broke);
        tracing::error!(why, "the lease is lost: ending");
        working.stop();
        if tokio::time::timeout(drain, work).await.is_err() {
            tracing::warn!("rounds are cut off: another may lead");
        }
        Err(Error::LeaseLost { why })
    }

    /// Waits until this process holds the Lease. Cancel-safe: what was written is seen again.
    async fn win(&self) -> Held {
        let mut candidate = Candidate::new(self.name.clone());
        let mut told = String::new();
        loop {
            let pause = match self.attempt(&mut candidate, &mut told).await {
                Ok(Ok(held)) => return held,
                Ok(Err(pause)) => pause,
                Err(error) => {
                    let error = chain(&error);
                    if told != error {
                        tracing::warn!(error, "the lease could not be looked at");
                        told = error;
                    }
                    AWAY_INTERVAL
                },
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// One look, and the write that follows from it; or how long to wait before the next.
    async fn attempt(
        &self,
        candidate: &mut Candidate,
        told: &mut String,
    ) -> Result<Result<Held, Duration>, Error> {
        let found = within(REQUEST_TIMEOUT, self.leases.get_opt(MANAGER)).await?;
        let now = self.instruments.clock().now();
        let record = found.as_ref().map(record);
        match candidate.step(record.as_ref(), now) {
            Step::Wait(pause) => {
                let holder = record.map(|record| record.holder).unwrap_or_default();
                if *told != holder {
                    tracing::info!(holder, "another operator leads: standing by");
                    self.instruments.set_part(Part::Standby);
                    *told = holder;
                }
                Ok(Err(pause))
            },
            Step::Take => match self.take(found).await {
                Ok(held) => {
                    tracing::info!(name = self.name, "holding the lease");
                    Ok(Ok(held))
                },
                // Another was quicker.
                Err(error) if error.is_conflict() => Ok(Err(Duration::ZERO)),
                Err(error) => Err(error),
            },
        }
    }

    async fn take(&self, found: Option<Lease>) -> Result<Held, Error> {
        let now = self.timestamp();
        let spec = found.as_ref().and_then(|lease| lease.spec.as_ref());
        let transitions = spec.and_then(|spec| spec.lease_transitions);
        let mut lease = found.clone().unwrap_or_default();
        lease.metadata.name = Some(MANAGER.to_owned());
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.name.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(transitions.map_or(0, |before| before.saturating_add(1))),
            ..LeaseSpec::default()
        });
        let sent = self.instruments.clock().now();
        let parameters = PostParams::default();
        let lease = if found.is_some() {
            within(
                REQUEST_TIMEOUT,
                self.leases.replace(MANAGER, &parameters, &lease),
            )
            .await?
        } else {
            within(REQUEST_TIMEOUT, self.leases.create(&parameters, &lease)).await?
        };
        Ok(Held {
            lease,
            belief: Belief::sent(sent),
        })
    }

    /// Renews the Lease until the tasks are told to stop, or until it is lost.
    async fn keep(self, mut held: Held, tasks: Tasks) -> Result<Held, Lost> {
        let mut renewed = true;
        loop {
            let now = self.instruments.clock().now();
            tokio::select! {
                () = tokio::time::sleep(held.belief.pause(renewed, now)) => {},
                () = tasks.stopping() => return Ok(held),
            }
            let now = self.instruments.clock().now();
            let left = held.belief.left(now);
            if left.is_zero() {
                return Err(Lost {
                    why: "it could not be renewed in time".to_owned(),
                    drain: held.belief.drain(now),
                });
            }
            match self.renew(&mut held, left.min(REQUEST_TIMEOUT)).await {
                Ok(()) => renewed = true,
                Err(Error::LeaseLost { why }) => {
                    let drain = Duration::ZERO;
                    return Err(Lost { why, drain });
                },
                Err(error) => {
                    if renewed {
                        tracing::warn!(error = chain(&error), "the lease is not renewed");
                    }
                    renewed = false;
                },
            }
        }
    }

    /// Writes the Lease again. After a conflict its newer version is taken, if it is still ours: a
    /// renewal whose answer was lost, or somebody's label.
    async fn renew(&self, held: &mut Held, limit: Duration) -> Result<(), Error> {
        let mut lease = held.lease.clone();
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = self.timestamp();
        }
        let sent = self.instruments.clock().now();
        let parameters = PostParams::default();
        match within(limit, self.leases.replace(MANAGER, &parameters, &lease)).await {
            Ok(lease) => {
                held.lease = lease;
                held.belief = Belief::sent(sent);
                Ok(())
            },
            Err(error) if error.is_conflict() => {
                let found = within(limit, self.leases.get_opt(MANAGER)).await?;
                let holder = found.as_ref().map(|lease| record(lease).holder);
                match found {
                    Some(lease) if holder.as_ref() == Some(&self.name) => held.lease = lease,
                    Some(_) | None => {
                        let holder = holder.unwrap_or_default();
                        let why = format!("{holder:?} holds it");
                        return Err(Error::LeaseLost { why });
                    },
                }
                Err(error)
            },
            Err(error) if error.is_not_found() => Err(Error::LeaseLost {
                why: "somebody deleted it".to_owned(),
            }),
            Err(error) => Err(error),
        }
    }

    /// Leaves the Lease to whoever looks next.
    async fn give_up(&self, held: Held) {
        self.instruments.set_part(Part::Standby);
        let mut lease = held.lease;
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = self.timestamp();
        }
        let parameters = PostParams::default();
        let replaced = self.leases.replace(MANAGER, &parameters, &lease);
        match within(REQUEST_TIMEOUT, replaced).await {
            Ok(_lease) => tracing::info!("the lease is given up"),
            Err(error) => tracing::warn!(error = chain(&error), "the lease is left to its end"),
        }
    }

    /// For people who read the Lease; nothing is decided by it.
    fn timestamp(&self) -> Option<MicroTime> {
        let milliseconds = i64::try_from(self.instruments.clock().wall_ms()).ok()?;
        Timestamp::from_millisecond(milliseconds)
            .ok()
            .map(MicroTime)
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let holder = spec.and_then(|spec| spec.holder_identity.clone());
    Record {
        holder: holder.unwrap_or_default(),
        duration: seconds.map_or(LEASE, Duration::from_secs),
        version: lease.resource_version().unwrap_or_default(),
    }
}

/// A request within a deadline of its own, which is shorter than that of others.
async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, request).await {
        Ok(answered) => Ok(answered?),
        Err(_elapsed) => Err(Error::Deadline(limit)),
    }
}
