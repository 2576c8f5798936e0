//! Clusters in trouble.

use super::World;
use crate::operator::error::VOLUME_LOST;
use crate::operator::external::Asked;
use crate::rpc::proto;
use crate::topology::{Role, units};

/// What fails.
pub(super) fn of_trouble() -> Vec<(&'static str, World)> {
    let made = |change: fn(&mut World)| World::changed(change);
    let broken = |trouble: &'static str| {
        World::changed(|world| {
            let gateway = world.of(Role::Gateway);
            gateway.ready = false;
            gateway.trouble = Some(trouble.to_owned());
        })
    };
    vec![
        ("crashing", broken("CrashLoopBackOff")),
        ("unschedulable", broken("it is on no node: no room")),
        (
            "not ending",
            made(|world| {
                let worker = world.of(Role::Worker);
                (worker.ready, worker.leaving) = (false, true);
                worker.trouble = Some("it was told to end, and node1 has not ended it".to_owned());
            }),
        ),
        (
            "not ready",
            made(|world| world.of(Role::Master).ready = false),
        ),
        (
            "worker lost",
            made(|world| {
                world.seen.pods.retain(|pod| pod.role != Role::Worker);
            }),
        ),
        (
            "etcd down",
            made(|world| world.of(Role::Etcd).ready = false),
        ),
    ]
}

/// What fails beside pods.
pub(super) fn of_other_trouble() -> Vec<(&'static str, World)> {
    let made = |change: fn(&mut World)| World::changed(change);
    vec![
        (
            "external away",
            made(|world| {
                world.spec.etcd.managed = None;
                world.seen.pods.retain(|pod| pod.role != Role::Etcd);
                world.masters = Err("a master is silent".to_owned());
            }),
        ),
        (
            "external refuses",
            made(|world| {
                world.spec.etcd.managed = None;
                world.seen.pods.retain(|pod| pod.role != Role::Etcd);
                world.masters = Err("no master is ready".to_owned());
                let why = "etcd refuses user \"search\" by this password";
                world.external = Some(Asked::Refuses(why.to_owned()));
            }),
        ),
        (
            "external",
            made(|world| {
                world.spec.etcd.managed = None;
                world.seen.pods.retain(|pod| pod.role != Role::Etcd);
            }),
        ),
        (
            "masters away",
            made(|world| world.masters = Err("a master is silent".to_owned())),
        ),
        (
            "no leader",
            made(|world| world.masters.as_mut().unwrap().leader.clear()),
        ),
        (
            "another leader",
            made(|world| {
                "demo-master-1".clone_into(&mut world.masters.as_mut().unwrap().leader);
            }),
        ),
        ("shard lost", made(|world| world.fail_shards(1))),
    ]
}

/// Steps that fail, and a cluster that is deleted.
pub(super) fn of_failed_steps() -> Vec<(&'static str, World)> {
    let made = |change: fn(&mut World)| World::changed(change);
    vec![
        (
            "cannot grow",
            made(|world| {
                world.spec.worker.storage.size = "20Gi".to_owned();
                let why = "volumes: the class cannot expand".to_owned();
                world.errors.push(("operator.kubernetes".to_owned(), why));
            }),
        ),
        (
            "volume lost",
            made(|world| {
                let why = "workers: the volume of demo-worker-0 is gone".to_owned();
                world.errors.push((VOLUME_LOST.to_owned(), why));
            }),
        ),
        (
            "volume full",
            made(|world| {
                let capacity = &world.seen.claims[1].capacity;
                let bytes = units(capacity).unwrap();
                let state = world.masters.as_mut().unwrap();
                state.processes.push(proto::ProcessState {
                    name: "demo-worker-0".to_owned(),
                    disk: Some(proto::Disk {
                        bytes,
                        used_bytes: bytes,
                    }),
                    ..proto::ProcessState::default()
                });
            }),
        ),
        (
            "certificate ended",
            made(|world| {
                world.certificates[0].1 = "2020-01-01T00:00:00Z".to_owned();
            }),
        ),
        (
            "certificate not issued",
            made(|world| {
                let why = "certificates: no key".to_owned();
                world.errors.push(("operator.certificate".to_owned(), why));
            }),
        ),
        (
            "protected",
            made(|world| world.ending = Some(("Protected", "it is".to_owned()))),
        ),
        (
            "no backup",
            made(|world| world.ending = Some(("BackupFailed", "none".to_owned()))),
        ),
        (
            "ending",
            made(|world| {
                world.ending = Some(("VolumeInUse", "4 pods have not ended".to_owned()));
                world.acted = false;
            }),
        ),
    ]
}
