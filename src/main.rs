//! The `vectorsphere` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    vectorsphere::cli::run()
}
