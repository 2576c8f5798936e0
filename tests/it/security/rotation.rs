//! Certificates and their authority are changed while the cluster works, and nobody notices.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vectorsphere::security::Peer;
use vectorsphere::security::peers::certificate_name;

use crate::support::http_client::HttpClient;
use crate::support::pki::Authority;
use crate::support::real_etcd::RealEtcd;
use crate::support::wait_for::wait_for;

const LIMIT: Duration = Duration::from_secs(60);
/// Searches that must be asked while certificates change.
const SEARCHES: usize = 2_000;
const ROLES: [Peer; 3] = [Peer::Master, Peer::Worker, Peer::Gateway];

/// A master, a worker and a gateway with certificates, and an etcd that asks for one.
struct Secured {
    folder: tempfile::TempDir,
    children: Vec<Child>,
    _etcd: RealEtcd,
}

impl Drop for Secured {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Gone already is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Secured {
    fn start(peers: &Authority, etcd: &Authority) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        etcd.lay(&folder.path().join("etcd-server"), &["127.0.0.1"], &[etcd]);
        etcd.lay(&folder.path().join("etcd-tls"), &["client"], &[etcd]);
        let server = RealEtcd::start_secured(&folder.path().join("etcd-server"))?;
        let mut secured = Self {
            folder,
            children: Vec::new(),
            _etcd: server,
        };
        secured.lay(peers, &[peers]);
        let endpoint = secured._etcd.endpoint().to_owned();
        for role in ROLES {
            let child = secured.spawn(role, &endpoint);
            secured.children.push(child);
        }
        Some(secured)
    }

    /// Gives every role a new certificate.
    fn lay(&self, by: &Authority, trusted: &[&Authority]) {
        for role in ROLES {
            let name = certificate_name(role, "demo", "test");
            by.lay(&self.peer_folder(role), &[&name], trusted);
        }
    }

    fn peer_folder(&self, role: Peer) -> PathBuf {
        self.folder.path().join(format!("{role}-tls"))
    }

    fn spawn(&self, role: Peer, etcd: &str) -> Child {
        let path = |name: &str| self.folder.path().join(name);
        let log = fs_err::File::create(self.log(role)).unwrap();
        Command::new(env!("CARGO_BIN_EXE_vectorsphere"))
            .arg(role.as_str())
            .args(["--name", &format!("demo-{role}-0"), "--cluster", "demo"])
            .args([
                "--namespace",
                "test",
                "--etcd",
                etcd,
                "--listen",
                "127.0.0.1:0",
            ])
            .arg("--data-dir")
            .arg(path(role.as_str()))
            .arg("--etcd-tls")
            .arg(path("etcd-tls"))
            .arg("--peer-tls")
            .arg(self.peer_folder(role))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.into_file())
            .spawn()
            .unwrap()
    }

    fn log(&self, role: Peer) -> PathBuf {
        self.folder.path().join(format!("{role}.log"))
    }

    /// How often a process has taken new certificates.
    fn taken(&self, role: Peer) -> usize {
        let log = fs_err::read_to_string(self.log(role)).unwrap();
        log.matches("new certificates are in use").count()
    }

    /// Waits until every process has taken certificates so often.
    async fn all_have_taken(&self, times: usize) {
        wait_for("certificates are taken", LIMIT, || async {
            ROLES
                .iter()
                .all(|role| self.taken(*role) >= times)
                .then_some(())
        })
        .await;
    }

    /// Where the gateway answers, once it is ready.
    async fn url(&self) -> String {
        let card = self.folder.path().join("gateway/process.json");
        let http = HttpClient::new();
        wait_for("the gateway is ready", LIMIT, || async {
            let url = read_address(&card)?;
            let answer = http.get(&format!("{url}/readyz")).send().await.ok()?;
            answer.is_success().then_some(url)
        })
        .await
    }
}

fn read_address(card: &Path) -> Option<String> {
    let card: Value = serde_json::from_slice(&fs_err::read(card).ok()?).ok()?;
    Some(format!("http://{}", card["http_address"].as_str()?))
}

/// Asks one after another, on a new connection between the processes or an old one, until it is told to
/// stop and has asked often enough; how often, and what failed.
async fn search(url: String, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let http = HttpClient::new();
    let (mut asked, mut failed) = (0, Vec::new());
    while asked < SEARCHES || !stop.load(Ordering::Relaxed) {
        let query = json!({"query": [1, 2], "limit": 1});
        let answer = http
            .post(&format!("{url}/collections/c/points/query"))
            .json(&query)
            .send()
            .await
            .unwrap();
        if !answer.is_success() {
            failed.push(answer.text);
        }
        asked += 1;
    }
    (asked, failed)
}

#[tokio::test]
async fn certificates_and_their_authority_change_under_searches_and_none_fails() {
    let (old, new, etcd) = (
        Authority::new("old"),
        Authority::new("new"),
        Authority::new("etcd"),
    );
    let Some(cluster) = Secured::start(&old, &etcd) else {
        return;
    };
    let url = cluster.url().await;
    let http = HttpClient::new();
    let put = async |path: &str, body: &Value| {
        let request = http.put(&format!("{url}{path}")).json(body);
        request.send().await
    };
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    wait_for("a collection is made", LIMIT, || async {
        let made = put("/collections/c", &vectors).await.ok()?;
        made.is_success().then_some(())
    })
    .await;
    let points = json!({"points": [{"id": 1, "vector": [1, 2]}]});
    let written = put("/collections/c/points?wait=true", &points)
        .await
        .unwrap();
    assert!(written.is_success(), "{}", written.text);
    let stop = Arc::new(AtomicBool::new(false));
    let searching = tokio::spawn(search(url.clone(), Arc::clone(&stop)));
    // Trust both, then show the new one, then forget the old one.
    cluster.lay(&old, &[&old, &new]);
    cluster.all_have_taken(1).await;
    cluster.lay(&new, &[&old, &new]);
    cluster.all_have_taken(2).await;
    cluster.lay(&new, &[&new]);
    cluster.all_have_taken(3).await;
    // A worker that starts now knows the new authority only.
    stop.store(true, Ordering::Relaxed);
    let (asked, failed) = searching.await.unwrap();
    assert!(
        failed.is_empty(),
        "{} of {asked} failed: {}",
        failed.len(),
        failed[0]
    );
    let more = put("/collections/d", &vectors).await.unwrap();
    assert!(more.is_success(), "{}", more.text);
    eprintln!("three changes of certificates under {asked} searches: 0 failed");
}
