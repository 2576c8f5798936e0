//! The router where it runs: one call for each shard, at the same time, and one answer.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;

use super::shard_map::{Collection, Maps, ShardTarget};
use super::split::{shard_of, split};
use super::{Error, PATIENCE, ShardFailure, merge};
use crate::clock::{Clock, Moment};
use crate::entropy::Entropy;
use crate::fault::{Fault, Kind};
use crate::resilience::backoff::Backoff;
use crate::rpc::proto::shard_service_client::ShardServiceClient;
use crate::rpc::{self, Channels, Request, Status, convert, proto};
use crate::security::Peer;

type Client = ShardServiceClient<rpc::channel::Channel>;

/// Fans requests out to workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FanOut {
    maps: Maps,
    channels: Arc<Channels>,
    clock: Arc<dyn Clock>,
    entropy: Arc<Entropy>,
}

impl FanOut {
    /// A router over these mirrors.
    pub fn new(
        maps: Maps,
        channels: Arc<Channels>,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
    ) -> Self {
        Self {
            maps,
            channels,
            clock,
            entropy,
        }
    }

    pub(super) async fn write(
        &self,
        collection: &Collection,
        request: proto::WriteRequest,
        deadline: Moment,
    ) -> Result<proto::WriteResponse, Error> {
        let shards = self.whole_map(collection, deadline).await?;
        let parts = split(collection, &shards, request)?;
        let answers = self
            .each(
                About {
                    collection,
                    deadline,
                    change: Change::Yes,
                },
                parts,
                |mut client, request| async move { client.write(request).await },
            )
            .await?;
        Ok(proto::WriteResponse {
            sequence: answers
                .iter()
                .map(|(_shard, answer)| answer.sequence)
                .max()
                .unwrap_or(0),
            points: answers.iter().map(|(_shard, answer)| answer.points).sum(),
        })
    }

    pub(super) async fn retrieve(
        &self,
        collection: &Collection,
        request: proto::RetrieveRequest,
        deadline: Moment,
    ) -> Result<proto::RetrieveResponse, Error> {
        let shards = self.whole_map(collection, deadline).await?;
        let mut parts = BTreeMap::new();
        let mut order = BTreeMap::new();
        for (place, wire) in request.ids.into_iter().enumerate() {
            let id = convert::id_from_wire(&wire)?;
            let shard = shard_of(collection, &shards, id)?;
            order.entry(id).or_insert(place);
            parts.entry(shard).or_insert_with(Vec::new).push(wire);
        }
        let parts = parts
            .into_iter()
            .map(|(shard, ids)| {
                let request = proto::RetrieveRequest {
                    shard: None,
                    ids,
                    payload: request.payload.clone(),
                    vector: request.vector,
                };
                (shard, request)
            })
            .collect();
        let answers = self
            .each(
                About {
                    collection,
                    deadline,
                    change: Change::No,
                },
                parts,
                |mut client, request| async move { client.retrieve(request).await },
            )
            .await?;
        let mut records = Vec::new();
        for record in answers
            .into_iter()
            .flat_map(|(_shard, answer)| answer.records)
        {
            let id = convert::id_from_wire(&record.id.clone().unwrap_or_default())?;
            records.push((order.get(&id).copied().unwrap_or(usize::MAX), record));
        }
        records.sort_by_key(|(place, _record)| *place);
        let records = records.into_iter().map(|(_place, record)| record).collect();
        Ok(proto::RetrieveResponse { records })
    }

    pub(super) async fn scroll(
        &self,
        collection: &Collection,
        request: proto::ScrollRequest,
        deadline: Moment,
    ) -> Result<proto::ScrollResponse, Error> {
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
        let answers = self
            .each(
                About {
                    collection,
                    deadline,
                    change: Change::No,
                },
                self.all(collection, &request, deadline).await?,
                |mut client, request| async move { client.scroll(request).await },
            )
            .await?;
        let pages = answers.into_iter().map(|(_shard, page)| page).collect();
        Ok(merge::pages(pages, limit)?)
    }

    pub(super) async fn count(
        &self,
        collection: &Collection,
        request: proto::CountRequest,
        deadline: Moment,
    ) -> Result<proto::CountResponse, Error> {
        let answers = self
            .each(
                About {
                    collection,
                    deadline,
                    change: Change::No,
                },
                self.all(collection, &request, deadline).await?,
                |mut client, request| async move { client.count(request).await },
            )
            .await?;
        let points = answers.iter().map(|(_shard, answer)| answer.points).sum();
        Ok(proto::CountResponse { points })
    }

    pub(super) async fn search(
        &self,
        collection: &Collection,
        request: proto::SearchRequest,
        deadline: Moment,
    ) -> Result<proto::SearchResponse, Error> {
        let tops: Vec<u32> = request.searches.iter().map(|search| search.top).collect();
        let answers = self
            .each(
                About {
                    collection,
                    deadline,
                    change: Change::No,
                },
                self.all(collection, &request, deadline).await?,
                |mut client, request| async move { client.search(request).await },
            )
            .await?;
        let mut found: Vec<Vec<proto::SearchResult>> = tops.iter().map(|_| Vec::new()).collect();
        for (_shard, answer) in answers {
            for (of_search, result) in found.iter_mut().zip(answer.results) {
                of_search.push(result);
            }
        }
        let results = found.into_iter().zip(tops).map(|(found, top)| {
            let top = usize::try_from(top).unwrap_or(usize::MAX);
            merge::nearest(found, collection.record.distance, top)
        });
        Ok(proto::SearchResponse {
            results: results.collect::<Result<_, _>>()?,
        })
    }

