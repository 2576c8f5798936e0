//! How far the work of a task is. Pure.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::crd::v1alpha1::{self as crd, VectorClusterSpec, VectorClusterStatus, VectorOpsTask};
use crate::operator::names::ROLE;
use crate::operator::observe::socket;
use crate::operator::render::ETCD_PORT;
use crate::topology::Role;

/// What the work of a task came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is done; this is said of it.
    Done(String),
    /// This is missing.
    Going(String),
}

/// The roles that a restart is about.
pub(super) fn roles(task: &VectorOpsTask, spec: &VectorClusterSpec) -> Vec<Role> {
    match task.spec.role {
        Some(crd::Role::Gateway) => vec![Role::Gateway],
        Some(crd::Role::Master) => vec![Role::Master],
        Some(crd::Role::Worker) => vec![Role::Worker],
        Some(crd::Role::Etcd) => vec![Role::Etcd],
        None => {
            let mut all = vec![Role::Master, Role::Worker, Role::Gateway];
            all.extend(spec.etcd.managed.as_ref().map(|_managed| Role::Etcd));
            all
        },
    }
}

/// How many pods of a role there should be at least.
fn wanted(spec: &VectorClusterSpec, role: Role) -> usize {
    let gateway = &spec.gateway;
    let replicas = match role {
        // Their number is the autoscaler's, where there is one.
        Role::Gateway => gateway
            .autoscaling
            .as_ref()
            .map_or(gateway.replicas, |scaling| scaling.min_replicas),
        Role::Master => spec.master.replicas,
        Role::Worker => spec.worker.replicas,
        Role::Etcd => spec
            .etcd
            .managed
            .as_ref()
            .map_or(0, |managed| managed.replicas),
    };
    usize::try_from(replicas).unwrap_or(0)
}

/// The pods of these roles.
pub(super) fn of_roles<'a>(pods: &'a [Pod], roles: &'a [Role]) -> impl Iterator<Item = &'a Pod> {
    pods.iter().filter(|pod| {
        let label = pod.labels().get(ROLE);
        label.is_some_and(|label| roles.iter().any(|role| role.as_str() == label))
    })
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.creation_timestamp().map(|time| time.0)
}

/// When the youngest of the pods was made.
pub(super) fn youngest(pods: &[Pod], roles: &[Role]) -> Option<Timestamp> {
    of_roles(pods, roles).filter_map(created).max()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let ready = conditions.into_iter().flatten();
    pod.metadata.deletion_timestamp.is_none()
        && ready
            .into_iter()
            .any(|one| one.type_ == "Ready" && one.status == "True")
}

/// How far a restart is: it is done when as many pods are ready as there should be, and every pod was made
/// since it began.
pub(super) fn restarted(
    pods: &[Pod],
    roles: &[Role],
    (spec, status): (&VectorClusterSpec, Option<&VectorClusterStatus>),
    since: Timestamp,
) -> Progress {
    let (mut done, mut all, mut next) = (0usize, 0usize, None);
    for role in roles {
        let there: Vec<&Pod> = of_roles(pods, std::slice::from_ref(role)).collect();
        let new = |pod: &&&Pod| created(pod).is_some_and(|made| made >= since) && is_ready(pod);
        done = done.saturating_add(there.iter().filter(new).count());
        all = all.saturating_add(there.len().max(wanted(spec, *role)));
        let old = there.iter().find(|pod| !new(pod)).map(|pod| pod.name_any());
        next = next.or(old);
    }
    if done == all {
        return Progress::Done(format!("{all} pods were made anew and are ready"));
    }
    let mut message = format!("{done} of {all} pods were made anew and are ready");
    if let Some(next) = next {
        message = format!("{message}; {next} is not yet");
    }
    let operations = status.map_or(&[][..], |status| &status.operations);
    let update = operations.iter().find(|one| one.name == "Update");
    if let Some(gate) = update.and_then(|update| Some((update, update.blocked_by.as_ref()?))) {
        message = format!("{message}; it waits for {}: {}", gate.1, gate.0.message);
    }
    Progress::Going(message)
}

/// How far a rotation is, from the demand that each certificate has met.
pub(super) fn rotated(met: &[Option<String>], demand: &str) -> Progress {
    let done = met
        .iter()
        .filter(|met| met.as_deref() == Some(demand))
        .count();
    let all = met.len();
    if done == all {
        return Progress::Done(format!(
            "{all} certificates were issued anew; each process takes its own when its node gives it the \
             new files, without a restart"
        ));
    }
    Progress::Going(format!("{done} of {all} certificates were issued anew"))
}

