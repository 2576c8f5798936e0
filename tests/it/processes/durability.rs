//! Durability is fsync, not luck. A whole cluster runs with a library in between that writes down
//! what each process does to its files and what it sends (`tests/interpose/sync_order.c`); the trace
//! is held against what is promised. The same library makes syncs fail: then nothing is acknowledged,
//! the shard stops, and what was acknowledged before is there after the next start.

mod trace;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use self::trace::{Trace, Window};
use crate::support::local_cluster::LocalCluster;
use crate::support::skip::skip;
use crate::support::wait_for::wait_for;

const SHARD_FILE: &str = "/store/data.mdb";
const ETCD_FILE: &str = "/etcd/log";

/// Builds the library; `None`, said, where there is no compiler.
fn library(folder: &Path) -> Option<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interpose/sync_order.c");
    let library = folder.join("sync_order.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .args([source, "-ldl"])
        .output();
    match built {
        Ok(built) => {
            let said = String::from_utf8_lossy(&built.stderr);
            assert!(built.status.success(), "{said}");
            Some(library)
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip("there is no C compiler `cc` to build the interposed library");
            None
        },
        Err(error) => panic!("cc: {error}"),
    }
}

/// The clock that the library uses.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap();
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// The verdict, or the lines against it.
fn hold<T>(verdict: Result<T, String>) -> T {
    verdict.unwrap_or_else(|violation| panic!("{violation}"))
}

/// A cluster whose every process is watched.
struct Watched {
    cluster: LocalCluster,
    /// Holds the data folder, the trace and the switch of the failure.
    folder: PathBuf,
}

impl Watched {
    /// Starts one in a folder; `None` where the library cannot be had.
    fn start(folder: &Path) -> Option<Self> {
        // The kernel tells paths without symbolic links, and the library compares them.
        let folder = folder.canonicalize().unwrap();
        let library = library(&folder)?;
        fs_err::create_dir_all(folder.join("trace")).unwrap();
        let data = folder.join("data");
        let environment = [
            ("LD_PRELOAD", library),
            ("VECTORSPHERE_TEST_TRACE", folder.join("trace")),
            ("VECTORSPHERE_TEST_FOLDER", data.clone()),
            ("VECTORSPHERE_TEST_EIO", folder.join("eio")),
        ];
        let cluster = LocalCluster::start_with(&data, None, &environment);
        Some(Self { cluster, folder })
    }

    fn data_dir(&self) -> PathBuf {
        self.cluster.data_dir.clone()
    }

    /// A request: its status, what was said, and when it was under way.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value, Window) {
        let start = now();
        let (status, said) = self.cluster.ask(method, path, body).await;
        let end = now();
        (status, said, Window { start, end })
    }

    /// A request that must be acknowledged.
    async fn must(&self, method: &str, path: &str, body: &Value) -> Window {
        let (status, said, window) = self.ask(method, path, body).await;
        assert_eq!(status, 200, "{method} {path}: {said}");
        window
    }

    /// Writes one point.
    async fn upsert(&self, id: u64, value: u64) -> (u16, Value, Window) {
        let points = json!({"points": [
            {"id": id, "vector": [1, 2], "payload": {"value": value}},
        ]});
        let path = "/collections/c/points?wait=true";
        self.ask("PUT", path, &points).await
    }

    /// The port on which the worker answers the gateway.
    fn worker_port(&self) -> u16 {
        let components = self.cluster.components();
        let worker = components
            .iter()
            .find(|component| component["role"] == "worker")
            .unwrap();
        let address = worker["rpc_address"].as_str().unwrap();
        let address: std::net::SocketAddr = address.parse().unwrap();
        address.port()
    }

    /// The only shard, as the cluster tells it.
    async fn shard(&self) -> Value {
        let status = self.cluster.status().await.unwrap();
        status["collections"][0]["shards"][0].clone()
    }

    /// Makes syncs fail of files whose path contains this.
    fn break_disk(&self, path: &str, mode: &str) {
        let draft = self.folder.join("eio.draft");
        fs_err::write(&draft, format!("{path}\n{mode}\n")).unwrap();
        fs_err::rename(draft, self.folder.join("eio")).unwrap();
    }

    fn mend_disk(&self) {
        fs_err::remove_file(self.folder.join("eio")).unwrap();
    }

    /// Stops it, and reads what all its processes did.
    fn stop(self) -> Trace {
        assert_eq!(self.cluster.terminate(), Some(0));
        let mut text = String::new();
        for file in fs_err::read_dir(self.folder.join("trace")).unwrap() {
            text.push_str(&fs_err::read_to_string(file.unwrap().path()).unwrap());
        }
        hold(Trace::parse(&text))
    }
}

