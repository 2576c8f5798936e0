//! An etcd that asks for users: tokens that it forgets, passwords that change, rights to one range only.

use std::sync::Arc;
use std::time::Duration;

use vectorsphere::clock::{ManualClock, SystemClock};
use vectorsphere::coordination::mirror::Mirror;
use vectorsphere::coordination::{Error, Etcd};
use vectorsphere::fault::{Fault, chain};
use vectorsphere::security::Login;

use super::{LIMIT, Member, ROOT, changes, client, entry_of, eventually, now, put};
use crate::support::real_etcd::RealEtcd;

/// More than a second without a call, after which the server forgets a token.
const FORGETS: Duration = Duration::from_secs(3);

async fn client_of(server: &RealEtcd, login: &Login) -> Etcd {
    let etcd = client(&[server.endpoint()]).await;
    etcd.logging_in(login, SystemClock::shared())
}

/// A user who may do nothing outside of the range of one cluster is enough for a process: its session, its
/// entry, its candidacy and its mirrors live on although the server forgets tokens all the time, and calls
/// that come at once after a pause all succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_of_the_range_of_one_cluster_is_enough_and_forgotten_tokens_are_not_noticed() {
    let Some(server) = RealEtcd::start_asking(ROOT, "correct-horse").await else {
        return;
    };
    let login = Login::given(b"search", b"correct-horse").unwrap();
    let etcd = client_of(&server, &login).await;
    let member = Member::start_with(etcd.clone(), 1);
    let before = member.connected().await;
    member.registered().await;
    let term = member.leads().await;
    let (clock, prefix) = (SystemClock::shared(), format!("{ROOT}m/"));
    let mirror =
        Mirror::<String>::start(etcd.clone(), prefix, clock, super::entropy(), &member.tasks);
    let idle = client_of(&server, &login).await;
    let began = now();
    let mut rounds = 0;
    while now().since(began) < Duration::from_secs(9) {
        // This one says nothing for so long that its token is forgotten, and then much at once.
        idle.get(&format!("{ROOT}x")).await.unwrap();
        let next = now() + FORGETS;
        eventually("a token is forgotten", LIMIT, || async { now() > next }).await;
        let key = |n: usize| format!("{ROOT}m/{n}");
        let calls = (0..16).map(|n| {
            let (idle, key) = (idle.clone(), key(n));
            async move {
                let write = changes([put(key, format!("\"{rounds}\""), 0)]);
                idle.transact(write).await
            }
        });
        for done in futures::future::join_all(calls).await {
            assert!(done.unwrap().succeeded);
        }
        let (lease, _seconds) = idle.grant(60).await.unwrap();
        idle.renew(lease, LIMIT).await.unwrap();
        idle.revoke(lease).await.unwrap();
        let wanted = rounds.to_string();
        let seen = || async {
            mirror
                .view()
                .iter()
                .filter(|(_, held)| *held.value == wanted)
                .count()
                == 16
        };
        eventually("the mirror follows", LIMIT, seen).await;
        let watched = idle
            .watch(ROOT, idle.list(ROOT).await.unwrap().revision)
            .await;
        drop(watched.unwrap());
        rounds += 1;
    }
    let standing = member.standing();
    assert_eq!(
        standing.generation, before.generation,
        "the lease was never lost"
    );
    assert_eq!(member.term(), Some(term), "nor the lead");
    assert!(entry_of(&etcd, 1).await.is_some());
    let outside = idle.get("/test/core/two/meta").await.unwrap_err();
    assert!(chain(&outside).contains("permission denied"), "{outside:?}");
    member.crash().await;
}

/// A wrong password is said as what it is and tried again at a bounded rate; the right one is taken
/// without another client, and the old one's tokens are replaced at once when the password changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_changes_is_taken_and_a_wrong_one_is_told() {
    let Some(server) = RealEtcd::start_asking(ROOT, "correct-horse").await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let lay = |password: &str| {
        for (file, text) in [("username", "search"), ("password", password)] {
            fs_err::write(folder.path().join(file), text).unwrap();
        }
    };
    lay("wrong-horse");
    let login = Login::load(folder.path()).unwrap();
    let clock = Arc::new(ManualClock::default());
    let etcd = client(&[server.endpoint()]).await;
    let etcd = etcd.logging_in(&login, Arc::<ManualClock>::clone(&clock));
    let key = format!("{ROOT}x");
    let told = |error: Error| {
        let said = chain(&error);
        assert!(matches!(error, Error::LoginRefused { .. }), "{error:?}");
        assert_eq!(error.code(), "etcd.login_refused");
        assert!(said.contains("etcd refuses user \"search\""), "{said}");
        assert!(said.contains("authentication failed"), "{said}");
        assert!(!format!("{said} {error:?}").contains("horse"), "{said}");
    };
    told(etcd.get(&key).await.unwrap_err());
    let mut root = server.root("correct-horse").await;
    root.user_change_password("search", "wrong-horse")
        .await
        .unwrap();
    // It is the right one now, and not asked about before a pause is over.
    told(etcd.get(&key).await.unwrap_err());
    clock.advance(Duration::from_secs(3));
    assert_eq!(etcd.get(&key).await.unwrap(), None);

    root.user_change_password("search", "new-horse")
        .await
        .unwrap();
    told(etcd.get(&key).await.unwrap_err());
    lay("new-horse");
    assert!(login.refresh().unwrap());
    // Another account is asked about without a pause.
    let write = changes([put(key.clone(), "1", 0)]);
    assert!(etcd.transact(write).await.unwrap().succeeded);

    // The other order: the files first. Nobody notices.
    lay("last-horse");
    assert!(login.refresh().unwrap());
    for _ in 0..3 {
        etcd.get(&key).await.unwrap();
    }
    root.user_change_password("search", "last-horse")
        .await
        .unwrap();
    etcd.get(&key).await.unwrap();
}

/// An etcd that asks nobody serves who would log in, and one that begins to ask goes on serving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_begins_to_ask_is_logged_in_to() {
    let Some(server) = RealEtcd::start().await else {
        return;
    };
    let login = Login::given(b"root", b"correct-horse").unwrap();
    let etcd = client_of(&server, &login).await;
    let key = format!("{ROOT}x");
    etcd.get(&key).await.unwrap();
    let mut raw = server.raw().await;
    raw.role_add("root").await.unwrap();
    raw.user_add("root", "correct-horse", None).await.unwrap();
    raw.user_grant_role("root", "root").await.unwrap();
    raw.auth_enable().await.unwrap();
    etcd.get(&key).await.unwrap();
    let nobody = client(&[server.endpoint()]).await;
    let refused = nobody.get(&key).await.unwrap_err();
    assert!(
        chain(&refused).contains("user name is empty"),
        "{refused:?}"
    );
}
