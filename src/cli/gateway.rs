//! `vectorsphere gateway`: answers applications.

use std::process::ExitCode;
use std::sync::Arc;

use super::member::Member;
use super::process::Shell;
use super::{process, refuse};
use crate::coordination::records::ServiceRecord;
use crate::gateway::Api;
use crate::gateway::routed::Routed;
use crate::probes::{self, Readiness};
use crate::router::{FanOut, Remote, Router};
use crate::rpc::Channels;
use crate::security::tls;
use crate::settings::{ClientAuth, ClientCertificates, Gateway, GatewayArgs, Routing};

pub(super) fn run(args: GatewayArgs) -> ExitCode {
    let settings = match args.check() {
        Ok(settings) => settings,
        Err(error) => return refuse(&error.faults),
    };
    let process = settings.process.clone();
    process::run(&process, "gateway", None, |shell| work(shell, settings))
}

async fn work(shell: Shell, settings: Gateway) -> anyhow::Result<()> {
    let clients = settings.clients.map(asked);
    let (member, listener, _none) = Member::new("gateway", shell, settings.process, clients)?;
    if let Some(address) = settings.probe_listen {
        let listener = process::bind(address).await?;
        let health = member.probes().health_router(member.gate.clone());
        let address = probes::serve(listener, health, member.open_door(), &member.serving)?;
        tracing::info!(%address, "probes are answered to who shows no certificate");
    }
    let Some(place) = member.join().await? else {
        return member.stay(None, None).await;
    };
    let (maps, leaders) = (member.maps(&place), member.leaders(&place));
    let masters = member.mirror::<ServiceRecord>(&place, place.keys.services("master"));
    let channels = Arc::new(Channels::new(member.peers.clone()));
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
            Arc::clone(&member.entropy),
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
    let api = Api::new(
        cluster,
        Arc::clone(&member.clock),
        member.serving.clone(),
        member.metrics.clone(),
    );
    let (router, _rules) = api.router(&member.probes(), member.gate.clone());
    probes::serve(listener, router, member.door(), &member.serving)?;
    let listed = member.listed(&maps.collections).await
        && member.listed(&maps.names).await
        && member.listed(&maps.shards).await
        && member.listed(&maps.workers).await
        && member.listed(&leaders).await
        && member.listed(&masters).await;
    if !listed {
        return member.stay(None, None).await;
    }
    let registration = member.register(&place);
    member.set_readiness(Readiness::Ready);
    member.stay(Some(place), Some(registration)).await
}

/// What the settings say of the certificates of applications.
fn asked(clients: ClientCertificates) -> tls::Clients {
    tls::Clients {
        demand: match clients.demand {
            ClientAuth::Optional => tls::Demand::Optional,
            ClientAuth::Required => tls::Demand::Required,
        },
        authorities: clients.authorities,
    }
}
