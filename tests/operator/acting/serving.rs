//! From `kubectl apply` to an answer: the operator's own image in real pods on a real node.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;
use vectorsphere::clock::{Clock, SystemClock};

use crate::acting::operator_process;
use crate::api_only::definitions;
use crate::kubernetes::Kubernetes;

pub(crate) const SMALL: &str = include_str!("../../../manifests/samples/small.yaml");
pub(crate) const OPERATOR: &str = include_str!("../../../manifests/operator.yaml");
/// How long a cluster may take on a machine that others use too. What it takes is printed.
const READY: &str = "--timeout=240s";

/// How long a worker may take to come back.
const BACK: Duration = Duration::from_secs(120);

/// What an application does: the official client, unchanged.
const APPLICATION: &str = r#"
import json, sys
from qdrant_client import QdrantClient, models
url, key, authority, write = sys.argv[1:]
client = QdrantClient(url=url, api_key=key, verify=authority, timeout=30)
if write == "write":
    vectors = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection("c", vectors_config=vectors)
    points = [models.PointStruct(id=i, vector=[i, 1, 0, 0], payload={"n": i}) for i in range(100)]
    client.upsert("c", points, wait=True)
found = client.query_points("c", query=[1, 0, 0, 0], limit=3).points
print(json.dumps([[point.id for point in found], client.count("c").count]))
"#;

/// A tunnel to the gateway's Service; it ends with this.
struct Tunnel {
    child: Child,
    port: String,
    /// It says something for each connection, and ends when nobody could read that.
    _output: BufReader<ChildStdout>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Tunnel {
    fn open(kubernetes: &Kubernetes, namespace: &str) -> Self {
        let mut child = Command::new(kubernetes.kubectl())
            .args([
                "port-forward",
                "-n",
                namespace,
                "service/small-gateway",
                ":6333",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let port = line
            .split("127.0.0.1:")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let port = port
            .unwrap_or_else(|| panic!("no tunnel: {line:?}"))
            .to_owned();
        Self {
            child,
            port,
            _output: output,
        }
    }
}

/// One cluster in its namespace.
pub(crate) struct Small<'a> {
    pub(crate) kubernetes: &'a Kubernetes,
    pub(crate) namespace: &'a str,
    pub(crate) folder: tempfile::TempDir,
}

impl<'a> Small<'a> {
    /// The sample, in this namespace.
    pub(crate) fn new(kubernetes: &'a Kubernetes, namespace: &'a str) -> Self {
        Self {
            kubernetes,
            namespace,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Waits for a condition of the cluster.
    pub(crate) fn wait(&self, what: &str) {
        let until = format!("--for={what}");
        let arguments = [
            "wait",
            "-n",
            self.namespace,
            &until,
            READY,
            "vectorcluster/small",
        ];
        let waited = Command::new(self.kubernetes.kubectl())
            .args(arguments)
            .output()
            .unwrap();
        if !waited.status.success() {
            let cluster = self
                .kubernetes
                .get(self.namespace, "vectorcluster", "small");
            let pods = self
                .kubernetes
                .call(&["get", "pods", "-n", self.namespace, "-o", "wide"], "");
            panic!("{what}: {:#}\n{}", cluster["status"], pods.stdout);
        }
    }

    /// Kills the worker's pod at once; how long it took until another was ready in its place.
    pub(crate) fn kill_worker(&self) -> Duration {
        let before = self.kubernetes.get(self.namespace, "pod", "small-worker-0");
        let place = ["pod", "small-worker-0", "-n", self.namespace];
        let kill = [&["delete", "--grace-period=0", "--force"][..], &place].concat();
        assert!(self.kubernetes.call(&kill, "").ok);
        let killed = SystemClock.now();
        loop {
            let look = [&["get", "-o", "json"][..], &place].concat();
            let pod = self.kubernetes.call(&look, "");
            let pod: Value = serde_json::from_str(&pod.stdout).unwrap_or_default();
            let conditions = pod["status"]["conditions"].as_array();
            let ready = conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "Ready" && one["status"] == "True")
            });
            let took = SystemClock.now().since(killed);
            if ready && pod["metadata"]["uid"] != before["metadata"]["uid"] {
                return took;
            }
            assert!(took < BACK, "{pod:#}");
        }
    }

    /// A field of a Secret, decoded by kubectl.
    pub(crate) fn secret(&self, name: &str, key: &str) -> String {
        let template = format!("go-template={{{{index .data {key:?} | base64decode}}}}");
        let arguments = ["get", "secret", name, "-n", self.namespace, "-o", &template];
        self.kubernetes.call(&arguments, "").accepted(name)
    }

    /// Runs the application; the ids that it found, and how many points it counted.
    fn application(&self, write: bool) -> Value {
        self.python(APPLICATION, if write { "write" } else { "read" })
    }

    /// The same, with the authority of this Secret.
    pub(crate) fn application_trusting(&self, secret: &str, write: bool) -> Value {
        let verb = if write { "write" } else { "read" };
        self.python_trusting(secret, APPLICATION, verb)
    }

    /// Runs a program of the official client with where it connects, the key, the authority and one
    /// argument; what it printed.
    pub(crate) fn python(&self, program: &str, argument: &str) -> Value {
        self.python_trusting("small-gateway-tls", program, argument)
    }

    fn python_trusting(&self, secret: &str, program: &str, argument: &str) -> Value {
        let authority = self.folder.path().join("ca.crt");
        fs_err::write(&authority, self.secret(secret, "ca.crt")).unwrap();
        let tunnel = Tunnel::open(self.kubernetes, self.namespace);
        let output = Command::new(python())
            .args(["-c", program])
            .arg(format!("https://localhost:{}", tunnel.port))
            .arg(self.secret("small-auth", "admin"))
            .arg(&authority)
            .arg(argument)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

pub(crate) fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("VECTORSPHERE_TEST_PYTHON") {
        return python.into();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo-env");
    let made = Command::new(script).output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    String::from_utf8(made.stdout).unwrap().trim().into()
}

/// The definitions and the operator, running; made once for all tests.
pub(crate) fn install(kubernetes: &Kubernetes) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| install_now(kubernetes));
}

fn install_now(kubernetes: &Kubernetes) {
    let when_there = operator_process::start_without_definitions(kubernetes);
    definitions::installed(kubernetes);
    when_there();
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    kubernetes.call(&arguments, OPERATOR).accepted("operator");
    let system = "vectorsphere-system";
    let restart = [
        "rollout",
        "restart",
        "-n",
        system,
        "deployment/vectorsphere-operator",
    ];
    kubernetes.call(&restart, "").accepted("restart");
    kubernetes.until_rolled_out(system, "deployment/vectorsphere-operator");
}

#[test]
fn an_applied_manifest_becomes_pods_that_answer_and_a_killed_worker_comes_back() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = operator_process::calm();
    let namespace = kubernetes.namespace("serving");
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    kubernetes
        .call(&["label", "namespace", &namespace.name, restricted], "")
        .accepted("label");
    let small = Small::new(&kubernetes, &namespace.name);
    let began = SystemClock.now();
    let arguments = ["apply", "--server-side", "-n", small.namespace, "-f", "-"];
    kubernetes.call(&arguments, SMALL).accepted("apply");
    small.wait("condition=Ready");
    let ready = SystemClock.now().since(began);
    let found = small.application(true);
    assert_eq!(found, serde_json::json!([[99, 98, 97], 100]));
    let answered = SystemClock.now().since(began);

