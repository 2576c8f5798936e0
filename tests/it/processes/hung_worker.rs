//! A worker that hangs while applications go on sending: the gateway's memory is bounded, and what it
//! has no room for is refused at once.

use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::http_client::HttpClient;
use crate::support::local_cluster::LocalCluster;
use crate::support::wait_for::wait_for;

/// More than the gateway has room for at once, which is eight bodies of 32 MiB.
const UPLOADS: usize = 16;
/// Two payloads of this size and their points are a body.
const PAYLOAD: usize = 12 * 1024 * 1024;
/// The bodies that there is room for, as text, as points and as messages to the worker, and all else.
const MEMORY_MAX_KB: u64 = 1_000_000;

/// Kilobytes of anonymous memory that a process has.
fn anonymous_kb(pid: i32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn uploads_that_wait_for_a_worker_are_bounded_and_keep_small_requests_in() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let vectors = json!({"vectors": {"size": 2, "distance": "Dot"}});
    cluster.must("PUT", "/collections/c", &vectors).await;
    let (gateway, worker) = (cluster.pids("gateway")[0], cluster.pids("worker")[0]);
    let text = "x".repeat(PAYLOAD);
    let point = |id: u64| json!({"id": id, "vector": [1, 0], "payload": {"text": text}});
    let body = Bytes::from(json!({"points": [point(1), point(2)]}).to_string());

    signal(worker, Signal::STOP);
    let url = format!("{}/collections/c/points?wait=true&timeout=20", cluster.url);
    let uploads: Vec<_> = (0..UPLOADS)
        .map(|_| {
            let (http, url, body) = (HttpClient::new(), url.clone(), body.clone());
            tokio::spawn(async move {
                let request = http.put(&url).header("content-type", "application/json");
                request.body(body).send().await.unwrap().status
            })
        })
        .collect();
    wait_for("some are refused", Duration::from_secs(20), || async {
        let ended = uploads.iter().filter(|upload| upload.is_finished());
        (ended.count() >= UPLOADS - 12).then_some(())
    })
    .await;
    let memory = anonymous_kb(gateway);
    // It waits for the worker, in vain; but it is let in.
    let count = "/collections/c/points/count?timeout=1";
    let (status, said) = cluster.ask("POST", count, &json!({})).await;
    assert!(status != 429 && status != 200, "{status} {said}");
    signal(worker, Signal::CONT);
    let mut statuses = Vec::new();
    for upload in uploads {
        statuses.push(upload.await.unwrap());
    }
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert!(of(429) >= UPLOADS - 12, "{statuses:?}");
    assert!(of(200) > 0, "{statuses:?}");
    assert!(memory < MEMORY_MAX_KB, "{memory} kB");
    let point = cluster
        .must("GET", "/collections/c/points/2", &Value::Null)
        .await;
    assert_eq!(point["payload"]["text"].as_str().unwrap().len(), PAYLOAD);
    eprintln!(
        "{UPLOADS} uploads of {} bytes at once to a hung worker: {statuses:?}, the gateway took {memory} kB",
        body.len()
    );
}
