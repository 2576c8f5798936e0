//! The real binary running a whole cluster on this machine, as a user runs it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::wait_for::wait_for;
use crate::support::http_client::HttpClient;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A running cluster.
pub(crate) struct LocalCluster {
    child: Child,
    /// The gateway: `http://HOST:PORT`.
    pub(crate) url: String,
    pub(crate) data_dir: PathBuf,
    /// How long it took until it was ready.
    pub(crate) ready_after: Duration,
    pub(crate) http: HttpClient,
}

impl LocalCluster {
    /// Starts a cluster of a sample or of another manifest; returns when it serves.
    pub(crate) fn start(data_dir: &Path, manifest: Option<&Path>) -> Self {
        Self::start_with(data_dir, manifest, &[])
    }

    /// The same with more in the environment of all its processes.
    pub(crate) fn start_with(
        data_dir: &Path,
        manifest: Option<&Path>,
        environment: &[(&str, PathBuf)],
    ) -> Self {
        let began = std::time::Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vectorsphere"));
        command
            .arg("dev")
            .args(["--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data_dir)
            .envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(manifest) = manifest {
            command.arg("-f").arg(manifest);
        }
        fs_err::create_dir_all(data_dir.join("logs")).unwrap();
        let log = fs_err::File::options()
            .create(true)
            .append(true)
            .open(data_dir.join("logs/dev.log"))
            .unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.into_file())
            .spawn()
            .unwrap();
        let (lines, output) = (mpsc::channel(), child.stdout.take().unwrap());
        let (sender, receiver) = lines;
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("ready ") {
                    // The test may have ended.
                    let _gone = sender.send(url.to_owned());
                }
            }
        });
        let Ok(url) = receiver.recv_timeout(READY_TIMEOUT) else {
            child.kill().unwrap();
            let log = fs_err::read_to_string(data_dir.join("logs/dev.log")).unwrap_or_default();
            panic!("not ready in {READY_TIMEOUT:?}:\n{log}");
        };
        let data_dir = data_dir.to_owned();
        Self {
            child,
            url,
            data_dir,
            ready_after: began.elapsed(),
            http: HttpClient::new(),
        }
    }

    /// The components: name, role, pid, addresses.
    pub(crate) fn components(&self) -> Vec<Value> {
        let text = fs_err::read_to_string(self.data_dir.join("endpoints.json")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        file["components"].as_array().unwrap().clone()
    }

    /// The process ids of a role.
    pub(crate) fn pids(&self, role: &str) -> Vec<i32> {
        let all = self.components();
        let of_role = all.iter().filter(|component| component["role"] == role);
        of_role
            .map(|component| i32::try_from(component["pid"].as_i64().unwrap()).unwrap())
            .collect()
    }

    /// The process id of `dev`.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Kills everything at once.
    pub(crate) fn kill_everything(mut self) {
        let mut pids: Vec<i32> = ["gateway", "master", "worker"]
            .into_iter()
            .flat_map(|role| self.pids(role))
            .collect();
        pids.push(self.pid());
        for pid in pids {
            kill(pid);
        }
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has: its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }

    /// A request: its status and its body as JSON.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let method = http::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method, &format!("{}{path}", self.url));
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let body = serde_json::from_str(&answer.text).unwrap_or(Value::String(answer.text));
        (answer.status, body)
    }

    /// A request that must succeed: its result.
    pub(crate) async fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        answer["result"].clone()
    }

    /// The metrics of the first process of a role.
    pub(crate) async fn metrics(&self, role: &str) -> String {
        let components = self.components();
        let mut of_role = components.iter().filter(|one| one["role"] == role);
        let address = of_role.next().unwrap()["http_address"].as_str().unwrap();
        let request = self.http.get(&format!("http://{address}/metrics"));
        request.send().await.unwrap().text
    }

    /// What `ctl status` says; none while no master answers.
    pub(crate) async fn status(&self) -> Option<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vectorsphere"));
        command
            .args(["ctl", "status", "--json", "--data-dir"])
            .arg(&self.data_dir);
        let run = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = run.await.unwrap();
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Waits until a component that is not `before` runs in its place.
    pub(crate) async fn replaced(&self, role: &str, before: i32) {
        wait_for(
            "the component is started again",
            Duration::from_secs(30),
            || async {
                let pids = self.pids(role);
                (!pids.is_empty() && !pids.contains(&before)).then_some(())
            },
        )
        .await;
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // Its children end with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends SIGKILL; a process that is gone already is fine.
pub(crate) fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    assert!(
        matches!(killed, Ok(()) | Err(rustix::io::Errno::SRCH)),
        "{killed:?}"
    );
}

/// Whether a process runs (a zombie does not).
pub(crate) fn runs(pid: i32) -> bool {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_name, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}
