//! Tables of cases: an object, perhaps a change of it, and what the server is to answer.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::{Map, Value, json};
use vectorsphere::crd::{self, Kind};

use crate::api_only::definitions::{WITHOUT_RULES, installed, resource};
use crate::kubernetes::{Answer, Kubernetes};

/// Calls at once: enough to keep two cores busy.
const CALLS_AT_ONCE: usize = 4;

/// Fields by their dotted paths, values in YAML; `-` takes a field away.
pub(crate) type Fields = &'static [(&'static str, &'static str)];

/// One case.
pub(crate) struct Case {
    name: &'static str,
    /// What differs from the least manifest of its kind when the object is made.
    given: Fields,
    /// What is changed then, by `kubectl patch`. Nothing: the answer to the making counts.
    then: Fields,
    /// What the refusal says, or nothing for what is accepted.
    refused: Option<&'static str>,
}

/// An object that is accepted.
pub(crate) const fn good(name: &'static str, given: Fields) -> Case {
    change(name, given, &[])
}

/// A change that is accepted.
pub(crate) const fn change(name: &'static str, given: Fields, then: Fields) -> Case {
    Case {
        name,
        given,
        then,
        refused: None,
    }
}

/// An object that is refused.
pub(crate) const fn bad(name: &'static str, given: Fields, refused: &'static str) -> Case {
    bad_change(name, given, &[], refused)
}

/// A change that is refused.
pub(crate) const fn bad_change(
    name: &'static str,
    given: Fields,
    then: Fields,
    refused: &'static str,
) -> Case {
    Case {
        name,
        given,
        then,
        refused: Some(refused),
    }
}

/// Puts a value at a dotted path, making the objects on the way.
pub(crate) fn set(object: &mut Value, path: &str, value: Option<Value>) {
    let (above, last) = path.rsplit_once('.').unwrap_or(("", path));
    let mut here = object;
    for name in above.split('.').filter(|name| !name.is_empty()) {
        let fields = here.as_object_mut().unwrap();
        here = fields
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    let fields = here.as_object_mut().unwrap();
    match value {
        Some(value) => fields.insert(last.to_owned(), value),
        None => fields.remove(last),
    };
}

fn parsed(text: &str) -> Option<Value> {
    (text != "-").then(|| serde_yaml_ng::from_str(text).unwrap())
}

/// The cases of one kind, and where they run.
pub(crate) struct Table<'a> {
    pub(crate) kind: Kind,
    /// The least manifest of the kind, without a namespace.
    pub(crate) least: Value,
    pub(crate) cases: &'a [Case],
}

impl Table<'_> {
    /// Makes the object of a case, and changes it.
    fn carry_out(&self, case: &Case, place: (&Kubernetes, &str, &str), number: usize) -> Answer {
        let (kubernetes, namespace, group) = place;
        let mut object = self.least.clone();
        object["apiVersion"] = json!(format!("{group}/{}", crd::VERSION));
        object["metadata"] = json!({"name": format!("case-{number}"), "namespace": namespace});
        for (path, text) in case.given {
            set(&mut object, path, parsed(text));
        }
        let made = kubernetes.apply(&object);
        if case.then.is_empty() {
            return made;
        }
        made.accepted(case.name);
        let mut patch = json!({});
        for (path, text) in case.then {
            set(&mut patch, path, Some(parsed(text).unwrap_or(Value::Null)));
        }
        let name = object["metadata"]["name"].as_str().unwrap();
        let (of, patch) = (resource(self.kind, group), patch.to_string());
        let arguments = [
            "patch",
            "-n",
            namespace,
            &of,
            name,
            "--type=merge",
            "-p",
            &patch,
        ];
        kubernetes.call(&arguments, "")
    }

    /// Runs every case on the definition, those that a rule refuses on the copy without rules too, and
    /// fails with all that went otherwise. Every rule of the kind must have a case that it refuses.
    pub(crate) fn check(&self, test: &str) {
        let Some(kubernetes) = Kubernetes::of_this_run() else {
            return;
        };
        installed(&kubernetes);
        let messages = messages(self.kind);
        let by_rule = |case: &Case| case.refused.is_some_and(|text| messages.contains(text));
        let namespace = kubernetes.namespace(test);
        let wrong = Mutex::new(Vec::new());
        let run = |number: usize| {
            let case = &self.cases[number];
            let place = (&kubernetes, namespace.name.as_str(), crd::GROUP);
            let answer = self.carry_out(case, place, number);
            let mut faults = Vec::new();
            faults.extend(fault(&answer, case.refused));
            if by_rule(case) {
                let place = (&kubernetes, namespace.name.as_str(), WITHOUT_RULES);
                let answer = self.carry_out(case, place, number);
                let told = fault(&answer, None);
                faults.extend(told.map(|told| format!("without its rule: {told}")));
            }
            let faults = faults.into_iter();
            let told = faults.map(|told| format!("{}: {told}", case.name));
            wrong.lock().unwrap().extend(told);
        };
        std::thread::scope(|scope| {
            for first in 0..CALLS_AT_ONCE {
                let numbers = (first..self.cases.len()).step_by(CALLS_AT_ONCE);
                scope.spawn(|| numbers.for_each(&run));
            }
        });
        let wrong = wrong.into_inner().unwrap();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let shown: BTreeSet<&str> = self.cases.iter().filter_map(|case| case.refused).collect();
        let unseen: Vec<&String> = messages
            .iter()
            .filter(|message| !shown.contains(message.as_str()))
            .collect();
        assert!(unseen.is_empty(), "rules that no case breaks: {unseen:?}");
        let ruled = self.cases.iter().filter(|case| by_rule(case)).count();
        eprintln!(
            "{}: {} cases, {ruled} of them refused by its {} rules and accepted without them",
            self.kind.name(),
            self.cases.len(),
            messages.len()
        );
    }
}

/// What an answer has against what was expected of it.
fn fault(answer: &Answer, refused: Option<&str>) -> Option<String> {
    match refused {
        None if !answer.ok => Some(format!("refused: {}", answer.stderr)),
        None if answer.stderr.contains("Warning") => Some(answer.stderr.clone()),
        Some(_) if answer.ok => Some("accepted".to_owned()),
        Some(text) if !answer.stderr.contains(text) => {
            Some(format!("refused, but not by {text:?}: {}", answer.stderr))
        },
        None | Some(_) => None,
    }
}

/// The messages of all rules of a kind.
fn messages(kind: Kind) -> BTreeSet<String> {
    fn walk(schema: &Value, found: &mut BTreeSet<String>) {
        let rules = schema["x-kubernetes-validations"].as_array();
        for rule in rules.into_iter().flatten() {
            found.insert(rule["message"].as_str().unwrap().to_owned());
        }
        let properties = schema["properties"].as_object();
        for property in properties.into_iter().flat_map(Map::values) {
            walk(property, found);
        }
        if let Some(items) = schema.get("items") {
            walk(items, found);
        }
    }
    let mut found = BTreeSet::new();
    walk(crd::schema(kind), &mut found);
    found
}
