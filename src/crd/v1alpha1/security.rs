//! Certificates, credentials and who may connect.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{NameReference, defaults};

/// Certificates of every listener.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.mode == 'CertManager' ? has(self.issuerRef) : !has(self.issuerRef)")
        .message("issuerRef goes with mode CertManager")
        .field_path(".issuerRef"),
    validation = Rule::new("self.mode == 'Secret' ? has(self.secretName) : !has(self.secretName)")
        .message("secretName goes with mode Secret")
        .field_path(".secretName"),
    validation = Rule::new("duration(self.renewBefore) < duration(self.duration)")
        .message("renewBefore must be shorter than duration")
        .field_path(".renewBefore")
)]
pub struct Tls {
    /// SelfSigned: from a certificate authority made for this cluster. CertManager: from issuerRef.
    /// Secret: from secretName. Disabled: plain text.
    #[serde(default)]
    pub mode: TlsMode,

    /// The issuer of cert-manager, for the mode CertManager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerReference>,

    /// Secret with tls.crt, tls.key and ca.crt, for the mode Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,

    /// How long a certificate is valid, in hours and minutes.
    #[serde(default = "defaults::certificate_duration")]
    #[schemars(
        regex(pattern = r"^([0-9]{1,6}h)?([0-9]{1,8}m)?$"),
        length(min = 2, max = 16)
    )]
    pub duration: String,

    /// How long before its end a certificate is renewed, in hours and minutes.
    #[serde(default = "defaults::certificate_renew_before")]
    #[schemars(
        regex(pattern = r"^([0-9]{1,6}h)?([0-9]{1,8}m)?$"),
        length(min = 2, max = 16)
    )]
    pub renew_before: String,

    /// Whether applications show certificates to the gateway. The operator issues one, in the Secret
    /// NAME-client-tls; those of the ca.crt beside the gateway's own certificate are good too, in the modes
    /// Secret and CertManager. API keys are needed in any case, and between components certificates are
    /// always checked.
    #[serde(default)]
    pub client_auth: ClientAuthentication,

    /// Names that the gateway's certificate is to hold beside those of its Service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub extra_dns_names: Vec<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            mode: TlsMode::default(),
            issuer_ref: None,
            secret_name: None,
            duration: defaults::certificate_duration(),
            renew_before: defaults::certificate_renew_before(),
            client_auth: ClientAuthentication::default(),
            extra_dns_names: Vec::new(),
        }
    }
}

choice! {
    /// Where certificates come from.
    TlsMode {
        /// A certificate authority made for this cluster.
        SelfSigned,
        /// An issuer of cert-manager.
        CertManager,
        /// A Secret.
        Secret,
        /// There are none: plain text.
        Disabled,
    }
}

choice! {
    /// Whether clients show certificates to the gateway.
    ClientAuthentication {
        /// They are not asked for one.
        Disabled,
        /// One that is shown is checked.
        Optional,
        /// They must show one.
        Required,
    }
}

/// An issuer of cert-manager.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq, Eq)]
pub struct IssuerReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Issuer or ClusterIssuer.
    #[serde(default = "defaults::issuer_kind")]
    pub kind: String,

    /// Its API group.
    #[serde(default = "defaults::issuer_group")]
    pub group: String,
}

/// Credentials of the public API.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Authentication {
    /// ApiKey: every request needs a key. Disabled: none does.
    #[serde(default)]
    pub mode: AuthenticationMode,

    /// Secret with the keys admin and readonly. Absent: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<NameReference>,
}

choice! {
    /// How callers of the public API are known.
    AuthenticationMode {
        /// By a key.
        ApiKey,
        /// They are not.
        Disabled,
    }
}

/// Which pods may open connections to this cluster.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Make NetworkPolicies.
    #[serde(default = "defaults::yes")]
    pub enabled: bool,

    /// Who may talk to the gateway. Absent: everybody. An empty list: nobody but the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<Vec<NetworkPeer>>,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self {
            enabled: defaults::yes(),
            clients: None,
        }
    }
}

/// Pods, by the labels of their namespace and their own.
#[derive(KubeSchema, Deserialize, Serialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPeer {
    /// Labels of their namespaces. Absent: this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,

    /// Labels of the pods. Absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_selector: Option<LabelSelector>,
}
