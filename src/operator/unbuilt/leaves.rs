//! Every leaf of a VectorCluster's spec that is carried out has an effect: two manifests that differ in
//! that leaf alone, both valid, become something else. And what a leaf changes in the pods of a role is
//! among what a person asked for of that role: else its pods would keep the template that is kept.
//!
//! The leaves are those of the schema, so a field that is new is tried too, or fails here.

mod effects;
mod values;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{CARRIED_OUT, fields};
use crate::crd::v1alpha1::VectorClusterSpec;
use crate::crd::{Kind, schema};
use crate::operator::render::tests::{lay, manifest_with};
use crate::operator::revisions::{Restarts, inputs};
use crate::topology::{FieldFault, manifest};

use effects::effects;

/// Leaves whose effect is made where no pure function shows it, and what shows it instead.
const SHOWN_ELSEWHERE: &[(&str, &str)] = &[(
    "spec.worker.scaledDownVolumes",
    "scenarios `workers-in` and `workers-in-and-retain` on the double",
)];

/// A leaf of the schema.
struct Leaf {
    /// Its path; `[]` stands for any item of a list.
    path: String,
    steps: Vec<String>,
    has_default: bool,
}

/// Every leaf below a schema: what has no fields of its own.
fn leaves(schema: &Value, steps: &mut Vec<String>, found: &mut Vec<Leaf>) {
    let fields = schema["properties"].as_object();
    let items = &schema["items"];
    if let Some(fields) = fields {
        for (name, field) in fields {
            steps.push(name.clone());
            leaves(field, steps, found);
            steps.pop();
        }
    } else if items["properties"].is_object() {
        steps.push("[]".to_owned());
        leaves(items, steps, found);
        steps.pop();
    } else {
        found.push(Leaf {
            path: format!("spec.{}", steps.join(".").replace(".[]", "[]")),
            steps: steps.clone(),
            has_default: schema.get("default").is_some(),
        });
    }
}

fn spec_schema() -> &'static Value {
    &schema(Kind::Cluster)["properties"]["spec"]
}

fn is_below(path: &str, field: &str) -> bool {
    let rest = path.strip_prefix(field);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn every_leaf() -> Vec<Leaf> {
    let mut all = Vec::new();
    leaves(spec_schema(), &mut Vec::new(), &mut all);
    all
}

fn carried_out() -> Vec<Leaf> {
    let mut all = every_leaf();
    all.retain(|leaf| CARRIED_OUT.iter().any(|field| is_below(&leaf.path, field)));
    all
}

/// A spec with one of a leaf's two values, and what that needs beside it.
fn spec_with(leaf: &Leaf, variant: usize) -> Result<VectorClusterSpec, Vec<FieldFault>> {
    let value = values::around(spec_schema(), &leaf.steps, &leaf.path, variant);
    let mut more = values::beside(&leaf.path, variant);
    lay(&mut more, &value);
    let text = manifest_with(&more).to_string();
    manifest::check(&text).map(|checked| checked.spec)
}

/// What is wrong with a leaf, if anything is; and whether it has an effect.
fn judge(leaf: &Leaf) -> Result<bool, String> {
    let of = |variant| {
        let spec = spec_with(leaf, variant);
        spec.map_err(|faults| format!("{}: {faults:?}", leaf.path))
    };
    let (one, other) = (of(0)?, of(1)?);
    if one == other {
        return Err(format!("{}: both manifests say the same", leaf.path));
    }
    let [asked, asked_other] = [&one, &other].map(|spec| inputs(spec, &Restarts::new()));
    let (one, other) = (effects(&one), effects(&other));
    for (role, template) in &one.templates {
        let changes = other.templates.get(role) != Some(template);
        if changes && asked[role.as_str()] == asked_other[role.as_str()] {
            let path = &leaf.path;
            return Err(format!(
                "{path}: it changes pods of {role}, and is not asked for"
            ));
        }
    }
    Ok(one != other)
}

#[test]
fn every_leaf_that_is_carried_out_has_an_effect_or_a_reason() {
    let leaves = carried_out();
    assert!(leaves.len() > 500, "{}", leaves.len());
    let excused: BTreeSet<&str> = SHOWN_ELSEWHERE.iter().map(|(path, _)| *path).collect();
    let mut faults = Vec::new();
    for leaf in &leaves {
        match (judge(leaf), excused.contains(&*leaf.path)) {
            (Ok(true), false) | (Ok(false), true) => {},
            (Ok(true), true) => faults.push(format!("{}: it needs no excuse", leaf.path)),
            (Ok(false), false) => faults.push(format!("{}: it has no effect", leaf.path)),
            (Err(fault), _) => faults.push(fault),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_field_that_is_carried_out_is_in_the_schema() {
    let leaves = carried_out();
    let dead = CARRIED_OUT
        .iter()
        .filter(|field| !leaves.iter().any(|leaf| is_below(&leaf.path, field)));
    assert_eq!(dead.collect::<Vec<_>>(), Vec::<&&str>::new());
}

/// A leaf that is not carried out is refused by its name, unless it has its default.
#[test]
fn every_other_leaf_is_refused_by_name() {
    let mut all = every_leaf();
    all.retain(|leaf| !CARRIED_OUT.iter().any(|field| is_below(&leaf.path, field)));
    assert!(all.len() > 20, "{}", all.len());
    for leaf in all {
        let refused = [0, 1].map(|variant| match spec_with(&leaf, variant) {
            Ok(spec) => fields(&spec),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        });
        let names = |said: &String| {
            let field = said.split([' ', ':']).next().unwrap_or_default();
            is_below(&leaf.path, field)
        };
        let path = &leaf.path;
        assert!(refused.iter().flatten().any(names), "{path}: {refused:?}");
    }
}

/// Where whatever is around a leaf is given and the leaf is not, the schema and the type fill in the same.
#[test]
fn every_default_of_the_schema_is_that_of_the_type() {
    let mut all = every_leaf();
    all.retain(|leaf| leaf.has_default);
    assert!(all.len() > 40, "{}", all.len());
    for Leaf {
        path, mut steps, ..
    } in all
    {
        steps.pop();
        let (above, _leaf) = path.rsplit_once('.').unwrap();
        let mut more = values::beside(&path, 0);
        lay(&mut more, &values::around(spec_schema(), &steps, above, 0));
        let manifest = manifest_with(&more);
        let by_type: VectorClusterSpec = serde_json::from_value(manifest["spec"].clone()).unwrap();
        let by_schema = manifest::check(&manifest.to_string()).unwrap().spec;
        assert_eq!(by_schema, by_type, "{path}: {more}");
    }
}

#[test]
fn a_leaf_without_effect_is_found() {
    // Nobody carries it out, and no rendering knows it.
    let leaf = Leaf {
        path: "spec.worker.repairDelaySeconds".to_owned(),
        steps: ["worker", "repairDelaySeconds"].map(str::to_owned).to_vec(),
        has_default: true,
    };
    let of = |variant| {
        let mut effects = effects(&spec_with(&leaf, variant).unwrap());
        effects.refused.clear();
        effects
    };
    assert_eq!(of(0), of(1));
    let whole = json!({"a": {"type": "string"}});
    let mut found = Vec::new();
    leaves(&json!({ "properties": whole }), &mut Vec::new(), &mut found);
    assert_eq!(found[0].path, "spec.a");
}
