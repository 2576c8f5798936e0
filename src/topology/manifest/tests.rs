//! That every rule of the definition is one that is evaluated here, and that no text breaks the
//! checker.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::*;
use crate::clock::{Clock, SystemClock};

const IN_FULL: &str = include_str!("../../../tests/it/topology/manifests/in_full.yaml");

/// With [`IN_FULL`], a manifest that has every field with a rule.
const OTHER_FIELDS: &str = "
apiVersion: vectorsphere.io/v1alpha1
kind: VectorCluster
metadata: {name: other}
spec:
  version: 0.1.0
  worker: {storage: {size: 10Gi}}
  gateway: {autoscaling: {maxReplicas: 3}}
  etcd: {external: {endpoints: ['https://etcd:2379']}}
  podDefaults: {env: [{name: A, value: b}]}
  bootstrap: {location: {volume: {claimName: backups}}}
";

fn completed(text: &str) -> Value {
    let (mut manifest, faults) = text::read(text).unwrap();
    assert_eq!(faults, []);
    CHECKER.structure.complete(&mut manifest);
    manifest
}

/// Evaluates each rule for each value at its level, the value being its own old one.
fn evaluate(schema: &Value, value: &Value, evaluated: &mut BTreeSet<String>) {
    let rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for rule in rules.into_iter().flatten() {
        let text = rule["rule"].as_str().unwrap();
        let compiled = CHECKER.rules.compiled[text].as_ref().unwrap();
        let held = CHECKER.rules.holds(compiled, value, Some(value));
        assert_eq!(held, Ok(true), "{text}");
        assert!(rule["message"].is_string(), "{text} has no message");
        evaluated.insert(text.to_owned());
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(schema) = schema.pointer(&format!("/properties/{name}")) {
                    evaluate(schema, value, evaluated);
                }
            }
        },
        Value::Array(items) => {
            for item in items {
                evaluate(&schema["items"], item, evaluated);
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

#[test]
fn every_rule_of_the_definition_compiles_and_runs() {
    let mut evaluated = BTreeSet::new();
    for text in [IN_FULL, OTHER_FIELDS] {
        evaluate(crd::schema(Kind::Cluster), &completed(text), &mut evaluated);
    }
    let all: BTreeSet<String> = CHECKER.rules.compiled.keys().cloned().collect();
    assert!(all.len() >= 20, "{} rules", all.len());
    assert_eq!(
        evaluated, all,
        "rules that no manifest of this test reaches"
    );
}

#[test]
fn the_schema_uses_only_what_the_checker_knows() {
    fn walk(schema: &Value, place: &str) {
        for keyword in schema.as_object().unwrap().keys() {
            assert!(
                [
                    "additionalProperties",
                    "default",
                    "description",
                    "enum",
                    "format",
                    "items",
                    "maxItems",
                    "maxLength",
                    "maxProperties",
                    "maximum",
                    "minItems",
                    "minLength",
                    "minimum",
                    "pattern",
                    "properties",
                    "required",
                    "title",
                    "type",
                    "x-kubernetes-int-or-string",
                    "x-kubernetes-list-map-keys",
                    "x-kubernetes-list-type",
                    "x-kubernetes-map-type",
                    "x-kubernetes-preserve-unknown-fields",
                    "x-kubernetes-validations",
                ]
                .contains(&keyword.as_str()),
                "{place} has {keyword}"
            );
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            walk(property, &format!("{place}.{name}"));
        }
        for keyword in ["items", "additionalProperties"] {
            if let Some(child) = schema.get(keyword).filter(|child| child.is_object()) {
                walk(child, &format!("{place}.{keyword}"));
            }
        }
    }
    walk(crd::schema(Kind::Cluster), "");
    walk(&crd::metadata_schema(), "metadata");
}

#[test]
fn a_rule_that_cannot_be_evaluated_is_a_fault_that_names_it() {
    for (rule, word) in [
        ("self.none.of.these", "No such key"),
        ("self.a", "neither true nor false"),
        ("semver(self.a) > 1", "semver"),
        ("self.a ==", "cannot be evaluated"),
        ("optionalThing(oldSelf)", ""),
    ] {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": rule, "message": "wrong"}],
        });
        let value = json!({"a": "1"});
        let mut faults = Vec::new();
        Rules::new(&schema).judge(&value, Some(&value), &mut faults);
        assert_eq!(faults.len(), 1, "{rule}");
        let problem = &faults[0].problem;
        assert!(
            problem.contains(rule) && problem.contains(word),
            "{problem}"
        );
    }
}

#[test]
fn a_rule_is_passed_over_only_when_what_it_reads_is_broken() {
    let schema = json!({
        "type": "object",
        "properties": {"a": {"properties": {"b": {}}}, "c": {}},
        "x-kubernetes-validations": [
            {"rule": "self.a.b == 1", "message": "value"},
            {"rule": "!has(self.a.b)", "message": "presence"},
            {"rule": "self.c.all(c, c == 1)", "message": "list"},
        ],
    });
    let value = json!({"a": {"b": 2}, "c": [2]});
    let rules = Rules::new(&schema);
    for (broken, expected) in [
        ("x", vec!["list", "presence", "value"]),
        ("a.b", vec!["list", "presence"]),
        ("a.b.x", vec!["list", "presence"]),
        ("a", vec!["list"]),
        ("c", vec!["presence", "value"]),
    ] {
        let mut faults = vec![FieldFault::new(FieldPath::of(broken), "of the schema")];
        rules.judge(&value, None, &mut faults);
        let mut messages: Vec<&str> = faults[1..].iter().map(|f| f.problem.as_str()).collect();
        messages.sort_unstable();
        assert_eq!(messages, expected, "{broken}");
    }
}

