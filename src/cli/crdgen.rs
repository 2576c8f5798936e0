//! `vectorsphere crdgen`: prints what is committed under `crds/`.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::crd;

use super::complain;

pub(super) fn run() -> ExitCode {
    match io::stdout().lock().write_all(crd::yaml().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("print the definitions: {error}"));
            ExitCode::FAILURE
        },
    }
}
