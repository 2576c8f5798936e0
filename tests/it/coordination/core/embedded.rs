//! The same over the embedded etcd, which a laptop cluster stands on.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use vectorsphere::clock::SystemClock;
use vectorsphere::coordination::mirror::Mirror;
use vectorsphere::embedded_etcd::{EmbeddedEtcd, Settings};
use vectorsphere::ids::Revision;
use vectorsphere::tasks::Tasks;

use super::{LIMIT, Member, ROOT, TTL, changes, client, entropy, entry_of, now, put, within};

/// Serves what lies in the folder, at that port or at any.
fn serve(data_dir: &Path, port: u16, revoke_leases: bool) -> (Tasks, u16) {
    let tasks = Tasks::new();
    let settings = Settings {
        data_dir: data_dir.to_owned(),
        listener: TcpListener::bind(("127.0.0.1", port)).unwrap(),
        revoke_leases,
    };
    let etcd = EmbeddedEtcd::start(settings, SystemClock::shared(), entropy(), &tasks).unwrap();
    (tasks, etcd.address().port())
}

/// Sessions, registration, election and mirrors work as over a real one, through a restart of it, and
/// a restart that revokes the leases of a killed run leaves none of its keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_core_stands_on_the_embedded_etcd() {
    let folder = tempfile::tempdir().unwrap();
    let (serving, port) = serve(folder.path(), 0, false);
    let endpoint = format!("http://127.0.0.1:{port}");
    let member = Member::start(&endpoint, 1).await;
    member.registered().await;
    let term = member.leads().await;
    let standing = member.standing();

    let tasks = Tasks::new();
    let etcd = client(&[&endpoint]).await;
    let (clock, prefix) = (SystemClock::shared(), "/m/".to_owned());
    let mirror = Mirror::<String>::start(etcd.clone(), prefix, clock, entropy(), &tasks);
    mirror.ready(within(LIMIT)).await.unwrap();
    for n in 0..50 {
        let prefix = if n % 2 == 0 { "/m/" } else { "/other/" };
        let write = changes([put(format!("{prefix}x"), format!("\"{n}\""), 0)]);
        etcd.transact(write).await.unwrap();
        mirror.refresh(within(LIMIT)).await.unwrap();
        let shown = mirror.view().get("x").map(|held| (*held.value).clone());
        assert_eq!(shown, Some((n - n % 2).to_string()));
    }

    serving.stop();
    assert!(serving.join(LIMIT).await);
    let (serving, _port) = serve(folder.path(), port, false);
    let write = changes([put("/m/y", "\"back\"", 0)]);
    let revision = write_when_back(&etcd, &write).await;
    mirror.wait_until(revision, within(LIMIT)).await.unwrap();
    let mut news = member.session.standing();
    let news = tokio::time::timeout(TTL / 2, news.changed()).await;
    assert!(news.is_err(), "the session lives on its lease");
    assert_eq!((member.standing(), member.leads().await), (standing, term));

    member.crash().await;
    serving.stop();
    assert!(serving.join(LIMIT).await);
    let began = now();
    let (serving, _port) = serve(folder.path(), port, true);
    let again = Member::start(&endpoint, 2).await;
    again.leads().await;
    let took = now().since(began);
    assert!(
        took < Duration::from_secs(2),
        "{took:?}, not a lease's life"
    );
    assert!(entry_of(&again.etcd, 1).await.is_none());
    again.session.close().await.unwrap();
    assert!(etcd.list(ROOT).await.unwrap().entries.is_empty());
    again.crash().await;
    tasks.stop();
    serving.stop();
    assert!(serving.join(LIMIT).await);
}

/// A change may meet the connection that dies with the server; it says so, and is made again.
async fn write_when_back(
    etcd: &vectorsphere::coordination::Etcd,
    write: &vectorsphere::coordination::Transaction,
) -> Revision {
    let began = now();
    loop {
        match etcd.transact(write.clone()).await {
            Ok(outcome) => return outcome.revision,
            Err(error) => assert!(now().since(began) < LIMIT, "{error}"),
        }
    }
}
