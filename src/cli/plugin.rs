//! `kubectl vectorsphere`, which is `vectorsphere kubectl`: the command line of the plugin.
//!
//! `kubectl` runs a program of the name `kubectl-vectorsphere` for it. There is one binary: called by that
//! name, as a link or a copy, it takes this command line and no other.

mod output;
mod run;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{complain, process};
use crate::fault::chain;
use crate::plugin::look::Connection;
use crate::topology::Role;

/// The name by which `kubectl` finds the plugin.
const PROGRAM: &str = "kubectl-vectorsphere";

/// The command line of the plugin when it is called by its own name.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-vectorsphere",
    bin_name = "kubectl vectorsphere",
    version,
    about = "Looks into VectorClusters, says what they wait for, and tells them what to do"
)]
pub(super) struct PluginCommand {
    #[command(flatten)]
    pub(super) args: PluginArgs,
}

/// Which Kubernetes, and what to do.
#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    what: What,
}

/// What every command of `kubectl` takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which Kubernetes")]
struct ConnectionArgs {
    /// The namespace. Default: that of the context.
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// The context of the kubeconfig. Default: the current one.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig. Default: that of KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows phase, roles, pods, certificates, what is unusual and what is under way.
    Status(StatusArgs),
    /// Says in sentences why a cluster is not Ready, what it waits for, and what you can do.
    Explain(NameArgs),
    /// Has pods made anew, one after the other, when the gates let them.
    Restart(RestartArgs),
    /// Lets an update begin that waits for an approval (updates.type: Supervised).
    Approve(ApproveArgs),
    /// Has the operator change nothing any more; what runs goes on.
    Pause(NameArgs),
    /// Has the operator act again.
    Resume(NameArgs),
    /// Ends every pod and keeps every volume.
    Hibernate(NameArgs),
    /// Starts the pods again on their volumes.
    Wake(NameArgs),
    /// Prints what the pods say, each line with its pod.
    Logs(LogsArgs),
    /// Opens a way to a gateway and prints its URL and where its key is.
    PortForward(PortForwardArgs),
    /// Searches a collection, through a way to a gateway that lasts as long as the question.
    Search(SearchArgs),
    /// Writes a file with all that is known of a cluster and no secret, for those who help.
    Report(ReportArgs),
}

/// A cluster.
#[derive(Debug, Args)]
struct NameArgs {
    /// The VectorCluster.
    #[arg(value_name = "NAME")]
    name: String,
}

/// Which clusters, and how they are shown.
#[derive(Debug, Args)]
struct StatusArgs {
    /// The VectorCluster. Default: the only one of the namespace, or a list of them.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The clusters of all namespaces, as a list.
    #[arg(short = 'A', long, conflicts_with_all = ["name", "watch"])]
    all_namespaces: bool,
    /// Goes on, and shows it anew when something changes.
    #[arg(short, long, requires = "name")]
    watch: bool,
    /// Tables for people, or JSON for programs.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The shape of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables.
    Table,
    /// One JSON object.
    Json,
}

/// Which pods to make anew.
#[derive(Debug, Args)]
struct RestartArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// Only the pods of this role: etcd, master, worker or gateway. Default: of all.
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<Role>,
}

/// What to approve.
#[derive(Debug, Args)]
struct ApproveArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// The operation. Default: whichever waits.
    #[arg(value_name = "OPERATION")]
    operation: Option<String>,
}

/// Which lines.
#[derive(Debug, Args)]
struct LogsArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// Only the pods of this role: etcd, master, worker or gateway.
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Option<Role>,
    /// Goes on with what they say, and with pods that come.
    #[arg(short, long, conflicts_with = "previous")]
    follow: bool,
    /// Only what is not older: such as 30s, 5m or 2h.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    since: Option<i64>,
    /// Only the last lines of each container. Default: all, with --follow the last 10.
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(i64).range(0..))]
    tail: Option<i64>,
    /// What the containers said before they were last started again.
    #[arg(short, long)]
    previous: bool,
}

