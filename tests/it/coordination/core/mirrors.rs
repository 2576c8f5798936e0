//! Mirrors: equal to etcd after any trouble, never older than they say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::CompactionOptions;
use vectorsphere::clock::SystemClock;
use vectorsphere::coordination::mirror::{Condition, Mirror};
use vectorsphere::coordination::{Change, Error, Etcd, WatchNews};
use vectorsphere::entropy::Entropy;
use vectorsphere::ids::Revision;
use vectorsphere::tasks::Tasks;

use super::proxy::Proxy;
use super::{LIMIT, changes, client, entropy, eventually, now, put, within};
use crate::support::real_etcd::RealEtcd;

const PREFIX: &str = "/m/";

/// Within which a mirror that hears nothing must say so.
const STALE_AFTER: Duration = Duration::from_secs(11);

fn mirror(etcd: &Etcd, tasks: &Tasks) -> Arc<Mirror<String>> {
    let clock = SystemClock::shared();
    Mirror::start(etcd.clone(), PREFIX.to_owned(), clock, entropy(), tasks)
}

fn seen(mirror: &Mirror<String>) -> BTreeMap<String, (String, Revision)> {
    let view = mirror.view();
    let entries = view.iter().map(|(rest, held)| {
        let value = (*held.value).clone();
        (rest.to_owned(), (value, held.mod_revision))
    });
    entries.collect()
}

async fn stored(etcd: &Etcd) -> BTreeMap<String, (String, Revision)> {
    let listing = etcd.list(PREFIX).await.unwrap();
    let entries = listing.entries.into_iter().map(|entry| {
        let value: String = serde_json::from_slice(&entry.value).unwrap();
        let rest = entry.key.strip_prefix(PREFIX).unwrap().to_owned();
        (rest, (value, entry.mod_revision))
    });
    entries.collect()
}

/// Random writes and deletes.
async fn scribble(etcd: &Etcd, entropy: &Entropy, transactions: usize) -> Revision {
    let mut revision = Revision(0);
    for _ in 0..transactions {
        let mut some = Vec::new();
        for key in 0..40 {
            let key = format!("{PREFIX}{key}");
            let draw = entropy.fraction();
            if draw < 0.05 {
                some.push(put(key, format!("\"{draw}\""), 0));
            } else if draw < 0.08 {
                some.push(Change::Delete(key));
            }
        }
        if !some.is_empty() {
            revision = etcd.transact(changes(some)).await.unwrap().revision;
        }
    }
    revision
}

/// Cut off again and again, with writes and compaction meanwhile; and etcd itself killed and
/// restarted: in the end the mirror is what etcd holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_equals_etcd_after_cuts_compaction_and_a_crash() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let proxy = Proxy::to(server.endpoint()).await;
    let tasks = Tasks::new();
    let direct = client(&[server.endpoint()]).await;
    let mirror = mirror(&client(&[proxy.endpoint()]).await, &tasks);
    let entropy = Entropy::from_seed(20);
    mirror.ready(within(LIMIT)).await.unwrap();
    for round in 0..6 {
        scribble(&direct, &entropy, 50).await;
        proxy.cut();
        let cut = || async { mirror.condition() == Condition::Cut };
        eventually("the cut to be noticed", LIMIT, cut).await;
        let before = seen(&mirror);
        assert!(mirror.is_stale());
        let revision = scribble(&direct, &entropy, 50).await;
        let compacted = CompactionOptions::new().with_physical();
        let mut raw = server.raw().await;
        raw.compact(revision.0, Some(compacted)).await.unwrap();
        assert_eq!(
            seen(&mirror),
            before,
            "nothing is cleared while it is cut off"
        );
        if round % 3 == 2 {
            server.kill();
            server.run().await;
        }
        proxy.heal();
        mirror.wait_until(revision, within(LIMIT)).await.unwrap();
        assert_eq!(seen(&mirror), stored(&direct).await, "round {round}");
        assert!(!mirror.is_stale());
    }
    tasks.stop();
    assert!(tasks.join(LIMIT).await);
}