/// What may be put anywhere in a manifest.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3_i64..9).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "[0-9]{1,20}(h|m|Gi|e9|)".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z]{0,8}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Every place in a value.
fn places(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                places(value, format!("{place}/{name}"), found);
            }
        },
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, format!("{place}/{index}"), found);
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
    found.push(place);
}

/// Whatever the text: an accepted manifest is whole, and a refused one has faults, in order, each on
/// one line of bounded length.
fn answers(text: &str) -> Result<(), TestCaseError> {
    match check(text) {
        Ok(checked) => prop_assert!(!checked.name.is_empty()),
        Err(faults) => {
            prop_assert!(!faults.is_empty() && faults.len() <= FAULTS_MAX + 1);
            let ordered = faults.iter().take(FAULTS_MAX);
            prop_assert!(ordered.is_sorted_by(|one, next| one < next));
            for fault in &faults {
                prop_assert!(!fault.problem.contains('\n') && fault.problem.len() < 2_000);
                // The schema is to refuse whatever the types would.
                prop_assert!(
                    fault.path != FieldPath::of("spec") || !fault.problem.contains("invalid")
                );
                prop_assert!(!fault.problem.contains("cannot be evaluated"), "{fault}");
            }
        },
    }
    Ok(())
}

#[test]
fn any_change_of_a_good_manifest_gets_an_answer() {
    let bases: Vec<Value> = [IN_FULL, OTHER_FIELDS].map(completed).into();
    let change = (
        any::<prop::sample::Index>(),
        prop::option::weighted(0.8, any_value()),
    );
    let input = (
        any::<prop::sample::Index>(),
        prop::collection::vec(change, 1..4),
    );
    let mut runner = TestRunner::new(Config {
        cases: 500,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&input, |(base, changes)| {
            let mut manifest = base.get(&bases).clone();
            for (at, new) in changes {
                let mut found = Vec::new();
                places(&manifest, String::new(), &mut found);
                let place = manifest.pointer_mut(at.get::<String>(&found)).unwrap();
                match (new, place) {
                    (Some(new), place) => *place = new,
                    (None, Value::Object(fields)) => {
                        if let Some(first) = fields.keys().next().cloned() {
                            fields.remove(&first);
                        }
                    },
                    (None, place) => *place = Value::Null,
                }
            }
            answers(&serde_yaml_ng::to_string(&manifest).unwrap())
        })
        .unwrap();
}

#[test]
fn any_text_gets_an_answer() {
    let mut runner = TestRunner::new(Config {
        cases: 1_000,
        failure_persistence: None,
        ..Config::default()
    });
    let cut = (0..IN_FULL.len(), 0_usize..40, "[ -~\n\t]{0,20}");
    runner
        .run(&cut, |(at, length, new)| {
            let before = IN_FULL.get(..at).unwrap();
            let after = IN_FULL.get(at + length..).unwrap_or("");
            answers(&format!("{before}{new}{after}"))
        })
        .unwrap();
    runner
        .run(&"[\\PC\n]{0,200}", |text| answers(&text))
        .unwrap();
}

/// Texts that are small and stand for much.
#[test]
fn hostile_texts_are_refused_in_bounded_time_and_space() {
    let nine = |name: char, below: &str| format!("{name}: &{name} [{}]\n", [below; 9].join(","));
    let mut billion_laughs = "a: &a lol\n".to_owned();
    for (name, below) in ('b'..='z').zip('a'..='y') {
        billion_laughs.push_str(&nine(name, &format!("*{below}")));
    }
    let wide = format!(
        "a: &a [{}]\nb: [{}]\n",
        "x,".repeat(150_000),
        "*a,".repeat(150_000)
    );
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(500_000),
        "*a,".repeat(100_000)
    );
    let keys = format!(
        "a: &a {}\n{}",
        "x".repeat(500_000),
        "? *a\n: {? *a : 1}\n".repeat(20_000)
    );
    for (what, text) in [
        ("aliases of aliases", billion_laughs),
        ("many aliases of a long list", wide),
        ("many aliases of a long text", long),
        ("keys that are aliases", keys),
        ("an alias in itself", "a: &a [*a]\n".to_owned()),
        ("open lists", "[".repeat(BYTES_MAX)),
        ("open objects", "{a: ".repeat(BYTES_MAX / 4)),
        (
            "words in open objects",
            "{a: ".repeat(900) + &"a, ".repeat(300_000),
        ),
        ("nested lists in lines", "- ".repeat(BYTES_MAX / 2)),
        ("nested keys", "? ".repeat(BYTES_MAX / 2)),
        (
            "lists in lists",
            format!("{}{}", "[".repeat(900), "]".repeat(900)),
        ),
        ("many documents", "---\n".repeat(BYTES_MAX / 4)),
        ("many documents with text", "--- a\n".repeat(BYTES_MAX / 6)),
        (
            "many fields",
            (0..80_000).map(|n| format!("f{n}: 1\n")).collect(),
        ),
        ("a large text", "x".repeat(BYTES_MAX + 1)),
        ("many quotes", "\"".repeat(BYTES_MAX)),
        ("many tags", "!a ".repeat(BYTES_MAX / 3)),
        (
            "many anchors",
            (0..60_000).map(|n| format!("- &a{n} x\n")).collect(),
        ),
        ("many comments", "#\n".repeat(BYTES_MAX / 2)),
    ] {
        let clock = SystemClock;
        let start = clock.now();
        let faults = check(&text).unwrap_err();
        let took = clock.now().since(start);
        assert!(faults.len() <= FAULTS_MAX + 1, "{what}");
        assert!(took < Duration::from_secs(20), "{what} took {took:?}");
        println!("{what}: {took:?}: {}", faults[0]);
    }
}
