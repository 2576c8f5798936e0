//! Builds each role from its parts and runs it until it is told to stop.

use std::sync::Arc;

use super::member::Member;
use crate::coordination::election::Election;
use crate::coordination::records::{LeadRecord, ServiceRecord, Tombstone};
use crate::gateway::{Api, routed::Routed};
use crate::probes::{self, Readiness};
use crate::router::{FanOut, Remote, Router};
use crate::rpc::Channels;
use crate::settings::{Gateway, Master, Routing, Worker};
use crate::store::Options;
use crate::{master, worker};

/// Runs a gateway.
pub(super) async fn gateway(settings: Gateway) -> anyhow::Result<()> {
    let mut member = Member::new("gateway", settings.process).await?;
    let listener = Member::bind(member.settings.listen).await?;
    let http = listener.local_addr()?;
    member.show(http, None)?;
    let Some(place) = member.join().await? else {
        return member.run_until_stopped(None, None).await;
    };
    let (maps, leaders) = (member.maps(&place), member.leaders(&place));
    let masters = member.mirror::<ServiceRecord>(&place, place.keys.services("master"));
    let channels = Arc::new(Channels::default());
    let router = match settings.routing {
        Routing::Direct => Router::Direct(FanOut::new(
            maps.clone(),
            Arc::clone(&channels),
            Arc::clone(&member.clock),
            Arc::clone(&member.entropy),
        )),
        Routing::ViaMaster => Router::ViaMaster(Remote::new(
            Arc::clone(&masters),
            Arc::clone(&channels),
            Arc::clone(&member.clock),
        )),
    };
    let cluster = Arc::new(Routed {
        router,
        maps: maps.clone(),
        leaders: Arc::clone(&leaders),
        channels,
        clock: Arc::clone(&member.clock),
        entropy: Arc::clone(&member.entropy),
    });
    let api = Api::new(cluster, Arc::clone(&member.clock), member.serving.clone());
    let (router, _rules) = api.router(&member.probes(), member.gate.clone());
    probes::serve(listener, router, member.tls.clone(), &member.serving)?;
    let listed = member.listed(&maps.collections).await
        && member.listed(&maps.names).await
        && member.listed(&maps.shards).await
        && member.listed(&maps.workers).await
        && member.listed(&leaders).await
        && member.listed(&masters).await;
    if !listed {
        return member.run_until_stopped(None, None).await;
    }
    let registration = member.register(&place, http, None);
    member.set_readiness(Readiness::Ready);
    member.run_until_stopped(Some(place), Some(registration)).await
}

/// Runs a master.
pub(super) async fn master(settings: Master) -> anyhow::Result<()> {
    let mut member = Member::new("master", settings.process).await?;
    let listener = Member::bind(member.settings.listen).await?;
    let rpc_listener = Member::bind(settings.rpc_listen).await?;
    let (http, rpc) = (listener.local_addr()?, rpc_listener.local_addr()?);
    let router = member.probes().router(member.gate.clone());
    probes::serve(listener, router, member.tls.clone(), &member.serving)?;
    member.show(http, Some(rpc))?;
    let Some(place) = member.join().await? else {
        return member.run_until_stopped(None, None).await;
    };
    let (maps, leaders) = (member.maps(&place), member.leaders(&place));
    let masters = member.mirror::<ServiceRecord>(&place, place.keys.services("master"));
    let gateways = member.mirror::<ServiceRecord>(&place, place.keys.services("gateway"));
    let record = LeadRecord {
        node: member.node,
        name: member.settings.name.clone(),
        rpc_address: rpc.to_string(),
        since_ms: member.clock.wall_ms(),
        incarnation: member.entropy.uuid(),
    };
    let election = Election::start(
        (place.etcd.clone(), place.keys.clone()),
        record,
        &place.session,
        Arc::clone(&leaders),
        (Arc::clone(&member.clock), Arc::clone(&member.entropy), &member.staying),
    );
    let parts = master::Parts {
        etcd: place.etcd.clone(),
        keys: place.keys.clone(),
        maps: maps.clone(),
        masters,
        gateways,
        election,
        cluster_uid: place.cluster_uid,
        clock: Arc::clone(&member.clock),
        entropy: Arc::clone(&member.entropy),
        tasks: member.serving.clone(),
    };
    master::start(parts, rpc_listener)?;
    let listed = member.listed(&maps.collections).await
        && member.listed(&maps.names).await
        && member.listed(&maps.shards).await
        && member.listed(&maps.workers).await
        && member.listed(&leaders).await;
    if !listed {
        return member.run_until_stopped(None, None).await;
    }
    let registration = member.register(&place, http, Some(rpc));
    member.set_readiness(Readiness::Ready);
    member.run_until_stopped(Some(place), Some(registration)).await
}

/// Runs a worker.
pub(super) async fn worker(settings: Worker) -> anyhow::Result<()> {
    let mut member = Member::new("worker", settings.process).await?;
    let listener = Member::bind(member.settings.listen).await?;
    let rpc_listener = Member::bind(settings.rpc_listen).await?;
    let (http, rpc) = (listener.local_addr()?, rpc_listener.local_addr()?);
    let router = member.probes().router(member.gate.clone());
    probes::serve(listener, router, member.tls.clone(), &member.serving)?;
    member.show(http, Some(rpc))?;
    let Some(place) = member.join().await? else {
        return member.run_until_stopped(None, None).await;
    };
    let maps = member.maps(&place);
    let tombstones = member.mirror::<Tombstone>(&place, place.keys.tombstones());
    let listed = member.listed(&maps.collections).await
        && member.listed(&maps.shards).await
        && member.listed(&tombstones).await;
    if !listed {
        return member.run_until_stopped(None, None).await;
    }
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let parts = worker::Parts {
        node: member.node,
        data_dir: member.folder.path().to_owned(),
        cluster_uid: place.cluster_uid,
        collections: Arc::clone(&maps.collections),
        shards: Arc::clone(&maps.shards),
        tombstones,
        limits: worker::Limits {
            open_max: settings.environments_open_max,
            searches_max: settings.searches_max,
            store: Options {
                map_bytes: bytes(settings.map_bytes),
                map_bytes_max: bytes(settings.map_bytes_max),
                clock: Arc::clone(&member.clock),
            },
        },
        clock: Arc::clone(&member.clock),
        entropy: Arc::clone(&member.entropy),
        tasks: member.serving.clone(),
    };
    worker::start(parts, rpc_listener)?;
    let registration = member.register(&place, http, Some(rpc));
    member.set_readiness(Readiness::Ready);
    member.run_until_stopped(Some(place), Some(registration)).await
}