/// A view holds every write that came before the refresh, whoever made it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_sees_every_earlier_write() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let tasks = Tasks::new();
    let other = client(&[server.endpoint()]).await;
    let mirror = mirror(&client(&[server.endpoint()]).await, &tasks);
    mirror.ready(within(LIMIT)).await.unwrap();
    let mut took = Vec::new();
    for n in 0..300 {
        // Every other write is outside the prefix: only an answer about progress can tell of it.
        let prefix = if n % 2 == 0 { PREFIX } else { "/other/" };
        let write = changes([put(format!("{prefix}x"), format!("\"{n}\""), 0)]);
        let revision = other.transact(write).await.unwrap().revision;
        let began = now();
        mirror.refresh(within(LIMIT)).await.unwrap();
        took.push(now().since(began));
        assert!(mirror.revision() >= revision);
        let shown = mirror.view().get("x").map(|held| (*held.value).clone());
        assert_eq!(shown, Some((n - n % 2).to_string()));
    }
    took.sort();
    assert!(
        took[150] < Duration::from_millis(50),
        "{:?} {:?}",
        took[150],
        took[297]
    );
    tasks.stop();
}

/// etcd is there but silent (SIGSTOP): known within a pulse and its silence, served on, and over as
/// soon as it answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_known_and_survived() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let tasks = Tasks::new();
    let etcd = client(&[server.endpoint()]).await;
    let write = changes([put("/m/x", "\"1\"", 0)]);
    etcd.transact(write).await.unwrap();
    let mirror = mirror(&etcd, &tasks);
    mirror.ready(within(LIMIT)).await.unwrap();
    assert!(!mirror.is_stale());
    server.pause();
    let stale = || async { mirror.is_stale() };
    let noticed = eventually("staleness", STALE_AFTER, stale).await;
    let late = mirror.refresh(within(Duration::from_millis(100))).await;
    assert!(
        matches!(late, Err(Error::NotReached { .. } | Error::Timeout { .. })),
        "{late:?}"
    );
    assert_eq!(mirror.view().get("x").map(|held| held.value.len()), Some(1));
    server.resume();
    let fresh = || async { !mirror.is_stale() };
    let back = eventually("freshness", LIMIT, fresh).await;
    assert!(
        noticed <= STALE_AFTER && back < Duration::from_secs(8),
        "{noticed:?} {back:?}"
    );
    tasks.stop();
}

/// Connections that are half open, as after a router lost its state: no error ever comes, and yet the
/// mirror is up to date again within two heartbeats of the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_are_left() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let proxy = Proxy::to(server.endpoint()).await;
    let tasks = Tasks::new();
    let direct = client(&[server.endpoint()]).await;
    let mirror = mirror(&client(&[proxy.endpoint()]).await, &tasks);
    mirror.ready(within(LIMIT)).await.unwrap();
    proxy.freeze();
    let revision = scribble(&direct, &Entropy::from_seed(8), 10).await;
    let began = now();
    mirror.wait_until(revision, within(LIMIT)).await.unwrap();
    let took = now().since(began);
    assert!(took < Duration::from_secs(16), "{took:?}");
    assert_eq!(seen(&mirror), stored(&direct).await);
    tasks.stop();
}

/// A mirror starts while there is no etcd, and is ready once there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_starts_without_etcd() {
    let Some(server) = RealEtcd::stopped() else {
        return;
    };
    let tasks = Tasks::new();
    let mirror = mirror(&client(&[server.endpoint()]).await, &tasks);
    let early = mirror.ready(within(Duration::from_millis(200))).await;
    assert!(
        matches!(early, Err(Error::NotReached { .. } | Error::Timeout { .. })),
        "{early:?}"
    );
    assert_eq!(
        (mirror.condition(), mirror.age()),
        (Condition::Starting, Duration::MAX)
    );
    server.run().await;
    mirror.ready(within(LIMIT)).await.unwrap();
    assert_eq!(mirror.condition(), Condition::Following);
    assert!(mirror.view().is_empty());
    tasks.stop();
}

