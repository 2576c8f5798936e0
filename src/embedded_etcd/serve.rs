//! The gRPC services of etcd over the state: headers, lookups, streams.

use std::pin::Pin;
use std::sync::Arc;

use etcd_client::proto::{
    PbAlarmRequest, PbAlarmResponse, PbCompactionRequest, PbCompactionResponse,
    PbDefragmentRequest, PbDefragmentResponse, PbDeleteRequest, PbDeleteResponse,
    PbDowngradeRequest, PbDowngradeResponse, PbHashKvRequest, PbHashKvResponse, PbHashRequest,
    PbHashResponse, PbKvService, PbLeaseGrantRequest, PbLeaseGrantResponse,
    PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest, PbLeaseLeasesResponse,
    PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseService, PbLeaseStatus,
    PbLeaseTimeToLiveRequest, PbLeaseTimeToLiveResponse, PbMaintenanceService, PbMoveLeaderRequest,
    PbMoveLeaderResponse, PbPutRequest, PbPutResponse, PbRangeRequest, PbRangeResponse,
    PbRangeStreamResponse, PbResponseHeader, PbSnapshotRequest, PbSnapshotResponse,
    PbStatusRequest, PbStatusResponse, PbTxnRequest, PbTxnResponse, PbWatchRequest,
    PbWatchResponse, PbWatchService,
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::Stream as Streamed;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::failure::Failure;
use super::persist::Identity;
use super::shared::{Shared, Size};
use super::state::check::check_range;
use super::state::{Done, State};
use super::watching::Stream;
use crate::entropy::Entropy;
use crate::tasks::Tasks;

/// Answers that wait on a stream for a slow client; then the stream waits too.
const STREAM_LEN_MAX: usize = 16;
/// Bytes of one change, as etcd bounds them by default.
const REQUEST_BYTES_MAX: usize = 1_572_864;
/// What this server says it is: the version whose behaviour it follows.
const VERSION: &str = "3.6.14";

/// The services.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Identity,
    pub(super) quota_bytes: u64,
    pub(super) entropy: Arc<Entropy>,
    pub(super) tasks: Tasks,
}

type Answers<T> = Pin<Box<dyn Streamed<Item = Result<T, Status>> + Send>>;

impl Server {
    /// A header at the newest revision.
    fn header(&self) -> Result<Option<PbResponseHeader>, Failure> {
        let revision = self.shared.read(|shown| Ok(shown.state.kv.revision()))?;
        Ok(self.full(Some(PbResponseHeader {
            revision,
            ..PbResponseHeader::default()
        })))
    }

    /// A header with who answers.
    fn full(&self, header: Option<PbResponseHeader>) -> Option<PbResponseHeader> {
        let Identity { cluster, member } = self.identity;
        let revision = header.map_or(0, |header| header.revision);
        Some(PbResponseHeader {
            cluster_id: cluster,
            member_id: member,
            revision,
            raft_term: 2,
        })
    }
}

/// Whether a change of so many bytes may be tried.
fn check_size(bytes: usize) -> Result<(), Failure> {
    if bytes > REQUEST_BYTES_MAX {
        return Err(Failure::TooLarge);
    }
    Ok(())
}

fn unsupported<T>() -> Result<Response<T>, Status> {
    Err(Failure::NotSupported.into())
}

#[tonic::async_trait]
impl PbKvService for Server {
    async fn range(
        &self,
        request: Request<PbRangeRequest>,
    ) -> Result<Response<PbRangeResponse>, Status> {
        let request = request.into_inner();
        check_range(&request)?;
        let (mut answer, revision) = self.shared.read(|shown| {
            let kv = &shown.state.kv;
            let now = kv.revision();
            Ok((kv.range(&request, now)?, now))
        })?;
        answer.header = self.full(Some(PbResponseHeader {
            revision,
            ..PbResponseHeader::default()
        }));
        Ok(Response::new(answer))
    }

    async fn put(&self, request: Request<PbPutRequest>) -> Result<Response<PbPutResponse>, Status> {
        let request = request.into_inner();
        check_size(request.encoded_len())?;
        let put = move |state: &mut State| state.put(&request);
        let mut answer = self.shared.change(Size::Grows, put).await?;
        answer.header = self.full(answer.header);
        Ok(Response::new(answer))
    }

