//! Which pod templates are in force. Pure.
//!
//! A template is rendered once, for what a person asked for, and kept in a ControllerRevision of the
//! cluster. A newer operator that would render another one uses the kept one until the person changes
//! something: an upgrade of the operator restarts no pod. One revision holds the templates of all roles,
//! so that the one before can be put back whole; a role whose part of the manifest did not change keeps
//! its template in the next revision too.
//!
//! What a person asked for is spelled by the fields of the manifest that are set to something else than
//! their default, role by role. A default of the operator itself, such as its own image, is not among
//! them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::crd::v1alpha1::VectorClusterSpec;
use crate::topology::{Role, set_beside};

/// The roles, in the order in which their pods are brought to a new revision.
pub(super) const ORDER: [Role; 4] = [Role::Etcd, Role::Master, Role::Worker, Role::Gateway];

/// Revisions that are kept beside those in force.
pub(super) const KEPT: usize = 5;

/// Fields that every process of ours is made from.
const OF_PROCESSES: &[&str] = &[
    "spec.version",
    "spec.image",
    "spec.podDefaults",
    "spec.logging",
    "spec.tls.mode",
    "spec.tls.secretName",
    "spec.tls.clientAuth",
    "spec.auth",
    "spec.serviceAccount.create",
    "spec.serviceAccount.name",
    "spec.etcd.external",
];

/// Fields that the pods of one role are made from beside those.
fn own_fields(role: Role) -> &'static [&'static str] {
    match role {
        Role::Etcd => &[
            "spec.image.pullPolicy",
            "spec.image.pullSecrets",
            "spec.podDefaults",
            "spec.serviceAccount.create",
            "spec.serviceAccount.name",
            "spec.etcd.managed.image",
            "spec.etcd.managed.resources",
            "spec.etcd.managed.pod",
        ],
        Role::Master => &[
            "spec.master.resources",
            "spec.master.pod",
            "spec.sharding.shards",
        ],
        Role::Worker => &["spec.worker.resources", "spec.worker.pod"],
        Role::Gateway => &[
            "spec.gateway.resources",
            "spec.gateway.pod",
            "spec.gateway.routing",
        ],
    }
}

/// What a person asked for, a text for each role that is another one when something else is.
pub(super) type Inputs = BTreeMap<String, String>;

/// When a person asked for new pods, by role; the empty key speaks of all.
pub(super) type Restarts = BTreeMap<String, String>;

/// The inputs of a manifest.
pub(super) fn inputs(spec: &VectorClusterSpec, restarts: &Restarts) -> Inputs {
    let whole = serde_json::json!({ "spec": spec });
    let set: Vec<(String, Value)> = set_beside(spec, &[])
        .into_iter()
        .filter_map(|path| {
            let path = path.to_string();
            let value = whole.pointer(&format!("/{}", path.replace('.', "/")))?;
            Some((path, value.clone()))
        })
        .collect();
    let of_role = |role: Role| {
        let shared = if role == Role::Etcd {
            &[]
        } else {
            OF_PROCESSES
        };
        let concerns = |path: &str| {
            let mut fields = shared.iter().chain(own_fields(role));
            fields.any(|field| is_within(path, field) || is_within(field, path))
        };
        let mut said: BTreeMap<&str, &Value> = set
            .iter()
            .filter(|(path, _)| concerns(path))
            .map(|(path, value)| (path.as_str(), value))
            .collect();
        let again = restart(restarts, role).map(Value::from);
        if let Some(again) = &again {
            said.insert("restart", again);
        }
        (
            role.to_string(),
            serde_json::to_string(&said).unwrap_or_default(),
        )
    };
    ORDER.into_iter().map(of_role).collect()
}

