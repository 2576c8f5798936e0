//! What is asked of a cluster's masters: the admin service, over mutual TLS.

use std::net::SocketAddr;
use std::time::Duration;

use super::Error;
use super::cluster_api::ClusterApi;
use super::credentials::Maker;
use super::observe::{PodSeen, Seen};
use super::render::RPC_PORT;
use crate::fault::Kind;
use crate::rpc::channel::{AdminClient, admin_client};
use crate::rpc::{self, Channels, Request, Response, Status, proto};
use crate::security::Peer;
use crate::topology::Role;

/// How long a master has to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the leader has for one change of collections: its own limit and a little more.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(35);

/// The masters of one cluster that are ready.
pub(super) struct Masters {
    channels: Channels,
    /// Name, and where it answers.
    ready: Vec<(String, SocketAddr)>,
}

impl Masters {
    /// The masters among the pods that were seen.
    pub(super) async fn of(api: &ClusterApi, maker: &Maker, seen: &Seen) -> Result<Self, Error> {
        let ready = seen.of(Role::Master).filter(|pod| pod.ready);
        let address = |pod: &PodSeen| Some((pod.name.clone(), pod.at(RPC_PORT)?));
        Ok(Self {
            channels: Channels::new(maker.peers(api).await?),
            ready: ready.filter_map(address).collect(),
        })
    }

    /// Asks one after the other until one answers; of `only` that one.
    pub(super) async fn ask<T, F>(
        &self,
        only: Option<&str>,
        call: impl Fn(AdminClient) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        self.ask_within(TIMEOUT, only, call).await
    }

    /// Has the leader change its collections. An answer that is lost leaves open whether it did: who asks
    /// looks again.
    pub(super) async fn change<F>(
        &self,
        leader: &str,
        call: impl Fn(AdminClient) -> F + Send,
    ) -> Result<proto::ChangeResponse, Error>
    where
        F: Future<Output = Result<Response<proto::ChangeResponse>, Status>> + Send,
    {
        self.ask_within(CHANGE_TIMEOUT, Some(leader), call).await
    }

    async fn ask_within<T, F>(
        &self,
        timeout: Duration,
        only: Option<&str>,
        call: impl Fn(AdminClient) -> F + Send,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>> + Send,
    {
        let mut last = rpc::Error::new(
            Kind::Unavailable,
            "operator.no_master",
            "no master is ready",
        );
        let asked = |name: &str| only.is_none_or(|only| only == name);
        for (_, address) in self.ready.iter().filter(|(name, _)| asked(name)) {
            let channel = self.channels.to(Peer::Master, &address.to_string())?;
            let client = admin_client(channel);
            last = match tokio::time::timeout(timeout, call(client)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => rpc::from_status(&status, false),
                Err(_elapsed) => {
                    rpc::Error::new(Kind::Timeout, "operator.master", "a master is silent")
                },
            };
        }
        Err(last.into())
    }

    /// The whole cluster, as the leader sees it now.
    pub(super) async fn state(&self) -> Result<proto::GetClusterStateResponse, Error> {
        self.ask(None, |mut client| async move {
            client
                .get_cluster_state(request(proto::GetClusterStateRequest {}))
                .await
        })
        .await
    }

    /// Has this master give the lead away.
    pub(super) async fn hand_over(&self, leader: &str) -> Result<(), Error> {
        self.ask(Some(leader), |mut client| async move {
            client
                .transfer_leader(request(proto::TransferLeaderRequest {}))
                .await
        })
        .await?;
        Ok(())
    }

    /// Has a worker take no new shards, or new ones again; those that it holds or may hold.
    pub(super) async fn drain(&self, worker: &str, cancel: bool) -> Result<Vec<String>, Error> {
        let asked = || proto::DrainProcessRequest {
            name: worker.to_owned(),
            cancel,
        };
        let answer = self.ask(None, |mut client| {
            let asked = asked();
            async move { client.drain_process(request(asked)).await }
        });
        Ok(answer.await?.shards)
    }
}

/// A request that is given up when nobody waits for it any more.
pub(super) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

/// The same for a change of collections.
pub(super) fn change_request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CHANGE_TIMEOUT);
    request
}
