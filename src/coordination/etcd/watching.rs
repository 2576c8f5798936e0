//! A watch of a prefix: what etcd sends, put back together.
//!
//! Etcd tells of a watch that cannot go on in an ordinary message, on a stream that stays open; here
//! that is an error. It splits a large revision over several messages; here changes come in whole
//! revisions only. And they count up to the last of them and no further: etcd's header of a message
//! tells the revision of the store, which may lie beyond changes that are still to come. Only
//! [`WatchNews::Progress`] says that nothing is missing up to its revision.

use std::time::Duration;

use etcd_client::{
    ResponseHeader, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream,
};

use super::error::{Error, classify};
use super::login;
use super::{Entry, Etcd, Member};
use crate::ids::Revision;

/// How long a watch may take to come about, and a request on it to be sent.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Changes that come at once: more than any transaction or lease of ours makes. Beyond it a new list
/// is the cheaper way to know.
const EVENTS_MAX: usize = 200_000;

/// Etcd's number for a change that makes or writes a key.
const PUT: i32 = 0;

const WHAT: &str = "a watch";

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// The whole key.
    pub key: String,
    /// The new value and what goes with it; absent when the key was removed.
    pub put: Option<Entry>,
    /// The revision of the change.
    pub revision: Revision,
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchNews {
    /// Changes, whole revisions, in order; never none.
    Events(Vec<WatchEvent>),
    /// Everything up to this revision has been said.
    Progress(Revision),
}

/// A watch of a prefix. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    etcd: Etcd,
    at: usize,
    cluster: u64,
    requests: WatchRequestSender,
    answers: WatchResponseStream,
    fragments: Vec<WatchEvent>,
}

impl Etcd {
    /// Watches a prefix from a revision on, that one included. One try: who follows a prefix has its
    /// own way of starting over.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let (at, member) = self.member();
        let created = tokio::time::timeout(TIMEOUT, self.created(&member, prefix, from)).await;
        let error = match created {
            Ok(Ok((requests, answers, first))) if !is_over(&first) => {
                return Ok(Watch {
                    etcd: self.clone(),
                    at,
                    cluster: first.header().map_or(0, ResponseHeader::cluster_id),
                    requests,
                    answers,
                    fragments: Vec::new(),
                });
            },
            Ok(Ok((_requests, _answers, first))) => over(&first),
            Ok(Err(error)) => error,
            Err(_elapsed) => Error::Timeout { what: WHAT },
        };
        if error.is_no_answer() {
            self.leave(at);
        }
        Err(error)
    }

    /// Logs in where that is needed, and begins; once more when etcd did not know the token. A watch that
    /// has begun is not asked for one again.
    async fn created(
        &self,
        member: &Member,
        prefix: &str,
        from: Revision,
    ) -> Result<Created, Error> {
        let begin = || async {
            let created = create(member.clone(), prefix, from).await;
            let is_refused = match &created {
                Ok((_requests, _answers, first)) => login::says_so(first.cancel_reason()),
                Err(error) => login::refuses_token(error),
            };
            let created = created.map_err(|error| classify(WHAT, false, error));
            (created, is_refused)
        };
        let Some(pass) = &self.pass else {
            return begin().await.0;
        };
        let shown = pass.ready(member).await?;
        let (created, is_refused) = begin().await;
        if !is_refused {
            return created;
        }
        pass.another(member, shown.as_ref()).await?;
        begin().await.0
    }
}

/// A watch as it begins: where requests go, where answers come from, and the first of them.
type Created = (WatchRequestSender, WatchResponseStream, WatchResponse);

async fn create(
    mut member: Member,
    prefix: &str,
    from: Revision,
) -> Result<Created, etcd_client::Error> {
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(from.0)
        .with_fragment();
    let stream = member.watch.watch(prefix, Some(options)).await?;
    let (requests, mut answers) = stream.split();
    let first = answers.message().await?;
    let first = first.ok_or_else(|| etcd_client::Error::WatchError("it ended at once".into()))?;
    Ok((requests, answers, first))
}

impl Watch {
    /// Which etcd cluster answers.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// The next news. Waits for ever when there are none; can be dropped without a loss.
    ///
    /// # Errors
    /// After an error the watch is over.
    pub async fn next(&mut self) -> Result<WatchNews, Error> {
        loop {
            let answer = match self.answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Err(self.give_up("the stream ended")),
                Err(error) => {
                    self.etcd.leave(self.at);
                    return Err(classify(WHAT, false, error));
                },
            };
            if is_over(&answer) {
                return Err(over(&answer));
            }
            let revision = answer.header().map_or(0, ResponseHeader::revision);
            if let Some(news) = self.take(answer, Revision(revision))? {
                return Ok(news);
            }
        }
    }

    /// Asks for a [`WatchNews::Progress`].
    ///
    /// # Errors
    /// When the watch is over.
    pub async fn ask_progress(&mut self) -> Result<(), Error> {
        match tokio::time::timeout(TIMEOUT, self.requests.request_progress()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(self.give_up("the stream takes no requests")),
            Err(_elapsed) => Err(self.give_up("the stream is full of requests")),
        }
    }

    /// For whoever finds the watch dead in a way that the stream does not show.
    pub fn give_up(&self, why: &str) -> Error {
        self.etcd.leave(self.at);
        Error::WatchEnded(why.to_owned())
    }

    fn take(
        &mut self,
        answer: WatchResponse,
        revision: Revision,
    ) -> Result<Option<WatchNews>, Error> {
        if answer.created() {
            return Ok(None);
        }
        let answer = answer.0;
        if answer.events.is_empty() && !answer.fragment && self.fragments.is_empty() {
            return Ok(Some(WatchNews::Progress(revision)));
        }
        for event in answer.events {
            let Some(kv) = event.kv else { continue };
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            let at = Revision(kv.mod_revision);
            let put = (event.r#type == PUT).then(|| Entry {
                key: key.clone(),
                value: kv.value,
                create_revision: Revision(kv.create_revision),
                mod_revision: at,
                lease: kv.lease,
            });
            self.fragments.push(WatchEvent {
                key,
                put,
                revision: at,
            });
        }
        if self.fragments.len() > EVENTS_MAX {
            return Err(Error::TooMany {
                what: "changes of a watch",
                bound: EVENTS_MAX,
            });
        }
        if answer.fragment || self.fragments.is_empty() {
            return Ok(None);
        }
        Ok(Some(WatchNews::Events(std::mem::take(&mut self.fragments))))
    }
}

fn is_over(answer: &WatchResponse) -> bool {
    answer.canceled() || answer.compact_revision() > 0
}

fn over(answer: &WatchResponse) -> Error {
    if answer.compact_revision() > 0 {
        return Error::Compacted;
    }
    Error::WatchEnded(answer.cancel_reason().to_owned())
}
