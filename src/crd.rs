//! The custom resources: what a person may ask for, as types, as the schema that Kubernetes
//! installs, and as the text of `crds/`.
//!
//! The types are the single source. Defaults, ranges, patterns and rules are written beside the
//! fields that they bind; [`definition()`] turns them into the `CustomResourceDefinition` of a kind,
//! [`yaml`] into the file that is committed, and a test compares the two. `topology::manifest` checks
//! files by the same schema, so that a laptop and a Kubernetes API server refuse the same things.
//!
//! Why so: there is no admission webhook. Whatever can be said by a schema or by a rule of the
//! Common Expression Language (CEL) is said here, and is enforced before anything of ours runs; what
//! cannot is checked by `topology::manifest` and again by whoever acts on the spec.
//!
//! What this module does not do: it holds no behaviour, and it speaks to nobody. It is the only
//! place that derives `JsonSchema` for these types, and the only one outside the operator and the
//! plugin that names `kube`.

mod definition;
pub mod marks;
pub mod v1alpha1;

pub use definition::{KUBERNETES_FIELDS, definition, metadata_schema, schema, yaml};

/// The API group of every kind.
pub const GROUP: &str = "vectorsphere.io";

/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";

/// Group and version as a manifest spells them.
pub const API_VERSION: &str = "vectorsphere.io/v1alpha1";

/// A kind of this group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A cluster.
    Cluster,
    /// A collection of a cluster.
    Collection,
    /// A backup of a cluster.
    Backup,
    /// Backups at set times.
    BackupSchedule,
    /// A backup put back.
    Restore,
    /// A task on a cluster.
    OpsTask,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Collection,
        Self::Backup,
        Self::BackupSchedule,
        Self::Restore,
        Self::OpsTask,
    ];

    /// Its name as a manifest spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "VectorCluster",
            Self::Collection => "VectorCollection",
            Self::Backup => "VectorBackup",
            Self::BackupSchedule => "VectorBackupSchedule",
            Self::Restore => "VectorRestore",
            Self::OpsTask => "VectorOpsTask",
        }
    }

    /// The file, below the top of the repository, that its definition is committed as.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Cluster => "crds/vectorclusters.yaml",
            Self::Collection => "crds/vectorcollections.yaml",
            Self::Backup => "crds/vectorbackups.yaml",
            Self::BackupSchedule => "crds/vectorbackupschedules.yaml",
            Self::Restore => "crds/vectorrestores.yaml",
            Self::OpsTask => "crds/vectoropstasks.yaml",
        }
    }
}
