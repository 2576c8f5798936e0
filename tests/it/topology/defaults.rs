//! The three places that know defaults agree: the schema, the reading of a field, and `Default`.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vectorsphere::crd::{self, Kind, v1alpha1::*};
use vectorsphere::ids::CollectionName;
use vectorsphere::topology::manifest::check;

use super::samples::{IN_FULL, MINIMAL};

fn agree<T: DeserializeOwned + Default + PartialEq + Debug>() {
    assert_eq!(
        serde_json::from_value::<T>(json!({})).unwrap(),
        T::default()
    );
}

#[test]
fn an_empty_object_is_the_default() {
    agree::<Image>();
    agree::<Sharding>();
    agree::<Placement>();
    agree::<Rebalance>();
    agree::<Gateway>();
    agree::<GatewayService>();
    agree::<Master>();
    agree::<Etcd>();
    agree::<ManagedEtcd>();
    agree::<Tls>();
    agree::<Authentication>();
    agree::<PodOptions>();
    agree::<Updates>();
    agree::<NetworkPolicy>();
    agree::<Monitoring>();
    agree::<MonitoringObject>();
    agree::<Logging>();
    agree::<ServiceAccount>();
    agree::<VectorClusterStatus>();
    agree::<Index>();
    agree::<Keep>();
    agree::<VectorCollectionStatus>();
    agree::<VectorBackupStatus>();
    agree::<VectorBackupScheduleStatus>();
    agree::<VectorRestoreStatus>();
    agree::<VectorOpsTaskStatus>();
}

/// A spec with the required fields alone, of each kind that is no cluster, once through its type and
/// once through its schema.
#[test]
fn the_schema_of_each_kind_fills_in_what_its_type_would() {
    fn agrees<T: DeserializeOwned + Serialize>(kind: Kind, least: Value) {
        let by_type = serde_json::to_value(serde_json::from_value::<T>(least.clone()).unwrap());
        let mut by_schema = least;
        complete(&mut by_schema, &crd::schema(kind)["properties"]["spec"]);
        assert_eq!(by_schema, by_type.unwrap(), "{}", kind.name());
    }
    fn complete(value: &mut Value, schema: &Value) {
        let properties = schema["properties"].as_object();
        for (name, property) in properties.into_iter().flatten() {
            let object = value.as_object_mut().unwrap();
            if let Some(default) = property.get("default")
                && !object.contains_key(name)
            {
                object.insert(name.clone(), default.clone());
            }
            if let Some(inner) = object.get_mut(name).filter(|inner| inner.is_object()) {
                complete(inner, property);
            }
        }
    }
    let backup = json!({"cluster": "a", "location": {"s3": {"bucket": "abc"}}});
    agrees::<VectorCollectionSpec>(Kind::Collection, json!({"cluster": "a", "dimension": 3}));
    agrees::<VectorBackupSpec>(Kind::Backup, backup.clone());
    agrees::<VectorBackupScheduleSpec>(
        Kind::BackupSchedule,
        json!({"schedule": "0 3 * * *", "template": backup}),
    );
    agrees::<VectorRestoreSpec>(
        Kind::Restore,
        json!({"cluster": "a", "source": {"backupName": "b"}}),
    );
    agrees::<VectorOpsTaskSpec>(Kind::OpsTask, json!({"cluster": "a", "task": "VerifyData"}));
}

/// The bounds of a name in the schema are those of the server.
#[test]
fn a_collection_may_have_every_name_that_the_server_takes() {
    let property = &crd::schema(Kind::Collection)["properties"]["spec"]["properties"]["name"];
    let one = jsonschema::draft202012::new(property).unwrap();
    let backups = crd::schema(Kind::Backup);
    let items = &backups["properties"]["spec"]["properties"]["collections"]["items"];
    let each = jsonschema::draft202012::new(items).unwrap();
    let long = "x".repeat(256);
    for name in [
        "a",
        "Zoë 1",
        "a.b-c_d",
        "...",
        &long[1..],
        "",
        "a/b",
        "a\\b",
        "a\0",
        "a\nb",
        "a\u{85}b",
        "a*",
        "<",
        ">",
        ":",
        "\"",
        "|",
        "?",
        &long,
    ] {
        let good = CollectionName::parse(name).is_ok();
        assert_eq!(one.is_valid(&json!(name)), good, "{name:?}");
        assert_eq!(each.is_valid(&json!(name)), good, "{name:?}");
    }
    assert!(each.is_valid(&json!("*")) && !each.is_valid(&json!("**")));
}

#[test]
fn the_schema_fills_in_what_the_types_would() {
    for text in [MINIMAL, IN_FULL] {
        let raw: Value = serde_yaml_ng::from_str(text).unwrap();
        let by_type: VectorClusterSpec = serde_json::from_value(raw["spec"].clone()).unwrap();
        assert_eq!(check(text).unwrap().spec, by_type);
    }
}

/// A default that the server would refuse stops the installation of the definition.
#[test]
fn every_default_passes_its_own_schema() {
    fn walk(schema: &Value, place: &str, checked: &mut usize) {
        if let Some(default) = schema.get("default") {
            let validator = jsonschema::draft202012::new(schema).unwrap();
            assert!(validator.is_valid(default), "{place}: {default}");
            *checked += 1;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            walk(property, &format!("{place}.{name}"), checked);
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{place}[]"), checked);
        }
    }
    let mut checked = 0;
    for kind in Kind::ALL {
        walk(crd::schema(kind), kind.name(), &mut checked);
    }
    assert!(checked > 80, "{checked} defaults");
}

/// A server refuses a definition whose rules walk what has no bound. A rule that compares whole
/// objects walks all that is below them.
#[test]
fn whatever_a_rule_walks_is_bounded() {
    fn bounded(schema: &Value, place: &str, below: bool) {
        let bound = match schema["type"].as_str().unwrap_or_default() {
            "string" if schema["enum"].is_array() => return,
            "string" => "maxLength",
            "array" => "maxItems",
            "object" if schema["additionalProperties"].is_object() => "maxProperties",
            "object" if below => {
                for (name, property) in schema["properties"].as_object().unwrap() {
                    bounded(property, &format!("{place}.{name}"), true);
                }
                return;
            },
            _ => return,
        };
        assert!(schema[bound].is_u64(), "{place} has no {bound}");
        for inner in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(inner) {
                bounded(inner, &format!("{place}[]"), below);
            }
        }
    }
    fn walk(schema: &Value, place: &str, rules: &mut usize) {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            *rules += 1;
            let message = rule["message"].as_str();
            assert!(message.is_some_and(|message| !message.contains('\n')));
            match rule["rule"].as_str().unwrap() {
                "self == oldSelf" => bounded(schema, place, true),
                "self.spec == oldSelf.spec" => {
                    bounded(&schema["properties"]["spec"], place, true);
                },
                _ => bounded(schema, place, false),
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            walk(property, &format!("{place}.{name}"), rules);
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{place}[]"), rules);
        }
    }
    let mut rules = 0;
    for kind in Kind::ALL {
        walk(crd::schema(kind), kind.name(), &mut rules);
    }
    assert!(rules >= 40, "{rules} rules");
}
