//! `vectorsphere gateway`.

use std::process::ExitCode;

use crate::settings::GatewayArgs;

use super::{process, refuse};

pub(super) fn run(args: GatewayArgs) -> ExitCode {
    let settings = match args.check() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.faults),
    };
    let rpc_listen = None;
    process::run(
        &settings.process,
        "gateway",
        rpc_listen,
        |shell| async move {
            shell.tasks.stopping().await;
            Ok(())
        },
    )
}
