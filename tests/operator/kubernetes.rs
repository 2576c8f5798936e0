//! The Kubernetes that the tests run on, by the `kubectl` that `scripts/test-kubernetes` names.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// How long a call may take: far more than any takes, so that a server that hangs fails the test.
const CALL_TIMEOUT: &str = "--request-timeout=60s";

/// A real Kubernetes.
pub(crate) struct Kubernetes {
    kubectl: PathBuf,
}

/// What `kubectl` answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The answer to a call that must succeed without a warning.
    #[track_caller]
    pub(crate) fn accepted(self, what: &str) -> String {
        assert!(self.ok, "{what}: {}", self.stderr);
        assert!(!self.stderr.contains("Warning"), "{what}: {}", self.stderr);
        self.stdout
    }
}

impl Kubernetes {
    /// The one of this run. Where there is none the test says that it is skipped; where CI is set
    /// that is a failure.
    pub(crate) fn of_this_run() -> Option<Self> {
        let variable = |name: &str| std::env::var_os(format!("VECTORSPHERE_TEST_{name}"));
        let reason = match (variable("KUBERNETES_SKIP"), variable("KUBECTL")) {
            (Some(reason), _) => reason.to_string_lossy().into_owned(),
            (None, Some(kubectl)) => {
                let kubectl = PathBuf::from(kubectl);
                return Some(Self { kubectl });
            },
            (None, None) => "no Kubernetes: scripts/test-kubernetes starts one".to_owned(),
        };
        assert!(
            std::env::var_os("CI").is_none(),
            "skipped, which CI does not allow: {reason}"
        );
        eprintln!("SKIPPED: {reason}");
        None
    }

    /// The program, for calls that go on.
    pub(crate) fn kubectl(&self) -> &std::path::Path {
        &self.kubectl
    }

    /// Runs `kubectl` with arguments and an input.
    pub(crate) fn call(&self, arguments: &[&str], input: &str) -> Answer {
        let mut child = Command::new(&self.kubectl)
            .arg(CALL_TIMEOUT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end without having read all: then its answer says why.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        Answer {
            ok: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `kubectl apply --server-side` of one object.
    pub(crate) fn apply(&self, object: &Value) -> Answer {
        let text = object.to_string();
        self.call(&["apply", "--server-side", "-f", "-"], &text)
    }

    /// An object as the server holds it.
    #[track_caller]
    pub(crate) fn get(&self, namespace: &str, resource: &str, name: &str) -> Value {
        let arguments = ["get", "-n", namespace, resource, name, "-o", "json"];
        let text = self.call(&arguments, "").accepted(name);
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until every pod of a controller is of its newest template and ready.
    #[track_caller]
    pub(crate) fn until_rolled_out(&self, namespace: &str, controller: &str) {
        let arguments = [
            "rollout",
            "status",
            "-n",
            namespace,
            controller,
            "--timeout=240s",
        ];
        let waited = Command::new(&self.kubectl)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&waited.stderr);
        assert!(waited.status.success(), "{controller}: {said}");
    }

    /// A new namespace for one test.
    pub(crate) fn namespace(&self, test: &str) -> Namespace<'_> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("test-{test}-{unique}");
        self.call(&["create", "namespace", &name], "")
            .accepted(&name);
        Namespace { of: self, name }
    }
}

/// A namespace that goes with the test.
pub(crate) struct Namespace<'a> {
    of: &'a Kubernetes,
    pub(crate) name: String,
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let arguments = ["delete", "namespace", &self.name, "--wait=false"];
        let answer = self.of.call(&arguments, "");
        if !answer.ok {
            eprintln!("{}: {}", self.name, answer.stderr);
        }
    }
}
