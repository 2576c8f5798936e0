//! Calls: failover, guards, listings at one revision, answers that are lost.

use std::time::Duration;

use etcd_client::PutOptions;
use uuid::Uuid;
use vectorsphere::clock::SystemClock;
use vectorsphere::coordination::registry::claim_meta;
use vectorsphere::coordination::{Change, Error, Guard, Transaction};
use vectorsphere::fault::{Fault, Kind};
use vectorsphere::ids::Revision;
use vectorsphere::tasks::Tasks;

use super::server::Server;
use super::{LIMIT, client, eventually, keys, now};

/// A member that is dead from the start, before and after the living one, costs no call an error and
/// only the first one time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_costs_no_call() {
    let (server, dead) = (Server::start().await, Server::stopped());
    let etcd = client(&[dead.endpoint(), server.endpoint(), dead.endpoint()]).await;
    let began = now();
    for n in 0..200 {
        etcd.get("/x").await.unwrap();
        let put = Transaction::new().put("/x", n.to_string());
        assert!(etcd.transact(&put).await.unwrap().succeeded);
    }
    let took = now().since(began);
    assert!(took < Duration::from_secs(4), "400 calls took {took:?}");
}

/// The member that all calls go to is killed: reads go on without an error, and so do sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_loses_a_member_answers_on() {
    let members = Server::cluster().await;
    let endpoints = [0, 1, 2].map(|n: usize| members[n].endpoint());
    let etcd = client(&endpoints).await;
    let put = Transaction::new().put("/x", "1");
    etcd.transact(&put).await.unwrap();
    members[0].kill();
    // An election of etcd's own may be due, which takes a second or two.
    let reads = || async { etcd.get("/x").await.is_ok() };
    let gap = eventually("reads after the loss", LIMIT, reads).await;
    for _ in 0..100 {
        assert_eq!(etcd.get("/x").await.unwrap().unwrap().value, b"1");
        assert!(etcd.transact(&put).await.unwrap().succeeded);
    }
    assert!(gap < Duration::from_secs(7), "{gap:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guards_hold_changes_back() {
    let server = Server::start().await;
    let etcd = client(&[server.endpoint()]).await;
    let (lease, _ttl) = etcd.lease_grant(Duration::from_secs(60)).await.unwrap();
    let make = Transaction::new()
        .guard(Guard::Absent("/a".to_owned()))
        .put_leased("/a", "1", lease);
    let made = etcd.transact(&make).await.unwrap();
    assert!(made.succeeded);
    assert!(!etcd.transact(&make).await.unwrap().succeeded);
    let overwrite = Transaction::new().put_leased("/a", "2", lease);
    let written = etcd.transact(&overwrite).await.unwrap();

    let a = || "/a".to_owned();
    let off = |revision: Revision| Revision(revision.0 + 1);
    let absent = || "/absent".to_owned();
    for (guard, holds) in [
        (Guard::ModRevision(a(), written.revision), true),
        (Guard::ModRevision(a(), made.revision), false),
        (Guard::CreateRevision(a(), made.revision), true),
        (Guard::CreateRevision(a(), off(made.revision)), false),
        (Guard::Lease(a(), lease), true),
        (Guard::Absent(a()), false),
        (Guard::Absent(absent()), true),
        (Guard::CreateRevision(absent(), made.revision), false),
        (Guard::ModRevision(absent(), made.revision), false),
        (Guard::Lease(absent(), lease), false),
    ] {
        let probe = Transaction::new().guard(guard.clone()).put("/probe", "1");
        let outcome = etcd.transact(&probe).await.unwrap();
        assert_eq!(outcome.succeeded, holds, "{guard:?}");
    }
    let entry = etcd.get("/a").await.unwrap().unwrap();
    assert_eq!(entry.value, b"2");
    assert_eq!(
        (entry.create_revision, entry.mod_revision),
        (made.revision, written.revision)
    );
    assert_eq!(entry.lease, Some(lease));

    let fill = Transaction::new()
        .put("/d/1", "1")
        .put("/d/2", "1")
        .put("/d0", "1");
    etcd.transact(&fill).await.unwrap();
    let drop_all = Transaction::new().change(Change::DeletePrefix("/d/".to_owned()));
    etcd.transact(&drop_all).await.unwrap();
    let left = etcd.list("/d").await.unwrap().entries;
    assert_eq!(
        left.iter().map(|entry| &*entry.key).collect::<Vec<_>>(),
        ["/d0"]
    );

    assert_eq!(etcd.revoke_leases_under("/").await.unwrap(), 1);
    assert_eq!(etcd.get("/a").await.unwrap(), None);
    let late = etcd.transact(&overwrite).await;
    assert!(matches!(late, Err(Error::LeaseLost)), "{late:?}");
    etcd.lease_revoke(lease)
        .await
        .expect("gone already is a success");
}

