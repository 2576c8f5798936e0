//! Collections as etcd's records: changing and deleting them, and finishing what was left half done.
//! Creating one is in [`super::create`], their other names are in [`super::aliases`].
//!
//! The steps of a deletion: one transaction takes the names away, marks the collection `Deleting`
//! and writes its tombstone; then its shard records go, then its own. Workers delete data for a
//! tombstone and for nothing else, so a lost or old etcd never costs a shard.
//! Whoever finds a collection `Deleting` or `Creating` without a change under way goes on from there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::clock::{Clock, Moment};
use crate::coordination::records::{
    CollectionRecord, CollectionState, NameKind, NameRecord, Tombstone, decode, encode,
};
use crate::coordination::{self, Change, Etcd, Guard, Keys, Transaction, election};
use crate::entropy::Entropy;
use crate::fault::{Fault, Kind, chain};
use crate::ids::{CollectionId, CollectionName, Revision, Term};
use crate::limits::{ETCD_TXN_OPS_MAX, INDEXED_FIELD_BYTES_MAX, PAYLOAD_INDEXES_MAX};
use crate::router::Maps;
use crate::rpc::Channels;

/// Room for the guards beside the changes of one transaction.
pub(super) const CHUNK: usize = ETCD_TXN_OPS_MAX - 8;

/// How long one change of collections may take, all its steps.
pub(super) const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Changes that wait or are under way; they are made one at a time.
pub(super) const CHANGES_WAITING_MAX: usize = 64;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Shaped as clients of the public API expect it.
    #[error("Collection `{0}` already exists!")]
    Exists(String),
    /// Shaped as clients of the public API expect it.
    #[error("Collection `{0}` doesn't exist!")]
    Missing(String),
    #[error("alias `{0}` doesn't exist")]
    NoAlias(String),
    #[error("{0}")]
    Invalid(String),
    #[error("this master does not lead; {0}")]
    NotLeader(String),
    #[error("another change came between, or the leadership ended")]
    Overtaken,
    #[error("no worker is registered: a collection needs one")]
    NoWorker,
    #[error("create shard {shard} on {worker}")]
    CreateShard {
        shard: u16,
        worker: String,
        #[source]
        source: crate::rpc::Error,
    },
    #[error("{what} took longer than {} s; it is taken back", CHANGE_TIMEOUT.as_secs())]
    TooLong { what: &'static str },
    #[error("other changes took so long that this one was not begun; nothing was changed")]
    Late,
    #[error("more than {CHANGES_WAITING_MAX} changes wait; this one was not taken")]
    Busy,
    #[error(
        "{0} deleted collections are still remembered, each for a day and until every worker has said that \
         it keeps nothing of it, which is asked every hour; no other is made until they are fewer"
    )]
    Tombstones(usize),
    #[error("read or write etcd")]
    Etcd(#[source] coordination::Error),
}

impl From<coordination::Error> for Error {
    fn from(error: coordination::Error) -> Self {
        Self::Etcd(error)
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Exists(_) => Kind::AlreadyExists,
            Self::Missing(_) | Self::NoAlias(_) => Kind::NotFound,
            Self::Invalid(_) => Kind::InvalidInput,
            Self::NotLeader(_) | Self::NoWorker | Self::Overtaken => Kind::Unavailable,
            Self::CreateShard { source, .. } => source.kind(),
            Self::TooLong { .. } | Self::Late => Kind::Timeout,
            Self::Busy | Self::Tombstones(_) => Kind::Exhausted,
            Self::Etcd(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Exists(_) => "master.exists",
            Self::Missing(_) => "master.missing",
            Self::NoAlias(_) => "master.no_alias",
            Self::Invalid(_) => "master.invalid",
            Self::NotLeader(_) => "master.not_leader",
            Self::Overtaken => "master.overtaken",
            Self::NoWorker => "master.no_worker",
            Self::CreateShard { .. } => "master.create_shard",
            Self::TooLong { .. } => "master.too_long",
            Self::Late => "master.late",
            Self::Busy => "master.busy",
            Self::Tombstones(_) => "master.tombstones",
            Self::Etcd(error) => error.code(),
        }
    }
}

