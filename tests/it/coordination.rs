//! How processes agree: the core against real and embedded etcds, and the embedded one against the
//! real one.

mod core;
mod differential;
mod etcdctl;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use vectorsphere::clock::SystemClock;
use vectorsphere::embedded_etcd::{EmbeddedEtcd, Settings};
use vectorsphere::entropy::Entropy;
use vectorsphere::tasks::Tasks;

/// A fresh embedded etcd over a folder: its tasks, to stop it, and its endpoint.
fn embedded_etcd(folder: &Path) -> (Tasks, String) {
    let tasks = Tasks::new();
    let settings = Settings {
        data_dir: folder.to_owned(),
        listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        revoke_leases: false,
    };
    let entropy = Arc::new(Entropy::from_seed(7));
    let etcd = EmbeddedEtcd::start(settings, SystemClock::shared(), entropy, &tasks).unwrap();
    (tasks, format!("http://{}", etcd.address()))
}
