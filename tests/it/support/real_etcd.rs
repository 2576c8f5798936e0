//! A real etcd as a child process that can be paused, killed, restarted and wiped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Permission};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use super::reserved_port::ReservedPort;
use super::skip::skip;
use super::wait_for::wait_for;

/// Long enough for it to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

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

/// One etcd server, or one member of a cluster. It dies with this.
pub(crate) struct RealEtcd {
    binary: &'static Path,
    data: TempDir,
    endpoint: String,
    arguments: Vec<String>,
    /// Where clients and where other members find it.
    _ports: [ReservedPort; 2],
    child: Mutex<Option<Child>>,
}

/// The etcd of the tests, looked for once: several tests at a time must not make it.
fn binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    BINARY.get_or_init(program).as_deref()
}

fn url(port: &ReservedPort) -> String {
    format!("http://{}", port.address())
}

impl RealEtcd {
    /// A server that runs and answers; none where no etcd can be had, which has been said then.
    pub(crate) async fn start() -> Option<Self> {
        let server = Self::stopped()?;
        server.run().await;
        Some(server)
    }

    /// A server with its address, not running yet.
    pub(crate) fn stopped() -> Option<Self> {
        let ports = [(); 2].map(|()| ReservedPort::new());
        let cluster = format!("one={}", url(&ports[1]));
        Some(Self::member(binary()?, "one", ports, &cluster))
    }

    /// A server that speaks TLS only, with the certificate of this folder, to whom its authority has
    /// given one.
    pub(crate) fn start_secured(folder: &Path) -> Option<Self> {
        let mut server = Self::stopped()?;
        let secured = server.endpoint.replace("http:", "https:");
        for argument in &mut server.arguments {
            if *argument == server.endpoint {
                argument.clone_from(&secured);
            }
        }
        server.endpoint = secured;
        let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
        server.arguments.extend([
            "--client-cert-auth".to_owned(),
            format!("--cert-file={}", file("tls.crt")),
            format!("--key-file={}", file("tls.key")),
            format!("--trusted-ca-file={}", file("ca.crt")),
        ]);
        server.spawn();
        Some(server)
    }

    /// A server that asks for users, and forgets tokens that were not shown for a second. `search` may read
    /// and write what begins with this prefix; `root` everything, by the same password.
    pub(crate) async fn start_asking(prefix: &str, password: &str) -> Option<Self> {
        let mut server = Self::stopped()?;
        server.arguments.push("--auth-token-ttl=1".to_owned());
        server.run().await;
        let mut raw = server.raw().await;
        for (user, role) in [("root", "root"), ("search", "searches")] {
            raw.role_add(role).await.unwrap();
            raw.user_add(user, password, None).await.unwrap();
            raw.user_grant_role(user, role).await.unwrap();
        }
        let permission = Permission::read_write(prefix).with_prefix();
        raw.role_grant_permission("searches", permission)
            .await
            .unwrap();
        raw.auth_enable().await.unwrap();
        Some(server)
    }

    /// The same as its user `root`.
    pub(crate) async fn root(&self, password: &str) -> Client {
        let options = ConnectOptions::new().with_user("root", password);
        Client::connect([&self.endpoint], Some(options))
            .await
            .unwrap()
    }

    /// A cluster of three that answers.
    pub(crate) async fn cluster() -> Option<[Self; 3]> {
        let binary = binary()?;
        let parts = ["a", "b", "c"].map(|name| (name, [(); 2].map(|()| ReservedPort::new())));
        let all: Vec<String> = parts
            .iter()
            .map(|(name, [_client, peer])| format!("{name}={}", url(peer)))
            .collect();
        let all = all.join(",");
        let members = parts.map(|(name, ports)| Self::member(binary, name, ports, &all));
        for member in &members {
            member.spawn();
        }
        for member in &members {
            member.answers().await;
        }
        Some(members)
    }

    fn member(binary: &'static Path, name: &str, ports: [ReservedPort; 2], cluster: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let [endpoint, peer] = [url(&ports[0]), url(&ports[1])];
        let folder = data.path().join("etcd").to_string_lossy().into_owned();
        let arguments = [
            ("--name", name),
            ("--data-dir", &folder),
            ("--listen-client-urls", &endpoint),
            ("--advertise-client-urls", &endpoint),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", cluster),
            ("--log-level", "error"),
        ];
        let arguments = arguments
            .into_iter()
            .flat_map(|(name, value)| [name, value]);
        let mut arguments: Vec<String> = arguments.map(str::to_owned).collect();
        arguments.push("--unsafe-no-fsync".to_owned());
        Self {
            binary,
            data,
            endpoint,
            arguments,
            _ports: ports,
            child: Mutex::new(None),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Starts it, with the data that it left, and waits until it answers.
    pub(crate) async fn run(&self) {
        self.spawn();
        self.answers().await;
    }

    fn spawn(&self) {
        let child = Command::new(self.binary)
            .args(&self.arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let before = self.child().replace(child);
        assert!(before.is_none(), "it runs already");
    }

    async fn answers(&self) {
        wait_for("etcd answers", LIMIT, || async {
            self.raw().await.get("x", None).await.ok()
        })
        .await;
    }

    /// A client that is not ours, to look and to write behind our back.
    pub(crate) async fn raw(&self) -> Client {
        let options = ConnectOptions::new().with_timeout(Duration::from_secs(1));
        Client::connect([&self.endpoint], Some(options))
            .await
            .unwrap()
    }

    /// SIGKILL, and waits for its end.
    pub(crate) fn kill(&self) {
        let child = self.child().take();
        let mut child = child.expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGSTOP: its connections stay, and nothing answers. Returns once it has stopped.
    pub(crate) fn pause(&self) {
        let pid = self.signal(Signal::STOP);
        let (_pid, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Deletes its data. It must not run.
    pub(crate) fn wipe(&self) {
        assert!(self.child().is_none(), "it runs");
        let data: &Path = self.data.path();
        fs_err::remove_dir_all(data.join("etcd")).unwrap();
    }

    fn signal(&self, signal: Signal) -> Pid {
        let child = self.child();
        let id = child.as_ref().expect("it runs").id();
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        pid
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            // Gone already is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