/// A change that was made, or was not needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed {
    /// Whether there was something to change.
    pub(super) changed: bool,
    /// Who has read up to here sees it.
    pub(super) revision: Revision,
}

/// One change of a collection's record.
#[derive(Debug, Clone)]
pub(super) enum Update {
    /// Merged into the configuration that the client sent.
    Config(serde_json::Map<String, serde_json::Value>),
    /// A payload index of this field.
    CreateIndex(String, serde_json::Value),
    /// No payload index of this field.
    DeleteIndex(String),
}

/// For whom a change is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// The leadership that it is made under.
    pub(super) term: Term,
    /// Until when somebody waits for it: it does not begin later.
    pub(super) until: Moment,
}

/// Changes collections for the leader.
#[derive(Debug)]
pub(super) struct Collections {
    pub(super) etcd: Etcd,
    pub(super) keys: Keys,
    pub(super) maps: Maps,
    pub(super) channels: Arc<Channels>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<Entropy>,
    /// Shards of a collection that does not say itself; absent: one for each worker.
    pub(super) shards: Option<u16>,
    /// One change at a time: they are rare, and their steps must not mix.
    pub(super) changing: Mutex<()>,
}

/// A record with the revision that a change of it is guarded by.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) mod_revision: Revision,
}

impl Collections {
    /// Changes one thing of a collection.
    pub(super) async fn update(
        &self,
        order: Order,
        name: &CollectionName,
        update: Update,
    ) -> Result<Changed, Error> {
        let _one_at_a_time = self.turn(order).await?;
        let mut found = self.by_name(name).await?;
        if !apply(&mut found.value, update)? {
            return Ok(Changed {
                changed: false,
                revision: found.mod_revision,
            });
        }
        let key = self.keys.collection(found.value.id);
        let revision = self
            .commit(
                vec![
                    self.term(order.term),
                    Guard::ModRevision(key.clone(), found.mod_revision),
                ],
                vec![Change::put(key, encode(&found.value)?)],
            )
            .await?;
        Ok(Changed {
            changed: true,
            revision,
        })
    }

    /// Deletes a collection by its own name; with an id only if it is that one.
    pub(super) async fn delete(
        &self,
        order: Order,
        name: &CollectionName,
        only: Option<CollectionId>,
    ) -> Result<Changed, Error> {
        let _one_at_a_time = self.turn(order).await?;
        let nothing = Changed {
            changed: false,
            revision: Revision(0),
        };
        let found = match self.by_name(name).await {
            Ok(found) => found,
            Err(Error::Missing(_)) => return Ok(nothing),
            Err(error) => return Err(error),
        };
        if only.is_some_and(|id| id != found.value.id) {
            return Ok(nothing);
        }
        let revision = self.begin_delete(order.term, found).await?;
        Ok(Changed {
            changed: true,
            revision,
        })
    }

    /// Goes on with whatever an earlier leader left half done. Failures are logged and tried again.
    pub(super) async fn repair(&self, term: Term) {
        let _one_at_a_time = self.changing.lock().await;
        let half_done: Vec<CollectionId> = self
            .maps
            .collections
            .view()
            .iter()
            .filter(|(_key, held)| held.value.state != CollectionState::Active)
            .map(|(_key, held)| held.value.id)
            .collect();
        for id in half_done {
            let repaired = self.go_on(term, id).await;
            if let Err(error) = repaired {
                tracing::warn!(collection = %id, error = chain(&error), "repair waits");
            }
        }
    }

