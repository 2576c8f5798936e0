//! `vectorsphere worker`: keeps shards and answers for them.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::member::Member;
use super::process::Shell;
use super::{process, refuse};
use crate::coordination::records::Tombstone;
use crate::probes::{self, Readiness};
use crate::settings::{Worker, WorkerArgs};
use crate::store::Options;
use crate::worker;

pub(super) fn run(args: WorkerArgs) -> ExitCode {
    let settings = match args.check() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.faults),
    };
    let process = settings.process.clone();
    process::run(&process, "worker", Some(settings.rpc_listen), |shell| {
        work(shell, settings)
    })
}

async fn work(shell: Shell, settings: Worker) -> anyhow::Result<()> {
    let build_threads = settings.process.threads;
    let (member, listener, rpc_listener) = Member::new("worker", shell, settings.process, None)?;
    let rpc_listener = rpc_listener.context("no listener for gRPC")?;
    let router = member.probes().router(member.gate.clone());
    probes::serve(listener, router, member.door(), &member.serving)?;
    let Some(place) = member.join().await? else {
        return member.stay(None, None).await;
    };
    let maps = member.maps(&place);
    let tombstones = member.mirror::<Tombstone>(&place, place.keys.tombstones());
    let listed = member.listed(&maps.collections).await
        && member.listed(&maps.shards).await
        && member.listed(&tombstones).await;
    if !listed {
        return member.stay(None, None).await;
    }
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let parts = worker::Parts {
        node: member.node,
        data_dir: member.folder.path().to_owned(),
        cluster_uid: place.cluster_uid,
        peers: member.peers.clone(),
        collections: Arc::clone(&maps.collections),
        shards: Arc::clone(&maps.shards),
        tombstones,
        limits: worker::Limits {
            open_max: settings.environments_open_max,
            searches_max: settings.searches_max,
            build_threads,
            store: Options {
                map_bytes: bytes(settings.map_bytes),
                map_bytes_max: bytes(settings.map_bytes_max),
                clock: Arc::clone(&member.clock),
            },
        },
        clock: Arc::clone(&member.clock),
        entropy: Arc::clone(&member.entropy),
        tasks: member.serving.clone(),
        metrics: member.metrics.clone(),
    };
    worker::start(parts, rpc_listener)?;
    let registration = member.register(&place);
    member.set_readiness(Readiness::Ready);
    member.stay(Some(place), Some(registration)).await
}
