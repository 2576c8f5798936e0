//! The bad manifests, as changes of a good one, and what each is refused with.

/// A dotted path, and the value to put there.
pub(super) type Change = (&'static str, &'static str);

/// Each with one fault of the schema.
pub(super) const AGAINST_THE_SCHEMA: &[(Change, &str)] = &[
    (
        ("spec.worker.replicas", "0"),
        "spec.worker.replicas: must be at least 1, not 0",
    ),
    (
        ("spec.worker.replicas", "513"),
        "spec.worker.replicas: must be at most 512, not 513",
    ),
    (
        ("spec.worker.replicas", "1.5"),
        "spec.worker.replicas: must be a whole number, not 1.5",
    ),
    (
        ("spec.worker.replicas", "'3'"),
        "spec.worker.replicas: must be a whole number, not '3' (leave the quotes out)",
    ),
    (
        ("spec.worker.storage.size", "10"),
        "spec.worker.storage.size: must be a text, not 10 (put it in quotes)",
    ),
    (
        ("spec.version", "0.1"),
        "spec.version: must be a text, not 0.1 (put it in quotes)",
    ),
    (
        ("spec.version", "v1.2.3"),
        "spec.version: must be a version, such as 0.1.0, not 'v1.2.3'",
    ),
    (
        ("spec.paused", "yes"),
        "spec.paused: must be true or false, not 'yes' (write true or false)",
    ),
    (
        ("spec.gateway", "[]"),
        "spec.gateway: must be an object, not a list",
    ),
    (("spec.worker", "-"), "spec.worker: is required"),
    (
        ("spec.worker.storage", "{}"),
        "spec.worker.storage.size: is required",
    ),
    (
        ("spec.deletionPolicy", "Shred"),
        "spec.deletionPolicy: must be one of 'Retain', 'Delete', 'Snapshot', not 'Shred'",
    ),
    (
        ("spec.image.digest", "sha256:12"),
        "spec.image.digest: must be sha256: and 64 hexadecimal digits in lower case, not 'sha256:12'",
    ),
    (
        ("spec.worker.replikas", "3"),
        "spec.worker.replikas: is not a known field; did you mean replicas?",
    ),
    (
        ("spec.worker.spare", "3"),
        "spec.worker.spare: is not a known field",
    ),
    (
        ("specs", "{}"),
        "specs: is not a known field; did you mean spec?",
    ),
    (
        ("metadata.generatedName", "x"),
        "metadata.generatedName: is not a known field; did you mean generateName?",
    ),
    (
        ("metadata.labels", "{a/b: 1}"),
        "metadata.labels[a/b]: must be a text, not 1 (put it in quotes)",
    ),
    (("metadata.name", "-"), "metadata.name: is required"),
    (
        ("metadata.name", "1demo"),
        "metadata.name: must be lower-case letters, digits and '-', begin with a letter and end \
     with a letter or digit, not '1demo'",
    ),
    (
        ("metadata.name", "abcdefghijabcdefghijabcdefghijabcdefghijx"),
        "metadata.name: must have at most 40 characters, not \
     'abcdefghijabcdefghijabcdefghijabcdefghijx'",
    ),
    (
        ("spec.worker.resources", "{limits: {cpu: 0.5}}"),
        "spec.worker.resources.limits.cpu: must be a whole number or a text, not 0.5",
    ),
    (
        ("spec.etcd", "{external: {endpoints: []}}"),
        "spec.etcd.external.endpoints: must have at least 1 items",
    ),
    (
        (
            "spec.updates.windows",
            "[{schedule: '0 2 * * 6', durationMinutes: 5}]",
        ),
        "spec.updates.windows[0].durationMinutes: must be at least 10, not 5",
    ),
    (
        ("spec.worker.pod.tolerations", "[{tolerationSeconds: 1e30}]"),
        "spec.worker.pod.tolerations[0].tolerationSeconds: must be at most 9223372036854775807, \
     not 1e+30",
    ),
    (
        ("spec.worker.pod.overlay", "3"),
        "spec.worker.pod.overlay: must be an object, not 3",
    ),
    (
        ("kind", "VectorClutser"),
        "kind: must be VectorCluster, not VectorClutser",
    ),
    (("kind", "-"), "kind: is required"),
    (
        ("apiVersion", "3"),
        "apiVersion: must be a text, not 3 (put it in quotes)",
    ),
    (
        ("apiVersion", "vectorsphere.io/v1"),
        "apiVersion: must be vectorsphere.io/v1alpha1, not vectorsphere.io/v1",
    ),
    (
        (
            "spec.podDefaults.env",
            "[{name: A}, {name: B}, {name: A, value: c}]",
        ),
        "spec.podDefaults.env[2]: has the same name as another item",
    ),
    (
        ("spec.image.pullSecrets", "[{name: a}, {name: ''}]"),
        "spec.image.pullSecrets[1].name: must have at least 1 characters, not ''",
    ),
    (
        ("spec.power", "[Running]"),
        "spec.power: must be a text, not a list",
    ),
];

