//! The three places that know defaults agree: the schema, the reading of a field, and `Default`.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vectorsphere::crd::{self, v1alpha1::*};
use vectorsphere::topology::manifest::check;

use super::samples::{MINIMAL, PRODUCTION};

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
}

#[test]
fn the_schema_fills_in_what_the_types_would() {
    for text in [MINIMAL, PRODUCTION] {
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
    walk(crd::schema(), "", &mut checked);
    assert!(checked > 50, "{checked} defaults");
}

/// A server refuses a definition whose rules walk what has no bound.
#[test]
fn whatever_a_rule_walks_is_bounded() {
    fn walk(schema: &Value, place: &str, rules: &mut usize) {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            *rules += 1;
            assert!(
                rule["message"]
                    .as_str()
                    .is_some_and(|message| !message.contains('\n'))
            );
            let bound = match schema["type"].as_str().unwrap() {
                "string" => "maxLength",
                "array" => "maxItems",
                _ => continue,
            };
            assert!(schema[bound].is_u64(), "{place} has no {bound}");
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
    walk(crd::schema(), "", &mut rules);
    assert!(rules >= 30, "{rules} rules");
}
