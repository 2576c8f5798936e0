//! What a gateway is told.

use super::check::{Faults, quoted};
use super::{Error, Process, ProcessArgs};

/// The texts of [`Gateway`].
#[derive(Debug, Clone, clap::Args)]
pub struct GatewayArgs {
    /// What every process is told.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Who fans a request for data out to the workers: `Direct` this process, `ViaMaster` a master.
    #[arg(
        long,
        env = "VECTORSPHERE_ROUTING",
        default_value = "Direct",
        value_name = "Direct|ViaMaster"
    )]
    pub routing: String,
}

/// Who fans a request for data out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// The gateway itself: no extra hop.
    Direct,
    /// A master.
    ViaMaster,
}

impl Routing {
    /// The word of the setting, and of the manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "Direct",
            Self::ViaMaster => "ViaMaster",
        }
    }
}

/// What a gateway is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// What every process is told.
    pub process: Process,
    /// Who fans a request for data out. Default `Direct`: it is quicker, and needs no master.
    pub routing: Routing,
}

impl GatewayArgs {
    /// The checked settings.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn check(self) -> Result<Gateway, Error> {
        let mut faults = Faults::default();
        let process = self.process.check(&mut faults, "127.0.0.1:6333");
        let routing = faults.keep("--routing", routing(&self.routing));
        faults.end(
            process
                .zip(routing)
                .map(|(process, routing)| Gateway { process, routing }),
        )
    }
}

fn routing(text: &str) -> Result<Routing, String> {
    match text {
        "" | "Direct" => Ok(Routing::Direct),
        "ViaMaster" => Ok(Routing::ViaMaster),
        other => Err(format!("{} is neither Direct nor ViaMaster", quoted(other))),
    }
}
