//! The kubectl plugin, called by its name as `kubectl` calls it, on a cluster that a person is on call for.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use vectorsphere::clock::{Clock, SystemClock};

use crate::acting::living::Living;
use crate::acting::operator_process::calm;
use crate::acting::serving::install;
use crate::kubernetes::{Answer, Kubernetes};

/// One of each, of an image that does not exist.
const BROKEN: &str = "{apiVersion: vectorsphere.io/v1alpha1, kind: VectorCluster, metadata: {name: oncall}, \
    spec: {version: 0.1.0, image: {tag: nowhere}, sharding: {replicationFactor: 1}, \
    gateway: {replicas: 1}, master: {replicas: 1}, worker: {replicas: 1, storage: {size: 1Gi}}, \
    etcd: {managed: {replicas: 1}}, \
    podDefaults: {env: [{name: SOME_TOKEN, value: told-to-nobody}]}}}";

/// The plugin as a person has it: a link of its name in a folder of PATH, beside `kubectl`.
struct Plugin<'a> {
    cluster: &'a Living<'a>,
    folder: tempfile::TempDir,
}

impl<'a> Plugin<'a> {
    fn new(kubernetes: &Kubernetes, cluster: &'a Living<'a>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let link = |to: PathBuf, name: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        };
        link(
            env!("CARGO_BIN_EXE_vectorsphere").into(),
            "kubectl-vectorsphere",
        );
        link(kubernetes.kubectl().to_owned(), "kubectl");
        Self { cluster, folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.program("kubectl-vectorsphere", arguments)
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(self.folder.path().join(name));
        command
            .args(arguments)
            .args(["-n", self.cluster.namespace()])
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env(
                "KUBECONFIG",
                std::env::var_os("VECTORSPHERE_TEST_KUBECONFIG").unwrap(),
            );
        command
    }

    fn call(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output().unwrap();
        Answer {
            ok: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What it prints, which must be without a complaint.
    #[track_caller]
    fn says(&self, arguments: &[&str]) -> String {
        let answer = self.call(arguments);
        assert!(
            answer.ok && answer.stderr.is_empty(),
            "{arguments:?}: {answer:?}"
        );
        answer.stdout
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.says(arguments)).unwrap()
    }

    /// Starts a command that goes on, and its lines.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Running { child, lines }
    }
}

/// A command that goes on until it is told to end.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// The first line that is so.
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "{what} is not among {said}");
            if holds(&line) {
                return line;
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // As a person ends it, so that what it started ends too; Ctrl-C is ignored by what runs in the background.
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &pid]).status());
        drop(self.child.wait());
    }
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_person_on_call_sees_what_a_cluster_waits_for_and_tells_it_what_to_do() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let began = SystemClock.now();
    let cluster = Living::new(&kubernetes, "oncall");
    let plugin = Plugin::new(&kubernetes, &cluster);
    let missing = plugin.call(&["explain", "oncall"]);
    assert!(!missing.ok);
    has(
        &missing.stderr,
        &["there is no VectorCluster oncall in namespace test-oncall-"],
    );

    cluster.apply(BROKEN);
    explained_paused_and_resumed(&cluster, &plugin);
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(cluster.application(&["write", "c", "1"]), found);
    shown(&plugin);
    searched(&plugin);
    restarted_when_approved(&cluster, &plugin);
    forwarded(&cluster, &plugin);
    logs(&plugin);
    reported(&cluster, &plugin);
    put_to_sleep(&cluster, &plugin);
    searched(&plugin);
    asked_for_a_certificate(&cluster, &plugin);
    let took = SystemClock.now().since(began);
    eprintln!("a person on call was served by every command of the plugin within {took:.1?}");
}

