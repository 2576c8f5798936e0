//! Sessions and what hangs on them.

use std::time::Duration;

use vectorsphere::clock::SystemClock;
use vectorsphere::coordination::etcd::{Event, Notice};
use vectorsphere::coordination::records::ServiceState;
use vectorsphere::coordination::{Error, Phase, Session};
use vectorsphere::ids::Revision;
use vectorsphere::tasks::Tasks;

use super::server::Server;
use super::{LIMIT, Member, client, entry_of, eventually, keys, now, within};

const TTL: Duration = Duration::from_secs(3);

/// etcd falls silent: the session knows by its own clock that its lease may end, before it can; when
/// etcd answers again the process is back with all its keys, on the old lease or on a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_etcd_makes_a_session_suspect_in_time() {
    let server = Server::start().await;
    let member = Member::start(&server, 1, TTL).await;
    member.registration.registered(within(LIMIT)).await.unwrap();
    let before = member.session.standing();
    server.pause();
    let paused = now();
    let mut standing = member.session.subscribe();
    let suspect = standing.wait_for(|now| now.phase != Phase::Connected);
    let suspect = *tokio::time::timeout(LIMIT, suspect).await.unwrap().unwrap();
    let took = now().since(paused);
    assert_eq!(
        (suspect.phase, suspect.lease),
        (Phase::Suspect, before.lease)
    );
    assert!(!member.session.is_live());
    assert!(took < TTL, "suspect after {took:?}");
    server.resume();
    member.session.connected(within(LIMIT)).await.unwrap();
    let back = || async {
        let entry = member
            .etcd
            .get(&keys().service("master", super::node(1)))
            .await;
        let lease = member.session.standing().held();
        lease.is_some() && entry.is_ok_and(|entry| entry.and_then(|entry| entry.lease) == lease)
    };
    eventually("the entry on the living lease", LIMIT, back).await;
    member.crash().await;
}

/// A lease that ends behind the session's back: a new one, a new epoch, and the entry again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_begins_anew_and_registers_again() {
    let server = Server::start().await;
    let member = Member::start(&server, 1, TTL).await;
    member.registration.registered(within(LIMIT)).await.unwrap();
    let before = member.session.standing();
    member
        .etcd
        .lease_revoke(before.lease.unwrap())
        .await
        .unwrap();
    assert_eq!(entry_of(&member.etcd, 1).await, None);
    let back = || async { entry_of(&member.etcd, 1).await.is_some() };
    let took = eventually("the entry again", LIMIT, back).await;
    let after = member.session.standing();
    assert_eq!(
        (after.phase, after.epoch),
        (Phase::Connected, before.epoch + 1)
    );
    assert_ne!(after.lease, before.lease);
    assert!(
        took < TTL,
        "{took:?}: a third of the time to live and a moment"
    );
    member.crash().await;
}

/// What may be asked of a process is what it said last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_a_process_is_told() {
    let server = Server::start().await;
    let member = Member::start(&server, 1, TTL).await;
    for state in [ServiceState::Serving, ServiceState::Draining] {
        member.registration.set_state(state);
        member.registration.registered(within(LIMIT)).await.unwrap();
        let entry = entry_of(&member.etcd, 1).await.unwrap();
        assert_eq!(entry.state, state);
    }
    member.crash().await;
}

/// A process that leaves takes all its keys with it, in one event, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_closes_its_session_leaves_in_one_event() {
    let server = Server::start().await;
    let member = Member::start(&server, 1, TTL).await;
    member.registration.registered(within(LIMIT)).await.unwrap();
    member.leads().await;
    let etcd = client(&[server.endpoint()]).await;
    let listing = etcd.list(keys().root()).await.unwrap();
    assert_eq!(listing.entries.len(), 3, "entry, candidacy and lead");
    let next = Revision(listing.revision.0 + 1);
    let mut watch = etcd.watch(keys().root(), next).await.unwrap();
    let began = now();
    member.session.close().await.unwrap();
    let notice = tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
    let took = now().since(began);
    let Ok(Notice::Changed(batch)) = notice else {
        panic!("{notice:?}");
    };
    assert_eq!(batch.events.len(), 3);
    assert!(
        batch.events.iter().all(|event| matches!(
            event,
            Event::Delete { revision, .. } if *revision == batch.revision
        )),
        "{batch:?}"
    );
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(member.session.standing().phase, Phase::Lost);
    let again = member.session.connected(within(LIMIT)).await;
    assert!(matches!(again, Err(Error::Closed)), "{again:?}");
    member.crash().await;
}

/// A process that is killed is gone for all within its time to live and a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_vanishes_is_gone_after_its_time_to_live() {
    let server = Server::start().await;
    let member = Member::start(&server, 1, TTL).await;
    member.registration.registered(within(LIMIT)).await.unwrap();
    let etcd = client(&[server.endpoint()]).await;
    member.crash().await;
    let gone = || async { etcd.list(keys().root()).await.unwrap().entries.is_empty() };
    let took = eventually("all its keys to go", LIMIT, gone).await;
    assert!(took < TTL + Duration::from_secs(1), "{took:?}");
}

/// A session starts while there is no etcd.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_starts_without_etcd() {
    let server = Server::stopped();
    let tasks = Tasks::new();
    let etcd = client(&[server.endpoint()]).await;
    let session = Session::start(&etcd, SystemClock::shared(), &tasks, TTL);
    let early = session.connected(within(Duration::from_millis(100))).await;
    assert!(
        matches!(early, Err(Error::DeadlinePassed { .. })),
        "{early:?}"
    );
    server.run().await;
    session.connected(within(LIMIT)).await.unwrap();
    assert!(session.is_live());
    session.close().await.unwrap();
    assert!(!session.is_live());
    tasks.stop();
    assert!(tasks.join(LIMIT).await);
}