/// What the pods of a role are made anew for: the latest time at which a person asked, and when those
/// changed whom the role trusts.
pub(super) fn restart(restarts: &Restarts, role: Role) -> Option<String> {
    let of = |key: &str| restarts.get(key).map(String::as_str);
    let asked = of("").max(of(role.as_str()));
    let trusted = of(&trust(role));
    let all: Vec<&str> = asked.into_iter().chain(trusted).collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// The key of the time since which a role trusts whom it trusts.
pub(super) fn trust(role: Role) -> String {
    format!("{role}-trust")
}

fn is_within(path: &str, outer: &str) -> bool {
    let rest = path.strip_prefix(outer);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What a ControllerRevision holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Templates {
    /// What was asked for when each role's template was rendered.
    pub(super) inputs: Inputs,
    /// The pod template of each role.
    pub(super) templates: BTreeMap<String, Value>,
}

/// A revision that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kept {
    /// Its hash, as the status and the name of its object have it.
    pub(super) hash: String,
    /// Its place in the order of revisions.
    pub(super) number: i64,
    /// Identifies its object.
    pub(super) uid: String,
    /// Why an update to it was given up, if one was.
    pub(super) failed: Option<String>,
    pub(super) held: Templates,
}

impl Templates {
    /// The hash of the whole: what was asked for, in ten hexadecimal digits.
    pub(super) fn hash(&self) -> String {
        short_hash(&serde_json::to_string(&self.inputs).unwrap_or_default())
    }

    /// The template of a role.
    pub(super) fn of(&self, role: Role) -> Option<Template<'_>> {
        let template = self.templates.get(role.as_str())?;
        Some(Template {
            template,
            revision: short_hash(&template.to_string()),
        })
    }

    /// What the pods of a role carry when they are made from this.
    pub(super) fn revision_of(&self, role: Role) -> String {
        self.of(role)
            .map(|template| template.revision)
            .unwrap_or_default()
    }
}

/// A role's template, and the revision that pods made from it carry.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template<'a> {
    pub(super) template: &'a Value,
    pub(super) revision: String,
}

fn short_hash(text: &str) -> String {
    let mut hash = format!("{:016x}", xxh3_64(text.as_bytes()));
    hash.truncate(10);
    hash
}

/// Which revision carries what is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Choice {
    /// One that is kept, by its hash.
    Kept(String),
    /// A new one, to be kept before anything is made from it.
    New { number: i64, held: Templates },
}

/// Looks what is asked for up among what is kept; else makes a revision in which only the roles that
/// something else is asked of are rendered anew.
pub(super) fn choose(kept: &[Kept], inputs: &Inputs, render: impl Fn(Role) -> Value) -> Choice {
    if let Some(found) = kept.iter().find(|one| one.held.inputs == *inputs) {
        return Choice::Kept(found.hash.clone());
    }
    let mut by_age: Vec<&Kept> = kept.iter().collect();
    by_age.sort_by_key(|one| std::cmp::Reverse(one.number));
    let template = |role: Role| {
        let wanted = inputs.get(role.as_str());
        let same = by_age
            .iter()
            .find(|one| one.held.inputs.get(role.as_str()) == wanted);
        let known = same.and_then(|one| one.held.templates.get(role.as_str()));
        (
            role.to_string(),
            known.cloned().unwrap_or_else(|| render(role)),
        )
    };
    Choice::New {
        number: by_age
            .first()
            .map_or(1, |newest| newest.number.saturating_add(1)),
        held: Templates {
            inputs: inputs.clone(),
            templates: ORDER.into_iter().map(template).collect(),
        },
    }
}

