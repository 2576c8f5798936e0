//! Processes killed with -9: nothing acknowledged is lost, nothing deleted comes back, no child
//! outlives its parent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http_client::HttpClient;
use crate::support::local_cluster::{LocalCluster, kill, runs};
use crate::support::skip::long;
use crate::support::wait_for::wait_for;

/// A start takes no longer: leases of the run before are revoked, and no TTL is waited for.
const START_LIMIT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn no_child_outlives_dev_and_no_second_one_opens_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_vectorsphere"))
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use"), "{said}");
    let children: Vec<i32> = ["gateway", "master", "worker"]
        .into_iter()
        .flat_map(|role| cluster.pids(role))
        .collect();
    assert_eq!(children.len(), 3);
    let killed = Instant::now();
    kill(cluster.pid());
    wait_for("every child has ended", Duration::from_secs(2), || async {
        children.iter().all(|pid| !runs(*pid)).then_some(())
    })
    .await;
    eprintln!("children ended {:?} after dev was killed", killed.elapsed());
}

/// The next `dev` neither fails because the children of the last one are there yet, nor works beside
/// them.
#[tokio::test]
async fn a_dev_started_at_once_after_the_last_one_was_killed_waits_for_its_writers() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    let mut cluster = LocalCluster::start(folder.path(), None);
    cluster.must("PUT", "/collections/c", &vectors).await;
    for id in 0..5 {
        let points = json!({"points": [{"id": id, "vector": [1, 2]}]});
        let path = "/collections/c/points?wait=true";
        cluster.must("PUT", path, &points).await;
        let writers: Vec<i32> = ["master", "worker"]
            .into_iter()
            .flat_map(|role| cluster.pids(role))
            .collect();
        kill(cluster.pid());
        let next = LocalCluster::start(folder.path(), None);
        assert!(writers.iter().all(|pid| !runs(*pid)), "two writers");
        assert!(next.ready_after < START_LIMIT, "{:?}", next.ready_after);
        let count = next
            .must("POST", "/collections/c/points/count", &json!({}))
            .await;
        assert_eq!(count["count"], json!(id + 1));
        cluster = next;
    }
    assert_eq!(cluster.terminate(), Some(0));
    let again = LocalCluster::start(folder.path(), None);
    assert!(again.ready_after < START_LIMIT, "{:?}", again.ready_after);
    eprintln!("ready {:?} after a clean stop", again.ready_after);
}

/// What the writer knows: of each id the value that was acknowledged last (`None`: deleted), and
/// whether a write of it is under way or was not answered.
#[derive(Default)]
struct Known {
    acknowledged: BTreeMap<u64, Option<u64>>,
    open: BTreeMap<u64, Vec<Option<u64>>>,
}

/// Writes and deletes until told to stop, noting what was acknowledged.
async fn write(url: String, known: Arc<Mutex<Known>>, stop: Arc<AtomicBool>, seed: u64) {
    let http = HttpClient::with_timeout(Duration::from_secs(5));
    let mut value = seed << 32;
    while !stop.load(Ordering::Relaxed) {
        value += 1;
        // Each writer has ids of its own, so that the order of its writes is known.
        let id = seed * 1000 + value % 50;
        let delete = value.is_multiple_of(7);
        let wanted = (!delete).then_some(value);
        known
            .lock()
            .unwrap()
            .open
            .entry(id)
            .or_default()
            .push(wanted);
        let on = if value.is_multiple_of(2) {
            json!({"points": [id]})
        } else {
            // Goes to every shard, and by way of the payload index.
            json!({"filter": {"must": [
                {"key": "writer", "match": {"value": seed}}, {"has_id": [id]},
            ]}})
        };
        let request = if delete {
            http.post(&format!("{url}/collections/c/points/delete?wait=true"))
                .json(&on)
        } else {
            http.put(&format!("{url}/collections/c/points?wait=true"))
                .json(&json!({"points": [{
                    "id": id, "vector": [1, 2], "payload": {"value": value, "writer": seed},
                }]}))
        };
        let answered = match request.send().await {
            Ok(answer) => answer.is_success(),
            Err(_) => false,
        };
        if answered {
            let mut known = known.lock().unwrap();
            known.acknowledged.insert(id, wanted);
            known.open.remove(&id);
        }
    }
}

