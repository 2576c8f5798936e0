//! A cluster that lives through changes: applied, looked at, asked by an application inside the network.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use vectorsphere::clock::{Clock, SystemClock};

use crate::acting::serving::python;
use crate::kubernetes::{Answer, Kubernetes, Namespace};

/// How long any change may take on a machine that others use too.
const LIMIT: Duration = Duration::from_secs(300);

/// What an application does, by the official client, unchanged. The name of the Service is looked up by
/// `kubectl` outside of the cluster, for the machine of the test has none of the cluster's names.
const APPLICATION: &str = r#"
import json, socket, sys, time
from qdrant_client import QdrantClient, models
host, address, key, authority, verb, *rest = sys.argv[1:]
known = socket.getaddrinfo
socket.getaddrinfo = lambda name, *more, **named: known(address if name == host else name, *more, **named)
client = QdrantClient(url=f"https://{host}:6333", api_key=key, verify=authority, timeout=30)
def look(collection):
    found = client.query_points(collection, query=[1, 0, 0, 0], limit=3).points
    return [[point.id for point in found], client.count(collection).count]
if verb == "write":
    vectors = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection(rest[0], vectors_config=vectors, shard_number=int(rest[1]))
    points = [models.PointStruct(id=i, vector=[i, 1, 0, 0], payload={"n": i}) for i in range(100)]
    client.upsert(rest[0], points, wait=True)
    print(json.dumps(look(rest[0])))
elif verb == "read":
    print(json.dumps(look(rest[0])))
elif verb == "drop":
    print(json.dumps(client.delete_collection(rest[0])))
elif verb == "search":
    asked, failed, every = 0, [], int(rest[1])
    import threading
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.is_set():
        asked += 1
        if every and asked % every == 0:
            client.close()
            client = QdrantClient(url=f"https://{host}:6333", api_key=key, verify=authority, timeout=30)
        try:
            found = client.query_points(rest[0], query=[1, 0, 0, 0], limit=3).points
            if [point.id for point in found] != [99, 98, 97]:
                failed.append(f"found {found}")
        except Exception as error:
            failed.append(f"{type(error).__name__}: {error}"[:300])
        if asked == 1:
            print("searching", flush=True)
    print(json.dumps([asked, failed]))
"#;

/// One cluster in a namespace of its own.
pub(crate) struct Living<'a> {
    kubernetes: &'a Kubernetes,
    namespace: Namespace<'a>,
    name: &'static str,
    folder: tempfile::TempDir,
}

impl<'a> Living<'a> {
    /// A place for the cluster of this name.
    pub(crate) fn new(kubernetes: &'a Kubernetes, name: &'static str) -> Self {
        Self {
            kubernetes,
            namespace: kubernetes.namespace(name),
            name,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The name of its namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace.name
    }

    /// `kubectl` with arguments in the namespace; what it printed.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).accepted(&arguments.join(" "))
    }

    /// The same, whatever the answer is.
    pub(crate) fn try_kubectl(&self, arguments: &[&str]) -> Answer {
        let all = [arguments, &["-n", &self.namespace.name]].concat();
        self.kubernetes.call(&all, "")
    }

