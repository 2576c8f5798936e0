//! The calls, one answer each.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_client::{
    Compare, GetOptions, GetResponse, KeyValue, LeaseGrantOptions, ResponseHeader, Txn, TxnOp,
};

use super::error::{Error, classify};
use super::login;
use super::{CALL_TIMEOUT, Entry, Etcd, Guard, Listing, Member, Outcome, TRIES, Transaction};
use crate::coordination::Change;
use crate::ids::Revision;
use crate::limits;
use crate::resilience::backoff::Backoff;

/// Keys of one list: every process holds what it mirrors in memory.
const LIST_KEYS_MAX: usize = 200_000;

/// What a call is called in errors, and whether it may be made twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) what: &'static str,
    pub(super) effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing.
    None,
    /// It changes something; a second time changes nothing more that matters.
    Repeatable,
    /// A second time could mean something else.
    Once,
}

impl Etcd {
    /// One key, linearizable.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let answer = self.range("a read", key, GetOptions::new()).await?;
        Ok(answer.kvs().first().map(entry))
    }

    /// All keys of a prefix at one revision, in pages, linearizable.
    ///
    /// # Errors
    /// [`Error`]; [`Error::TooMany`] above 200,000 keys.
    pub async fn list(&self, prefix: &str) -> Result<Listing, Error> {
        let mut backoff = Backoff::default();
        let mut tries = 1;
        loop {
            match self.list_once(prefix).await {
                // The revision of the first page was compacted before the last was read.
                Err(Error::Compacted) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(backoff.next(&self.entropy)).await;
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
        let mut answer = self.range("a list", prefix, page()).await?;
        let mut listing = Listing {
            entries: Vec::new(),
            revision: revision(answer.header()),
            cluster: answer.header().map_or(0, ResponseHeader::cluster_id),
        };
        loop {
            listing.entries.extend(answer.kvs().iter().map(entry));
            let Some(last) = listing.entries.last().filter(|_last| answer.more()) else {
                return Ok(listing);
            };
            if listing.entries.len() > LIST_KEYS_MAX {
                return Err(Error::TooMany {
                    what: "keys of a prefix",
                    bound: LIST_KEYS_MAX,
                });
            }
            let next = format!("{}\0", last.key);
            let options = page().with_revision(listing.revision.0);
            answer = self.range("a list", &next, options).await?;
        }
    }

    /// How many keys a prefix has, linearizable.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count(&self, prefix: &str) -> Result<usize, Error> {
        let options = GetOptions::new()
            .with_range(prefix_end(prefix))
            .with_count_only();
        let answer = self.range("a count of keys", prefix, options).await?;
        Ok(usize::try_from(answer.count()).unwrap_or(0))
    }

    /// The revision that etcd is at, linearizable.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revision(&self) -> Result<Revision, Error> {
        // Any key does: the answer's header tells.
        let options = GetOptions::new().with_count_only();
        let answer = self.range("a read of the revision", "\0", options).await?;
        Ok(revision(answer.header()))
    }

    async fn range(
        &self,
        what: &'static str,
        key: &str,
        options: GetOptions,
    ) -> Result<GetResponse, Error> {
        let call = Call {
            what,
            effect: Effect::None,
        };
        self.call(call, |mut member| {
            let options = options.clone();
            async move { member.kv.get(key, Some(options)).await }
        })
        .await
    }

    /// Carries out a transaction.
    ///
    /// # Errors
    /// [`Error::UnknownOutcome`] when it may have been carried out, or may yet be; the others say that
    /// it was not.
    pub async fn transact(&self, transaction: Transaction) -> Result<Outcome, Error> {
        let operations = transaction.guards.len().max(transaction.changes.len());
        if operations > limits::ETCD_TXN_OPS_MAX {
            return Err(Error::TooMany {
                what: "operations of a transaction",
                bound: limits::ETCD_TXN_OPS_MAX,
            });
        }
        let guards: Vec<Compare> = transaction.guards.into_iter().map(Into::into).collect();
        let changes: Vec<TxnOp> = transaction.changes.into_iter().map(Into::into).collect();
        let txn = Txn::new().when(guards).and_then(changes);
        let call = Call {
            what: "a transaction",
            effect: Effect::Once,
        };
        let answer = self
            .call(call, |mut member| {
                let txn = txn.clone();
                async move { member.kv.txn(txn).await }
            })
            .await?;
        Ok(Outcome {
            succeeded: answer.succeeded(),
            revision: revision(answer.header()),
        })
    }

    /// Sees to it that a key holds a value on a lease. Only for keys with one writer.
    ///
    /// Every write is guarded by what was read before it, so that one whose answer was lost and which
    /// arrives late cannot undo a later one.
    pub(in crate::coordination) async fn hold(
        &self,
        key: &str,
        value: &[u8],
        lease: i64,
    ) -> Result<(), Error> {
        for _round in 0..TRIES {
            let guard = match self.get(key).await? {
                Some(entry) if entry.lease == lease && entry.value == value => return Ok(()),
                Some(entry) => Guard::ModRevision(key.to_owned(), entry.mod_revision),
                None => Guard::Absent(key.to_owned()),
            };
            let write = Transaction {
                guards: vec![guard],
                changes: vec![Change::Put {
                    key: key.to_owned(),
                    value: value.to_vec(),
                    lease,
                }],
            };
            match self.transact(write).await {
                Ok(outcome) if outcome.succeeded => return Ok(()),
                // Somebody else wrote, or nobody knows: look again.
                Ok(_) | Err(Error::UnknownOutcome { .. }) => {},
                Err(error) => return Err(error),
            }
        }
        Err(Error::UnknownOutcome {
            what: "holding a key",
        })
    }

    /// A new lease: its id and the seconds that etcd gives it, which may be more than asked.
    ///
    /// # Errors
    /// [`Error`]; a lease whose answer was lost ends by itself.
    pub async fn grant(&self, seconds: i64) -> Result<(i64, i64), Error> {
        let call = Call {
            what: "granting a lease",
            effect: Effect::Repeatable,
        };
        let answer = self
            .call(call, |mut member| async move {
                let options = LeaseGrantOptions::new();
                member.lease.grant(seconds, Some(options)).await
            })
            .await?;
        Ok((answer.id(), answer.ttl()))
    }

    /// Ends a lease and removes its keys. One that is gone already is a success.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn revoke(&self, lease: i64) -> Result<(), Error> {
        let call = Call {
            what: "revoking a lease",
            effect: Effect::Repeatable,
        };
        let revoked = self
            .call(call, |mut member| async move {
                member.lease.revoke(lease).await
            })
            .await;
        match revoked {
            Ok(_) | Err(Error::LeaseGone) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Renews a lease for one more life, in one try of at most `limit`.
    ///
    /// Each renewal opens a stream of its own: its first answer is then surely the answer to this
    /// request and not to an earlier one, which on a shared stream would prolong the belief in a lease
    /// beyond what etcd holds.
    ///
    /// # Errors
    /// [`Error::LeaseGone`] when etcd no longer has it, and then only.
    pub async fn renew(&self, lease: i64, limit: Duration) -> Result<(), Error> {
        let call = Call {
            what: "renewing a lease",
            effect: Effect::None,
        };
        let renewed = self
            .try_once(call, limit.min(CALL_TIMEOUT), &|mut member| async move {
                member.lease.keep_alive(lease).await
            })
            .await;
        renewed.map(|_streams| ())
    }

    /// Has the member in use give back the space that it does not use, in one try of at most `limit`.
    /// It serves nothing meanwhile.
    ///
    /// # Errors
    /// [`Error`]; after one without an answer the member may still be at it.
    pub async fn defragment(&self, limit: Duration) -> Result<(), Error> {
        let call = Call {
            what: "giving back unused space",
            effect: Effect::Repeatable,
        };
        let done = self
            .try_once(call, limit, &|mut member| async move {
                member.maintenance.defragment().await
            })
            .await;
        done.map(|_answer| ())
    }

    /// Makes a call, as often as it may be made and needs to be.
    pub(super) async fn call<T, F, W>(&self, call: Call, run: F) -> Result<T, Error>
    where
        F: Fn(Member) -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut backoff = Backoff::default();
        let mut failures = 0;
        loop {
            let error = match self.try_once(call, CALL_TIMEOUT, &run).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            let not_done = matches!(error, Error::Unavailable { .. } | Error::Timeout { .. });
            let unknown = matches!(error, Error::UnknownOutcome { .. });
            let again = not_done || (unknown && call.effect == Effect::Repeatable);
            if !again || failures >= TRIES {
                return Err(error);
            }
            // The other endpoints are asked at once, then it is waited.
            if failures % self.members.len().max(1) == 0 {
                tokio::time::sleep(backoff.next(&self.entropy)).await;
            }
        }
    }

    /// Makes a call once, and leaves the endpoint if it does not answer.
    async fn try_once<T, F, W>(&self, call: Call, limit: Duration, run: &F) -> Result<T, Error>
    where
        F: Fn(Member) -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        let (at, member) = self.member();
        let (what, changes) = (call.what, call.effect != Effect::None);
        let is_sent = AtomicBool::new(false);
        let attempt = self.attempt(call, (&member, &is_sent), run);
        let error = match tokio::time::timeout(limit, attempt).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_elapsed) if !is_sent.load(Ordering::Relaxed) => {
                Error::Timeout { what: login::WHAT }
            },
            Err(_elapsed) if changes => Error::UnknownOutcome { what },
            Err(_elapsed) => Error::Timeout { what },
        };
        if error.is_no_answer() {
            self.leave(at);
        }
        Err(error)
    }

    /// Logs in where that is needed, and makes a call; once more when etcd did not know the token, for then
    /// it has done nothing. Tells whether the call may have been carried out, should it be broken off.
    async fn attempt<T, F, W>(
        &self,
        call: Call,
        (member, is_sent): (&Member, &AtomicBool),
        run: &F,
    ) -> Result<T, Error>
    where
        F: Fn(Member) -> W,
        W: Future<Output = Result<T, etcd_client::Error>>,
    {
        let failed = |error| classify(call.what, call.effect != Effect::None, error);
        let Some(pass) = &self.pass else {
            is_sent.store(true, Ordering::Relaxed);
            return run(member.clone()).await.map_err(failed);
        };
        let shown = pass.ready(member).await?;
        is_sent.store(true, Ordering::Relaxed);
        match run(member.clone()).await {
            Err(error) if login::refuses_token(&error) => {},
            done => return done.map_err(failed),
        }
        is_sent.store(false, Ordering::Relaxed);
        pass.another(member, shown.as_ref()).await?;
        is_sent.store(true, Ordering::Relaxed);
        run(member.clone()).await.map_err(failed)
    }
}

fn revision(header: Option<&ResponseHeader>) -> Revision {
    Revision(header.map_or(0, ResponseHeader::revision))
}

fn entry(kv: &KeyValue) -> Entry {
    Entry {
        // Keys are ours and therefore text; a foreign one must not stop the reading of ours.
        key: String::from_utf8_lossy(kv.key()).into_owned(),
        value: kv.value().to_vec(),
        create_revision: Revision(kv.create_revision()),
        mod_revision: Revision(kv.mod_revision()),
        lease: kv.lease(),
    }
}

/// The first key after all that start with the prefix.
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}
