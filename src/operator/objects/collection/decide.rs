//! What is done about a VectorCollection, and what is said of it. Pure: the object, its rivals, its
//! cluster and what the masters say in; one action and three conditions out.
//!
//! What would lose data is never guessed. A collection that is there belongs to whom its settings name;
//! another one is left alone without `adopt`. Nothing is deleted that was not made or taken over for
//! this very object, and a collection that was there and is gone is not made anew, since that would hide
//! its loss. An object whose cluster is gone for ever is let go.

use k8s_openapi::jiff::Timestamp;

use super::measures::{self, Measures};
use super::wanted::{self, Wanted};
use crate::crd::v1alpha1::{RetainOrDelete, VectorCollection};
use crate::operator::objects::said::{Said, Truth};
use crate::rpc::proto;

/// Keeps an object until its collection is deleted.
pub(super) const FINALIZER: &str = "vectorsphere.io/collection";

/// Another VectorCollection for the same collection of the same cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) created: Option<Timestamp>,
}

/// The cluster that is to have the collection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cluster<'a> {
    /// There is no VectorCluster of the name.
    Missing,
    /// There is one.
    There {
        /// It is being deleted.
        leaving: bool,
        /// Nothing is to be done to it.
        paused: bool,
        /// What its masters say, or why they do not.
        masters: Result<&'a proto::GetClusterStateResponse, &'a str>,
    },
}

/// What is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) object: &'a VectorCollection,
    pub(super) rivals: &'a [Rival],
    pub(super) cluster: Cluster<'a>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Nothing,
    /// The object is kept until its collection is deleted.
    Keep,
    /// The object is let go.
    Release,
    /// The leader makes the collection.
    Create(proto::CreateCollectionRequest),
    /// The leader writes down whose the collection is.
    Adopt(proto::UpdateCollectionRequest),
    /// The leader deletes it.
    Delete(proto::DeleteCollectionRequest),
}

/// When the object is looked at again, unless it or its cluster changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// All is as it should be, or only a person can change that.
    Calm,
    /// Something is waited for.
    Waiting,
}

/// What is done and said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    pub(super) action: Action,
    pub(super) ready: Said,
    pub(super) synced: Said,
    pub(super) indexed: Said,
    /// What the collection measures; absent when that is not known now.
    pub(super) measures: Option<Measures>,
    pub(super) pace: Pace,
}

impl Decision {
    /// Not ready and not in line with the spec for one reason.
    fn held(truth: Truth, pace: Pace, reason: &'static str, message: impl Into<String>) -> Self {
        let said = Said::new(truth, reason, message);
        Self {
            action: Action::Nothing,
            ready: said.clone(),
            synced: said,
            indexed: Said::new(Truth::Unknown, reason, ""),
            measures: None,
            pace,
        }
    }

    /// Only a person can change that.
    fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        Self::held(Truth::False, Pace::Calm, reason, message)
    }

    /// It changes by itself.
    fn waiting(truth: Truth, reason: &'static str, message: impl Into<String>) -> Self {
        Self::held(truth, Pace::Waiting, reason, message)
    }

    fn doing(self, action: Action) -> Self {
        Self { action, ..self }
    }
}

/// Decides.
pub(super) fn decide(facts: &Facts<'_>) -> Decision {
    let metadata = &facts.object.metadata;
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    let kept = finalizers.iter().any(|name| name == FINALIZER);
    if metadata.deletion_timestamp.is_some() {
        let decision = leave(facts);
        // Without the finalizer it goes by itself.
        return if kept {
            decision
        } else {
            decision.doing(Action::Nothing)
        };
    }
    let decision = live(facts);
    match (facts.object.spec.deletion_policy, kept) {
        // First: what is made after it cannot be forgotten.
        (RetainOrDelete::Delete, false) => decision.doing(Action::Keep),
        (RetainOrDelete::Retain, true) => decision.doing(Action::Release),
        (RetainOrDelete::Delete, true) | (RetainOrDelete::Retain, false) => decision,
    }
}

