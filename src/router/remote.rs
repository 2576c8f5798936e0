//! The router at a master: one hop more, the same requests and answers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::shard_map::Collection;
use super::{Error, PATIENCE};
use crate::clock::{Clock, Moment};
use crate::coordination::mirror::Mirror;
use crate::coordination::records::ServiceRecord;
use crate::entropy::Entropy;
use crate::fault::{Fault, Kind};
use crate::resilience::backoff::Backoff;
use crate::rpc::proto::router_service_client::RouterServiceClient;
use crate::rpc::{self, Channels, Request, Status, convert, proto};
use crate::security::Peer;

type Client = RouterServiceClient<rpc::channel::Channel>;

/// Asks the masters in turn. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    masters: Arc<Mirror<ServiceRecord>>,
    channels: Arc<Channels>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
    turn: Arc<AtomicUsize>,
}

impl Remote {
    /// A router over the masters that this mirror names.
    pub fn new(
        masters: Arc<Mirror<ServiceRecord>>,
        channels: Arc<Channels>,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        Self {
            masters,
            channels,
            clock,
            entropy,
            turn: Arc::default(),
        }
    }

    pub(super) async fn write(
        &self,
        collection: &Collection,
        request: proto::WriteRequest,
        deadline: Moment,
    ) -> Result<proto::WriteResponse, Error> {
        let collection = reference(collection);
        let message = proto::RouteWriteRequest {
            collection,
            request: Some(request),
        };
        let call = |mut client: Client, request| async move { client.write(request).await };
        self.ask(message, deadline, true, call).await
    }

    pub(super) async fn retrieve(
        &self,
        collection: &Collection,
        request: proto::RetrieveRequest,
        deadline: Moment,
    ) -> Result<proto::RetrieveResponse, Error> {
        let collection = reference(collection);
        let message = proto::RouteRetrieveRequest {
            collection,
            request: Some(request),
        };
        let call = |mut client: Client, request| async move { client.retrieve(request).await };
        self.ask(message, deadline, false, call).await
    }

    pub(super) async fn scroll(
        &self,
        collection: &Collection,
        request: proto::ScrollRequest,
        deadline: Moment,
    ) -> Result<proto::ScrollResponse, Error> {
        let collection = reference(collection);
        let message = proto::RouteScrollRequest {
            collection,
            request: Some(request),
        };
        let call = |mut client: Client, request| async move { client.scroll(request).await };
        self.ask(message, deadline, false, call).await
    }

    pub(super) async fn count(
        &self,
        collection: &Collection,
        request: proto::CountRequest,
        deadline: Moment,
    ) -> Result<proto::CountResponse, Error> {
        let collection = reference(collection);
        let message = proto::RouteCountRequest {
            collection,
            request: Some(request),
        };
        let call = |mut client: Client, request| async move { client.count(request).await };
        self.ask(message, deadline, false, call).await
    }

    pub(super) async fn search(
        &self,
        collection: &Collection,
        request: proto::SearchRequest,
        deadline: Moment,
    ) -> Result<proto::SearchResponse, Error> {
        let collection = reference(collection);
        let message = proto::RouteSearchRequest {
            collection,
            request: Some(request),
        };
        let call = |mut client: Client, request| async move { client.search(request).await };
        self.ask(message, deadline, false, call).await
    }

    /// Asks the masters, again while that is safe and can help.
    async fn ask<R, A, F, W>(
        &self,
        message: R,
        deadline: Moment,
        changes: bool,
        call: F,
    ) -> Result<A, Error>
    where
        R: Clone,
        F: Fn(Client, Request<R>) -> W,
        W: Future<Output = Result<rpc::Response<A>, Status>>,
    {
        let give_up = deadline.min(self.clock.now() + PATIENCE);
        let mut backoff = Backoff::default();
        loop {
            let asked = self.ask_once(&message, deadline, changes, &call).await;
            let error = match asked {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = was_not_sent(&error) || (!changes && error.kind() == Kind::Unavailable);
            let pause = backoff.next(&self.entropy);
            if !again || self.clock.now() + pause >= give_up {
                return Err(error.into());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Asks one master; the others too when it was surely not reached.
    async fn ask_once<R, A, F, W>(
        &self,
        message: &R,
        deadline: Moment,
        changes: bool,
        call: &F,
    ) -> Result<A, rpc::Error>
    where
        R: Clone,
        F: Fn(Client, Request<R>) -> W,
        W: Future<Output = Result<rpc::Response<A>, Status>>,
    {
        let masters = self.masters.view();
        let addresses: Vec<&str> = masters
            .iter()
            .map(|(_key, held)| held.value.rpc_address.as_str())
            .collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut last = rpc::Error::new(Kind::Unavailable, "router.no_master", "no master is there");
        for turn in 0..addresses.len() {
            let at = first.wrapping_add(turn) % addresses.len();
            let Some(address) = addresses.get(at) else {
                break;
            };
            let mut request = Request::new(message.clone());
            let limit = deadline.since(self.clock.now());
            request.set_timeout(limit);
            let client = rpc::channel::router_client(self.channels.to(Peer::Master, address)?);
            match tokio::time::timeout(limit, call(client, request)).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => last = rpc::from_status(&status, changes),
                Err(_elapsed) => {
                    // A change may have been made, or be made yet.
                    let kind = if changes {
                        Kind::UnknownOutcome
                    } else {
                        Kind::Timeout
                    };
                    last = rpc::Error::new(kind, "router.deadline", "no answer in time");
                },
            }
            if !was_not_sent(&last) {
                break;
            }
        }
        Err(last)
    }
}

/// Whether a request surely reached nobody.
fn was_not_sent(error: &rpc::Error) -> bool {
    let nobody = ["rpc.transport", "router.no_master"].contains(&error.code());
    error.kind() == Kind::Unavailable && nobody
}

fn reference(collection: &Collection) -> Option<proto::CollectionRef> {
    Some(proto::CollectionRef {
        collection: convert::collection_to_wire(collection.record.id),
        revision: collection.revision.0,
    })
}
