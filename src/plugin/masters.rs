//! What a cluster's masters say of it: asked as the operator asks, by its certificate, through a way to one
//! of their pods.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Value, json};

use super::Error;
use super::forward::Tunnel;
use super::look::{Access, Sight};
use super::pods::line;
use crate::rpc::{self, Channels, Request, proto};
use crate::security::{Credentials, Peer, Peers};

/// The port of masters for each other and the operator.
const RPC_PORT: u16 = 6335;
/// How long a master has to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the first master that is ready.
///
/// # Errors
/// None is ready, there is no way to it, or it does not answer.
pub async fn ask(access: &Access, sight: &Sight) -> Result<proto::GetClusterStateResponse, Error> {
    let name = sight.cluster.name_any();
    let lines = sight.pods.iter().map(line);
    let master = lines
        .filter(|pod| pod.role == "master" && pod.ready)
        .map(|pod| pod.name)
        .next();
    let master = master.ok_or_else(|| Error::Refused("no master is ready".to_owned()))?;
    let secret = format!("{name}-operator-tls");
    let credentials = Credentials::from_pem(
        &access.secret(&secret, "tls.crt").await?,
        &access.secret(&secret, "tls.key").await?,
        &access.secret(&secret, "ca.crt").await?,
    )?;
    let channels = Channels::new(Peers::new(credentials, &name, &access.namespace));
    let tunnel = Tunnel::open(access, &format!("pod/{master}"), (0, RPC_PORT)).await?;
    let address = format!("127.0.0.1:{}", tunnel.port());
    let mut client = rpc::channel::admin_client(channels.to(Peer::Master, &address)?);
    let mut request = Request::new(proto::GetClusterStateRequest {});
    request.set_timeout(TIMEOUT);
    let failed = |problem: String| Error::Asked {
        whom: format!("master {master}"),
        problem,
    };
    match tokio::time::timeout(TIMEOUT, client.get_cluster_state(request)).await {
        Ok(Ok(state)) => Ok(state.into_inner()),
        Ok(Err(status)) => Err(failed(format!("{}: {}", status.code(), status.message()))),
        Err(_elapsed) => Err(failed(format!("no answer within {TIMEOUT:?}"))),
    }
}

/// The state as JSON.
pub fn json_of(state: &proto::GetClusterStateResponse) -> Value {
    let processes = state.processes.iter().map(|process| {
        json!({
            "name": process.name, "role": process.role, "node": process.node,
            "version": process.version, "state": process.state, "health": process.health,
            "lease": format!("{:x}", process.lease), "rpc_address": process.rpc_address,
            "http_address": process.http_address, "since_ms": process.since_ms,
        })
    });
    let collections = state.collections.iter().map(|collection| {
        let shards = collection.shards.iter().map(|shard| {
            let report = shard.report.clone().unwrap_or_default();
            json!({
                "number": shard.number, "worker": shard.worker, "epoch": shard.epoch,
                "state": report.state, "points": report.points, "sequence": report.sequence,
                "bytes": report.bytes, "index": {
                    "kind": report.index_kind, "state": report.index_state,
                    "points": report.indexed,
                    "built": report.built.as_ref().map(|built| json!({
                        "bits": built.bits, "share": built.recall,
                    })),
                    "recall": report.quality.as_ref().map(|quality| json!({
                        "share": quality.recall, "effort": quality.effort, "samples": quality.samples,
                    })),
                }, "note": report.note,
            })
        });
        json!({
            "name": collection.name, "id": collection.id, "state": collection.state,
            "dimensions": collection.dimensions, "distance": collection.distance,
            "aliases": collection.aliases, "shards": shards.collect::<Vec<_>>(),
        })
    });
    json!({
        "cluster": state.cluster_uid, "revision": state.revision, "term": state.term,
        "leader": state.leader, "processes": processes.collect::<Vec<_>>(),
        "collections": collections.collect::<Vec<_>>(), "jobs": state.jobs,
    })
}
