//! The objects of a cluster in Kubernetes, from its manifest. Pure.
//!
//! Everything here is applied server-side as one field manager, so an object names only what the
//! operator owns. Pods pass the `restricted` Pod Security level, have no token of the API server, and
//! read certificates and keys from Secrets that are mounted and change in place.

mod account;
mod availability;
mod coordination;
mod etcd;
mod monitoring;
mod network;
mod options;
mod overlay;
mod pods;
mod serving;

use serde_json::{Value, json};

use super::names::{ACCESSORY, REVISION, Subject, claim_of};
use super::revisions::{Restarts, Template};
use crate::crd::v1alpha1::VectorClusterSpec;
use crate::topology::{Component, Role};

pub(super) use availability::Workers;
pub(super) use etcd::{CLIENT_PORT as ETCD_PORT, StartValues, makes_etcd};
pub(super) use pods::{gateway, master, worker};

/// Where HTTP is answered: the API at a gateway, probes everywhere.
pub(super) const HTTP_PORT: u16 = 6333;
/// Where a gateway answers probes when everybody else has to show a certificate.
pub(super) const PROBE_PORT: u16 = 6336;
/// Where gRPC is answered to the other processes.
pub(super) const RPC_PORT: u16 = 6335;

/// What the operator knows beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Repository of the roles' image, when the manifest names none.
    pub repository: String,
    /// Image of etcd, when the manifest names none.
    pub etcd: String,
}

/// One rendering.
#[derive(Debug, Clone, Copy)]
pub(super) struct Render<'a> {
    pub(super) subject: &'a Subject,
    pub(super) spec: &'a VectorClusterSpec,
    pub(super) images: &'a Images,
    /// The owner reference of every object but volumes.
    pub(super) owner: &'a Value,
    /// When pods were asked to be made anew.
    pub(super) restarts: &'a Restarts,
    /// The namespace that the operator itself runs in.
    pub(super) operator_namespace: &'a str,
}

/// The template of a Kubernetes controller: the pods say which revision they are of.
fn controlled(template: &Template<'_>) -> Value {
    let mut made = template.template.clone();
    if let Some(Value::Object(labels)) = made.pointer_mut("/metadata/labels") {
        labels.insert(REVISION.to_owned(), json!(template.revision));
    }
    made
}

impl Render<'_> {
    fn metadata(&self, name: &str, role: Option<Role>) -> Value {
        let labels = role.map_or_else(
            || self.subject.labels(),
            |role| self.subject.role_labels(role),
        );
        json!({
            "name": name, "namespace": self.subject.namespace, "labels": labels,
            "ownerReferences": [self.owner],
        })
    }

    fn accessory(&self, name: &str, role: Option<Role>) -> Value {
        let mut metadata = self.metadata(name, role);
        overlay::lay(&mut metadata, &json!({"labels": {ACCESSORY: "true"}}));
        metadata
    }

    /// What stands beside the pods.
    pub(super) fn accessories(&self, workers: Workers) -> Vec<Value> {
        let mut all: Vec<Value> = account::account(self).into_iter().collect();
        all.extend(network::policies(self));
        all.extend(availability::budgets(self, workers));
        all.extend(availability::autoscaler(self));
        all.extend(serving::certificate(self));
        all.extend(monitoring::objects(self));
        all
    }

    /// The template that the pods of a role are made from, as this operator renders it.
    pub(super) fn role_template(&self, role: Role) -> Value {
        match (role, self.spec.etcd.managed.as_ref()) {
            (Role::Etcd, Some(managed)) => etcd::template(self, managed),
            (Role::Etcd, None) => Value::Null,
            (Role::Master | Role::Worker | Role::Gateway, _) => pods::role_template(self, role),
        }
    }

    /// The image of the three roles.
    fn image(&self) -> String {
        let image = &self.spec.image;
        let repository = image.repository.as_ref().unwrap_or(&self.images.repository);
        match &image.digest {
            Some(digest) => format!("{repository}@{digest}"),
            None => {
                let tag = image.tag.as_ref().unwrap_or(&self.spec.version);
                format!("{repository}:{tag}")
            },
        }
    }

    /// The Services.
    pub(super) fn services(&self) -> Vec<Value> {
        let service = |name: &str, role: Role, spec: Value| {
            let mut spec = spec;
            if let Some(spec) = spec.as_object_mut() {
                spec.insert("selector".to_owned(), json!(self.subject.selector(role)));
            }
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": self.metadata(name, Some(role)), "spec": spec,
            })
        };
        let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": port});
        let headless = |ports: Value| json!({"clusterIP": "None", "publishNotReadyAddresses": true, "ports": ports});
        let rpc = json!([port("http", HTTP_PORT), port("rpc", RPC_PORT)]);
        let gateway = &self.spec.gateway.service;
        let mut gateways = service(
            &self.subject.of(Role::Gateway),
            Role::Gateway,
            json!({
                "type": gateway.type_, "ports": [port("http", HTTP_PORT)],
                "trafficDistribution": "PreferClose",
                "loadBalancerClass": gateway.load_balancer_class,
                "loadBalancerSourceRanges":
                    Some(&gateway.load_balancer_source_ranges).filter(|all| !all.is_empty()),
            }),
        );
        if !gateway.annotations.is_empty() {
            let annotations = json!({"metadata": {"annotations": gateway.annotations}});
            overlay::lay(&mut gateways, &annotations);
        }
        options::drop_nulls(&mut gateways);
        let mut services = vec![
            service(
                &self.subject.of(Role::Master),
                Role::Master,
                headless(rpc.clone()),
            ),
            service(&self.subject.of(Role::Worker), Role::Worker, headless(rpc)),
            gateways,
        ];
        if self.spec.etcd.managed.is_some() {
            let client = json!({"ports": [port("client", etcd::CLIENT_PORT)]});
            let peers = json!([port("peer", etcd::PEER_PORT)]);
            services.push(service(&self.subject.of(Role::Etcd), Role::Etcd, client));
            services.push(service(
                &self.subject.etcd_peers(),
                Role::Etcd,
                headless(peers),
            ));
        }
        services
    }

    /// The claim of a worker's volume. It has no owner: who deletes the manifest does not delete data.
    pub(super) fn claim(&self, worker: &Component) -> Value {
        let mut labels = self.subject.role_labels(Role::Worker);
        labels.insert(super::names::ORDINAL.to_owned(), worker.ordinal.to_string());
        let storage = &self.spec.worker.storage;
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": claim_of(&worker.name), "namespace": self.subject.namespace,
                "labels": labels,
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": storage.size}},
                "storageClassName": storage.storage_class_name,
            },
        });
        options::drop_nulls(&mut claim);
        claim
    }

    /// The etcd of the cluster, when it is run for it: with so many pods now, and members.
    pub(super) fn etcd(&self, numbers: (u32, u32), template: &Template<'_>) -> Option<Value> {
        let managed = self.spec.etcd.managed.as_ref()?;
        Some(etcd::stateful_set(self, managed, numbers, template))
    }

    /// What the members of etcd are started with.
    pub(super) fn etcd_start(&self, start: &StartValues) -> Value {
        etcd::start(self, start)
    }

    /// Where the other members of etcd reach this one.
    pub(super) fn etcd_peer(&self, ordinal: u32) -> String {
        etcd::peer(self, ordinal)
    }
}

#[cfg(test)]
pub(super) mod tests;