/// Each with one rule that does not hold.
pub(super) const AGAINST_RULES: &[(&[Change], &str)] = &[
    (
        &[("spec.worker.storage.size", "ten")],
        "spec.worker.storage.size: size must be a positive quantity, such as 100Gi",
    ),
    (
        &[("spec.worker.storage.size", "'-1Gi'")],
        "spec.worker.storage.size: size must be a positive quantity, such as 100Gi",
    ),
    (
        &[("spec.worker.storage.autoGrow.maxSize", "1Gi")],
        "spec.worker.storage.autoGrow.maxSize: is smaller than size",
    ),
    (
        &[("spec.worker.storage.autoGrow.maxSize", "much")],
        "spec.worker.storage.autoGrow.maxSize: must be a quantity",
    ),
    (
        &[("spec.sharding.rebalance.bandwidthPerWorker", "fast")],
        "spec.sharding.rebalance.bandwidthPerWorker: must be a quantity",
    ),
    (
        &[("spec.master.replicas", "2")],
        "spec.master.replicas: must be 1, 3 or 5",
    ),
    (
        &[("spec.etcd.managed.replicas", "2")],
        "spec.etcd.managed.replicas: must be 1, 3 or 5",
    ),
    (
        &[("spec.etcd", "{}")],
        "spec.etcd: set exactly one of etcd.managed and etcd.external",
    ),
    (
        &[(
            "spec.etcd",
            "{managed: {}, external: {endpoints: ['http://e:2379']}}",
        )],
        "spec.etcd: set exactly one of etcd.managed and etcd.external",
    ),
    (
        &[("spec.etcd", "{external: {endpoints: ['e:2379']}}")],
        "spec.etcd.external.endpoints: endpoints look like https://host:2379",
    ),
    (
        &[(
            "spec.etcd",
            "{external: {endpoints: ['http://e:2379'], prefix: here}}",
        )],
        "spec.etcd.external.prefix: prefix starts with a slash",
    ),
    (
        &[(
            "spec.gateway.autoscaling",
            "{minReplicas: 5, maxReplicas: 2}",
        )],
        "spec.gateway.autoscaling: minReplicas is larger than maxReplicas",
    ),
    (
        &[("spec.tls.mode", "CertManager")],
        "spec.tls.issuerRef: issuerRef goes with mode CertManager",
    ),
    (
        &[("spec.tls.secretName", "s")],
        "spec.tls.secretName: secretName goes with mode Secret",
    ),
    (
        &[("spec.tls.renewBefore", "9999h")],
        "spec.tls.renewBefore: renewBefore must be shorter than duration",
    ),
    (
        &[("spec.tls", "{mode: Disabled, clientAuth: Required}")],
        "spec.tls.clientAuth: needs TLS",
    ),
    (
        &[(
            "spec.podDefaults.env",
            "[{name: A}, {name: B, value: c, valueFrom: {}}]",
        )],
        "spec.podDefaults.env[1]: set value or valueFrom, not both",
    ),
    (
        &[("spec.bootstrap", "{}")],
        "spec.bootstrap: set exactly one of backupName and location",
    ),
    (
        &[("spec.bootstrap", "{location: {path: a}}")],
        "spec.bootstrap.location: set exactly one of s3 and volume",
    ),
];

/// Each a change that is refused.
pub(super) const AGAINST_CHANGES: &[(&[Change], &[Change], &str)] = &[
    (
        &[],
        &[("spec.worker.storage.size", "9Gi")],
        "spec.worker.storage.size: volumes can only grow",
    ),
    (
        &[],
        &[("spec.worker.storage.storageClassName", "fast")],
        "spec.worker.storage: storageClassName is immutable",
    ),
    (
        &[],
        &[("spec.etcd.managed.replicas", "1")],
        "spec.etcd.managed.replicas: a managed etcd only grows",
    ),
    (
        &[],
        &[("spec.etcd", "{external: {endpoints: ['http://e:2379']}}")],
        "spec.etcd: a cluster cannot move between managed and external etcd",
    ),
    (
        &[("spec.etcd", "{external: {endpoints: ['http://e:2379']}}")],
        &[(
            "spec.etcd",
            "{external: {endpoints: ['http://e:2379'], prefix: /other}}",
        )],
        "spec.etcd.external.prefix: prefix is immutable",
    ),
    (
        &[],
        &[("spec.bootstrap", "{backupName: b}")],
        "spec.bootstrap: bootstrap can only be set when the cluster is created",
    ),
    (
        &[("spec.bootstrap", "{backupName: a}")],
        &[("spec.bootstrap", "{backupName: b}")],
        "spec.bootstrap: bootstrap is immutable",
    ),
];
