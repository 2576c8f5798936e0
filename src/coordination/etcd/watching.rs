//! The two streams: a watch of a prefix, and the renewal of a lease.

use etcd_client::{
    Client, LeaseKeepAliveStream, LeaseKeeper, WatchOptions, WatchRequestSender,
    WatchResponseStream,
};

use super::Etcd;
use super::error::{Error, classify};
use crate::ids::Revision;

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchEvent {
    /// The whole key.
    pub key: String,
    /// The new value and what goes with it; absent when the key was removed.
    pub put: Option<super::Entry>,
    /// The revision of the change.
    pub revision: Revision,
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchNews {
    /// The watch stands.
    Created,
    /// Changes, whole revisions unless `more`: then the next news go on with the same one.
    Events {
        /// The changes, in order.
        events: Vec<WatchEvent>,
        /// Etcd's revision when it said so.
        revision: Revision,
        /// Whether it is a fragment.
        more: bool,
    },
    /// Everything up to this revision has been said.
    Progress(Revision),
}

/// A watch of a prefix.
#[derive(Debug)]
pub struct Watch {
    requests: WatchRequestSender,
    answers: WatchResponseStream,
}

/// The renewal of a lease.
#[derive(Debug)]
pub struct KeepAlive {
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl Etcd {
    /// Watches a prefix from a revision on, that one included.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(from.0)
            .with_progress_notify()
            .with_fragment();
        let stream = self
            .call("a watch", false, |mut client: Client| {
                let options = options.clone();
                async move { client.watch(prefix, Some(options)).await }
            })
            .await?;
        let (requests, answers) = stream.split();
        Ok(Watch { requests, answers })
    }

    /// Opens the renewal of a lease; the first renewal is part of it.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] among them.
    pub async fn keep_alive(&self, lease: i64) -> Result<KeepAlive, Error> {
        let (keeper, answers) = self
            .call("renewing a lease", false, |mut client: Client| async move {
                client.lease_keep_alive(lease).await
            })
            .await?;
        Ok(KeepAlive { keeper, answers })
    }
}

impl Watch {
    /// The next news. Waits for ever when there are none; can be cancelled without a loss.
    ///
    /// # Errors
    /// After an error the watch is over.
    pub async fn next(&mut self) -> Result<WatchNews, Error> {
        let answer = self.answers.message().await;
        let answer = answer.map_err(|error| classify("a watch", false, error))?;
        let Some(answer) = answer else {
            return Err(Error::WatchEnded("the stream ended".to_owned()));
        };
        if answer.compact_revision() > 0 {
            return Err(Error::Compacted(answer.compact_revision()));
        }
        if answer.canceled() {
            return Err(Error::WatchEnded(answer.cancel_reason().to_owned()));
        }
        let revision = answer
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        let revision = Revision(revision);
        if answer.created() {
            return Ok(WatchNews::Created);
        }
        let answer = answer.0;
        if answer.events.is_empty() && !answer.fragment {
            return Ok(WatchNews::Progress(revision));
        }
        let more = answer.fragment;
        let mut events = Vec::with_capacity(answer.events.len());
        for event in answer.events {
            let Some(kv) = event.kv else { continue };
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            let at = Revision(kv.mod_revision);
            let put = (event.r#type == 0).then(|| super::Entry {
                key: key.clone(),
                value: kv.value,
                create_revision: Revision(kv.create_revision),
                mod_revision: at,
                lease: kv.lease,
            });
            events.push(WatchEvent {
                key,
                put,
                revision: at,
            });
        }
        Ok(WatchNews::Events {
            events,
            revision,
            more,
        })
    }

    /// Asks for a [`WatchNews::Progress`].
    ///
    /// # Errors
    /// When the watch is over.
    pub async fn ask_progress(&mut self) -> Result<(), Error> {
        let asked = self.requests.request_progress().await;
        asked.map_err(|error| classify("a watch", false, error))
    }
}

impl KeepAlive {
    /// Renews the lease; the seconds it lives from now on.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] when it is gone; after any error the renewal is over.
    pub async fn renew(&mut self) -> Result<i64, Error> {
        let failed = |error| classify("renewing a lease", false, error);
        self.keeper.keep_alive().await.map_err(failed)?;
        match self.answers.message().await.map_err(failed)? {
            Some(answer) if answer.ttl() > 0 => Ok(answer.ttl()),
            Some(_gone) => Err(Error::LeaseGone),
            None => Err(Error::WatchEnded("the renewal ended".to_owned())),
        }
    }
}
