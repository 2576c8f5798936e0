//! What of the charts is made from something else, and what holds for all of them.
//!
//! The definitions in `vectorsphere-crds` are those of `crds/`; the schema of `vectorsphere-cluster` is made
//! from the definition of VectorCluster; each README from its values. Rendering takes Helm and is tried by
//! `tests/operator/acting/charts.rs`.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value, json};
use vectorsphere::crd::{self, Kind};

use super::is_fresh;

const CHARTS: [&str; 3] = [
    "vectorsphere-crds",
    "vectorsphere-operator",
    "vectorsphere-cluster",
];

fn read(file: &str) -> String {
    fs_err::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn yaml(file: &str) -> Value {
    serde_yaml_ng::from_str(&read(file)).unwrap()
}

fn schema(chart: &str) -> Value {
    serde_json::from_str(&read(&format!("charts/{chart}/values.schema.json"))).unwrap()
}

/// A definition as a template: Helm leaves it where it is when the release goes.
fn template(kind: Kind) -> String {
    let definition = crd::yaml(kind);
    assert!(
        !definition.contains("{{"),
        "a template would take it for its own"
    );
    let keep = "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n  name:";
    let kept = definition.replacen("metadata:\n  name:", keep, 1);
    assert!(kept.contains(keep));
    kept
}

#[test]
fn the_chart_of_definitions_holds_the_definitions() {
    for kind in Kind::ALL {
        let file = kind
            .file()
            .replacen("crds/", "charts/vectorsphere-crds/templates/", 1);
        is_fresh(&file, &template(kind));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/vectorsphere-crds/templates");
    // The definitions and the notes.
    assert_eq!(
        fs_err::read_dir(folder).unwrap().count(),
        Kind::ALL.len() + 1
    );
}

/// A part of a definition's schema as a JSON Schema that refuses unknown fields.
fn strict(of: &Value) -> Value {
    let Value::Object(fields) = of else {
        return of.clone();
    };
    let mut made = Map::new();
    for (name, value) in fields {
        match name.as_str() {
            "properties" => {
                let properties = value.as_object().unwrap().iter();
                let strict = properties
                    .map(|(name, of)| (name.clone(), strict(of)))
                    .collect();
                made.insert(name.clone(), Value::Object(strict));
            },
            "items" | "additionalProperties" => {
                made.insert(name.clone(), strict(value));
            },
            // The API server's own: it sees to them itself, and fills the defaults in.
            "format" | "default" => {},
            name if name.starts_with("x-kubernetes-") => {},
            _ => {
                made.insert(name.clone(), value.clone());
            },
        }
    }
    let is_free = of["x-kubernetes-preserve-unknown-fields"] == true;
    if made.contains_key("properties") && !is_free {
        made.entry("additionalProperties").or_insert(json!(false));
    }
    if of["x-kubernetes-int-or-string"] == true {
        made.insert("type".to_owned(), json!(["integer", "number", "string"]));
    }
    Value::Object(made)
}

/// The options of pods, which every role has, stand once in a schema. Each place keeps its description.
fn share_pod_options(schema: &mut Value, shared: &mut Option<Value>) {
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, of) in properties {
        if !matches!(name.as_str(), "pod" | "podDefaults") {
            share_pod_options(of, shared);
            continue;
        }
        let about = of.as_object_mut().unwrap().remove("description");
        let reference = json!({"$ref": "#/$defs/PodOptions", "description": about});
        let options = std::mem::replace(of, reference);
        assert_eq!(
            *shared.get_or_insert_with(|| options.clone()),
            options,
            "{name}"
        );
    }
}

fn cluster_schema() -> String {
    let mut spec = strict(&crd::schema(Kind::Cluster)["properties"]["spec"]);
    let mut pod_options = None;
    share_pod_options(&mut spec, &mut pod_options);
    let text = |about: &str| json!({"description": about, "type": "string"});
    let texts = |about: &str| {
        json!({
            "description": about, "type": "object", "additionalProperties": {"type": "string"},
        })
    };
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["spec"],
        "$defs": {"PodOptions": pod_options},
        "properties": {
            "global": {
                "description": "What Helm hands to every chart that is part of another; nothing is read.",
                "type": "object",
            },
            "name": {
                "description": "The name of the VectorCluster.", "type": "string",
                "maxLength": 40, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$",
            },
            "labels": texts("Its labels."),
            "annotations": texts("Its annotations."),
            "spec": spec,
            "test": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "image": text("The image that `helm test` asks the cluster with."),
                    "timeoutSeconds": {
                        "description": "Seconds that the cluster may take until it answers.",
                        "type": "integer", "minimum": 0, "maximum": 3600,
                    },
                },
            },
        },
    });
    format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())
}

