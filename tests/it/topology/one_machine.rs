//! One machine: what it makes of a spec, and which fields it says have no effect.

use vectorsphere::topology::{LAPTOP_SAMPLE, Observation, Role, manifest, one_machine, plan};

use super::samples::IN_FULL;
use super::spec;

fn without_effect(changes: &[(&str, &str)]) -> Vec<String> {
    let found = one_machine(&spec(changes)).without_effect;
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn fields_that_do_nothing_are_named() {
    // The size has no default, and three members of etcd are one.
    let always = ["spec.etcd.managed.replicas", "spec.worker.storage.size"];
    assert_eq!(without_effect(&[]), always);
    for (changes, expected) in [
        (
            ("spec.etcd.managed.replicas", "1"),
            &["spec.worker.storage.size"][..],
        ),
        (
            ("spec.etcd", "{external: {endpoints: ['http://e:2379']}}"),
            &["spec.etcd.external.endpoints", "spec.worker.storage.size"],
        ),
        (
            ("spec.version", "9.9.9"),
            &[
                "spec.etcd.managed.replicas",
                "spec.version",
                "spec.worker.storage.size",
            ],
        ),
        (
            ("spec.tls", "{mode: Secret, secretName: s, duration: 2160h}"),
            &[
                "spec.etcd.managed.replicas",
                "spec.tls.mode",
                "spec.tls.secretName",
                "spec.worker.storage.size",
            ],
        ),
        (
            ("spec.gateway", "{replicas: 4, routing: ViaMaster}"),
            &always,
        ),
        (
            ("spec.sharding", "{shards: 5, replicationFactor: 1}"),
            &always,
        ),
        (("spec.networkPolicy.enabled", "true"), &always),
        (("spec.image.pullPolicy", "IfNotPresent"), &always),
        (("spec.power", "Hibernated"), &always),
        (
            ("spec.paused", "true"),
            &[
                "spec.etcd.managed.replicas",
                "spec.paused",
                "spec.worker.storage.size",
            ],
        ),
        (
            ("spec.podDefaults.labels", "{a: b}"),
            &[
                "spec.etcd.managed.replicas",
                "spec.podDefaults.labels",
                "spec.worker.storage.size",
            ],
        ),
    ] {
        assert_eq!(without_effect(&[changes]), expected, "{changes:?}");
    }
}

#[test]
fn a_manifest_in_full_runs_on_one_machine_and_names_what_it_loses() {
    let fit = one_machine(&manifest::check(IN_FULL).unwrap().spec);
    let plan = plan(&fit.spec, "production", &Observation::default());
    let count = |role| plan.components.iter().filter(|c| c.role == role).count();
    assert_eq!(
        [Role::Etcd, Role::Master, Role::Worker, Role::Gateway].map(count),
        [1, 3, 6, 3]
    );
    let lost: Vec<String> = fit.without_effect.iter().map(ToString::to_string).collect();
    assert_eq!(
        lost,
        [
            "spec.deletionPolicy",
            "spec.deletionProtection",
            "spec.etcd.managed.replicas",
            "spec.etcd.managed.resources.limits",
            "spec.etcd.managed.resources.requests",
            "spec.etcd.managed.storage.size",
            "spec.etcd.managed.storage.storageClassName",
            "spec.gateway.resources.limits",
            "spec.gateway.resources.requests",
            "spec.gateway.service.loadBalancerSourceRanges",
            "spec.gateway.service.type",
            "spec.master.resources.limits",
            "spec.master.resources.requests",
            "spec.monitoring.prometheusRule.enabled",
            "spec.monitoring.serviceMonitor.enabled",
            "spec.monitoring.serviceMonitor.labels",
            "spec.networkPolicy.clients",
            "spec.podDefaults.priorityClassName",
            "spec.sharding.rebalance.bandwidthPerWorker",
            "spec.updates.windows",
            "spec.worker.pod.antiAffinity",
            "spec.worker.resources.limits",
            "spec.worker.resources.requests",
            "spec.worker.storage.autoGrow.maxSize",
            "spec.worker.storage.size",
            "spec.worker.storage.storageClassName",
        ]
    );
}

#[test]
fn the_laptop_sample_loses_only_the_size_of_its_volume() {
    let fit = one_machine(&manifest::check(LAPTOP_SAMPLE).unwrap().spec);
    let lost: Vec<String> = fit.without_effect.iter().map(ToString::to_string).collect();
    assert_eq!(lost, ["spec.worker.storage.size"]);
}

#[test]
fn a_paused_or_autoscaled_cluster_runs_on_one_machine() {
    let fit = one_machine(&spec(&[
        ("spec.paused", "true"),
        (
            "spec.gateway",
            "{replicas: 1, autoscaling: {minReplicas: 3, maxReplicas: 5}}",
        ),
    ]));
    let plan = plan(&fit.spec, "c", &Observation::default());
    assert_eq!(plan.actions.len(), plan.components.len());
    let gateways = plan.components.iter().filter(|c| c.role == Role::Gateway);
    assert_eq!(gateways.count(), 3);
}