/// The members of etcd by number, or what holds their defragmentation up: they are asked one after the
/// other and do not serve meanwhile, so all have to be there.
pub(super) fn members(
    pods: &[Pod],
    spec: &VectorClusterSpec,
) -> Result<Vec<(String, SocketAddr)>, String> {
    let place = |pod: &Pod| {
        let address = pod.status.as_ref()?.pod_ip.as_deref();
        Some((pod.name_any(), socket(address, ETCD_PORT)?))
    };
    let ready = of_roles(pods, &[Role::Etcd]).filter(|pod| is_ready(pod));
    let mut ready: Vec<(String, SocketAddr)> = ready.filter_map(place).collect();
    ready.sort_unstable();
    let wanted = wanted(spec, Role::Etcd);
    if ready.len() < wanted {
        return Err(format!(
            "{} of {wanted} members of etcd are ready",
            ready.len()
        ));
    }
    Ok(ready)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::topology::{LAPTOP_SAMPLE, manifest};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn pod(role: &str, created: i64, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {
                "name": format!("{role}-{created}"), "labels": {ROLE: role},
                "creationTimestamp": at(created),
            },
            "status": {"conditions": [{"type": "Ready", "status": ready}], "podIP": "10.0.0.1"},
        }))
        .unwrap()
    }

    fn spec(workers: i32) -> VectorClusterSpec {
        let mut spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
        spec.worker.replicas = workers;
        spec
    }

    #[test]
    fn a_restart_is_done_when_every_pod_is_new_and_ready_and_none_is_missing() {
        let spec = spec(2);
        let of = |pods: &[Pod]| restarted(pods, &[Role::Worker], (&spec, None), at(100));
        let (new, old) = (pod("worker", 100, true), pod("worker", 99, true));
        let gateway = pod("gateway", 1, true);
        let done = of(&[new.clone(), pod("worker", 101, true), gateway]);
        assert_eq!(
            done,
            Progress::Done("2 pods were made anew and are ready".to_owned())
        );
        for (pods, said) in [
            (
                vec![new.clone(), old.clone()],
                "1 of 2 pods were made anew and are ready; worker-99",
            ),
            (vec![new.clone()], "1 of 2 pods"),
            (
                vec![new.clone(), pod("worker", 105, false)],
                "worker-105 is not yet",
            ),
            (vec![], "0 of 2 pods"),
            (vec![new.clone(), new, old], "2 of 3 pods"),
        ] {
            let Progress::Going(message) = of(&pods) else {
                panic!("{said}");
            };
            assert!(message.contains(said), "{message}");
        }
    }

    #[test]
    fn a_restart_says_which_gate_holds_it_up() {
        let status = serde_json::from_value(json!({"conditions": [], "operations": [{
            "name": "Update", "state": "Waiting", "startedAt": at(1), "blockedBy": "InWindow",
            "message": "the next window opens at 03:00",
        }]}));
        let status: VectorClusterStatus = status.unwrap();
        let spec = spec(1);
        let going = restarted(&[], &[Role::Worker], (&spec, Some(&status)), at(1));
        let expected = "0 of 1 pods were made anew and are ready; it waits for InWindow: the next window \
                        opens at 03:00";
        assert_eq!(going, Progress::Going(expected.to_owned()));
    }

    #[test]
    fn a_rotation_is_done_when_every_certificate_has_met_the_demand() {
        let met = |met: &[Option<&str>]| {
            let met: Vec<_> = met.iter().map(|one| one.map(str::to_owned)).collect();
            matches!(rotated(&met, "t2"), Progress::Done(_))
        };
        assert!(met(&[Some("t2"), Some("t2")]));
        assert!(!met(&[Some("t2"), Some("t1")]));
        assert!(!met(&[None]));
    }

    #[test]
    fn etcd_is_defragmented_when_every_member_is_there() {
        let mut spec = spec(1);
        spec.etcd.managed.as_mut().unwrap().replicas = 3;
        let mut pods = vec![
            pod("etcd", 2, true),
            pod("etcd", 1, true),
            pod("worker", 3, true),
        ];
        assert_eq!(
            members(&pods, &spec),
            Err("2 of 3 members of etcd are ready".to_owned())
        );
        pods.push(pod("etcd", 3, true));
        let at = SocketAddr::from(([10, 0, 0, 1], ETCD_PORT));
        let all = ["etcd-1", "etcd-2", "etcd-3"].map(|name| (name.to_owned(), at));
        assert_eq!(members(&pods, &spec), Ok(all.to_vec()));
        // Nobody can be asked without an address.
        pods[0].status.as_mut().unwrap().pod_ip = None;
        let missing = "2 of 3 members of etcd are ready";
        assert_eq!(members(&pods, &spec), Err(missing.to_owned()));
    }
}
