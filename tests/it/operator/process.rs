//! The operator's real process, with a double as its Kubernetes.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::local_cluster::kill;

/// A running operator. It is killed when it is dropped.
pub(crate) struct OperatorProcess {
    child: Child,
}

impl OperatorProcess {
    /// One that is sure to be alone.
    pub(crate) fn start(folder: &Path, url: &str) -> Self {
        Self::start_with(folder, url, &["--lease=off"])
    }

    /// One of several, of this name.
    pub(crate) fn start_candidate(folder: &Path, url: &str, name: &str) -> Self {
        let name = format!("--name={name}");
        Self::start_with(folder, url, &["--lease-namespace=search", &name])
    }

    fn start_with(folder: &Path, url: &str, arguments: &[&str]) -> Self {
        let kubeconfig = folder.join(format!("kubeconfig-{}", uuid::Uuid::new_v4().simple()));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: double\n\
             clusters: [{{name: double, cluster: {{server: '{url}'}}}}]\n\
             users: [{{name: double, user: {{}}}}]\n\
             contexts: [{{name: double, context: {{cluster: double, user: double}}}}]\n"
        );
        fs_err::write(&kubeconfig, text).unwrap();
        let log = fs_err::File::options()
            .create(true)
            .append(true)
            .open(folder.join("operator.log"))
            .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_vectorsphere"))
            .arg("operator")
            .args(["--listen=127.0.0.1:0", "--log=info,vectorsphere=debug"])
            .args(["--image-repository=images.test/vectorsphere"])
            .args(["--etcd-image=images.test/etcd:3.6"])
            .args(arguments)
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        Self { child }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(mut self) {
        kill(self.pid());
        self.child.wait().unwrap();
    }

    /// Its code, if it has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let ended = self.child.try_wait().unwrap()?;
        Some(ended.code().unwrap_or(-1))
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs_err::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let words = line.unwrap().split_whitespace().nth(1);
        words.unwrap().parse::<u64>().unwrap() * 1_024
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // Ended already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