    /// Applies a manifest of the cluster.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) {
        let namespace = &self.namespace.name;
        let arguments = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "-n",
            namespace,
            "-f",
            "-",
        ];
        self.kubernetes.call(&arguments, manifest).accepted("apply");
    }

    /// Merges a change into the cluster.
    #[track_caller]
    pub(crate) fn patch(&self, change: &str) {
        self.kubectl(&[
            "patch",
            "vectorcluster",
            self.name,
            "--type=merge",
            "-p",
            change,
        ]);
    }

    /// The cluster as the server holds it.
    #[track_caller]
    pub(crate) fn cluster(&self) -> Value {
        self.kubernetes
            .get(&self.namespace.name, "vectorcluster", self.name)
    }

    /// Waits until the cluster satisfies this; how long that took. It speaks of the generation that it
    /// has now.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Duration {
        let began = SystemClock.now();
        let mut watch = Command::new(self.kubernetes.kubectl())
            .arg(format!("--request-timeout={}s", LIMIT.as_secs()))
            .args(["get", "vectorclusters", "--watch", "-o", "json"])
            .arg(format!("--field-selector=metadata.name={}", self.name))
            .args(["-n", &self.namespace.name])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let news = BufReader::new(watch.stdout.take().unwrap());
        let news = serde_json::Deserializer::from_reader(news).into_iter::<Value>();
        let current = |cluster: &Value| {
            let known = &cluster["status"]["observedGeneration"];
            *known == cluster["metadata"]["generation"]
        };
        // The watch of a list, since kubectl passes over the first event of that of an object: first the
        // list, then each change.
        let found = news.map_while(Result::ok).any(|news| {
            let listed = news["items"].as_array();
            let one = std::slice::from_ref(&news);
            let clusters = listed.map_or(one, Vec::as_slice);
            let fits = |cluster: &Value| current(cluster) && holds(cluster);
            clusters.iter().any(fits)
        });
        // It has nothing more to say.
        drop(watch.kill());
        drop(watch.wait());
        if !found {
            let pods = self.kubectl(&["get", "pods,pvc", "-o", "wide"]);
            panic!("{what}: {:#}\n{pods}", self.cluster()["status"]);
        }
        SystemClock.now().since(began)
    }

    /// Waits for a phase.
    #[track_caller]
    pub(crate) fn until_phase(&self, phase: &str) -> Duration {
        self.until(phase, |cluster| cluster["status"]["phase"] == phase)
    }

    /// Waits until an object is gone, or all of a kind.
    #[track_caller]
    pub(crate) fn until_gone(&self, object: &str) {
        let limit = format!("--timeout={}s", LIMIT.as_secs());
        let mut arguments = vec!["wait", "--for=delete", &limit];
        arguments.extend(object.split(' '));
        self.kubectl(&arguments);
    }

    /// Name to UID of the objects of a kind.
    pub(crate) fn uids(&self, kind: &str) -> Vec<(String, String)> {
        let text = self.kubectl(&["get", kind, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        let of =
            |object: &Value, field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        let items = list["items"].as_array().unwrap();
        items
            .iter()
            .map(|one| (of(one, "name"), of(one, "uid")))
            .collect()
    }

    /// The UID of an object.
    #[track_caller]
    pub(crate) fn uid(&self, object: &str) -> String {
        self.try_uid(object)
            .unwrap_or_else(|| panic!("there is no {object}"))
    }

    /// The UID of an object, if it is there.
    pub(crate) fn try_uid(&self, object: &str) -> Option<String> {
        let uid = [
            "get",
            object,
            "--ignore-not-found",
            "-o",
            "jsonpath={.metadata.uid}",
        ];
        Some(self.kubectl(&uid)).filter(|uid| !uid.is_empty())
    }

    /// The reasons of the events about the cluster.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.kubectl(&["get", "events.events.k8s.io", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        let events = list["items"].as_array().unwrap().iter();
        let ours = events.filter(|event| event["regarding"]["kind"] == "VectorCluster");
        ours.map(|event| event["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A condition's status and reason.
    pub(crate) fn condition(cluster: &Value, type_: &str) -> (String, String) {
        let conditions = cluster["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|one| one["type"] == type_);
        let text = |field: &str| {
            let found = found.map(|one| one[field].as_str().unwrap().to_owned());
            found.unwrap_or_default()
        };
        (text("status"), text("reason"))
    }

    /// The message of a condition.
    pub(crate) fn message(cluster: &Value, type_: &str) -> String {
        let conditions = cluster["status"]["conditions"].as_array().unwrap();
        let found = conditions.iter().find(|one| one["type"] == type_);
        found.map_or_else(String::new, |one| {
            one["message"].as_str().unwrap().to_owned()
        })
    }

    /// A field of a Secret, decoded by kubectl.
    pub(crate) fn secret(&self, name: &str, key: &str) -> String {
        let template = format!("go-template={{{{index .data {key:?} | base64decode}}}}");
        self.kubectl(&["get", "secret", name, "-o", &template])
    }

    fn client(&self, verb: &[&str]) -> Command {
        let namespace = &self.namespace.name;
        let service = format!("{}-gateway", self.name);
        let gateway = self.kubernetes.get(namespace, "service", &service);
        let address = gateway["spec"]["clusterIP"].as_str().unwrap();
        let authority: PathBuf = self.folder.path().join("ca.crt");
        let certificate = self.secret(&format!("{service}-tls"), "ca.crt");
        fs_err::write(&authority, certificate).unwrap();
        // Inside the network of the first node, where Services have their addresses.
        let netns = std::env::var_os("VECTORSPHERE_TEST_NETNS").unwrap();
        let mut inside = std::ffi::OsString::from("--net=");
        inside.push(netns);
        let mut command = Command::new("nsenter");
        command
            .arg(inside)
            .arg(python())
            .args(["-c", APPLICATION])
            .arg(format!("{service}.{namespace}.svc"))
            .arg(address)
            .arg(self.secret(&format!("{}-auth", self.name), "admin"))
            .arg(&authority)
            .args(verb);
        command
    }

    /// Runs the application to its end; what it printed.
    #[track_caller]
    pub(crate) fn application(&self, verb: &[&str]) -> Value {
        let output = self.client(verb).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Begins searches that go on until they are counted, on one connection.
    pub(crate) fn searches(&self, collection: &str) -> Searches {
        self.searching(collection, "0", None)
    }

    /// The same, on a new connection every 20 searches, by the authorities that the Secret names then.
    pub(crate) fn searches_by_fresh_authorities(&self, collection: &str) -> Searches {
        let secret = format!("{}-gateway-tls", self.name);
        let mut watch = Command::new(self.kubernetes.kubectl())
            .args(["get", "secret", &secret, "--watch", "-o", "json"])
            .args(["-n", &self.namespace.name])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let news = BufReader::new(watch.stdout.take().unwrap());
        let (kubectl, namespace) = (
            self.kubernetes.kubectl().to_owned(),
            self.namespace.name.clone(),
        );
        let (file, name) = (self.folder.path().join("ca.crt"), secret);
        std::thread::spawn(move || {
            let news = serde_json::Deserializer::from_reader(news).into_iter::<Value>();
            for _change in news.map_while(Result::ok) {
                let template = "go-template={{index .data \"ca.crt\" | base64decode}}";
                let got = Command::new(&kubectl)
                    .args(["get", "secret", &name, "-n", &namespace, "-o", template])
                    .output();
                let Ok(got) = got else { return };
                let next = file.with_extension("next");
                // The test may have ended, and its folder with it.
                if got.status.success() && fs_err::write(&next, got.stdout).is_ok() {
                    drop(fs_err::rename(&next, &file));
                }
            }
        });
        self.searching(collection, "20", Some(watch))
    }

    fn searching(&self, collection: &str, every: &str, watch: Option<Child>) -> Searches {
        let mut command = self.client(&["search", collection, every]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        assert_eq!(first.trim_end(), "searching");
        Searches {
            child: Some(child),
            said,
            watch,
        }
    }
}

/// Searches that go on, one after the other.
pub(crate) struct Searches {
    child: Option<Child>,
    said: BufReader<ChildStdout>,
    /// What tells of changes of the authorities.
    watch: Option<Child>,
}

impl Searches {
    /// Ends them: how many there were, and how each that failed did.
    pub(crate) fn count(mut self) -> (u64, Vec<String>) {
        let mut child = self.child.take().unwrap();
        drop(child.stdin.take().unwrap().flush());
        let mut text = String::new();
        self.said.read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        serde_json::from_str(text.trim_end()).unwrap()
    }
}

impl Drop for Searches {
    fn drop(&mut self) {
        for mut child in self.child.take().into_iter().chain(self.watch.take()) {
            // Gone already is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
