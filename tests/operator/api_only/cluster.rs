//! What the server accepts and refuses of a `VectorCluster`.

use serde_json::Value;
use vectorsphere::crd::Kind;

use crate::api_only::cases::{Case, Fields, Table, bad, bad_change, change, good};

const MINIMAL: &str = include_str!("../../../manifests/samples/minimal.yaml");

/// The least manifest: the sample.
pub(crate) fn least() -> Value {
    serde_yaml_ng::from_str(MINIMAL).unwrap()
}

fn check(test: &str, cases: &[Case]) {
    let kind = Kind::Cluster;
    let least = least();
    Table { kind, least, cases }.check(test);
}

const EXTERNAL: Fields = &[
    ("spec.etcd.managed", "-"),
    (
        "spec.etcd.external.endpoints",
        "['https://etcd-0.etcd:2379']",
    ),
    ("spec.etcd.external.prefix", "/a"),
];

const BOOTSTRAP: Fields = &[("spec.bootstrap.backupName", "b")];
const SIZE: &str = "spec.worker.storage.size";
const CLASS: &str = "spec.worker.storage.storageClassName";
const GROWN: &str = "spec.worker.storage.autoGrow.maxSize";
const ENV: &str = "spec.podDefaults.env";
const CLASS_FIXED: &str = "storageClassName is immutable";
const TOO_SMALL: &str = "size must be a positive quantity, such as 100Gi";
const FEW_WORKERS: &str = "worker.replicas is smaller than sharding.replicationFactor (to stop the \
    cluster set power: Hibernated)";
const ONE_ETCD: &str = "set exactly one of etcd.managed and etcd.external";
const ISSUER: &str = "issuerRef goes with mode CertManager";
const SECRET: &str = "secretName goes with mode Secret";
const LATE_BOOTSTRAP: &str = "bootstrap can only be set when the cluster is created";

