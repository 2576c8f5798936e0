//! What every error of the project can be asked: what kind it is, who is to blame, whether trying
//! again can help, and its stable code.
//!
//! Each component has its own error enum; this module holds only the questions, so that the edges
//! (HTTP, gRPC, logs) map any of them in one place. A `Display` text never repeats its source; the
//! whole chain is printed by [`chain`] and nowhere else.

use std::error::Error;

/// The closed set of what can go wrong, as a caller sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request can never succeed as it is.
    InvalidInput,
    /// What was named does not exist.
    NotFound,
    /// What was to be created exists.
    AlreadyExists,
    /// The state does not allow it now: a term, an epoch or a revision has moved on.
    Conflict,
    /// No valid credentials.
    Unauthenticated,
    /// Valid credentials that do not allow this.
    PermissionDenied,
    /// Nobody can serve it at the moment.
    Unavailable,
    /// The deadline passed. A write may or may not have been applied.
    Timeout,
    /// A bound was reached that others use too, and that frees itself: a queue, memory.
    Exhausted,
    /// No room on a disk or in a map: trying again helps only after somebody has made room.
    NoRoom,
    /// A write was sent and its answer lost: it may or may not have been applied.
    UnknownOutcome,
    /// Stored bytes are not what was written.
    Corrupt,
    /// Known, and not built yet.
    Unimplemented,
    /// A broken invariant: a bug.
    Internal,
}

impl Kind {
    /// The kind's word in logs, metrics and messages between processes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Conflict => "conflict",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Exhausted => "exhausted",
            Self::NoRoom => "no_room",
            Self::UnknownOutcome => "unknown_outcome",
            Self::Corrupt => "corrupt",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
        }
    }
}

/// Who has to act for it not to happen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Who sent the request.
    Caller,
    /// This process.
    Us,
    /// A process or a disk that this one depends on.
    Upstream,
}

/// What every error enum of the project answers.
pub trait Fault: Error {
    /// The kind of failure.
    fn kind(&self) -> Kind;

    /// A static, documented code such as `store.full`; labels and events use it.
    fn code(&self) -> &'static str;

    /// Whether the same request can succeed later without a change, and repeating it is safe.
    fn retryable(&self) -> bool {
        matches!(self.kind(), Kind::Unavailable | Kind::Exhausted)
    }

    /// Who is to blame.
    fn blame(&self) -> Blame {
        match self.kind() {
            Kind::InvalidInput
            | Kind::NotFound
            | Kind::AlreadyExists
            | Kind::Conflict
            | Kind::Unauthenticated
            | Kind::PermissionDenied
            | Kind::Unimplemented => Blame::Caller,
            Kind::Unavailable | Kind::Timeout | Kind::UnknownOutcome => Blame::Upstream,
            Kind::Exhausted | Kind::NoRoom | Kind::Corrupt | Kind::Internal => Blame::Us,
        }
    }
}

/// The error and all its sources in one line, outermost first, separated by `: `.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
