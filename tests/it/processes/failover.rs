//! The leader away, and etcd away: another leads in time, searches and writes go on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use vectorsphere::coordination::session::TTL_SECONDS;

use crate::support::http_client::HttpClient;
use crate::support::local_cluster::{LocalCluster, kill};
use crate::support::real_etcd::RealEtcd;
use crate::support::reserved_port::ReservedPort;
use crate::support::skip::long;
use crate::support::wait_for::wait_for;

/// How long a lease lives that nobody renews.
const TTL: Duration = Duration::from_secs(TTL_SECONDS.unsigned_abs());

const THREE_MASTERS: &str = "\
apiVersion: vectorsphere.io/v1alpha1
kind: VectorCluster
metadata:
  name: three
spec:
  version: 0.1.0
  gateway: {replicas: 1}
  master: {replicas: 3}
  worker: {replicas: 1, storage: {size: 1Gi}}
  etcd: {managed: {}}
";

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// The leader and its term.
async fn leader(cluster: &LocalCluster) -> Option<(String, u64)> {
    let status = cluster.status().await?;
    Some((
        status["leader"].as_str()?.to_owned(),
        status["term"].as_u64()?,
    ))
}

fn pid_of(cluster: &LocalCluster, name: &str) -> i32 {
    let components = cluster.components();
    let found = components.iter().find(|one| one["name"] == name).unwrap();
    i32::try_from(found["pid"].as_i64().unwrap()).unwrap()
}

/// Searches and writes, one after another, until told to stop; each must succeed.
struct Load {
    stop: Arc<AtomicBool>,
    searches: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<(u64, Duration, u64)>,
}

impl Load {
    async fn start(cluster: &LocalCluster) -> Self {
        Self::at(cluster.http.clone(), cluster.url.clone()).await
    }

    async fn at(http: HttpClient, url: String) -> Self {
        let vectors = json!({"vectors": {"size": 2, "distance": "Euclid"}});
        let made = http.put(&format!("{url}/collections/load")).json(&vectors);
        let made = made.send().await.unwrap();
        assert_eq!(made.status, 200, "{}", made.text);
        let stop = Arc::new(AtomicBool::new(false));
        let searches = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(drive(http, url, Arc::clone(&stop), Arc::clone(&searches)));
        let load = Self {
            stop,
            searches,
            task,
        };
        wait_for("the first search", Duration::from_secs(10), || async {
            (load.searches.load(Ordering::Relaxed) > 0).then_some(())
        })
        .await;
        load
    }

    /// The searches that were answered, the points that were written, and the longest of all waits.
    async fn end(self) -> (u64, u64, Duration) {
        self.end_but_for(0).await
    }

    /// The same where so many writes may have been in the hands of a process that was killed: nobody knows
    /// whether those were applied, the answer says so, and who asked asks again.
    async fn end_but_for(self, unknown_max: u64) -> (u64, u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let (points, longest, unknown) = self.task.await.unwrap();
        assert!(unknown <= unknown_max, "{unknown} writes are not known");
        (self.searches.load(Ordering::Relaxed), points, longest)
    }
}

async fn drive(
    http: HttpClient,
    url: String,
    stop: Arc<AtomicBool>,
    searches: Arc<AtomicU64>,
) -> (u64, Duration, u64) {
    let (mut id, mut longest, mut unknown) = (0, Duration::ZERO, 0);
    let collection = format!("{url}/collections/load/points");
    while !stop.load(Ordering::Relaxed) {
        let point = json!({"points": [{"id": id, "vector": [id, 0]}]});
        let query = json!({"query": [id, 0], "limit": 1});
        let write = http.put(&format!("{collection}?wait=true")).json(&point);
        let search = http.post(&format!("{collection}/query")).json(&query);
        for request in [write, search] {
            let began = Instant::now();
            let mut answer = request.clone().send().await.unwrap();
            if answer.status == 502 && answer.text.contains("not known whether this was applied") {
                unknown += 1;
                answer = request.send().await.unwrap();
            }
            assert_eq!(answer.status, 200, "{}", answer.text);
            longest = longest.max(began.elapsed());
            if let Ok(answer) = serde_json::from_str::<Value>(&answer.text)
                && let Some(points) = answer["result"]["points"].as_array()
            {
                assert_eq!(points[0]["id"], json!(id));
            }
        }
        searches.fetch_add(1, Ordering::Relaxed);
        id += 1;
    }
    (id, longest, unknown)
}

