//! What a manifest says of the pods of a role: `podDefaults`, and over them the role's own `pod`.
//!
//! A field of the role's own wins; maps and environment variables are put together by their keys. Our
//! labels and variables win over everybody's, since the operator finds pods by the ones and arguments
//! name the others. Overlays come last, first the one for all roles; they cannot take our labels away.
//!
//! What nobody says is what the `restricted` Pod Security level asks for. Who gives a security context
//! replaces ours whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Render, account, overlay};
use crate::crd::v1alpha1::{AntiAffinity, EnvironmentVariable, PodOptions};
use crate::operator::names::{RESTART, Subject};
use crate::operator::revisions::restart;
use crate::topology::Role;

/// The user of the images.
const USER: i64 = 10_001;
/// What a pod of a role is spread over, the narrowest first.
const DOMAINS: [&str; 2] = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"];

/// What a pod of a role is before anybody says something else.
pub(super) struct Pod {
    /// Its one container.
    pub(super) container: Value,
    /// Its volumes.
    pub(super) volumes: Vec<Value>,
    /// Seconds that it gets to end by itself; absent: as many as Kubernetes gives.
    pub(super) grace_seconds: Option<i64>,
}

/// The options of a role.
struct Options<'a> {
    own: &'a PodOptions,
    defaults: &'a PodOptions,
}

impl<'a> Options<'a> {
    fn of(render: &Render<'a>, role: Role) -> Self {
        let spec = render.spec;
        // Who has no etcd of its own has no pods of it either.
        let own = match role {
            Role::Gateway => &spec.gateway.pod,
            Role::Master => &spec.master.pod,
            Role::Worker => &spec.worker.pod,
            Role::Etcd => spec
                .etcd
                .managed
                .as_ref()
                .map_or(&spec.pod_defaults, |etcd| &etcd.pod),
        };
        Self {
            own,
            defaults: &spec.pod_defaults,
        }
    }

    /// A field of the role's own, or else of all roles.
    fn first<T>(&self, field: impl Fn(&'a PodOptions) -> &'a Option<T>) -> Option<&'a T> {
        field(self.own)
            .as_ref()
            .or_else(|| field(self.defaults).as_ref())
    }

    /// A map of both.
    fn both(
        &self,
        field: impl Fn(&'a PodOptions) -> &'a BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut both = field(self.defaults).clone();
        both.extend(field(self.own).clone());
        both
    }

    /// The variables of both that are none of ours.
    fn env(&self, ours: &[Value]) -> Vec<&'a EnvironmentVariable> {
        let is_ours = |name: &str| ours.iter().any(|one| one.get("name") == Some(&json!(name)));
        let named =
            |all: &[EnvironmentVariable], name: &str| all.iter().any(|one| one.name == name);
        let defaults = self
            .defaults
            .env
            .iter()
            .filter(|one| !named(&self.own.env, &one.name));
        defaults
            .chain(&self.own.env)
            .filter(|one| !is_ours(&one.name))
            .collect()
    }

    /// How strictly the pods avoid each other's hosts. Scheduling rules take its place where they are
    /// said; a word of the role's own goes before the rules for all roles.
    fn anti_affinity(&self) -> AntiAffinity {
        let ruled =
            |of: &PodOptions| of.affinity.is_some() || of.topology_spread_constraints.is_some();
        match (self.own.anti_affinity, self.defaults.anti_affinity) {
            _ if ruled(self.own) => AntiAffinity::Disabled,
            (Some(own), _) => own,
            _ if ruled(self.defaults) => AntiAffinity::Disabled,
            (None, Some(of_all)) => of_all,
            (None, None) => AntiAffinity::Preferred,
        }
    }

    fn affinity(&self, subject: &Subject, role: Role) -> Value {
        let mut affinity = json!(self.first(|options| &options.affinity));
        if self.anti_affinity() != AntiAffinity::Required {
            return affinity;
        }
        let [host, _zone] = DOMAINS;
        let apart = json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": host, "labelSelector": {"matchLabels": subject.selector(role)},
            }],
        }});
        match (affinity.as_object_mut(), apart) {
            // Rules for all roles stay; only those about pods are the role's own.
            (Some(affinity), Value::Object(apart)) => affinity.extend(apart),
            (_, apart) => affinity = apart,
        }
        affinity
    }

    fn spread(&self, subject: &Subject, role: Role) -> Value {
        if let Some(constraints) = self.first(|options| &options.topology_spread_constraints) {
            return json!(constraints);
        }
        if self.anti_affinity() == AntiAffinity::Disabled {
            return Value::Null;
        }
        let over = DOMAINS.map(|domain| {
            json!({
                "maxSkew": 1, "topologyKey": domain, "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": subject.selector(role)},
            })
        });
        json!(over)
    }
}

/// The template of a role's pods: their metadata and their spec.
pub(super) fn template(render: &Render<'_>, role: Role, pod: Pod) -> Value {
    let (options, subject) = (Options::of(render, role), render.subject);
    let mut container = pod.container;
    if let Some(fields) = container.as_object_mut() {
        let ours = fields.get("env").and_then(Value::as_array).cloned();
        let ours = ours.unwrap_or_default();
        let theirs = options.env(&ours).into_iter().map(|one| json!(one));
        let env: Vec<Value> = ours.iter().cloned().chain(theirs).collect();
        let security = options.first(|options| &options.security_context);
        let security = security.map_or_else(container_security, |given| json!(given));
        let policy = render.spec.image.pull_policy;
        fields.insert("env".to_owned(), json!(env));
        fields.insert("securityContext".to_owned(), security);
        fields.insert("imagePullPolicy".to_owned(), json!(policy));
        // The last words of a process that ended stand in its pod then.
        let words = json!("FallbackToLogsOnError");
        fields.insert("terminationMessagePolicy".to_owned(), words);
    }
    let mut labels = options.both(|options| &options.labels);
    labels.extend(subject.role_labels(role));
    let mut annotations = options.both(|options| &options.annotations);
    if let Some(time) = restart(render.restarts, role) {
        annotations.insert(RESTART.to_owned(), time);
    }
    let security = options.first(|options| &options.pod_security_context);
    let grace = options.first(|options| &options.termination_grace_period_seconds);
    let mut template = json!({
        "metadata": {
            "labels": labels, "annotations": some(annotations),
        },
        "spec": {
            "serviceAccountName": account::name(render),
            "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds": grace.copied().or(pod.grace_seconds),
            "securityContext": security.map_or_else(pod_security, |given| json!(given)),
            "affinity": options.affinity(subject, role),
            "topologySpreadConstraints": options.spread(subject, role),
            "nodeSelector": some(options.both(|options| &options.node_selector)),
            "tolerations": options.first(|options| &options.tolerations),
            "priorityClassName": options.first(|options| &options.priority_class_name),
            "runtimeClassName": options.first(|options| &options.runtime_class_name),
            "imagePullSecrets": Some(&render.spec.image.pull_secrets).filter(|all| !all.is_empty()),
            "containers": [container], "volumes": pod.volumes,
        },
    });
    drop_nulls(&mut template);
    let overlays = [&options.defaults.overlay, &options.own.overlay];
    for patch in overlays.into_iter().flatten() {
        overlay::lay(&mut template, patch);
    }
    let ours = json!({"metadata": {"labels": subject.role_labels(role)}});
    overlay::lay(&mut template, &ours);
    template
}

fn some(map: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    Some(map).filter(|map| !map.is_empty())
}

/// Takes the fields away that say nothing: applied, they would be ours.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_name, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        },
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}
