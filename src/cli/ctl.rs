//! `vectorsphere ctl`: looks into a running cluster.

use std::process::ExitCode;

use super::complain;

/// What to look at.
#[derive(Debug, clap::Args)]
pub(super) struct CtlArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Processes, collections, shards, and who leads.
    Status(StatusArgs),
}

/// Which cluster, and in what shape.
#[derive(Debug, clap::Args)]
struct StatusArgs {
    /// The address of a master, `HOST:PORT`.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "data_dir")]
    master: Option<String>,
    /// The data folder of a cluster that `vectorsphere dev` runs.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: CtlArgs) -> ExitCode {
    let What::Status(args) = args.what;
    complain(&format!("not built yet: {args:?}"));
    ExitCode::FAILURE
}
