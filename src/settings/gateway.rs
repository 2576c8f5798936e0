//! What a gateway is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::check::{self, Faults, given, quoted};
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
    /// Whether applications show certificates: `Disabled` they are not asked for one, `Optional` one that is
    /// shown has to be good, `Required` one has to be shown. API keys are needed in any case.
    #[arg(
        long,
        env = "VECTORSPHERE_CLIENT_AUTH",
        default_value = "Disabled",
        value_name = "Disabled|Optional|Required"
    )]
    pub client_auth: String,
    /// Files of the authorities that certificates of applications may be of, PEM, separated by commas. One
    /// that is not there holds none. Needed with --client-auth.
    #[arg(long, env = "VECTORSPHERE_CLIENT_AUTHORITIES", value_name = "FILE,...")]
    pub client_authorities: Option<String>,
    /// Where /livez and /readyz, and nothing else, are answered to who shows neither a certificate nor a key.
    /// Default: nowhere but at --listen.
    #[arg(long, env = "VECTORSPHERE_PROBE_LISTEN", value_name = "HOST:PORT")]
    pub probe_listen: Option<String>,
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

/// Whether an application has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// One that is shown has to be good.
    Optional,
    /// One has to be shown.
    Required,
}

/// The certificates of applications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// Whether one has to be shown.
    pub demand: ClientAuth,
    /// Files of the authorities that they may be of, PEM, 1 to 8.
    pub authorities: Vec<PathBuf>,
}

/// What a gateway is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// What every process is told.
    pub process: Process,
    /// Who fans a request for data out. Default `Direct`: it is quicker, and needs no master.
    pub routing: Routing,
    /// The certificates of applications. Default none: they are not asked for one.
    pub clients: Option<ClientCertificates>,
    /// Where health is answered to who shows nothing; port 0 for any that is free. Default none.
    pub probe_listen: Option<SocketAddr>,
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
        let demand = faults.keep("--client-auth", client_auth(&self.client_auth));
        let files = faults.keep(
            "--client-authorities",
            files(given(self.client_authorities)),
        );
        let address = |text: String| check::address(&text);
        let probe_listen = given(self.probe_listen).map(address).transpose();
        let probe_listen = faults.keep("--probe-listen", probe_listen);
        let has_tls = process
            .as_ref()
            .is_some_and(|process| process.tls.is_some());
        let asks = matches!(demand, Some(Some(_)));
        if asks && process.is_some() && !has_tls {
            faults.add("--tls-cert", "is needed with --client-auth");
        }
        if asks && files.as_ref().is_some_and(Vec::is_empty) {
            faults.add("--client-authorities", "is needed with --client-auth");
        }
        let reachable = probe_listen
            .flatten()
            .filter(|at| !at.ip().to_canonical().is_loopback());
        if let (Some(address), true, false) = (reachable, process.is_some(), has_tls) {
            let needed = format!("is needed: others than this machine can reach {address}");
            faults.add("--tls-cert", needed);
        }
        let clients = demand.zip(files).map(|(demand, authorities)| {
            demand.map(|demand| ClientCertificates {
                demand,
                authorities,
            })
        });
        let told = || {
            Some(Gateway {
                process: process?,
                routing: routing?,
                clients: clients?,
                probe_listen: probe_listen?,
            })
        };
        let told = told();
        faults.end(told)
    }
}

/// Files of authorities: more than whoever changes several at a time needs.
const AUTHORITIES_MAX: usize = 8;

fn client_auth(text: &str) -> Result<Option<ClientAuth>, String> {
    match text {
        "" | "Disabled" => Ok(None),
        "Optional" => Ok(Some(ClientAuth::Optional)),
        "Required" => Ok(Some(ClientAuth::Required)),
        other => Err(format!(
            "{} is neither Disabled nor Optional nor Required",
            quoted(other)
        )),
    }
}

fn files(text: Option<String>) -> Result<Vec<PathBuf>, String> {
    let text = text.unwrap_or_default();
    let files = text
        .split(',')
        .map(str::trim)
        .filter(|file| !file.is_empty());
    let files: Vec<PathBuf> = files.map(PathBuf::from).collect();
    if files.len() > AUTHORITIES_MAX {
        return Err(format!("names more than {AUTHORITIES_MAX} files"));
    }
    Ok(files)
}

fn routing(text: &str) -> Result<Routing, String> {
    match text {
        "" | "Direct" => Ok(Routing::Direct),
        "ViaMaster" => Ok(Routing::ViaMaster),
        other => Err(format!("{} is neither Direct nor ViaMaster", quoted(other))),
    }
}
