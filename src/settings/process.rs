//! What gateways, masters and workers are all told.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use uuid::Uuid;

use super::check::{self, Faults, given, quoted};
use super::{Logging, LoggingArgs};

/// Members of an etcd cluster.
const ENDPOINTS_MAX: usize = 9;
/// Characters of the prefix of the keys: every key carries it.
const PREFIX_CHARS_MAX: usize = 200;
const THREADS_MAX: u64 = 256;
/// More threads than this are worth their memory only on machines that do nothing else.
const THREADS_DEFAULT_MAX: usize = 4;

/// The texts of [`Process`].
#[derive(Debug, Clone, clap::Args)]
pub struct ProcessArgs {
    /// The name of this process in its cluster, in Kubernetes its pod's.
    #[arg(long, env = "VECTORSPHERE_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// The folder that this process keeps its identity and its data in; nobody else may use it.
    #[arg(long, env = "VECTORSPHERE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where etcd is: http://HOST:PORT or https://HOST:PORT of each member, separated by commas.
    #[arg(long, env = "VECTORSPHERE_ETCD", value_name = "URL,...")]
    pub etcd: Option<String>,
    /// A folder with tls.crt, tls.key and ca.crt, PEM, for etcd. Needed with https.
    #[arg(long, env = "VECTORSPHERE_ETCD_TLS", value_name = "DIR")]
    pub etcd_tls: Option<String>,
    /// A folder with username and password, by which this process logs in at etcd.
    #[arg(long, env = "VECTORSPHERE_ETCD_AUTH", value_name = "DIR")]
    pub etcd_auth: Option<String>,
    /// What every key in etcd begins with.
    #[arg(
        long,
        env = "VECTORSPHERE_PREFIX",
        default_value = "/vectorsphere",
        value_name = "PATH"
    )]
    pub prefix: String,
    /// The namespace of the cluster.
    #[arg(
        long,
        env = "VECTORSPHERE_NAMESPACE",
        default_value = "default",
        value_name = "NAME"
    )]
    pub namespace: String,
    /// The name of the cluster.
    #[arg(long, env = "VECTORSPHERE_CLUSTER", value_name = "NAME")]
    pub cluster: Option<String>,
    /// The UID of the cluster, a UUID: another one under its keys in etcd is another cluster, and refused.
    /// Default: what stands there, or whatever the first process makes up.
    #[arg(long, env = "VECTORSPHERE_CLUSTER_UID", value_name = "UID")]
    pub cluster_uid: Option<String>,
    /// Where HTTP is answered: the API at a gateway; health, readiness and metrics everywhere.
    /// Default: 127.0.0.1:6333 for a gateway, any free port of 127.0.0.1 for the others.
    #[arg(long, env = "VECTORSPHERE_LISTEN", value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// The IP address or name under which the other processes reach this one. Needed where it listens
    /// on every address of its machine. Default: the address it listens on.
    #[arg(long, env = "VECTORSPHERE_ADVERTISE", value_name = "HOST")]
    pub advertise: Option<String>,
    /// A file of API keys, a line each, `admin: KEY` or `read-only: KEY` with a key of 8 to 1024 visible
    /// characters; or a folder with a role's key in a file, admin or readonly. Needed where others than
    /// this machine can reach --listen.
    #[arg(long, env = "VECTORSPHERE_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<String>,
    /// A file with the certificate of --listen and what leads to its authority, PEM.
    #[arg(long, env = "VECTORSPHERE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// A file with the key of --tls-cert, PEM.
    #[arg(long, env = "VECTORSPHERE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<String>,
    /// A folder with tls.crt, tls.key and ca.crt, PEM: by them this process and the others of its
    /// cluster know each other. Needed where others than this machine can reach --rpc-listen.
    #[arg(long, env = "VECTORSPHERE_PEER_TLS", value_name = "DIR")]
    pub peer_tls: Option<String>,
    /// Threads that serve requests. Default: one for each core, at most 4.
    #[arg(long, env = "VECTORSPHERE_THREADS", value_name = "N")]
    pub threads: Option<String>,
    /// End when the process that started this one does, or when standard input ends. With a process
    /// id: do not start at all unless that process is the parent.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "", value_name = "PID")]
    pub end_with_parent: Option<String>,
    /// How it logs.
    #[command(flatten)]
    pub logging: LoggingArgs,
}

/// Certificate and key of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and what leads to its authority, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

/// When a process ends because another one did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndWithParent {
    /// The process id of the parent as it wrote it down, if it did.
    pub pid: Option<u32>,
}

