//! What is under way, and what holds it up.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Facts, count, number};
use crate::crd::v1alpha1::{Operation, Power};
use crate::operator::situation::Surplus;
use crate::operator::updates::Gate;
use crate::operator::volumes;
use crate::topology::Role;

/// Every operation that has not ended.
pub(super) fn operations(facts: &Facts<'_>) -> Vec<Operation> {
    let found = [
        update(facts),
        scale_in(facts),
        scale_out(facts),
        resize(facts),
        sleep(facts),
        wake(facts),
        etcd(facts),
        authority(facts),
    ];
    let before = facts
        .situation
        .before
        .map_or(&[][..], |status| &status.operations);
    let since = |mut operation: Operation| {
        let known = before.iter().find(|one| one.name == operation.name);
        let blocked = operation.blocked_by.as_ref();
        let still = known.filter(|known| known.blocked_by.as_ref() == blocked);
        operation.blocked_since = blocked.map(|_| {
            let since = still.and_then(|known| known.blocked_since.clone());
            since.unwrap_or(Time(facts.situation.now))
        });
        if let Some(known) = known {
            operation.started_at = known.started_at.clone();
        }
        operation
    };
    found.into_iter().flatten().map(since).collect()
}

fn begun(facts: &Facts<'_>, name: &str, message: String) -> Operation {
    Operation {
        name: name.to_owned(),
        state: "Running".to_owned(),
        started_at: Time(facts.situation.now),
        done: 0,
        total: 0,
        blocked_by: None,
        blocked_since: None,
        message,
        target: None,
    }
}

fn update(facts: &Facts<'_>) -> Option<Operation> {
    let (in_force, step) = facts.update?;
    let under_way = step.under_way.as_ref()?;
    // While it is made there is nothing to update yet; conditions say what it waits for.
    in_force.current?;
    let mut operation = begun(facts, "Update", under_way.message.clone());
    if let Some(gate) = under_way.blocked_by {
        "Waiting".clone_into(&mut operation.state);
        operation.blocked_by = Some(gate.name().to_owned());
    }
    if step.failed.is_some() {
        "Stalled".clone_into(&mut operation.state);
    }
    operation.done = number(under_way.done);
    operation.total = number(under_way.total);
    operation.target.clone_from(&under_way.target);
    Some(operation)
}

fn scale_in(facts: &Facts<'_>) -> Option<Operation> {
    let holding: Vec<&Surplus> = facts.surplus.iter().filter(|one| !one.is_empty()).collect();
    let first = facts.surplus.first()?;
    let said = |surplus: &&Surplus| {
        let name = &surplus.worker.name;
        match &surplus.held {
            Ok(shards) => format!("{name} holds {}", shards.join(", ")),
            Err(why) => format!("what {name} holds is not known: {why}"),
        }
    };
    let message = if holding.is_empty() {
        format!("{} holds no shard and goes", first.worker.name)
    } else {
        let held: Vec<String> = holding.iter().map(said).collect();
        format!(
            "{}; it takes no new shard and serves those until they are deleted, for no shard can be \
             moved yet",
            held.join("; ")
        )
    };
    let mut operation = begun(facts, "ScaleIn", message);
    if !holding.is_empty() {
        "Waiting".clone_into(&mut operation.state);
        operation.blocked_by = Some("NoShards".to_owned());
    }
    operation.total = count(facts.surplus.len());
    operation.done = count(facts.surplus.len().saturating_sub(holding.len()));
    operation.target = Some(first.worker.name.clone());
    Some(operation)
}

fn scale_out(facts: &Facts<'_>) -> Option<Operation> {
    let made = facts.revision()?;
    if made.current.is_empty() || !facts.is_scaling_out() {
        return None;
    }
    let (ready, wanted) = (
        facts.situation.seen.ready(Role::Worker),
        facts.wanted(Role::Worker),
    );
    let message = format!("{ready} of {wanted} workers are ready");
    let mut operation = begun(facts, "ScaleOut", message);
    operation.done = number(ready);
    operation.total = number(wanted);
    Some(operation)
}

fn resize(facts: &Facts<'_>) -> Option<Operation> {
    let growing = volumes::growing(&facts.situation.seen.claims);
    let asked = facts.situation.growths();
    // What was not even asked for yet is asked in the same round, unless that is refused.
    let refused = facts
        .errors
        .iter()
        .find(|(_, message)| message.starts_with("volumes: "));
    let message = match (refused, growing.is_empty()) {
        (Some((_, why)), _) if !asked.is_empty() => why.clone(),
        (_, true) => return None,
        (_, false) => growing.join("; "),
    };
    let mut operation = begun(facts, "Resize", message);
    if refused.is_some() && !asked.is_empty() {
        "Stalled".clone_into(&mut operation.state);
        operation.blocked_by = Some("StorageClassCannotExpand".to_owned());
    }
    operation.total = count(growing.len().max(asked.len()));
    Some(operation)
}

fn sleep(facts: &Facts<'_>) -> Option<Operation> {
    let pods = facts.situation.seen.pods.len();
    let asleep = facts.situation.spec.power == Power::Hibernated;
    (asleep && pods > 0).then(|| {
        let message = format!("{pods} pods have not ended yet");
        begun(facts, "Hibernate", message)
    })
}

/// From the end of its sleep until everything is ready again.
fn wake(facts: &Facts<'_>) -> Option<Operation> {
    facts.is_waking().then(|| {
        let missing = facts.missing();
        begun(facts, "Wake", missing.join("; "))
    })
}

fn authority(facts: &Facts<'_>) -> Option<Operation> {
    let message = facts.authority.clone()?;
    Some(begun(facts, "RotateCertificates", message))
}

fn etcd(facts: &Facts<'_>) -> Option<Operation> {
    let work = facts.etcd?;
    let mut operation = begun(facts, "EtcdMembers", work.message.clone());
    if work.waits {
        "Waiting".clone_into(&mut operation.state);
        operation.blocked_by = Some(Gate::EtcdQuorum.name().to_owned());
    }
    operation.done = count(work.voting);
    operation.total = number(work.wanted);
    Some(operation)
}
