//! Errors between processes: the one map from [`Fault`] to a gRPC status and back.
//!
//! The kind and the code travel as metadata, so that the receiver answers its own caller with what
//! happened and not with what gRPC's codes can tell apart. A status without them, made by the
//! transport itself, is classified by its code.

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::fault::{Fault, Kind, chain};

const KIND: &str = "vs-kind";
const CODE: &str = "vs-code";

/// What another process answered, or that it did not.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    code: &'static str,
    message: String,
}

impl Error {
    /// An error of this process's own about a call.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
        }
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn code(&self) -> &'static str {
        self.code
    }
}

/// The status that tells another process of a fault.
pub fn to_status(fault: &dyn Fault) -> Status {
    let code = match fault.kind() {
        Kind::InvalidInput => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::Conflict => Code::FailedPrecondition,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::Unavailable => Code::Unavailable,
        Kind::Timeout => Code::DeadlineExceeded,
        Kind::Exhausted | Kind::NoRoom => Code::ResourceExhausted,
        Kind::UnknownOutcome => Code::Aborted,
        Kind::Corrupt => Code::DataLoss,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    };
    let mut text = fault.to_string();
    let mut source = fault.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    let mut status = Status::new(code, text);
    let kind = MetadataValue::from_static(fault.kind().as_str());
    status.metadata_mut().insert(KIND, kind);
    status
        .metadata_mut()
        .insert(CODE, MetadataValue::from_static(fault.code()));
    status
}

/// What a status means. A lost connection is [`Kind::UnknownOutcome`] when the call changes
/// something, else [`Kind::Unavailable`].
pub fn from_status(status: &Status, changes: bool) -> Error {
    let told = status
        .metadata()
        .get(KIND)
        .and_then(|kind| kind.to_str().ok())
        .and_then(parse);
    if let Some(kind) = told {
        return Error::new(kind, "rpc.answered", status.message());
    }
    let lost = || {
        if changes {
            Kind::UnknownOutcome
        } else {
            Kind::Unavailable
        }
    };
    let kind = match status.code() {
        Code::InvalidArgument => Kind::InvalidInput,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::FailedPrecondition => Kind::Conflict,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::DeadlineExceeded => Kind::Timeout,
        // What tonic says of a message that is too large for it.
        Code::ResourceExhausted | Code::OutOfRange => Kind::Exhausted,
        Code::DataLoss => Kind::Corrupt,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Internal => Kind::Internal,
        // "Connection refused" is a transport error that was never sent.
        Code::Unavailable if never_sent(status) => Kind::Unavailable,
        Code::Cancelled if status.message().contains("Timeout expired") => Kind::Timeout,
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Aborted | Code::Unavailable => lost(),
    };
    Error::new(kind, "rpc.transport", chain(status))
}

fn never_sent(status: &Status) -> bool {
    let text = chain(status);
    text.contains("tcp connect error") || text.contains("Connection refused")
}

fn parse(text: &str) -> Option<Kind> {
    [
        Kind::InvalidInput,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::Conflict,
        Kind::Unauthenticated,
        Kind::PermissionDenied,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::Exhausted,
        Kind::NoRoom,
        Kind::UnknownOutcome,
        Kind::Corrupt,
        Kind::Unimplemented,
        Kind::Internal,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_arrives_as_it_was_sent() {
        for kind in [Kind::Exhausted, Kind::NoRoom] {
            let sent = Error::new(kind, "shard.full", "no room: the disk");
            assert_eq!(from_status(&to_status(&sent), true).kind(), kind);
        }
        let sent = Error::new(Kind::Conflict, "shard.epoch", "epoch 3 is over");
        let got = from_status(&to_status(&sent), true);
        assert_eq!(
            (got.kind(), got.to_string()),
            (Kind::Conflict, "epoch 3 is over".to_owned())
        );
    }

    #[test]
    fn a_lost_connection_leaves_a_write_unknown_and_a_read_unavailable() {
        let lost = Status::unknown("h2 protocol error");
        assert_eq!(from_status(&lost, true).kind(), Kind::UnknownOutcome);
        assert_eq!(from_status(&lost, false).kind(), Kind::Unavailable);
        let refused = Status::unavailable("tcp connect error");
        assert_eq!(from_status(&refused, true).kind(), Kind::Unavailable);
    }
}