/// What gateways, masters and workers are all told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The name of the process, a DNS label. No default: two processes of one name are a mistake.
    pub name: String,
    /// Its data folder. No default, for the same reason.
    pub data_dir: PathBuf,
    /// `http://HOST:PORT` or `https://HOST:PORT` of each member of etcd, 1 to 9. No default.
    pub etcd: Vec<String>,
    /// The folder of credentials for etcd. Default none: plain text.
    pub etcd_tls: Option<PathBuf>,
    /// The folder of user and password for etcd. Default none: etcd asks nobody.
    pub etcd_auth: Option<PathBuf>,
    /// What every key begins with: 2 to 200 characters, with a slash at its beginning and none at
    /// its end. Default `/vectorsphere`, so that one etcd can serve others too.
    pub prefix: String,
    /// The namespace of the cluster, a DNS label. Default `default`, as in Kubernetes.
    pub namespace: String,
    /// The name of the cluster, a DNS label. No default: two clusters must not meet by mistake.
    pub cluster: String,
    /// The UID of the cluster. Default none: that in etcd, or a new one.
    pub cluster_uid: Option<Uuid>,
    /// Where HTTP is answered; port 0 for any that is free. Default 127.0.0.1:6333 at a gateway,
    /// since clients expect that port, 127.0.0.1:0 elsewhere. Another address than one of loopback
    /// needs a key file and a certificate.
    pub listen: SocketAddr,
    /// Where the others find it: an IP address or a DNS name. Default the address it listens on.
    pub advertise: Option<String>,
    /// The file or folder of API keys. Default none: loopback is trusted.
    pub api_key_file: Option<PathBuf>,
    /// Certificate and key of `listen`. Default none: plain text on loopback.
    pub tls: Option<TlsFiles>,
    /// The folder of credentials between processes. Default none: plain text on loopback.
    pub peer_tls: Option<PathBuf>,
    /// Threads that serve requests, 1 to 256. Default one for each core, at most 4: each costs
    /// memory also when idle.
    pub threads: usize,
    /// Whether it ends with its parent. Default not.
    pub end_with_parent: Option<EndWithParent>,
    /// How it logs.
    pub logging: Logging,
}

impl ProcessArgs {
    /// The checked settings; `listen` is the default of the role.
    pub(super) fn check(self, faults: &mut Faults, listen: &str) -> Option<Process> {
        let name = faults.keep("--name", required_label(self.name));
        let data_dir = faults.keep("--data-dir", check::required(self.data_dir));
        let etcd = faults.keep("--etcd", endpoints(self.etcd));
        let etcd_tls = check::path(self.etcd_tls);
        if etcd_tls.is_none() && etcd.iter().flatten().any(|url| url.starts_with("https://")) {
            faults.add("--etcd-tls", "is needed for https");
        }
        let prefix = faults.keep("--prefix", prefix(&self.prefix));
        let namespace = faults.keep("--namespace", check::label(&self.namespace));
        let cluster = faults.keep("--cluster", required_label(self.cluster));
        let cluster_uid = faults.keep("--cluster-uid", uid(given(self.cluster_uid)));
        let exposure = Exposure {
            listen: self.listen.unwrap_or_default(),
            api_key_file: self.api_key_file,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
        };
        let exposed = exposure.check(faults, listen);
        let advertise = faults.keep("--advertise", advertise(given(self.advertise)));
        let threads = faults.keep("--threads", threads(given(self.threads)));
        let parent = faults.keep("--end-with-parent", end_with_parent(self.end_with_parent));
        let logging = self.logging.check(faults);
        let (listen, api_key_file, tls) = exposed?;
        Some(Process {
            name: name?,
            data_dir: data_dir?.into(),
            etcd: etcd?,
            etcd_tls,
            etcd_auth: check::path(self.etcd_auth),
            prefix: prefix?,
            namespace: namespace?,
            cluster: cluster?,
            cluster_uid: cluster_uid?,
            listen,
            advertise: advertise?,
            api_key_file,
            tls,
            peer_tls: check::path(self.peer_tls),
            threads: threads?,
            end_with_parent: parent?,
            logging: logging?,
        })
    }
}

/// The texts that say who can reach the HTTP listener, and how it is guarded.
pub(super) struct Exposure {
    pub(super) listen: String,
    pub(super) api_key_file: Option<String>,
    pub(super) tls_cert: Option<String>,
    pub(super) tls_key: Option<String>,
}

