//! What the operator may do: the rules of `manifests/operator.yaml`, which is the chart's rendering, are
//! held against each request of its process as an API server's authorizer does it.
//!
//! An apply that makes an object takes the right to create it too. An object that holds up the end of its
//! owner takes the right to update that owner's finalizers, as where the admission plugin
//! `OwnerReferencesPermissionEnforcement` is on. The release's own namespace is that of the clusters here.
//! Discovery is everybody's.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::request::{Place, Request};
use super::store::text;
use vectorsphere::crd;

/// One right: group, resource with its subresource, verb; all objects, or those of these names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Right {
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) verb: String,
}

impl Right {
    pub(crate) fn new(group: &str, resource: &str, verb: &str) -> Self {
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb: verb.to_owned(),
        }
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (verb, resource, group) = (&self.verb, &self.resource, &self.group);
        write!(f, "{verb} {resource} of {group:?}")
    }
}

/// A rule of a role.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Rule {
    fn allows(&self, right: &Right, name: &str) -> bool {
        let has = |all: &[String], one: &str| all.iter().any(|of| of == one);
        let named = self.resource_names.is_empty() || has(&self.resource_names, name);
        // None of ours has a star: that would be more than is needed.
        has(&self.api_groups, &right.group)
            && has(&self.resources, &right.resource)
            && has(&self.verbs, &right.verb)
            && named
    }

    fn rights(&self) -> Vec<Right> {
        let mut all = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                let of = |verb: &String| Right::new(group, resource, verb);
                all.extend(self.verbs.iter().map(of));
            }
        }
        all
    }
}

/// Every rule of the roles that are bound to the operator's account.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/operator.yaml");
    rules(&fs_err::read_to_string(path).unwrap())
});

fn rules(manifests: &str) -> Vec<Rule> {
    let documents = serde_yaml_ng::Deserializer::from_str(manifests);
    let all: Vec<Value> = documents
        .map(|one| Value::deserialize(one).unwrap())
        .collect();
    let account = all.iter().find(|one| one["kind"] == "ServiceAccount");
    let account = &account.unwrap()["metadata"];
    let is_bound = |one: &&Value| {
        let mut subjects = one["subjects"].as_array().into_iter().flatten();
        let same = |subject: &Value| {
            subject["name"] == account["name"] && subject["namespace"] == account["namespace"]
        };
        text(one, "/kind").ends_with("RoleBinding") && subjects.any(same)
    };
    let mut found = Vec::new();
    for binding in all.iter().filter(is_bound) {
        let role = &binding["roleRef"];
        let is_it =
            |one: &&Value| one["kind"] == role["kind"] && one["metadata"]["name"] == role["name"];
        let rules = all.iter().find(is_it).unwrap()["rules"].clone();
        let rules: Vec<Rule> = serde_json::from_value(rules).unwrap();
        found.extend(rules);
    }
    found
}

/// Everything that the rules give.
pub(crate) fn given() -> BTreeSet<Right> {
    RULES.iter().flat_map(Rule::rights).collect()
}

/// Whether the operator has a right on an object of this name.
fn has(right: &Right, name: &str) -> bool {
    RULES.iter().any(|rule| rule.allows(right, name))
}

/// The rights that a request takes; `is_there` says whether its object is.
pub(crate) fn needed(place: &Place, request: &Request, is_there: bool) -> Vec<Right> {
    let kind = &place.kind;
    let resource = match &*place.subresource {
        "" => kind.plural.clone(),
        subresource => format!("{}/{subresource}", kind.plural),
    };
    let one = |verb: &str| Right::new(&kind.group, &resource, verb);
    let verb = match (&request.method, place.name.is_empty()) {
        (&Method::GET, _) if request.is_set("watch") => "watch",
        (&Method::GET, true) => "list",
        (&Method::GET, false) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, false) => "delete",
        _ => "deletecollection",
    };
    let mut all = vec![one(verb)];
    if verb == "patch" && !is_there && place.subresource.is_empty() {
        all.push(one("create"));
    }
    if matches!(verb, "create" | "update" | "patch") {
        let body = request.json().unwrap_or_default();
        let owners = body["metadata"]["ownerReferences"].as_array();
        let holds =
            |owner: &Value| owner["blockOwnerDeletion"] == true && owner["kind"] == "VectorCluster";
        if owners.into_iter().flatten().any(holds) {
            all.push(Right::new(
                crd::GROUP,
                "vectorclusters/finalizers",
                "update",
            ));
        }
    }
    all
}

/// The first of these rights that the operator does not have.
pub(crate) fn missing<'a>(needed: &'a [Right], name: &str) -> Option<&'a Right> {
    needed.iter().find(|right| {
        // What is made by a request to the collection has no name for the authorizer.
        let name = if right.verb == "create" { "" } else { name };
        !has(right, name)
    })
}

#[test]
fn rules_are_read_with_their_names() {
    let lease = |verb: &str| Right::new("coordination.k8s.io", "leases", verb);
    assert_eq!(missing(&[lease("get")], "vectorsphere-operator"), None);
    assert!(missing(&[lease("get")], "another").is_some());
    assert_eq!(missing(&[lease("create")], "another"), None);
    assert!(missing(&[lease("delete")], "vectorsphere-operator").is_some());
    let secrets = Right::new("", "secrets", "list");
    assert!(missing(&[secrets], "").is_some());
    assert!(
        given()
            .iter()
            .all(|right| right.verb != "*" && right.resource != "*")
    );
}
