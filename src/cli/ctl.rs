//! `vectorsphere ctl`: looks into a running cluster.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::check::{CheckArgs, check};
use super::{complain, process, status};
use crate::clock::{Clock, SystemClock};
use crate::dev::Endpoints;
use crate::fault::chain;
use crate::plugin::masters::json_of;

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct CtlArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Processes, collections, shards, who leads, and what is under way.
    Status(StatusArgs),
    /// Asks a gateway as an application does: whether it is ready and tells its collections.
    Check(CheckArgs),
}

/// Which cluster, and in what shape.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The gRPC address of a master: for a cluster that `vectorsphere dev` runs, the `rpc_address` of
    /// its master in DATA_DIR/endpoints.json.
    #[arg(
        long,
        value_name = "HOST:PORT",
        value_parser = host_and_port,
        conflicts_with = "data_dir"
    )]
    master: Option<String>,
    /// The data folder of a cluster that `vectorsphere dev` runs on this machine: the line `data` of
    /// what it prints. Default: that of the sample that `dev` runs without a manifest.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

fn host_and_port(text: &str) -> Result<String, String> {
    let port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok();
    if !text.contains('/') && text.rsplit_once(':').is_some_and(port) {
        Ok(text.to_owned())
    } else {
        Err("is not HOST:PORT".to_owned())
    }
}

pub(super) fn run(args: CtlArgs) -> ExitCode {
    let done = match args.what {
        What::Status(args) => show(&args),
        What::Check(args) => answered(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(error.as_ref()));
            ExitCode::FAILURE
        },
    }
}

fn show(args: &StatusArgs) -> anyhow::Result<()> {
    let masters = match (&args.master, &args.data_dir) {
        (Some(master), _) => vec![master.clone()],
        (None, Some(folder)) => masters_of(folder)?,
        (None, None) => {
            let home = std::env::var_os("HOME").context("HOME is not set: give --data-dir")?;
            masters_of(&PathBuf::from(home).join(".local/share/vectorsphere/laptop"))?
        },
    };
    let state = process::runtime(1)?.block_on(status::ask(&masters))?;
    let text = if args.json {
        let mut text = serde_json::to_string_pretty(&json_of(&state))?;
        text.push('\n');
        text
    } else {
        status::text_of(&state, SystemClock.wall_ms())
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

fn answered(args: &CheckArgs) -> anyhow::Result<()> {
    let text = process::runtime(1)?.block_on(check(args))?;
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// The masters of a cluster on this machine.
fn masters_of(folder: &Path) -> anyhow::Result<Vec<String>> {
    let endpoints = Endpoints::read(folder)
        .with_context(|| format!("no cluster runs in {}", folder.display()))?;
    let masters = endpoints
        .components
        .into_iter()
        .filter(|card| card.role == "master");
    Ok(masters.filter_map(|card| card.rpc_address).collect())
}
