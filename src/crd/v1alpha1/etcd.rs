//! The etcd of a cluster.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{NameReference, PodOptions, Storage, defaults};

/// The etcd that coordinates the cluster: exactly one of the two.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.managed) != has(self.external)")
        .message("set exactly one of etcd.managed and etcd.external"),
    validation = Rule::new("has(self.managed) == has(oldSelf.managed)")
        .message("a cluster cannot move between managed and external etcd")
        .reason(Reason::FieldValueForbidden)
)]
pub struct Etcd {
    /// Run an etcd for this cluster alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedEtcd>,

    /// Use an etcd that is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalEtcd>,
}

/// An etcd that is run for this cluster alone.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ManagedEtcd {
    /// Number of members: 1, 3 or 5. It can only grow.
    #[serde(default = "defaults::etcd_replicas")]
    #[x_kube(
        validation = Rule::new("self in [1, 3, 5]").message("etcd.managed.replicas must be 1, 3 or 5"),
        validation = Rule::new("self >= oldSelf")
            .message("a managed etcd only grows")
            .reason(Reason::FieldValueForbidden)
    )]
    pub replicas: i32,

    /// The volume of each member.
    #[serde(default = "etcd_storage")]
    pub storage: Storage,

    /// Image of etcd, with its tag: 3.6, and `etcd` in its `PATH`. Absent: the one that the operator was started
    /// with (`--etcd-image`, which has no default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// CPU and memory of each member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Pod settings of the members.
    #[serde(default)]
    pub pod: PodOptions,
}

impl Default for ManagedEtcd {
    fn default() -> Self {
        Self {
            replicas: defaults::etcd_replicas(),
            storage: etcd_storage(),
            image: None,
            resources: None,
            pod: PodOptions::default(),
        }
    }
}

fn etcd_storage() -> Storage {
    Storage::of_size(defaults::etcd_storage_size())
}

/// An etcd that is there already.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExternalEtcd {
    /// Its members, such as `https://etcd-0.etcd:2379`.
    #[schemars(length(min = 1, max = 9))]
    #[x_kube(
        validation = Rule::new("self.all(e, e.matches('^https?://[^ /]+:[0-9]+$'))")
            .message("endpoints look like https://host:2379")
    )]
    pub endpoints: Vec<Endpoint>,

    /// Keys of this cluster start here. Two clusters must not share a prefix. Immutable.
    #[serde(default = "defaults::etcd_prefix")]
    #[schemars(length(min = 2, max = 200))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("prefix is immutable"),
        validation = Rule::new("self.startsWith('/')").message("prefix starts with a slash")
    )]
    pub prefix: String,

    /// Secret with ca.crt, and tls.crt and tls.key for client certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_secret: Option<NameReference>,

    /// Secret with username and password, for an etcd that asks for users. The user needs to read and
    /// write every key that begins with prefix, the namespace and the name of this cluster, with slashes
    /// between them and at the end, and nothing else. To endpoints of http both go in clear text, and
    /// whoever sees them can write those keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_secret: Option<NameReference>,
}

/// The address of a member of etcd. A type of its own, so that its length is bounded: a rule may
/// only walk a list whose items are.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Endpoint(pub String);

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 300})
    }
}
