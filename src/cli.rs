//! The command line: reads the settings, puts a process together, and turns its end into an exit
//! code. It decides nothing else.
//!
//! Exit codes: 0 done, or stopped in order; 64 the settings or the manifest cannot be used, each
//! fault on standard error; 1 anything else.

mod check;
mod crdgen;
mod ctl;
mod dev;
mod gateway;
mod master;
mod member;
mod operator;
mod plugin;
mod process;
mod status;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser};

use crate::settings::{
    self, DevArgs, GatewayArgs, MasterArgs, OperatorArgs, SettingFault, VARIABLE_PREFIX, WorkerArgs,
};

/// The settings or the manifest cannot be used (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

#[derive(Debug, Parser)]
#[command(
    name = "vectorsphere",
    version,
    about = "A distributed vector search system"
)]
enum Command {
    /// Runs the whole cluster of a manifest on this machine.
    Dev(DevArgs),
    /// Runs a gateway: answers applications.
    Gateway(GatewayArgs),
    /// Runs a master: decides what exists and who serves it.
    Master(MasterArgs),
    /// Runs a worker: keeps shards and answers for them.
    Worker(WorkerArgs),
    /// Carries VectorClusters out on Kubernetes.
    Operator(OperatorArgs),
    /// Prints the custom resource definitions that this binary expects.
    Crdgen,
    /// Looks into a running cluster.
    Ctl(ctl::CtlArgs),
    /// What `kubectl vectorsphere` does: status, explain, restart, logs, search and more of VectorClusters.
    Kubectl(plugin::PluginArgs),
}

/// Runs what the command line says.
pub fn run() -> ExitCode {
    if plugin::is_called(std::env::args_os().next().as_deref()) {
        return match plugin::PluginCommand::try_parse() {
            Ok(command) => plugin::run(command.args),
            Err(error) => usage(&error),
        };
    }
    let command = match parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => return usage(&error),
    };
    let unknown = unknown_variables();
    // The plugin is no process of a cluster and reads no variable of one.
    if !unknown.is_empty() && !matches!(command, Command::Kubectl(_)) {
        return refuse(&unknown);
    }
    match command {
        Command::Dev(args) => dev::run(args),
        Command::Gateway(args) => gateway::run(args),
        Command::Master(args) => master::run(args),
        Command::Worker(args) => worker::run(args),
        Command::Operator(args) => operator::run(args),
        Command::Crdgen => crdgen::run(),
        Command::Ctl(args) => ctl::run(args),
        Command::Kubectl(args) => plugin::run(args),
    }
}

fn parse(line: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let matches = Command::command().try_get_matches_from(line)?;
    Command::from_arg_matches(&matches)
}

/// Help and version are what was asked for; anything else is a wrong command line.
fn usage(error: &clap::Error) -> ExitCode {
    // The text has nowhere else to go.
    drop(error.print());
    let asked_for = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
    if asked_for.contains(&error.kind()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_USAGE)
    }
}

/// Says every fault, each on its line.
fn refuse<F: std::fmt::Display>(faults: &[F]) -> ExitCode {
    for fault in faults {
        complain(&fault.to_string());
    }
    ExitCode::from(EXIT_USAGE)
}

/// Says a line on standard error, where there may be no log yet.
fn complain(line: &str) {
    // There is nowhere to say that nobody listens.
    drop(writeln!(io::stderr().lock(), "vectorsphere: {line}"));
}

fn unknown_variables() -> Vec<SettingFault> {
    let names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _value)| name.into_string().ok())
        .filter(|name| name.starts_with(VARIABLE_PREFIX))
        .collect();
    settings::unknown_variables(names.iter().map(String::as_str), &known_variables())
}

/// The variables that some command reads.
fn known_variables() -> Vec<String> {
    let command = Command::command();
    let arguments = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments);
    arguments
        .filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_setting_has_its_variable() {
        Command::command().debug_assert();
        let known = known_variables();
        let roles = ["dev", "gateway", "master", "operator", "worker"];
        for command in Command::command().get_subcommands() {
            if !roles.contains(&command.get_name()) {
                continue;
            }
            for argument in command.get_arguments() {
                let name = argument.get_long().unwrap_or_default();
                if name != "end-with-parent" {
                    let variable = name.to_uppercase().replace('-', "_");
                    assert!(
                        known.contains(&format!("VECTORSPHERE_{variable}")),
                        "{name}"
                    );
                }
            }
        }
    }
}
