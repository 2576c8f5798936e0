//! `endpoints.json`: what runs, as which process, and where it answers.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::process::{Card, write_atomically};

const FILE: &str = "endpoints.json";

/// Where everything of a local cluster is. Written anew, as a whole, with each start and end of a
/// component; gone when `dev` has stopped. After a kill -9 of `dev` a stale one lies there: its
/// process ids are those of nobody, or of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The name of the cluster.
    pub cluster: String,
    /// The process id of `dev` itself.
    pub pid: u32,
    /// Its etcd, `http://HOST:PORT`.
    pub etcd: String,
    /// What runs and has bound its listeners, in the order of start.
    pub components: Vec<Card>,
}

impl Endpoints {
    /// Where the file is.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join(FILE)
    }

    /// Reads the file of a cluster's data folder.
    ///
    /// # Errors
    /// When there is none, or none that can be read.
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        let text = fs::read(Self::file(data_dir))?;
        Ok(serde_json::from_slice(&text)?)
    }

    pub(super) fn write(&self, data_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        write_atomically(&Self::file(data_dir), &text)
    }

    /// Takes the file of an earlier run away.
    pub(super) fn remove(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(Self::file(data_dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