    // A worker that is killed comes back on its own volume, without a person.
    let back = small.kill_worker();
    small.wait("condition=Ready");
    assert_eq!(
        small.application(false),
        serde_json::json!([[99, 98, 97], 100])
    );
    eprintln!(
        "applied: Ready after {ready:.1?}, the first search answered after {answered:.1?}; a killed \
         worker was back after {back:.1?} with every point"
    );
}

#[test]
fn what_is_not_built_is_refused_by_name_and_makes_nothing() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let namespace = kubernetes.namespace("unbuilt");
    let small = Small::new(&kubernetes, &namespace.name);
    let manifest = SMALL.replace(
        "spec:\n",
        "spec:\n  deletionPolicy: Snapshot\n  config: {a: b}\n",
    );
    let arguments = ["apply", "--server-side", "-n", small.namespace, "-f", "-"];
    kubernetes.call(&arguments, &manifest).accepted("apply");
    small.wait("condition=SpecValid=False");
    let cluster = kubernetes.get(small.namespace, "vectorcluster", "small");
    assert_eq!(cluster["status"]["phase"], "Invalid");
    let conditions = cluster["status"]["conditions"].as_array().unwrap();
    let valid = conditions
        .iter()
        .find(|one| one["type"] == "SpecValid")
        .unwrap();
    assert_eq!(valid["reason"], "NotBuilt");
    let message = valid["message"].as_str().unwrap();
    assert!(
        message.contains("spec.deletionPolicy") && message.contains("spec.config"),
        "{message}"
    );
    let made = kubernetes.call(
        &[
            "get",
            "pods,services,secrets,persistentvolumeclaims",
            "-n",
            small.namespace,
            "-o",
            "name",
        ],
        "",
    );
    assert_eq!(made.stdout, "");
}
