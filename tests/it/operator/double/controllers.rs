//! The controllers beside the API server: sets and deployments make pods, pods run, claims are bound,
//! what has no owner any more goes.
//!
//! They follow the store change by change and write only what differs, so they come to rest. Nothing
//! takes time here: what an operator sees is mostly the end of each step. Not here: rolling updates of
//! StatefulSets (ours are `OnDelete`), ordered starts, budgets, autoscalers, a scheduler that could refuse.

use std::sync::Arc;

use serde_json::Value;

use super::kinds::Kind;
use super::masters::Masters;
use super::pods;
use super::store::{Change, Happened, Key, Store, text};
use super::verbs::{Call, Deletion};
use super::{Shared, State, garbage, sets};
use crate::operator::double::apply::Writer;

/// Whether there are nodes on which pods run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    /// Enough for everything.
    Some,
    /// Pods wait for one, and nobody ends those that are on one.
    None,
}

/// Starts them.
pub(crate) fn start(shared: &Arc<Shared>, nodes: Nodes) {
    let mut changed = shared.changed.subscribe();
    let stopping = shared.tasks.stopping();
    let mut controllers = Controllers {
        masters: Masters::new(shared),
        nodes,
        done: 0,
    };
    let shared = Arc::clone(shared);
    let tasks = shared.tasks.clone();
    tasks.spawn("double-controllers", async move {
        let mut stopping = std::pin::pin!(stopping);
        controllers.begin(&mut shared.lock());
        loop {
            changed.mark_unchanged();
            let wrote = controllers.work(&mut shared.lock());
            if wrote {
                shared.tell();
            }
            tokio::select! {
                _ = changed.changed() => {},
                () = &mut stopping => return,
            }
        }
    });
}

struct Controllers {
    masters: Masters,
    nodes: Nodes,
    /// What happened up to this revision was seen.
    done: u64,
}

impl Controllers {
    /// Takes over what is there already: processes start anew, as after a power cut.
    fn begin(&mut self, state: &mut State) {
        let all: Vec<Key> = state.store.all().keys().cloned().collect();
        for key in all.iter().filter(|key| key.plural == "pods") {
            pods::restart(&mut state.store, key);
        }
        self.done = state.store.revision();
        for key in &all {
            self.look(state, key);
        }
    }

    /// Goes on until nothing is left to do. Whether anything was done.
    fn work(&mut self, state: &mut State) -> bool {
        let before = state.store.revision();
        while self.done < state.store.revision() {
            let changes = state.store.after(self.done).to_vec();
            self.done = state.store.revision();
            for change in &changes {
                self.follow(state, change);
            }
        }
        state.store.revision() != before
    }

    fn follow(&mut self, state: &mut State, change: &Change) {
        let object = &change.object;
        if change.what == Happened::Deleted {
            let uid = text(object, "/metadata/uid");
            for key in state.store.owned_by(uid) {
                garbage::collect(&mut state.store, &key);
            }
            garbage::owners_of(&mut state.store, &change.key, object);
            self.masters.end(uid);
        }
        self.look(state, &change.key);
        if change.key.plural == "pods" {
            let namespace = &change.key.namespace;
            let claims = pods::claims(object);
            for claim in claims {
                let key = Key::built_in("", "persistentvolumeclaims", namespace, &claim);
                pods::claim(&mut state.store, &key);
            }
        }
        let owners = object["metadata"]["ownerReferences"].as_array();
        for owner in owners.into_iter().flatten() {
            sets::of_owner(&mut state.store, &change.key.namespace, owner);
        }
        if matches!(&*change.key.plural, "secrets" | "persistentvolumeclaims") {
            // Pods may have waited for it.
            let pods = state.store.list("", "pods", &change.key.namespace);
            for (key, pod) in pods {
                if self.nodes == Nodes::Some && !pods::is_ready(&pod) {
                    pods::pod(state, &mut self.masters, &key);
                }
            }
        }
        if let Some(namespace) = garbage::ending_namespace(&state.store, &change.key.namespace) {
            garbage::namespace(&mut state.store, &namespace);
        }
    }

    /// Brings one object to what should be.
    fn look(&mut self, state: &mut State, key: &Key) {
        let store = &mut state.store;
        if store.get(key).is_none() {
            return;
        }
        garbage::finish(store, key);
        garbage::collect(store, key);
        match &*key.plural {
            "statefulsets" => sets::stateful_set(store, key),
            "deployments" => sets::deployment(store, key),
            "replicasets" => sets::replica_set(store, key),
            "persistentvolumeclaims" => pods::claim(store, key),
            "namespaces" => garbage::namespace(store, key),
            "pods" if self.nodes == Nodes::Some => pods::pod(state, &mut self.masters, key),
            _ => {},
        }
    }
}

/// Changes an object, if that changes anything.
pub(crate) fn change(store: &mut Store, key: &Key, edit: impl FnOnce(&mut Value)) {
    let Some(found) = store.get(key) else {
        return;
    };
    let mut object = Value::clone(&found);
    edit(&mut object);
    if object != *found {
        store.put(key, object);
    }
}

/// An object of Kubernetes' own, as controllers write it.
pub(crate) fn call(store: &Store, key: &Key) -> Option<Call> {
    let kind: Arc<Kind> = store.kinds.of(&key.group, &key.plural)?;
    Some(Call {
        kind,
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        writer: Writer {
            manager: "kube-controller-manager".to_owned(),
            subresource: String::new(),
            force: false,
        },
    })
}

/// Makes an object; one that cannot be made now is tried again at the next change.
pub(crate) fn make(store: &mut Store, key: &Key, object: Value) {
    if let Some(call) = call(store, key) {
        let made = call.create(store, object);
        drop(made);
    }
}

/// Deletes an object, as controllers do.
pub(crate) fn delete(store: &mut Store, key: &Key) {
    if let Some(call) = call(store, key) {
        let deleted = call.delete(store, &Deletion::default());
        drop(deleted);
    }
}
