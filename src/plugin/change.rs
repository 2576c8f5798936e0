//! What a person tells a cluster: which field or annotation of its VectorCluster that changes, and what
//! happens next. Decided purely; [`carry_out`] looks, decides and writes.
//!
//! A change names the cluster's UID, so one that was made anew in between is left alone. An approval names
//! the generation that was looked at: whatever is changed afterwards is not approved by it.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::Error;
use super::conditions;
use super::look::Access;
use crate::crd::marks::{APPROVE, RESTART};
use crate::crd::v1alpha1::{Power, UpdateType, VectorCluster};
use crate::topology::Role;

/// The gate of an update that an approval opens, as the operator calls it in `blockedBy`.
pub(super) const APPROVAL_GATE: &str = "Approved";
/// The only operation that may wait for an approval.
const UPDATE: &str = "Update";

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Pods made anew: those of a role, or all.
    Restart(Option<Role>),
    /// An operation may begin; none named: whichever waits.
    Approve(Option<String>),
    /// The operator changes nothing.
    Pause,
    /// It acts again.
    Resume,
    /// No pod runs, volumes stay.
    Hibernate,
    /// They run again.
    Wake,
}

/// What a wish comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What is merged into the VectorCluster; none: nothing is to do.
    pub merge: Option<Value>,
    /// What a person is told.
    pub said: String,
}

/// Carries a wish out; what a person is told.
///
/// # Errors
/// [`Error::Refused`] when it makes no sense, [`Error::NoCluster`], or the API server's.
pub async fn carry_out(access: &Access, name: &str, wish: &Wish) -> Result<String, Error> {
    let cluster = access.cluster(name).await?;
    let now = jiff::Timestamp::now().as_second();
    let now = jiff::Timestamp::from_second(now).unwrap_or_default();
    let change = decide(&cluster, wish, &now.to_string())?;
    if let Some(merge) = change.merge {
        access.merge(&cluster, merge).await?;
    }
    Ok(change.said)
}

/// What a wish comes to for a cluster as it is. `now` is the time, RFC 3339.
///
/// # Errors
/// [`Error::Refused`].
pub fn decide(cluster: &VectorCluster, wish: &Wish, now: &str) -> Result<Change, Error> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return Err(Error::Refused(format!(
            "{} is being deleted",
            title(cluster)
        )));
    }
    match wish {
        Wish::Restart(role) => restart(cluster, *role, now),
        Wish::Approve(operation) => approve(cluster, operation.as_deref()),
        Wish::Pause => Ok(pause(cluster)),
        Wish::Resume => Ok(resume(cluster)),
        Wish::Hibernate => Ok(hibernate(cluster)),
        Wish::Wake => Ok(wake(cluster)),
    }
}

fn title(cluster: &VectorCluster) -> String {
    let namespace = cluster.namespace().unwrap_or_default();
    format!("VectorCluster {namespace}/{}", cluster.name_any())
}

fn nothing(cluster: &VectorCluster, why: &str) -> Change {
    Change {
        merge: None,
        said: format!("{}: nothing to do: {why}\n", title(cluster)),
    }
}

/// A change, what it was, and what comes of it, one sentence a line.
fn changed(cluster: &VectorCluster, merge: Value, what: &str, next: &[String]) -> Change {
    let mut said = format!("{}: {what}\n", title(cluster));
    for sentence in next {
        said.push_str(sentence);
        said.push('\n');
    }
    Change {
        merge: Some(merge),
        said,
    }
}

fn watch(cluster: &VectorCluster) -> String {
    format!(
        "How far it is: kubectl vectorsphere status {} --watch",
        cluster.name_any()
    )
}

/// What is said of a paused cluster, where nothing happens yet.
fn held_up(cluster: &VectorCluster) -> Option<String> {
    let name = cluster.name_any();
    cluster.spec.paused.then(|| {
        format!("It is paused, so nothing happens until: kubectl vectorsphere resume {name}")
    })
}

fn annotation<'a>(cluster: &'a VectorCluster, name: &str) -> Option<&'a str> {
    cluster.annotations().get(name).map(String::as_str)
}

fn generation(cluster: &VectorCluster) -> String {
    cluster.metadata.generation.unwrap_or_default().to_string()
}

/// A change of the spec makes a new generation, which nobody approved.
fn approval_is_lost(cluster: &VectorCluster) -> Option<String> {
    let given = annotation(cluster, APPROVE) == Some(&*generation(cluster));
    let supervised = cluster.spec.updates.type_ == UpdateType::Supervised;
    (given && supervised).then(|| {
        let name = cluster.name_any();
        format!(
            "This makes a new generation: an approval has to be given again: kubectl vectorsphere \
             approve {name}"
        )
    })
}