    /// The shards of a collection once the map names them all: from half a map points would be put
    /// where nobody looks for them, and a change would be called done that part of it was not.
    async fn whole_map(
        &self,
        collection: &Collection,
        deadline: Moment,
    ) -> Result<Vec<ShardTarget>, Error> {
        let give_up = deadline.min(self.clock.now() + PATIENCE);
        let mut backoff = Backoff::default();
        loop {
            let shards = self.maps.shards(collection.record.id);
            if shards.len() == usize::from(collection.record.shard_count) {
                return Ok(shards);
            }
            let pause = backoff.next(&self.entropy);
            if self.clock.now() + pause >= give_up {
                return Err(Error::MapIncomplete {
                    collection: collection.record.name.to_string(),
                    known: shards.len(),
                    of: collection.record.shard_count,
                });
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The same request for every shard.
    async fn all<R: Clone>(
        &self,
        collection: &Collection,
        request: &R,
        deadline: Moment,
    ) -> Result<Vec<(u16, R)>, Error> {
        let shards = self.whole_map(collection, deadline).await?;
        let parts = shards.iter().map(|shard| (shard.number, request.clone()));
        Ok(parts.collect())
    }

    /// Asks each shard its part at the same time; all answers, or which failed.
    async fn each<R, A, F, W>(
        &self,
        about: About<'_>,
        parts: Vec<(u16, R)>,
        call: F,
    ) -> Result<Vec<(u16, A)>, Error>
    where
        R: Addressed + Clone,
        F: Fn(Client, Request<R>) -> W,
        W: Future<Output = Result<rpc::Response<A>, Status>>,
    {
        let of = parts.len();
        let calls = parts.into_iter().map(|(number, request)| {
            let call = &call;
            async move {
                let answer = self.ask(about, (number, request), call).await;
                (number, answer)
            }
        });
        let mut answers = Vec::with_capacity(of);
        let mut failed = Vec::new();
        for (number, answer) in join_all(calls).await {
            match answer {
                Ok(answer) => answers.push((number, answer)),
                Err((worker, error)) => {
                    failed.push(ShardFailure {
                        shard: number,
                        worker,
                        error,
                    });
                },
            }
        }
        if failed.is_empty() {
            return Ok(answers);
        }
        Err(Error::Shards {
            collection: about.collection.record.name.to_string(),
            of,
            failed,
        })
    }

    /// Asks one shard, again while that is safe and can help.
    async fn ask<R, A, F, W>(
        &self,
        about: About<'_>,
        (number, request): (u16, R),
        call: &F,
    ) -> Result<A, (String, rpc::Error)>
    where
        R: Addressed + Clone,
        F: Fn(Client, Request<R>) -> W,
        W: Future<Output = Result<rpc::Response<A>, Status>>,
    {
        let give_up = about.deadline.min(self.clock.now() + PATIENCE);
        let mut backoff = Backoff::default();
        loop {
            let shards = self.maps.shards(about.collection.record.id);
            let target = shards.into_iter().find(|shard| shard.number == number);
            let (worker, error) = match target {
                Some(target) => match self.call(about, &target, request.clone(), call).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => (target.worker, error),
                },
                None => (
                    String::from("no worker"),
                    absent("the shard is not in the map"),
                ),
            };
            // A conflict that a worker answers is another epoch than the map's: the map catches up.
            let behind = error.kind() == Kind::Conflict && error.code() == "rpc.answered";
            let again = behind || error.kind() == Kind::Unavailable;
            let pause = backoff.next(&self.entropy);
            if !again || self.clock.now() + pause >= give_up {
                return Err((worker, error));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn call<R, A, F, W>(
        &self,
        about: About<'_>,
        target: &ShardTarget,
        mut message: R,
        call: &F,
    ) -> Result<A, rpc::Error>
    where
        R: Addressed,
        F: Fn(Client, Request<R>) -> W,
        W: Future<Output = Result<rpc::Response<A>, Status>>,
    {
        let address = target
            .address
            .as_ref()
            .ok_or_else(|| absent("the worker is away"))?;
        *message.shard() = Some(proto::ShardRef {
            collection: convert::collection_to_wire(about.collection.record.id),
            shard: u32::from(target.number),
            epoch: target.record.epoch.0,
            revision: target.revision.0,
        });
        let limit = about.deadline.since(self.clock.now());
        let mut request = Request::new(message);
        request.set_timeout(limit);
        let client = rpc::channel::shard_client(self.channels.to(Peer::Worker, address)?);
        match tokio::time::timeout(limit, call(client, request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(rpc::from_status(
                &status,
                matches!(about.change, Change::Yes),
            )),
            // A change may have been made, or be made yet.
            Err(_elapsed) => Err(rpc::Error::new(
                match about.change {
                    Change::Yes => Kind::UnknownOutcome,
                    Change::No => Kind::Timeout,
                },
                "router.deadline",
                "no answer in time",
            )),
        }
    }
}

/// What the calls of one request have in common.
#[derive(Debug, Clone, Copy)]
struct About<'a> {
    collection: &'a Collection,
    deadline: Moment,
    change: Change,
}

/// Whether a call changes something, so that a lost answer leaves its outcome unknown.
#[derive(Debug, Clone, Copy)]
enum Change {
    Yes,
    No,
}

fn absent(what: &str) -> rpc::Error {
    rpc::Error::new(Kind::Unavailable, "router.away", what)
}

/// A request that names a shard.
trait Addressed {
    fn shard(&mut self) -> &mut Option<proto::ShardRef>;
}

macro_rules! addressed {
    ($($request:ident),*) => {$(
        impl Addressed for proto::$request {
            fn shard(&mut self) -> &mut Option<proto::ShardRef> {
                &mut self.shard
            }
        }
    )*};
}
addressed!(
    WriteRequest,
    RetrieveRequest,
    ScrollRequest,
    CountRequest,
    SearchRequest
);
