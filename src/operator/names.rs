//! How the objects of a cluster are called and labelled.

use std::collections::BTreeMap;

pub(super) use crate::crd::marks::{
    APPROVE, CLUSTER, CLUSTER_UID, RESTART, REVISION, ROLE, SKIP_GATES,
};
use crate::topology::Role;

/// The operator's name as a field manager and in labels.
pub(super) const MANAGER: &str = "vectorsphere-operator";
/// A worker's number.
pub(super) const ORDINAL: &str = "vectorsphere.io/ordinal";
/// On objects that stand beside the pods, and that the operator deletes when they are not wanted any more.
pub(super) const ACCESSORY: &str = "vectorsphere.io/accessory";
/// When the certificate in a Secret ends, RFC 3339.
pub(super) const NOT_AFTER: &str = "vectorsphere.io/not-after";
/// What the label of the role says on a ControllerRevision of the cluster itself.
pub(super) const REVISION_ROLE: &str = "revision";
/// On a ControllerRevision: when an update to it was given up.
pub(super) const FAILED: &str = "vectorsphere.io/failed";
/// On etcd's StatefulSet: how many members it was made with.
pub(super) const MEMBERS: &str = "vectorsphere.io/members";
/// On what etcd's members are started with: the UIDs of their volumes.
pub(super) const VOLUMES: &str = "vectorsphere.io/volumes";
/// On a certificate's Secret: the mark of the authorities that it stands beside.
pub(super) const AUTHORITIES: &str = "vectorsphere.io/authorities";
/// On an authority's Secret: when the step of its change began that is under way.
pub(super) const SINCE: &str = "vectorsphere.io/since";
/// On an authority's Secret: when those who are trusted changed.
pub(super) const TRUSTED_SINCE: &str = "vectorsphere.io/trusted-since";
/// On a VectorCluster: change the authority, once when this text changes. On an authority's Secret: the text
/// that was obeyed.
pub(super) const ROTATE_AUTHORITY: &str = "vectorsphere.io/rotate-authority";
/// On a volume: its worker was scaled away, and it is kept.
pub(super) const RETIRED: &str = "vectorsphere.io/retired";
/// On a VectorCluster: the UID of an earlier one whose volumes it takes over.
pub(super) const ADOPT: &str = "vectorsphere.io/adopt";
/// On a VectorCluster: workers that get an empty volume in place of one that is gone, with commas between.
pub(super) const NEW_VOLUME: &str = "vectorsphere.io/new-volume";
/// On a VectorCluster that is deleted: wait for nothing.
pub(super) const FORCE_DELETE: &str = "vectorsphere.io/force-delete";
/// What holds a VectorCluster until its volumes are as its policy wants them.
pub(super) const FINALIZER: &str = "vectorsphere.io/cluster";
/// On a VectorCluster: issue every certificate anew, once, when this time changes.
pub(super) const ROTATE: &str = "vectorsphere.io/rotate-certificates";
/// On a Secret: the time for which its certificate was issued anew.
pub(super) const ROTATED: &str = "vectorsphere.io/rotated";
/// The names in the certificate of a Secret.
pub(super) const CERTIFICATE_NAMES: &str = "vectorsphere.io/names";

/// One VectorCluster, as its objects speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// Its name.
    pub(super) name: String,
    /// Its namespace.
    pub(super) namespace: String,
    /// Its UID.
    pub(super) uid: String,
}

impl Subject {
    /// The name of what a role has: `demo-gateway`.
    pub(super) fn of(&self, role: Role) -> String {
        format!("{}-{role}", self.name)
    }

    /// The headless Service that members of etcd find each other by.
    pub(super) fn etcd_peers(&self) -> String {
        format!("{}-etcd-peer", self.name)
    }

    /// The Secret with a role's certificate.
    pub(super) fn certificate_of(&self, role: &str) -> String {
        format!("{}-{role}-tls", self.name)
    }

    /// The Secret with the authority's certificate and key.
    pub(super) fn authority(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// The Secret with the certificate and key of the authority of applications.
    pub(super) fn client_authority(&self) -> String {
        format!("{}-client-authority", self.name)
    }

    /// The Secret with the API keys, unless the manifest names another.
    pub(super) fn keys(&self) -> String {
        format!("{}-auth", self.name)
    }

    /// The Secret that cert-manager puts the gateways' certificate for applications in.
    pub(super) fn serving(&self) -> String {
        self.certificate_of("gateway-serving")
    }

    /// A name in DNS inside the Kubernetes cluster.
    pub(super) fn dns(&self, service: &str) -> String {
        format!("{service}.{}.svc", self.namespace)
    }

    /// What every object carries.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (
                "app.kubernetes.io/name".to_owned(),
                "vectorsphere".to_owned(),
            ),
            ("app.kubernetes.io/instance".to_owned(), self.name.clone()),
            (
                "app.kubernetes.io/managed-by".to_owned(),
                MANAGER.to_owned(),
            ),
            (CLUSTER.to_owned(), self.name.clone()),
            (CLUSTER_UID.to_owned(), self.uid.clone()),
        ])
    }

    /// What the objects of a role carry.
    pub(super) fn role_labels(&self, role: Role) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert("app.kubernetes.io/component".to_owned(), role.to_string());
        labels.insert(ROLE.to_owned(), role.to_string());
        labels
    }

    /// The labels by which a Service or a controller finds the pods of a role.
    pub(super) fn selector(&self, role: Role) -> BTreeMap<String, String> {
        BTreeMap::from([
            (CLUSTER.to_owned(), self.name.clone()),
            (ROLE.to_owned(), role.to_string()),
        ])
    }

    /// The same as a text.
    pub(super) fn selector_text(&self, role: Role) -> String {
        format!("{CLUSTER}={},{ROLE}={role}", self.name)
    }
}

/// The claim of a worker's volume.
pub(super) fn claim_of(worker: &str) -> String {
    format!("data-{worker}")
}
