//! A double of a Kubernetes API server with the controllers that the operator needs, in this process.
//!
//! The real operator process talks to it over HTTP on loopback. It keeps untyped objects of any kind it
//! knows (`kinds`), carries verbs out as an API server does (`verbs`, `apply`, `patch`), tells watches
//! what happens (`reading`), and beside it controllers make pods of sets and bind volumes
//! (`controllers`), and masters answer on the pods' own loopback addresses (`masters`). What tests need
//! beyond that: every request is written down, an answer can be held back, refused, lost, or come from an
//! older state (`journal`), and a whole state can be kept and put into another double ([`Snapshot`]).
//!
//! `contract` runs the same cases here and on a real API server. Knowingly less: no validation by schemas
//! or rules, no quotas, no admission but that of namespaces that end, no authentication; of
//! Kubernetes' own kinds next to no defaults are filled in, and lists of theirs that are maps by keys are
//! known where ours use them (`shape`); pages of a list are not of one moment (`reading`); no strategic
//! merge patches, no protobuf, no tables, no aggregated discovery, no deletion of collections, no
//! evictions, no dry runs; one version of each kind.

pub(crate) mod admission;
pub(crate) mod apply;
pub(crate) mod controllers;
pub(crate) mod fields;
pub(crate) mod garbage;
pub(crate) mod journal;
pub(crate) mod kinds;
pub(crate) mod masters;
pub(crate) mod patch;
pub(crate) mod pods;
pub(crate) mod reading;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod rights;
pub(crate) mod selectors;
pub(crate) mod server;
pub(crate) mod sets;
pub(crate) mod shape;
pub(crate) mod store;
pub(crate) mod verbs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use vectorsphere::tasks::Tasks;

use crate::support::wait_for::wait_for;

use controllers::Nodes;
use journal::{Faults, Journal};
use masters::Led;
use server::Who;
use store::{Key, Snapshot, Store};

/// Everything behind the lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) faults: Faults,
    /// The answer of a write is held back: nothing is carried out any more.
    pub(crate) held: bool,
    /// Watches of an earlier epoch end.
    pub(crate) epoch: u64,
    /// What the masters of a cluster, by namespace and name, have agreed on.
    pub(crate) led: BTreeMap<(String, String), Led>,
}

/// What the parts of the double share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Told after everything that may have changed the state.
    pub(crate) changed: watch::Sender<u64>,
    pub(crate) tasks: Tasks,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits for changes.
    pub(crate) fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// A double. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Double {
    pub(crate) shared: Arc<Shared>,
}

impl Double {
    /// An API server without controllers, and with nothing in it.
    pub(crate) fn bare() -> Self {
        Self::of(Store::new())
    }

    /// An API server with controllers and nodes, that holds what a snapshot does.
    pub(crate) fn start(snapshot: &Snapshot) -> Self {
        Self::with_nodes(snapshot, Nodes::Some)
    }

    /// The same with nodes or without.
    pub(crate) fn with_nodes(snapshot: &Snapshot, nodes: Nodes) -> Self {
        let double = Self::of(Store::restore(snapshot));
        controllers::start(&double.shared, nodes);
        double
    }

    fn of(store: Store) -> Self {
        let (changed, _) = watch::channel(0);
        let state = State {
            store,
            journal: Journal::default(),
            faults: Faults::default(),
            held: false,
            epoch: 0,
            led: BTreeMap::new(),
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed,
                tasks: Tasks::new(),
            }),
        }
    }

    /// Another address of the server, for an operator: what is asked there is written down under this name,
    /// and what its rights do not cover is refused (`rights`).
    pub(crate) async fn door(&self, name: &str) -> String {
        server::serve(&self.shared, name, Who::Operator).await
    }

    /// The same for somebody who may do everything.
    pub(crate) async fn open_door(&self, name: &str) -> String {
        server::serve(&self.shared, name, Who::Anybody).await
    }

    /// Looks at the state, or changes it.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let done = look(&mut self.shared.lock());
        self.shared.tell();
        done
    }

    /// An object.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.shared.lock().store.get(key)
    }

    /// Waits until something is so.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        look: impl Fn(&State) -> Option<T>,
    ) -> T {
        let look = &look;
        wait_for(what, limit, || async move { look(&self.shared.lock()) }).await
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.shared.tasks.stop();
    }
}
