//! The kinds that the double knows: a table of Kubernetes' own, and those of the definitions that were
//! put in. What is not known is answered as an API server does that misses a definition.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// Group and version, plural, kind, scope, whether the status is a subresource, and whether a generation
/// counts changes.
const TABLE: &str = "
v1 namespaces Namespace cluster status -
v1 nodes Node cluster status -
v1 pods Pod namespaced status generation
v1 services Service namespaced status -
v1 secrets Secret namespaced - -
v1 configmaps ConfigMap namespaced - -
v1 serviceaccounts ServiceAccount namespaced - -
v1 persistentvolumeclaims PersistentVolumeClaim namespaced status -
apps/v1 statefulsets StatefulSet namespaced status generation
apps/v1 deployments Deployment namespaced status generation
apps/v1 replicasets ReplicaSet namespaced status generation
apps/v1 controllerrevisions ControllerRevision namespaced - -
networking.k8s.io/v1 networkpolicies NetworkPolicy namespaced - generation
policy/v1 poddisruptionbudgets PodDisruptionBudget namespaced status generation
autoscaling/v2 horizontalpodautoscalers HorizontalPodAutoscaler namespaced status -
coordination.k8s.io/v1 leases Lease namespaced - -
events.k8s.io/v1 events Event namespaced - -
apiextensions.k8s.io/v1 customresourcedefinitions CustomResourceDefinition cluster status generation
";

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In a namespace.
    Namespaced,
    /// Beside all namespaces.
    Cluster,
}

/// A kind of objects.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) kind: String,
    pub(crate) scope: Scope,
    /// Its status is written by the subresource only.
    pub(crate) status: bool,
    /// `metadata.generation` counts its changes.
    pub(crate) generation: bool,
    /// The schema of a custom resource.
    pub(crate) schema: Option<Value>,
    /// Where a custom resource has its number of replicas: spec, status, selector.
    pub(crate) scale: Option<Value>,
}

impl Kind {
    /// Group and version as an object spells them.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Resource and group as messages name them.
    pub(crate) fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Whether it is one of Kubernetes' own, whose nulls and empty maps vanish.
    pub(crate) const fn is_built_in(&self) -> bool {
        self.schema.is_none()
    }
}

/// Every kind that is known, by group and plural.
#[derive(Debug, Clone)]
pub(crate) struct Kinds {
    all: BTreeMap<(String, String), Arc<Kind>>,
}

impl Kinds {
    /// Kubernetes' own.
    pub(crate) fn of_kubernetes() -> Self {
        let rows = TABLE.lines().filter(|line| !line.is_empty()).map(row);
        let all = rows.map(|kind| ((kind.group.clone(), kind.plural.clone()), Arc::new(kind)));
        Self { all: all.collect() }
    }

    /// The kind of a path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let found = self.all.get(&(group.to_owned(), plural.to_owned()))?;
        (found.version == version).then(|| Arc::clone(found))
    }

    /// The kind of a group and plural.
    pub(crate) fn of(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        let key = (group.to_owned(), plural.to_owned());
        self.all.get(&key).map(Arc::clone)
    }

    /// The kind that an object or a reference names.
    pub(crate) fn named(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let mut all = self.all.values();
        let found = all.find(|one| one.kind == kind && one.api_version() == api_version);
        found.map(Arc::clone)
    }

    /// Those of a group and version.
    pub(crate) fn of_group(&self, group: &str, version: &str) -> Vec<Arc<Kind>> {
        let all = self.all.values();
        let found = all.filter(|one| one.group == group && one.version == version);
        found.map(Arc::clone).collect()
    }

    /// Learns the kind of a definition.
    pub(crate) fn define(&mut self, definition: &Value) {
        let text = |pointer: &str| {
            let found = definition.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        let version = &definition["spec"]["versions"][0];
        let subresources = &version["subresources"];
        let scope = match &*text("/spec/scope") {
            "Cluster" => Scope::Cluster,
            _ => Scope::Namespaced,
        };
        let kind = Kind {
            group: text("/spec/group"),
            version: version["name"].as_str().unwrap_or_default().to_owned(),
            plural: text("/spec/names/plural"),
            kind: text("/spec/names/kind"),
            scope,
            status: !subresources["status"].is_null(),
            generation: true,
            schema: Some(version["schema"]["openAPIV3Schema"].clone()),
            scale: subresources.get("scale").cloned(),
        };
        let key = (kind.group.clone(), kind.plural.clone());
        self.all.insert(key, Arc::new(kind));
    }

    /// Forgets the kind of a definition.
    pub(crate) fn forget(&mut self, definition: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &definition["spec"];
        let key = (text(&spec["group"]), text(&spec["names"]["plural"]));
        self.all.remove(&key);
    }
}

fn row(line: &str) -> Kind {
    let words: Vec<&str> = line.split(' ').collect();
    let (group, version) = words[0].split_once('/').unwrap_or(("", words[0]));
    Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: words[1].to_owned(),
        kind: words[2].to_owned(),
        scope: if words[3] == "cluster" {
            Scope::Cluster
        } else {
            Scope::Namespaced
        },
        status: words[4] == "status",
        generation: words[5] == "generation",
        schema: None,
        scale: None,
    }
}
