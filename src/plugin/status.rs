//! `status`: what a cluster is, does and waits for, as tables or as JSON. Rendered purely from what was seen.

use std::fmt::Write as _;

use kube::ResourceExt;
use serde_json::{Value, json};

use super::conditions;
use super::look::Sight;
use super::pods::{PodLine, line};
use super::table::{row, short, since, table};
use crate::crd::v1alpha1::{RoleStatus, VectorCluster, VectorClusterStatus};

/// Characters of a message in a table: a person has `explain` and `-o json` for the whole.
const MESSAGE_CHARS_MAX: usize = 120;
/// In the place of what is not known, or not there.
const DASH: &str = "-";

/// Several clusters, a line each.
pub fn list_text(clusters: &[VectorCluster], now: i64) -> String {
    if clusters.is_empty() {
        return "there is no VectorCluster\n".to_owned();
    }
    let mut rows = vec![row([
        "NAMESPACE",
        "NAME",
        "READY",
        "PHASE",
        "WORKERS",
        "SHARDS",
        "VERSION",
        "AGE",
    ])];
    for cluster in clusters {
        let status = conditions::status(cluster);
        let ready = conditions::find(&status, "Ready").map_or(DASH, |one| &one.status);
        let workers = status.worker.as_ref().map_or(DASH, |one| &one.summary);
        let shards = status.shards.as_ref().map_or(DASH, |one| &one.summary);
        let created = cluster.creation_timestamp().map(|time| time.0.as_second());
        rows.push(row([
            &cluster.namespace().unwrap_or_default(),
            &cluster.name_any(),
            ready,
            status.phase.as_deref().unwrap_or(DASH),
            workers,
            shards,
            status.version.as_deref().unwrap_or(DASH),
            &created.map_or_else(|| DASH.to_owned(), |then| since(then, now)),
        ]));
    }
    let mut text = String::new();
    table(&mut text, &rows);
    text
}

/// Several clusters as JSON.
pub fn list_json(clusters: &[VectorCluster]) -> Value {
    let one =
        |cluster: &VectorCluster| json!({"cluster": identity(cluster), "status": cluster.status});
    json!({"clusters": clusters.iter().map(one).collect::<Vec<_>>()})
}

fn identity(cluster: &VectorCluster) -> Value {
    json!({
        "name": cluster.name_any(), "namespace": cluster.namespace(), "uid": cluster.uid(),
        "generation": cluster.metadata.generation, "version": cluster.spec.version,
    })
}

/// One cluster as JSON: who it is, the status as the operator wrote it, its pods, and the conditions that
/// are not as usual.
pub fn json(sight: &Sight) -> Value {
    let status = conditions::status(&sight.cluster);
    let pods: Vec<Value> = sight.pods.iter().map(|pod| line(pod).json()).collect();
    json!({
        "cluster": identity(&sight.cluster), "ready": conditions::is_ready(&sight.cluster),
        "status": sight.cluster.status, "pods": pods, "unusual": conditions::unusual(&status),
    })
}

/// One cluster as tables.
pub fn text(sight: &Sight) -> String {
    let mut text = String::new();
    let status = conditions::status(&sight.cluster);
    head(&mut text, sight, &status);
    roles(&mut text, &status);
    pods(&mut text, sight);
    workers(&mut text, &status);
    certificates(&mut text, &status);
    unusual(&mut text, &status, sight.now);
    operations(&mut text, &status, sight.now);
    errors(&mut text, &status, sight.now);
    text
}

/// A line of the head.
fn put(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _written = writeln!(text, "{name:<11}{value}");
}

fn head(text: &mut String, sight: &Sight, status: &VectorClusterStatus) {
    let cluster = &sight.cluster;
    let namespace = cluster.namespace().unwrap_or_default();
    let uid = cluster.uid().unwrap_or_default();
    put(
        text,
        "Cluster",
        &format!("{namespace}/{}   uid {uid}", cluster.name_any()),
    );
    let phase = status
        .phase
        .as_deref()
        .unwrap_or("the operator has not looked at it yet");
    let ready = conditions::find(status, "Ready").map(|ready| {
        let word = if ready.status == "True" {
            "Ready"
        } else {
            "not Ready"
        };
        let then = ready.last_transition_time.0.as_second();
        format!("   {word} for {}", since(then, sight.now))
    });
    put(
        text,
        "Phase",
        &format!("{phase}{}", ready.unwrap_or_default()),
    );
    if status.phase.is_some() && !conditions::is_observed(cluster) {
        let generation = cluster.metadata.generation.unwrap_or_default();
        let seen = status.observed_generation.unwrap_or_default();
        put(
            text,
            "",
            &format!("of generation {seen}; the operator has not looked at {generation} yet"),
        );
    }
    let operator = status.operator_version.as_deref().unwrap_or(DASH);
    let running = status.version.as_deref().unwrap_or(DASH);
    put(
        text,
        "Version",
        &format!(
            "{running}   asked for {}, operator {operator}",
            cluster.spec.version
        ),
    );
    if let Some(revision) = &status.revision {
        let target = if revision.current == revision.target {
            "all pods are brought to it".to_owned()
        } else {
            format!("pods are brought to {}", revision.target)
        };
        put(
            text,
            "Revision",
            &format!("{}   {target}", or_dash(&revision.current)),
        );
    }
    if let Some(endpoints) = &status.endpoints {
        put(text, "Endpoint", &endpoints.http);
    }
    put(text, "Leader", status.leader.as_deref().unwrap_or("nobody"));
    if let Some(shards) = &status.shards {
        let more = format!(
            "{} served by all copies, {} not served",
            shards.summary, shards.unavailable
        );
        put(text, "Shards", &more);
    }
    text.push('\n');
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { DASH } else { text }
}

