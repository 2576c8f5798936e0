//! Watch streams. Each stream has a task that reads history from where each watcher is, so that a
//! slow client is caught up from history and nothing is queued for it without a bound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use etcd_client::proto::{
    PbEvent, PbKeyValue, PbResponseHeader, PbWatchRequest, PbWatchRequestUnion, PbWatchResponse,
};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::failure::Failure;
use super::kv::{Event, Range};
use super::persist::Identity;
use super::shared::Shared;
use crate::tasks::Tasks;

/// Watchers of one stream.
const WATCHERS_MAX: usize = 1_024;
/// Bytes that a message has less of when the client takes fragments and it holds several events, as
/// in etcd: what a request may have, and half a MiB.
const FRAGMENT_BYTES: usize = 2 * 1024 * 1024;
/// Revisions that are read at once while catching up.
const REVISIONS_AT_ONCE: usize = 1_000;
/// Bytes of events after which no further revision is read at once.
const NEWS_BYTES: usize = 1024 * 1024;

#[derive(Debug)]
struct Watcher {
    range: Range,
    /// Everything up to this revision has been sent.
    sent: i64,
    previous: bool,
    no_put: bool,
    no_delete: bool,
    fragment: bool,
}

/// What a watcher has not got.
#[derive(Debug)]
enum News {
    /// The events up to a revision.
    Events(i64, Vec<PbEvent>),
    /// What it wants is not known any more; this revision is the first that is.
    Missed(i64),
}

/// A watcher that is asked for.
#[derive(Debug)]
struct Wanted {
    /// 0: the server chooses.
    id: i64,
    /// 0: from now on.
    start_revision: i64,
    watcher: Watcher,
}

/// The watchers of a stream.
#[derive(Debug, Default)]
struct Watchers {
    live: BTreeMap<i64, Watcher>,
    /// Ended by a compaction, and not cancelled by the client: their ids stay taken.
    ended: BTreeSet<i64>,
    next: i64,
}

/// One stream.
pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) identity: Identity,
    pub(super) answers: mpsc::Sender<Result<PbWatchResponse, Status>>,
}

