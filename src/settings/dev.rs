//! What `dev` is told: the manifest, the folder of its data, and the address of its gateway.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::check::{self, Faults};
use super::process::Exposure;
use super::{Error, Logging, LoggingArgs, TlsFiles};

/// The texts of [`Dev`].
#[derive(Debug, Clone, clap::Args)]
pub struct DevArgs {
    /// The manifest of the cluster. Default: one process of each role, called laptop.
    #[arg(short, long, env = "VECTORSPHERE_FILE", value_name = "FILE")]
    pub file: Option<String>,
    /// The folder that keeps everything of the cluster. Default:
    /// ~/.local/share/vectorsphere/NAME, with the name that the manifest gives.
    #[arg(long, env = "VECTORSPHERE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where the first gateway answers.
    #[arg(
        long,
        env = "VECTORSPHERE_LISTEN",
        default_value = "127.0.0.1:6333",
        value_name = "HOST:PORT"
    )]
    pub listen: String,
    /// A file of API keys, for every process: a line each, `admin: KEY` or `read-only: KEY` with a key
    /// of 8 to 1024 visible characters; or a folder with a role's key in a file, admin or readonly.
    /// Needed where others than this machine can reach --listen.
    #[arg(long, env = "VECTORSPHERE_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<String>,
    /// A file with the certificate of --listen and what leads to its authority, PEM.
    #[arg(long, env = "VECTORSPHERE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// A file with the key of --tls-cert, PEM.
    #[arg(long, env = "VECTORSPHERE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<String>,
    /// How it logs.
    #[command(flatten)]
    pub logging: LoggingArgs,
}

/// Where the folders of clusters are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataDir {
    /// This folder is the cluster's.
    Given(PathBuf),
    /// Each cluster has a folder of its name in this one.
    In(PathBuf),
}

impl DataDir {
    /// The folder of the cluster of this name.
    pub fn of(&self, cluster: &str) -> PathBuf {
        match self {
            Self::Given(folder) => folder.clone(),
            Self::In(folder) => folder.join(cluster),
        }
    }
}

/// What `dev` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dev {
    /// The manifest. Default none: the laptop sample.
    pub file: Option<PathBuf>,
    /// The cluster's folder. Default `~/.local/share/vectorsphere/<name>`, where a desktop keeps
    /// data, so that `dev` finds it from any folder.
    pub data_dir: DataDir,
    /// Where the first gateway answers; port 0 for any that is free. Default 127.0.0.1:6333, the
    /// port that clients expect. Another address than one of loopback needs a key file and a
    /// certificate.
    pub listen: SocketAddr,
    /// The file of API keys, for every process. Default none: loopback is trusted.
    pub api_key_file: Option<PathBuf>,
    /// Certificate and key of `listen`. Default none.
    pub tls: Option<TlsFiles>,
    /// How `dev` and its children log.
    pub logging: Logging,
}

impl DevArgs {
    /// The checked settings. `home`: the person's home folder, if it is known.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn check(self, home: Option<&Path>) -> Result<Dev, Error> {
        let mut faults = Faults::default();
        let data_dir = match (check::path(self.data_dir), home) {
            (Some(folder), _) => Ok(DataDir::Given(folder)),
            (None, Some(home)) => Ok(DataDir::In(home.join(".local/share/vectorsphere"))),
            (None, None) => Err("is needed: there is no home folder".to_owned()),
        };
        let data_dir = faults.keep("--data-dir", data_dir);
        let exposure = Exposure {
            listen: self.listen,
            api_key_file: self.api_key_file,
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
        };
        let exposed = exposure.check(&mut faults, "127.0.0.1:6333");
        let logging = self.logging.check(&mut faults);
        let settings = (|| {
            let (listen, api_key_file, tls) = exposed?;
            Some(Dev {
                file: check::path(self.file),
                data_dir: data_dir?,
                listen,
                api_key_file,
                tls,
                logging: logging?,
            })
        })();
        faults.end(settings)
    }
}
