//! A spec on one machine: what is left of it, and which of its fields have no effect there.
//!
//! The same manifest is to run on a laptop and in Kubernetes. On one machine there are no volumes,
//! images or schedulers, and one etcd is as good as three. Nothing of that is an error; but a person
//! who set a field is told that it did nothing.

use crate::crd::v1alpha1::{Etcd, ManagedEtcd, VectorClusterSpec};
use crate::topology::{FieldPath, set_beside};

/// The version that this binary is.
const RUNNING_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The fields that one machine obeys, with all that is below them.
const OBEYED: &[&str] = &[
    "spec.sharding.shards",
    "spec.sharding.replicationFactor",
    "spec.gateway.replicas",
    "spec.gateway.routing",
    "spec.master.replicas",
    "spec.worker.replicas",
    "spec.power",
];

/// A spec made fit for one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct OneMachine {
    /// One member of etcd, run for this cluster; a fixed number of gateways; never paused.
    pub spec: VectorClusterSpec,
    /// The fields that were set to something else than their default, or have none, and have no
    /// effect on one machine; in the order of their names.
    pub without_effect: Vec<FieldPath>,
}

/// The spec as one machine runs it.
pub fn one_machine(spec: &VectorClusterSpec) -> OneMachine {
    let mut fit = spec.clone();
    fit.paused = false;
    if let Some(autoscaling) = fit.gateway.autoscaling.take() {
        fit.gateway.replicas = fit
            .gateway
            .replicas
            .max(autoscaling.min_replicas)
            .min(autoscaling.max_replicas);
    }
    fit.etcd = Etcd {
        managed: Some(ManagedEtcd {
            replicas: 1,
            ..ManagedEtcd::default()
        }),
        external: None,
    };
    OneMachine {
        spec: fit,
        without_effect: without_effect(spec),
    }
}

fn without_effect(spec: &VectorClusterSpec) -> Vec<FieldPath> {
    let mut found = set_beside(spec, OBEYED);
    // Three members are the default, and the one field of which a default is worth a word.
    let members = FieldPath::of("spec.etcd.managed.replicas");
    found.retain(|path| *path != members && *path != FieldPath::of("spec.version"));
    if spec
        .etcd
        .managed
        .as_ref()
        .is_some_and(|etcd| etcd.replicas != 1)
    {
        found.push(members);
    }
    if spec.version != RUNNING_VERSION {
        found.push(FieldPath::of("spec.version"));
    }
    found.sort();
    found
}
