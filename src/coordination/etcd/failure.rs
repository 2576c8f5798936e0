//! What a failed call says about what happened.
//!
//! Three fates decide everything: etcd refused (trying again is no use), the request was certainly
//! not applied (trying again is safe), or nothing is known. A code alone does not tell: `Unavailable`
//! is both a refused connection, where nothing was sent, and a leader lost with the write in its log.
//! Doubt is always `Unknown`.

use etcd_client::Error as ClientError;
use tonic::{Code, ConnectError, Status};

use crate::coordination::{Cause, Error};
use crate::fault::Kind;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// etcd said no, for a reason that stays.
    Refused(Kind),
    /// It changed nothing, and may succeed if it is sent again.
    NotApplied,
    /// It may have been applied, or may still be.
    Unknown,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fate: Fate,
    special: Option<Special>,
    cause: Cause,
}

/// Refusals that callers act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Special {
    LeaseLost,
    Compacted,
}

impl Failure {
    /// No answer in time.
    pub(super) fn silence(elapsed: tokio::time::error::Elapsed) -> Self {
        Self {
            fate: Fate::Unknown,
            special: None,
            cause: elapsed.into(),
        }
    }

    /// What etcd-client says.
    pub(super) fn from_client(error: ClientError) -> Self {
        let (fate, special) = match &error {
            ClientError::GRpcStatus(status) => of_status(status),
            // The first answer of a keepalive stream, and the only error of that kind with this text.
            ClientError::LeaseKeepAliveError(text) if text == "lease not found" => {
                (Fate::Refused(Kind::NotFound), Some(Special::LeaseLost))
            },
            ClientError::InvalidArgs(_)
            | ClientError::InvalidUri(_)
            | ClientError::InvalidMetadataValue(_) => (Fate::Refused(Kind::Internal), None),
            ClientError::LeaseKeepAliveError(_)
            | ClientError::TransportError(_)
            | ClientError::IoError(_)
            | ClientError::WatchError(_)
            | ClientError::Utf8Error(_)
            | ClientError::ElectError(_)
            | ClientError::EndpointError(_)
            | ClientError::EndpointsNotManaged
            | ClientError::Internal(_) => (Fate::Unknown, None),
        };
        Self {
            fate,
            special,
            cause: error.into(),
        }
    }

    /// The error for the caller; `lost` if a write's outcome is unknown.
    pub(super) fn into_error(self, what: &'static str, lost: bool) -> Error {
        let source = self.cause;
        match (self.special, self.fate) {
            (Some(Special::LeaseLost), _) => Error::LeaseLost,
            (Some(Special::Compacted), _) => Error::Compacted,
            (None, Fate::Refused(kind)) => Error::Refused { what, kind, source },
            (None, _) if lost => Error::UnknownOutcome { what, source },
            (None, _) => Error::Unreachable { what, source },
        }
    }
}

fn of_status(status: &Status) -> (Fate, Option<Special>) {
    let text = status.message();
    let refused = |kind| (Fate::Refused(kind), None);
    match status.code() {
        Code::Unavailable if was_never_sent(status) => (Fate::NotApplied, None),
        // Checked by etcd before it looks at the request.
        Code::Unavailable if text == "etcdserver: no leader" => (Fate::NotApplied, None),
        // Checked before the request enters the log.
        Code::ResourceExhausted if text == "etcdserver: too many requests" => {
            (Fate::NotApplied, None)
        },
        Code::ResourceExhausted if text.contains("database space exceeded") => {
            refused(Kind::Exhausted)
        },
        Code::NotFound if text.contains("requested lease not found") => {
            (Fate::Refused(Kind::NotFound), Some(Special::LeaseLost))
        },
        Code::OutOfRange if text.contains("has been compacted") => {
            (Fate::Refused(Kind::Conflict), Some(Special::Compacted))
        },
        // A member that lags behind the one that was asked before.
        Code::OutOfRange if text.contains("future revision") => (Fate::NotApplied, None),
        Code::InvalidArgument => refused(Kind::InvalidInput),
        Code::NotFound => refused(Kind::NotFound),
        Code::AlreadyExists => refused(Kind::AlreadyExists),
        Code::PermissionDenied => refused(Kind::PermissionDenied),
        Code::Unauthenticated => refused(Kind::Unauthenticated),
        Code::FailedPrecondition => refused(Kind::Conflict),
        Code::Unimplemented => refused(Kind::Unimplemented),
        Code::OutOfRange | Code::DataLoss => refused(Kind::Internal),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable => (Fate::Unknown, None),
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

    fn of(code: Code, text: &str) -> Failure {
        Failure::from_client(ClientError::GRpcStatus(Status::new(code, text)))
    }

    #[test]
    fn what_may_have_been_applied_is_never_called_not_applied() {
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
            assert_eq!(of(code, text).fate, Fate::Unknown, "{code:?} {text}");
        }
    }

    #[test]
    fn refusals_before_the_log_are_known_not_to_be_applied() {
        for (code, text) in [
            (Code::Unavailable, "etcdserver: no leader"),
            (Code::ResourceExhausted, "etcdserver: too many requests"),
        ] {
            assert_eq!(of(code, text).fate, Fate::NotApplied, "{text}");
        }
        let mut refused = Status::unavailable("tcp connect error");
        refused.set_source(std::sync::Arc::new(ConnectError("refused".into())));
        let failure = Failure::from_client(ClientError::GRpcStatus(refused));
        assert_eq!(failure.fate, Fate::NotApplied);
    }

    #[test]
    fn every_code_has_a_fate_and_refusals_keep_their_kind() {
        for code in (0..17).map(Code::from) {
            let error = of(code, "x").into_error("test", true);
            let unknown = matches!(error, Error::UnknownOutcome { .. });
            let refused = matches!(error, Error::Refused { .. });
            assert!(unknown ^ refused, "{code:?}");
        }
        let full = of(
            Code::ResourceExhausted,
            "etcdserver: mvcc: database space exceeded",
        );
        assert_eq!(full.fate, Fate::Refused(Kind::Exhausted));
    }

    #[test]
    fn lost_leases_and_compaction_have_errors_of_their_own() {
        let lease = of(Code::NotFound, "etcdserver: requested lease not found");
        assert!(matches!(lease.into_error("x", true), Error::LeaseLost));
        let alive = ClientError::LeaseKeepAliveError("lease not found".to_owned());
        let alive = Failure::from_client(alive).into_error("x", false);
        assert!(matches!(alive, Error::LeaseLost));
        let text = "etcdserver: mvcc: required revision has been compacted";
        let compacted = of(Code::OutOfRange, text);
        assert!(matches!(compacted.into_error("x", false), Error::Compacted));
    }
}
