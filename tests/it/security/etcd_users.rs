//! Real processes on an etcd that asks for users and forgets tokens all the time.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http_client::HttpClient;
use crate::support::real_etcd::RealEtcd;
use crate::support::wait_for::wait_for;

const LIMIT: Duration = Duration::from_secs(60);
const ROLES: [&str; 3] = ["master", "worker", "gateway"];
/// The range of one cluster, and all that its user may read and write.
const RANGE: &str = "/vectorsphere/test/demo/";
const FIRST: &str = "correct-horse-battery";
const SECOND: &str = "staple-and-paper";

/// One of each role.
struct Cluster {
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Gone already is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Cluster {
    fn start(etcd: &str, password: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("etcd-auth")).unwrap();
        let mut cluster = Self {
            folder,
            children: Vec::new(),
        };
        cluster.lay(password);
        for role in ROLES {
            let child = cluster.spawn(role, etcd);
            cluster.children.push(child);
        }
        cluster
    }

    /// Lays user and password, each file at once.
    fn lay(&self, password: &str) {
        let folder = self.folder.path().join("etcd-auth");
        for (file, text) in [("username", "search"), ("password", password)] {
            let draft = self.folder.path().join("draft");
            fs_err::write(&draft, format!("{text}\n")).unwrap();
            fs_err::rename(&draft, folder.join(file)).unwrap();
        }
    }

    fn spawn(&self, role: &str, etcd: &str) -> Child {
        let path = |name: &str| self.folder.path().join(name);
        let log = fs_err::File::create(self.log_file(role)).unwrap();
        Command::new(env!("CARGO_BIN_EXE_vectorsphere"))
            .arg(role)
            .args(["--name", &format!("demo-{role}-0"), "--cluster", "demo"])
            .args(["--namespace", "test", "--etcd", etcd])
            .args(["--listen", "127.0.0.1:0", "--log", "debug"])
            .arg("--data-dir")
            .arg(path(role))
            .arg("--etcd-auth")
            .arg(path("etcd-auth"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap()
    }

    fn log_file(&self, role: &str) -> PathBuf {
        self.folder.path().join(format!("{role}.log"))
    }

    fn log(&self, role: &str) -> String {
        fs_err::read_to_string(self.log_file(role)).unwrap()
    }

    async fn url(&self, role: &str) -> String {
        let card = self.folder.path().join(role).join("process.json");
        wait_for("the process has a card", LIMIT, || async {
            read_address(&card)
        })
        .await
    }

    async fn ready(&self) -> String {
        let http = HttpClient::new();
        for role in ROLES {
            let url = self.url(role).await;
            wait_for("the process is ready", LIMIT, || async {
                let answer = http.get(&format!("{url}/readyz")).send().await.ok()?;
                answer.is_success().then_some(())
            })
            .await;
        }
        self.url("gateway").await
    }

    /// No password is anywhere but in its file.
    fn keeps_quiet(&self, password: &str) {
        for (child, role) in self.children.iter().zip(ROLES) {
            assert!(!self.log(role).contains(password), "{role}");
            for file in ["cmdline", "environ"] {
                let read = fs_err::read(format!("/proc/{}/{file}", child.id())).unwrap();
                let text = String::from_utf8_lossy(&read);
                assert!(!text.contains(password), "{role} {file}");
            }
        }
    }
}

fn read_address(card: &Path) -> Option<String> {
    let card: Value = serde_json::from_slice(&fs_err::read(card).ok()?).ok()?;
    Some(format!("http://{}", card["http_address"].as_str()?))
}

/// Waits until a collection can be made, which needs a master that leads and writes to etcd.
async fn collection_is_made(url: &str, name: &str) {
    let (http, path) = (HttpClient::new(), format!("{url}/collections/{name}"));
    wait_for("a collection is made", LIMIT, || async {
        let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
        let made = http.put(&path).json(&vectors).send().await.ok()?;
        (made.is_success() || made.text.contains("already exists")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_a_user_of_its_own_range_serves_through_a_change_of_the_password() {
    let Some(etcd) = RealEtcd::start_asking(RANGE, FIRST).await else {
        return;
    };
    let cluster = Cluster::start(etcd.endpoint(), FIRST);
    let url = cluster.ready().await;
    collection_is_made(&url, "c").await;
    for role in ROLES {
        let log = cluster.log(role);
        assert!(
            log.contains("goes in clear text to endpoints of http"),
            "{log}"
        );
    }
    let http = HttpClient::new();
    let put = async |path: &str, body: &Value| {
        let request = http.put(&format!("{url}{path}")).json(body);
        request.send().await.unwrap()
    };
    let points = json!({"points": [{"id": 1, "vector": [1, 2]}]});
    let written = put("/collections/c/points?wait=true", &points).await;
    assert!(written.is_success(), "{}", written.text);

    let mut root = etcd.root(FIRST).await;
    root.user_change_password("search", SECOND).await.unwrap();
    wait_for("a process says that it is refused", LIMIT, || async {
        let log = cluster.log("master");
        log.contains("etcd refuses user").then_some(())
    })
    .await;
    // Searches and writes do not need etcd.
    let more = json!({"points": [{"id": 2, "vector": [2, 1]}]});
    let written = put("/collections/c/points?wait=true", &more).await;
    assert!(written.is_success(), "{}", written.text);
    cluster.lay(SECOND);
    for role in ROLES {
        wait_for("the password is taken", LIMIT, || async {
            let log = cluster.log(role);
            log.contains("another user or password for etcd is in use")
                .then_some(())
        })
        .await;
    }
    collection_is_made(&url, "d").await;
    let count = http.post(&format!("{url}/collections/c/points/count"));
    let count = count.json(&json!({"exact": true})).send().await.unwrap();
    let count: Value = serde_json::from_str(&count.text).unwrap();
    assert_eq!(count["result"]["count"], 2);
    for password in [FIRST, SECOND] {
        cluster.keeps_quiet(password);
    }
}

/// A wrong password ends no process: each waits, and says for what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_wait_for_a_right_password_and_say_so() {
    let Some(etcd) = RealEtcd::start_asking(RANGE, FIRST).await else {
        return;
    };
    let mut cluster = Cluster::start(etcd.endpoint(), SECOND);
    let http = HttpClient::new();
    for role in ["master", "worker"] {
        let url = cluster.url(role).await;
        wait_for("it says what it waits for", LIMIT, || async {
            let answer = http.get(&format!("{url}/readyz")).send().await.ok()?;
            let says = answer
                .text
                .contains("waits for etcd: etcd refuses user \"search\"");
            (answer.status == 503 && says).then_some(())
        })
        .await;
    }
    for child in &mut cluster.children {
        assert!(child.try_wait().unwrap().is_none(), "it runs");
    }
    cluster.lay(FIRST);
    cluster.ready().await;
    cluster.keeps_quiet(SECOND);
}
