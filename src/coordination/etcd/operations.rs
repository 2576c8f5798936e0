//! The calls: reads, transactions, leases.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, GetResponse, KeyValue, PutOptions,
    ResponseHeader, Txn, TxnOp,
};

use super::{
    BACKOFF, Call, Change, Entry, Etcd, Guard, LeaseId, Listing, Outcome, Repeat, TRIES,
    TRY_TIMEOUT, Transaction,
};
use crate::coordination::Error;
use crate::ids::Revision;
use crate::limits;

/// Keys of one listing: every process holds what it mirrors in memory.
const LISTING_KEYS_MAX: usize = 200_000;

/// A key read by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::coordination) struct Reading {
    /// The key, if it is there.
    pub(in crate::coordination) entry: Option<Entry>,
    /// The revision of the state that was read.
    pub(in crate::coordination) revision: Revision,
}

impl Etcd {
    /// What is under a key now (linearizable).
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Refused`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.read(key).await?.entry)
    }

    /// What is under a key, and at which revision (linearizable).
    pub(in crate::coordination) async fn read(&self, key: &str) -> Result<Reading, Error> {
        let mut answer = self.range("read a key", key, GetOptions::new()).await?;
        Ok(Reading {
            revision: Revision(header(answer.header())?.revision()),
            entry: answer.take_kvs().into_iter().next().map(Entry::from),
        })
    }

    /// The revision that etcd is at now: everything written before the call is at or before it.
    ///
    /// # Errors
    /// As [`Etcd::get`].
    pub async fn revision(&self) -> Result<Revision, Error> {
        // Any key does: the answer's header tells.
        let options = GetOptions::new().with_count_only();
        let answer = self.range("read the revision", "/", options).await?;
        Ok(Revision(header(answer.header())?.revision()))
    }

    /// All keys under a prefix, read page by page, all at one revision (linearizable).
    ///
    /// # Errors
    /// As [`Etcd::get`]; [`Error::TooLarge`] above 200,000 keys.
    pub async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        let mut failures = 0;
        loop {
            match self.list_once(prefix).await {
                // The revision of the first page was compacted before the last one was read.
                Err(Error::Compacted) if failures + 1 < TRIES => {
                    tokio::time::sleep(self.delay(BACKOFF, failures)).await;
                    failures += 1;
                },
                answer => return answer,
            }
        }
    }

    async fn list_once(&self, prefix: &str) -> Result<Listing, Error> {
        let end = prefix_end(prefix);
        let page = || {
            GetOptions::new()
                .with_range(end.clone())
                .with_limit(limits::ETCD_PAGE_KEYS)
        };
        let mut answer = self.range("list keys", prefix, page()).await?;
        let head = header(answer.header())?;
        let mut listing = Listing {
            entries: Vec::new(),
            revision: Revision(head.revision()),
            cluster_id: head.cluster_id(),
        };
        loop {
            let more = answer.more();
            listing
                .entries
                .extend(answer.take_kvs().into_iter().map(Entry::from));
            let Some(last) = listing.entries.last().filter(|_last| more) else {
                return Ok(listing);
            };
            if listing.entries.len() > LISTING_KEYS_MAX {
                return Err(Error::TooLarge {
                    what: "keys under a prefix",
                    bound: LISTING_KEYS_MAX,
                });
            }
            let next = format!("{}\0", last.key);
            let options = page().with_revision(listing.revision.0);
            answer = self.range("list keys", &next, options).await?;
        }
    }

    async fn range(
        &self,
        what: &'static str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetResponse, Error> {
        let call = Call {
            what,
            repeat: Repeat::Read,
        };
        self.call(call, |mut member| {
            let options = options.clone();
            async move { member.kv.get(key, Some(options)).await }
        })
        .await
    }

    /// Makes all changes at one revision if all guards hold.
    ///
    /// # Errors
    /// [`Error::UnknownOutcome`] when the answer was lost: it may have been applied, or may yet be;
    /// read back what it would have changed. [`Error::LeaseLost`] if a lease of it is gone;
    /// [`Error::TooLarge`]; as [`Etcd::get`].
    pub async fn transact(&self, transaction: &Transaction) -> Result<Outcome, Error> {
        transaction.check()?;
        let call = Call {
            what: "transaction",
            repeat: Repeat::Never,
        };
        self.send(call, transaction).await
    }

    /// Sees to it that a key holds a value on a lease. Only for keys with one writer.
    ///
    /// Every write is guarded by what was read before it, so that a write whose answer was lost and
    /// which arrives late cannot undo a later one.
    pub(in crate::coordination) async fn hold(
        &self,
        key: &str,
        value: &[u8],
        lease: LeaseId,
    ) -> Result<(), Error> {
        for _round in 0..TRIES {
            let guard = match self.get(key).await? {
                Some(entry) if entry.lease == Some(lease) && entry.value == value => return Ok(()),
                Some(entry) => Guard::ModRevision(key.to_owned(), entry.mod_revision),
                None => Guard::Absent(key.to_owned()),
            };
            let write = Transaction::new()
                .guard(guard)
                .put_leased(key, value, lease);
            match self.transact(&write).await {
                Ok(Outcome {
                    succeeded: true, ..
                }) => return Ok(()),
                // Somebody else wrote, or nobody knows: look again.
                Ok(_) | Err(Error::UnknownOutcome { .. }) => {},
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unreachable {
            what: "hold a key",
            source: "others keep writing it".into(),
        })
    }

    async fn send(&self, call: Call, transaction: &Transaction) -> Result<Outcome, Error> {
        let guards: Vec<Compare> = transaction.guards.iter().map(compare).collect();
        let changes: Vec<TxnOp> = transaction.changes.iter().map(operation).collect();
        let txn = Txn::new().when(guards).and_then(changes);
        let answer = self
            .call(call, |mut member| {
                let txn = txn.clone();
                async move { member.kv.txn(txn).await }
            })
            .await?;
        Ok(Outcome {
            succeeded: answer.succeeded(),
            revision: Revision(header(answer.header())?.revision()),
        })
    }

    /// A new lease, and the time to live that etcd chose for it, which may be longer than asked.
    ///
    /// # Errors
    /// As [`Etcd::get`]. A lease that was granted with its answer lost ends by itself, without keys.
    pub async fn lease_grant(&self, ttl: Duration) -> Result<(LeaseId, Duration), Error> {
        let call = Call {
            what: "grant a lease",
            repeat: Repeat::Harmless,
        };
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let answer = self
            .call(call, |mut member| async move {
                member.lease.grant(seconds, None).await
            })
            .await?;
        let granted = u64::try_from(answer.ttl()).unwrap_or(0);
        Ok((LeaseId(answer.id()), Duration::from_secs(granted)))
    }

    /// Ends a lease and deletes all its keys. A lease that is gone already is a success.
    ///
    /// # Errors
    /// As [`Etcd::get`], and [`Error::UnknownOutcome`].
    pub async fn lease_revoke(&self, lease: LeaseId) -> Result<(), Error> {
        let call = Call {
            what: "revoke a lease",
            repeat: Repeat::Harmless,
        };
        let answer = self
            .call(call, |mut member| async move {
                member.lease.revoke(lease.0).await
            })
            .await;
        match answer {
            Ok(_revoked) => Ok(()),
            Err(Error::LeaseLost) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Renews a lease for one more time to live, once, at most for `limit`.
    ///
    /// Each renewal opens a stream of its own: its first answer is then certainly the answer to this
    /// request and not to an earlier one, which on a shared stream would prolong the belief in a
    /// lease beyond what etcd holds.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when etcd no longer has it; as [`Etcd::get`].
    pub async fn lease_keep_alive(&self, lease: LeaseId, limit: Duration) -> Result<(), Error> {
        let renewed = self
            .try_once(limit.min(TRY_TIMEOUT), &|mut member| async move {
                member.lease.keep_alive(lease.0).await
            })
            .await;
        match renewed {
            Ok(_streams) => Ok(()),
            Err(failure) => Err(failure.into_error("keep a lease alive", false)),
        }
    }

    /// Ends every lease that keys under a prefix hang on, and says how many. For whoever owns the
    /// whole prefix alone and knows that no process of it lives.
    ///
    /// # Errors
    /// As [`Etcd::list`] and [`Etcd::lease_revoke`].
    pub async fn revoke_leases_under(&self, prefix: &str) -> Result<usize, Error> {
        let listing = self.list(prefix).await?;
        let leases: BTreeSet<LeaseId> = listing
            .entries
            .iter()
            .filter_map(|entry| entry.lease)
            .collect();
        for lease in &leases {
            self.lease_revoke(*lease).await?;
        }
        Ok(leases.len())
    }
}

impl From<KeyValue> for Entry {
    fn from(kv: KeyValue) -> Self {
        let lease = Some(LeaseId(kv.lease())).filter(|lease| lease.0 != 0);
        let (create_revision, mod_revision) =
            (Revision(kv.create_revision()), Revision(kv.mod_revision()));
        let (key, value) = kv.into_key_value();
        Self {
            // Keys are ours and therefore text; a foreign one must not stop the reading of ours.
            key: String::from_utf8_lossy(&key).into_owned(),
            value,
            create_revision,
            mod_revision,
            lease,
        }
    }
}

fn header(header: Option<&ResponseHeader>) -> Result<&ResponseHeader, Error> {
    header.ok_or_else(|| Error::Refused {
        what: "read an answer",
        kind: crate::fault::Kind::Internal,
        source: "the answer has no header".into(),
    })
}

/// The first key after all that start with the prefix.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    // Every key: how etcd spells the end of all.
    vec![0]
}

fn compare(guard: &Guard) -> Compare {
    match guard {
        Guard::Absent(key) => Compare::create_revision(key.as_str(), CompareOp::Equal, 0),
        Guard::ModRevision(key, revision) => {
            Compare::mod_revision(key.as_str(), CompareOp::Equal, revision.0)
        },
        Guard::CreateRevision(key, revision) => {
            Compare::create_revision(key.as_str(), CompareOp::Equal, revision.0)
        },
        Guard::Lease(key, lease) => Compare::lease(key.as_str(), CompareOp::Equal, lease.0),
    }
}

fn operation(change: &Change) -> TxnOp {
    match change {
        Change::Put { key, value, lease } => {
            let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
            TxnOp::put(key.as_str(), value.as_slice(), options)
        },
        Change::Delete(key) => TxnOp::delete(key.as_str(), None),
        Change::DeletePrefix(prefix) => {
            let options = DeleteOptions::new().with_range(prefix_end(prefix));
            TxnOp::delete(prefix.as_str(), Some(options))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_after_it() {
        assert_eq!(prefix_end("a/"), b"a0");
        assert_eq!(prefix_end("a\u{7f}"), b"a\x80");
        assert_eq!(prefix_end(""), b"\0");
    }
}
