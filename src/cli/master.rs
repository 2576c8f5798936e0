//! `vectorsphere master`.

use std::process::ExitCode;

use crate::settings::MasterArgs;

use super::{process, refuse};

pub(super) fn run(args: MasterArgs) -> ExitCode {
    let settings = match args.check() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.faults),
    };
    let rpc_listen = Some(settings.rpc_listen);
    process::run(
        &settings.process,
        "master",
        rpc_listen,
        |shell| async move {
            shell.tasks.stopping().await;
            Ok(())
        },
    )
}