/// etcd comes back without its data: what it shows is refused, and what was known is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_lost_its_data_is_refused() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let tasks = Tasks::new();
    let etcd = client(&[server.endpoint()]).await;
    let mirror = mirror(&etcd, &tasks);
    let revision = scribble(&etcd, &Entropy::from_seed(3), 40).await;
    mirror.wait_until(revision, within(LIMIT)).await.unwrap();
    let before = seen(&mirror);
    assert!(!before.is_empty());
    server.kill();
    server.wipe();
    server.run().await;
    let refused = || async { mirror.condition() == Condition::Refused };
    eventually("the refusal", LIMIT, refused).await;
    assert_eq!(seen(&mirror), before);
    assert!(mirror.is_stale());
    tasks.stop();
}

/// Whoever watches from a revision that etcd has compacted is told, at once, in place of waiting on a
/// stream that stays open for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_watch_is_an_error() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let etcd = client(&[server.endpoint()]).await;
    let write = changes([put("/m/x", "1", 0)]);
    let first = etcd.transact(write).await.unwrap();
    let last = scribble(&etcd, &Entropy::from_seed(5), 30).await;
    server.raw().await.compact(last.0, None).await.unwrap();
    let told = tokio::time::timeout(LIMIT, async {
        let mut watch = etcd.watch(PREFIX, first.revision).await?;
        watch.next().await
    });
    let told = told.await.expect("an answer");
    assert!(matches!(told, Err(Error::Compacted)), "{told:?}");
}

/// A value that no reader understands leaves the last good one; a change to a large part at once
/// arrives whole although etcd sends it in pieces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_values_and_large_revisions_arrive_whole() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let tasks = Tasks::new();
    let etcd = client(&[server.endpoint()]).await;
    let mirror = mirror(&etcd, &tasks);
    mirror.ready(within(LIMIT)).await.unwrap();
    let mut last = Revision(0);
    for value in ["\"good\"", "{odd"] {
        let write = changes([put("/m/x", value, 0)]);
        last = etcd.transact(write).await.unwrap().revision;
    }
    mirror.wait_until(last, within(LIMIT)).await.unwrap();
    assert_eq!(mirror.unreadable(), 1);
    assert_eq!(mirror.view().get("x").unwrap().value.as_str(), "good");

    // 100 keys on one lease, 6 MB of history in all, and then all of them gone at one revision.
    let from = Revision(last.0 + 1);
    let (lease, _seconds) = etcd.grant(60).await.unwrap();
    let long = format!("\"{}\"", "x".repeat(60_000));
    for page in 0..5 {
        let write = (0..20).map(|n| put(format!("/m/big/{page}/{n}"), long.as_str(), lease));
        let write = changes(write.collect::<Vec<_>>());
        last = etcd.transact(write).await.unwrap().revision;
    }
    mirror.wait_until(last, within(LIMIT)).await.unwrap();
    assert_eq!(mirror.view().len(), 101);
    // Who catches up on all of it is sent pieces, and still sees no part of a revision.
    let mut watch = etcd.watch(PREFIX, from).await.unwrap();
    let caught_up = tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
    let Ok(WatchNews::Events(events)) = caught_up else {
        panic!("{caught_up:?}");
    };
    assert_eq!(events.len(), 100);
    assert_eq!(events.last().map(|event| event.revision), Some(last));
    // And who lists all of it reads more than one message of etcd's usual bound.
    assert_eq!(etcd.list(PREFIX).await.unwrap().entries.len(), 101);

    etcd.revoke(lease).await.unwrap();
    let mut lengths = vec![mirror.view().len()];
    let mut told = mirror.changes();
    while lengths.last() != Some(&1) {
        let news = tokio::time::timeout(LIMIT, told.changed()).await;
        news.unwrap().unwrap();
        lengths.push(mirror.view().len());
    }
    assert!(
        lengths.iter().all(|len| [1, 101].contains(len)),
        "{lengths:?}"
    );
    tasks.stop();
}