/// A listing of many pages shows one moment, however fast its first and last keys change together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_shows_one_revision() {
    let server = Server::start().await;
    let etcd = client(&[server.endpoint()]).await;
    for page in 0..13 {
        let fill = (0..100).fold(Transaction::new(), |fill, n| {
            fill.put(format!("/l/{:04}", page * 100 + n), vec![b'x'; 2_000])
        });
        etcd.transact(&fill).await.unwrap();
    }
    let both = |n: u32| {
        let text = n.to_string();
        Transaction::new()
            .put("/l/0000", text.as_str())
            .put("/l/1299", text.as_str())
    };
    etcd.transact(&both(0)).await.unwrap();
    let tasks = Tasks::new();
    let (writer, stopping) = (etcd.clone(), tasks.stopping());
    tasks.spawn("writer", async move {
        let write = async {
            for n in 1.. {
                writer.transact(&both(n)).await.unwrap();
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
    let server = Server::start().await;
    let etcd = client(&[server.endpoint()]).await;
    let put = Transaction::new().put("/x", "late");
    etcd.get("/x").await.unwrap();
    server.pause();
    let (written, read) = tokio::join!(etcd.transact(&put), etcd.get("/x"));
    let unknown = written.unwrap_err();
    assert_eq!(unknown.kind(), Kind::UnknownOutcome);
    assert!(!unknown.retryable());
    assert_eq!(read.unwrap_err().kind(), Kind::Unavailable);
    server.resume();
    let back = || async { etcd.get("/x").await.is_ok() };
    eventually("answers", LIMIT, back).await;

    server.kill();
    // The first call may still meet the dying connection.
    let never_sent =
        || async { matches!(etcd.transact(&put).await, Err(Error::Unreachable { .. })) };
    eventually("a refused connection", LIMIT, never_sent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_cannot_have_one_prefix() {
    let server = Server::start().await;
    let etcd = client(&[server.endpoint()]).await;
    let [ours, theirs] = [1, 2].map(Uuid::from_u128);
    let keys = keys();
    let (one, two) = tokio::join!(
        claim_meta(&etcd, &keys, ours, &SystemClock),
        claim_meta(&etcd, &keys, ours, &SystemClock),
    );
    assert_eq!(one.unwrap(), two.unwrap());
    let refused = claim_meta(&etcd, &keys, theirs, &SystemClock)
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains(&ours.to_string()) && text.contains(&theirs.to_string()),
        "{text}"
    );
    assert!(matches!(refused, Error::PrefixInUse { .. }));

    let newer = format!(r#"{{"v":1,"uid":"{ours}","created_ms":1,"min_reader":9}}"#);
    let put = None::<PutOptions>;
    server
        .raw()
        .await
        .put(keys.meta(), newer, put)
        .await
        .unwrap();
    let refused = claim_meta(&etcd, &keys, ours, &SystemClock).await;
    assert!(matches!(
        refused,
        Err(Error::ReaderTooOld { needed: 9, .. })
    ));
}