const CASES: &[Case] = &[
    // --- names and words
    good("the least", &[]),
    good("a name of one letter", &[("metadata.name", "a")]),
    good(
        "a name of 40 characters",
        &[("metadata.name", "a234567890123456789012345678901234567890")],
    ),
    bad(
        "a name of 41",
        &[("metadata.name", "a2345678901234567890123456789012345678901")],
        "metadata.name: Too long",
    ),
    bad(
        "a name that begins with a digit",
        &[("metadata.name", "1demo")],
        "metadata.name in body should match",
    ),
    bad(
        "a name with a dot",
        &[("metadata.name", "a.b")],
        "metadata.name in body should match",
    ),
    good(
        "a version with a suffix",
        &[("spec.version", "1.20.3-rc.1")],
    ),
    bad(
        "a version with v",
        &[("spec.version", "v1.2.3")],
        "spec.version in body should match",
    ),
    bad(
        "a version of two numbers",
        &[("spec.version", "'10.22'")],
        "spec.version in body should match",
    ),
    bad(
        "no version",
        &[("spec.version", "-")],
        "spec.version: Required value",
    ),
    bad(
        "no worker",
        &[("spec.worker", "-")],
        "spec.worker: Required value",
    ),
    bad(
        "no etcd",
        &[("spec.etcd", "-")],
        "spec.etcd: Required value",
    ),
    bad(
        "a word that there is not",
        &[("spec.deletionPolicy", "Shred")],
        "supported values: \"Retain\", \"Delete\", \"Snapshot\"",
    ),
    bad(
        "a text for a number",
        &[("spec.worker.replicas", "three")],
        ".spec.worker.replicas: expected numeric",
    ),
    // --- roles
    good(
        "as many masters as may be",
        &[("spec.master.replicas", "5")],
    ),
    good("one master", &[("spec.master.replicas", "1")]),
    bad(
        "two masters",
        &[("spec.master.replicas", "2")],
        "master.replicas must be 1, 3 or 5",
    ),
    bad(
        "no master",
        &[("spec.master.replicas", "0")],
        "master.replicas must be 1, 3 or 5",
    ),
    good(
        "autoscaling between bounds",
        &[(
            "spec.gateway.autoscaling",
            "{minReplicas: 2, maxReplicas: 2}",
        )],
    ),
    bad(
        "autoscaling the wrong way round",
        &[(
            "spec.gateway.autoscaling",
            "{minReplicas: 5, maxReplicas: 2}",
        )],
        "minReplicas is larger than maxReplicas",
    ),
    good(
        "as many copies as workers",
        &[("spec.sharding.replicationFactor", "3")],
    ),
    bad(
        "more copies than workers",
        &[("spec.sharding.replicationFactor", "4")],
        FEW_WORKERS,
    ),
    bad_change(
        "fewer workers than copies",
        &[("spec.sharding.replicationFactor", "3")],
        &[("spec.worker.replicas", "2")],
        FEW_WORKERS,
    ),
    // --- sharding: the number of shards is a default for new collections
    change("shards set later", &[], &[("spec.sharding.shards", "8")]),
    change(
        "shards changed",
        &[("spec.sharding.shards", "8")],
        &[("spec.sharding.shards", "4")],
    ),
    change(
        "shards taken away",
        &[("spec.sharding.shards", "8")],
        &[("spec.sharding.shards", "-")],
    ),
    good(
        "a bandwidth",
        &[("spec.sharding.rebalance.bandwidthPerWorker", "1.5Gi")],
    ),
    bad(
        "a bandwidth that is none",
        &[("spec.sharding.rebalance.bandwidthPerWorker", "fast")],
        "must be a quantity",
    ),
    // --- volumes
    change("a volume grows", &[], &[(SIZE, "20Gi")]),
    change("the same size in another unit", &[], &[(SIZE, "10240Mi")]),
    bad_change(
        "a volume shrinks",
        &[],
        &[(SIZE, "5Gi")],
        "volumes can only grow",
    ),
    bad_change(
        "etcd's volume shrinks",
        &[],
        &[("spec.etcd.managed.storage.size", "1Gi")],
        "volumes can only grow",
    ),
    bad("a size in letters", &[(SIZE, "ten")], TOO_SMALL),
    bad("a size below zero", &[(SIZE, "-1Gi")], TOO_SMALL),
    bad("no size at all", &[(SIZE, "'0'")], TOO_SMALL),
    bad_change("a size becomes letters", &[], &[(SIZE, "ten")], TOO_SMALL),
    good("a storage class", &[(CLASS, "fast")]),
    bad_change(
        "a storage class added",
        &[],
        &[(CLASS, "fast")],
        CLASS_FIXED,
    ),
    bad_change(
        "a storage class changed",
        &[(CLASS, "fast")],
        &[(CLASS, "slow")],
        CLASS_FIXED,
    ),
    bad_change(
        "a storage class taken away",
        &[(CLASS, "fast")],
        &[(CLASS, "-")],
        CLASS_FIXED,
    ),
    change(
        "another volume attributes class",
        &[],
        &[("spec.worker.storage.volumeAttributesClassName", "gold")],
    ),
    good("growth up to the size itself", &[(GROWN, "10Gi")]),
    bad(
        "growth below the size",
        &[(GROWN, "1Gi")],
        "autoGrow.maxSize is smaller than size",
    ),
    bad(
        "growth up to letters",
        &[(GROWN, "much")],
        "must be a quantity",
    ),
    // --- etcd
    good("an etcd of others", EXTERNAL),
    bad("no kind of etcd", &[("spec.etcd", "{}")], ONE_ETCD),
    bad(
        "both kinds of etcd",
        &[("spec.etcd.external.endpoints", "['http://a:1']")],
        ONE_ETCD,
    ),
    bad_change(
        "from managed to external",
        &[],
        &[
            ("spec.etcd.managed", "-"),
            ("spec.etcd.external.endpoints", "['http://a:1']"),
        ],
        "a cluster cannot move between managed and external etcd",
    ),
    good("one member", &[("spec.etcd.managed.replicas", "1")]),
    bad(
        "two members",
        &[("spec.etcd.managed.replicas", "2")],
        "etcd.managed.replicas must be 1, 3 or 5",
    ),
    change(
        "more members",
        &[("spec.etcd.managed.replicas", "1")],
        &[("spec.etcd.managed.replicas", "5")],
    ),
    bad_change(
        "fewer members",
        &[],
        &[("spec.etcd.managed.replicas", "1")],
        "a managed etcd only grows",
    ),
    bad(
        "an endpoint without a scheme",
        &[
            ("spec.etcd.managed", "-"),
            ("spec.etcd.external.endpoints", "['etcd:2379']"),
        ],
        "endpoints look like https://host:2379",
    ),
    bad(
        "an endpoint with a path",
        &[
            ("spec.etcd.managed", "-"),
            ("spec.etcd.external.endpoints", "['http://etcd:2379/a']"),
        ],
        "endpoints look like https://host:2379",
    ),
    bad(
        "a prefix without a slash",
        &[
            ("spec.etcd.managed", "-"),
            (
                "spec.etcd.external",
                "{endpoints: ['http://a:1'], prefix: vs}",
            ),
        ],
        "prefix starts with a slash",
    ),
    bad_change(
        "another prefix",
        EXTERNAL,
        &[("spec.etcd.external.prefix", "/b")],
        "prefix is immutable",
    ),
    change(
        "more endpoints",
        EXTERNAL,
        &[(
            "spec.etcd.external.endpoints",
            "['http://a:1', 'http://b:1']",
        )],
    ),
    // --- certificates
    good(
        "an issuer",
        &[("spec.tls", "{mode: CertManager, issuerRef: {name: a}}")],
    ),
    bad("no issuer", &[("spec.tls.mode", "CertManager")], ISSUER),
    bad(
        "an issuer that nobody asks",
        &[("spec.tls.issuerRef.name", "a")],
        ISSUER,
    ),
    good("a secret", &[("spec.tls", "{mode: Secret, secretName: a}")]),
    bad("no secret", &[("spec.tls.mode", "Secret")], SECRET),
    bad(
        "a secret that nobody reads",
        &[("spec.tls.secretName", "a")],
        SECRET,
    ),
    good("hours and minutes", &[("spec.tls.renewBefore", "1h30m")]),
    bad(
        "renewal before the beginning",
        &[("spec.tls.renewBefore", "2160h")],
        "renewBefore must be shorter than duration",
    ),
    bad(
        "days",
        &[("spec.tls.duration", "90d")],
        "spec.tls.duration in body should match",
    ),
    good(
        "certificates of clients",
        &[("spec.tls.clientAuth", "Required")],
    ),
    good("plain text", &[("spec.tls.mode", "Disabled")]),
    bad(
        "certificates of clients in plain text",
        &[("spec.tls", "{mode: Disabled, clientAuth: Optional}")],
        "tls.clientAuth needs TLS",
    ),
    // --- first data
    good("data of a backup", BOOTSTRAP),
    good(
        "data of a place",
        &[("spec.bootstrap.location.volume.claimName", "a")],
    ),
    bad(
        "data of nowhere",
        &[("spec.bootstrap", "{}")],
        "set exactly one of backupName and location",
    ),
    bad(
        "data of a place that is two",
        &[(
            "spec.bootstrap.location",
            "{s3: {bucket: abc}, volume: {claimName: a}}",
        )],
        "set exactly one of s3 and volume",
    ),
    bad_change("data that come late", &[], BOOTSTRAP, LATE_BOOTSTRAP),
    bad_change(
        "data that were never meant",
        BOOTSTRAP,
        &[("spec.bootstrap", "-")],
        LATE_BOOTSTRAP,
    ),
    bad_change(
        "other data",
        BOOTSTRAP,
        &[("spec.bootstrap.backupName", "c")],
        "bootstrap is immutable",
    ),
    // --- pods
    good(
        "variables",
        &[(
            ENV,
            "[{name: A, value: b}, {name: C, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]",
        )],
    ),
    bad(
        "a variable with two sources",
        &[(
            ENV,
            "[{name: A, value: b, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]",
        )],
        "set value or valueFrom, not both",
    ),
    bad(
        "a variable twice",
        &[(ENV, "[{name: A, value: b}, {name: A, value: c}]")],
        "name=\"A\"",
    ),
    good(
        "an image by digest",
        &[(
            "spec.image.digest",
            "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        )],
    ),
    bad(
        "a digest that is cut",
        &[("spec.image.digest", "sha256:0123")],
        "spec.image.digest in body should match",
    ),
    good(
        "a free overlay",
        &[(
            "spec.worker.pod.overlay",
            "{spec: {hostNetwork: false, any: [1]}}",
        )],
    ),
    bad(
        "a bad interval",
        &[("spec.monitoring.serviceMonitor.interval", "1h")],
        "serviceMonitor.interval in body should match",
    ),
    // --- everything that may change at any time
    change("hibernated", &[], &[("spec.power", "Hibernated")]),
    change("paused", &[], &[("spec.paused", "true")]),
    change("another version", &[], &[("spec.version", "0.2.0")]),
];

#[test]
fn every_rule_of_a_cluster_accepts_and_refuses() {
    check("cluster", CASES);
}