fn roles(text: &mut String, status: &VectorClusterStatus) {
    let mut rows = vec![row(["ROLE", "READY", "UPDATED", "PODS"])];
    if let Some(etcd) = &status.etcd {
        let members = etcd.members.to_string();
        rows.push(row(["etcd", &etcd.summary, DASH, &members]));
    }
    let mut push = |role: &str, of: &Option<RoleStatus>| {
        if let Some(of) = of {
            let (updated, pods) = (of.updated_replicas.to_string(), of.replicas.to_string());
            rows.push(row([role, &of.summary, &updated, &pods]));
        }
    };
    push("master", &status.master);
    push("worker", &status.worker);
    push("gateway", &status.gateway);
    if rows.len() > 1 {
        table(text, &rows);
        text.push('\n');
    }
}

fn pods(text: &mut String, sight: &Sight) {
    if sight.pods.is_empty() {
        text.push_str("there is no pod\n\n");
        return;
    }
    let mut rows = vec![row([
        "POD", "ROLE", "READY", "STATE", "RESTARTS", "AGE", "REVISION", "NODE",
    ])];
    let lines: Vec<PodLine> = sight.pods.iter().map(line).collect();
    for pod in &lines {
        rows.push(row([
            &pod.name,
            &pod.role,
            if pod.ready { "yes" } else { "no" },
            &pod.state,
            &pod.restarts.to_string(),
            &pod.age(sight.now),
            or_dash(&pod.revision),
            pod.node.as_deref().unwrap_or(DASH),
        ]));
    }
    table(text, &rows);
    text.push('\n');
}

fn workers(text: &mut String, status: &VectorClusterStatus) {
    if status.workers.is_empty() {
        return;
    }
    let mut rows = vec![row([
        "WORKER", "STATE", "SHARDS", "VOLUME", "SIZE", "MESSAGE",
    ])];
    for worker in &status.workers {
        let volume = worker.volume.clone().unwrap_or_default();
        let shards = worker.shards.map(|shards| shards.to_string());
        rows.push(row([
            &worker.name,
            &worker.state,
            shards.as_deref().unwrap_or(DASH),
            or_dash(&volume.claim),
            or_dash(&volume.capacity),
            &short(
                worker.message.as_deref().unwrap_or_default(),
                MESSAGE_CHARS_MAX,
            ),
        ]));
    }
    table(text, &rows);
    text.push('\n');
}

fn certificates(text: &mut String, status: &VectorClusterStatus) {
    if status.certificates.is_empty() {
        return;
    }
    let mut rows = vec![row(["CERTIFICATE", "ENDS"])];
    let ends = status.certificates.iter();
    rows.extend(ends.map(|(name, end)| row([name, end])));
    table(text, &rows);
    text.push('\n');
}

fn unusual(text: &mut String, status: &VectorClusterStatus, now: i64) {
    let unusual = conditions::unusual(status);
    if unusual.is_empty() {
        return;
    }
    let mut rows = vec![row(["CONDITION", "IS", "FOR", "REASON", "MESSAGE"])];
    for condition in unusual {
        rows.push(row([
            &condition.type_,
            &condition.status,
            &since(condition.last_transition_time.0.as_second(), now),
            &condition.reason,
            &short(&condition.message, MESSAGE_CHARS_MAX),
        ]));
    }
    table(text, &rows);
    text.push('\n');
}