/// Which port here.
#[derive(Debug, Args)]
struct PortForwardArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// The port of this machine. Default: one that is free.
    #[arg(value_name = "PORT")]
    port: Option<u16>,
    /// Print the API key too. Whoever sees the screen has it then.
    #[arg(long, value_name = "WHICH", value_enum)]
    show_key: Option<Key>,
}

/// An API key of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Key {
    /// May do everything.
    Admin,
    /// May only read.
    Readonly,
}

impl Key {
    const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Readonly => "readonly",
        }
    }
}

/// What to search for.
#[derive(Debug, Args)]
struct SearchArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// The collection.
    #[arg(value_name = "COLLECTION")]
    collection: String,
    /// What is looked for, as JSON: [0.1, 0.2, ...].
    #[arg(
        long,
        value_name = "JSON",
        required_unless_present = "id",
        conflicts_with = "id"
    )]
    vector: Option<String>,
    /// The point whose neighbours are looked for: a number or a UUID.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Points at most.
    #[arg(long, value_name = "POINTS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    /// Only points that this filter lets through, as JSON: {"must": [...]}.
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Show the payloads too.
    #[arg(long)]
    with_payload: bool,
    /// The name that the gateway's certificate has to be for. Default: that of its Service.
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Tables for people, or JSON for programs.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Where the report goes, and how much of the logs.
#[derive(Debug, Args)]
struct ReportArgs {
    #[command(flatten)]
    cluster: NameArgs,
    /// The file, a tar archive. Default: vectorsphere-report-NAME.tar. One that is there is not overwritten.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Lines of each container's log.
    #[arg(long, value_name = "LINES", default_value_t = 1_000, value_parser = clap::value_parser!(i64).range(0..=100_000))]
    lines: i64,
}

fn role(text: &str) -> Result<Role, String> {
    let all = [Role::Etcd, Role::Master, Role::Worker, Role::Gateway];
    let found = all.into_iter().find(|role| role.as_str() == text);
    found.ok_or_else(|| "is not etcd, master, worker or gateway".to_owned())
}

/// A time such as 30s, 5m, 2h or 1d, in seconds.
fn seconds(text: &str) -> Result<i64, String> {
    let wrong = || "is no time such as 30s, 5m or 2h".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let number: u32 = number.parse().map_err(|_not_a_number| wrong())?;
    Ok(i64::from(number).saturating_mul(each))
}

/// Whether the program was called by the plugin's name.
pub(super) fn is_called(program: Option<&OsStr>) -> bool {
    let name = program.and_then(|program| Path::new(program).file_name());
    name == Some(OsStr::new(PROGRAM))
}

/// Runs what the command line says.
pub(super) fn run(args: PluginArgs) -> ExitCode {
    let connection = Connection {
        kubeconfig: args.connection.kubeconfig,
        context: args.connection.context,
        namespace: args.connection.namespace,
    };
    let done = process::runtime(1)
        .map_err(anyhow::Error::from)
        // Boxed: with all its commands it is large.
        .and_then(|runtime| runtime.block_on(Box::pin(run::run(connection, args.what))));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&chain(error.as_ref()));
            ExitCode::FAILURE
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_each_command_says_what_it_does() {
        PluginCommand::command().debug_assert();
        for command in PluginCommand::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn the_name_of_the_program_decides() {
        assert!(is_called(Some(OsStr::new("/usr/bin/kubectl-vectorsphere"))));
        assert!(is_called(Some(OsStr::new("kubectl-vectorsphere"))));
        assert!(!is_called(Some(OsStr::new("/usr/bin/vectorsphere"))));
        assert!(!is_called(None));
    }

    #[test]
    fn times_and_roles_are_read() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2h"), Ok(7_200));
        for wrong in ["", "5", "m", "-1s", "5µ"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(role("worker"), Ok(Role::Worker));
        assert!(role("workers").is_err());
    }
}
