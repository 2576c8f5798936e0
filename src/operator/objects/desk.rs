//! What the controllers of all kinds share: reading an object again, writing what is said of it, and
//! when it is looked at next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::runtime::controller::Action;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::operator::Error;
use crate::operator::cluster_api::within;
use crate::operator::events::{self, Told};
use crate::operator::names::MANAGER;
use crate::operator::reconcile::Context;
use crate::resilience::backoff::Backoff;

/// When an object is looked at again that is as it should be.
const LATER: Duration = Duration::from_secs(30);
/// When one is looked at again that something was just done for.
const NEXT: Duration = Duration::from_millis(100);
/// The first pause of an object that waits, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// Objects whose pauses are known. Past that all begin with the first pause again.
const PAUSES_MAX: usize = 10_000;

/// A kind of object that is carried out.
pub(super) trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// What rounds are made with.
pub(super) struct Desk {
    pub(super) context: Arc<Context>,
    pauses: Mutex<HashMap<String, Backoff>>,
}

impl Desk {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            pauses: Mutex::default(),
        }
    }

    fn client(&self) -> Client {
        self.context.client.clone()
    }

    /// Now, for people to read.
    pub(super) fn now(&self) -> Timestamp {
        let ms = i64::try_from(self.context.maker.clock.wall_ms()).unwrap_or(i64::MAX);
        let now = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        // The server keeps seconds: what it gives back must be what was written.
        Timestamp::from_second(now.as_second()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The objects of a namespace.
    pub(super) fn api<K: Kind>(&self, object: &impl ResourceExt) -> Api<K> {
        Api::namespaced(self.client(), &object.namespace().unwrap_or_default())
    }

    /// An object of this name in the namespace of another, as the server holds it now.
    pub(super) async fn get<K: Kind>(
        &self,
        beside: &impl ResourceExt,
        name: &str,
    ) -> Result<Option<K>, Error> {
        within(self.api::<K>(beside).get_opt(name)).await
    }

    /// This very object as the server holds it now: what a watch told may be old, and an old object
    /// must not be carried out again.
    pub(super) async fn fresh<K: Kind>(&self, object: &K) -> Result<Option<K>, Error> {
        let found: Option<K> = self.get(object, &object.name_any()).await?;
        Ok(found.filter(|found| found.uid() == object.uid()))
    }

    /// Writes the status, if it says something else than before.
    pub(super) async fn write_status<K: Kind, S: Serialize + PartialEq + Sync>(
        &self,
        object: &K,
        after: &S,
        before: Option<&S>,
    ) -> Result<(), Error> {
        if before == Some(after) {
            return Ok(());
        }
        let patch = applied(object, &json!({"status": after}));
        let parameters = PatchParams::apply(MANAGER).force();
        let api = self.api::<K>(object);
        let patch = Patch::Apply(&patch);
        let written = within(api.patch_status(&object.name_any(), &parameters, &patch)).await;
        unless_gone(written.map(|_object| ()))
    }

    /// Adds a finalizer or takes it away. Others that hold the object stay, whoever wrote ours.
    pub(super) async fn set_finalizer<K: Kind>(
        &self,
        object: &K,
        name: &str,
        held: bool,
    ) -> Result<(), Error> {
        let patch = json!({"metadata": {
            "uid": object.uid(), "resourceVersion": object.resource_version(),
            "finalizers": finalizers(object.finalizers(), name, held),
        }});
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.api::<K>(object);
        let patch = Patch::Merge(&patch);
        let patched = within(api.patch(&object.name_any(), &parameters, &patch)).await;
        // A conflict: somebody changed the object, and the next round sees it.
        unless_gone(patched.map(|_object| ()))
    }

    /// Applies fields of an object as one field manager.
    pub(super) async fn apply<K: Kind>(
        &self,
        object: &K,
        manager: &str,
        patch: &Value,
    ) -> Result<(), Error> {
        let parameters = PatchParams::apply(manager).force();
        let api = self.api::<K>(object);
        let patch = Patch::Apply(patch);
        let applied = within(api.patch(&object.name_any(), &parameters, &patch)).await;
        unless_gone(applied.map(|_object| ()))
    }

    /// Sends events about an object.
    pub(super) async fn tell<K: Kind>(&self, about: &K, all: &[Told]) {
        events::send(&self.context.recorder, about, all).await;
    }

    /// Deletes this very object and no other of its name.
    pub(super) async fn delete<K: Kind>(&self, object: &K) -> Result<(), Error> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let api = self.api::<K>(object);
        let deleted = within(api.delete(&object.name_any(), &parameters)).await;
        unless_gone(deleted.map(|_object| ()))
    }

    /// Nothing is to be done for an object for now.
    pub(super) fn calm(&self, object: &impl ResourceExt) -> Action {
        self.forget(object);
        Action::requeue(LATER)
    }

    /// The object is gone, or nothing will ever be done for it.
    pub(super) fn done(&self, object: &impl ResourceExt) -> Action {
        self.forget(object);
        Action::await_change()
    }

    /// Something was done: what came of it is looked at next.
    pub(super) fn go_on(&self, object: &impl ResourceExt) -> Action {
        self.forget(object);
        Action::requeue(NEXT)
    }

    /// Something is waited for, longer each time.
    pub(super) fn wait(&self, object: &impl ResourceExt) -> Action {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        if pauses.len() >= PAUSES_MAX {
            pauses.clear();
        }
        let backoff = pauses.entry(object.uid().unwrap_or_default());
        let backoff = backoff.or_insert_with(|| Backoff::new(PAUSES.0, PAUSES.1));
        Action::requeue(backoff.next(&self.context.maker.entropy))
    }

    fn forget(&self, object: &impl ResourceExt) {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        pauses.remove(&object.uid().unwrap_or_default());
    }
}

