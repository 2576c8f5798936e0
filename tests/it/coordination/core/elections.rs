//! Elections: terms that grow, leaders that stop in time, and writes that outlive nobody's term.

use std::sync::Arc;
use std::time::Duration;

use vectorsphere::coordination::election::{Leadership, term_guard};
use vectorsphere::coordination::{Etcd, Transaction, WatchNews};
use vectorsphere::entropy::Entropy;
use vectorsphere::ids::{Revision, Term};
use vectorsphere::tasks::Tasks;

use super::{LIMIT, Member, TTL, client, eventually, guarded, keys, node, now, put};
use crate::support::real_etcd::RealEtcd;

/// A control write of the leader of that term.
fn control(term: Term) -> Transaction {
    guarded(
        term_guard(&keys(), term),
        put("/control", term.to_string(), 0),
    )
}

async fn is_accepted(etcd: &Etcd, term: Term) -> bool {
    etcd.transact(control(term)).await.unwrap().succeeded
}

/// The leader's process is killed: the other leads within the time to live and a second, in a higher
/// term, and what the dead leader's term would still write is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_follows_a_dead_one_and_fences_it() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let first = Member::start(server.endpoint(), 1).await;
    first.leads().await;
    let second = Member::start(server.endpoint(), 2).await;
    let mut seen = second.election.leadership();
    let follows = seen.wait_for(|now| matches!(now, Leadership::Follower { leader: Some(_) }));
    let follows = tokio::time::timeout(LIMIT, follows).await.unwrap().unwrap();
    let old = first.election.term().unwrap();
    assert!(
        matches!(&*follows, Leadership::Follower { leader: Some((leader, term)) }
            if leader.node == node(1) && *term == old),
        "{follows:?}"
    );
    drop(follows);
    assert!(is_accepted(&second.etcd, old).await);

    first.crash().await;
    let began = now();
    second.leads().await;
    let took = now().since(began);
    assert!(took < TTL + Duration::from_secs(1), "{took:?}");
    let new = second.election.term().unwrap();
    assert!(new > old);
    assert!(!is_accepted(&second.etcd, old).await);
    assert!(is_accepted(&second.etcd, new).await);
    assert_eq!(first.election.term(), None);
    second.crash().await;
}

/// Who resigns no longer leads before another does, and the other leads at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_resigns_is_followed_at_once() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let first = Member::start(server.endpoint(), 1).await;
    first.leads().await;
    let second = Member::start(server.endpoint(), 2).await;
    let waits = second.election.leadership();
    let waiting = || async { *waits.borrow() != Leadership::Unknown };
    eventually("the second to stand", LIMIT, waiting).await;
    let old = first.election.term().unwrap();
    let began = now();
    first.election.resign().await.unwrap();
    assert_eq!(first.election.term(), None);
    second.leads().await;
    let took = now().since(began);
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(second.election.term().unwrap() > old);
    // And it stands again: when the second leaves, the first leads.
    second.session.close().await.unwrap();
    first.leads().await;
    first.crash().await;
    second.crash().await;
}

/// A process that was killed and comes back does not wait for its former self to time out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_comes_back_leads_again_in_a_new_term() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let before = Member::start(server.endpoint(), 1).await;
    before.leads().await;
    let old = before.election.term().unwrap();
    before.crash().await;
    let began = now();
    let after = Member::start(server.endpoint(), 1).await;
    after.leads().await;
    let took = now().since(began);
    assert!(after.election.term().unwrap() > old);
    assert!(took < Duration::from_secs(1), "{took:?}");
    after.crash().await;
}

/// etcd falls silent: the leader stops by its own clock before its lease can end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_etcd_stops_itself() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let leader = Member::start(server.endpoint(), 1).await;
    leader.leads().await;
    server.pause();
    let paused = now();
    let mut seen = leader.election.leadership();
    let stopped = seen.wait_for(|now| *now == Leadership::Unknown);
    tokio::time::timeout(LIMIT, stopped).await.unwrap().unwrap();
    let took = now().since(paused);
    assert_eq!(leader.election.term(), None);
    assert!(took < TTL, "{took:?}");
    server.resume();
    leader.leads().await;
    leader.crash().await;
}

