//! What the operator is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::check::{self, Faults, given};
use super::process::tls_files;
use super::{Error, Logging, LoggingArgs, TlsFiles};

/// Namespaces that one operator looks after by name: each costs four watches.
const NAMESPACES_MAX: usize = 64;

/// The texts of [`Operator`].
#[derive(Debug, Clone, clap::Args)]
pub struct OperatorArgs {
    /// The namespaces whose VectorClusters it carries out, separated by commas. Default: all.
    #[arg(long, env = "VECTORSPHERE_NAMESPACE", value_name = "NAME,...")]
    pub namespace: Option<String>,
    /// The repository of the image of gateways, masters and workers, for manifests that name none.
    #[arg(long, env = "VECTORSPHERE_IMAGE_REPOSITORY", value_name = "IMAGE")]
    pub image_repository: Option<String>,
    /// The image of etcd, for manifests that name none.
    #[arg(long, env = "VECTORSPHERE_ETCD_IMAGE", value_name = "IMAGE")]
    pub etcd_image: Option<String>,
    /// Whether it acts only while it holds the Lease: on or off. Off is for development, where it is
    /// sure to be the only one.
    #[arg(
        long,
        env = "VECTORSPHERE_LEASE",
        default_value = "on",
        value_name = "on|off"
    )]
    pub lease: String,
    /// The namespace of the Lease: the operator's own. Needed with a Lease.
    #[arg(long, env = "VECTORSPHERE_LEASE_NAMESPACE", value_name = "NAME")]
    pub lease_namespace: Option<String>,
    /// The name of this process, in Kubernetes its pod's. Needed with a Lease.
    #[arg(long, env = "VECTORSPHERE_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// Where probes and metrics are answered.
    #[arg(
        long,
        env = "VECTORSPHERE_LISTEN",
        default_value = "127.0.0.1:8080",
        value_name = "HOST:PORT"
    )]
    pub listen: String,
    /// A file of API keys, or a folder with a role's key in a file, admin or readonly: who may see
    /// metrics where others than this machine can reach --listen. Default: nobody there.
    #[arg(long, env = "VECTORSPHERE_API_KEY_FILE", value_name = "PATH")]
    pub api_key_file: Option<String>,
    /// The certificate of --listen and what leads to its authority, PEM. Default: where others than
    /// this machine can reach it, one that it makes for itself.
    #[arg(long, env = "VECTORSPHERE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// The key of that certificate, PEM.
    #[arg(long, env = "VECTORSPHERE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<String>,
    /// Seconds that each step of a change of a cluster's authority lasts at least, from 60: what a
    /// Secret takes to reach every process.
    #[arg(
        long,
        env = "VECTORSPHERE_AUTHORITY_OVERLAP_SECONDS",
        default_value = "600",
        value_name = "SECONDS"
    )]
    pub authority_overlap_seconds: String,
    /// How it logs.
    #[command(flatten)]
    pub logging: LoggingArgs,
}

/// What the operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The namespaces whose clusters it carries out, at most 64. Default none: all of them.
    pub namespaces: Vec<String>,
    /// The repository of the roles' image. No default: there is no published one.
    pub image_repository: String,
    /// The image of etcd. No default, for the same reason.
    pub etcd_image: String,
    /// The Lease that it has to hold. Default: one is needed, since two that act would undo each
    /// other's work.
    pub lease: Option<LeaseSettings>,
    /// Where probes and metrics are answered. Default 127.0.0.1:8080.
    pub listen: SocketAddr,
    /// The file or folder of the keys that may see metrics. Default none.
    pub api_key_file: Option<PathBuf>,
    /// Certificate and key of `listen`. Default none: plain text on loopback, and one of its own
    /// elsewhere.
    pub tls: Option<TlsFiles>,
    /// How long each step of a change of a cluster's authority lasts at least, 60 s to a day. Default
    /// 600 s: several times what a kubelet takes to bring a Secret.
    pub authority_overlap: Duration,
    /// How it logs.
    pub logging: Logging,
}

/// Where the Lease lies, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Its namespace. No default: two operators of one cluster must meet.
    pub namespace: String,
    /// The name of this process. No default: two of one name would both hold it.
    pub name: String,
}

impl OperatorArgs {
    /// The checked settings.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn check(self) -> Result<Operator, Error> {
        let mut faults = Faults::default();
        let namespaces = faults.keep("--namespace", namespaces(self.namespace));
        let image = faults.keep("--image-repository", check::required(self.image_repository));
        let etcd = faults.keep("--etcd-image", check::required(self.etcd_image));
        let (lease_namespace, name) = (self.lease_namespace, self.name);
        let lease = match self.lease.as_str() {
            "on" | "" => {
                let needed = |text| check::required(text).and_then(|text| check::label(&text));
                let namespace = faults.keep("--lease-namespace", needed(lease_namespace));
                let name = faults.keep("--name", needed(name));
                namespace
                    .zip(name)
                    .map(|(namespace, name)| Some(LeaseSettings { namespace, name }))
            },
            "off" => Some(None),
            other => {
                faults.add(
                    "--lease",
                    format!("{} is neither on nor off", check::quoted(other)),
                );
                None
            },
        };
        let listen = faults.keep("--listen", check::address(&self.listen));
        let files = (check::path(self.tls_cert), check::path(self.tls_key));
        let tls = tls_files(files, &mut faults);
        let overlap = check::number(&self.authority_overlap_seconds, 60..=86_400);
        let overlap = faults.keep("--authority-overlap-seconds", overlap);
        let logging = self.logging.check(&mut faults);
        let settings = (|| {
            Some(Operator {
                namespaces: namespaces?,
                image_repository: image?,
                etcd_image: etcd?,
                lease: lease?,
                listen: listen?,
                api_key_file: check::path(self.api_key_file),
                tls,
                authority_overlap: Duration::from_secs(overlap?),
                logging: logging?,
            })
        })();
        faults.end(settings)
    }
}

/// Names that are separated by commas, each once.
fn namespaces(text: Option<String>) -> Result<Vec<String>, String> {
    let Some(text) = given(text) else {
        return Ok(Vec::new());
    };
    let names: Result<Vec<String>, String> = text
        .split(',')
        .map(|name| check::label(name.trim()))
        .collect();
    let mut names = names?;
    names.sort();
    names.dedup();
    if names.len() > NAMESPACES_MAX {
        return Err(format!("names more than {NAMESPACES_MAX} namespaces"));
    }
    Ok(names)
}
