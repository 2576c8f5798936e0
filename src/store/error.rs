//! What can go wrong with a shard's store.

use std::path::PathBuf;

use crate::fault::{Fault, Kind};
use crate::ids::Epoch;

/// Why a shard did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No shard lies there.
    #[error("no shard lies in {0}")]
    Missing(PathBuf),
    /// A shard lies there already.
    #[error("a shard lies in {0} already")]
    Exists(PathBuf),
    /// It is another shard, or another cluster's.
    #[error("{folder} holds another shard: {what}")]
    Foreign {
        /// Where.
        folder: PathBuf,
        /// What differs.
        what: String,
    },
    /// A newer program made it.
    #[error("{folder} has format {found}, this program knows up to {known}")]
    Newer {
        /// Where.
        folder: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// A lower epoch than the shard has seen.
    #[error("epoch {asked} is over; epoch {known} has written")]
    Epoch {
        /// The highest seen.
        known: Epoch,
        /// The writer's.
        asked: Epoch,
    },
    /// The operation can never be applied.
    #[error("{0}")]
    Invalid(String),
    /// The queue is full.
    #[error("too many writes wait")]
    Busy,
    /// Readers kept the map from growing. Nothing was changed.
    #[error("long reads kept the shard's map from growing; try again")]
    Held,
    /// Whether the write was applied is not known: its time was over while it was under way.
    #[error("the write took too long and may have been applied")]
    Unknown,
    /// The deadline of a read has passed.
    #[error("the read took too long")]
    Late,
    /// No room: the disk or the bound of the map.
    #[error("no room: {0}")]
    Full(String),
    /// A sync failed earlier; what is on the disk is not known.
    #[error("the shard has stopped: {0}")]
    Failed(String),
    /// Stored bytes are not what was written.
    #[error("the shard is corrupt: {0}")]
    Corrupt(String),
    /// LMDB or a file.
    #[error("the shard's files: {0}")]
    Files(String),
    /// The shard was closed.
    #[error("the shard is closed")]
    Closed,
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing(_) | Self::Failed(_) | Self::Corrupt(_) => Kind::Corrupt,
            Self::Exists(_) => Kind::AlreadyExists,
            Self::Foreign { .. } | Self::Newer { .. } | Self::Epoch { .. } => Kind::Conflict,
            Self::Invalid(_) => Kind::InvalidInput,
            Self::Busy | Self::Held => Kind::Exhausted,
            Self::Full(_) => Kind::NoRoom,
            Self::Unknown => Kind::UnknownOutcome,
            Self::Late => Kind::Timeout,
            Self::Files(_) => Kind::Internal,
            Self::Closed => Kind::Unavailable,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "store.missing",
            Self::Exists(_) => "store.exists",
            Self::Foreign { .. } => "store.foreign",
            Self::Newer { .. } => "store.newer",
            Self::Epoch { .. } => "store.epoch",
            Self::Invalid(_) => "store.invalid",
            Self::Busy => "store.busy",
            Self::Held => "store.held",
            Self::Unknown => "store.unknown",
            Self::Late => "store.late",
            Self::Full(_) => "store.full",
            Self::Failed(_) => "store.failed",
            Self::Corrupt(_) => "store.corrupt",
            Self::Files(_) => "store.files",
            Self::Closed => "store.closed",
        }
    }
}

impl From<heed::Error> for Error {
    fn from(error: heed::Error) -> Self {
        let damaged = matches!(
            error,
            heed::Error::Mdb(
                heed::MdbError::Corrupted
                    | heed::MdbError::PageNotFound
                    | heed::MdbError::Invalid
                    | heed::MdbError::VersionMismatch
            )
        );
        if damaged {
            Self::Corrupt(error.to_string())
        } else if matches!(error, heed::Error::Mdb(heed::MdbError::MapFull)) {
            Self::Full("the map".to_owned())
        } else if matches!(error, heed::Error::Mdb(heed::MdbError::Panic)) {
            Self::Failed(error.to_string())
        } else if let heed::Error::Io(io) = &error
            && io.kind() == std::io::ErrorKind::StorageFull
        {
            Self::Full("the disk".to_owned())
        } else {
            Self::Files(error.to_string())
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::StorageFull {
            return Self::Full("the disk".to_owned());
        }
        Self::Files(error.to_string())
    }
}
