//! What can go wrong while a manifest is carried out.

use std::time::Duration;

use crate::fault::{Fault, Kind};

/// The code of [`Error::VolumeLost`].
pub(super) const VOLUME_LOST: &str = "operator.volume_lost";

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
    /// A Secret that somebody else makes is not there.
    #[error("Secret {name} is not there; {field} asks for it")]
    SecretMissing {
        /// Its name.
        name: String,
        /// The field of the manifest that names it, or whoever should make it.
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
    /// The volume of a worker that was there once is gone.
    #[error(
        "the volume of {0} is gone, and with it its shards; the annotation \
         vectorsphere.io/new-volume={0} gives it an empty one"
    )]
    VolumeLost(String),
    /// The listener of probes and metrics.
    #[error("answer probes")]
    Listen(#[source] std::io::Error),
    /// Another operator may lead.
    #[error("the lease is lost: {why}")]
    LeaseLost {
        /// How.
        why: String,
    },
    /// An object of the name that is wanted is somebody else's.
    #[error("{kind} {name} is there and not of this cluster; it is not taken over")]
    NotOurs {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API server does not know a kind of object.
    #[error("the API server knows no {0}: its definition is not installed")]
    UnknownKind(&'static str),
    /// A time in the manifest cannot be used.
    #[error("{0:?} is no time such as 2160h")]
    Time(String),
}

impl Error {
    fn status(&self) -> Option<&kube::core::Status> {
        let Self::Kubernetes(kube::Error::Api(status)) = self else {
            return None;
        };
        Some(status)
    }

    /// Whether the object that was written is another by now, or there already.
    pub(super) fn is_conflict(&self) -> bool {
        let status = self.status();
        status.is_some_and(|status| status.is_conflict() || status.is_already_exists())
    }

    /// Whether what was asked for is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_not_found)
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Kubernetes(kube::Error::Api(status)) if status.is_conflict() => Kind::Conflict,
            Self::Kubernetes(_) => Kind::Unavailable,
            Self::Deadline(_) => Kind::Timeout,
            Self::Certificate(_) | Self::Incomplete { .. } | Self::Listen(_) => Kind::Internal,
            Self::Security(error) => error.kind(),
            Self::Master(error) => error.kind(),
            Self::Etcd(error) => error.kind(),
            Self::Foreign { .. } | Self::LeaseLost { .. } | Self::NotOurs { .. } => Kind::Conflict,
            Self::UnknownKind(_) | Self::SecretMissing { .. } => Kind::NotFound,
            Self::VolumeLost(_) => Kind::Corrupt,
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
            Self::VolumeLost(_) => VOLUME_LOST,
            Self::Listen(_) => "operator.listen",
            Self::LeaseLost { .. } => "operator.lease_lost",
            Self::SecretMissing { .. } => "operator.secret_missing",
            Self::NotOurs { .. } => "operator.not_ours",
            Self::UnknownKind(_) => "operator.unknown_kind",
            Self::Time(_) => "operator.time",
        }
    }
}
