//! What `kubectl get` shows of each kind, for a status that is patched in.

use serde_json::{Value, json};
use vectorsphere::crd::Kind;

use crate::api_only::behaviour::{demo, patch_status};
use crate::api_only::definitions::installed;
use crate::kubernetes::Kubernetes;

/// An age in minutes or seconds: the object is new.
const NEW: &str = "(new)";
/// An age in years.
const OLD: &str = "(old)";

/// A kind and what is shown of it.
struct Shown {
    kind: Kind,
    short_name: &'static str,
    /// In YAML.
    status: &'static str,
    /// Columns of `-o wide` with their cells.
    cells: &'static [(&'static str, &'static str)],
    /// Columns of these only without it.
    narrow: usize,
}

const SHOWN: &[Shown] = &[
    Shown {
        kind: Kind::Cluster,
        short_name: "vc",
        status: "
phase: Running
version: 0.1.0
leader: demo-master-1
conditions: [{type: Ready, status: 'True', reason: AllComponentsReady, message: '',
  lastTransitionTime: 2026-01-01T00:00:00Z}]
gateway: {replicas: 2, readyReplicas: 2, updatedReplicas: 2, summary: 2/2}
master: {replicas: 3, readyReplicas: 3, updatedReplicas: 3, summary: 3/3}
worker: {replicas: 5, readyReplicas: 4, updatedReplicas: 5, summary: 4/5}
etcd: {members: 1, readyMembers: 1, summary: 1/1}
shards: {total: 16, fullyReplicated: 15, underReplicated: 0, unavailable: 1, moving: 0,
  summary: 15/16}
endpoints: {grpc: 'demo-gateway:6334', http: 'demo-gateway:6333'}
",
        cells: &[
            ("NAME", "demo"),
            ("READY", "True"),
            ("PHASE", "Running"),
            ("WORKERS", "4/5"),
            ("SHARDS", "15/16"),
            ("VERSION", "0.1.0"),
            ("REASON", "AllComponentsReady"),
            ("GATEWAYS", "2/2"),
            ("MASTERS", "3/3"),
            ("LEADER", "demo-master-1"),
            ("ETCD", "1/1"),
            ("ENDPOINT", "demo-gateway:6334"),
            ("AGE", NEW),
        ],
        narrow: 7,
    },
    Shown {
        kind: Kind::Collection,
        short_name: "vcol",
        status: "
vectors: 1000
conditions: [{type: Ready, status: 'False', reason: NameTaken, message: '',
  lastTransitionTime: 2026-01-01T00:00:00Z}]
",
        cells: &[
            ("NAME", "demo"),
            ("READY", "False"),
            ("CLUSTER", "demo"),
            ("DIM", "768"),
            ("METRIC", "Cosine"),
            ("VECTORS", "1000"),
            ("REASON", "NameTaken"),
            ("AGE", NEW),
        ],
        narrow: 7,
    },
    Shown {
        kind: Kind::Backup,
        short_name: "vb",
        status: "
state: Failed
vectors: 5
sizeBytes: 12
completedAt: 2020-01-01T00:00:00Z
error: disk-full
conditions: [{type: Verified, status: 'True', reason: Matched, message: '',
  lastTransitionTime: 2026-01-01T00:00:00Z}]
",
        cells: &[
            ("NAME", "demo"),
            ("CLUSTER", "demo"),
            ("STATE", "Failed"),
            ("VERIFIED", "True"),
            ("VECTORS", "5"),
            ("SIZE", "12"),
            ("COMPLETED", OLD),
            ("ERROR", "disk-full"),
        ],
        narrow: 7,
    },
    Shown {
        kind: Kind::BackupSchedule,
        short_name: "vbs",
        status: "
lastSuccessAt: 2020-01-01T00:00:00Z
nextAt: 2030-01-01T00:00:00Z
lastBackup: demo-1
",
        cells: &[
            ("NAME", "demo"),
            ("CLUSTER", "demo"),
            ("SCHEDULE", "30 3 * * *"),
            ("SUSPEND", "false"),
            ("LAST SUCCESS", OLD),
            ("NEXT", "2030-01-01T00:00:00Z"),
            ("LAST BACKUP", "demo-1"),
            ("AGE", NEW),
        ],
        narrow: 6,
    },
    Shown {
        kind: Kind::Restore,
        short_name: "vr",
        status: "{state: Failed, vectors: 7, completedAt: 2020-01-01T00:00:00Z, error: no-room}",
        cells: &[
            ("NAME", "demo"),
            ("CLUSTER", "demo"),
            ("STATE", "Failed"),
            ("VECTORS", "7"),
            ("COMPLETED", OLD),
            ("ERROR", "no-room"),
        ],
        narrow: 5,
    },
    Shown {
        kind: Kind::OpsTask,
        short_name: "vot",
        status: "{state: Rejected, message: not available}",
        cells: &[
            ("NAME", "demo"),
            ("CLUSTER", "demo"),
            ("TASK", "Rebalance"),
            ("STATE", "Rejected"),
            ("MESSAGE", "not available"),
            ("AGE", NEW),
        ],
        narrow: 6,
    },
];

/// The parts of a line of a table: three spaces at least are between two of them.
fn parts(line: &str) -> Vec<&str> {
    let parts = line.split("   ").map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

fn fits(cell: &str, expected: &str) -> bool {
    match expected {
        NEW => cell.ends_with(['s', 'm']),
        OLD => cell.contains('y'),
        text => cell == text,
    }
}

#[test]
fn columns_show_the_status() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    installed(&kubernetes);
    let namespace = kubernetes.namespace("columns");
    for shown in SHOWN {
        let (kind, short) = (shown.kind, shown.short_name);
        kubernetes
            .apply(&demo(kind, &namespace))
            .accepted(kind.name());
        let status: Value = serde_yaml_ng::from_str(shown.status).unwrap();
        patch_status(&kubernetes, &namespace, kind, &json!({"status": status}));
        let get = ["get", "-n", &namespace.name, short, "demo"];
        let wide = [&get[..], &["-o", "wide"]].concat();
        let table = kubernetes.call(&wide, "").accepted(short);
        let (header, row) = table.trim_end().split_once('\n').unwrap();
        let (names, cells) = (parts(header), parts(row));
        let expected: Vec<&str> = shown.cells.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, expected, "{table}");
        assert_eq!(cells.len(), names.len(), "{table}");
        for (cell, (name, expected)) in cells.into_iter().zip(shown.cells) {
            assert!(fits(cell, expected), "{name}: {cell}, not {expected}");
        }
        let table = kubernetes.call(&get, "").accepted(short);
        let names = parts(table.lines().next().unwrap());
        assert_eq!(names.len(), shown.narrow, "{table}");
    }
    let all = ["get", "-n", &namespace.name, "vectorsphere", "-o", "name"];
    let all = kubernetes.call(&all, "").accepted("category");
    assert_eq!(all.lines().count(), Kind::ALL.len(), "{all}");
}
