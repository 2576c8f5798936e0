//! A real etcd for a test, in a folder of its own, gone with the value.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::skip::skip;
use super::wait_for::wait_for;

/// Where the real etcd is, made by `scripts/test-etcd`.
pub(crate) fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("VECTORSPHERE_TEST_ETCD") {
        return Some(path.into());
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/test-etcd");
    let made = Command::new(script).output().unwrap();
    if made.status.success() {
        return Some(String::from_utf8(made.stdout).unwrap().trim().into());
    }
    skip(String::from_utf8_lossy(&made.stderr).trim());
    None
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A running etcd.
pub(crate) struct RealEtcd {
    child: Child,
    pub(crate) endpoint: String,
    _folder: tempfile::TempDir,
}

impl RealEtcd {
    /// Starts one; `None` when there is none to be had.
    pub(crate) async fn start() -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = (free_port(), free_port());
        let [endpoint, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let child = Command::new(program)
            .arg("--data-dir")
            .arg(folder.path())
            .args(["--unsafe-no-fsync", "--log-level", "error"])
            .args([
                "--listen-client-urls",
                &endpoint,
                "--advertise-client-urls",
                &endpoint,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("default={peer}")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = endpoint.clone();
        wait_for("etcd answers", Duration::from_secs(30), || {
            let address = address.clone();
            async move {
                let mut client = etcd_client::Client::connect([address], None).await.ok()?;
                client.get("a", None).await.ok()
            }
        })
        .await;
        Some(Self {
            child,
            endpoint,
            _folder: folder,
        })
    }
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
