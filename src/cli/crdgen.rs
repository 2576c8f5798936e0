//! `vectorsphere crdgen`: prints what is committed under `crds/`.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::crd::{self, Kind};

use super::complain;

pub(super) fn run() -> ExitCode {
    let text: String = Kind::ALL.into_iter().map(crd::yaml).collect();
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("print the definitions: {error}"));
            ExitCode::FAILURE
        },
    }
}
