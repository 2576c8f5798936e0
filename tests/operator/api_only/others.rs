//! What the server accepts and refuses of backups, schedules, restores and tasks; and the least
//! manifest of every kind.

use serde_json::{Value, json};
use vectorsphere::crd::{API_VERSION, Kind};

use crate::api_only::cases::{Case, Table, bad, bad_change, change, good};

/// A name as long as Kubernetes lets one be; only a cluster's is bounded further.
pub(crate) const LONG: &str = concat!(
    "a2345678901234567890123456789012345678901234567890.",
    "a2345678901234567890123456789012345678901234567890.",
    "a2345678901234567890123456789012345678901234567890.",
    "a2345678901234567890123456789012345678901234567890.",
    "a234567890123456789012345678901234567890123456789"
);
const _: () = assert!(LONG.len() == 253);
/// A character more than a cluster's name may have.
pub(crate) const CLUSTER_41: &str = "a2345678901234567890123456789012345678901";

/// The least spec of a kind.
fn spec(kind: Kind) -> Value {
    let backup = json!({"cluster": "demo", "location": {"s3": {"bucket": "backups"}}});
    match kind {
        Kind::Cluster => crate::api_only::cluster::least()["spec"].clone(),
        Kind::Collection => json!({"cluster": "demo", "dimension": 768}),
        Kind::Backup => backup,
        Kind::BackupSchedule => json!({"schedule": "30 3 * * *", "template": backup}),
        Kind::Restore => json!({"cluster": "demo", "source": {"backupName": "a"}}),
        Kind::OpsTask => json!({"cluster": "demo", "task": "Rebalance"}),
    }
}

/// The least manifest of a kind, under a name.
pub(crate) fn least(kind: Kind, name: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": kind.name(),
        "metadata": {"name": name},
        "spec": spec(kind),
    })
}

pub(crate) fn check(kind: Kind, test: &str, cases: &[Case]) {
    let least = least(kind, "");
    Table { kind, least, cases }.check(test);
}

const FIXED_BACKUP: &str = "the spec of a VectorBackup is immutable";
const ONE_PLACE: &str = "set exactly one of s3 and volume";

const BACKUP: &[Case] = &[
    good("the least", &[]),
    good("a name of 253 characters", &[("metadata.name", LONG)]),
    bad(
        "a cluster of 41",
        &[("spec.cluster", CLUSTER_41)],
        "spec.cluster: Too long",
    ),
    good("some collections", &[("spec.collections", "[a, 'Zoë 1']")]),
    bad(
        "a pattern",
        &[("spec.collections", "['a*']")],
        "spec.collections[0] in body should match",
    ),
    bad(
        "no collection",
        &[("spec.collections", "[]")],
        "spec.collections in body should have at least 1 items",
    ),
    good(
        "a volume",
        &[("spec.location", "{volume: {claimName: a}, path: b/c}")],
    ),
    bad("no place", &[("spec.location", "{}")], ONE_PLACE),
    bad(
        "two places",
        &[("spec.location.volume.claimName", "a")],
        ONE_PLACE,
    ),
    bad(
        "a bucket of two letters",
        &[("spec.location.s3.bucket", "ab")],
        "spec.location.s3.bucket in body should be at least 3 chars long",
    ),
    bad(
        "a deadline of a second",
        &[("spec.deadlineSeconds", "1")],
        "spec.deadlineSeconds in body should be greater than or equal to 60",
    ),
    bad_change(
        "not verified after all",
        &[],
        &[("spec.verify", "false")],
        FIXED_BACKUP,
    ),
    bad_change(
        "a deadline comes late",
        &[],
        &[("spec.deadlineSeconds", "60")],
        FIXED_BACKUP,
    ),
    bad_change(
        "another collection",
        &[],
        &[("spec.collections", "[a]")],
        FIXED_BACKUP,
    ),
    bad_change(
        "another path",
        &[],
        &[("spec.location.path", "a")],
        FIXED_BACKUP,
    ),
    change("labels change", &[], &[("metadata.labels.a", "b")]),
    change("the same again", &[], &[("spec.verify", "true")]),
];

const SCHEDULE: &[Case] = &[
    good("the least", &[]),
    good("a name of 253 characters", &[("metadata.name", LONG)]),
    bad(
        "a cluster of 41",
        &[("spec.template.cluster", CLUSTER_41)],
        "spec.template.cluster: Too long",
    ),
    good("every quarter", &[("spec.schedule", "'*/15 * * * *'")]),
    bad(
        "four fields",
        &[("spec.schedule", "'0 12 24 *'")],
        "spec.schedule in body should match",
    ),
    bad(
        "six fields",
        &[("spec.schedule", "0 0 3 * * *")],
        "spec.schedule in body should match",
    ),
    bad(
        "a word",
        &[("spec.schedule", "'@midnight'")],
        "spec.schedule in body should match",
    ),
    bad(
        "an unknown concurrency",
        &[("spec.concurrency", "Allow")],
        "supported values: \"Forbid\", \"Replace\"",
    ),
    bad(
        "none is kept",
        &[("spec.keep.last", "0")],
        "spec.keep.last in body should be greater than or equal to 1",
    ),
    good("no failed one is kept", &[("spec.keep.failed", "0")]),
    bad("no place", &[("spec.template.location", "{}")], ONE_PLACE),
    bad(
        "no template",
        &[("spec.template", "-")],
        "spec.template: Required value",
    ),
    change(
        "another time",
        &[],
        &[
            ("spec.schedule", "0 4 * * *"),
            ("spec.timeZone", "Europe/Vienna"),
        ],
    ),
    change(
        "another template",
        &[],
        &[("spec.template.verify", "false")],
    ),
    change("suspended", &[], &[("spec.suspend", "true")]),
];