fn restart(cluster: &VectorCluster, role: Option<Role>, now: &str) -> Result<Change, Error> {
    if role == Some(Role::Etcd) && cluster.spec.etcd.managed.is_none() {
        return Err(Error::Refused(
            "its etcd is external, the operator does not run it".to_owned(),
        ));
    }
    if cluster.spec.power == Power::Hibernated {
        return Ok(nothing(cluster, "it sleeps, no pod runs"));
    }
    let (annotation_name, which) = match role {
        Some(role) => (
            format!("{RESTART}-{role}"),
            format!("the pods of role {role}"),
        ),
        None => (RESTART.to_owned(), "every pod".to_owned()),
    };
    let how = match cluster.spec.updates.type_ {
        UpdateType::OnDelete => format!(
            "updates.type is OnDelete: {which} is made anew when somebody deletes it, and gateways wait"
        ),
        UpdateType::Supervised if annotation(cluster, APPROVE) != Some(&*generation(cluster)) => {
            format!(
                "The operator makes {which} anew, when that is approved: kubectl vectorsphere approve {}",
                cluster.name_any()
            )
        },
        UpdateType::Automatic | UpdateType::Supervised => format!(
            "The operator makes {which} anew, one after the other, each when those before it are back"
        ),
    };
    let next: Vec<String> = [Some(how), held_up(cluster), Some(watch(cluster))]
        .into_iter()
        .flatten()
        .collect();
    let merge = json!({"metadata": {"annotations": {&annotation_name: now}}});
    let what = format!("annotation {annotation_name} is now {now}");
    Ok(changed(cluster, merge, &what, &next))
}

fn approve(cluster: &VectorCluster, operation: Option<&str>) -> Result<Change, Error> {
    if let Some(other) = operation.filter(|name| *name != UPDATE) {
        return Err(Error::Refused(format!(
            "{other} waits for no approval: only the operation {UPDATE} does"
        )));
    }
    if cluster.spec.updates.type_ != UpdateType::Supervised {
        return Ok(nothing(
            cluster,
            "spec.updates.type is not Supervised, no update waits for an approval",
        ));
    }
    let generation = generation(cluster);
    if !conditions::is_observed(cluster) {
        return Err(Error::Refused(format!(
            "the operator has not looked at generation {generation} yet, and what it would do is not \
             known: try again"
        )));
    }
    if annotation(cluster, APPROVE) == Some(&*generation) {
        let why = format!("generation {generation} is approved already");
        return Ok(nothing(cluster, &why));
    }
    let status = conditions::status(cluster);
    let waits = status
        .operations
        .iter()
        .find(|one| one.name == UPDATE && one.blocked_by.as_deref() == Some(APPROVAL_GATE));
    let Some(waits) = waits else {
        return Ok(nothing(cluster, "no update waits for an approval"));
    };
    let merge = json!({"metadata": {"annotations": {APPROVE: generation}}});
    let what = format!("annotation {APPROVE} is now {generation}, its generation");
    let next = [
        Some(format!(
            "The update begins: {} of {} pods are as they should be, and one after the other follows",
            waits.done, waits.total
        )),
        held_up(cluster),
        Some(watch(cluster)),
    ];
    let next: Vec<String> = next.into_iter().flatten().collect();
    Ok(changed(cluster, merge, &what, &next))
}

fn pause(cluster: &VectorCluster) -> Change {
    if cluster.spec.paused {
        return nothing(cluster, "it is paused");
    }
    let next = [
        Some(
            "The operator changes nothing any more: a pod that ends is not made anew, certificates \
             are not renewed. What runs goes on, and the status is reported"
                .to_owned(),
        ),
        approval_is_lost(cluster),
        Some(format!(
            "It acts again after: kubectl vectorsphere resume {}",
            cluster.name_any()
        )),
    ];
    let next: Vec<String> = next.into_iter().flatten().collect();
    let merge = json!({"spec": {"paused": true}});
    changed(cluster, merge, "spec.paused is now true", &next)
}

fn resume(cluster: &VectorCluster) -> Change {
    if !cluster.spec.paused {
        return nothing(cluster, "it is not paused");
    }
    let next = [
        Some("The operator carries out whatever the manifest asks for now".to_owned()),
        approval_is_lost(cluster),
        Some(watch(cluster)),
    ];
    let next: Vec<String> = next.into_iter().flatten().collect();
    let merge = json!({"spec": {"paused": false}});
    changed(cluster, merge, "spec.paused is now false", &next)
}

fn hibernate(cluster: &VectorCluster) -> Change {
    if cluster.spec.power == Power::Hibernated {
        return nothing(cluster, "it sleeps, or is on its way to");
    }
    let next = [
        Some(
            "Gateways, workers, masters and etcd end, in this order; nothing is answered then, and \
             every volume is kept"
                .to_owned(),
        ),
        held_up(cluster),
        approval_is_lost(cluster),
        Some(format!(
            "It runs again after: kubectl vectorsphere wake {}",
            cluster.name_any()
        )),
    ];
    let next: Vec<String> = next.into_iter().flatten().collect();
    let merge = json!({"spec": {"power": "Hibernated"}});
    changed(cluster, merge, "spec.power is now Hibernated", &next)
}

fn wake(cluster: &VectorCluster) -> Change {
    if cluster.spec.power == Power::Running {
        return nothing(cluster, "it is awake");
    }
    let next = [
        Some("Etcd, masters, workers and gateways start on the volumes that they had".to_owned()),
        held_up(cluster),
        approval_is_lost(cluster),
        Some(watch(cluster)),
    ];
    let next: Vec<String> = next.into_iter().flatten().collect();
    let merge = json!({"spec": {"power": "Running"}});
    changed(cluster, merge, "spec.power is now Running", &next)
}

#[cfg(test)]
mod tests;