fn collection() -> Value {
    json!({"vectors": {"size": 2, "distance": "Dot"}})
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let Some(cluster) = Watched::start(folder.path()) else {
        return;
    };
    let (port, root) = (cluster.worker_port(), cluster.data_dir());
    let made = cluster.must("PUT", "/collections/c", &collection()).await;
    let mut acknowledged = Vec::new();
    for id in 0..40 {
        let (status, said, window) = cluster.upsert(id, id).await;
        assert_eq!(status, 200, "{said}");
        acknowledged.push(window);
        if id % 4 == 3 {
            let gone = json!({"points": [id - 1]});
            let path = "/collections/c/points/delete?wait=true";
            acknowledged.push(cluster.must("POST", path, &gone).await);
        }
    }
    let trace = cluster.stop();
    let answers = hold(trace.answers_follow_syncs(port, SHARD_FILE));
    assert!(answers >= acknowledged.len(), "{answers} answers seen");
    for write in &acknowledged {
        hold(trace.commits_within(*write, port, SHARD_FILE));
    }
    // The shard was made before its collection was acknowledged: every folder on the way to it too.
    let root = root.to_str().unwrap();
    let file = trace.path(SHARD_FILE).unwrap();
    let names = hold(trace.names_are_durable(file, root, made.end));
    assert!(names >= 4, "{names} names seen on the way to {file}");
    hold(trace.is_durable_within(made, ETCD_FILE));
    let logged = hold(trace.writers_sync_at_once(ETCD_FILE));
    let renames = hold(trace.renames_follow_syncs());
    assert!(logged > 0 && renames > 0, "{logged}, {renames}");
    eprintln!(
        "{} writes acknowledged, {answers} answers of the worker, {logged} writes of etcd's log, \
         {renames} renames: each after its sync",
        acknowledged.len()
    );
}

#[tokio::test]
async fn an_index_is_synced_before_it_has_its_name() {
    is_synced_before_it_has_its_name("graph").await;
}

#[tokio::test]
async fn an_index_of_trees_is_synced_before_it_has_its_name() {
    is_synced_before_it_has_its_name("arroy").await;
}

async fn is_synced_before_it_has_its_name(kind: &str) {
    let folder = tempfile::tempdir().unwrap();
    let Some(cluster) = Watched::start(folder.path()) else {
        return;
    };
    let root = cluster.data_dir();
    let mut asked = collection();
    asked["vectorsphere"] = json!({"index": {"algorithm": kind}});
    cluster.must("PUT", "/collections/c", &asked).await;
    for id in 0..5 {
        let (status, said, _window) = cluster.upsert(id, id).await;
        assert_eq!(status, 200, "{said}");
    }
    wait_for("an index is built", Duration::from_secs(60), || async {
        (cluster.shard().await["index"]["kind"] == kind).then_some(())
    })
    .await;
    let built = now();
    cluster.must("DELETE", "/collections/c", &Value::Null).await;
    // In this order: it is moved from the one into the other, and removed there.
    let folders = ["shards", "trash"].map(|name| root.join("laptop-worker-0").join(name));
    wait_for("the data is removed", Duration::from_secs(60), || async {
        let mut left = folders.iter().map(fs_err::read_dir);
        let all_empty = left.all(|folder| folder.is_ok_and(|mut left| left.next().is_none()));
        all_empty.then_some(())
    })
    .await;
    let trace = cluster.stop();
    hold(trace.renames_follow_syncs());
    let segment = trace.renamed_to("/index/segment-").unwrap();
    let names = hold(trace.names_are_durable(segment, root.to_str().unwrap(), built));
    assert!(names >= 5, "{names} names seen on the way to {segment}");
}

#[tokio::test]
async fn an_index_that_cannot_be_synced_gets_no_name_and_every_point_is_found_without_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(cluster) = Watched::start(folder.path()) else {
        return;
    };
    let data_dir = cluster.data_dir();
    let mut asked = collection();
    asked["vectorsphere"] = json!({"index": {"algorithm": "graph"}});
    cluster.must("PUT", "/collections/c", &asked).await;
    cluster.break_disk("/index/", "pages");
    for id in 0..5 {
        let (status, said, _window) = cluster.upsert(id, id).await;
        assert_eq!(status, 200, "{said}");
    }
    wait_for("the build fails", Duration::from_secs(60), || async {
        let shard = cluster.shard().await;
        (shard["index"]["state"].as_str()?.contains("failed")).then_some(())
    })
    .await;
    let shard = cluster.shard().await;
    assert_eq!(shard["index"]["kind"], "flat", "{shard}");
    let query = json!({"query": [1, 1], "limit": 5});
    let path = "/collections/c/points/query";
    let found = cluster.cluster.must("POST", path, &query).await;
    assert_eq!(found["points"].as_array().unwrap().len(), 5, "{found}");
    cluster.mend_disk();
    let trace = cluster.stop();
    assert_eq!(trace.renamed_to("/index/segment-"), None);

    let cluster = LocalCluster::start(&data_dir, None);
    wait_for("the index is built", Duration::from_secs(60), || async {
        let status = cluster.status().await?;
        let shard = &status["collections"][0]["shards"][0];
        (shard["index"]["kind"] == "graph").then_some(())
    })
    .await;
    let found = cluster.must("POST", path, &query).await;
    assert_eq!(found["points"].as_array().unwrap().len(), 5, "{found}");
}

