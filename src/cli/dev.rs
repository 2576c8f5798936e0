//! `vectorsphere dev`: a whole cluster on this machine, from a manifest.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::dev;
use crate::entropy::Entropy;
use crate::fault::{Fault, Kind, chain};
use crate::process::StopRequests;
use crate::settings::{Dev, DevArgs};
use crate::telemetry::start_logging;

use super::process::{name_process, runtime};
use super::{EXIT_USAGE, complain, refuse};

/// Threads that serve etcd to a handful of processes.
const THREADS: usize = 2;

pub(super) fn run(args: DevArgs) -> ExitCode {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let settings = match args.check(home.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.faults),
    };
    start_logging(&settings.logging);
    name_process();
    let runtime = match runtime(THREADS) {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("start threads: {error}"));
            return ExitCode::FAILURE;
        },
    };
    let code = runtime.block_on(carry_out(settings));
    runtime.shutdown_background();
    code
}

async fn carry_out(settings: Dev) -> ExitCode {
    let parts = (SystemClock::shared(), Arc::new(Entropy::from_system()));
    let ended = match StopRequests::of_signals() {
        Ok(mut stop) => dev::run(settings, &mut stop, parts).await,
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(dev::Error::Manifest { file, faults }) => {
            complain(&format!("{file} cannot be used:"));
            refuse(&faults)
        },
        Err(dev::Error::Settings(faults)) => refuse(&faults),
        Err(error) => {
            complain(&chain(&error));
            if error.kind() == Kind::InvalidInput {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::FAILURE
            }
        },
    }
}
