//! `vectorsphere master`: decides what exists and who serves it.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::member::Member;
use super::process::Shell;
use super::{process, refuse};
use crate::coordination::election::Election;
use crate::coordination::records::{LeadRecord, ServiceRecord};
use crate::master;
use crate::probes::{self, Readiness};
use crate::settings::{Master, MasterArgs};

pub(super) fn run(args: MasterArgs) -> ExitCode {
    let settings = match args.check() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.faults),
    };
    let process = settings.process.clone();
    process::run(&process, "master", Some(settings.rpc_listen), |shell| {
        work(shell, settings)
    })
}

async fn work(shell: Shell, settings: Master) -> anyhow::Result<()> {
    let (member, listener, rpc_listener) = Member::new("master", shell, settings.process, None)?;
    let rpc_listener = rpc_listener.context("no listener for gRPC")?;
    let router = member.probes().router(member.gate.clone());
    probes::serve(listener, router, member.door(), &member.serving)?;
    let Some(place) = member.join().await? else {
        return member.stay(None, None).await;
    };
    let (maps, leaders) = (member.maps(&place), member.leaders(&place));
    let masters = member.mirror::<ServiceRecord>(&place, place.keys.services("master"));
    let gateways = member.mirror::<ServiceRecord>(&place, place.keys.services("gateway"));
    let record = LeadRecord {
        node: member.node,
        name: member.card.name.clone(),
        rpc_address: member.card.rpc_address.clone().unwrap_or_default(),
        since_ms: member.clock.wall_ms(),
        incarnation: member.entropy.uuid(),
    };
    let election = Election::start(
        (place.etcd.clone(), place.keys.clone()),
        record,
        &place.session,
        Arc::clone(&leaders),
        (
            Arc::clone(&member.clock),
            Arc::clone(&member.entropy),
            &member.staying,
        ),
    );
    let parts = master::Parts {
        etcd: place.etcd.clone(),
        keys: place.keys.clone(),
        maps: maps.clone(),
        masters,
        gateways,
        election,
        peers: member.peers.clone(),
        shards: settings.shards,
        cluster_uid: place.cluster_uid,
        clock: Arc::clone(&member.clock),
        entropy: Arc::clone(&member.entropy),
        tasks: member.serving.clone(),
        metrics: member.metrics.clone(),
    };
    master::start(parts, rpc_listener)?;
    let listed = member.listed(&maps.collections).await
        && member.listed(&maps.names).await
        && member.listed(&maps.shards).await
        && member.listed(&maps.workers).await
        && member.listed(&leaders).await;
    if !listed {
        return member.stay(None, None).await;
    }
    let registration = member.register(&place);
    member.set_readiness(Readiness::Ready);
    member.stay(Some(place), Some(registration)).await
}
