//! Calls: failover, guards, listings at one revision, answers that are lost.

use std::time::Duration;

use uuid::Uuid;
use vectorsphere::clock::{Clock, SystemClock};
use vectorsphere::coordination::registry::{Expected, claim_meta};
use vectorsphere::coordination::{Error, Guard};
use vectorsphere::fault::{Fault, Kind};
use vectorsphere::ids::Revision;
use vectorsphere::tasks::Tasks;

use super::{LIMIT, changes, client, entropy, eventually, guarded, keys, now, put};
use crate::support::real_etcd::RealEtcd;

/// A member that is dead from the start, before and after the living one, costs no call an error and
/// only the first one time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_costs_no_call() {
    let (Some(server), Some(dead)) = (RealEtcd::start().await, RealEtcd::stopped()) else {
        return;
    };
    let etcd = client(&[dead.endpoint(), server.endpoint(), dead.endpoint()]).await;
    let began = now();
    for n in 0..200 {
        etcd.get("/x").await.unwrap();
        let write = changes([put("/x", n.to_string(), 0)]);
        assert!(etcd.transact(write).await.unwrap().succeeded);
    }
    let took = now().since(began);
    assert!(took < Duration::from_secs(4), "400 calls took {took:?}");
}

/// The member that all calls go to is killed: reads go on without an error, and so do sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_member_answers_on() {
    let Some(members) = RealEtcd::cluster().await else {
        return;
    };
    let endpoints = [0, 1, 2].map(|n: usize| members[n].endpoint());
    let etcd = client(&endpoints).await;
    let write = changes([put("/x", "1", 0)]);
    etcd.transact(write.clone()).await.unwrap();
    members[0].kill();
    // An election of etcd's own may be due, which takes a second or two.
    let reads = || async { etcd.get("/x").await.is_ok() };
    let gap = eventually("reads after the loss", LIMIT, reads).await;
    for _ in 0..100 {
        assert_eq!(etcd.get("/x").await.unwrap().unwrap().value, b"1");
        assert!(etcd.transact(write.clone()).await.unwrap().succeeded);
    }
    assert!(gap < Duration::from_secs(7), "{gap:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_hold_changes_back() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let etcd = client(&[server.endpoint()]).await;
    let (lease, _seconds) = etcd.grant(60).await.unwrap();
    let a = || "/a".to_owned();
    let absent = || "/absent".to_owned();
    let make = guarded(Guard::Absent(a()), put("/a", "1", lease));
    let made = etcd.transact(make.clone()).await.unwrap();
    assert!(made.succeeded);
    assert!(!etcd.transact(make).await.unwrap().succeeded);
    let overwrite = changes([put("/a", "2", lease)]);
    let written = etcd.transact(overwrite.clone()).await.unwrap();

    let off = |revision: Revision| Revision(revision.0 + 1);
    for (guard, holds) in [
        (Guard::ModRevision(a(), written.revision), true),
        (Guard::ModRevision(a(), made.revision), false),
        (Guard::CreateRevision(a(), made.revision), true),
        (Guard::CreateRevision(a(), off(made.revision)), false),
        (Guard::Absent(a()), false),
        (Guard::Absent(absent()), true),
        (Guard::CreateRevision(absent(), made.revision), false),
        (Guard::ModRevision(absent(), made.revision), false),
    ] {
        let probe = guarded(guard.clone(), put("/probe", "1", 0));
        let outcome = etcd.transact(probe).await.unwrap();
        assert_eq!(outcome.succeeded, holds, "{guard:?}");
    }
    let entry = etcd.get("/a").await.unwrap().unwrap();
    assert_eq!((&*entry.value, entry.lease), (&b"2"[..], lease));
    assert_eq!(
        (entry.create_revision, entry.mod_revision),
        (made.revision, written.revision)
    );

    etcd.revoke(lease).await.unwrap();
    assert_eq!(etcd.get("/a").await.unwrap(), None);
    let late = etcd.transact(overwrite).await;
    assert!(matches!(late, Err(Error::LeaseGone)), "{late:?}");
    etcd.revoke(lease).await.expect("gone already is a success");
}