    /// Goes on with a collection that was left half done, if this one was. Only under the turn: nobody
    /// of this leadership is at it then, and the term keeps out those of earlier ones.
    pub(super) async fn go_on(&self, term: Term, id: CollectionId) -> Result<(), Error> {
        let Some(found) = self.by_id(id).await? else {
            return Ok(());
        };
        match found.value.state {
            CollectionState::Active => Ok(()),
            CollectionState::Creating => {
                let name = found.value.name.to_string();
                tracing::warn!(collection = name, "taking back a half made collection");
                self.begin_delete(term, found).await.map(|_revision| ())
            },
            CollectionState::Deleting => self.finish_delete(term, id).await,
        }
    }

    /// The first step of a deletion, and the others when they go well.
    pub(super) async fn begin_delete(
        &self,
        term: Term,
        mut found: Found<CollectionRecord>,
    ) -> Result<Revision, Error> {
        let id = found.value.id;
        let key = self.keys.collection(id);
        let mut guards = vec![
            self.term(term),
            Guard::ModRevision(key.clone(), found.mod_revision),
        ];
        found.value.state = CollectionState::Deleting;
        let tombstone = Tombstone {
            at_ms: self.clock.wall_ms(),
        };
        let mut changes = vec![
            Change::put(key, encode(&found.value)?),
            Change::put(self.keys.tombstone(id), encode(&tombstone)?),
        ];
        for entry in self.etcd.list(&self.keys.names()).await?.entries {
            // More aliases than fit into one transaction go with the next repair.
            if changes.len() < CHUNK / 2 && decode::<NameRecord>(&entry.value)?.collection == id {
                guards.push(Guard::ModRevision(entry.key.clone(), entry.mod_revision));
                changes.push(Change::Delete(entry.key));
            }
        }
        let revision = self.commit(guards, changes).await?;
        if let Err(error) = self.finish_delete(term, id).await {
            tracing::warn!(collection = %id, error = chain(&error), "deletion goes on later");
        }
        Ok(revision)
    }

    async fn finish_delete(&self, term: Term, id: CollectionId) -> Result<(), Error> {
        let mut keys: Vec<String> = Vec::new();
        for entry in self.etcd.list(&self.keys.names()).await?.entries {
            if decode::<NameRecord>(&entry.value)?.collection == id {
                keys.push(entry.key);
            }
        }
        let shards = self.etcd.list(&self.keys.shards_of(id)).await?.entries;
        keys.extend(shards.into_iter().map(|entry| entry.key));
        // The record goes last: while it is there, somebody knows that there is work left.
        keys.push(self.keys.collection(id));
        for keys in keys.chunks(CHUNK) {
            let changes = keys.iter().cloned().map(Change::Delete).collect();
            self.commit(vec![self.term(term)], changes).await?;
        }
        Ok(())
    }

    /// The active collection of a name that is its own, read from etcd itself.
    pub(super) async fn by_name(
        &self,
        name: &CollectionName,
    ) -> Result<Found<CollectionRecord>, Error> {
        let missing = || Error::Missing(name.to_string());
        let entry = self
            .etcd
            .get(&self.keys.name(name))
            .await?
            .ok_or_else(missing)?;
        let record: NameRecord = decode(&entry.value)?;
        let found = self.by_id(record.collection).await?.ok_or_else(missing)?;
        if found.value.state == CollectionState::Active && record.kind == NameKind::Name {
            return Ok(found);
        }
        Err(missing())
    }

    pub(super) async fn by_id(
        &self,
        id: CollectionId,
    ) -> Result<Option<Found<CollectionRecord>>, Error> {
        let Some(entry) = self.etcd.get(&self.keys.collection(id)).await? else {
            return Ok(None);
        };
        Ok(Some(Found {
            value: decode(&entry.value)?,
            mod_revision: entry.mod_revision,
        }))
    }

    /// Waits for the changes before this one.
    pub(super) async fn turn(&self, order: Order) -> Result<MutexGuard<'_, ()>, Error> {
        turn(&self.changing, self.clock.as_ref(), order.until).await
    }

    /// One guarded transaction.
    pub(super) async fn commit(
        &self,
        guards: Vec<Guard>,
        changes: Vec<Change>,
    ) -> Result<Revision, Error> {
        let outcome = self.etcd.transact(Transaction { guards, changes }).await?;
        if outcome.succeeded {
            Ok(outcome.revision)
        } else {
            Err(Error::Overtaken)
        }
    }

    pub(super) fn term(&self, term: Term) -> Guard {
        election::term_guard(&self.keys, term)
    }
}