fn cluster_of_three(folder: &Path, routing: &str) -> LocalCluster {
    let manifest = folder.join("cluster.yaml");
    let text = THREE_MASTERS.replace(
        "gateway: {replicas: 1}",
        &format!("gateway: {{replicas: 1, routing: {routing}}}"),
    );
    fs_err::write(&manifest, text).unwrap();
    LocalCluster::start(&folder.join("data"), Some(&manifest))
}

async fn next_leader(cluster: &LocalCluster, before: u64) -> (String, u64, Duration) {
    let began = Instant::now();
    let limit = TTL + Duration::from_secs(1);
    let (name, term) = wait_for("another leads", limit, || async {
        leader(cluster).await.filter(|(_name, term)| *term > before)
    })
    .await;
    (name, term, began.elapsed())
}

#[tokio::test]
async fn another_master_leads_when_the_leader_is_killed() {
    leader_killed("Direct").await;
}

/// The masters carry the requests for data too: what the killed one had is asked of another.
#[tokio::test]
async fn another_master_leads_when_the_leader_is_killed_that_requests_go_through() {
    leader_killed("ViaMaster").await;
}

async fn leader_killed(routing: &str) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster_of_three(folder.path(), routing);
    let load = Load::start(&cluster).await;
    let (name, term) = leader(&cluster).await.unwrap();
    kill(pid_of(&cluster, &name));
    let (_next, later, after) = next_leader(&cluster, term).await;
    assert!(later > term, "terms only grow: {later} after {term}");
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    cluster.must("PUT", "/collections/d", &vectors).await;
    // The leader may have had a write in its hands.
    let in_its_hands = u64::from(routing == "ViaMaster");
    let (searches, points, longest) = load.end_but_for(in_its_hands).await;
    eprintln!(
        "leader killed, {routing}: the next led after {after:?}; {searches} searches and {points} writes \
         meanwhile, none failed, the longest took {longest:?}"
    );
}

#[tokio::test]
async fn another_master_leads_when_the_leader_hangs_and_the_old_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = cluster_of_three(folder.path(), "Direct");
    let load = Load::start(&cluster).await;
    let (name, term) = leader(&cluster).await.unwrap();
    let pid = pid_of(&cluster, &name);
    signal(pid, Signal::STOP);
    let (next, later, after) = next_leader(&cluster, term).await;
    assert!(
        next != name && later > term,
        "{name} {term}, {next} {later}"
    );
    signal(pid, Signal::CONT);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    cluster.must("PUT", "/collections/d", &vectors).await;
    wait_for("all three serve", Duration::from_secs(30), || async {
        let status = cluster.status().await?;
        let masters = status["processes"]
            .as_array()?
            .iter()
            .filter(|process| process["role"] == "master" && process["state"] == "serving");
        (masters.count() == 3).then_some(())
    })
    .await;
    let (_same, still) = leader(&cluster).await.unwrap();
    assert_eq!(still, later, "the one that came back leads no more");
    let (searches, points, longest) = load.end().await;
    eprintln!(
        "leader stopped: the next led after {after:?}; {searches} searches and {points} writes \
         meanwhile, none failed, the longest took {longest:?}"
    );
}

