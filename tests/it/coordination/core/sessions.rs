//! Sessions and what hangs on them.

use std::time::Duration;

use vectorsphere::clock::SystemClock;
use vectorsphere::coordination::WatchNews;
use vectorsphere::coordination::records::ServiceState;
use vectorsphere::coordination::session::{Session, State};
use vectorsphere::ids::Revision;
use vectorsphere::tasks::Tasks;

use super::{LIMIT, Member, ROOT, TTL, client, entropy, entry_of, eventually, now};
use crate::support::real_etcd::RealEtcd;

/// Etcd falls silent: the session knows by its own clock that its lease may end, before it can; when
/// etcd answers again the process is back with all its keys, on the old lease or on a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_etcd_makes_a_session_suspect_in_time() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let member = Member::start(server.endpoint(), 1).await;
    member.registered().await;
    let before = member.standing();
    server.pause();
    let paused = now();
    let mut standing = member.session.standing();
    let suspect = standing.wait_for(|now| now.state != State::Connected);
    let suspect = *tokio::time::timeout(LIMIT, suspect).await.unwrap().unwrap();
    let took = now().since(paused);
    assert_eq!(
        (suspect.state, suspect.lease),
        (State::Suspect, before.lease)
    );
    assert!(!member.session.is_live());
    assert!(took < TTL, "suspect after {took:?}");
    server.resume();
    member.connected().await;
    let back = || async {
        let lease = member.standing().held();
        let entry = entry_of(&member.etcd, 1).await;
        lease.is_some() && entry.map(|(_record, lease)| lease) == lease
    };
    eventually("the entry on the living lease", LIMIT, back).await;
    member.crash().await;
}

/// Etcd is killed and comes back at once: its leases live on, and so does the session on its lease,
/// though every connection was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_a_restart_of_etcd() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let member = Member::start(server.endpoint(), 1).await;
    member.registered().await;
    let term = member.leads().await;
    let before = member.standing();
    for _ in 0..3 {
        server.kill();
        server.run().await;
        // A renewal later than the restart.
        let mut standing = member.session.standing();
        let news = tokio::time::timeout(TTL / 2, standing.changed()).await;
        assert!(news.is_err(), "{:?}", *standing.borrow());
        assert!(member.session.is_live());
    }
    assert_eq!(member.standing(), before);
    assert_eq!(member.leads().await, term);
    member.crash().await;
}

/// A lease that ends behind the session's back: a new one, a new generation, and the entry again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_begins_anew_and_registers_again() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let member = Member::start(server.endpoint(), 1).await;
    member.registered().await;
    let before = member.standing();
    member.etcd.revoke(before.lease).await.unwrap();
    assert!(entry_of(&member.etcd, 1).await.is_none());
    let back = || async { entry_of(&member.etcd, 1).await.is_some() };
    let took = eventually("the entry again", LIMIT, back).await;
    let after = member.standing();
    assert_eq!(after.state, State::Connected);
    assert_eq!(after.generation, before.generation + 1);
    assert_ne!(after.lease, before.lease);
    assert!(
        took < TTL,
        "{took:?}: a third of the lease's life and a moment"
    );
    member.crash().await;
}

/// What may be asked of a process is what it said last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_a_process_is_told() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let member = Member::start(server.endpoint(), 1).await;
    member.registered().await;
    for state in [ServiceState::Serving, ServiceState::Draining] {
        member.registration.set_state(state);
        let told = || async {
            let entry = entry_of(&member.etcd, 1).await;
            entry.is_some_and(|(record, _lease)| record.state == state)
        };
        eventually("the state", LIMIT, told).await;
    }
    member.crash().await;
}

/// A process that leaves takes all its keys with it, in one event, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_closes_its_session_leaves_in_one_event() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let member = Member::start(server.endpoint(), 1).await;
    member.registered().await;
    member.leads().await;
    let etcd = client(&[server.endpoint()]).await;
    let listing = etcd.list(ROOT).await.unwrap();
    assert_eq!(listing.entries.len(), 3, "entry, candidacy and lead");
    let next = Revision(listing.revision.0 + 1);
    let mut watch = etcd.watch(ROOT, next).await.unwrap();
    let began = now();
    member.session.close().await.unwrap();
    let news = tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
    let took = now().since(began);
    let Ok(WatchNews::Events(events)) = news else {
        panic!("{news:?}");
    };
    assert_eq!(events.len(), 3);
    let first = events.first().map(|event| event.revision);
    for event in &events {
        assert_eq!((&event.put, Some(event.revision)), (&None, first));
    }
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(member.standing().state, State::Lost);
    assert_eq!(member.election.term(), None);
    member.crash().await;
}

/// A process that is killed is gone for all within its lease's life and a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_vanishes_is_gone_after_its_time_to_live() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let member = Member::start(server.endpoint(), 1).await;
    member.registered().await;
    let etcd = client(&[server.endpoint()]).await;
    member.crash().await;
    assert!(!member.session.is_live(), "nobody renews it any more");
    let gone = || async { etcd.list(ROOT).await.unwrap().entries.is_empty() };
    let took = eventually("all its keys to go", LIMIT, gone).await;
    assert!(took < TTL + Duration::from_secs(1), "{took:?}");
}

/// A session starts while there is no etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_starts_without_etcd() {
    let Some(server) = RealEtcd::stopped() else {
        return;
    };
    let tasks = Tasks::new();
    let etcd = client(&[server.endpoint()]).await;
    let session = Session::start(etcd, SystemClock::shared(), entropy(), &tasks);
    let mut standing = session.standing();
    assert_eq!(standing.borrow().state, State::Lost);
    server.run().await;
    let connected = standing.wait_for(|now| now.state == State::Connected);
    tokio::time::timeout(LIMIT, connected)
        .await
        .unwrap()
        .unwrap();
    assert!(session.is_live());
    session.close().await.unwrap();
    assert!(!session.is_live());
    tasks.stop();
    assert!(tasks.join(LIMIT).await);
}
