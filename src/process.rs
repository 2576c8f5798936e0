//! What every process does beside its work: own a data folder, end with its parent, stop when told
//! to, and say where it can be found.
//!
//! A data folder belongs to one process at a time, by a lock that the kernel drops with the process,
//! however it dies ([`DataFolder`]). It keeps the process's identity, so that a process that comes
//! back is the same one to the cluster. A process that another started may be told to end with it:
//! the kernel then kills it when its parent dies ([`parent`]), and the end of its standard input
//! stops it too. [`Card`] is the file by which the others on the machine find it.
//!
//! What it does not do: it starts nothing and decides nothing. The order of a stop is the caller's.
//!
//! Promises: a file written by [`write_atomically`] is there whole or not at all, through a power
//! cut; an identity that cannot be read is an error, never a new identity.

mod atomic_file;
mod card;
mod data_folder;
pub mod parent;
mod stop;

pub use atomic_file::write_atomically;
pub use card::Card;
pub use data_folder::DataFolder;
pub use stop::{Reason, StopRequests};

use std::path::PathBuf;

use crate::fault::{Fault, Kind};

/// Why a process cannot set itself up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the data folder.
    #[error("data folder {} is in use by process {}", path.display(), holder(*pid))]
    FolderInUse {
        /// The folder.
        path: PathBuf,
        /// Who has it, if it said so.
        pid: Option<u32>,
    },
    /// A file or folder; the source names it.
    #[error("set up the data folder")]
    Files(#[source] std::io::Error),
    /// The identity file does not hold a UUID.
    #[error("{} does not hold a UUID; restore the file, or move the whole folder away", .0.display())]
    Identity(PathBuf),
    /// The process was told to end with its parent, and that one is gone.
    #[error("the parent process is gone")]
    ParentGone,
    /// The kernel refuses to watch the parent or the signals.
    #[error("watch for the parent's death and for signals")]
    Watch(#[source] std::io::Error),
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string())
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::FolderInUse { .. } | Self::ParentGone => Kind::Conflict,
            Self::Files(_) | Self::Watch(_) => Kind::Internal,
            Self::Identity(_) => Kind::Corrupt,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::FolderInUse { .. } => "process.folder_in_use",
            Self::Files(_) => "process.files",
            Self::Identity(_) => "process.identity",
            Self::ParentGone => "process.parent_gone",
            Self::Watch(_) => "process.watch",
        }
    }
}