const FIXED_RESTORE: &str = "the spec of a VectorRestore is immutable";
const ONE_SOURCE: &str = "set exactly one of backupName and location";

const RESTORE: &[Case] = &[
    good("the least", &[]),
    good("a name of 253 characters", &[("metadata.name", LONG)]),
    bad(
        "a cluster of 41",
        &[("spec.cluster", CLUSTER_41)],
        "spec.cluster: Too long",
    ),
    good(
        "of a place",
        &[(
            "spec.source",
            "{location: {s3: {bucket: abc, endpoint: 'http://minio:9000', forcePathStyle: true}}}",
        )],
    ),
    bad("of nothing", &[("spec.source", "{}")], ONE_SOURCE),
    bad(
        "of two",
        &[("spec.source.location.volume.claimName", "a")],
        ONE_SOURCE,
    ),
    bad(
        "of a place that is two",
        &[(
            "spec.source",
            "{location: {s3: {bucket: abc}, volume: {claimName: a}}}",
        )],
        ONE_PLACE,
    ),
    good("under other names", &[("spec.namePrefix", "restored-")]),
    bad(
        "under a path",
        &[("spec.namePrefix", "a/")],
        "spec.namePrefix in body should match",
    ),
    good(
        "in place of what is there",
        &[("spec.onConflict", "Replace")],
    ),
    bad(
        "an unknown way",
        &[("spec.onConflict", "Merge")],
        "supported values: \"Fail\", \"Replace\", \"Skip\"",
    ),
    bad_change(
        "another source",
        &[],
        &[("spec.source.backupName", "b")],
        FIXED_RESTORE,
    ),
    bad_change(
        "another way",
        &[],
        &[("spec.onConflict", "Skip")],
        FIXED_RESTORE,
    ),
    change(
        "annotations change",
        &[],
        &[("metadata.annotations.a", "b")],
    ),
];

const FIXED_TASK: &str = "the spec of a VectorOpsTask is immutable";
const WORKER: &str = "worker goes with the tasks EvacuateWorker and ReplaceWorker, which need it";
const ROLE: &str = "role goes with the task Restart";

const TASK: &[Case] = &[
    good("the least", &[]),
    good("a name of 253 characters", &[("metadata.name", LONG)]),
    bad(
        "a cluster of 41",
        &[("spec.cluster", CLUSTER_41)],
        "spec.cluster: Too long",
    ),
    bad(
        "an unknown task",
        &[("spec.task", "Reboot")],
        "supported values: \"Rebalance\", \"Restart\", \"EvacuateWorker\", \"ReplaceWorker\", \"RotateCertificates\", \"DefragmentEtcd\", \"VerifyData\"",
    ),
    bad(
        "no task",
        &[("spec.task", "-")],
        "spec.task: Required value",
    ),
    good(
        "a worker is evacuated",
        &[
            ("spec.task", "EvacuateWorker"),
            ("spec.worker", "demo-worker-0"),
        ],
    ),
    good(
        "a worker is replaced",
        &[
            ("spec.task", "ReplaceWorker"),
            ("spec.worker", "demo-worker-0"),
        ],
    ),
    bad(
        "which worker is evacuated?",
        &[("spec.task", "EvacuateWorker")],
        WORKER,
    ),
    bad(
        "which worker is replaced?",
        &[("spec.task", "ReplaceWorker")],
        WORKER,
    ),
    bad(
        "a worker of no use",
        &[("spec.worker", "demo-worker-0")],
        WORKER,
    ),
    good("all roles restart", &[("spec.task", "Restart")]),
    good(
        "one role restarts",
        &[("spec.task", "Restart"), ("spec.role", "Gateway")],
    ),
    bad(
        "an unknown role",
        &[("spec.task", "Restart"), ("spec.role", "gateway")],
        "supported values: \"Gateway\", \"Master\", \"Worker\", \"Etcd\"",
    ),
    bad("a role of no use", &[("spec.role", "Worker")], ROLE),
    good("gone at once", &[("spec.ttlSecondsAfterFinished", "0")]),
    bad(
        "gone before",
        &[("spec.ttlSecondsAfterFinished", "-1")],
        "spec.ttlSecondsAfterFinished in body should be greater than or equal to 0",
    ),
    bad_change(
        "another task",
        &[],
        &[("spec.task", "VerifyData")],
        FIXED_TASK,
    ),
    bad_change(
        "kept longer",
        &[],
        &[("spec.ttlSecondsAfterFinished", "7200")],
        FIXED_TASK,
    ),
    change("labels change", &[], &[("metadata.labels.a", "b")]),
];

#[test]
fn every_rule_of_a_backup_accepts_and_refuses() {
    check(Kind::Backup, "backup", BACKUP);
}

#[test]
fn every_rule_of_a_schedule_accepts_and_refuses() {
    check(Kind::BackupSchedule, "schedule", SCHEDULE);
}

#[test]
fn every_rule_of_a_restore_accepts_and_refuses() {
    check(Kind::Restore, "restore", RESTORE);
}

#[test]
fn every_rule_of_a_task_accepts_and_refuses() {
    check(Kind::OpsTask, "task", TASK);
}