/// Fields of an object as they are applied. With the UID: another of its name is not changed, and one
/// that is gone is not made anew.
pub(super) fn applied<K: Kind>(object: &K, fields: &Value) -> Value {
    let mut patch = json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {},
    });
    let own = json!({"metadata": {"name": object.name_any(), "uid": object.uid()}});
    for fields in [fields, &own] {
        let sections = fields.as_object().into_iter().flatten();
        for (section, value) in sections {
            let there = patch.get_mut(section).and_then(Value::as_object_mut);
            match (there, value) {
                (Some(there), Value::Object(members)) => there.extend(members.clone()),
                (_, value) => {
                    if let Some(patch) = patch.as_object_mut() {
                        patch.insert(section.clone(), value.clone());
                    }
                },
            }
        }
    }
    patch
}

/// The finalizers of an object with or without one.
fn finalizers(before: &[String], name: &str, held: bool) -> Vec<String> {
    let others = before.iter().filter(|one| *one != name).cloned();
    others.chain(held.then(|| name.to_owned())).collect()
}

fn unless_gone(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(Error::Kubernetes(kube::Error::Api(status)))
            if status.is_not_found() || status.is_conflict() =>
        {
            Ok(())
        },
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::v1alpha1::VectorCollection;

    #[test]
    fn what_is_applied_is_of_this_very_object() {
        let object: VectorCollection = serde_json::from_value(json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCollection",
            "metadata": {"name": "a", "uid": "u"}, "spec": {"cluster": "c", "dimension": 1},
        }))
        .unwrap();
        let patch = applied(&object, &json!({"metadata": {"annotations": {"k": "v"}}}));
        let expected = json!({
            "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCollection",
            "metadata": {"name": "a", "uid": "u", "annotations": {"k": "v"}},
        });
        assert_eq!(patch, expected);
        let patch = applied(&object, &json!({"status": {"vectors": 1}}));
        assert_eq!(patch["status"], json!({"vectors": 1}));
        assert_eq!(patch["metadata"], json!({"name": "a", "uid": "u"}));
    }

    #[test]
    fn a_finalizer_comes_and_goes_and_leaves_the_others() {
        let (none, other) = (vec![], vec!["b".to_owned()]);
        let both = vec!["b".to_owned(), "a".to_owned()];
        assert_eq!(finalizers(&none, "a", true), ["a"]);
        assert_eq!(finalizers(&other, "a", true), both);
        assert_eq!(finalizers(&both, "a", true), both);
        assert_eq!(finalizers(&both, "a", false), other);
    }
}