/// It is told what is wrong; while it is paused the remedy changes nothing, and that is told too.
fn explained_paused_and_resumed(cluster: &Living<'_>, plugin: &Plugin<'_>) {
    cluster.until("it cannot have its image", |cluster| {
        Living::condition(cluster, "Degraded").1 == "PodCrashLooping"
    });
    let why = plugin.says(&["explain", "oncall"]);
    has(
        &why,
        &[
            "oncall is not Ready",
            "Pods that wait:",
            "ImagePull",
            "nowhere",
        ],
    );
    has(
        &why,
        &["look whether the nodes can have the image", "spec.image"],
    );

    has(
        &plugin.says(&["pause", "oncall"]),
        &["spec.paused is now true"],
    );
    has(&plugin.says(&["pause", "oncall"]), &["nothing to do"]);
    let before = cluster.uids("pods");
    cluster.patch(r#"{"spec":{"image":{"tag":null}}}"#);
    cluster.until_phase("Paused");
    let why = plugin.says(&["explain", "oncall"]);
    has(
        &why,
        &[
            "It is paused: the operator changes nothing",
            "kubectl vectorsphere resume oncall",
        ],
    );
    assert_eq!(cluster.uids("pods"), before);

    has(
        &plugin.says(&["resume", "oncall"]),
        &["spec.paused is now false"],
    );
    cluster.until_phase("Running");
    let well = plugin.says(&["explain", "oncall"]);
    has(&well, &["oncall is Ready", "every component is ready"]);
    // It is known who wrote what.
    let fields = [
        "get",
        "vectorcluster/oncall",
        "-o",
        "json",
        "--show-managed-fields",
    ];
    has(&cluster.kubectl(&fields), &["\"kubectl-vectorsphere\""]);
}

fn shown(plugin: &Plugin<'_>) {
    let text = plugin.says(&["status", "oncall"]);
    has(
        &text,
        &[
            "Phase      Running   Ready for",
            "oncall-worker-0",
            "nothing is under way",
        ],
    );
    // By kubectl, which finds it by its name.
    let mut kubectl = plugin.program("kubectl", &["vectorsphere", "status", "oncall"]);
    let said = String::from_utf8(kubectl.output().unwrap().stdout).unwrap();
    has(&said, &["Phase      Running"]);
    // Without a name the only one is meant.
    has(&plugin.says(&["status"]), &["Phase      Running"]);
    has(&plugin.says(&["status", "-A"]), &["NAMESPACE", "oncall"]);
    let json = plugin.json(&["status", "oncall", "-o", "json"]);
    assert_eq!(json["ready"], true);
    assert_eq!(json["pods"].as_array().unwrap().len(), 4);
    assert_eq!(json["unusual"], json!([]));
}

fn searched(plugin: &Plugin<'_>) {
    let search = |more: &[&str]| {
        let question = ["search", "oncall", "c", "--limit", "3", "-o", "json"];
        let found = plugin.json(&[&question, more].concat());
        let points = found.as_array().unwrap().clone();
        points
            .iter()
            .map(|point| point["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(search(&["--vector", "[1, 0, 0, 0]"]), [99, 98, 97]);
    let filter = r#"{"must": [{"key": "n", "range": {"lt": 50}}]}"#;
    assert_eq!(
        search(&["--vector", "[1,0,0,0]", "--filter", filter]),
        [49, 48, 47]
    );
    assert_eq!(search(&["--id", "99"])[0], 98);
    let table = [
        "search",
        "oncall",
        "c",
        "--vector",
        "[1,0,0,0]",
        "--with-payload",
    ];
    has(&plugin.says(&table), &["ID", "SCORE", "99", "{\"n\":99}"]);
    let refused = plugin.call(&["search", "oncall", "nowhere", "--vector", "[1]"]);
    assert!(!refused.ok);
    has(&refused.stderr, &["404"]);
}

/// An update that waits for a person says so, is approved, and makes the worker anew.
fn restarted_when_approved(cluster: &Living<'_>, plugin: &Plugin<'_>) {
    cluster.patch(r#"{"spec":{"updates":{"type":"Supervised"}}}"#);
    cluster.until_phase("Running");
    has(
        &plugin.says(&["approve", "oncall"]),
        &["nothing to do: no update waits"],
    );
    let before = cluster.uid("pod/oncall-worker-0");
    let mut watching = plugin.start(&["status", "oncall", "--watch"]);
    watching.until("a status", |line| line.starts_with("Phase      Running"));
    let asked = plugin.says(&["restart", "oncall", "--role", "worker"]);
    has(
        &asked,
        &["vectorsphere.io/restart-worker is now", "approve oncall"],
    );
    watching.until("a change", |line| {
        line.starts_with("Update ") && line.contains("Approved")
    });
    let why = plugin.says(&["explain", "oncall"]);
    has(
        &why,
        &[
            "It is held up by Approved",
            "kubectl vectorsphere approve oncall",
        ],
    );
    assert_eq!(cluster.uid("pod/oncall-worker-0"), before);

    let approved = plugin.says(&["approve", "oncall", "Update"]);
    has(
        &approved,
        &["vectorsphere.io/approve is now", "The update begins"],
    );
    cluster.until("the worker is new", |now| {
        let uid = cluster.try_uid("pod/oncall-worker-0");
        uid.is_some_and(|uid| uid != before) && now["status"]["phase"] == "Running"
    });
    has(
        &plugin.says(&["approve", "oncall"]),
        &["is approved already"],
    );
    let other = plugin.call(&["approve", "oncall", "Resize"]);
    assert!(
        !other.ok && other.stderr.contains("waits for no approval"),
        "{other:?}"
    );
}

fn forwarded(cluster: &Living<'_>, plugin: &Plugin<'_>) {
    let mut open = plugin.start(&["port-forward", "oncall"]);
    let line = open.until("the URL", |line| line.starts_with("https://localhost:"));
    let port = line
        .split([':', ' '])
        .nth(2)
        .unwrap()
        .parse::<u16>()
        .unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "{line}");
    open.until("where the key is", |line| line.contains("oncall-auth"));
    let key = cluster.secret("oncall-auth", "readonly");
    let mut shown = plugin.start(&["port-forward", "oncall", "--show-key", "readonly"]);
    shown.until("the key", |line| {
        line == format!("The readonly key: {key}\n")
    });
}

fn logs(plugin: &Plugin<'_>) {
    let all = plugin.says(&["logs", "oncall", "--tail", "2"]);
    for role in ["etcd-0", "master-0", "worker-0", "gateway-"] {
        has(&all, &[&format!("[oncall-{role}")]);
    }
    let worker = plugin.says(&["logs", "oncall", "--role", "worker", "--since", "1h"]);
    // What every process says first; one that started well may not have said more.
    has(&worker, &["\"message\":\"bound\""]);
    assert!(
        worker
            .lines()
            .all(|line| line.starts_with("[oncall-worker-0] ")),
        "{worker}"
    );
    let mut followed = plugin.start(&["logs", "oncall", "-f", "--role", "gateway"]);
    followed.until("a line", |line| line.starts_with("[oncall-gateway-"));
}

/// The whole bundle is searched for what the Secrets hold, also where a person put it by mistake.
fn reported(cluster: &Living<'_>, plugin: &Plugin<'_>) {
    let admin = cluster.secret("oncall-auth", "admin");
    cluster.kubectl(&[
        "annotate",
        "vectorcluster/oncall",
        &format!("note=the key is {admin}"),
    ]);
    let file = plugin.folder.path().join("report.tar");
    let file = file.to_str().unwrap();
    let said = plugin.says(&["report", "oncall", "-f", file]);
    has(&said, &["what Secrets hold is taken out"]);
    let again = plugin.call(&["report", "oncall", "-f", file]);
    assert!(!again.ok, "one that is there is overwritten");
    let tar = |arguments: &[&str]| {
        let output = Command::new("tar").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let names = tar(&["-tf", file]);
    let expected = [
        "report.txt",
        "status.txt",
        "explain.txt",
        "cluster.yaml",
        "versions.txt",
        "masters.json",
        "events.yaml",
        "objects/pods.yaml",
        "objects/secrets.yaml",
        "objects/services.yaml",
        "objects/controllerrevisions.yaml",
        "logs/oncall-worker-0/worker.log",
        "operator/pods.yaml",
        "operator/logs/vectorsphere-operator-",
    ];
    for name in expected {
        has(&names, &[&format!("vectorsphere-report-oncall/{name}")]);
    }
    let whole = tar(&["-xOf", file]);
    has(
        &whole,
        &[
            "kind: VectorCluster",
            "kind: Secret",
            "the key is [removed]",
            "Nothing is missing.",
        ],
    );
    let mut secrets = vec![admin, "told-to-nobody".to_owned()];
    secrets.extend(kept_secret(cluster));
    for secret in &secrets {
        assert!(!whole.contains(secret), "{secret} is in the report");
    }
    for mark in ["PRIVATE KEY", "last-applied-configuration"] {
        assert!(!whole.contains(mark), "{mark} is in the report");
    }
}

/// The other key, and the lines of every private key.
fn kept_secret(cluster: &Living<'_>) -> Vec<String> {
    let mut secrets = vec![cluster.secret("oncall-auth", "readonly")];
    for owner in [
        "ca",
        "gateway-tls",
        "master-tls",
        "worker-tls",
        "operator-tls",
        "etcd-tls",
    ] {
        let key = cluster.secret(&format!("oncall-{owner}"), "tls.key");
        let lines = key
            .lines()
            .filter(|line| !line.starts_with("---") && line.len() > 16);
        secrets.extend(lines.map(str::to_owned));
    }
    assert!(secrets.len() > 7);
    secrets
}

fn put_to_sleep(cluster: &Living<'_>, plugin: &Plugin<'_>) {
    has(
        &plugin.says(&["hibernate", "oncall"]),
        &["spec.power is now Hibernated"],
    );
    cluster.until_phase("Hibernated");
    assert_eq!(cluster.uids("pods"), []);
    let why = plugin.says(&["explain", "oncall"]);
    has(
        &why,
        &["It sleeps: no pod runs", "kubectl vectorsphere wake oncall"],
    );
    has(
        &plugin.says(&["restart", "oncall"]),
        &["nothing to do: it sleeps"],
    );
    has(
        &plugin.says(&["wake", "oncall"]),
        &["spec.power is now Running"],
    );
    cluster.until_phase("Running");
}

/// When gateways demand a certificate it shows the one that the operator issues, and tells where it is.
fn asked_for_a_certificate(cluster: &Living<'_>, plugin: &Plugin<'_>) {
    let demand = r#"{"spec":{"updates":{"type":"Automatic"},"tls":{"clientAuth":"Required"}}}"#;
    cluster.patch(demand);
    cluster.until("gateways demand certificates", |cluster| {
        Living::condition(cluster, "RunningDesiredVersion").1 == "UpToDate"
            && cluster["status"]["phase"] == "Running"
    });
    searched(plugin);
    let mut forward = plugin.start(&["port-forward", "oncall"]);
    forward.until("the certificate", |line| line.contains("oncall-client-tls"));
}
