//! The embedded etcd against a real one: the same random requests to both, and every answer and every
//! watched event compared.
//!
//! Both servers run once and get list after list, so that their revisions stay the same; each list
//! leaves no key and no lease. A list follows from the seed and its number. A failure prints the list
//! so far and the seed:
//!
//! `VECTORSPHERE_SEED=1 VECTORSPHERE_DIFFERENTIAL_LISTS=9 cargo test --release --test it differential`
//!
//! What counts is etcd 3.6. A real one that is older accepts sort orders and targets that do not exist,
//! and of a transaction with several faults it may name another: then the lists ask for none of those,
//! refused transactions are compared without the reason, and the output says so.
//!
//! Not compared: who answers (ids and the term in headers), which revisions share a message of a watch
//! (in both it depends on how far behind a watcher is), the seconds that a lease has left, ids that the
//! server makes up, and the order of leases and of a lease's keys. How one large revision is split is
//! compared by [`fragments`].

mod fragments;
mod operations;
mod run;
mod sides;
mod watches;
mod wire;

use std::time::Duration;

use operations::Real;
use run::Run;

use super::embedded_etcd;
use crate::support::real_etcd::RealEtcd;
use crate::support::skip::long;

/// Long enough for any one answer on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
/// Lists, unless `VECTORSPHERE_DIFFERENTIAL_LISTS` says how many.
const LISTS: u64 = 300;
/// Lists of the long suite.
const LONG_LISTS: u64 = 2_000;
/// The seed, unless `VECTORSPHERE_SEED` gives one.
const SEED: u64 = 20_261_125;

/// A number of the environment, or else a given one.
fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_unset) => otherwise,
    }
}

/// What the real one says that it is, such as `3.6.14`.
async fn version(real: &RealEtcd) -> String {
    let mut client = real.raw().await;
    client.status().await.unwrap().version().to_owned()
}

/// Which one that is.
fn age_of(version: &str) -> Real {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>());
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        panic!("{version:?} is no version");
    };
    if (major, minor) < (3, 6) {
        Real::Older
    } else {
        Real::Current
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_etcd_answers_as_a_real_one_does() {
    compare(LISTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_the_embedded_etcd_answers_as_a_real_one_does() {
    if long() {
        compare(LONG_LISTS).await;
    }
}

/// Gives so many lists to both.
async fn compare(lists: u64) {
    let Some(real) = RealEtcd::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (tasks, embedded) = embedded_etcd(folder.path());
    let lists = number("VECTORSPHERE_DIFFERENTIAL_LISTS", lists);
    let seed = number("VECTORSPHERE_SEED", SEED);
    let version = version(&real).await;
    eprintln!("the real etcd is {version}");
    let mut run = Run::start((real.endpoint(), &embedded), seed, age_of(&version)).await;
    for list in 0..lists {
        run.list(list).await;
    }
    run.report(lists);
    drop(run);
    tasks.stop();
    assert!(tasks.join(LIMIT).await);
}
