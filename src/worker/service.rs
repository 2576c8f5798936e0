//! The shard service: requests of routers and masters, checked, and handed to the shard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Error;
use super::host::Host;
use super::hosted::Hosted;
use super::search::{Search, brief, search};
use super::{live, reports, upkeep};
use crate::clock::Moment;
use crate::fault::Fault;
use crate::ids::{Epoch, Revision, ShardId, Term};
use crate::limits::{ANSWER_POINTS_MAX, BATCH_SEARCHES_MAX, RPC_MESSAGE_BYTES_MAX};
use crate::query::Operation;
use crate::rows::Rows;
use crate::rpc::proto::shard_service_server::ShardService;
use crate::rpc::{self, Request, Response, Status, convert, proto, to_status};
use crate::store::Snapshot;
use crate::tasks::current_lane;
use crate::telemetry::{Count, Timing};
use crate::vector::Distance;

/// Bytes of the points of one answer: it must fit into a message.
const ANSWER_BYTES_MAX: usize = RPC_MESSAGE_BYTES_MAX / 2;

/// Answers the shard service's requests.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) host: Arc<Host>,
}

fn status(error: &dyn Fault) -> Status {
    to_status(error)
}

fn shard_id(reference: &proto::ShardRef) -> Result<ShardId, Status> {
    let collection =
        convert::collection_from_wire(&reference.collection).map_err(|e| status(&e))?;
    let number = u16::try_from(reference.shard).map_err(|_large| {
        status(&Error::Invalid(format!(
            "no shard has number {}",
            reference.shard
        )))
    })?;
    Ok(ShardId { collection, number })
}

impl Service {
    /// The shard that a request names, when this worker serves it at that epoch.
    async fn primary(
        &self,
        reference: Option<proto::ShardRef>,
    ) -> Result<(Arc<Hosted>, Epoch), Status> {
        let reference = reference.unwrap_or_default();
        let (shard, epoch) = (shard_id(&reference)?, Epoch(reference.epoch));
        let primary = self
            .host
            .primary(shard, epoch, Revision(reference.revision))
            .await;
        Ok((primary.map_err(|error| status(&error))?, epoch))
    }

    /// Reads from a snapshot on a thread that may block; so many at a time. A read whose caller is
    /// gone keeps its place until it ends, by its deadline at the latest.
    async fn read<T, F>(
        &self,
        shard: Option<proto::ShardRef>,
        deadline: Moment,
        read: F,
    ) -> Result<Response<T>, Status>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Hosted>, &Snapshot) -> Result<T, Error> + Send + 'static,
    {
        self.read_or_here(shard, deadline, |_hosted| false, read)
            .await
    }

    /// The same, right here where that is brief: to wake another thread takes longer than a search
    /// that goes through an index. Only a thread that serves connections may be kept that long.
    async fn read_or_here<T, F>(
        &self,
        shard: Option<proto::ShardRef>,
        deadline: Moment,
        is_brief: impl FnOnce(&Hosted) -> bool,
        read: F,
    ) -> Result<Response<T>, Status>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Hosted>, &Snapshot) -> Result<T, Error> + Send + 'static,
    {
        let (hosted, _epoch) = self.primary(shard).await?;
        let place = Arc::clone(&self.host.searches).acquire_owned().await;
        let place = place.map_err(|_closed| status(&Error::Stopping))?;
        let clock = Arc::clone(&self.host.clock);
        // Who waits for the map to grow waits elsewhere.
        let may = current_lane() > 0 && !hosted.store.wants_room();
        let here = may && is_brief(&hosted);
        let work = move || {
            let snapshot = hosted.store.snapshot()?.until(clock, deadline);
            let done = read(&hosted, &snapshot);
            drop(place);
            done
        };
        let done = if here {
            // What a panic leaves behind is dropped, as it is on another thread.
            catch_unwind(AssertUnwindSafe(work)).map_err(|_panicked| status(&Error::Broken))?
        } else {
            let done = self.host.tasks.spawn_blocking(work).await;
            done.map_err(|_panicked| status(&Error::Broken))?
        };
        done.map(Response::new).map_err(|error| status(&error))
    }
}

