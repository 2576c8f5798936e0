//! Every sample stands, and says what its first lines say.

use std::path::Path;

use vectorsphere::crd::v1alpha1::{DeletionPolicy, Routing, TlsMode, VectorCollection};
use vectorsphere::crd::{self, Kind};
use vectorsphere::topology::manifest::{Checked, check};
use vectorsphere::topology::{FieldFault, LAPTOP_SAMPLE};

pub(super) const MINIMAL: &str = include_str!("../../../manifests/samples/minimal.yaml");
/// No sample: a manifest that uses most fields, whether they can be carried out yet or not.
pub(super) const IN_FULL: &str = include_str!("manifests/in_full.yaml");
const PRODUCTION: &str = include_str!("../../../manifests/samples/production.yaml");
const COLLECTION: &str = include_str!("../../../manifests/samples/collection.yaml");

fn checked(text: &str) -> Checked {
    check(text).unwrap_or_else(|faults: Vec<FieldFault>| panic!("{faults:#?}"))
}

#[test]
fn every_sample_is_a_good_manifest_of_its_own_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/samples");
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs_err::read_to_string(&path).unwrap();
        if text == COLLECTION {
            continue; // of another kind: the test below
        }
        let checked = checked(&text);
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), checked.name);
        assert_eq!(checked.spec.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(checked.spec.sharding.replication_factor, 1);
        names.push(checked.name);
    }
    names.sort();
    let expected = [
        "cert-manager",
        "external-etcd",
        "laptop",
        "minimal",
        "production",
        "small",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_minimal_sample_gets_the_defaults() {
    let spec = checked(MINIMAL).spec;
    assert_eq!(spec.gateway.replicas, 2);
    assert_eq!(spec.gateway.routing, Routing::Direct);
    assert_eq!(spec.master.replicas, 3);
    assert_eq!(spec.worker.replicas, 3);
    assert_eq!(spec.worker.drain_deadline_seconds, 3600);
    assert_eq!(spec.sharding.shards, None);
    assert_eq!(
        spec.sharding.placement.topology_key,
        "topology.kubernetes.io/zone"
    );
    assert_eq!(spec.sharding.rebalance.bandwidth_per_worker, "64Mi");
    assert_eq!(spec.tls.mode, TlsMode::SelfSigned);
    assert_eq!(spec.tls.duration, "2160h");
    assert_eq!(spec.updates.progress_deadline_seconds, 1800);
    assert_eq!(spec.deletion_policy, DeletionPolicy::Retain);
    assert!(spec.network_policy.enabled && spec.service_account.create);
    let etcd = spec.etcd.managed.unwrap();
    assert_eq!((etcd.replicas, etcd.storage.size.as_str()), (3, "8Gi"));
    assert_eq!(spec.etcd.external, None);
}

#[test]
fn the_laptop_sample_is_one_of_each() {
    let spec = checked(LAPTOP_SAMPLE).spec;
    assert_eq!(spec.gateway.replicas, 1);
    assert_eq!(spec.master.replicas, 1);
    assert_eq!(spec.worker.replicas, 1);
    assert_eq!(spec.etcd.managed.unwrap().replicas, 1);
}

#[test]
fn the_production_sample_survives_the_loss_of_any_one_process() {
    let spec = checked(PRODUCTION).spec;
    assert!(spec.gateway.replicas >= 2 && spec.worker.replicas >= 3);
    assert_eq!(spec.master.replicas, 3);
    let etcd = spec.etcd.managed.unwrap();
    assert_eq!(etcd.replicas, 3);
    for resources in [
        spec.gateway.resources,
        spec.master.resources,
        spec.worker.resources,
        etcd.resources,
    ] {
        let resources = resources.unwrap();
        assert!(resources.requests.unwrap().contains_key("cpu"));
        assert!(resources.limits.unwrap().contains_key("memory"));
    }
}

#[test]
fn the_collection_sample_is_a_good_collection_of_the_minimal_cluster() {
    let value: serde_json::Value = serde_yaml_ng::from_str(COLLECTION).unwrap();
    assert_eq!(value["apiVersion"], crd::API_VERSION);
    let validator = jsonschema::draft202012::new(crd::schema(Kind::Collection)).unwrap();
    assert!(validator.is_valid(&value));
    let sample: VectorCollection = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(sample.metadata.name.as_deref(), Some("collection"));
    assert_eq!(sample.spec.cluster, checked(MINIMAL).name);
    // No field that the type does not know: reading and writing it keeps every one.
    let again = serde_json::to_value(&sample.spec).unwrap();
    for (name, given) in value["spec"].as_object().unwrap() {
        assert_eq!(&again[name], given, "{name}");
    }
}