/// Three candidates, sessions revoked and etcd paused and killed at random, every leader writing all
/// the time: the terms of the writes that etcd accepted never go back, and somebody leads in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_writes_never_go_back_to_an_older_term() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let etcd = client(&[server.endpoint()]).await;
    let began = etcd.revision().await.unwrap();
    let mut members = Vec::new();
    for n in 1..=3 {
        members.push(Arc::new(Member::start(server.endpoint(), n).await));
    }
    let writers = Tasks::new();
    for member in &members {
        let (member, stopping) = (Arc::clone(member), writers.stopping());
        writers.spawn("writer", async move {
            tokio::select! { () = stopping => {}, () = write_while_leading(&member) => {} }
        });
    }
    let entropy = Entropy::from_seed(11);
    let mut least = 1;
    for _ in 0..12 {
        let term = writing(&etcd, least).await;
        // Only a lease that ends is certain to end its term.
        let ended = trouble(&server, &members, Term(term), entropy.fraction()).await;
        least = if ended { term + 1 } else { term };
    }
    writing(&etcd, least).await;
    writers.stop();
    assert!(writers.join(LIMIT).await);
    let terms = accepted(&etcd, began).await;
    assert!(terms.is_sorted(), "{terms:?}");
    let mut distinct = terms.clone();
    distinct.dedup();
    assert!(distinct.len() > 3, "only {} terms wrote", distinct.len());
    for member in &members {
        member.crash().await;
    }
}

/// Writes as a leader that never doubts: the term it had is used as long as nobody says otherwise.
async fn write_while_leading(member: &Member) {
    let mut leadership = member.election.leadership();
    let mut term = None;
    loop {
        if let Leadership::Leader { term: new } = *leadership.borrow_and_update() {
            term = Some(new);
        }
        let Some(term) = term else {
            if leadership.changed().await.is_err() {
                return;
            }
            continue;
        };
        // Refused, unknown or unreachable: the next round writes again, as a stale leader would.
        drop(member.etcd.transact(control(term)).await);
        tokio::task::yield_now().await;
    }
}

/// Waits until a leader of at least that term has written, and says which term that was.
async fn writing(etcd: &Etcd, least: i64) -> i64 {
    let written = || async {
        let entry = etcd.get("/control").await.ok().flatten()?;
        let term: i64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
        (term >= least).then_some(term)
    };
    eventually("a leader that writes", LIMIT, || async {
        written().await.is_some()
    })
    .await;
    written().await.unwrap()
}

/// Does some harm, and says whether a term ended for certain.
async fn trouble(server: &RealEtcd, members: &[Arc<Member>], term: Term, draw: f64) -> bool {
    if draw < 0.6 {
        // The leader's lease ends behind its back.
        let leader = members
            .iter()
            .find(|member| member.election.term() == Some(term));
        let Some(leader) = leader else { return false };
        leader.etcd.revoke(leader.standing().lease).await.is_ok()
    } else if draw < 0.8 {
        // Silence until every leader has stopped itself.
        server.pause();
        let none = || async {
            members
                .iter()
                .all(|member| member.election.term().is_none())
        };
        let took = eventually("leaders to stop", LIMIT, none).await;
        assert!(took < TTL, "{took:?}");
        server.resume();
        false
    } else {
        server.kill();
        server.run().await;
        false
    }
}

/// The terms of the control writes that etcd accepted, in order.
async fn accepted(etcd: &Etcd, since: Revision) -> Vec<i64> {
    let last = etcd.get("/control").await.unwrap().unwrap().mod_revision;
    let mut watch = etcd.watch("/control", Revision(since.0 + 1)).await.unwrap();
    let mut terms = Vec::new();
    let mut at = since;
    while at < last {
        let news = tokio::time::timeout(LIMIT, watch.next()).await.unwrap();
        let WatchNews::Events(events) = news.unwrap() else {
            continue;
        };
        for event in events {
            at = event.revision;
            if let Some(entry) = event.put {
                let text = std::str::from_utf8(&entry.value).unwrap();
                terms.push(text.parse().unwrap());
            }
        }
    }
    terms
}
