//! What each component is told when it starts: one struct for each, checked before anything runs.
//!
//! Every setting is an argument, and also an environment variable (`VECTORSPHERE_` and the
//! argument's name in capitals); the argument wins, and an empty value is as good as none. The texts
//! (`...Args`) are read first, then turned into other types in one go: all faults are found at once,
//! and what runs can no longer hold a bad value. An unknown argument is refused by the command line,
//! an unknown variable by [`unknown_variables`].
//!
//! Nothing here touches a file or an address: a file that cannot be read is its reader's error. The
//! one exception is the default of `dev`'s data folder, which lies in the home folder.
//!
//! A process that others on the network can reach would need a key file and a certificate; without
//! them only loopback addresses are accepted.

mod check;
mod dev;
mod gateway;
mod logging;
mod master;
mod operator;
mod process;
mod worker;

pub use dev::{DataDir, Dev, DevArgs};
pub use gateway::{ClientAuth, ClientCertificates, Gateway, GatewayArgs, Routing};
pub use logging::{LogFormat, Logging, LoggingArgs};
pub use master::{Master, MasterArgs};
pub use operator::{LeaseSettings, Operator, OperatorArgs};
pub use process::{EndWithParent, Process, ProcessArgs, TlsFiles};
pub use worker::{Worker, WorkerArgs};

use crate::fault::{Fault, Kind};

/// What every variable of ours begins with.
pub const VARIABLE_PREFIX: &str = "VECTORSPHERE_";

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{setting}: {problem}")]
pub struct SettingFault {
    /// The setting as it is spelled, such as `--etcd`.
    pub setting: String,
    /// What is wrong with it, on one line.
    pub problem: String,
}

/// Settings that cannot be used: each fault of them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} of the settings cannot be used", .faults.len())]
pub struct Error {
    /// The faults, in the order of the settings.
    pub faults: Vec<SettingFault>,
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        Kind::InvalidInput
    }

    fn code(&self) -> &'static str {
        "settings.invalid"
    }
}

/// The faults of an environment: variables that look like settings and are none. A misspelled
/// setting would otherwise be passed over in silence.
///
/// Variables that Kubernetes makes for services called `vectorsphere-...` are passed over, and so
/// are those for the project's own tests (`VECTORSPHERE_TEST_...`).
pub fn unknown_variables<'a>(
    environment: impl Iterator<Item = &'a str>,
    known: &[String],
) -> Vec<SettingFault> {
    let ours = environment.filter(|name| name.starts_with(VARIABLE_PREFIX));
    let mut faults: Vec<SettingFault> = ours
        .filter(|name| !known.iter().any(|known| known == name))
        .filter(|name| !is_service_link(name) && !name.starts_with("VECTORSPHERE_TEST_"))
        .map(|name| SettingFault {
            setting: name.to_owned(),
            problem: "is not a setting".to_owned(),
        })
        .collect();
    faults.sort();
    faults
}

/// Whether Kubernetes makes such a variable for a service: `..._SERVICE_HOST`, `..._PORT_80_TCP`.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_TCP")
        || name.contains("_UDP")
}

#[cfg(test)]
pub(crate) mod tests;
