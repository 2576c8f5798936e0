//! The state of a mirror: what listings and batches do to it. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Decode;
use crate::coordination::Error;
use crate::coordination::etcd::{Batch, Entry, Event, LeaseId, Listing};
use crate::fault;
use crate::ids::Revision;

/// A value and what etcd knows of its key.
#[derive(Debug)]
pub struct Held<T> {
    /// The value.
    pub value: Arc<T>,
    /// When the key was made.
    pub create_revision: Revision,
    /// When this value was written.
    pub mod_revision: Revision,
    /// The lease that it dies with.
    pub lease: Option<LeaseId>,
}

// Not derived: a clone shares the value and asks nothing of it.
impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            lease: self.lease,
        }
    }
}

type Entries<T> = BTreeMap<Arc<str>, Held<T>>;

/// A prefix as it was at one revision.
#[derive(Debug)]
pub struct View<T> {
    /// By what follows the prefix in the key.
    pub entries: Arc<BTreeMap<Arc<str>, Held<T>>>,
    /// The revision; 0 before anything was read.
    pub revision: Revision,
}

impl<T> View<T> {
    /// The value under what follows the prefix in the key.
    pub fn get(&self, rest: &str) -> Option<&Held<T>> {
        self.entries.get(rest)
    }

    /// All values, by what follows the prefix in their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Held<T>)> {
        self.entries.iter().map(|(rest, held)| (&**rest, held))
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.entries.values().map(|held| &held.value)
    }
}

/// What a mirror holds.
pub(super) struct Replica<T> {
    prefix: String,
    decode: Decode<T>,
    entries: Arc<Entries<T>>,
    revision: Revision,
    cluster_id: Option<u64>,
    unreadable: u64,
}

impl<T> Replica<T> {
    pub(super) fn new(prefix: String, decode: Decode<T>) -> Self {
        Self {
            prefix,
            decode,
            entries: Arc::default(),
            revision: Revision(0),
            cluster_id: None,
            unreadable: 0,
        }
    }

    pub(super) fn view(&self) -> View<T> {
        View {
            entries: Arc::clone(&self.entries),
            revision: self.revision,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    /// Becomes what a listing shows; says whether that differs from before.
    ///
    /// # Errors
    /// [`Error::WentBack`], with nothing changed, if it is older than what was seen or of another
    /// cluster.
    pub(super) fn adopt(&mut self, listing: &Listing) -> Result<bool, Error> {
        let cluster = self.cluster_id.unwrap_or(listing.cluster_id);
        if listing.cluster_id != cluster {
            let reason = format!("from cluster {cluster:x} to {:x}", listing.cluster_id);
            return Err(Error::WentBack { reason });
        }
        if listing.revision < self.revision {
            let reason = format!("from revision {} to {}", self.revision, listing.revision);
            return Err(Error::WentBack { reason });
        }
        let mut entries = Entries::new();
        let mut changed = false;
        for entry in &listing.entries {
            let Some(rest) = entry.key.strip_prefix(&self.prefix) else {
                continue;
            };
            let old = self.entries.get_key_value(rest);
            if let Some((rest, held)) = old.filter(|(_rest, held)| held.is(entry)) {
                entries.insert(Arc::clone(rest), held.clone());
                continue;
            }
            let old = old.map(|(rest, held)| (Arc::clone(rest), held.clone()));
            if let Some(held) = self.decoded(rest, entry) {
                entries.insert(Arc::from(rest), held);
                changed = true;
            } else if let Some((rest, held)) = old {
                entries.insert(rest, held);
            }
        }
        changed |= self.entries.keys().any(|rest| !entries.contains_key(rest));
        if changed {
            self.entries = Arc::new(entries);
        }
        self.revision = listing.revision;
        self.cluster_id = Some(cluster);
        Ok(changed)
    }

    /// Applies what happened since; says whether it changed anything. What was seen before is
    /// passed over.
    pub(super) fn apply(&mut self, batch: &Batch) -> bool {
        let mut changed = false;
        for event in &batch.events {
            if event.revision() <= self.revision {
                continue;
            }
            changed |= match event {
                Event::Put(entry) => self.put(entry),
                Event::Delete { key, .. } => self.delete(key),
            };
        }
        self.advance(batch.revision);
        changed
    }

    /// Everything up to a revision is known.
    pub(super) fn advance(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }

    fn put(&mut self, entry: &Entry) -> bool {
        let Some(rest) = entry.key.strip_prefix(&self.prefix) else {
            return false;
        };
        let Some(held) = self.decoded(rest, entry) else {
            return false;
        };
        Arc::make_mut(&mut self.entries).insert(Arc::from(rest), held);
        true
    }

    fn delete(&mut self, key: &str) -> bool {
        match key.strip_prefix(&self.prefix) {
            Some(rest) if self.entries.contains_key(rest) => {
                Arc::make_mut(&mut self.entries).remove(rest);
                true
            },
            _ => false,
        }
    }

    fn decoded(&mut self, rest: &str, entry: &Entry) -> Option<Held<T>> {
        match (self.decode)(rest, &entry.value) {
            Ok(value) => Some(Held {
                value: Arc::new(value),
                create_revision: entry.create_revision,
                mod_revision: entry.mod_revision,
                lease: entry.lease,
            }),
            Err(error) => {
                self.unreadable = self.unreadable.saturating_add(1);
                let (key, error) = (&entry.key, fault::chain(&error));
                tracing::error!(key, error, "value cannot be read; the last good one stays");
                None
            },
        }
    }
}

impl<T> Held<T> {
    /// Whether it was made of this very write.
    fn is(&self, entry: &Entry) -> bool {
        self.mod_revision == entry.mod_revision && self.create_revision == entry.create_revision
    }
}

#[cfg(test)]
mod tests;