fn limit(limit: u32) -> usize {
    usize::try_from(limit)
        .unwrap_or(ANSWER_POINTS_MAX)
        .min(ANSWER_POINTS_MAX)
}

fn search_from_wire(search: &proto::Search) -> Result<Search, rpc::Error> {
    Ok(Search {
        vector: convert::vector_from_wire(&search.vector)?,
        filter: convert::filter_from_wire(&search.filter)?,
        top: limit(search.top),
        score_threshold: search.score_threshold,
        exact: search.exact,
        effort: search.effort,
        payload: convert::selector_from_wire(search.payload.as_ref())?,
        with_vector: search.with_vector,
        exclude: search
            .exclude
            .as_ref()
            .map(convert::id_from_wire)
            .transpose()?,
    })
}

#[rpc::async_trait]
impl ShardService for Service {
    async fn write(
        &self,
        request: Request<proto::WriteRequest>,
    ) -> Result<Response<proto::WriteResponse>, Status> {
        let deadline = self.host.deadline(&request);
        let request = request.into_inner();
        let operation = convert::operation_from_wire(request.operation).map_err(|e| status(&e))?;
        let shard = shard_id(&request.shard.clone().unwrap_or_default())?;
        let (hosted, epoch) = self.primary(request.shard).await?;
        if let Operation::Upsert(points) = &operation {
            let checked = self.host.check_slots(shard, points);
            checked.map_err(|e| status(&e))?;
        }
        let stopwatch = self.host.metrics.start(Timing::WorkerWrite);
        let written = hosted
            .write(epoch, operation, deadline)
            .await
            .map_err(|e| status(&e))?;
        stopwatch.stop();
        let points = self.host.metrics.count(Count::WorkerPointsWritten);
        points.inc_by(written.points);
        Ok(Response::new(proto::WriteResponse {
            sequence: written.sequence.0,
            points: written.points,
        }))
    }

    async fn retrieve(
        &self,
        request: Request<proto::RetrieveRequest>,
    ) -> Result<Response<proto::RetrieveResponse>, Status> {
        let deadline = self.host.deadline(&request);
        let request = request.into_inner();
        let ids = convert::ids_from_wire(&request.ids).map_err(|e| status(&e))?;
        let payload =
            convert::selector_from_wire(request.payload.as_ref()).map_err(|e| status(&e))?;
        self.read(request.shard, deadline, move |_hosted, snapshot| {
            let records = snapshot.retrieve(&ids, &payload, request.vector)?;
            let records = records.into_iter().map(convert::record_to_wire).collect();
            Ok(proto::RetrieveResponse { records })
        })
        .await
    }

    async fn scroll(
        &self,
        request: Request<proto::ScrollRequest>,
    ) -> Result<Response<proto::ScrollResponse>, Status> {
        let deadline = self.host.deadline(&request);
        let request = request.into_inner();
        let from = request.from.as_ref().map(convert::id_from_wire).transpose();
        let from = from.map_err(|e| status(&e))?;
        let filter = convert::filter_from_wire(&request.filter).map_err(|e| status(&e))?;
        let payload =
            convert::selector_from_wire(request.payload.as_ref()).map_err(|e| status(&e))?;
        let limit = limit(request.limit);
        self.read(request.shard, deadline, move |hosted, snapshot| {
            hosted.own_fields.count(&filter, snapshot.live().len());
            let page = snapshot.scroll((from, limit), &filter, &payload, request.vector)?;
            Ok(proto::ScrollResponse {
                records: page
                    .records
                    .into_iter()
                    .map(convert::record_to_wire)
                    .collect(),
                next: page.next.map(convert::id_to_wire),
            })
        })
        .await
    }

