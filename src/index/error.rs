//! What can go wrong in an index. None of it touches the truth: the worst is an exact scan.

use std::io;

use crate::fault::{Fault, Kind};

/// Why an index could not be built, opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The query is not of the collection's dimensions.
    #[error("the query has {got} dimensions and the collection {expected}")]
    Dimensions {
        /// What the collection has.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// The work was told to stop: cancelled, or past its deadline.
    #[error("the work was told to stop")]
    Stopped,
    /// The file system failed; the source names the path.
    #[error("an index file could not be read or written")]
    Files(#[from] io::Error),
    /// Stored bytes are not what was written.
    #[error("the index is damaged: {what}")]
    Corrupt {
        /// What does not check.
        what: String,
    },
    /// The index is another shard's, or of another life of this one.
    #[error("the index belongs to another shard or other settings: {what}")]
    Foreign {
        /// What differs.
        what: &'static str,
    },
    /// The tree library failed.
    #[error("the trees could not be built")]
    Arroy(#[source] ::arroy::Error),
    /// The tree library's scratch database failed.
    #[error("the scratch database of a build failed")]
    Scratch(#[source] heed::Error),
    /// The library's result is not a set of trees over the rows.
    #[error("the library built something that is not a tree over the rows: {what}")]
    Unsound {
        /// What does not hold.
        what: &'static str,
    },
    /// More rows than the format can number.
    #[error("too many rows for one index")]
    TooLarge,
    /// The threads of a build could not be started.
    #[error("the threads of a build could not be started")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// Code that is not trusted panicked, and was contained.
    #[error("{during} panicked")]
    Panicked {
        /// What was under way.
        during: &'static str,
    },
}

impl Error {
    /// A finding about stored bytes.
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }
}

impl From<::arroy::Error> for Error {
    fn from(error: ::arroy::Error) -> Self {
        if matches!(error, ::arroy::Error::BuildCancelled) {
            Self::Stopped
        } else {
            Self::Arroy(error)
        }
    }
}

impl From<heed::Error> for Error {
    fn from(error: heed::Error) -> Self {
        Self::Scratch(error)
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Dimensions { .. } => Kind::InvalidInput,
            Self::Stopped => Kind::Timeout,
            Self::Files(error) if error.kind() == io::ErrorKind::StorageFull => Kind::NoRoom,
            Self::Files(_) => Kind::Unavailable,
            Self::Corrupt { .. } | Self::Foreign { .. } => Kind::Corrupt,
            Self::TooLarge | Self::Threads(_) => Kind::Exhausted,
            Self::Arroy(_) | Self::Scratch(_) | Self::Unsound { .. } | Self::Panicked { .. } => {
                Kind::Internal
            },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Dimensions { .. } => "index.dimensions",
            Self::Stopped => "index.stopped",
            Self::Files(_) => "index.files",
            Self::Corrupt { .. } => "index.corrupt",
            Self::Foreign { .. } => "index.foreign",
            Self::Arroy(_) => "index.arroy",
            Self::Scratch(_) => "index.scratch",
            Self::Unsound { .. } => "index.unsound",
            Self::TooLarge => "index.too_large",
            Self::Threads(_) => "index.threads",
            Self::Panicked { .. } => "index.panicked",
        }
    }
}
