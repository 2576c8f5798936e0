//! The kinds that need a data path which is not built: backups, their schedules, and restores.
//!
//! Each object is answered once for its generation: it is `Rejected`, with the reason, and nothing else
//! happens. A later operator, which has the data path, does not take up what was rejected.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};

use super::CONCURRENCY;
use super::desk::{Desk, Kind};
use super::said::{Said, Truth};
use crate::crd::v1alpha1::{VectorBackup, VectorBackupSchedule, VectorRestore};
use crate::fault::chain;
use crate::operator::events::{Told, warned};
use crate::operator::{DEBOUNCE, Error, scoped};
use crate::tasks::Tasks;

/// Why.
const REASON: &str = "BackupsNotAvailable";
/// The same for people.
const MESSAGE: &str = "backups and restores are not built yet; nothing was done";

/// Answers all three kinds until the tasks stop.
pub(super) async fn run(desk: &Arc<Desk>, namespace: Option<&str>, tasks: &Tasks) {
    tokio::join!(
        answer::<VectorBackup>(desk, namespace, tasks),
        answer::<VectorBackupSchedule>(desk, namespace, tasks),
        answer::<VectorRestore>(desk, namespace, tasks),
    );
}

async fn answer<K: Kind + Serialize>(desk: &Arc<Desk>, namespace: Option<&str>, tasks: &Tasks) {
    let all = scoped::<K>(&desk.context.client, namespace);
    Controller::new(all, watcher::Config::default())
        .with_config(
            Config::default()
                .debounce(DEBOUNCE)
                .concurrency(CONCURRENCY),
        )
        .graceful_shutdown_on(tasks.stopping())
        .run(round::<K>, again::<K>, Arc::clone(desk))
        .for_each(|_done| std::future::ready(()))
        .await;
}

fn again<K: Kind>(object: Arc<K>, error: &Error, desk: Arc<Desk>) -> Action {
    let (kind, name, error) = (K::kind(&()), object.name_any(), chain(error));
    tracing::warn!(%kind, name, error, "an object could not be answered");
    desk.wait(object.as_ref())
}

async fn round<K: Kind + Serialize>(object: Arc<K>, desk: Arc<Desk>) -> Result<Action, Error> {
    let Some(object) = desk.fresh(object.as_ref()).await? else {
        return Ok(desk.done(object.as_ref()));
    };
    let whole = serde_json::to_value(&object).unwrap_or_default();
    if let Some(status) = rejection(&K::kind(&()), &whole, desk.now()) {
        desk.write_status(&object, &status, None).await?;
        desk.tell(&object, &[told()]).await;
        let (kind, name) = (K::kind(&()), object.name_any());
        tracing::info!(%kind, name, reason = REASON, "an object was rejected");
    }
    Ok(desk.done(&object))
}

/// What is told of an object that is answered.
fn told() -> Told {
    warned("Rejected", MESSAGE)
}

/// The status of an object that is not answered yet.
fn rejection(kind: &str, object: &Value, now: Timestamp) -> Option<Value> {
    let generation = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64);
    let said = Said::new(Truth::False, REASON, MESSAGE);
    let condition = |type_: &str| said.condition(type_, &[], generation, now);
    if kind == VectorBackupSchedule::kind(&()) {
        let observed = object.pointer("/status/observedGeneration");
        let answered = observed.and_then(Value::as_i64) == generation;
        return (!answered).then(
            || json!({"observedGeneration": generation, "conditions": [condition("Ready")]}),
        );
    }
    let state = object.pointer("/status/state").and_then(Value::as_str);
    (state != Some("Rejected")).then(|| {
        json!({
            "state": "Rejected", "error": MESSAGE, "completedAt": now,
            "conditions": [condition("Complete")],
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::operator::documented;

    /// The kinds as this module names them, each before it is answered.
    fn kinds() -> [&'static str; 3] {
        ["VectorBackup", "VectorBackupSchedule", "VectorRestore"]
    }

    #[test]
    fn what_is_said_of_each_kind_is_what_is_documented() {
        let mut given = BTreeSet::new();
        for kind in kinds() {
            let object = json!({"metadata": {"generation": 1}});
            let status = rejection(kind, &object, Timestamp::UNIX_EPOCH).unwrap();
            let conditions = status["conditions"].as_array().unwrap();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            for condition in conditions {
                given.insert([
                    kind.to_owned(),
                    text(&status["state"]),
                    text(&condition["type"]),
                    text(&condition["reason"]),
                    told().reason.to_owned(),
                ]);
            }
        }
        let rows = documented::lines("| Kind | `state` |").into_iter().skip(2);
        let rows = rows.map(|row| {
            let cells: Vec<&str> = row.split('|').collect();
            [1, 2, 3, 4, 5].map(|at| documented::words(cells[at]).collect::<String>())
        });
        assert_eq!(given, rows.collect());
    }

    #[test]
    fn nothing_else_can_be_said() {
        let said = ["BackupsNotAvailable", "Complete", "Ready", "Rejected"];
        let literals = documented::literals(include_str!("rejected.rs"));
        assert_eq!(literals, BTreeSet::from(said));
    }

    #[test]
    fn each_object_is_answered_once() {
        let now = Timestamp::from_second(1_000).unwrap();
        for kind in ["VectorBackup", "VectorRestore"] {
            let mut object = json!({"metadata": {"generation": 1}});
            let status = rejection(kind, &object, now).unwrap();
            assert_eq!(status["state"], "Rejected");
            assert_eq!(status["error"], MESSAGE);
            assert_eq!(status["completedAt"], "1970-01-01T00:16:40Z");
            assert_eq!(status["conditions"][0]["reason"], REASON);
            object["status"] = status;
            assert_eq!(rejection(kind, &object, now), None);
        }
    }

    #[test]
    fn a_schedule_is_answered_again_when_it_changes() {
        let now = Timestamp::UNIX_EPOCH;
        let mut object = json!({"metadata": {"generation": 1}});
        let status = rejection("VectorBackupSchedule", &object, now).unwrap();
        let ready = &status["conditions"][0];
        assert_eq!(
            (&ready["type"], &ready["status"]),
            (&json!("Ready"), &json!("False"))
        );
        object["status"] = status;
        assert_eq!(rejection("VectorBackupSchedule", &object, now), None);
        object["metadata"]["generation"] = json!(2);
        assert!(rejection("VectorBackupSchedule", &object, now).is_some());
    }
}
