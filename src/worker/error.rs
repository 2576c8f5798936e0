//! What can go wrong at a worker.

use crate::fault::{Fault, Kind};
use crate::ids::{Epoch, ShardId, Term};
use crate::{coordination, index, store};

/// Why a worker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another worker serves the shard, or the sender knows another epoch.
    #[error("shard {shard} is at epoch {known} here, not {asked}")]
    Epoch {
        /// The shard.
        shard: ShardId,
        /// The epoch of the record here.
        known: Epoch,
        /// The epoch that the sender knows.
        asked: Epoch,
    },
    /// No record says that this worker serves the shard.
    #[error("this worker does not serve shard {0}")]
    NotHere(ShardId),
    /// The record names this worker, its disk lacks the data.
    #[error("the data of shard {0} is not on this worker's disk")]
    Missing(ShardId),
    /// The data is there, and a shard is to be made in its place.
    #[error("shard {0} is there already")]
    Exists(ShardId),
    /// A master that no longer leads.
    #[error("term {asked} is over; term {known} has spoken here")]
    Term {
        /// The highest term seen.
        known: Term,
        /// The sender's.
        asked: Term,
    },
    /// The request cannot be carried out as it is.
    #[error("{0}")]
    Invalid(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The index.
    #[error(transparent)]
    Index(#[from] index::Error),
    /// Etcd, or a mirror of it.
    #[error(transparent)]
    Coordination(#[from] coordination::Error),
    /// A file of the worker's own.
    #[error("worker's files")]
    Files(#[from] std::io::Error),
    /// The listener.
    #[error("listen for requests")]
    Listen(#[source] std::io::Error),
    /// The worker stops.
    #[error("the worker is stopping")]
    Stopping,
    /// A task broke off: a bug.
    #[error("the work broke off")]
    Broken,
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Epoch { .. } | Self::NotHere(_) | Self::Term { .. } => Kind::Conflict,
            Self::Missing(_) => Kind::Corrupt,
            Self::Exists(_) => Kind::AlreadyExists,
            Self::Invalid(_) => Kind::InvalidInput,
            Self::Store(error) => error.kind(),
            Self::Index(error) => error.kind(),
            Self::Coordination(error) => error.kind(),
            Self::Stopping => Kind::Unavailable,
            Self::Files(_) | Self::Listen(_) | Self::Broken => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Epoch { .. } => "worker.epoch",
            Self::NotHere(_) => "worker.not_here",
            Self::Missing(_) => "worker.missing",
            Self::Exists(_) => "worker.exists",
            Self::Term { .. } => "worker.term",
            Self::Invalid(_) => "worker.invalid",
            Self::Store(error) => error.code(),
            Self::Index(error) => error.code(),
            Self::Coordination(error) => error.code(),
            Self::Files(_) => "worker.files",
            Self::Listen(_) => "worker.listen",
            Self::Stopping => "worker.stopping",
            Self::Broken => "worker.broken",
        }
    }
}
