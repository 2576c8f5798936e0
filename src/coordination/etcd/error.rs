//! What can go wrong with etcd, and which of it can be tried again.

use tonic::Code;
use uuid::Uuid;

use crate::fault::{Fault, Kind};

/// Why etcd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No endpoint is configured.
    #[error("no etcd endpoint is given")]
    NoEndpoint,
    /// No endpoint answered; nothing was sent.
    #[error("etcd is not there for {what}")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// How it failed.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// No answer to a read in time.
    #[error("etcd gave no answer to {what} in time")]
    Timeout {
        /// What was tried.
        what: &'static str,
    },
    /// A change was sent and its answer lost.
    #[error("whether etcd did {what} is not known")]
    UnknownOutcome {
        /// What was tried.
        what: &'static str,
    },
    /// Etcd refused.
    #[error("etcd refused {what}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// Its words.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// The lease is gone.
    #[error("the lease is gone")]
    LeaseGone,
    /// The history that a watch wanted is compacted.
    #[error("etcd has compacted the history up to revision {0}")]
    Compacted(i64),
    /// The watch ended and said why.
    #[error("the watch was ended: {0}")]
    WatchEnded(String),
    /// A stored value is not what it should be.
    #[error("read or write a record")]
    Record(#[source] serde_json::Error),
    /// A record that would be too large.
    #[error("a record of {bytes} bytes is too large")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Another cluster uses the prefix.
    #[error("the prefix belongs to cluster {found}, not to {ours}")]
    PrefixInUse {
        /// Who uses it.
        found: Uuid,
        /// Who wanted it.
        ours: Uuid,
    },
    /// The mirror has not read that far yet.
    #[error("etcd's revision {wanted} was not reached in time; {reached} was")]
    NotReached {
        /// What was waited for.
        wanted: i64,
        /// What is there.
        reached: i64,
    },
    /// The process stops.
    #[error("the process is stopping")]
    Stopping,
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Unavailable { .. }
            | Self::WatchEnded(_)
            | Self::NotReached { .. }
            | Self::Stopping => Kind::Unavailable,
            Self::Timeout { .. } => Kind::Timeout,
            Self::UnknownOutcome { .. } => Kind::UnknownOutcome,
            Self::LeaseGone | Self::Compacted(_) | Self::PrefixInUse { .. } => Kind::Conflict,
            Self::Record(_) => Kind::Corrupt,
            Self::RecordTooLarge { .. } => Kind::InvalidInput,
            Self::NoEndpoint | Self::Refused { .. } => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "etcd.no_endpoint",
            Self::Unavailable { .. } => "etcd.unavailable",
            Self::Timeout { .. } => "etcd.timeout",
            Self::UnknownOutcome { .. } => "etcd.unknown_outcome",
            Self::Refused { .. } => "etcd.refused",
            Self::LeaseGone => "etcd.lease_gone",
            Self::Compacted(_) => "etcd.compacted",
            Self::WatchEnded(_) => "etcd.watch_ended",
            Self::Record(_) => "etcd.record",
            Self::RecordTooLarge { .. } => "etcd.record_too_large",
            Self::PrefixInUse { .. } => "etcd.prefix_in_use",
            Self::NotReached { .. } => "etcd.not_reached",
            Self::Stopping => "etcd.stopping",
        }
    }
}

/// Gives a failed call its class. `changes`: whether it may have changed something.
pub(super) fn classify(what: &'static str, changes: bool, error: etcd_client::Error) -> Error {
    let lost = if changes {
        Error::UnknownOutcome { what }
    } else {
        Error::Timeout { what }
    };
    match &error {
        etcd_client::Error::GRpcStatus(status) => {
            let text = crate::fault::chain(status);
            if text.contains("requested lease not found") {
                return Error::LeaseGone;
            }
            let unsent = text.contains("tcp connect error")
                || text.contains("Connection refused")
                || text.contains("no leader");
            match status.code() {
                Code::Unavailable if unsent || !changes => Error::Unavailable {
                    what,
                    source: Box::new(error),
                },
                Code::Unknown | Code::Cancelled if !changes => Error::Unavailable {
                    what,
                    source: Box::new(error),
                },
                Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => {
                    lost
                },
                _ => Error::Refused {
                    what,
                    source: Box::new(error),
                },
            }
        },
        etcd_client::Error::TransportError(_) => Error::Unavailable {
            what,
            source: Box::new(error),
        },
        etcd_client::Error::LeaseKeepAliveError(_) => Error::LeaseGone,
        etcd_client::Error::WatchError(text) => Error::WatchEnded(text.clone()),
        _ => Error::Refused {
            what,
            source: Box::new(error),
        },
    }
}