/// A listing of many pages shows one moment, however fast its first and last keys change together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_shows_one_revision() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let etcd = client(&[server.endpoint()]).await;
    for page in 0..65 {
        let fill = (0..20).map(|n| {
            let key = format!("/l/{:04}", page * 20 + n);
            put(key, vec![b'x'; 20_000], 0)
        });
        etcd.transact(changes(fill.collect::<Vec<_>>()))
            .await
            .unwrap();
    }
    let both = |n: u32| {
        let text = n.to_string();
        changes(["/l/0000", "/l/1299"].map(|key| put(key, text.as_str(), 0)))
    };
    etcd.transact(both(0)).await.unwrap();
    let tasks = Tasks::new();
    let (writer, stopping) = (etcd.clone(), tasks.stopping());
    tasks.spawn("writer", async move {
        let write = async {
            for n in 1.. {
                writer.transact(both(n)).await.unwrap();
            }
        };
        tokio::select! { () = write => {}, () = stopping => {} }
    });
    let mut moments = Vec::new();
    while moments.len() < 20 {
        let listing = etcd.list("/l/").await.unwrap();
        assert_eq!(listing.entries.len(), 1_300);
        assert!(listing.entries.is_sorted_by_key(|entry| entry.key.clone()));
        let [first, last] = [0, 1_299].map(|n: usize| &listing.entries[n]);
        assert_eq!(first.value, last.value);
        assert_eq!(first.mod_revision, last.mod_revision);
        assert!(first.mod_revision <= listing.revision);
        moments.push(listing.revision);
    }
    assert!(moments.is_sorted());
    assert!(moments[0] < moments[19], "the writer wrote meanwhile");
    tasks.stop();
    assert!(tasks.join(LIMIT).await);
}

/// A write that nobody answered is unknown, not failed; a read that nobody answered, and a write that
/// was never sent, changed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_told_apart_from_a_lost_request() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let etcd = client(&[server.endpoint()]).await;
    let write = changes([put("/x", "late", 0)]);
    etcd.get("/x").await.unwrap();
    server.pause();
    let (written, read) = tokio::join!(etcd.transact(write.clone()), etcd.get("/x"));
    let unknown = written.unwrap_err();
    assert_eq!(unknown.kind(), Kind::UnknownOutcome);
    assert!(!unknown.retryable());
    let silent = read.unwrap_err().kind();
    assert!(
        matches!(silent, Kind::Unavailable | Kind::Timeout),
        "{silent:?}"
    );
    server.resume();
    let back = || async { etcd.get("/x").await.is_ok() };
    eventually("answers", LIMIT, back).await;

    server.kill();
    // The first call may still meet the dying connection.
    let never_sent = || async {
        matches!(
            etcd.transact(write.clone()).await,
            Err(Error::Unavailable { .. })
        )
    };
    eventually("a refused connection", LIMIT, never_sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_cannot_have_one_prefix() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let etcd = client(&[server.endpoint()]).await;
    let [ours, theirs] = [1, 2].map(Uuid::from_u128);
    let (keys, entropy) = (keys(), entropy());
    let clock: &dyn Clock = &SystemClock;
    let plumbing = (clock, &*entropy);
    let (one, two) = tokio::join!(
        claim_meta(&etcd, &keys, Expected::Remembered(ours), plumbing),
        claim_meta(&etcd, &keys, Expected::Any, plumbing),
    );
    let (one, two) = (one.unwrap_or(ours), two.unwrap());
    assert_eq!(
        claim_meta(&etcd, &keys, Expected::Any, plumbing)
            .await
            .unwrap(),
        two
    );
    assert!(one == ours, "whoever came first, nobody is told a third id");
    let told = claim_meta(&etcd, &keys, Expected::Told(theirs), plumbing).await;
    assert!(matches!(told, Err(Error::PrefixInUse { .. })), "{told:?}");
    let refused = claim_meta(&etcd, &keys, Expected::Remembered(theirs), plumbing).await;
    let refused = refused.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains(&two.to_string()) && text.contains(&theirs.to_string()),
        "{text}"
    );
    assert!(matches!(refused, Error::PrefixInUse { .. }));

    let newer = format!(r#"{{"v":1,"uid":"{two}","created_ms":1,"min_reader":9}}"#);
    let mut raw = server.raw().await;
    raw.put(keys.meta(), newer, None).await.unwrap();
    let refused = claim_meta(&etcd, &keys, Expected::Remembered(two), plumbing).await;
    assert!(refused.is_err(), "{refused:?}");
}
