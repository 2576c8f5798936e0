//! The same over the embedded etcd, which a laptop cluster stands on.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use etcd_client::{Client, GetOptions, WatchOptions, WatchStream};
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

/// Keys are put until the log was written anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_from_before_a_new_log_is_told_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (serving, port) = serve(folder.path(), 0, false);
    let endpoint = [format!("http://127.0.0.1:{port}")];
    let mut etcd = Client::connect(&endpoint, None).await.unwrap();
    let log = folder.path().join("log");
    let mut largest = 0;
    for n in 0.. {
        etcd.put("k", vec![7; 1_400_000], None).await.unwrap();
        let bytes = fs_err::metadata(&log).unwrap().len();
        if bytes < largest {
            break;
        }
        largest = bytes;
        assert!(n < 100, "the log is never written anew");
    }
    serving.stop();
    assert!(serving.join(LIMIT).await);
    let (serving, _port) = serve(folder.path(), port, false);
    let mut etcd = Client::connect(&endpoint, None).await.unwrap();

    let first = refused_from(&mut etcd, 2).await;
    assert!(first > 20, "{first}");
    // The snapshot is of the revision before, and what was done at that one is not known any more.
    assert_eq!(refused_from(&mut etcd, first - 1).await, first);
    // From the revision that it names nothing is missed.
    etcd.put("k", "new", None).await.unwrap();
    let mut watch = watch_from(&mut etcd, first).await;
    let news = watch.message().await.unwrap().unwrap();
    let event = news.events().first().unwrap().kv().unwrap();
    assert_eq!(event.mod_revision(), first);
    // What the snapshot holds is read at its revision.
    let options = GetOptions::new().with_revision(first - 1);
    let got = etcd.get("k", Some(options)).await.unwrap();
    assert_eq!(got.kvs().first().unwrap().mod_revision(), first - 1);
    serving.stop();
    assert!(serving.join(LIMIT).await);
}

/// A watch that must be ended at once: from where it may start.
async fn refused_from(etcd: &mut Client, start: i64) -> i64 {
    let mut watch = watch_from(etcd, start).await;
    let ended = watch.message().await.unwrap().unwrap();
    assert!(ended.canceled(), "from {start}: {ended:?}");
    ended.compact_revision()
}

async fn watch_from(etcd: &mut Client, start: i64) -> WatchStream {
    let options = WatchOptions::new().with_start_revision(start);
    let mut watch = etcd.watch("k", Some(options)).await.unwrap();
    let created = watch.message().await.unwrap().unwrap();
    assert!(created.created());
    watch
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
