//! What the processes of a cluster agree on, kept in etcd.
//!
//! ```text
//! keys, records     what is stored, and under which key
//! etcd              one cluster of etcd members: failover, deadlines, retries, error classes
//! session           one lease for the whole process, with a deadline of its own
//! mirror            a prefix held in memory that cannot go stale without saying so
//! registry          the process's entry, on its session; whose prefix this is
//! election          the leader master, and the term that every control write carries
//! ```
//!
//! Why so: etcd's own lock and election services hand out leaderships that do not exist, so elections
//! stand here on keys, leases and watches alone. All that a process has in etcd hangs on its one
//! session lease, so its death is one event at one revision. A belief is never enough to write: every
//! control write compares the leader's create revision, so that whoever lost the lead without
//! noticing is refused by etcd itself.
//!
//! When etcd is away, mirrors serve what they last saw and know how old it is, sessions turn suspect
//! before etcd could give their keys to others, and everything resumes by itself.
//!
//! It is not: a place for points, loads or latencies (nothing that changes by itself more than once
//! a minute is stored). Configuration with releases, locks, quarantine by observers, transfer of the
//! lead to a named candidate and ranks of candidates have their keys planned and are not built yet;
//! they stand on the same session, mirror and guards. A lease's length is fixed for now: the swap to
//! another lease, which keeps keys and their create revisions, belongs to the session when it comes.

pub mod election;
pub mod etcd;
pub mod keys;
pub mod mirror;
pub mod records;
pub mod registry;
pub mod session;

use std::time::Duration;

use uuid::Uuid;

use crate::fault::{Fault, Kind};

pub use election::{Election, Leadership};
pub use etcd::{Change, Entry, Etcd, Guard, LeaseId, Listing, Outcome, Transaction};
pub use keys::Keys;
pub use mirror::{Mirror, View};
pub use registry::Registration;
pub use session::{Phase, Session, Standing};

/// How long a process's lease lives without a word from it: short enough for a takeover within 6 s,
/// long enough for three keepalives.
pub const SESSION_TTL: Duration = Duration::from_secs(5);

/// An error of etcd's client, or a word about what happened in place of an answer.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong between this process and etcd.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of etcd is not one.
    #[error("{endpoint:?} is not an address of etcd")]
    Endpoint {
        /// The address as given.
        endpoint: String,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// Nobody answered; nothing was changed.
    #[error("etcd does not answer ({what})")]
    Unreachable {
        /// What was tried.
        what: &'static str,
        /// The last failure.
        #[source]
        source: Cause,
    },
    /// A write was sent and its answer lost: read back before going on.
    #[error("it is not known whether etcd applied a write ({what})")]
    UnknownOutcome {
        /// What was tried.
        what: &'static str,
        /// What came in place of the answer.
        #[source]
        source: Cause,
    },
    /// etcd answered no; trying again is no use.
    #[error("etcd refused ({what})")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What kind of no.
        kind: Kind,
        /// Its words.
        #[source]
        source: Cause,
    },
    /// The lease has expired or was revoked, and all its keys are gone.
    #[error("the lease no longer exists")]
    LeaseLost,
    /// History was asked for that etcd no longer has.
    #[error("the history after the wanted revision was compacted")]
    Compacted,
    /// A watch ended; what is known may be stale.
    #[error("a watch ended: {reason}")]
    WatchEnded {
        /// Why.
        reason: String,
    },
    /// etcd showed an older state, or another cluster, than before: restored, wiped or swapped.
    #[error("etcd went back: {reason}")]
    WentBack {
        /// From what to what.
        reason: String,
    },
    /// A transaction, a key range or a value above its bound.
    #[error("{what} above the bound of {bound}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
    /// A value that is not what it should be.
    #[error("record under {key:?} cannot be used")]
    Record {
        /// Its key.
        key: String,
        /// Why not.
        #[source]
        source: records::Error,
    },
    /// The prefix belongs to another cluster.
    #[error("the prefix {root:?} is in use by cluster {theirs}, this is cluster {ours}")]
    PrefixInUse {
        /// The prefix.
        root: String,
        /// Who this is.
        ours: Uuid,
        /// Whose it is.
        theirs: Uuid,
    },
    /// The prefix was written by a newer program that old ones must not read.
    #[error("the prefix {root:?} needs a reader of version {needed}")]
    ReaderTooOld {
        /// The prefix.
        root: String,
        /// What it needs.
        needed: u64,
    },
    /// The caller's deadline passed first.
    #[error("deadline passed while waiting for {what}")]
    DeadlinePassed {
        /// What did not come.
        what: &'static str,
    },
    /// This process is stopping.
    #[error("coordination is closed")]
    Closed,
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } | Self::WatchEnded { .. } | Self::Closed => Kind::Unavailable,
            Self::UnknownOutcome { .. } => Kind::UnknownOutcome,
            Self::Refused { kind, .. } => *kind,
            Self::LeaseLost
            | Self::Compacted
            | Self::PrefixInUse { .. }
            | Self::ReaderTooOld { .. } => Kind::Conflict,
            Self::WentBack { .. } => Kind::Corrupt,
            Self::Endpoint { .. } | Self::TooLarge { .. } => Kind::InvalidInput,
            Self::Record { source, .. } => source.kind(),
            Self::DeadlinePassed { .. } => Kind::Timeout,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => "coordination.endpoint",
            Self::Unreachable { .. } => "coordination.unreachable",
            Self::UnknownOutcome { .. } => "coordination.unknown_outcome",
            Self::Refused { .. } => "coordination.refused",
            Self::LeaseLost => "coordination.lease_lost",
            Self::Compacted => "coordination.compacted",
            Self::WatchEnded { .. } => "coordination.watch_ended",
            Self::WentBack { .. } => "coordination.went_back",
            Self::TooLarge { .. } => "coordination.too_large",
            Self::Record { source, .. } => source.code(),
            Self::PrefixInUse { .. } => "coordination.prefix_in_use",
            Self::ReaderTooOld { .. } => "coordination.reader_too_old",
            Self::DeadlinePassed { .. } => "coordination.deadline_passed",
            Self::Closed => "coordination.closed",
        }
    }
}