    async fn delete_range(
        &self,
        request: Request<PbDeleteRequest>,
    ) -> Result<Response<PbDeleteResponse>, Status> {
        let request = request.into_inner();
        let delete = move |state: &mut State| state.delete(&request);
        let mut answer = self.shared.change(Size::Shrinks, delete).await?;
        answer.header = self.full(answer.header);
        Ok(Response::new(answer))
    }

    async fn txn(&self, request: Request<PbTxnRequest>) -> Result<Response<PbTxnResponse>, Status> {
        let request = request.into_inner();
        check_size(request.encoded_len())?;
        let txn = move |state: &mut State| state.txn(&request);
        let mut answer = self.shared.change(Size::Grows, txn).await?;
        answer.header = self.full(answer.header);
        Ok(Response::new(answer))
    }

    async fn compact(
        &self,
        request: Request<PbCompactionRequest>,
    ) -> Result<Response<PbCompactionResponse>, Status> {
        let revision = request.into_inner().revision;
        let change = move |state: &mut State| {
            state.kv.compact(revision)?;
            let done = Done {
                compacted: Some(revision),
                ..Done::default()
            };
            Ok((state.kv.revision(), done))
        };
        let now = self.shared.change(Size::Shrinks, change).await?;
        let header = PbResponseHeader {
            revision: now,
            ..PbResponseHeader::default()
        };
        Ok(Response::new(PbCompactionResponse {
            header: self.full(Some(header)),
        }))
    }

    type RangeStreamStream = Answers<PbRangeStreamResponse>;

    async fn range_stream(
        &self,
        _request: Request<PbRangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        unsupported()
    }
}