async fn turn<'m>(
    changing: &'m Mutex<()>,
    clock: &dyn Clock,
    until: Moment,
) -> Result<MutexGuard<'m, ()>, Error> {
    let waiting = tokio::time::timeout(until.since(clock.now()), changing.lock());
    let turn = waiting.await.map_err(|_elapsed| Error::Late)?;
    // Both can be true at once: a free turn and no time left.
    if clock.now() >= until {
        return Err(Error::Late);
    }
    Ok(turn)
}

/// Changes the record; says whether that made a difference.
fn apply(record: &mut CollectionRecord, update: Update) -> Result<bool, Error> {
    match update {
        Update::Config(members) => {
            if !record.config.is_object() {
                record.config = serde_json::Value::Object(serde_json::Map::new());
            }
            if let Some(config) = record.config.as_object_mut() {
                for (key, value) in members {
                    merge(config.entry(key).or_insert(serde_json::Value::Null), value);
                }
            }
            Ok(true)
        },
        Update::CreateIndex(field, schema) => {
            if field.len() > INDEXED_FIELD_BYTES_MAX {
                let most = INDEXED_FIELD_BYTES_MAX;
                return Err(Error::Invalid(format!(
                    "a payload index is of a field whose name has at most {most} bytes"
                )));
            }
            let indexes = &mut record.payload_indexes;
            if indexes.len() >= PAYLOAD_INDEXES_MAX && !indexes.contains_key(&field) {
                let most = PAYLOAD_INDEXES_MAX;
                return Err(Error::Invalid(format!(
                    "a collection has at most {most} indexes"
                )));
            }
            Ok(indexes.insert(field, schema.clone()).as_ref() != Some(&schema))
        },
        Update::DeleteIndex(field) => Ok(record.payload_indexes.remove(&field).is_some()),
    }
}

/// RFC 7386, except that null stays.
fn merge(into: &mut serde_json::Value, value: serde_json::Value) {
    match (into, value) {
        (serde_json::Value::Object(into), serde_json::Value::Object(members)) => {
            for (key, value) in members {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        },
        (into, value) => *into = value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn an_index_of_a_field_that_is_no_key_of_the_store_is_refused_and_changes_nothing() {
        let mut record = CollectionRecord::bare();
        let create = |name: &str| Update::CreateIndex(name.to_owned(), json!("keyword"));
        let (longest, long) = ("f".repeat(400), "f".repeat(401));
        let refused = apply(&mut record, create(&long)).unwrap_err();
        assert_eq!(refused.kind(), Kind::InvalidInput);
        assert!(
            refused.to_string().contains("at most 400 bytes"),
            "{refused}"
        );
        assert!(record.payload_indexes.is_empty());
        assert!(apply(&mut record, create(&longest)).unwrap());
        assert!(!apply(&mut record, create(&longest)).unwrap());
        for other in 1..PAYLOAD_INDEXES_MAX {
            assert!(apply(&mut record, create(&other.to_string())).unwrap());
        }
        let refused = apply(&mut record, create("more")).unwrap_err();
        assert!(
            refused.to_string().contains("at most 64 indexes"),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn a_change_that_nobody_waits_for_any_more_does_not_begin() {
        let (clock, changing) = (ManualClock::default(), Mutex::new(()));
        let soon = clock.now() + Duration::from_millis(10);
        let held = turn(&changing, &clock, soon).await.unwrap();
        let waited = turn(&changing, &clock, soon).await;
        assert!(matches!(waited, Err(Error::Late)));
        drop(held);
        clock.advance(Duration::from_millis(10));
        let late = turn(&changing, &clock, soon).await.unwrap_err();
        assert_eq!((late.kind(), late.code()), (Kind::Timeout, "master.late"));
    }
}