fn operations(text: &mut String, status: &VectorClusterStatus, now: i64) {
    if status.operations.is_empty() {
        text.push_str("nothing is under way\n");
        return;
    }
    let head = ["OPERATION", "STATE", "FOR", "DONE", "BLOCKED BY", "MESSAGE"];
    let mut rows = vec![row(head)];
    for operation in &status.operations {
        let done = match operation.total {
            0 => DASH.to_owned(),
            total => format!("{}/{total}", operation.done),
        };
        let gate = operation.blocked_by.as_deref().unwrap_or(DASH);
        let blocked = match &operation.blocked_since {
            Some(from) => format!("{gate} for {}", since(from.0.as_second(), now)),
            None => gate.to_owned(),
        };
        rows.push(row([
            &operation.name,
            &operation.state,
            &since(operation.started_at.0.as_second(), now),
            &done,
            &blocked,
            &short(&operation.message, MESSAGE_CHARS_MAX),
        ]));
    }
    table(text, &rows);
}

fn errors(text: &mut String, status: &VectorClusterStatus, now: i64) {
    if status.last_errors.is_empty() {
        return;
    }
    text.push('\n');
    let mut rows = vec![row(["ERROR", "AGO", "MESSAGE"])];
    for error in &status.last_errors {
        rows.push(row([
            &error.code,
            &since(error.time.0.as_second(), now),
            &short(&error.message, MESSAGE_CHARS_MAX),
        ]));
    }
    table(text, &rows);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::conditions::tests::{cluster, said};
    use crate::plugin::pods::tests::{pod, ready};

    fn sight() -> Sight {
        let status = json!({
            "observedGeneration": 2, "phase": "Updating", "version": "0.1.0",
            "operatorVersion": "0.1.0", "leader": "small-master-0",
            "conditions": [
                said("Ready", "False", "ComponentsNotReady", "0 of 1 gateways are ready"),
                said("Degraded", "False", "AsExpected", ""),
            ],
            "worker": {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 0, "summary": "1/1"},
            "etcd": {"members": 1, "readyMembers": 1, "summary": "1/1"},
            "shards": {"total": 1, "fullyReplicated": 1, "underReplicated": 0, "unavailable": 0,
                "moving": 0, "summary": "1/1"},
            "certificates": {"small-gateway-tls": "2027-02-21T10:00:00Z"},
            "operations": [{"name": "Update", "state": "Waiting", "done": 1, "total": 4,
                "startedAt": "1970-01-01T00:02:00Z", "blockedBy": "Approved",
                "blockedSince": "1970-01-01T00:02:30Z", "message": "it waits"}],
            "lastErrors": [{"code": "operator.deadline", "message": "no answer",
                "time": "1970-01-01T00:02:30Z"}],
            "revision": {"current": "r1", "target": "r2"},
        });
        Sight {
            cluster: cluster(&status),
            pods: vec![pod("small-worker-0", "worker", &ready())],
            events: Vec::new(),
            now: 180,
        }
    }

    #[test]
    fn a_cluster_is_told_in_tables() {
        let expected = "\
Cluster    default/small   uid u
Phase      Updating   not Ready for 2m
Version    0.1.0   asked for 0.1.0, operator 0.1.0
Revision   r1   pods are brought to r2
Leader     small-master-0
Shards     1/1 served by all copies, 0 not served

ROLE    READY  UPDATED  PODS
etcd    1/1    -        1
worker  1/1    0        1

POD             ROLE    READY  STATE    RESTARTS  AGE  REVISION  NODE
small-worker-0  worker  yes    Running  2         2m   r1        node-1

CERTIFICATE        ENDS
small-gateway-tls  2027-02-21T10:00:00Z

CONDITION  IS     FOR  REASON              MESSAGE
Ready      False  2m   ComponentsNotReady  0 of 1 gateways are ready

OPERATION  STATE    FOR  DONE  BLOCKED BY        MESSAGE
Update     Waiting  60s  1/4   Approved for 30s  it waits

ERROR              AGO  MESSAGE
operator.deadline  30s  no answer
";
        assert_eq!(text(&sight()), expected);
    }

    #[test]
    fn a_program_gets_the_same_whole() {
        let json = json(&sight());
        assert_eq!(json["cluster"]["name"], "small");
        assert_eq!(json["ready"], false);
        assert_eq!(json["status"]["operations"][0]["blockedBy"], "Approved");
        assert_eq!(json["pods"][0]["restarts"], 2);
        assert_eq!(json["unusual"][0]["type"], "Ready");
    }

    #[test]
    fn a_cluster_that_nobody_looked_at_says_so() {
        let mut sight = sight();
        sight.cluster.status = None;
        sight.pods.clear();
        let text = text(&sight);
        assert!(
            text.contains("the operator has not looked at it yet"),
            "{text}"
        );
        assert!(text.contains("there is no pod"), "{text}");
    }

    #[test]
    fn several_clusters_have_a_line_each() {
        assert_eq!(list_text(&[], 0), "there is no VectorCluster\n");
        let text = list_text(&[sight().cluster], 0);
        assert!(
            text.contains("default    small  False  Updating  1/1"),
            "{text}"
        );
    }
}