#[tonic::async_trait]
impl PbLeaseService for Server {
    async fn lease_grant(
        &self,
        request: Request<PbLeaseGrantRequest>,
    ) -> Result<Response<PbLeaseGrantResponse>, Status> {
        let PbLeaseGrantRequest { ttl, id } = request.into_inner();
        let id = if id != 0 {
            id
        } else {
            let (random, _rest) = self.entropy.uuid().as_u64_pair();
            i64::try_from(random >> 1).unwrap_or(1).max(1)
        };
        let now = self.shared.clock.now();
        let granted = move |state: &mut State| {
            let done = state.grant(id, ttl, now)?;
            Ok((done.granted, done))
        };
        let granted = self.shared.change(Size::Grows, granted).await?;
        let (id, ttl) = granted.unwrap_or((id, ttl));
        let header = self.header()?;
        Ok(Response::new(PbLeaseGrantResponse {
            header,
            id,
            ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<PbLeaseRevokeRequest>,
    ) -> Result<Response<PbLeaseRevokeResponse>, Status> {
        let id = request.into_inner().id;
        let revoke = move |state: &mut State| state.revoke(id).map(|done| ((), done));
        self.shared.change(Size::Shrinks, revoke).await?;
        Ok(Response::new(PbLeaseRevokeResponse {
            header: self.header()?,
        }))
    }

    type LeaseKeepAliveStream = Answers<PbLeaseKeepAliveResponse>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<PbLeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let mut requests = request.into_inner();
        let (sender, answers) = mpsc::channel(STREAM_LEN_MAX);
        let server = self.clone();
        self.tasks.spawn("etcd-keepalive", async move {
            loop {
                let request = tokio::select! {
                    request = requests.message() => request,
                    () = server.tasks.stopping() => return,
                };
                let Ok(Some(request)) = request else { return };
                let answer = server.shared.renew(request.id).and_then(|ttl| {
                    let ttl = ttl.unwrap_or(0);
                    let header = server.header()?;
                    Ok(PbLeaseKeepAliveResponse {
                        header,
                        id: request.id,
                        ttl,
                    })
                });
                if sender.send(answer.map_err(Status::from)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<PbLeaseTimeToLiveRequest>,
    ) -> Result<Response<PbLeaseTimeToLiveResponse>, Status> {
        let request = request.into_inner();
        let now = self.shared.clock.now();
        let mut answer = self.shared.read(|shown| {
            let Some(lease) = shown.state.leases.get(&request.id) else {
                return Ok(PbLeaseTimeToLiveResponse {
                    ttl: -1,
                    ..Default::default()
                });
            };
            let left = lease.deadline.since(now).as_secs();
            let keys = if request.keys {
                lease.keys.iter().cloned().collect()
            } else {
                Vec::new()
            };
            let ttl = i64::try_from(left).unwrap_or(i64::MAX);
            Ok(PbLeaseTimeToLiveResponse {
                ttl,
                granted_ttl: lease.ttl,
                keys,
                ..Default::default()
            })
        })?;
        answer.id = request.id;
        answer.header = self.header()?;
        Ok(Response::new(answer))
    }

    async fn lease_leases(
        &self,
        _request: Request<PbLeaseLeasesRequest>,
    ) -> Result<Response<PbLeaseLeasesResponse>, Status> {
        let leases = self.shared.read(|shown| {
            let ids = shown.state.leases.keys();
            Ok(ids.map(|id| PbLeaseStatus { id: *id }).collect())
        })?;
        Ok(Response::new(PbLeaseLeasesResponse {
            header: self.header()?,
            leases,
        }))
    }
}

#[tonic::async_trait]
impl PbWatchService for Server {
    type WatchStream = Answers<PbWatchResponse>;

    async fn watch(
        &self,
        request: Request<Streaming<PbWatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (answers, receiver) = mpsc::channel(STREAM_LEN_MAX);
        let stream = Stream {
            shared: Arc::clone(&self.shared),
            identity: self.identity,
            answers,
        };
        self.tasks.spawn(
            "etcd-watch",
            stream.run(request.into_inner(), self.tasks.clone()),
        );
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

#[tonic::async_trait]
impl PbMaintenanceService for Server {
    async fn alarm(
        &self,
        _request: Request<PbAlarmRequest>,
    ) -> Result<Response<PbAlarmResponse>, Status> {
        Ok(Response::new(PbAlarmResponse {
            header: self.header()?,
            alarms: Vec::new(),
        }))
    }

    async fn status(
        &self,
        _request: Request<PbStatusRequest>,
    ) -> Result<Response<PbStatusResponse>, Status> {
        let narrow = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        // Answered also while the log has failed, to say that and why.
        let ((revision, log_bytes, live_bytes), failed) = self.shared.look(|shown| {
            let live_bytes = shown.state.live_bytes();
            (shown.state.kv.revision(), shown.log_bytes, live_bytes)
        });
        let header = self.full(Some(PbResponseHeader {
            revision,
            ..PbResponseHeader::default()
        }));
        let applied = revision.unsigned_abs();
        let reason = |reason: Arc<str>| format!("embedded etcd: {reason}");
        Ok(Response::new(PbStatusResponse {
            header,
            version: VERSION.to_owned(),
            db_size: narrow(log_bytes),
            db_size_in_use: narrow(live_bytes),
            leader: self.identity.member,
            raft_index: applied,
            raft_applied_index: applied,
            raft_term: 2,
            errors: failed.map(reason).into_iter().collect(),
            db_size_quota: narrow(self.quota_bytes),
            storage_version: "3.6.0".to_owned(),
            ..PbStatusResponse::default()
        }))
    }

    async fn defragment(
        &self,
        _request: Request<PbDefragmentRequest>,
    ) -> Result<Response<PbDefragmentResponse>, Status> {
        unsupported()
    }

    async fn hash(
        &self,
        _request: Request<PbHashRequest>,
    ) -> Result<Response<PbHashResponse>, Status> {
        unsupported()
    }

    async fn hash_kv(
        &self,
        _request: Request<PbHashKvRequest>,
    ) -> Result<Response<PbHashKvResponse>, Status> {
        unsupported()
    }

    type SnapshotStream = Answers<PbSnapshotResponse>;

    async fn snapshot(
        &self,
        _request: Request<PbSnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        unsupported()
    }

    async fn move_leader(
        &self,
        _request: Request<PbMoveLeaderRequest>,
    ) -> Result<Response<PbMoveLeaderResponse>, Status> {
        unsupported()
    }

    async fn downgrade(
        &self,
        _request: Request<PbDowngradeRequest>,
    ) -> Result<Response<PbDowngradeResponse>, Status> {
        unsupported()
    }
}
