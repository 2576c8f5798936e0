//! What a person wants to know of a pod. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::table::since;
use crate::crd::marks::{REVISION, ROLE};

/// The roles in the order in which they need each other.
pub(super) const ROLES: [&str; 4] = ["etcd", "master", "worker", "gateway"];

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodLine {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) ready: bool,
    pub(super) node: Option<String>,
    pub(super) restarts: i32,
    pub(super) revision: String,
    pub(super) image: String,
    /// When it was made, in seconds since 1970.
    pub(super) created: Option<i64>,
    /// What it does: Running, or what it waits for in a word.
    pub(super) state: String,
    /// Why it is not ready, while it is not.
    pub(super) why: Option<String>,
}

impl PodLine {
    pub(super) fn age(&self, now: i64) -> String {
        self.created
            .map_or_else(|| "-".to_owned(), |then| since(then, now))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name, "role": self.role, "ready": self.ready, "node": self.node,
            "restarts": self.restarts, "revision": self.revision, "image": self.image,
            "createdAt": self.created, "state": self.state, "why": self.why,
        })
    }
}

/// By role, then by number.
pub(super) fn order(pod: &Pod) -> (usize, usize, String) {
    let role = pod.labels().get(ROLE).map_or("", String::as_str);
    let place = ROLES.iter().position(|known| *known == role);
    let name = pod.name_any();
    // Of numbers at the end the longer is the larger.
    (place.unwrap_or(ROLES.len()), name.len(), name)
}

/// The pod as a person wants to know it.
pub(super) fn line(pod: &Pod) -> PodLine {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let restarts = containers
        .into_iter()
        .flatten()
        .map(|container| container.restart_count)
        .sum();
    let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let first = spec.and_then(|spec| spec.containers.first());
    let ready = is_ready(pod);
    let (state, why) = state(pod);
    PodLine {
        name: pod.name_any(),
        role: label(ROLE),
        ready,
        node: spec.and_then(|spec| spec.node_name.clone()),
        restarts,
        revision: label(REVISION),
        image: first
            .and_then(|container| container.image.clone())
            .unwrap_or_default(),
        created: pod.creation_timestamp().map(|time| time.0.as_second()),
        state,
        why: if ready { None } else { Some(why) },
    }
}

fn conditions(pod: &Pod) -> impl Iterator<Item = &PodCondition> {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten()
}

fn is_ready(pod: &Pod) -> bool {
    let ready = conditions(pod).any(|one| one.type_ == "Ready" && one.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// What it does in a word, and the same in a sentence.
fn state(pod: &Pod) -> (String, String) {
    let both = |word: &str, sentence: String| (word.to_owned(), sentence);
    if pod.metadata.deletion_timestamp.is_some() {
        return both("Ending", "it was told to end".to_owned());
    }
    let mut unscheduled =
        conditions(pod).filter(|one| one.type_ == "PodScheduled" && one.status == "False");
    if let Some(condition) = unscheduled.next() {
        let message = condition.message.as_deref().unwrap_or("no node takes it");
        return both("Unscheduled", format!("no node takes it: {message}"));
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    if phase == Some("Failed") {
        let reason = status.and_then(|status| status.reason.as_deref());
        let reason = reason.unwrap_or("its container failed");
        return both("Failed", format!("it has ended: {reason}"));
    }
    let containers = status.map(|status| {
        let of = |list: &Option<Vec<ContainerStatus>>| list.clone().unwrap_or_default();
        let first = of(&status.init_container_statuses);
        [first, of(&status.container_statuses)].concat()
    });
    let found = containers.iter().flatten().find_map(held_up);
    match (found, phase) {
        (Some(found), _) => found,
        (None, Some("Running")) if is_ready(pod) => both("Running", "it is ready".to_owned()),
        (None, Some("Running")) => both(
            "NotReady",
            "it runs and does not say yet that it is ready".to_owned(),
        ),
        (None, Some(phase)) => both(phase, format!("it is {}", phase.to_lowercase())),
        (None, None) => both("Pending", "nobody has looked at it yet".to_owned()),
    }
}

/// What a container waits for, with how it ended before.
fn held_up(container: &ContainerStatus) -> Option<(String, String)> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or("Waiting");
    let mut sentence = format!("container {} waits: {reason}", container.name);
    if reason.contains("Image") {
        sentence = format!("{sentence} {}", container.image);
    }
    if let Some(message) = &waiting.message {
        sentence = format!("{sentence}: {message}");
    }
    let last = container.last_state.as_ref();
    if let Some(ended) = last.and_then(|last| last.terminated.as_ref()) {
        let reason = ended.reason.as_deref().unwrap_or("ended");
        sentence = format!(
            "{sentence}; before: {reason}, exit code {}",
            ended.exit_code
        );
    }
    Some((reason.to_owned(), sentence))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pod of a role as the API server would tell of it.
    pub(in crate::plugin) fn pod(name: &str, role: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "creationTimestamp": "1970-01-01T00:01:00Z",
                "labels": {"vectorsphere.io/role": role, "vectorsphere.io/revision": "r1"},
            },
            "spec": {"nodeName": "node-1", "containers": [{"name": role, "image": "i:1"}]},
            "status": status,
        }))
        .unwrap()
    }

    /// The status of a pod that serves.
    pub(in crate::plugin) fn ready() -> Value {
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "image": "i:1", "imageID": "", "ready": true,
                "restartCount": 2, "state": {"running": {}}}]})
    }

    /// The status of a pod whose container waits.
    pub(in crate::plugin) fn waiting(reason: &str, message: &str) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "i:1",
            "imageID": "", "ready": false, "restartCount": 1,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}}}]})
    }

    #[test]
    fn a_pod_that_serves_and_one_that_waits_are_told_apart() {
        let serves = line(&pod("c-worker-0", "worker", &ready()));
        assert_eq!(
            (serves.ready, serves.restarts, &*serves.state),
            (true, 2, "Running")
        );
        assert_eq!((serves.age(180), serves.why), ("2m".to_owned(), None));
        let waits = line(&pod(
            "c-worker-0",
            "worker",
            &waiting("ImagePullBackOff", "no i:1"),
        ));
        assert!(!waits.ready);
        assert_eq!(
            waits.why.as_deref(),
            Some("container c waits: ImagePullBackOff i:1: no i:1; before: Error, exit code 1")
        );
        let nowhere = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled",
            "status": "False", "message": "0/1 nodes are available"}]});
        let nowhere = line(&pod("c-worker-0", "worker", &nowhere));
        assert_eq!(nowhere.state, "Unscheduled");
        assert_eq!(
            nowhere.why.as_deref(),
            Some("no node takes it: 0/1 nodes are available")
        );
    }

    #[test]
    fn pods_stand_by_role_and_number() {
        let of = |name: &str, role: &str| order(&pod(name, role, &ready()));
        assert!(of("c-etcd-0", "etcd") < of("c-master-0", "master"));
        assert!(of("c-worker-2", "worker") < of("c-worker-10", "worker"));
    }
}
