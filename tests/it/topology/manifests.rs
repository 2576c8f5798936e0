//! Bad manifests, and the very words that they are refused with.

mod table;

use std::collections::BTreeSet;

use serde_json::Value;
use vectorsphere::crd;
use vectorsphere::topology::manifest::check_change;

use super::samples::MINIMAL;
use super::{faults, spec, with};
use table::{AGAINST_CHANGES, AGAINST_RULES, AGAINST_THE_SCHEMA};

fn check(changes: &[(&str, &str)], expected: &[&str]) {
    let text = serde_yaml_ng::to_string(&with(changes)).unwrap();
    assert_eq!(faults(&text), expected, "{changes:?}");
}

#[test]
fn a_manifest_without_faults_has_none() {
    check(&[], &[]);
    check(
        &[
            ("metadata.namespace", "search"),
            ("metadata.labels", "{a/b: c}"),
        ],
        &[],
    );
    check(
        &[
            ("metadata.uid", "x"),
            ("status", "{phase: Running, whatever: 1}"),
        ],
        &[],
    );
    check(
        &[("spec.gateway", "null"), ("spec.worker.replicas", "null")],
        &[],
    );
    check(&[("spec.worker.replicas", "3.0")], &[]);
    check(
        &[(
            "spec.podDefaults.overlay",
            "{spec: {anything: [1, {at: all}]}}",
        )],
        &[],
    );
    check(
        &[("spec.worker.resources", "{limits: {cpu: 2, memory: 4Gi}}")],
        &[],
    );
    check(
        &[("spec.power", "Hibernated"), ("spec.config", "{a: b}")],
        &[],
    );
    check(
        &[(
            "spec.etcd",
            "{external: {endpoints: ['http://a:1', 'https://b.c:2379']}}",
        )],
        &[],
    );
}

#[test]
fn a_fault_of_the_schema_names_its_field() {
    for (change, expected) in AGAINST_THE_SCHEMA {
        check(&[*change], &[expected]);
    }
}

#[test]
fn a_rule_that_does_not_hold_says_so() {
    for (changes, expected) in AGAINST_RULES {
        check(changes, &[expected]);
    }
}

#[test]
fn a_change_that_is_not_allowed_says_so() {
    for (before, after, expected) in AGAINST_CHANGES {
        let (before, after) = (spec(before), spec(after));
        let faults = check_change(&before, &after);
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, [*expected]);
        assert_eq!(check_change(&after, &after), []);
    }
    let grown = spec(&[
        ("spec.worker.storage.size", "1Ti"),
        ("spec.worker.replicas", "9"),
    ]);
    assert_eq!(check_change(&spec(&[]), &grown), []);
}

#[test]
fn every_rule_of_the_definition_has_a_manifest_that_breaks_it() {
    fn messages(schema: &Value, found: &mut BTreeSet<String>) {
        match schema {
            Value::Object(fields) => {
                let rules = fields
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array);
                for rule in rules.into_iter().flatten() {
                    found.insert(rule["message"].as_str().unwrap().to_owned());
                }
                fields.values().for_each(|value| messages(value, found));
            },
            Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
        }
    }
    let mut all = BTreeSet::new();
    messages(crd::schema(crd::Kind::Cluster), &mut all);
    let shown: Vec<&str> = AGAINST_RULES
        .iter()
        .map(|(_, expected)| *expected)
        .chain(AGAINST_CHANGES.iter().map(|(_, _, expected)| *expected))
        .chain([MORE_COPIES_THAN_WORKERS])
        .collect();
    // A message that begins with the end of its path is shown without that.
    let shows = |shown: &str, message: &str| {
        let rest = message.split_once(' ').is_some_and(|(name, rest)| {
            name.contains('.') && shown.ends_with(&format!("{name}: {rest}"))
        });
        rest || shown.ends_with(&format!(": {message}"))
    };
    all.retain(|message| !shown.iter().any(|shown| shows(shown, message)));
    assert_eq!(all, BTreeSet::new(), "rules that no manifest here breaks");
}

const MORE_COPIES_THAN_WORKERS: &str = "spec.worker.replicas: is smaller than \
    sharding.replicationFactor (to stop the cluster set power: Hibernated)";

#[test]
fn more_than_one_copy_is_refused_by_name() {
    let refused = |copies| {
        format!(
            "spec.sharding.replicationFactor: ReplicationNotAvailable: {copies} copies of each shard \
             are not available yet; set it to 1"
        )
    };
    check(&[("spec.sharding.replicationFactor", "2")], &[&refused(2)]);
    check(
        &[("spec.sharding.replicationFactor", "5")],
        &[&refused(5), MORE_COPIES_THAN_WORKERS],
    );
}

