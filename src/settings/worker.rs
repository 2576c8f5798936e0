//! What a worker is told.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::check::{self, Faults, given};
use super::process::{Reach, rpc_listen};
use super::{Error, Process, ProcessArgs};

const OPEN_MAX_RANGE: RangeInclusive<u64> = 1..=4_096;
const OPEN_MAX_DEFAULT: usize = 128;
/// Fewer than the threads that wait for the disk, so that writes always find one.
const SEARCHES_MAX_RANGE: RangeInclusive<u64> = 1..=48;
const MAP_BYTES_RANGE: RangeInclusive<u64> = (1 << 20)..=(1 << 44);
const MAP_BYTES_DEFAULT: u64 = 1 << 34;
const MAP_BYTES_MAX_DEFAULT: u64 = 1 << 40;

/// The texts of [`Worker`].
#[derive(Debug, Clone, clap::Args)]
pub struct WorkerArgs {
    /// What every process is told.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Where gRPC is answered to the other processes. Default: any free port of 127.0.0.1.
    #[arg(long, env = "VECTORSPHERE_RPC_LISTEN", value_name = "HOST:PORT")]
    pub rpc_listen: Option<String>,
    /// Shards that are open at the same time, 1 to 4096. Default: 128.
    #[arg(long, env = "VECTORSPHERE_ENVIRONMENTS_OPEN_MAX", value_name = "N")]
    pub environments_open_max: Option<String>,
    /// Searches that run at the same time, 1 to 48; more wait. Default: --threads.
    #[arg(long, env = "VECTORSPHERE_SEARCHES_MAX", value_name = "N")]
    pub searches_max: Option<String>,
    /// Address space that a shard reserves at first, 1Mi to 16Ti. Default: 16Gi.
    #[arg(long, env = "VECTORSPHERE_MAP_BYTES", value_name = "BYTES")]
    pub map_bytes: Option<String>,
    /// Bytes that a shard may grow to, --map-bytes to 16Ti. Default: 1Ti.
    #[arg(long, env = "VECTORSPHERE_MAP_BYTES_MAX", value_name = "BYTES")]
    pub map_bytes_max: Option<String>,
}

/// What a worker is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// What every process is told.
    pub process: Process,
    /// Where gRPC is answered to the other processes; port 0 for any that is free. Default
    /// 127.0.0.1:0. Another address than one of loopback needs
    /// `process.peer_tls`.
    pub rpc_listen: SocketAddr,
    /// Shards that are open at the same time, 1 to 4,096. Default 128: each takes a few files and
    /// its address space, and opening one again takes no longer with more points in it.
    pub environments_open_max: usize,
    /// Searches that run at the same time, 1 to 48; more wait. Default `process.threads`: a
    /// search keeps a core busy.
    pub searches_max: usize,
    /// Bytes of address space that a shard reserves at first, 1 MiB to 16 TiB. Default 16 GiB: it
    /// costs no memory, and growing stops the shard's readers for a moment.
    pub map_bytes: u64,
    /// Bytes that a shard may grow to; then its writes are refused. `map_bytes` to 16 TiB. Default
    /// 1 TiB: what bounds a shard is its disk.
    pub map_bytes_max: u64,
}

impl WorkerArgs {
    /// The checked settings.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn check(self) -> Result<Worker, Error> {
        let mut faults = Faults::default();
        let reach = Reach::of(&self.process);
        let process = self.process.check(&mut faults, "127.0.0.1:0");
        let rpc = faults.keep("--rpc-listen", rpc_listen(self.rpc_listen, &reach));
        let open = count(self.environments_open_max, OPEN_MAX_RANGE, OPEN_MAX_DEFAULT);
        let open = faults.keep("--environments-open-max", open);
        let threads = process.as_ref().map_or(1, |process| process.threads);
        let most = usize::try_from(*SEARCHES_MAX_RANGE.end()).unwrap_or(usize::MAX);
        let searches = count(self.searches_max, SEARCHES_MAX_RANGE, threads.min(most));
        let searches = faults.keep("--searches-max", searches);
        let map = faults.keep("--map-bytes", bytes(self.map_bytes, MAP_BYTES_DEFAULT));
        let map_max = bytes(self.map_bytes_max, MAP_BYTES_MAX_DEFAULT);
        let map_max = faults.keep("--map-bytes-max", map_max);
        if let (Some(first), Some(most)) = (map, map_max)
            && first > most
        {
            faults.add(
                "--map-bytes-max",
                format!("{most} is less than --map-bytes, {first}"),
            );
        }
        let settings = (|| {
            Some(Worker {
                process: process?,
                rpc_listen: rpc?,
                environments_open_max: open?,
                searches_max: searches?,
                map_bytes: map?,
                map_bytes_max: map_max?,
            })
        })();
        faults.end(settings)
    }
}

fn count(
    text: Option<String>,
    range: RangeInclusive<u64>,
    default: usize,
) -> Result<usize, String> {
    let Some(text) = given(text) else {
        return Ok(default);
    };
    let count = check::number(&text, range)?;
    Ok(usize::try_from(count).unwrap_or(default))
}

fn bytes(text: Option<String>, default: u64) -> Result<u64, String> {
    given(text).map_or(Ok(default), |text| check::bytes(&text, MAP_BYTES_RANGE))
}
