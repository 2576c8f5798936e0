//! What can go wrong with etcd, and what a failed call says about what happened.
//!
//! Three fates decide whether a call is tried again: etcd refused (it is no use), the request was
//! surely not carried out (it is safe), or nothing is known. A code alone does not tell:
//! `Unavailable` is both a refused connection, where nothing was sent, and a leader that was lost with
//! the change in its log. Doubt is always "not known".

use tonic::{Code, ConnectError, Status};
use uuid::Uuid;

use crate::fault::{Fault, Kind};

/// Why etcd did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No endpoint is configured.
    #[error("no etcd endpoint is given")]
    NoEndpoint,
    /// What is given as an endpoint is no address.
    #[error("{endpoint:?} is no address of etcd")]
    Endpoint {
        /// The endpoint as it was given.
        endpoint: String,
        /// Why not.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// No endpoint carried it out, and none will.
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
    /// Etcd refused, for a reason that stays.
    #[error("etcd refused {what}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// Whether a bound of etcd was reached, or something is wrong with us.
        kind: Kind,
        /// Its words.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// Etcd does not let the user in by whom the process logs in.
    #[error("etcd refuses user {user:?} by this password")]
    LoginRefused {
        /// The user.
        user: String,
        /// Its words.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// The lease is gone.
    #[error("the lease is gone")]
    LeaseGone,
    /// The history that a watch wanted is compacted.
    #[error("etcd has compacted the history that was wanted")]
    Compacted,
    /// The watch ended and said why.
    #[error("the watch was ended: {0}")]
    WatchEnded(String),
    /// A stored value is not what it should be.
    #[error("read or write a record")]
    Record(#[source] serde_json::Error),
    /// A record that this program must not read.
    #[error("a record has version {version}, newer than this program knows")]
    RecordNewer {
        /// Its version.
        version: u64,
    },
    /// More than a transaction, a list or a watch may hold.
    #[error("{what} above the bound of {bound}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        bound: usize,
    },
    /// Etcd shows an older state, or another cluster, than it did: restored, wiped or swapped.
    #[error("etcd went back: {0}")]
    WentBack(String),
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

impl Error {
    /// Whether the endpoint did not answer, so that another may.
    pub(super) fn is_no_answer(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::UnknownOutcome { .. }
                | Self::WatchEnded(_)
        )
    }
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
            Self::LeaseGone | Self::Compacted | Self::PrefixInUse { .. } => Kind::Conflict,
            Self::Record(_) | Self::WentBack(_) => Kind::Corrupt,
            Self::RecordNewer { .. } => Kind::Unimplemented,
            Self::RecordTooLarge { .. } | Self::TooMany { .. } | Self::Endpoint { .. } => {
                Kind::InvalidInput
            },
            Self::NoEndpoint | Self::LoginRefused { .. } => Kind::Internal,
            Self::Refused { kind, .. } => *kind,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "etcd.no_endpoint",
            Self::Unavailable { .. } => "etcd.unavailable",
            Self::Timeout { .. } => "etcd.timeout",
            Self::UnknownOutcome { .. } => "etcd.unknown_outcome",
            Self::Refused { .. } => "etcd.refused",
            Self::LoginRefused { .. } => "etcd.login_refused",
            Self::LeaseGone => "etcd.lease_gone",
            Self::Compacted => "etcd.compacted",
            Self::Endpoint { .. } => "etcd.endpoint",
            Self::RecordNewer { .. } => "etcd.record_newer",
            Self::TooMany { .. } => "etcd.too_many",
            Self::WentBack(_) => "etcd.went_back",
            Self::WatchEnded(_) => "etcd.watch_ended",
            Self::Record(_) => "etcd.record",
            Self::RecordTooLarge { .. } => "etcd.record_too_large",
            Self::PrefixInUse { .. } => "etcd.prefix_in_use",
            Self::NotReached { .. } => "etcd.not_reached",
            Self::Stopping => "etcd.stopping",
        }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Etcd said no, for a reason that stays.
    Refused(Kind),
    /// The lease that it names is gone.
    LeaseGone,
    /// The history that it wants is compacted.
    Compacted,
    /// It was not carried out, and may succeed if it is sent again.
    NotDone,
    /// It may have been carried out, or may yet be.
    Unknown,
}

/// Gives a failed call its class. `changes`: whether it may have changed something.
pub(super) fn classify(what: &'static str, changes: bool, error: etcd_client::Error) -> Error {
    match fate(&error) {
        Fate::LeaseGone => Error::LeaseGone,
        Fate::Compacted => Error::Compacted,
        Fate::Refused(kind) => Error::Refused {
            what,
            kind,
            source: Box::new(error),
        },
        Fate::Unknown if changes => Error::UnknownOutcome { what },
        Fate::NotDone | Fate::Unknown => Error::Unavailable {
            what,
            source: Box::new(error),
        },
    }
}