impl Stream {
    /// Serves the stream until either side ends it.
    pub(super) async fn run(self, mut requests: Streaming<PbWatchRequest>, tasks: Tasks) {
        let mut watchers = Watchers::default();
        let mut revision = self.shared.revision.subscribe();
        loop {
            let now = *revision.borrow_and_update();
            let Some(now) = now else {
                self.refuse().await;
                return;
            };
            if !self.catch_up(&mut watchers, now).await {
                return;
            }
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => {
                        if !self.take(request, &mut watchers).await {
                            return;
                        }
                    },
                    Ok(None) | Err(_) => return,
                },
                changed = revision.changed() => if changed.is_err() { return },
                () = self.answers.closed() => return,
                () = tasks.stopping() => {
                    let _gone = self.answers.send(Err(Failure::Stopped.into())).await;
                    return;
                },
            }
        }
    }

    fn header(&self, revision: i64) -> Option<PbResponseHeader> {
        let Identity { cluster, member } = self.identity;
        Some(PbResponseHeader {
            cluster_id: cluster,
            member_id: member,
            revision,
            raft_term: 2,
        })
    }

    async fn send(&self, answer: PbWatchResponse) -> bool {
        self.answers.send(Ok(answer)).await.is_ok()
    }

    /// Ends the stream because nothing is answered, and says why. False: it is over.
    async fn refuse(&self) -> bool {
        let (_nothing, failed) = self.shared.look(|_shown| ());
        let failure = failed.map_or(Failure::Stopped, Failure::Storage);
        let _gone = self.answers.send(Err(failure.into())).await;
        false
    }

    async fn take(&self, request: PbWatchRequest, watchers: &mut Watchers) -> bool {
        let position = self.shared.read(|shown| {
            let kv = &shown.state.kv;
            let first = shown.history.first_watchable(kv.compacted());
            Ok((kv.revision(), first))
        });
        let Ok((now, first)) = position else {
            return self.refuse().await;
        };
        match request.request_union {
            Some(PbWatchRequestUnion::CreateRequest(create)) => {
                // An absent key means all keys.
                let key = if create.key.is_empty() {
                    vec![0]
                } else {
                    create.key
                };
                let wanted = Wanted {
                    id: create.watch_id,
                    start_revision: create.start_revision,
                    watcher: Watcher {
                        range: Range::new(&key, &create.range_end),
                        sent: now,
                        previous: create.prev_kv,
                        no_put: create.filters.contains(&0),
                        no_delete: create.filters.contains(&1),
                        fragment: create.fragment,
                    },
                };
                self.create(wanted, (now, first), watchers).await
            },
            Some(PbWatchRequestUnion::CancelRequest(cancel)) => {
                let id = cancel.watch_id;
                let there = watchers.live.remove(&id).is_some();
                if !watchers.ended.remove(&id) && !there {
                    return true;
                }
                self.send(PbWatchResponse {
                    header: self.header(now),
                    watch_id: cancel.watch_id,
                    canceled: true,
                    ..PbWatchResponse::default()
                })
                .await
            },
            Some(PbWatchRequestUnion::ProgressRequest(_)) => {
                // Everything up to here is on the stream before the answer is.
                self.catch_up(watchers, now).await
                    && self
                        .send(PbWatchResponse {
                            header: self.header(now),
                            watch_id: -1,
                            ..PbWatchResponse::default()
                        })
                        .await
            },
            None => true,
        }
    }

    async fn create(
        &self,
        wanted: Wanted,
        (now, first): (i64, i64),
        watchers: &mut Watchers,
    ) -> bool {
        let refused = watchers.refuse(&wanted);
        let id = match refused {
            None => watchers.name(wanted.id),
            Some(_why) => -1,
        };
        let created = PbWatchResponse {
            header: self.header(now),
            watch_id: id,
            created: true,
            canceled: refused.is_some(),
            cancel_reason: refused.unwrap_or_default().to_owned(),
            ..PbWatchResponse::default()
        };
        if !self.send(created).await {
            return false;
        }
        if refused.is_some() {
            return true;
        }
        if wanted.start_revision > 0 && wanted.start_revision < first {
            watchers.ended.insert(id);
            return self.send(self.compacted(id, first)).await;
        }
        let mut watcher = wanted.watcher;
        if wanted.start_revision > 0 {
            watcher.sent = wanted.start_revision - 1;
        }
        watchers.live.insert(id, watcher);
        true
    }

    /// The end of a watcher that wants what was compacted; it is told from where it may start.
    fn compacted(&self, id: i64, first: i64) -> PbWatchResponse {
        PbWatchResponse {
            header: self.header(0),
            watch_id: id,
            canceled: true,
            compact_revision: first,
            ..PbWatchResponse::default()
        }
    }

    /// Sends each watcher what it has not got, up to a revision. False when the client is gone.
    async fn catch_up(&self, watchers: &mut Watchers, now: i64) -> bool {
        let ids: Vec<i64> = watchers.live.keys().copied().collect();
        for id in ids {
            while let Some(watcher) = watchers.live.get_mut(&id)
                && watcher.sent < now
            {
                let Ok(news) = self.news(watcher, now) else {
                    return self.refuse().await;
                };
                let (upto, events) = match news {
                    News::Missed(first) => {
                        watchers.live.remove(&id);
                        watchers.ended.insert(id);
                        if !self.send(self.compacted(id, first)).await {
                            return false;
                        }
                        break;
                    },
                    News::Events(upto, events) => (upto, events),
                };
                watcher.sent = upto;
                let fragment = watcher.fragment;
                if !self.send_events(id, events, now, fragment).await {
                    return false;
                }
            }
        }
        true
    }

    /// What a watcher has not got, up to a revision at the most.
    fn news(&self, watcher: &Watcher, now: i64) -> Result<News, Failure> {
        self.shared.read(|shown| {
            let compacted = shown.state.kv.compacted();
            // Nothing was missed when the watcher wants what was done at the compacted revision
            // itself, which is still there.
            let first = shown.history.first_watchable(compacted);
            if first > watcher.sent + 1 {
                return Ok(News::Missed(first));
            }
            let (mut events, mut bytes) = (Vec::new(), 0_usize);
            let missing = shown.history.since(watcher.sent);
            let missing = missing.take_while(|revision| revision.at <= now);
            for (count, revision) in missing.enumerate() {
                if count == REVISIONS_AT_ONCE || bytes > NEWS_BYTES {
                    return Ok(News::Events(revision.at - 1, events));
                }
                let wanted = revision.events.iter();
                for event in wanted.filter_map(|event| watcher.wants(event, compacted)) {
                    bytes = bytes.saturating_add(event.encoded_len());
                    events.push(event);
                }
            }
            Ok(News::Events(now, events))
        })
    }

    async fn send_events(&self, id: i64, events: Vec<PbEvent>, now: i64, fragment: bool) -> bool {
        if events.is_empty() {
            return true;
        }
        let answer = |events, fragment| PbWatchResponse {
            header: self.header(now),
            watch_id: id,
            events,
            fragment,
            ..PbWatchResponse::default()
        };
        if !fragment {
            return self.send(answer(events, false)).await;
        }
        // Split as etcd does it.
        let empty = answer(Vec::new(), true).encoded_len();
        let (mut part, mut bytes) = (Vec::new(), empty);
        for event in events {
            let len = event.encoded_len();
            let len = 1 + prost::length_delimiter_len(len) + len;
            if !part.is_empty() && bytes + len >= FRAGMENT_BYTES {
                if !self.send(answer(std::mem::take(&mut part), true)).await {
                    return false;
                }
                bytes = empty;
            }
            bytes += len;
            part.push(event);
        }
        self.send(answer(part, false)).await
    }
}

