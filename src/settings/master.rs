//! What a master is told.

use std::net::SocketAddr;

use super::check::{self, Faults, given};
use super::process::{Reach, rpc_listen};
use super::{Error, Process, ProcessArgs};
use crate::limits::SHARDS_MAX;

/// The texts of [`Master`].
#[derive(Debug, Clone, clap::Args)]
pub struct MasterArgs {
    /// What every process is told.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Where gRPC is answered to the other processes. Default: any free port of 127.0.0.1.
    #[arg(long, env = "VECTORSPHERE_RPC_LISTEN", value_name = "HOST:PORT")]
    pub rpc_listen: Option<String>,
    /// Shards of a new collection that does not say itself. Default: one for each worker.
    #[arg(long, env = "VECTORSPHERE_SHARDS", value_name = "N")]
    pub shards: Option<String>,
}

/// What a master is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// What every process is told.
    pub process: Process,
    /// Where gRPC is answered to the other processes; port 0 for any that is free. Default
    /// 127.0.0.1:0. Another address than one of loopback needs
    /// `process.peer_tls`.
    pub rpc_listen: SocketAddr,
    /// Shards of a new collection that does not say itself, 1 to 4,096. Default none: one for each
    /// worker, so that a write is one sync and a search one walk on each.
    pub shards: Option<u16>,
}

impl MasterArgs {
    /// The checked settings.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn check(self) -> Result<Master, Error> {
        let mut faults = Faults::default();
        let reach = Reach::of(&self.process);
        let process = self.process.check(&mut faults, "127.0.0.1:0");
        let rpc = faults.keep("--rpc-listen", rpc_listen(self.rpc_listen, &reach));
        let shards = faults.keep("--shards", shards(given(self.shards)));
        let settings = (|| {
            Some(Master {
                process: process?,
                rpc_listen: rpc?,
                shards: shards?,
            })
        })();
        faults.end(settings)
    }
}

fn shards(text: Option<String>) -> Result<Option<u16>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    let shards = check::number(&text, 1..=u64::from(SHARDS_MAX))?;
    Ok(u16::try_from(shards).ok())
}