/// Compares what is there with what is known; the number of ids that were compared.
async fn compare(cluster: &LocalCluster, known: &Mutex<Known>) -> usize {
    let ids: Vec<u64> = {
        let known = known.lock().unwrap();
        known
            .acknowledged
            .keys()
            .chain(known.open.keys())
            .copied()
            .collect()
    };
    let asked = json!({"ids": ids, "with_payload": true});
    let there = cluster.must("POST", "/collections/c/points", &asked).await;
    let there: BTreeMap<u64, u64> = there
        .as_array()
        .unwrap()
        .iter()
        .map(|point| {
            (
                point["id"].as_u64().unwrap(),
                point["payload"]["value"].as_u64().unwrap(),
            )
        })
        .collect();
    let known = known.lock().unwrap();
    for id in &ids {
        let found = there.get(id).copied();
        let last = known.acknowledged.get(id).copied().flatten();
        let open = known.open.get(id).cloned().unwrap_or_default();
        assert!(
            found == last || open.contains(&found),
            "{id}: {found:?}, not {last:?} or {open:?}"
        );
    }
    ids.len()
}

/// Starts writers, kills, and compares, so many times.
async fn storm(cycles: usize, everything: bool) {
    let folder = tempfile::tempdir().unwrap();
    let known = Arc::new(Mutex::new(Known::default()));
    let mut cluster = LocalCluster::start(folder.path(), None);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}, "shard_number": 3});
    cluster.must("PUT", "/collections/c", &vectors).await;
    let index = json!({"field_name": "writer", "field_schema": "integer"});
    cluster
        .must("PUT", "/collections/c/index?wait=true", &index)
        .await;
    let mut seed = 0;
    for cycle in 0..cycles {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..4)
            .map(|_| {
                seed += 1;
                tokio::spawn(write(
                    cluster.url.clone(),
                    Arc::clone(&known),
                    Arc::clone(&stop),
                    seed,
                ))
            })
            .collect();
        let before = known.lock().unwrap().acknowledged.len();
        let more = 10 + cycle % 30;
        wait_for(
            "writes are acknowledged",
            Duration::from_secs(60),
            || async { (known.lock().unwrap().acknowledged.len() >= before + more).then_some(()) },
        )
        .await;
        if everything {
            cluster.kill_everything();
            stop.store(true, Ordering::Relaxed);
            for writer in writers {
                writer.await.unwrap();
            }
            cluster = LocalCluster::start(folder.path(), None);
            assert!(
                cluster.ready_after < START_LIMIT,
                "waited for the leases of the dead: {:?}",
                cluster.ready_after
            );
        } else {
            let worker = cluster.pids("worker")[0];
            kill(worker);
            cluster.replaced("worker", worker).await;
            stop.store(true, Ordering::Relaxed);
            for writer in writers {
                writer.await.unwrap();
            }
        }
        compare(&cluster, &known).await;
    }
    let compared = compare(&cluster, &known).await;
    let what = if everything {
        "of everything"
    } else {
        "of the worker"
    };
    eprintln!(
        "{cycles} kills {what}: {compared} ids compared, 0 lost, 0 came back; ready again in {:?}",
        cluster.ready_after
    );
}

#[tokio::test]
async fn a_killed_worker_loses_nothing_that_was_acknowledged() {
    storm(3, false).await;
}

#[tokio::test]
async fn a_cluster_killed_whole_loses_nothing_that_was_acknowledged() {
    storm(2, true).await;
}

#[tokio::test]
async fn long_worker_killed_a_hundred_times() {
    if long() {
        storm(100, false).await;
    }
}

#[tokio::test]
async fn long_everything_killed_twenty_times() {
    if long() {
        storm(20, true).await;
    }
}

#[tokio::test]
async fn a_killed_master_comes_back_and_searches_never_stop() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    cluster.must("PUT", "/collections/c", &vectors).await;
    let point = json!({"points": [{"id": 1, "vector": [1, 2]}]});
    cluster
        .must("PUT", "/collections/c/points?wait=true", &point)
        .await;
    let master = cluster.pids("master")[0];
    kill(master);
    let began = Instant::now();
    let mut searches = 0;
    let query = json!({"query": [1, 1], "limit": 1});
    loop {
        let found = cluster
            .must("POST", "/collections/c/points/query", &query)
            .await;
        assert_eq!(found["points"][0]["id"], 1);
        searches += 1;
        if began.elapsed() > Duration::from_secs(1) && !cluster.pids("master").contains(&master) {
            break;
        }
    }
    cluster.must("PUT", "/collections/d", &vectors).await;
    eprintln!(
        "{searches} searches while the master was away; it led again in {:?}",
        began.elapsed()
    );
    let listed: Value = cluster.must("GET", "/collections", &Value::Null).await;
    assert_eq!(listed["collections"].as_array().unwrap().len(), 2);
}