/// Stops the process that etcd lives in; every lease ends meanwhile.
async fn without_etcd(away: Duration) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let load = Load::start(&cluster).await;
    signal(cluster.pid(), Signal::STOP);
    let (began, before) = (Instant::now(), load.searches.load(Ordering::Relaxed));
    wait_for(
        "the time is over",
        away + Duration::from_secs(30),
        || async { (began.elapsed() >= away).then_some(()) },
    )
    .await;
    let during = load.searches.load(Ordering::Relaxed) - before;
    assert!(!load.task.is_finished(), "a search or a write failed");
    signal(cluster.pid(), Signal::CONT);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    wait_for(
        "collections can be made again",
        Duration::from_secs(30),
        || async {
            let (status, _) = cluster.ask("PUT", "/collections/d", &vectors).await;
            (status == 200).then_some(())
        },
    )
    .await;
    let back = began.elapsed() - away;
    let (_searches, points, longest) = load.end().await;
    let count = cluster
        .must("POST", "/collections/load/points/count", &json!({}))
        .await;
    assert_eq!(count["count"], json!(points));
    eprintln!(
        "etcd away for {away:?}: {during} searches and as many writes meanwhile, none failed, the \
         longest took {longest:?}; collections could be made {back:?} after it came back"
    );
}

#[tokio::test]
async fn searches_and_writes_go_on_without_etcd() {
    without_etcd(TTL + Duration::from_secs(4)).await;
}

#[tokio::test]
async fn long_searches_and_writes_go_on_a_minute_without_etcd() {
    if long() {
        without_etcd(Duration::from_secs(60)).await;
    }
}

/// A cluster of one process of each role over an etcd that somebody else runs.
struct OverEtcd {
    processes: Vec<Child>,
    _port: ReservedPort,
    url: String,
    http: HttpClient,
}

impl OverEtcd {
    async fn start(folder: &Path, endpoint: &str) -> Self {
        let port = ReservedPort::new();
        let listen = port.address();
        let start = |role: &str, more: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_vectorsphere"))
                .args([role, "--cluster=over", "--log=warn"])
                .arg(format!("--name=over-{role}-0"))
                .arg(format!("--etcd={endpoint}"))
                .arg(format!("--data-dir={}", folder.join(role).display()))
                .args(more)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let listen_here = format!("--listen={listen}");
        let processes = vec![
            start("worker", &[]),
            start("master", &[]),
            start("gateway", &[&listen_here]),
        ];
        let over = Self {
            processes,
            _port: port,
            url: format!("http://{listen}"),
            http: HttpClient::new(),
        };
        over.takes_changes("first").await;
        over
    }

    /// Waits until a collection of this name can be made.
    async fn takes_changes(&self, name: &str) {
        let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
        let url = format!("{}/collections/{name}", self.url);
        wait_for("a collection is made", Duration::from_secs(60), || async {
            let made = self.http.put(&url).json(&vectors).send().await;
            made.is_ok_and(|made| made.status == 200).then_some(())
        })
        .await;
    }
}

impl Drop for OverEtcd {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Gone already is as good.
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// Nobody answers at etcd's address, where a stopped one would still take connections.
#[tokio::test]
async fn searches_and_writes_go_on_while_a_killed_etcd_is_away() {
    let Some(etcd) = RealEtcd::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cluster = OverEtcd::start(folder.path(), etcd.endpoint()).await;
    let load = Load::at(cluster.http.clone(), cluster.url.clone()).await;
    etcd.kill();
    let (began, before) = (Instant::now(), load.searches.load(Ordering::Relaxed));
    let away = TTL + Duration::from_secs(4);
    wait_for("the time is over", Duration::from_secs(60), || async {
        (began.elapsed() >= away).then_some(())
    })
    .await;
    let during = load.searches.load(Ordering::Relaxed) - before;
    assert!(!load.task.is_finished(), "a search or a write failed");
    etcd.run().await;
    cluster.takes_changes("second").await;
    let back = began.elapsed() - away;
    let (_searches, _points, longest) = load.end().await;
    eprintln!(
        "etcd killed for {away:?}: {during} searches and as many writes meanwhile, none failed, the \
         longest took {longest:?}; collections could be made {back:?} after it was started again"
    );
}
