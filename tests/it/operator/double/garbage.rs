//! What goes by itself: objects without owners, what waits for its dependents, namespaces that end.

use serde_json::{Value, json};

use super::controllers::{change, delete};
use super::store::{Key, Store, text};
use super::verbs::put;

/// Deletes an object all of whose owners are gone.
pub(crate) fn collect(store: &mut Store, key: &Key) {
    let Some(object) = store.get(key) else {
        return;
    };
    let owners = object["metadata"]["ownerReferences"].as_array();
    let owners = owners.map(Vec::as_slice).unwrap_or_default();
    if owners.is_empty() || !object["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let here = |owner: &Value| {
        let kind = store
            .kinds
            .named(text(owner, "/apiVersion"), text(owner, "/kind"));
        let Some(kind) = kind else {
            return true;
        };
        let above = Key::new(&kind, &key.namespace, text(owner, "/name"));
        let found = store.get(&above);
        found.is_some_and(|found| found["metadata"]["uid"] == owner["uid"])
    };
    let left: Vec<Value> = owners.iter().filter(|owner| here(owner)).cloned().collect();
    if left.is_empty() {
        delete(store, key);
    } else if left.len() < owners.len() {
        change(store, key, |object| {
            object["metadata"]["ownerReferences"] = json!(left);
        });
    }
}

/// Goes on with the owners of an object that is gone.
pub(crate) fn owners_of(store: &mut Store, key: &Key, object: &Value) {
    let owners = object["metadata"]["ownerReferences"].as_array();
    for owner in owners.into_iter().flatten() {
        let kind = store
            .kinds
            .named(text(owner, "/apiVersion"), text(owner, "/kind"));
        if let Some(kind) = kind {
            finish(
                store,
                &Key::new(&kind, &key.namespace, text(owner, "/name")),
            );
        }
    }
}

/// Goes on with an object that was deleted and waits for what it owns.
pub(crate) fn finish(store: &mut Store, key: &Key) {
    let Some(object) = store.get(key) else {
        return;
    };
    if object["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let finalizers = object["metadata"]["finalizers"].as_array();
    let finalizers = finalizers.cloned().unwrap_or_default();
    let has = |name: &str| finalizers.iter().any(|one| one == name);
    let uid = text(&object, "/metadata/uid").to_owned();
    let owned = store.owned_by(&uid);
    let done = if has("orphan") {
        for below in &owned {
            change(store, below, |below| {
                let owners = below["metadata"]["ownerReferences"].as_array();
                let mut owners = owners.cloned().unwrap_or_default();
                owners.retain(|owner| owner["uid"] != *uid);
                let left = Some(owners).filter(|owners| !owners.is_empty());
                put(&mut below["metadata"], "ownerReferences", json!(left));
            });
        }
        "orphan"
    } else if has("foregroundDeletion") {
        for below in &owned {
            delete(store, below);
        }
        if !owned.is_empty() {
            return;
        }
        "foregroundDeletion"
    } else {
        return;
    };
    let rest: Vec<&Value> = finalizers.iter().filter(|one| **one != done).collect();
    if rest.is_empty() {
        store.remove(key);
    } else {
        change(store, key, |object| {
            object["metadata"]["finalizers"] = json!(rest);
        });
    }
}

/// The namespace of this name, if it is about to end.
pub(crate) fn ending_namespace(store: &Store, name: &str) -> Option<Key> {
    let key = Key::built_in("", "namespaces", "", name);
    let namespace = store.get(&key)?;
    let leaving = !namespace["metadata"]["deletionTimestamp"].is_null();
    leaving.then_some(key)
}

/// Empties a namespace that is deleted, and lets it go when nothing is left.
pub(crate) fn namespace(store: &mut Store, key: &Key) {
    if ending_namespace(store, &key.name).is_none() {
        return;
    }
    let all = store.all().keys();
    let within: Vec<Key> = all
        .filter(|one| one.namespace == key.name)
        .cloned()
        .collect();
    if within.is_empty() {
        store.remove(key);
        return;
    }
    change(store, key, |namespace| {
        namespace["status"] = json!({"phase": "Terminating"});
    });
    for one in &within {
        delete(store, one);
    }
}
