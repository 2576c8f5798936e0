//! A watch on a prefix: what etcd sends, put back together.
//!
//! etcd reports a watch that cannot go on as an ordinary message on a stream that stays open; here it
//! is an error. It splits a large revision over several messages; here one batch holds whole
//! revisions only. A batch counts up to its last event and no further: etcd's header of a message
//! tells the revision of the store, which may lie beyond events that are still to come. Only an
//! answer to a request for progress says that nothing is missing up to its revision.

use std::time::Duration;

use etcd_client::{
    Event as ClientEvent, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream,
};

use super::{Entry, Etcd, Failure, Fate, Member};
use crate::coordination::Error;
use crate::ids::Revision;

/// How long a watch may take to come about.
const CREATE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a request on a stream may wait to be sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Events of one batch: more than any transaction or lease of ours changes at once. Beyond it a new
/// listing is the cheaper way to know.
const BATCH_EVENTS_MAX: usize = 200_000;

/// etcd's number for an event that deletes.
const DELETE: i32 = 1;

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was written.
    Put(Entry),
    /// It was deleted, by hand or with its lease.
    Delete {
        /// The whole key.
        key: String,
        /// When.
        revision: Revision,
    },
}

impl Event {
    /// When it happened.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// Everything that happened under a prefix after the batch before it, up to a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// In the order in which it happened.
    pub events: Vec<Event>,
    /// Everything up to here is in this batch or in one before it.
    pub revision: Revision,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Something happened.
    Changed(Batch),
    /// Nothing has happened up to that revision that was not told.
    Progress(Revision),
}

/// A watch on a prefix. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    etcd: Etcd,
    at: usize,
    sender: WatchRequestSender,
    stream: WatchResponseStream,
    cluster_id: u64,
    fragments: Vec<Event>,
}

impl Etcd {
    /// Watches all keys under a prefix, from that revision on.
    ///
    /// # Errors
    /// [`Error::Compacted`] if etcd no longer has that revision; as [`Etcd::get`].
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let (at, member) = self.member();
        let created = tokio::time::timeout(CREATE_TIMEOUT, create(member, prefix, from)).await;
        let failure = match created {
            Ok(Ok((sender, stream, first))) => {
                if first.canceled() {
                    return Err(ended(&first));
                }
                let cluster_id = first
                    .header()
                    .map_or(0, etcd_client::ResponseHeader::cluster_id);
                return Ok(Watch {
                    etcd: self.clone(),
                    at,
                    sender,
                    stream,
                    cluster_id,
                    fragments: Vec::new(),
                });
            },
            Ok(Err(error)) => Failure::from_client(error),
            Err(elapsed) => Failure::silence(elapsed),
        };
        if !matches!(failure.fate, Fate::Refused(_)) {
            self.leave(at);
        }
        Err(failure.into_error("watch", false))
    }
}

async fn create(
    mut member: Member,
    prefix: &str,
    from: Revision,
) -> Result<(WatchRequestSender, WatchResponseStream, WatchResponse), etcd_client::Error> {
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(from.0)
        .with_fragment();
    let stream = member.watch.watch(prefix, Some(options)).await?;
    let (sender, mut stream) = stream.split();
    let first = stream.message().await?;
    let first = first.ok_or_else(|| etcd_client::Error::WatchError("ended at once".to_owned()))?;
    Ok((sender, stream, first))
}

impl Watch {
    /// The cluster that answers.
    pub fn cluster_id(&self) -> u64 {
        self.cluster_id
    }

    /// What comes next. May be dropped at any await without losing anything.
    ///
    /// # Errors
    /// The watch is over: [`Error::Compacted`], [`Error::WatchEnded`].
    pub async fn next(&mut self) -> Result<Notice, Error> {
        loop {
            let message = match self.stream.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return Err(self.broken("the stream was closed")),
                Err(error) => return Err(self.broken(&error.to_string())),
            };
            if message.canceled() || message.compact_revision() != 0 {
                return Err(ended(&message));
            }
            let head = message.header();
            if head.is_some_and(|head| head.cluster_id() != self.cluster_id) {
                return Err(self.broken("another cluster answers"));
            }
            let told = head.map_or(0, etcd_client::ResponseHeader::revision);
            if let Some(notice) = self.take(&message, Revision(told))? {
                return Ok(notice);
            }
        }
    }

    /// Asks etcd up to where everything was told; the answer comes as a [`Notice`].
    ///
    /// # Errors
    /// [`Error::WatchEnded`].
    pub async fn request_progress(&mut self) -> Result<(), Error> {
        match tokio::time::timeout(SEND_TIMEOUT, self.sender.request_progress()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error.to_string())),
            Err(_elapsed) => Err(self.broken("requests are not taken")),
        }
    }

    /// For whoever finds this watch dead in a way that the stream does not show.
    pub fn give_up(&self, reason: &str) -> Error {
        self.broken(reason)
    }

    fn take(&mut self, message: &WatchResponse, told: Revision) -> Result<Option<Notice>, Error> {
        if message.created() {
            return Ok(None);
        }
        if message.events().is_empty() && !message.0.fragment && self.fragments.is_empty() {
            return Ok(Some(Notice::Progress(told)));
        }
        for event in message.events() {
            self.fragments.push(event_of(event)?);
        }
        if self.fragments.len() > BATCH_EVENTS_MAX {
            return Err(Error::TooLarge {
                what: "events of a batch",
                bound: BATCH_EVENTS_MAX,
            });
        }
        if message.0.fragment {
            return Ok(None);
        }
        let events = std::mem::take(&mut self.fragments);
        let revision = events.last().map_or(Revision(0), Event::revision);
        Ok(Some(Notice::Changed(Batch { events, revision })))
    }

    fn broken(&self, reason: &str) -> Error {
        self.etcd.leave(self.at);
        Error::WatchEnded {
            reason: reason.to_owned(),
        }
    }
}

fn ended(message: &WatchResponse) -> Error {
    if message.compact_revision() != 0 {
        return Error::Compacted;
    }
    Error::WatchEnded {
        reason: format!("etcd canceled it: {}", message.cancel_reason()),
    }
}

/// The event, read from its fields: etcd-client's own accessor panics on a type it does not know.
fn event_of(event: &ClientEvent) -> Result<Event, Error> {
    let kv = event.kv().ok_or_else(|| Error::WatchEnded {
        reason: "an event without a key".to_owned(),
    })?;
    let entry = Entry::from(kv.clone());
    Ok(if event.0.r#type == DELETE {
        Event::Delete {
            key: entry.key,
            revision: entry.mod_revision,
        }
    } else {
        Event::Put(entry)
    })
}
