//! One of the two servers: performs an operation and gives its answer in the form that is compared.

use etcd_client::proto::{
    PbCompactionResponse, PbDeleteResponse, PbLeaseGrantRequest, PbLeaseGrantResponse,
    PbLeaseKeepAliveRequest, PbLeaseKeepAliveResponse, PbLeaseLeasesRequest, PbLeaseLeasesResponse,
    PbLeaseRevokeRequest, PbLeaseRevokeResponse, PbLeaseTimeToLiveResponse, PbPutResponse,
    PbRangeResponse, PbResponseHeader, PbTxnResponse, PbWatchResponse,
};
use prost::Message;
use tonic::{Code, Status, Streaming};

use super::LIMIT;
use super::operations::Operation;
use super::watches::Watches;
use super::wire::Wire;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const DELETE: &str = "/etcdserverpb.KV/DeleteRange";
pub(super) const TXN: &str = "/etcdserverpb.KV/Txn";
const COMPACT: &str = "/etcdserverpb.KV/Compact";
const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const TIME_TO_LIVE: &str = "/etcdserverpb.Lease/LeaseTimeToLive";
const LEASES: &str = "/etcdserverpb.Lease/LeaseLeases";

/// An answer, without what may differ between two servers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// The revision of its header; 0 for a refusal.
    pub(super) revision: i64,
    pub(super) what: What,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Refused {
        code: Code,
        message: String,
    },
    Put(PbPutResponse),
    Range(PbRangeResponse),
    Delete(PbDeleteResponse),
    Txn(PbTxnResponse),
    Compacted(PbCompactionResponse),
    Granted(PbLeaseGrantResponse),
    /// Granted, and what was answered when it was revoked at once.
    GrantedBriefly(PbLeaseGrantResponse, Box<What>),
    Revoked(PbLeaseRevokeResponse),
    KeptAlive(PbLeaseKeepAliveResponse),
    TimeToLive(PbLeaseTimeToLiveResponse),
    Leases(PbLeaseLeasesResponse),
    Watch(PbWatchResponse),
}

/// A response that says at which revision it was made.
trait Headed {
    fn header(&mut self) -> &mut Option<PbResponseHeader>;
}

macro_rules! headed {
    ($($response:ty),+ $(,)?) => {
        $(
            impl Headed for $response {
                fn header(&mut self) -> &mut Option<PbResponseHeader> {
                    &mut self.header
                }
            }
        )+
    };
}

headed!(
    PbPutResponse,
    PbRangeResponse,
    PbDeleteResponse,
    PbTxnResponse,
    PbCompactionResponse,
    PbLeaseGrantResponse,
    PbLeaseRevokeResponse,
    PbLeaseKeepAliveResponse,
    PbLeaseTimeToLiveResponse,
    PbLeaseLeasesResponse,
    PbWatchResponse,
);

/// Leaves of the header its revision, and returns that. The headers inside of a transaction's answer
/// name no server, and stay whole.
fn trim(response: &mut impl Headed) -> i64 {
    let Some(header) = response.header() else {
        return 0;
    };
    *header = PbResponseHeader {
        revision: header.revision,
        ..PbResponseHeader::default()
    };
    header.revision
}

impl Answer {
    fn of<A: Headed>(answered: Result<A, Status>, what: impl FnOnce(A) -> What) -> Self {
        match answered {
            Ok(mut response) => Self {
                revision: trim(&mut response),
                what: what(response),
            },
            Err(status) => Self {
                revision: 0,
                what: What::Refused {
                    code: status.code(),
                    message: status.message().to_owned(),
                },
            },
        }
    }

    /// The words of a refusal.
    pub(super) fn refusal(&self) -> Option<&str> {
        if let What::Refused { message, .. } = &self.what {
            return Some(message);
        }
        let What::Watch(created) = &self.what else {
            return None;
        };
        let refused = created.canceled && created.created;
        refused.then_some(&created.cancel_reason)
    }
}

