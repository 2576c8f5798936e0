//! Etcd's own refusals, with its codes and its words.

use std::sync::Arc;

use tonic::{Code, Status};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    EmptyKey,
    ValueProvided,
    LeaseProvided,
    TooManyOps,
    DuplicateKey,
    Compacted,
    FutureRevision,
    KeyNotFound,
    LeaseNotFound,
    LeaseExists,
    LeaseTtlTooLarge,
    TooLarge,
    NoSpace,
    InvalidSortOption,
    /// The log failed, for this reason: nothing is answered until it was read back.
    Storage(Arc<str>),
    Stopped,
    NotSupported,
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let (code, text) = match failure {
            Failure::EmptyKey => (Code::InvalidArgument, "etcdserver: key is not provided"),
            Failure::ValueProvided => (Code::InvalidArgument, "etcdserver: value is provided"),
            Failure::LeaseProvided => (Code::InvalidArgument, "etcdserver: lease is provided"),
            Failure::TooManyOps => (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
            ),
            Failure::DuplicateKey => (
                Code::InvalidArgument,
                "etcdserver: duplicate key given in txn request",
            ),
            Failure::Compacted => (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
            ),
            Failure::FutureRevision => (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
            ),
            Failure::KeyNotFound => (Code::InvalidArgument, "etcdserver: key not found"),
            Failure::LeaseNotFound => (Code::NotFound, "etcdserver: requested lease not found"),
            Failure::LeaseExists => (Code::FailedPrecondition, "etcdserver: lease already exists"),
            Failure::LeaseTtlTooLarge => (Code::OutOfRange, "etcdserver: too large lease TTL"),
            Failure::TooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
            Failure::NoSpace => (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
            ),
            Failure::InvalidSortOption => {
                (Code::InvalidArgument, "etcdserver: invalid sort option")
            },
            Failure::Storage(reason) => {
                return Self::new(Code::Unavailable, format!("embedded etcd: {reason}"));
            },
            Failure::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
            Failure::NotSupported => (
                Code::Unimplemented,
                "embedded etcd: this call is not supported",
            ),
        };
        Self::new(code, text)
    }
}
