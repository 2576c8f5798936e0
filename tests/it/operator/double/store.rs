//! The objects, and everything that has happened to them, under one counter of revisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::{Kind, Kinds};

/// Which object: group and plural of its kind, namespace (empty beside all), name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) group: String,
    pub(crate) plural: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        Self {
            group: kind.group.clone(),
            plural: kind.plural.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// A kind of Kubernetes' own.
    pub(crate) fn built_in(group: &str, plural: &str, namespace: &str, name: &str) -> Self {
        Self {
            group: group.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.plural, self.namespace, self.name)
    }
}

/// Changes that are kept at most, and that go at once then.
const LOG_MAX: usize = 20_000;
const LOG_FORGOTTEN: usize = 10_000;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Added,
    Modified,
    Deleted,
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) what: Happened,
    /// The object after it; of a deleted one its last state.
    pub(crate) object: Arc<Value>,
    /// The object before it.
    pub(crate) before: Option<Arc<Value>>,
}

/// Every object as it stood at a revision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Snapshot {
    pub(crate) objects: BTreeMap<Key, Arc<Value>>,
    pub(crate) revision: u64,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) kinds: Kinds,
    objects: BTreeMap<Key, Arc<Value>>,
    /// The objects that name an owner, by its UID.
    owned: BTreeMap<String, BTreeSet<Key>>,
    revision: u64,
    log: Vec<Change>,
    /// Nobody is told of changes up to this revision.
    compacted: u64,
}

impl Store {
    /// Nothing is there. Revisions begin high enough that there are old ones.
    pub(crate) fn new() -> Self {
        Self {
            kinds: Kinds::of_kubernetes(),
            objects: BTreeMap::new(),
            owned: BTreeMap::new(),
            revision: 100,
            log: Vec::new(),
            compacted: 100,
        }
    }

    /// What a snapshot holds; nothing of how it came to be.
    pub(crate) fn restore(snapshot: &Snapshot) -> Self {
        let mut store = Self::new();
        store.revision = snapshot.revision;
        store.compacted = snapshot.revision;
        for (key, object) in &snapshot.objects {
            if key.plural == "customresourcedefinitions" {
                store.kinds.define(object);
            }
            store.index(key, object);
            store.objects.insert(key.clone(), Arc::clone(object));
        }
        store
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            objects: self.objects.clone(),
            revision: self.revision,
        }
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) const fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Watches cannot begin before now any more.
    pub(crate) const fn compact(&mut self) {
        self.compacted = self.revision;
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).map(Arc::clone)
    }

    /// The objects of a kind in a namespace, or in all.
    pub(crate) fn list(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
    ) -> Vec<(Key, Arc<Value>)> {
        list(&self.objects, (group, plural), namespace)
    }

    /// The objects that name an owner of this UID.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Key> {
        let owned = self.owned.get(uid);
        owned.into_iter().flatten().cloned().collect()
    }

    pub(crate) fn all(&self) -> &BTreeMap<Key, Arc<Value>> {
        &self.objects
    }

    /// The changes after a revision.
    pub(crate) fn after(&self, revision: u64) -> &[Change] {
        let from = self
            .log
            .partition_point(|change| change.revision <= revision);
        &self.log[from..]
    }

    /// Writes an object under the next revision.
    pub(crate) fn put(&mut self, key: &Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        if key.plural == "customresourcedefinitions" {
            self.kinds.define(&object);
        }
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        if let Some(before) = &before {
            self.unindex(key, before);
        }
        self.index(key, &object);
        let what = if before.is_some() {
            Happened::Modified
        } else {
            Happened::Added
        };
        self.remember(key, what, &object, before);
        object
    }

    /// Takes an object away under the next revision.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Value>> {
        let before = self.objects.remove(key)?;
        self.unindex(key, &before);
        if key.plural == "customresourcedefinitions" {
            self.kinds.forget(&before);
        }
        self.revision += 1;
        let mut last = Value::clone(&before);
        last["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let last = Arc::new(last);
        self.remember(key, Happened::Deleted, &last, Some(before));
        Some(last)
    }

    fn remember(
        &mut self,
        key: &Key,
        what: Happened,
        object: &Arc<Value>,
        before: Option<Arc<Value>>,
    ) {
        self.log.push(Change {
            revision: self.revision,
            key: key.clone(),
            what,
            object: Arc::clone(object),
            before,
        });
        if self.log.len() > LOG_MAX {
            let last = self.log.drain(..LOG_FORGOTTEN).next_back();
            let forgotten = last.map_or(0, |change| change.revision);
            self.compacted = self.compacted.max(forgotten);
        }
    }

    fn index(&mut self, key: &Key, object: &Value) {
        for uid in owners(object) {
            let owned = self.owned.entry(uid.to_owned()).or_default();
            owned.insert(key.clone());
        }
    }

    fn unindex(&mut self, key: &Key, object: &Value) {
        for uid in owners(object) {
            if let Some(owned) = self.owned.get_mut(uid) {
                owned.remove(key);
            }
        }
    }
}

/// The objects of a kind in a namespace, or in all where that is empty.
pub(crate) fn list(
    objects: &BTreeMap<Key, Arc<Value>>,
    (group, plural): (&str, &str),
    namespace: &str,
) -> Vec<(Key, Arc<Value>)> {
    let first = Key::built_in(group, plural, namespace, "");
    let found = objects.range(first..).take_while(|(key, _)| {
        key.group == group
            && key.plural == plural
            && (namespace.is_empty() || key.namespace == namespace)
    });
    found
        .map(|(key, object)| (key.clone(), Arc::clone(object)))
        .collect()
}

/// The UIDs of an object's owners.
pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners
        .into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
}

/// A text of an object; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default()
}