#[test]
fn amounts_of_resources_are_quantities() {
    check(
        &[
            (
                "spec.gateway.resources",
                "{limits: {cpu: lots}, requests: {memory: -1}}",
            ),
            ("spec.etcd.managed.resources", "{limits: {memory: 1GiB}}"),
        ],
        &[
            "spec.etcd.managed.resources.limits.memory: must be a quantity, such as 500m or 4Gi, not '1GiB'",
            "spec.gateway.resources.limits.cpu: must be a quantity, such as 500m or 4Gi, not 'lots'",
            "spec.gateway.resources.requests.memory: must be a quantity, such as 500m or 4Gi, not '-1'",
        ],
    );
}

#[test]
fn all_faults_are_named_at_once_in_the_order_of_their_fields() {
    check(
        &[
            ("metadata.name", "Demo"),
            ("spec.version", "-"),
            ("spec.worker.replicas", "0"),
            ("spec.worker.storage.size", "ten"),
            ("spec.worker.storage.sise", "10Gi"),
            ("spec.gateway.routing", "ViaMoon"),
            ("spec.sharding.replicationFactor", "3"),
            ("spec.master.replicas", "4"),
            ("spec.tls.mode", "Secret"),
            ("spec.etcd", "{}"),
        ],
        &[
            "metadata.name: must be lower-case letters, digits and '-', begin with a letter and end \
             with a letter or digit, not 'Demo'",
            "spec.etcd: set exactly one of etcd.managed and etcd.external",
            "spec.gateway.routing: must be one of 'Direct', 'ViaMaster', not 'ViaMoon'",
            "spec.master.replicas: must be 1, 3 or 5",
            "spec.sharding.replicationFactor: ReplicationNotAvailable: 3 copies of each shard are not \
             available yet; set it to 1",
            "spec.tls.secretName: secretName goes with mode Secret",
            "spec.version: is required",
            "spec.worker.replicas: must be at least 1, not 0",
            "spec.worker.storage.sise: is not a known field; did you mean size?",
            "spec.worker.storage.size: size must be a positive quantity, such as 100Gi",
        ],
    );
}

#[test]
fn a_text_that_is_no_manifest_says_what_it_is() {
    for (text, expected) in [
        ("", "manifest: is empty: one VectorCluster is expected"),
        (
            "# nothing\n---\n",
            "manifest: is empty: one VectorCluster is expected",
        ),
        ("3", "manifest: must be an object, not 3"),
        ("[]", "manifest: must be an object, not a list"),
        (
            "a: [",
            "manifest: is not readable: did not find expected node content at line 2 column 1, while \
             parsing a flow node",
        ),
        (
            "a: !secret b",
            "manifest: is not readable: a: invalid type: enum, expected a value without \
                          a tag at line 1 column 4",
        ),
        (
            "a: *b",
            "manifest: is not readable: unknown anchor at line 1 column 4",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "manifest: holds more than one document: one VectorCluster is expected",
        ),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn another_kind_of_object_is_not_taken_apart() {
    assert_eq!(
        faults("apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 3}\n"),
        [
            "apiVersion: must be vectorsphere.io/v1alpha1, not apps/v1",
            "kind: must be VectorCluster, not Deployment",
        ]
    );
}

#[test]
fn keys_and_numbers_are_checked_where_they_stand() {
    let text = MINIMAL.replace(
        "  version: 0.1.0\n",
        "  version: 0.1.0\n  paused: false\n  paused: true\n  config: {1: a, true: b, 1: c, [x]: y}\n  \
         gateway: {replicas: .nan}\n",
    );
    assert_eq!(
        faults(&text),
        [
            "spec.config: has a key that is not a text",
            "spec.config.1: is given more than once",
            "spec.gateway.replicas: is not a finite number",
            "spec.paused: is given more than once",
        ]
    );
}

#[test]
fn anchors_may_be_used_with_measure() {
    let text = MINIMAL.replace(
        "  version: 0.1.0\n",
        "  version: 0.1.0\n  gateway: {resources: &small {limits: {cpu: 1}}}\n  \
         master: {resources: *small}\n",
    );
    assert_eq!(faults(&text), [""; 0]);
}

#[test]
fn of_very_many_faults_the_number_is_told() {
    let fields: String = (0..1_000).map(|n| format!("  surplus{n}: 1\n")).collect();
    let found =
        faults(&MINIMAL.replace("  version: 0.1.0\n", &format!("  version: 0.1.0\n{fields}")));
    assert_eq!(found.len(), 257);
    assert_eq!(found.last().unwrap(), "manifest: has 744 more faults");
}