impl Watchers {
    /// The id of a new one: what was asked for, or one that was never given.
    fn name(&mut self, asked: i64) -> i64 {
        if asked != 0 {
            return asked;
        }
        while self.has(self.next) {
            self.next += 1;
        }
        let id = self.next;
        self.next += 1;
        id
    }

    fn has(&self, id: i64) -> bool {
        self.live.contains_key(&id) || self.ended.contains(&id)
    }

    /// Why a watcher is not made.
    fn refuse(&self, wanted: &Wanted) -> Option<&'static str> {
        if wanted.start_revision < 0 {
            Some("etcdserver: mvcc: required revision has been compacted")
        } else if wanted.watcher.range.is_nothing() {
            Some("mvcc: watcher range is empty")
        } else if wanted.id != 0 && self.has(wanted.id) {
            Some("mvcc: duplicate watch ID provided on the WatchStream")
        } else if self.live.len() + self.ended.len() >= WATCHERS_MAX {
            Some("embedded etcd: too many watchers on the stream")
        } else {
            None
        }
    }
}

impl Watcher {
    fn wants(&self, event: &Event, compacted: i64) -> Option<PbEvent> {
        if !self.range.contains(&event.key) {
            return None;
        }
        let filtered = if event.put.is_some() {
            self.no_put
        } else {
            self.no_delete
        };
        if filtered {
            return None;
        }
        let kv = match &event.put {
            Some(kv) => PbKeyValue::clone(kv),
            None => PbKeyValue {
                key: event.key.clone(),
                mod_revision: event.revision,
                ..PbKeyValue::default()
            },
        };
        // What was there before cannot be read any more once it is compacted.
        let readable = self.previous && event.revision > compacted;
        let previous = event.previous.as_ref().filter(|_kv| readable);
        Some(PbEvent {
            r#type: i32::from(event.put.is_none()),
            kv: Some(kv),
            prev_kv: previous.map(|kv| PbKeyValue::clone(kv)),
        })
    }
}