/// One server.
#[derive(Debug)]
pub(super) struct Side {
    wire: Wire,
    pub(super) watches: Watches,
}

impl Side {
    pub(super) async fn connect(endpoint: &str) -> Self {
        let wire = Wire::connect(endpoint).await;
        let watches = Watches::new(wire.clone());
        Self { wire, watches }
    }

    pub(super) async fn perform(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Put(request) => self.ask(PUT, request, What::Put).await,
            Operation::Range(request) => self.ask(RANGE, request, What::Range).await,
            Operation::Delete(request) => self.ask(DELETE, request, What::Delete).await,
            Operation::Txn(request) => self.ask(TXN, request, What::Txn).await,
            Operation::Compact(request) => self.ask(COMPACT, request, What::Compacted).await,
            Operation::Grant(request) => self.ask(GRANT, request, What::Granted).await,
            Operation::GrantBriefly(request) => self.grant_briefly(*request).await,
            Operation::Revoke(request) => self.ask(REVOKE, request, What::Revoked).await,
            Operation::KeepAlive(request) => {
                Answer::of(self.keep_alive(*request).await, What::KeptAlive)
            },
            Operation::TimeToLive(request) => self.ask(TIME_TO_LIVE, request, time_to_live).await,
            Operation::Leases => self.ask(LEASES, &PbLeaseLeasesRequest {}, leases).await,
            Operation::Watch(watching) => {
                Answer::of(Ok(self.watches.create(watching).await), What::Watch)
            },
            Operation::Cancel(id) => Answer::of(Ok(self.watches.cancel(*id).await), What::Watch),
        }
    }

    async fn ask<Q, A>(
        &self,
        method: &'static str,
        request: &Q,
        what: impl FnOnce(A) -> What,
    ) -> Answer
    where
        Q: Message + Clone + Send + Sync + 'static,
        A: Message + Default + Headed + Send + Sync + 'static,
    {
        let answered = self.wire.call::<Q, A>(method, request.clone()).await;
        Answer::of(answered, what)
    }

    /// A lease of seconds ends before anything else is asked, so that none ends by itself.
    async fn grant_briefly(&self, request: PbLeaseGrantRequest) -> Answer {
        let granted = self.wire.call(GRANT, request).await;
        let mut granted: PbLeaseGrantResponse = match granted {
            Ok(granted) => granted,
            Err(status) => {
                return Answer::of(Err::<PbLeaseGrantResponse, _>(status), What::Granted);
            },
        };
        let revoke = PbLeaseRevokeRequest { id: granted.id };
        let revoked = self.ask(REVOKE, &revoke, What::Revoked).await;
        if request.id == 0 {
            assert!(granted.id > 0, "the server makes up an id: {granted:?}");
            granted.id = 0;
        }
        Answer {
            revision: trim(&mut granted),
            what: What::GrantedBriefly(granted, Box::new(revoked.what)),
        }
    }

    async fn keep_alive(
        &self,
        request: PbLeaseKeepAliveRequest,
    ) -> Result<PbLeaseKeepAliveResponse, Status> {
        let requests = tokio_stream::once(request);
        let mut answers: Streaming<PbLeaseKeepAliveResponse> =
            self.wire.stream(KEEP_ALIVE, requests).await?;
        let answer = tokio::time::timeout(LIMIT, answers.message()).await;
        let answer = answer.expect("an answer in time")?;
        Ok(answer.expect("an answer before the stream ends"))
    }
}

/// Of the seconds that are left only whether there are any.
fn time_to_live(mut response: PbLeaseTimeToLiveResponse) -> What {
    response.ttl = response.ttl.min(0);
    response.keys.sort();
    What::TimeToLive(response)
}

fn leases(mut response: PbLeaseLeasesResponse) -> What {
    response.leases.sort_by_key(|lease| lease.id);
    What::Leases(response)
}
