//! How the others on the machine find a process.

use std::io;
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::write_atomically;
use crate::ids::NodeId;

const FILE: &str = "process.json";

/// What a process says of itself in its data folder once its listeners are bound. A card of an
/// earlier run may lie there: its process id tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its name in the cluster.
    pub name: String,
    /// `gateway`, `master` or `worker`.
    pub role: String,
    /// Its process id.
    pub pid: u32,
    /// Its identity.
    pub node: NodeId,
    /// Where it answers HTTP, `HOST:PORT`.
    pub http_address: String,
    /// Where it answers gRPC, if it does.
    pub rpc_address: Option<String>,
}

impl Card {
    /// Writes the card.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        write_atomically(&data_dir.join(FILE), &text)
    }

    /// The card in a folder, if there is one that can be read.
    pub fn read(data_dir: &Path) -> Option<Self> {
        let text = fs::read(data_dir.join(FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }
}