fn live(facts: &Facts<'_>) -> Decision {
    let cluster = &facts.object.spec.cluster;
    let wanted = match Wanted::of(facts.object) {
        Ok(wanted) => wanted,
        Err(refusal) => return Decision::refused(refusal.reason, refusal.message),
    };
    let (paused, state) = match facts.cluster {
        Cluster::Missing => {
            let message = format!("there is no VectorCluster {cluster} in this namespace");
            return Decision::waiting(Truth::False, "ClusterMissing", message);
        },
        Cluster::There {
            masters: Err(why), ..
        } => {
            let message = format!("{cluster} cannot be asked: {why}");
            return Decision::waiting(Truth::Unknown, "MastersAway", message);
        },
        Cluster::There {
            paused,
            masters: Ok(state),
            ..
        } => (paused, state),
    };
    let decision = match find(state, &wanted.name) {
        Some(there) => existing(facts, &wanted, there),
        None => absent(facts, &wanted, state),
    };
    match decision.action {
        Action::Nothing => decision,
        Action::Keep
        | Action::Release
        | Action::Create(_)
        | Action::Adopt(_)
        | Action::Delete(_) => match hindrance(paused, cluster, state) {
            Some(held) => held,
            None => decision,
        },
    }
}

/// Why nothing can be changed in a cluster now.
fn hindrance(
    paused: bool,
    cluster: &str,
    state: &proto::GetClusterStateResponse,
) -> Option<Decision> {
    if paused {
        let message = format!("{cluster} is paused: nothing is changed in it");
        return Some(Decision::waiting(Truth::False, "ClusterPaused", message));
    }
    if state.stale {
        let message = format!("etcd of {cluster} does not answer: nothing can be changed");
        return Some(Decision::waiting(Truth::Unknown, "EtcdAway", message));
    }
    if state.leader.is_empty() {
        let message = format!("no master of {cluster} leads: nothing can be changed");
        return Some(Decision::waiting(Truth::False, "NoLeader", message));
    }
    None
}

/// The collection of a name; one that is being deleted is not there for anybody.
fn find<'a>(
    state: &'a proto::GetClusterStateResponse,
    name: &str,
) -> Option<&'a proto::CollectionState> {
    let mut all = state.collections.iter();
    all.find(|one| one.name == name && one.state != "deleting")
}

/// The rival that comes first, if one does.
fn first_come<'a>(facts: &Facts<'a>) -> Option<&'a Rival> {
    let metadata = &facts.object.metadata;
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
    let own = (created, metadata.name.as_deref().unwrap_or_default());
    let before = facts.rivals.iter();
    before
        .filter(|rival| (rival.created, rival.name.as_str()) < own)
        .min_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)))
}

fn taken(wanted: &Wanted, rival: &Rival) -> Decision {
    let (name, by) = (&wanted.name, &rival.name);
    let message = format!("the collection `{name}` is that of the VectorCollection {by}");
    Decision::refused("NameTaken", message)
}

fn absent(facts: &Facts<'_>, wanted: &Wanted, state: &proto::GetClusterStateResponse) -> Decision {
    let name = &wanted.name;
    if let Some(rival) = first_come(facts) {
        return taken(wanted, rival);
    }
    let aliased = state
        .collections
        .iter()
        .find(|one| one.aliases.contains(name));
    if let Some(aliased) = aliased {
        let message = format!("`{name}` is an alias of the collection `{}`", aliased.name);
        return Decision::refused("AlreadyExists", message);
    }
    let seen = facts
        .object
        .status
        .as_ref()
        .is_some_and(|status| status.shards.is_some());
    if seen && !state.stale {
        let message = format!(
            "the collection `{name}` was there and is gone: an application deleted it, or the cluster \
             lost it. An empty one is not made in its place by itself: delete this VectorCollection \
             and apply it again for that"
        );
        return Decision::refused("Vanished", message);
    }
    let message = format!("the collection `{name}` is being made");
    Decision::waiting(Truth::False, "Creating", message)
        .doing(Action::Create(wanted.create(facts.object)))
}

