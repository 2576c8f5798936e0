//! The watch stream of one server, and what each of its watchers got.

use std::collections::BTreeMap;

use etcd_client::proto::{PbEvent, PbWatchRequest, PbWatchRequestUnion, PbWatchResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::LIMIT;
use super::operations::Watching;
use super::wire::Wire;

pub(super) const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// What a watcher got, whatever messages it came in.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    Event(PbEvent),
    /// The server ended the watcher.
    Canceled {
        header_revision: i64,
        compact_revision: i64,
        reason: String,
    },
}

/// What all watchers got, by their ids.
pub(super) type AllSeen = BTreeMap<i64, Vec<Seen>>;

/// The open stream.
#[derive(Debug)]
struct Open {
    requests: mpsc::Sender<PbWatchRequest>,
    answers: Streaming<PbWatchResponse>,
}

/// The watchers of one server, all on one stream, which the first of them opens.
#[derive(Debug)]
pub(super) struct Watches {
    wire: Wire,
    open: Option<Open>,
    seen: AllSeen,
}

impl Watches {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            open: None,
            seen: AllSeen::new(),
        }
    }

    /// Asks for a watcher; returns what is answered to that.
    pub(super) async fn create(&mut self, watching: &Watching) -> PbWatchResponse {
        self.send(create_request(watching)).await;
        self.answer(|answer| answer.created).await
    }

    /// Cancels a watcher that is there; returns what is answered to that.
    pub(super) async fn cancel(&mut self, id: i64) -> PbWatchResponse {
        self.send(cancel_request(id)).await;
        self.answer(|answer| answer.canceled && answer.watch_id == id)
            .await
    }

    /// Reads until every watcher has got to its revision or was canceled. Says whether they all came
    /// to that in time.
    pub(super) async fn reach(&mut self, goals: &BTreeMap<i64, i64>) -> bool {
        let reading = async {
            while !self.has_reached(goals) {
                let answer = self.next().await;
                self.note(answer);
            }
        };
        tokio::time::timeout(LIMIT, reading).await.is_ok()
    }

    /// What was seen since this was asked last.
    pub(super) fn take_seen(&mut self) -> AllSeen {
        std::mem::take(&mut self.seen)
    }

    /// Ends the stream and all watchers with it.
    pub(super) fn close(&mut self) {
        self.open = None;
        self.seen.clear();
    }

    async fn send(&mut self, request: PbWatchRequest) {
        if let Some(open) = &self.open {
            open.requests.send(request).await.unwrap();
            return;
        }
        let (requests, queue) = mpsc::channel(1);
        requests.send(request).await.unwrap();
        let queue = ReceiverStream::new(queue);
        let answers = self.wire.stream(WATCH, queue).await.unwrap();
        self.open = Some(Open { requests, answers });
    }

    async fn next(&mut self) -> PbWatchResponse {
        let open = self.open.as_mut().expect("a stream is open");
        let answer = open.answers.message().await.unwrap();
        answer.expect("the stream goes on")
    }

    /// The next answer of a kind; what comes before it is noted.
    async fn answer(&mut self, wanted: impl Fn(&PbWatchResponse) -> bool) -> PbWatchResponse {
        let reading = async {
            loop {
                let answer = self.next().await;
                if wanted(&answer) {
                    return answer;
                }
                self.note(answer);
            }
        };
        let answer = tokio::time::timeout(LIMIT, reading).await;
        answer.expect("an answer on the watch stream in time")
    }

    fn note(&mut self, answer: PbWatchResponse) {
        let seen = self.seen.entry(answer.watch_id).or_default();
        seen.extend(answer.events.into_iter().map(Seen::Event));
        if answer.canceled {
            seen.push(Seen::Canceled {
                header_revision: answer.header.map_or(0, |header| header.revision),
                compact_revision: answer.compact_revision,
                reason: answer.cancel_reason,
            });
        }
    }

    fn has_reached(&self, goals: &BTreeMap<i64, i64>) -> bool {
        goals.iter().all(|(id, goal)| {
            let last = self.seen.get(id).and_then(|seen| seen.last());
            match last {
                Some(Seen::Event(event)) => {
                    let revision = event.kv.as_ref().map_or(0, |kv| kv.mod_revision);
                    revision >= *goal
                },
                Some(Seen::Canceled { .. }) => true,
                None => false,
            }
        })
    }
}

/// The types inside of these two requests have no public names, so they are filled in.
pub(super) fn create_request(watching: &Watching) -> PbWatchRequest {
    let mut union = PbWatchRequestUnion::CreateRequest(Default::default());
    if let PbWatchRequestUnion::CreateRequest(create) = &mut union {
        create.key.clone_from(&watching.key);
        create.range_end.clone_from(&watching.range_end);
        create.start_revision = watching.start_revision;
        create.filters.clone_from(&watching.filters);
        create.prev_kv = watching.prev_kv;
        create.fragment = watching.fragment;
        create.watch_id = watching.id;
    }
    PbWatchRequest {
        request_union: Some(union),
    }
}

fn cancel_request(id: i64) -> PbWatchRequest {
    let mut union = PbWatchRequestUnion::CancelRequest(Default::default());
    if let PbWatchRequestUnion::CancelRequest(cancel) = &mut union {
        cancel.watch_id = id;
    }
    PbWatchRequest {
        request_union: Some(union),
    }
}