    async fn count(
        &self,
        request: Request<proto::CountRequest>,
    ) -> Result<Response<proto::CountResponse>, Status> {
        let deadline = self.host.deadline(&request);
        let request = request.into_inner();
        let filter = convert::filter_from_wire(&request.filter).map_err(|e| status(&e))?;
        self.read(request.shard, deadline, move |hosted, snapshot| {
            hosted.own_fields.count(&filter, snapshot.live().len());
            Ok(proto::CountResponse {
                points: snapshot.matching(&filter)?.len(),
            })
        })
        .await
    }

    async fn search(
        &self,
        request: Request<proto::SearchRequest>,
    ) -> Result<Response<proto::SearchResponse>, Status> {
        let deadline: Moment = self.host.deadline(&request);
        let request = request.into_inner();
        if request.searches.len() > BATCH_SEARCHES_MAX {
            let most = BATCH_SEARCHES_MAX;
            return Err(status(&Error::Invalid(format!(
                "more than {most} searches at once"
            ))));
        }
        let searches = request.searches.iter().map(search_from_wire);
        let searches = searches
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| status(&e))?;
        let host = Arc::clone(&self.host);
        let is_brief = brief(&searches);
        let answer = move |hosted: &Arc<Hosted>, snapshot: &Snapshot| {
            let stopwatch = host.metrics.start(Timing::WorkerSearch);
            let mut results = Vec::with_capacity(searches.len());
            let mut room = ANSWER_BYTES_MAX;
            for together in searches.chunk_by(Search::goes_with) {
                let late = (host.clock.as_ref(), deadline);
                for points in search(hosted, snapshot, together, late, &mut room)? {
                    let points = points.into_iter().map(convert::scored_to_wire).collect();
                    results.push(proto::SearchResult { points });
                }
            }
            stopwatch.stop();
            live::sample(&host, hosted, &searches);
            Ok(proto::SearchResponse { results })
        };
        self.read_or_here(request.shard, deadline, is_brief, answer)
            .await
    }

    async fn create_shard(
        &self,
        request: Request<proto::CreateShardRequest>,
    ) -> Result<Response<proto::CreateShardResponse>, Status> {
        let request = request.into_inner();
        let shard = shard_id(&request.shard.unwrap_or_default())?;
        let distance = Distance::parse(&request.distance).ok_or_else(|| {
            status(&Error::Invalid(format!(
                "unknown distance {:?}",
                request.distance
            )))
        })?;
        let dimensions = usize::try_from(request.dimensions).unwrap_or(usize::MAX);
        let made = self
            .host
            .create(shard, Term(request.term), dimensions, distance)
            .await;
        made.map_err(|error| status(&error))?;
        Ok(Response::new(proto::CreateShardResponse {}))
    }

    async fn settle(
        &self,
        request: Request<proto::SettleRequest>,
    ) -> Result<Response<proto::SettleResponse>, Status> {
        let deadline = self.host.deadline(&request);
        let request = request.into_inner();
        let collection =
            convert::collection_from_wire(&request.collection).map_err(|e| status(&e))?;
        let revision = Revision(request.revision);
        let reached = self.host.collections.wait_until(revision, deadline).await;
        reached.map_err(|error| status(&error))?;
        for (shard, _place) in self.host.all_places() {
            if shard.collection == collection {
                let hosted = self.host.opened(shard).await.map_err(|e| status(&e))?;
                let settled = upkeep::settle(&self.host, shard, &hosted).await;
                settled.map_err(|error| status(&error))?;
            }
        }
        Ok(Response::new(proto::SettleResponse {}))
    }

    async fn shards(
        &self,
        _request: Request<proto::ShardsRequest>,
    ) -> Result<Response<proto::ShardsResponse>, Status> {
        let shards = reports::gather(&self.host, reports::Depth::Counts).await;
        let shards = shards.map_err(|error| status(&error))?;
        let disk = reports::disk(&self.host).await;
        Ok(Response::new(proto::ShardsResponse { shards, disk }))
    }
}