fn existing(facts: &Facts<'_>, wanted: &Wanted, there: &proto::CollectionState) -> Decision {
    let (name, uid) = (&wanted.name, facts.object.metadata.uid.as_deref());
    let owner = wanted::owner(there);
    let ours = owner.is_some() && owner.as_deref() == uid;
    if !ours {
        // Who has it keeps it; a collection that nobody has is the older object's.
        let has = |rival: &&Rival| Some(&rival.uid) == owner.as_ref();
        if let Some(rival) = facts.rivals.iter().find(has).or_else(|| first_come(facts)) {
            return taken(wanted, rival);
        }
        if !facts.object.spec.adopt {
            let message = format!(
                "there is a collection `{name}` that was not made for this VectorCollection; \
                 adopt: true takes it over"
            );
            return Decision::refused("AlreadyExists", message);
        }
    }
    if there.state == "creating" {
        let message = format!("the collection `{name}` is being made");
        return Decision::waiting(Truth::False, "Creating", message);
    }
    let differences = wanted.differences(there);
    if !differences.is_empty() {
        let message = format!("this cannot be changed: {}", differences.join("; "));
        let refused = Decision::refused("CannotChange", message);
        return if ours {
            measured(refused, wanted, there)
        } else {
            refused
        };
    }
    if !ours {
        let message = format!("the collection `{name}` is being taken over");
        return Decision::waiting(Truth::False, "Adopting", message)
            .doing(Action::Adopt(wanted.adopt(facts.object)));
    }
    measured(serving(wanted, there), wanted, there)
}

fn serving(wanted: &Wanted, there: &proto::CollectionState) -> Decision {
    let name = &wanted.name;
    let measures = measures::of(there);
    let (ready, pace) = if measures.shards.unavailable > 0 {
        let message = format!("{} shards are served", measures.shards.summary);
        let said = Said::new(Truth::False, "ShardsUnavailable", message);
        (said, Pace::Waiting)
    } else {
        let message = format!("the collection `{name}` is there and served");
        (Said::new(Truth::True, "Serving", message), Pace::Calm)
    };
    let synced = Said::new(Truth::True, "Synced", "the collection is as the spec says");
    Decision {
        ready,
        synced,
        pace,
        ..Decision::refused("Serving", "")
    }
}

fn measured(decision: Decision, wanted: &Wanted, there: &proto::CollectionState) -> Decision {
    Decision {
        indexed: measures::indexed(wanted.is_flat(), there),
        measures: Some(measures::of(there)),
        ..decision
    }
}

/// What is done about an object that is being deleted.
fn leave(facts: &Facts<'_>) -> Decision {
    let spec = &facts.object.spec;
    let cluster = &spec.cluster;
    let deleting = |message: String| Decision::waiting(Truth::False, "Deleting", message);
    let release = |message: &str| deleting(message.to_owned()).doing(Action::Release);
    let (leaving, paused, masters) = match facts.cluster {
        Cluster::Missing => return release("its cluster is gone"),
        Cluster::There {
            leaving,
            paused,
            masters,
        } => (leaving, paused, masters),
    };
    if spec.deletion_policy == RetainOrDelete::Retain {
        return release("the collection stays");
    }
    if spec.deletion_protection {
        let message = "the collection is not deleted while deletionProtection is true; \
                       deletionPolicy: Retain lets this object go and keeps the collection";
        return Decision::refused("DeletionProtected", message);
    }
    let gives_up = "deletionPolicy: Retain lets this object go and keeps the collection";
    let state = match masters {
        Ok(state) => state,
        Err(_away) if leaving => return release("its cluster is being deleted"),
        Err(why) => {
            let message = format!("{cluster} cannot be asked: {why}; {gives_up}");
            return Decision::waiting(Truth::False, "DeletionBlocked", message);
        },
    };
    let uid = facts.object.metadata.uid.as_deref();
    let mut all = state
        .collections
        .iter()
        .filter(|one| one.state != "deleting");
    let ours = all.find(|one| uid.is_some() && wanted::owner(one).as_deref() == uid);
    if let (None, false) = (ours, state.stale) {
        return release("the collection is deleted");
    }
    if let Some(held) = hindrance(paused, cluster, state) {
        let message = format!("{}; {gives_up}", held.ready.message);
        return Decision::waiting(Truth::False, "DeletionBlocked", message);
    }
    match ours {
        Some(there) if there.state == "creating" => {
            deleting("the collection is being made; it is deleted then".to_owned())
        },
        Some(there) => deleting("the collection is being deleted".to_owned()).doing(
            Action::Delete(proto::DeleteCollectionRequest {
                name: there.name.clone(),
                id: Some(there.id.clone()),
            }),
        ),
        None => release("the collection is deleted"),
    }
}

#[cfg(test)]
pub(super) mod tests;