/// Syncs of the shard's file fail: those of pages, or in the mode `meta` those of the meta page.
async fn broken_disk(mode: &str) {
    let folder = tempfile::tempdir().unwrap();
    let Some(cluster) = Watched::start(folder.path()) else {
        return;
    };
    let data_dir = cluster.data_dir();
    cluster.must("PUT", "/collections/c", &collection()).await;
    let mut acknowledged = BTreeMap::new();
    for id in 0..20 {
        let (status, said, _window) = cluster.upsert(id, id + 100).await;
        assert_eq!(status, 200, "{said}");
        acknowledged.insert(id, id + 100);
    }
    cluster.break_disk(SHARD_FILE, mode);
    for id in 15..25 {
        let (status, said, _window) = cluster.upsert(id, 7).await;
        assert!(status >= 500, "{mode}: {id}: {status} {said}");
    }
    let shard = cluster.shard().await;
    assert_eq!(shard["state"], "failed", "{mode}: {shard}");
    let query = json!({"query": [1, 1], "limit": 1});
    let (status, said, _window) = cluster
        .ask("POST", "/collections/c/points/query", &query)
        .await;
    assert!(status >= 500, "{mode}: a search: {status} {said}");
    // A sync that works again says nothing of the one that did not.
    cluster.mend_disk();
    let (status, said, _window) = cluster.upsert(1, 7).await;
    assert!(status >= 500, "{mode}: mended: {status} {said}");
    let trace = cluster.stop();
    let failed = hold(trace.nothing_follows_a_failure(SHARD_FILE));
    assert!(failed > 0, "{mode}: no sync failed");

    let cluster = LocalCluster::start(&data_dir, None);
    let ids: Vec<u64> = (0..25).collect();
    let asked = json!({"ids": ids, "with_payload": true});
    let there = cluster.must("POST", "/collections/c/points", &asked).await;
    let there: BTreeMap<u64, u64> = there
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            let (id, value) = (&point["id"], &point["payload"]["value"]);
            (id.as_u64().unwrap(), value.as_u64().unwrap())
        })
        .collect();
    for (id, value) in &acknowledged {
        let found = there.get(id);
        // A refused write of the same id may be there: its outcome was never told.
        let refused = *id >= 15 && found == Some(&7);
        assert!(found == Some(value) || refused, "{mode}: {id}: {found:?}");
    }
    let again = json!({"points": [{"id": 1, "vector": [1, 2], "payload": {"value": 8}}]});
    cluster
        .must("PUT", "/collections/c/points?wait=true", &again)
        .await;
}

#[tokio::test]
async fn a_failed_sync_of_pages_acknowledges_nothing_and_stops_the_shard() {
    broken_disk("pages").await;
}

#[tokio::test]
async fn a_failed_sync_of_the_meta_page_acknowledges_nothing_and_stops_the_shard() {
    broken_disk("meta").await;
}

/// The log is read back once the disk syncs again: no restart is needed, and what is acknowledged
/// then is there after the next one.
#[tokio::test]
async fn a_failed_sync_of_etcds_log_acknowledges_no_change_until_the_disk_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let Some(cluster) = Watched::start(folder.path()) else {
        return;
    };
    let data_dir = cluster.data_dir();
    cluster.must("PUT", "/collections/c", &collection()).await;
    cluster.break_disk(ETCD_FILE, "pages");
    let (status, said, window) = cluster.ask("PUT", "/collections/d", &collection()).await;
    assert!(status >= 500, "{status} {said}");
    let waited = Duration::from_nanos(window.end - window.start);
    eprintln!("refused after {waited:?}: {status} {said}");
    let log = fs_err::read_to_string(data_dir.join("logs/dev.log")).unwrap();
    let told = "the embedded etcd's log failed: every call is refused until it is read back";
    let line = log.lines().find(|line| line.contains(told)).unwrap_or(&log);
    assert!(
        line.contains("ERROR") && line.contains("Input/output error"),
        "{line}"
    );
    let (status, said, _window) = cluster.ask("PUT", "/collections/e", &collection()).await;
    assert!(status >= 500, "{status} {said}");
    cluster.mend_disk();
    wait_for(
        "collections are made again",
        Duration::from_secs(60),
        || async {
            let (status, _said, _window) =
                cluster.ask("PUT", "/collections/f", &collection()).await;
            (status == 200).then_some(())
        },
    )
    .await;
    drop(cluster.stop());

    let cluster = LocalCluster::start(&data_dir, None);
    let listed = cluster.must("GET", "/collections", &Value::Null).await;
    let names: Vec<&Value> = listed["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|collection| &collection["name"])
        .collect();
    // What became of `d` and `e` was never told.
    for name in ["c", "f"] {
        assert!(names.contains(&&json!(name)), "{names:?}");
    }
}