#[test]
fn the_schema_of_the_cluster_chart_is_that_of_a_vector_cluster() {
    is_fresh(
        "charts/vectorsphere-cluster/values.schema.json",
        &cluster_schema(),
    );
    let schema = jsonschema::draft202012::new(&schema("vectorsphere-cluster")).unwrap();
    let values = yaml("charts/vectorsphere-cluster/values.yaml");
    assert!(schema.is_valid(&values));
    let set = |pointer: &str, field: &str, value: Value| {
        let mut values = values.clone();
        values.pointer_mut(pointer).unwrap()[field] = value;
        schema.is_valid(&values)
    };
    assert!(set(
        "/spec",
        "worker",
        json!({"replicas": 2, "storage": {"size": "1Gi"}})
    ));
    assert!(set(
        "/spec/worker",
        "resources",
        json!({"limits": {"cpu": 2, "memory": "1Gi"}})
    ));
    assert!(set(
        "/spec/worker",
        "pod",
        json!({"nodeSelector": {"disk": "fast"}})
    ));
    assert!(!set("/spec/worker", "pod", json!({"nodeSelectors": {}})));
    assert!(!set("/spec", "workers", json!({})));
    assert!(!set("/spec/worker", "replica", json!(1)));
    assert!(!set("/spec/worker", "replicas", json!("two")));
    assert!(!set("", "speck", json!({})));
}

/// A value of a chart.
struct Leaf {
    path: String,
    default: String,
    about: String,
}

/// The leaves of a file of values, with the comments in front of them. The files are written for this:
/// two spaces a level, a comment before its key, a list or an empty object on the line of its key.
fn leaves(text: &str) -> Vec<Leaf> {
    let (mut path, mut about): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut found = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(comment) = trimmed.strip_prefix('#') {
            about.push(comment.trim());
            continue;
        }
        if let Some((key, default)) = trimmed.split_once(':') {
            path.truncate((line.len() - trimmed.len()) / 2);
            path.push(key);
            // An object with a comment of its own is told as a whole too.
            if !default.trim().is_empty() || !about.is_empty() {
                found.push(Leaf {
                    path: path.join("."),
                    default: default.trim().to_owned(),
                    about: about.join(" "),
                });
            }
        }
        about.clear();
    }
    found
}

fn readme(chart: &str) -> String {
    let about = yaml(&format!("charts/{chart}/Chart.yaml"));
    let text = |field: &str| about[field].as_str().unwrap();
    let mut page = format!(
        "# {chart}\n\nMade from `Chart.yaml` and `values.yaml` by `make gen`. Do not edit.\n\n{}. Version {}, \
         for Kubernetes {}.\n\n## Values\n\n",
        text("description"),
        text("version"),
        text("kubeVersion").trim_end_matches("-0"),
    );
    let leaves = leaves(&read(&format!("charts/{chart}/values.yaml")));
    if leaves.is_empty() {
        page.push_str("None.\n");
        return page;
    }
    page.push_str("An unknown value is refused.\n\n| Value | Default | Meaning |\n|---|---|---|\n");
    for leaf in leaves {
        assert!(
            !leaf.about.is_empty(),
            "{chart}: {} says nothing of itself",
            leaf.path
        );
        writeln!(
            page,
            "| `{}` | `{}` | {} |",
            leaf.path, leaf.default, leaf.about
        )
        .unwrap();
    }
    page
}

#[test]
fn each_readme_lists_the_values() {
    for chart in CHARTS {
        is_fresh(&format!("charts/{chart}/README.md"), &readme(chart));
    }
}

/// Every object of a schema that has properties refuses others.
fn open_objects(schema: &Value, place: &str, found: &mut Vec<String>) {
    let properties = schema["properties"].as_object();
    if properties.is_some() && schema["additionalProperties"] != false {
        found.push(place.to_owned());
    }
    for (name, of) in properties.into_iter().flatten() {
        open_objects(of, &format!("{place}.{name}"), found);
    }
    if let Some(items) = schema.get("items") {
        open_objects(items, &format!("{place}[]"), found);
    }
}

#[test]
fn schemas_know_every_value_and_refuse_others() {
    for chart in CHARTS {
        let (schema, values) = (schema(chart), yaml(&format!("charts/{chart}/values.yaml")));
        let mut open = Vec::new();
        open_objects(&schema, chart, &mut open);
        open_objects(&schema["$defs"]["PodOptions"], "PodOptions", &mut open);
        assert_eq!(open, Vec::<String>::new());
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let faults: Vec<_> = validator
            .iter_errors(&values)
            .map(|fault| fault.to_string())
            .collect();
        assert_eq!(faults, Vec::<String>::new(), "{chart}");
        // Nothing is in the schema and not among the values, but for what Helm itself adds.
        let known = schema["properties"].as_object().unwrap();
        for name in known.keys().filter(|name| *name != "global") {
            assert!(values.get(name).is_some(), "{chart}: {name} is no value");
        }
    }
}

#[test]
fn versions_are_those_of_the_program() {
    for chart in CHARTS {
        let about = yaml(&format!("charts/{chart}/Chart.yaml"));
        assert_eq!(about["version"], env!("CARGO_PKG_VERSION"), "{chart}");
        assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"), "{chart}");
        assert_eq!(about["kubeVersion"], ">=1.32.0-0", "{chart}");
    }
}