impl Exposure {
    pub(super) fn check(
        self,
        faults: &mut Faults,
        default: &str,
    ) -> Option<(SocketAddr, Option<PathBuf>, Option<TlsFiles>)> {
        let listen = given(Some(self.listen)).unwrap_or_else(|| default.to_owned());
        let listen = faults.keep("--listen", check::address(&listen));
        let api_key_file = check::path(self.api_key_file);
        let files = (check::path(self.tls_cert), check::path(self.tls_key));
        let is_half = files.0.is_some() != files.1.is_some();
        let tls = tls_files(files, faults);
        let listen = listen?;
        if !listen.ip().to_canonical().is_loopback() {
            let reachable = format!("is needed: others than this machine can reach {listen}");
            if api_key_file.is_none() {
                faults.add("--api-key-file", reachable.clone());
            }
            if tls.is_none() && !is_half {
                faults.add("--tls-cert", reachable);
            }
        }
        Some((listen, api_key_file, tls))
    }
}

/// A certificate and its key: both or neither.
pub(super) fn tls_files(
    files: (Option<PathBuf>, Option<PathBuf>),
    faults: &mut Faults,
) -> Option<TlsFiles> {
    match files {
        (Some(certificate), Some(key)) => return Some(TlsFiles { certificate, key }),
        (Some(_), None) => faults.add("--tls-key", "is needed with --tls-cert"),
        (None, Some(_)) => faults.add("--tls-cert", "is needed with --tls-key"),
        (None, None) => {},
    }
    None
}

/// What lets others than this machine reach a process.
pub(super) struct Reach {
    /// Credentials are given.
    guarded: bool,
    /// It is said where it is found.
    named: bool,
}

impl Reach {
    pub(super) fn of(args: &ProcessArgs) -> Self {
        let is_given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        Self {
            guarded: is_given(&args.peer_tls),
            named: is_given(&args.advertise),
        }
    }
}

/// Where gRPC between processes is answered: in plain text only to this machine.
pub(super) fn rpc_listen(text: Option<String>, reach: &Reach) -> Result<SocketAddr, String> {
    let text = given(text).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address = check::address(&text)?;
    if !reach.guarded && !address.ip().to_canonical().is_loopback() {
        return Err(format!(
            "others than this machine can reach {address}: --peer-tls is needed"
        ));
    }
    if !reach.named && address.ip().is_unspecified() {
        return Err(format!(
            "{address} is no address to be found at: --advertise is needed"
        ));
    }
    Ok(address)
}

/// An IP address or a DNS name.
fn advertise(text: Option<String>) -> Result<Option<String>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    let label = |label: &str| check::label(label).is_ok();
    if text.parse::<IpAddr>().is_ok() || text.split('.').all(label) {
        Ok(Some(text))
    } else {
        Err(format!(
            "{} is neither an IP address nor a name",
            quoted(&text)
        ))
    }
}

fn required_label(text: Option<String>) -> Result<String, String> {
    check::required(text).and_then(|text| check::label(&text))
}

fn endpoints(text: Option<String>) -> Result<Vec<String>, String> {
    let text = check::required(text)?;
    let endpoints: Vec<String> = text.split(',').map(|part| part.trim().to_owned()).collect();
    if endpoints.len() > ENDPOINTS_MAX {
        return Err(format!("names more than {ENDPOINTS_MAX} members"));
    }
    match endpoints.iter().find(|endpoint| !is_endpoint(endpoint)) {
        None => Ok(endpoints),
        Some(wrong) => Err(format!(
            "{} is neither http://HOST:PORT nor https://HOST:PORT",
            quoted(wrong)
        )),
    }
}

fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
        .and_then(|rest| rest.rsplit_once(':'))
    else {
        return false;
    };
    let named = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c));
    named && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn uid(text: Option<String>) -> Result<Option<Uuid>, String> {
    let parse = |text: String| {
        Uuid::try_parse(&text).map_err(|_no_uuid| format!("{} is no UUID", quoted(&text)))
    };
    text.map(parse).transpose()
}

fn prefix(text: &str) -> Result<String, String> {
    let good = text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && text.len() <= PREFIX_CHARS_MAX
        && text.chars().all(|c| c.is_ascii_graphic());
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not a path such as /vectorsphere of at most {PREFIX_CHARS_MAX} characters",
            quoted(text)
        ))
    }
}

/// How many threads a process has when nobody says.
pub(super) fn threads_default() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_DEFAULT_MAX)
}

fn threads(text: Option<String>) -> Result<usize, String> {
    let Some(text) = text else {
        return Ok(threads_default());
    };
    let threads = check::number(&text, 1..=THREADS_MAX)?;
    Ok(usize::try_from(threads).unwrap_or(1))
}

fn end_with_parent(text: Option<String>) -> Result<Option<EndWithParent>, String> {
    match text.as_deref() {
        None => Ok(None),
        Some("") => Ok(Some(EndWithParent { pid: None })),
        Some(text) => {
            let pid = check::number(text, 1..=u64::from(u32::MAX))?;
            let pid = u32::try_from(pid).ok();
            Ok(Some(EndWithParent { pid }))
        },
    }
}
