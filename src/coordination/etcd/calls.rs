//! The calls, one answer each.

use std::future::Future;

use etcd_client::{Client, GetOptions, KeyValue, LeaseGrantOptions, Txn, TxnOp};

use super::error::{Error, classify};
use super::{CALL_TIMEOUT, Entry, Etcd, Listing, Outcome, TRIES, Transaction};
use crate::ids::Revision;
use crate::limits::ETCD_PAGE_KEYS;
use crate::resilience::backoff::Backoff;

impl Etcd {
    /// One key, linearizable.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let answer = self
            .call("a read", false, |mut client: Client| async move {
                client.get(key, None).await
            })
            .await?;
        Ok(answer.kvs().first().map(entry))
    }

    /// All keys of a prefix at one revision, in pages.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        let mut listing = Listing {
            entries: Vec::new(),
            revision: Revision(0),
            cluster: 0,
        };
        let end = prefix_end(prefix);
        let mut from = prefix.as_bytes().to_vec();
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(ETCD_PAGE_KEYS)
                .with_revision(listing.revision.0);
            let start = from.clone();
            let page = self
                .call("a list", false, |mut client: Client| {
                    let (start, options) = (start.clone(), options.clone());
                    async move { client.get(start, Some(options)).await }
                })
                .await?;
            if listing.revision.0 == 0
                && let Some(header) = page.header()
            {
                listing.revision = Revision(header.revision());
                listing.cluster = header.cluster_id();
            }
            listing.entries.extend(page.kvs().iter().map(entry));
            match page.kvs().last() {
                Some(last) if page.more() => {
                    from = last.key().to_vec();
                    from.push(0);
                },
                _ => return Ok(listing),
            }
        }
    }

    /// The revision that etcd is at, linearizable.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revision(&self) -> Result<Revision, Error> {
        let options = GetOptions::new().with_count_only();
        let answer = self
            .call("a read of the revision", false, |mut client: Client| {
                let options = options.clone();
                async move { client.get("\0", Some(options)).await }
            })
            .await?;
        Ok(Revision(
            answer
                .header()
                .map_or(0, etcd_client::ResponseHeader::revision),
        ))
    }

    /// Carries out a transaction.
    ///
    /// # Errors
    /// [`Error::UnknownOutcome`] when it may have been carried out; the others say that it was not.
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome, Error> {
        let guards: Vec<_> = transaction.guards.into_iter().map(Into::into).collect();
        let changes: Vec<TxnOp> = transaction.changes.into_iter().map(Into::into).collect();
        let txn = Txn::new().when(guards).and_then(changes);
        let answer = self
            .call("a transaction", true, |mut client: Client| {
                let txn = txn.clone();
                async move { client.txn(txn).await }
            })
            .await?;
        let revision = answer
            .header()
            .map_or(0, etcd_client::ResponseHeader::revision);
        Ok(Outcome {
            succeeded: answer.succeeded(),
            revision: Revision(revision),
        })
    }

    /// A new lease: its id and the seconds that etcd gives it.
    ///
    /// # Errors
    /// [`Error`]; a lease whose answer was lost ends by itself.
    pub async fn grant(&self, seconds: i64) -> Result<(i64, i64), Error> {
        let answer = self
            .call("granting a lease", false, |mut client: Client| async move {
                client
                    .lease_grant(seconds, Some(LeaseGrantOptions::new()))
                    .await
            })
            .await?;
        Ok((answer.id(), answer.ttl()))
    }

    /// Ends a lease and removes its keys. One that is gone already is a success.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(&self, lease: i64) -> Result<(), Error> {
        let revoked = self
            .call("revoking a lease", false, |mut client: Client| async move {
                client.lease_revoke(lease).await
            })
            .await;
        match revoked {
            Ok(_) | Err(Error::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// One call with its deadline, tried again where that is safe.
    pub(super) async fn call<T, F, W>(
        &self,
        what: &'static str,
        changes: bool,
        call: F,
    ) -> Result<T, Error>
    where
        F: Fn(Client) -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut backoff = Backoff::default();
        let tries = TRIES.max(self.clients.len());
        let mut left = tries;
        loop {
            let (at, client) = self.client();
            let error = match tokio::time::timeout(CALL_TIMEOUT, call(client)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => classify(what, changes, error),
                Err(_elapsed) if changes => Error::UnknownOutcome { what },
                Err(_elapsed) => Error::Timeout { what },
            };
            left -= 1;
            let again = match error {
                Error::Unavailable { .. } | Error::Timeout { .. } => true,
                _ => {
                    if matches!(error, Error::UnknownOutcome { .. }) {
                        self.leave(at);
                    }
                    false
                },
            };
            if again {
                self.leave(at);
            }
            if !again || left == 0 {
                return Err(error);
            }
            // The other endpoints are asked at once, then it is waited.
            if tries - left >= self.clients.len() {
                tokio::time::sleep(backoff.next(&self.entropy)).await;
            }
        }
    }
}

fn entry(kv: &KeyValue) -> Entry {
    Entry {
        key: String::from_utf8_lossy(kv.key()).into_owned(),
        value: kv.value().to_vec(),
        create_revision: Revision(kv.create_revision()),
        mod_revision: Revision(kv.mod_revision()),
        lease: kv.lease(),
    }
}

/// The first key after all that start with the prefix.
pub(super) fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}
