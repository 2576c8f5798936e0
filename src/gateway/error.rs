//! Why the public API refuses or fails, and the one map from that to HTTP.
//!
//! The texts are part of the API: clients look for words in them. Those of upper case and with a
//! prefix are shaped as existing clients expect; they are the exception to the house rule for error
//! texts. A failure of the cluster gets its prefix from its kind.

use std::borrow::Cow;

use http::StatusCode;

use crate::fault::{Fault, Kind, chain};
use crate::ids::PointId;
use crate::query::{field, filter, index};
use crate::vector::Unfit;

/// What a caller is told to wait before it tries again, in seconds.
pub const RETRY_AFTER: &str = "1";

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body is not what the route takes.
    #[error("Format error in JSON body: {0}")]
    Body(String),
    /// The query parameters are not.
    #[error("Format error in query parameters: {0}")]
    Query(String),
    /// A value that is understood but out of its range.
    #[error("Validation error in {place}: [{field}: {problem}]")]
    OutOfRange {
        /// `JSON body`, `query parameters` or `path parameters`.
        place: &'static str,
        /// The field.
        field: Cow<'static, str>,
        /// What is wrong with it.
        problem: String,
    },
    /// It cannot be done as it is asked for.
    #[error("Wrong input: {0}")]
    Wrong(String),
    /// The body is larger than any may be.
    #[error("Payload error: the JSON body is larger than allowed (limit: {limit} bytes)")]
    TooLarge {
        /// The largest.
        limit: usize,
    },
    /// The body did not arrive, or not in time.
    #[error("Payload error: {0}")]
    NoBody(&'static str),
    /// No collection of this name.
    #[error("Not found: Collection `{0}` doesn't exist!")]
    NoCollection(String),
    /// A collection of this name is there already.
    #[error("Wrong input: Collection `{0}` already exists!")]
    CollectionExists(String),
    /// No point of this id, where it is asked for itself.
    #[error("Not found: Point with id {0} does not exists!")]
    NoPoint(PointId),
    /// No point of this id, where its vector is needed.
    #[error("Not found: No point with id {0} found")]
    NoVectorOf(PointId),
    /// Part of the API, and not built.
    #[error("not built yet: {0}")]
    NotBuilt(Cow<'static, str>),
    /// More requests than this process takes at once.
    #[error("too many requests at once: {0}")]
    Overloaded(&'static str),
    /// No answer before the deadline.
    #[error("Timeout error: no answer within {0} ms")]
    Deadline(u128),
    /// The cluster says no, or does not say.
    #[error("{}{message}", prefix(*kind))]
    Failed {
        /// What kind of failure.
        kind: Kind,
        /// Its stable code.
        code: &'static str,
        /// What happened, fit for the caller.
        message: String,
    },
}

impl Error {
    /// A failure of what is behind the gateway, told with all its sources.
    pub fn failed(fault: &dyn Fault) -> Self {
        let mut message = fault.to_string();
        if let Some(source) = fault.source() {
            message.push_str(": ");
            message.push_str(&chain(source));
        }
        Self::Failed {
            kind: fault.kind(),
            code: fault.code(),
            message,
        }
    }

    /// A feature that is not built.
    pub fn not_built(name: impl Into<Cow<'static, str>>) -> Self {
        Self::NotBuilt(name.into())
    }

    /// A value of the body that is out of its range.
    pub fn out_of_range(
        field: impl Into<Cow<'static, str>>,
        value: impl std::fmt::Display,
        must: &str,
    ) -> Self {
        Self::OutOfRange {
            place: "JSON body",
            field: field.into(),
            problem: format!("value {value} invalid, must be {must}"),
        }
    }

    /// The HTTP status that tells of it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Body(_) | Self::Query(_) | Self::Wrong(_) | Self::TooLarge { .. } => {
                StatusCode::BAD_REQUEST
            },
            Self::OutOfRange { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoBody(_) => StatusCode::REQUEST_TIMEOUT,
            Self::NoCollection(_) | Self::NoPoint(_) | Self::NoVectorOf(_) => StatusCode::NOT_FOUND,
            Self::CollectionExists(_) => StatusCode::CONFLICT,
            Self::NotBuilt(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Overloaded(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Failed { kind, .. } => status_of(*kind),
        }
    }
}

const fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidInput => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::AlreadyExists | Kind::Conflict => StatusCode::CONFLICT,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Exhausted => StatusCode::TOO_MANY_REQUESTS,
        Kind::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
        Kind::UnknownOutcome => StatusCode::BAD_GATEWAY,
        Kind::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Kind::Corrupt | Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

const fn prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::InvalidInput | Kind::AlreadyExists => "Wrong input: ",
        Kind::NotFound => "Not found: ",
        Kind::Timeout => "Timeout error: ",
        Kind::Corrupt | Kind::Internal => "Service internal error: ",
        Kind::UnknownOutcome => {
            "Service internal error: it is not known whether this was applied: "
        },
        Kind::Conflict
        | Kind::Unauthenticated
        | Kind::PermissionDenied
        | Kind::Unavailable
        | Kind::Exhausted
        | Kind::NoRoom
        | Kind::Unimplemented => "",
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Body(_)
            | Self::Query(_)
            | Self::OutOfRange { .. }
            | Self::Wrong(_)
            | Self::TooLarge { .. } => Kind::InvalidInput,
            Self::NoBody(_) | Self::Deadline(_) => Kind::Timeout,
            Self::NoCollection(_) | Self::NoPoint(_) | Self::NoVectorOf(_) => Kind::NotFound,
            Self::CollectionExists(_) => Kind::AlreadyExists,
            Self::NotBuilt(_) => Kind::Unimplemented,
            Self::Overloaded(_) => Kind::Exhausted,
            Self::Failed { kind, .. } => *kind,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "gateway.body",
            Self::Query(_) => "gateway.query",
            Self::OutOfRange { .. } => "gateway.out_of_range",
            Self::Wrong(_) => "gateway.wrong",
            Self::TooLarge { .. } => "gateway.too_large",
            Self::NoBody(_) => "gateway.no_body",
            Self::NoCollection(_) => "gateway.no_collection",
            Self::CollectionExists(_) => "gateway.collection_exists",
            Self::NoPoint(_) => "gateway.no_point",
            Self::NoVectorOf(_) => "gateway.no_vector_of",
            Self::NotBuilt(_) => "gateway.not_built",
            Self::Overloaded(_) => "gateway.overloaded",
            Self::Deadline(_) => "gateway.deadline",
            Self::Failed { code, .. } => code,
        }
    }
}

impl From<filter::Error> for Error {
    fn from(error: filter::Error) -> Self {
        match error {
            filter::Error::Malformed(text) => Self::Body(text),
            filter::Error::NotBuilt(name) => {
                Self::NotBuilt(format!("filter condition `{name}`").into())
            },
        }
    }
}

impl From<index::Error> for Error {
    fn from(error: index::Error) -> Self {
        Self::Body(error.to_string())
    }
}

impl From<field::NoPath> for Error {
    fn from(error: field::NoPath) -> Self {
        Self::Body(error.to_string())
    }
}

impl From<Unfit> for Error {
    fn from(error: Unfit) -> Self {
        Self::Wrong(error.to_string())
    }
}