/// The revisions that nobody needs any more: all but those in force and the newest few.
pub(super) fn outdated<'a>(kept: &'a [Kept], in_force: &[&str]) -> Vec<&'a Kept> {
    let mut by_age: Vec<&Kept> = kept.iter().collect();
    by_age.sort_by_key(|one| std::cmp::Reverse(one.number));
    let beside = by_age
        .into_iter()
        .filter(|one| !in_force.contains(&one.hash.as_str()));
    beside.skip(KEPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::v1alpha1::Routing;
    use crate::topology::{LAPTOP_SAMPLE, manifest};

    fn spec(more: &str) -> VectorClusterSpec {
        manifest::check(&format!("{LAPTOP_SAMPLE}{more}"))
            .unwrap()
            .spec
    }

    fn render(operator: &'static str) -> impl Fn(Role) -> Value {
        move |role| serde_json::json!({ "made": format!("{role} by {operator}") })
    }

    fn keep(choice: Choice, kept: &mut Vec<Kept>) -> String {
        match choice {
            Choice::Kept(hash) => hash,
            Choice::New { number, held } => {
                let hash = held.hash();
                kept.push(Kept {
                    hash: hash.clone(),
                    number,
                    uid: String::new(),
                    failed: None,
                    held,
                });
                hash
            },
        }
    }

    #[test]
    fn a_newer_operator_changes_no_template_until_a_person_does_and_then_only_of_that_role() {
        let mut kept = Vec::new();
        let (plain, none) = (spec(""), Restarts::new());
        let first = keep(
            choose(&kept, &inputs(&plain, &none), render("old")),
            &mut kept,
        );
        let again = choose(&kept, &inputs(&plain, &none), render("new"));
        assert_eq!(again, Choice::Kept(first.clone()));
        let mut gateway = plain.clone();
        gateway.gateway.routing = Routing::ViaMaster;
        let second = keep(
            choose(&kept, &inputs(&gateway, &none), render("new")),
            &mut kept,
        );
        assert_ne!(first, second);
        let (old, new) = (&kept[0], &kept[1]);
        assert_eq!(new.number, 2);
        for role in [Role::Etcd, Role::Master, Role::Worker] {
            assert_eq!(old.held.revision_of(role), new.held.revision_of(role));
        }
        assert_eq!(new.held.templates["gateway"]["made"], "gateway by new");
        // Back to what it was: the very templates of then.
        let back = choose(&kept, &inputs(&plain, &none), render("new"));
        assert_eq!(back, Choice::Kept(first));
    }

    #[test]
    fn counts_and_policies_are_not_what_pods_are_made_from_and_images_are() {
        let none = Restarts::new();
        let plain = inputs(&spec(""), &none);
        for same in [
            "  deletionPolicy: Delete\n",
            "  updates: {type: Supervised}\n",
            "  tls: {duration: 48h, renewBefore: 24h}\n",
            "  paused: true\n",
        ] {
            assert_eq!(inputs(&spec(same), &none), plain, "{same}");
        }
        let debug = inputs(&spec("  logging: {filter: debug}\n"), &none);
        let changed = |role: Role| debug.get(role.as_str()) != plain.get(role.as_str());
        assert_eq!(ORDER.map(changed), [false, true, true, true]);
    }

    #[test]
    fn a_restart_of_a_role_is_asked_of_that_role_and_the_latest_counts() {
        let time = |hour: u32| format!("2026-01-01T{hour:02}:00:00Z");
        let restarts = Restarts::from([(String::new(), time(3)), ("worker".to_owned(), time(5))]);
        assert_eq!(restart(&restarts, Role::Worker), Some(time(5)));
        assert_eq!(restart(&restarts, Role::Master), Some(time(3)));
        // A word that no time comes after hides no change of trust.
        let restarts = [("etcd", "true".to_owned()), ("etcd-trust", time(3))];
        let restarts = restarts.map(|(of, time)| (of.to_owned(), time)).into();
        let both = format!("true,{}", time(3));
        assert_eq!(restart(&restarts, Role::Etcd), Some(both));
        let plain = inputs(&spec(""), &Restarts::new());
        let one = Restarts::from([("worker".to_owned(), time(5))]);
        let after = inputs(&spec(""), &one);
        let changed = |role: Role| after.get(role.as_str()) != plain.get(role.as_str());
        assert_eq!(ORDER.map(changed), [false, false, true, false]);
    }

    #[test]
    fn old_revisions_go_and_those_in_force_stay() {
        let kept: Vec<Kept> = (1..=9)
            .map(|number| Kept {
                hash: format!("h{number}"),
                number,
                uid: String::new(),
                failed: None,
                held: Templates::default(),
            })
            .collect();
        let outdated = outdated(&kept, &["h1", "h9"]);
        let hashes: Vec<&str> = outdated.iter().map(|one| one.hash.as_str()).collect();
        assert_eq!(hashes, ["h3", "h2"]);
    }
}
