//! The six definitions install; and copies of them without their rules, which show that a refusal
//! is the work of its rule.

use std::sync::OnceLock;

use serde_json::{Value, json};
use vectorsphere::crd::{self, Kind};

use crate::kubernetes::Kubernetes;

/// The group of the copies.
pub(crate) const WITHOUT_RULES: &str = "without-rules.vectorsphere.test";

/// The plural of a kind with its group, as `kubectl` takes it.
pub(crate) fn resource(kind: Kind, group: &str) -> String {
    let plural = crd::definition(kind)["spec"]["names"]["plural"].as_str();
    format!("{}.{group}", plural.unwrap())
}

/// Installs every definition and its copy, once for all tests.
pub(crate) fn installed(kubernetes: &Kubernetes) {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let ours = Kind::ALL.map(|kind| crd::definition(kind).clone());
        let copies = Kind::ALL.map(|kind| without_rules(crd::definition(kind)));
        let items: Vec<Value> = ours.into_iter().chain(copies).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        kubernetes.call(&apply, &list).accepted("definitions");
        let mut wait = vec![
            "wait".to_owned(),
            "--for=condition=Established".to_owned(),
            "--timeout=50s".to_owned(),
        ];
        for kind in Kind::ALL {
            for group in [crd::GROUP, WITHOUT_RULES] {
                wait.push(format!("crd/{}", resource(kind, group)));
            }
        }
        let wait: Vec<&str> = wait.iter().map(String::as_str).collect();
        kubernetes.call(&wait, "").accepted("definitions");
    });
}

/// The definition under another group, without a rule and without short names.
fn without_rules(definition: &Value) -> Value {
    fn strip(schema: &mut Value) {
        match schema {
            Value::Object(fields) => {
                fields.remove("x-kubernetes-validations");
                fields.values_mut().for_each(strip);
            },
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
        }
    }
    let mut copy = definition.clone();
    strip(&mut copy);
    let plural = copy["spec"]["names"]["plural"].as_str().unwrap().to_owned();
    copy["metadata"]["name"] = json!(format!("{plural}.{WITHOUT_RULES}"));
    copy["spec"]["group"] = json!(WITHOUT_RULES);
    let names = copy["spec"]["names"].as_object_mut().unwrap();
    names.remove("shortNames");
    names.remove("categories");
    copy
}

#[test]
fn the_six_definitions_are_established_without_a_warning() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    for kind in Kind::ALL {
        // As people install it: the committed file, over what is there.
        let file = format!("{}/{}", env!("CARGO_MANIFEST_DIR"), kind.file());
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", &file];
        kubernetes.call(&apply, "").accepted(&file);
        let definition = kubernetes.get("default", "crd", &resource(kind, crd::GROUP));
        let conditions = definition["status"]["conditions"].as_array().unwrap();
        for (name, expected) in [
            ("NamesAccepted", "True"),
            ("Established", "True"),
            ("NonStructuralSchema", ""),
        ] {
            let found = conditions.iter().find(|is| is["type"] == name);
            let status = found.map_or("", |is| is["status"].as_str().unwrap());
            assert_eq!(status, expected, "{file}: {name}");
        }
        // What the server keeps is what was sent: nothing was dropped as unknown.
        let sent = &crd::definition(kind)["spec"]["versions"][0];
        let kept = &definition["spec"]["versions"][0];
        for part in ["schema", "additionalPrinterColumns", "selectableFields"] {
            assert_eq!(kept[part], sent[part], "{file}: {part}");
        }
    }
}

#[test]
fn kubectl_explain_prints_our_texts() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    for (field, text) in [
        ("vc.spec.worker.replicas", "also set by `kubectl scale`"),
        ("vc.spec.worker.resources", "CPU and memory of each worker"),
        ("vcol.spec.dimension", "Components of each vector"),
        ("vb.spec.location.s3.bucket", "Its name."),
        ("vbs.spec.keep.last", "Complete backups that are kept"),
        ("vr.spec.onConflict", "Fail refuses before anything is"),
        ("vot.spec.task", "One task runs at a"),
    ] {
        let told = kubernetes.call(&["explain", field], "").accepted(field);
        let words: Vec<&str> = told.split_whitespace().collect();
        assert!(words.join(" ").contains(text), "{field}: {told}");
    }
}
