//! What can go wrong while a manifest is carried out.

use std::time::Duration;

use crate::fault::{Fault, Kind};

/// Why a step of the operator failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server.
    #[error("ask the API server")]
    Kubernetes(#[from] kube::Error),
    /// The API server did not answer in time.
    #[error("the API server did not answer in {0:?}")]
    Deadline(Duration),
    /// A certificate could not be made.
    #[error("issue a certificate")]
    Certificate(#[from] rcgen::Error),
    /// Credentials that were just made cannot be used.
    #[error(transparent)]
    Security(#[from] crate::security::Error),
    /// A master did not answer.
    #[error(transparent)]
    Master(#[from] crate::rpc::Error),
    /// A member of etcd did not do what it was asked.
    #[error(transparent)]
    Etcd(#[from] crate::coordination::Error),
    /// An object that a server should have filled in lacks something.
    #[error("{object} has no {field}")]
    Incomplete {
        /// Which object.
        object: String,
        /// What it lacks.
        field: &'static str,
    },
    /// A volume of the name that is wanted belongs to another cluster.
    #[error("volume {claim} belongs to another cluster, of UID {uid:?}; it is not taken over")]
    Foreign {
        /// The claim.
        claim: String,
        /// The UID in its labels.
        uid: String,
    },
    /// A time in the manifest cannot be used.
    #[error("{0:?} is no time such as 2160h")]
    Time(String),
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Kubernetes(kube::Error::Api(status)) if status.is_conflict() => Kind::Conflict,
            Self::Kubernetes(_) => Kind::Unavailable,
            Self::Deadline(_) => Kind::Timeout,
            Self::Certificate(_) | Self::Incomplete { .. } => Kind::Internal,
            Self::Security(error) => error.kind(),
            Self::Master(error) => error.kind(),
            Self::Etcd(error) => error.kind(),
            Self::Foreign { .. } => Kind::Conflict,
            Self::Time(_) => Kind::InvalidInput,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) => "operator.kubernetes",
            Self::Deadline(_) => "operator.deadline",
            Self::Certificate(_) => "operator.certificate",
            Self::Security(error) => error.code(),
            Self::Master(error) => error.code(),
            Self::Etcd(error) => error.code(),
            Self::Incomplete { .. } => "operator.incomplete",
            Self::Foreign { .. } => "operator.foreign_volume",
            Self::Time(_) => "operator.time",
        }
    }
}
