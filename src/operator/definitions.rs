//! Whether the definitions of what the operator carries out are there, and new enough.
//!
//! Charts and people install them beside the operator, in any order. One that comes first waits: it
//! says in the log and in its readiness what is missing, looks again, and goes on when it is there.
//! A definition is new enough when it has every field that this binary knows: the API server would
//! drop the others without a word. Once they were there nothing stops any more; readiness tells when
//! they vanish.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::discovery::ApiResource;
use serde_json::Value;

use super::Error;
use super::cluster_api::within;
use super::instruments::Instruments;
use crate::crd::{self, Kind};
use crate::fault::chain;
use crate::tasks::Tasks;

/// Between two looks until all six are there.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Between two looks afterwards.
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_secs(30);
/// Missing fields that are named.
const FIELDS_NAMED: usize = 3;

/// Waits until the definitions are there, and looks at them from then on. False when the tasks are
/// told to stop before.
pub(super) async fn wait(client: &Client, instruments: &Instruments, tasks: &Tasks) -> bool {
    let mut told = None;
    let waiting = async {
        while !look(client, instruments, &mut told).await {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    tokio::select! {
        () = waiting => {},
        () = tasks.stopping() => return false,
    }
    let (client, instruments, stopping) = (client.clone(), instruments.clone(), tasks.clone());
    tasks.spawn("definitions", async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN_INTERVAL) => {},
                () = stopping.stopping() => return,
            }
            look(&client, &instruments, &mut told).await;
        }
    });
    true
}

/// One look; says what is missing, once.
async fn look(client: &Client, instruments: &Instruments, told: &mut Option<String>) -> bool {
    let missing = missing(client).await;
    if *told != missing {
        match &missing {
            Some(what) => tracing::warn!(what, "waiting for the definitions"),
            None => tracing::info!("the definitions are there"),
        }
        told.clone_from(&missing);
    }
    let is_there = missing.is_none();
    instruments.set_definitions(missing.map_or(Ok(()), Err));
    is_there
}

async fn missing(client: &Client) -> Option<String> {
    let resource = ApiResource::erase::<CustomResourceDefinition>(&());
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    for kind in Kind::ALL {
        let ours = crd::definition(kind);
        let name = ours.pointer("/metadata/name").and_then(Value::as_str);
        let found: Result<_, Error> = within(api.get_opt(name.unwrap_or_default())).await;
        let fault = match found {
            Ok(found) => fault(ours, found.as_ref().map(|found| &found.data)),
            Err(error) => Some(format!("cannot be looked at: {}", chain(&error))),
        };
        if let Some(fault) = fault {
            return Some(format!("the definition of {} {fault}", kind.name()));
        }
    }
    None
}

/// What is wrong with a definition of the API server, compared with ours.
fn fault(ours: &Value, theirs: Option<&Value>) -> Option<String> {
    let Some(theirs) = theirs else {
        return Some("is not installed".to_owned());
    };
    let all = |pointer: &str| {
        let found = theirs.pointer(pointer).and_then(Value::as_array);
        found.map(Vec::as_slice).unwrap_or_default()
    };
    let is = |object: &Value, field: &str, value: &str| {
        object.get(field).and_then(Value::as_str) == Some(value)
    };
    let established =
        |condition: &Value| is(condition, "type", "Established") && is(condition, "status", "True");
    if !all("/status/conditions").iter().any(established) {
        return Some("is not established yet".to_owned());
    }
    let served = |version: &&Value| {
        is(version, "name", crd::VERSION) && version.get("served") == Some(&Value::Bool(true))
    };
    let Some(version) = all("/spec/versions").iter().find(served) else {
        return Some(format!("does not serve {}", crd::VERSION));
    };
    let schema = |version: Option<&Value>| version?.pointer("/schema/openAPIV3Schema").cloned();
    let ours = schema(ours.pointer("/spec/versions/0")).unwrap_or_default();
    let mut absent = Vec::new();
    compare(
        &ours,
        &schema(Some(version)).unwrap_or_default(),
        "",
        &mut absent,
    );
    if absent.is_empty() {
        return None;
    }
    let named: Vec<&str> = absent
        .iter()
        .take(FIELDS_NAMED)
        .map(String::as_str)
        .collect();
    let (count, named) = (absent.len(), named.join(", "));
    Some(format!(
        "is older than this operator: it lacks {count} fields, such as {named}"
    ))
}

/// The fields of our schema that theirs has not.
fn compare(ours: &Value, theirs: &Value, place: &str, absent: &mut Vec<String>) {
    let properties = ours.get("properties").and_then(Value::as_object);
    for (name, ours) in properties.into_iter().flatten() {
        let place = format!("{place}.{name}");
        match theirs.get("properties").and_then(|all| all.get(name)) {
            Some(theirs) => compare(ours, theirs, &place, absent),
            None => absent.push(place),
        }
    }
    for below in ["items", "additionalProperties"] {
        if let (Some(ours), Some(theirs)) = (ours.get(below), theirs.get(below)) {
            compare(ours, theirs, place, absent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn installed() -> Value {
        let mut definition = crd::definition(Kind::Cluster).clone();
        let established = json!({"type": "Established", "status": "True"});
        definition["status"] = json!({"conditions": [established]});
        definition
    }

    fn fault_of(theirs: Option<&Value>) -> Option<String> {
        fault(crd::definition(Kind::Cluster), theirs)
    }

    #[test]
    fn ours_is_good_and_so_is_a_newer_one() {
        let mut newer = installed();
        assert_eq!(fault_of(Some(&newer)), None);
        let properties = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        newer.pointer_mut(properties).unwrap()["later"] = json!({"type": "string"});
        assert_eq!(fault_of(Some(&newer)), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(fault_of(None).unwrap(), "is not installed");
        let mut young = installed();
        young["status"]["conditions"][0]["status"] = json!("False");
        assert_eq!(fault_of(Some(&young)).unwrap(), "is not established yet");
        let mut other = installed();
        other["spec"]["versions"][0]["name"] = json!("v1");
        assert_eq!(fault_of(Some(&other)).unwrap(), "does not serve v1alpha1");
        let mut older = installed();
        let worker =
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/worker/properties";
        let fields = older.pointer_mut(worker).unwrap().as_object_mut().unwrap();
        fields.remove("storage").unwrap();
        let fault = fault_of(Some(&older)).unwrap();
        assert!(
            fault.contains("lacks 1 fields, such as .spec.worker.storage"),
            "{fault}"
        );
    }
}
