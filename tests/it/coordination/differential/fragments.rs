//! How one large revision comes to a watcher: in one message, or in parts that both servers cut at the
//! same events.

use etcd_client::proto::{
    PbPutRequest, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp, PbTxnResponse, PbWatchRequest,
    PbWatchResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::LIMIT;
use super::operations::Watching;
use super::sides::TXN;
use super::watches::{WATCH, create_request};
use super::wire::Wire;
use crate::coordination::embedded_etcd;
use crate::support::real_etcd::RealEtcd;

/// Puts of one transaction, and the bytes of each value; a transaction has less than 1.5 MiB. Put
/// again, with the values before, the last four are more than the 2 MiB at which a message is split.
const SHAPES: [(usize, usize); 6] = [
    (4, 100),
    (2, 500_000),
    (2, 700_000),
    (3, 480_000),
    (10, 140_000),
    (100, 14_000),
];

/// One server, and a watcher of everything on it.
struct Watched {
    wire: Wire,
    /// The stream ends with it.
    _requests: mpsc::Sender<PbWatchRequest>,
    answers: Streaming<PbWatchResponse>,
}

impl Watched {
    async fn start(endpoint: &str, fragment: bool) -> Self {
        let wire = Wire::connect(endpoint).await;
        let watching = Watching {
            key: vec![0],
            range_end: vec![0],
            start_revision: 0,
            filters: Vec::new(),
            prev_kv: true,
            fragment,
            id: 0,
        };
        let (requests, queue) = mpsc::channel(1);
        requests.send(create_request(&watching)).await.unwrap();
        let queue = ReceiverStream::new(queue);
        let answers = wire.stream(WATCH, queue).await.unwrap();
        let mut watched = Self {
            wire,
            _requests: requests,
            answers,
        };
        assert!(watched.next().await.created);
        watched
    }

    async fn next(&mut self) -> PbWatchResponse {
        let answer = tokio::time::timeout(LIMIT, self.answers.message()).await;
        answer.expect("an answer in time").unwrap().unwrap()
    }

    /// Puts so many values of that size in one transaction; how many events each message that tells
    /// of it has, and whether it says that more follow.
    async fn put(&mut self, (count, len): (usize, usize), fill: u8) -> Vec<(usize, bool)> {
        let puts = (0..count).map(|n| {
            let put = PbPutRequest {
                key: format!("k{n:03}").into_bytes(),
                value: vec![fill; len],
                ..PbPutRequest::default()
            };
            PbTxnRequestOp {
                request: Some(PbTxnOpRequest::RequestPut(put)),
            }
        });
        let txn = PbTxnRequest {
            success: puts.collect(),
            ..PbTxnRequest::default()
        };
        let done = self.wire.call::<_, PbTxnResponse>(TXN, txn).await;
        let revision = done.unwrap().header.unwrap().revision;
        let (mut messages, mut seen) = (Vec::new(), 0);
        while seen < count {
            let answer = self.next().await;
            for event in &answer.events {
                assert_eq!(event.kv.as_ref().unwrap().mod_revision, revision);
            }
            seen += answer.events.len();
            messages.push((answer.events.len(), answer.fragment));
        }
        messages
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_etcd_splits_a_large_revision_as_a_real_one_does() {
    let Some(real) = RealEtcd::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (tasks, embedded) = embedded_etcd(folder.path());
    for fragment in [true, false] {
        let mut servers = [
            Watched::start(real.endpoint(), fragment).await,
            Watched::start(&embedded, fragment).await,
        ];
        for shape in SHAPES {
            let mut split = false;
            for fill in [1, 2] {
                let [real, embedded] = &mut servers;
                let real = real.put(shape, fill).await;
                let embedded = embedded.put(shape, fill).await;
                assert_eq!(
                    real, embedded,
                    "fragments {fragment}, {shape:?}, fill {fill}"
                );
                split |= real.len() > 1;
            }
            let is_large = 2 * shape.0 * shape.1 > 2 * 1024 * 1024;
            assert_eq!(split, fragment && is_large, "{shape:?}");
        }
    }
    tasks.stop();
    assert!(tasks.join(LIMIT).await);
}