fn fate(error: &etcd_client::Error) -> Fate {
    use etcd_client::Error as Client;
    match error {
        Client::GRpcStatus(status) => fate_of_status(status),
        // Said of the first answer of a renewal, and only with this text; the same variant also says
        // that the connection under a renewal is gone, which says nothing of the lease.
        Client::LeaseKeepAliveError(text) if text == "lease not found" => Fate::LeaseGone,
        Client::InvalidArgs(_) | Client::InvalidUri(_) | Client::InvalidMetadataValue(_) => {
            Fate::Refused(Kind::Internal)
        },
        Client::LeaseKeepAliveError(_)
        | Client::TransportError(_)
        | Client::IoError(_)
        | Client::WatchError(_)
        | Client::Utf8Error(_)
        | Client::ElectError(_)
        | Client::EndpointError(_)
        | Client::EndpointsNotManaged
        | Client::Internal(_) => Fate::Unknown,
    }
}

fn fate_of_status(status: &Status) -> Fate {
    let text = status.message();
    match status.code() {
        Code::Unavailable if was_never_sent(status) => Fate::NotDone,
        // Checked by etcd before it looks at the request.
        Code::Unavailable if text == "etcdserver: no leader" => Fate::NotDone,
        // Checked before the request enters the log.
        Code::ResourceExhausted if text == "etcdserver: too many requests" => Fate::NotDone,
        Code::ResourceExhausted if text.contains("database space exceeded") => {
            Fate::Refused(Kind::NoRoom)
        },
        Code::NotFound if text.contains("requested lease not found") => Fate::LeaseGone,
        Code::OutOfRange if text.contains("has been compacted") => Fate::Compacted,
        // A member that lags behind the one that was asked before.
        Code::OutOfRange if text.contains("future revision") => Fate::NotDone,
        // Of these none is the fault of whoever asked us: our request or our credentials are wrong.
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::Unimplemented
        | Code::OutOfRange
        | Code::DataLoss => Fate::Refused(Kind::Internal),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable => Fate::Unknown,
    }
}

/// Whether the connection itself did not come about.
fn was_never_sent(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, text: &str) -> Fate {
        fate(&etcd_client::Error::GRpcStatus(Status::new(code, text)))
    }

    #[test]
    fn what_may_have_been_carried_out_is_never_called_not_done() {
        for (code, text) in [
            (Code::Unavailable, "etcdserver: leader changed"),
            (Code::Unavailable, "etcdserver: request timed out"),
            (Code::Unavailable, "etcdserver: server stopped"),
            (Code::Unavailable, "keep-alive timed out"),
            (Code::Unknown, "h2 protocol error: error reading a body"),
            (Code::Unknown, "transport error"),
            (Code::Cancelled, "Timeout expired"),
            (Code::DeadlineExceeded, "context deadline exceeded"),
            (Code::ResourceExhausted, "h2 protocol error: too many pings"),
            (Code::Internal, "h2 protocol error: stream closed"),
        ] {
            assert_eq!(of(code, text), Fate::Unknown, "{code:?} {text}");
        }
    }

    #[test]
    fn refusals_before_the_log_are_known_not_to_be_done() {
        assert_eq!(
            of(Code::Unavailable, "etcdserver: no leader"),
            Fate::NotDone
        );
        let busy = of(Code::ResourceExhausted, "etcdserver: too many requests");
        assert_eq!(busy, Fate::NotDone);
        let mut refused = Status::unavailable("tcp connect error");
        refused.set_source(std::sync::Arc::new(ConnectError("refused".into())));
        let refused = etcd_client::Error::GRpcStatus(refused);
        assert_eq!(fate(&refused), Fate::NotDone);
    }

    #[test]
    fn every_code_has_a_class_and_a_full_etcd_is_told_apart() {
        for code in (0..17).map(Code::from) {
            let error = etcd_client::Error::GRpcStatus(Status::new(code, "x"));
            let error = classify("a test", true, error);
            let unknown = matches!(error, Error::UnknownOutcome { .. });
            let refused = matches!(error, Error::Refused { .. });
            assert!(unknown ^ refused, "{code:?}");
        }
        let text = "etcdserver: mvcc: database space exceeded";
        let full = of(Code::ResourceExhausted, text);
        assert_eq!(full, Fate::Refused(Kind::NoRoom));
    }

    #[test]
    fn only_etcd_says_that_a_lease_is_gone() {
        let gone = of(Code::NotFound, "etcdserver: requested lease not found");
        assert_eq!(gone, Fate::LeaseGone);
        let renewal = |text: &str| fate(&etcd_client::Error::LeaseKeepAliveError(text.to_owned()));
        assert_eq!(renewal("lease not found"), Fate::LeaseGone);
        assert_eq!(renewal("channel closed"), Fate::Unknown);
        let text = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(of(Code::OutOfRange, text), Fate::Compacted);
    }
}
