//! The conditions of a cluster, each with its reason.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::{Facts, USED_STEP};
use crate::crd::v1alpha1::Power;
use crate::operator::error::VOLUME_LOST;
use crate::operator::external::Asked;
use crate::operator::volumes;
use crate::topology::Role;

/// A condition before it is known since when it holds.
struct Said {
    type_: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn said(type_: &'static str, holds: bool, reason: &'static str, message: String) -> Said {
    Said {
        type_,
        holds,
        reason,
        message,
    }
}

/// All of them; `lastTransitionTime` changes only with the status.
pub(super) fn conditions(facts: &Facts<'_>) -> Vec<Condition> {
    let before = facts
        .situation
        .before
        .map_or(&[][..], |status| &status.conditions);
    let made = all(facts).into_iter().map(|said| {
        let status = if said.holds { "True" } else { "False" };
        let known = before.iter().find(|one| one.type_ == said.type_);
        let since = match known {
            Some(known) if known.status == status => known.last_transition_time.clone(),
            _ => Time(facts.situation.now),
        };
        Condition {
            type_: said.type_.to_owned(),
            status: status.to_owned(),
            reason: said.reason.to_owned(),
            message: said.message,
            observed_generation: Some(facts.situation.generation),
            last_transition_time: since,
        }
    });
    made.collect()
}

fn all(facts: &Facts<'_>) -> Vec<Said> {
    let mut all = vec![
        ready(facts),
        available(facts),
        progressing(facts),
        degraded(facts),
        spec_valid(facts),
        version(facts),
        etcd(facts),
        leader(facts),
        shards(facts),
        storage(facts),
        certificates(facts),
    ];
    let spec = facts.situation.spec;
    if spec.paused {
        let message = "the operator changes nothing until spec.paused is taken away".to_owned();
        all.push(said("Paused", true, "Requested", message));
    }
    if spec.power == Power::Hibernated {
        let pods = facts.situation.seen.pods.len();
        let message = format!("{pods} pods run; volumes are kept");
        all.push(said("Hibernated", pods == 0, "Requested", message));
    }
    if let Some((reason, message)) = &facts.ending {
        all.push(said("DeletionBlocked", true, reason, message.clone()));
    }
    all
}

fn is_asleep(facts: &Facts<'_>) -> bool {
    facts.situation.spec.power == Power::Hibernated
}

fn ready(facts: &Facts<'_>) -> Said {
    let (missing, under_way) = (facts.missing(), progressing(facts));
    let refused = "the manifest cannot be carried out";
    let (holds, reason, message) = if facts.refused.is_some_and(|one| one.instead.is_none()) {
        (false, "ManifestRefused", refused.to_owned())
    } else if is_asleep(facts) {
        (false, "Hibernated", "spec.power is Hibernated".to_owned())
    } else if !missing.is_empty() {
        (false, "ComponentsNotReady", missing.join("; "))
    } else if let Err(why) = &facts.situation.masters {
        (false, "ProbeFailed", why.clone())
    } else if facts.unavailable() > 0 {
        let message = format!("not served: {}", facts.unserved());
        (false, "ShardsUnderReplicated", message)
    } else if under_way.holds {
        (false, under_way.reason, under_way.message)
    } else if facts.refused.is_some() {
        let message = format!("{refused}; what was accepted before is");
        (false, "ManifestRefused", message)
    } else {
        let message = "every component is ready".to_owned();
        (true, "AllComponentsReady", message)
    };
    said("Ready", holds, reason, message)
}

fn available(facts: &Facts<'_>) -> Said {
    let gateways = facts.situation.seen.ready(Role::Gateway);
    let (holds, reason, message) = if is_asleep(facts) {
        (false, "Hibernated", "spec.power is Hibernated".to_owned())
    } else if gateways == 0 {
        (false, "NoGateway", "no gateway is ready".to_owned())
    } else if let Err(why) = &facts.situation.masters {
        // Gateways and workers go on with the routes that they know.
        (true, "ServingFromLastKnownState", why.clone())
    } else if facts.unavailable() > 0 {
        let message = format!("not served: {}", facts.unserved());
        (false, "ShardsUnavailable", message)
    } else {
        let message = "searches and writes of every shard are answered".to_owned();
        (true, "Serving", message)
    };
    said("Available", holds, reason, message)
}

fn progressing(facts: &Facts<'_>) -> Said {
    let update = facts.update;
    let given_up = update.and_then(|(in_force, _)| in_force.given_up);
    let under_way = update.and_then(|(_, step)| step.under_way.as_ref());
    let failed = update.and_then(|(_, step)| step.failed.as_ref());
    let (holds, reason, message) = if let Some(given_up) = given_up {
        let why = given_up.failed.as_deref().unwrap_or_default();
        let message = format!("the update to {} was taken back: {why}", given_up.hash);
        (false, "RolledBack", message)
    } else if let Some(why) = failed {
        (false, "ProgressDeadlineExceeded", why.clone())
    } else if facts.phase() == "Creating" {
        (true, "Creating", facts.missing().join("; "))
    } else if let Some(under_way) = under_way {
        let holds = under_way.blocked_by.is_none();
        let reason = if holds { "Updating" } else { "Blocked" };
        (holds, reason, under_way.message.clone())
    } else {
        match facts.phase() {
            "ScalingIn" if facts.surplus.iter().any(|one| !one.is_empty()) => {
                let message = "a worker without a place holds shards".to_owned();
                (false, "Blocked", message)
            },
            "ScalingIn" | "ScalingOut" => (true, "Scaling", String::new()),
            "Resizing" => (true, "Resizing", String::new()),
            _ => (false, "Complete", String::new()),
        }
    };
    said("Progressing", holds, reason, message)
}

fn degraded(facts: &Facts<'_>) -> Said {
    let pods = &facts.situation.seen.pods;
    let trouble = pods.iter().find_map(|pod| {
        let trouble = pod.trouble.as_ref()?;
        let reason = if trouble.starts_with("it is on no node") {
            "PodUnschedulable"
        } else if pod.leaving {
            "PodNotEnding"
        } else {
            "PodCrashLooping"
        };
        Some((reason, format!("{}: {trouble}", pod.name)))
    });
    let phase = facts.phase();
    let made = !matches!(phase, "Creating" | "Hibernating" | "Hibernated" | "Invalid");
    let workers = facts.workers();
    let missing = workers.iter().find(|worker| worker.state == "Missing");
    let etcd = (
        facts.situation.seen.ready(Role::Etcd),
        facts.wanted(Role::Etcd),
    );
    let found = trouble
        .or_else(|| {
            let missing = missing.filter(|_| made)?;
            Some(("WorkerMissing", format!("{} has no pod", missing.name)))
        })
        .or_else(|| {
            let message = format!("{} of {} members of etcd are ready", etcd.0, etcd.1);
            (made && etcd.0 < etcd.1).then_some(("EtcdMemberDown", message))
        })
        .or_else(|| {
            let missing = facts.missing().join("; ");
            (phase == "Degraded" && !missing.is_empty()).then_some(("ComponentsNotReady", missing))
        })
        .or_else(|| {
            let message = format!("not served: {}", facts.unserved());
            (phase == "Degraded" && facts.unavailable() > 0)
                .then_some(("ShardsUnavailable", message))
        })
        .or_else(|| {
            let full = full(facts);
            (!full.is_empty()).then(|| ("VolumeFull", full.join("; ")))
        });
    match found {
        Some((reason, message)) => said("Degraded", true, reason, message),
        None => said("Degraded", false, "AsExpected", String::new()),
    }
}

fn spec_valid(facts: &Facts<'_>) -> Said {
    let Some(refused) = facts.refused else {
        return said("SpecValid", true, "Valid", String::new());
    };
    let instead = match refused.instead {
        Some(generation) => format!("generation {generation}, the last accepted, goes on"),
        None => "nothing is made".to_owned(),
    };
    let message = format!("{}; {instead}", refused.why);
    said("SpecValid", false, refused.reason, message)
}

fn version(facts: &Facts<'_>) -> Said {
    let Some((in_force, step)) = facts.update else {
        return known_version(facts);
    };
    let (holds, reason, message) = if let Some(under_way) = &step.under_way {
        let reason = if under_way.blocked_by.is_some() {
            "UpdateBlocked"
        } else {
            "UpdatePending"
        };
        (false, reason, under_way.message.clone())
    } else if let Some(given_up) = in_force.given_up {
        let message = format!("the update to {} was taken back", given_up.hash);
        (false, "UpdateBlocked", message)
    } else {
        (true, "UpToDate", String::new())
    };
    said("RunningDesiredVersion", holds, reason, message)
}

/// Where nothing was carried out, what was said before; at first there is nothing to update.
fn known_version(facts: &Facts<'_>) -> Said {
    const TYPE: &str = "RunningDesiredVersion";
    let before = facts.situation.before.map(|status| &status.conditions);
    let known = before.into_iter().flatten().find(|one| one.type_ == TYPE);
    let known = known.filter(|one| one.status == "False");
    let message = known.map_or_else(String::new, |one| one.message.clone());
    let reason = match known.map(|one| &*one.reason) {
        Some("UpdateBlocked") => "UpdateBlocked",
        Some(_) => "UpdatePending",
        None => "UpToDate",
    };
    said(TYPE, known.is_none(), reason, message)
}

fn etcd(facts: &Facts<'_>) -> Said {
    if facts.situation.spec.etcd.managed.is_none() {
        return external(facts);
    }
    let (ready, members) = (
        facts.situation.seen.ready(Role::Etcd),
        facts.wanted(Role::Etcd),
    );
    let quorate = members > 0 && ready > members / 2;
    let reason = if quorate { "Quorate" } else { "NoQuorum" };
    let message = format!("{ready} of {members} members are ready");
    said("EtcdReady", quorate, reason, message)
}

/// Of an etcd of others: a master that leads has its lead from it.
fn external(facts: &Facts<'_>) -> Said {
    let others = "it is not run by the operator";
    if facts.situation.leader().is_some() {
        return said("EtcdReady", true, "Quorate", others.to_owned());
    }
    let (reason, message) = match facts.external {
        Some(Asked::Refuses(why)) => ("Refused", why.clone()),
        Some(Asked::Silent(why)) => {
            let message = format!("no master leads, and it does not answer the operator: {why}");
            ("Unreachable", message)
        },
        Some(Asked::Answers) => {
            let message = "it answers the operator, but no master leads".to_owned();
            ("Unreachable", message)
        },
        None => ("Unreachable", format!("{others}, and no master leads")),
    };
    said("EtcdReady", false, reason, message)
}

fn leader(facts: &Facts<'_>) -> Said {
    match facts.situation.leader() {
        Some(leader) => said("LeaderElected", true, "Elected", format!("{leader} leads")),
        None => {
            let message = "no master leads".to_owned();
            said("LeaderElected", false, "NoLeader", message)
        },
    }
}

fn shards(facts: &Facts<'_>) -> Said {
    let Some(shards) = facts.shards() else {
        let message = "no master says".to_owned();
        return said("ShardsFullyReplicated", false, "CopiesMissing", message);
    };
    let whole = shards.unavailable == 0 && shards.under_replicated == 0;
    let reason = if whole {
        "AllReplicated"
    } else {
        "CopiesMissing"
    };
    let mut message = format!("{} shards have every copy", shards.summary);
    if !whole {
        message = format!("{message}; not served: {}", facts.unserved());
    }
    said("ShardsFullyReplicated", whole, reason, message)
}

fn full(facts: &Facts<'_>) -> Vec<String> {
    let situation = facts.situation;
    let before = situation
        .before
        .map_or(&[][..], |status| &status.conditions);
    let was_full = before.iter().any(|one| one.reason == "VolumeFull");
    let least = if was_full {
        volumes::STILL_FULL_PERCENT
    } else {
        volumes::FULL_PERCENT
    };
    volumes::full(
        situation.spec,
        &situation.seen.claims,
        (situation.fills(), least, USED_STEP),
    )
}

/// Workers' volumes that should grow with their use, and of which nobody knows how full they are.
fn unmeasured(facts: &Facts<'_>) -> String {
    let situation = facts.situation;
    if situation.spec.worker.storage.auto_grow.is_none() || situation.masters.is_err() {
        return String::new();
    }
    let fills = situation.fills();
    let claims = situation.seen.worker_claims();
    let unknown = claims
        .filter(|claim| !fills.contains_key(&claim.name))
        .count();
    if unknown == 0 {
        return String::new();
    }
    format!("how full {unknown} volumes are cannot be measured, so autoGrow does not see them")
}

fn storage(facts: &Facts<'_>) -> Said {
    let growing = volumes::growing(&facts.situation.seen.claims);
    let asked = facts.situation.growths();
    let full = full(facts);
    let mut errors = facts.errors.iter();
    let refused = errors.find(|(_, message)| message.starts_with("volumes: "));
    let lost = facts.errors.iter().find(|(code, _)| code == VOLUME_LOST);
    if let Some((_, why)) = lost {
        return said("StorageReady", false, "VolumeLost", why.clone());
    }
    match refused {
        Some((_, why)) if !asked.is_empty() => {
            said("StorageReady", false, "ResizeUnsupported", why.clone())
        },
        _ if !growing.is_empty() => said("StorageReady", false, "Resizing", growing.join("; ")),
        _ if !full.is_empty() => said("StorageReady", false, "VolumeFull", full.join("; ")),
        _ => said("StorageReady", true, "Ready", unmeasured(facts)),
    }
}

fn certificates(facts: &Facts<'_>) -> Said {
    let known = facts.situation.before.map(|status| &status.certificates);
    let ends = match facts.certificates {
        Some(ends) => ends.to_vec(),
        None => known
            .into_iter()
            .flatten()
            .map(|(a, b)| (a.clone(), b.clone()))
            .collect(),
    };
    let failed = facts
        .errors
        .iter()
        .find(|(_, message)| message.starts_with("certificates: "));
    let now = facts.situation.now;
    let expired = ends.iter().find(|(_, end)| {
        let end = end.parse::<Timestamp>().ok();
        end.is_some_and(|end| end <= now)
    });
    match (expired, failed) {
        (Some((name, end)), _) => {
            let message = format!("{name} ended at {end}");
            said("CertificatesValid", false, "Expired", message)
        },
        (None, Some((_, why))) => said("CertificatesValid", false, "IssueFailed", why.clone()),
        (None, None) => said("CertificatesValid", true, "Valid", String::new()),
    }
}
