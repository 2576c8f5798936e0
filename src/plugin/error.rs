//! What can go wrong for somebody who uses the plugin.

use std::path::PathBuf;
use std::time::Duration;

use crate::fault::{Fault, Kind};

/// Why a command of the plugin failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be used.
    #[error("read the kubeconfig")]
    Kubeconfig(#[source] Box<kube::config::KubeconfigError>),
    /// There is neither a kubeconfig nor a pod's account.
    #[error("there is neither a kubeconfig nor the account of a pod")]
    NoKubeconfig(#[source] Box<kube::config::InferConfigError>),
    /// The API server.
    #[error("ask the API server")]
    Kubernetes(#[from] Box<kube::Error>),
    /// The API server did not answer in time.
    #[error("the API server did not answer in {0:?}")]
    Deadline(Duration),
    /// The API server does not know the kind.
    #[error("the API server knows no VectorCluster: the definitions are not installed")]
    NoDefinition,
    /// The cluster is not there.
    #[error("there is no VectorCluster {name} in namespace {namespace}")]
    NoCluster {
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// What was asked for makes no sense for this cluster.
    #[error("{0}")]
    Refused(String),
    /// An object that is needed is not there, or lacks something.
    #[error("{object} has no {field}")]
    Incomplete {
        /// Which object.
        object: String,
        /// What it lacks.
        field: String,
    },
    /// `kubectl` could not be run.
    #[error("run kubectl, which has to be in PATH")]
    NoKubectl(#[source] std::io::Error),
    /// `kubectl port-forward` ended, or opened no way in time.
    #[error("kubectl port-forward: {0}")]
    Tunnel(String),
    /// A gateway or master did not answer, or not as it should.
    #[error("ask {whom}: {problem}")]
    Asked {
        /// Whom.
        whom: String,
        /// What went wrong.
        problem: String,
    },
    /// The credentials in a Secret cannot be used.
    #[error(transparent)]
    Security(#[from] crate::security::Error),
    /// A master.
    #[error(transparent)]
    Master(#[from] crate::rpc::Error),
    /// What is printed cannot be written.
    #[error("write the output")]
    Output(#[from] std::io::Error),
    /// A file cannot be written.
    #[error("write {}", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// Signals cannot be listened for.
    #[error(transparent)]
    Process(#[from] crate::process::Error),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(Box::new(error))
    }
}

impl Error {
    fn status(&self) -> Option<&kube::core::Status> {
        let Self::Kubernetes(error) = self else {
            return None;
        };
        let kube::Error::Api(status) = &**error else {
            return None;
        };
        Some(status)
    }

    /// Whether what was asked for is not there. Of a kind that it does not know a server says so without a
    /// reason.
    pub(super) fn is_not_found(&self) -> bool {
        self.status().is_some_and(|status| status.code == 404)
    }

    /// Whether somebody else changed the object in between.
    pub(super) fn is_conflict(&self) -> bool {
        self.status().is_some_and(kube::core::Status::is_conflict)
    }

    /// Whether nobody reads the output any more, which ends a command in order.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Kubernetes(_) if self.is_conflict() => Kind::Conflict,
            Self::Kubernetes(_) if self.is_not_found() => Kind::NotFound,
            Self::Kubernetes(_) | Self::Tunnel(_) | Self::Asked { .. } => Kind::Unavailable,
            Self::Deadline(_) => Kind::Timeout,
            Self::Kubeconfig(_) | Self::NoKubeconfig(_) | Self::Refused(_) => Kind::InvalidInput,
            Self::NoDefinition
            | Self::NoCluster { .. }
            | Self::Incomplete { .. }
            | Self::NoKubectl(_) => Kind::NotFound,
            Self::Security(error) => error.kind(),
            Self::Master(error) => error.kind(),
            Self::Process(error) => error.kind(),
            Self::Output(_) | Self::File(..) => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Kubeconfig(_) | Self::NoKubeconfig(_) => "plugin.kubeconfig",
            Self::Kubernetes(_) => "plugin.kubernetes",
            Self::Deadline(_) => "plugin.deadline",
            Self::NoDefinition => "plugin.no_definition",
            Self::NoCluster { .. } => "plugin.no_cluster",
            Self::Refused(_) => "plugin.refused",
            Self::Incomplete { .. } => "plugin.incomplete",
            Self::NoKubectl(_) => "plugin.no_kubectl",
            Self::Tunnel(_) => "plugin.tunnel",
            Self::Asked { .. } => "plugin.asked",
            Self::Security(error) => error.code(),
            Self::Master(error) => error.code(),
            Self::Output(_) => "plugin.output",
            Self::File(..) => "plugin.file",
            Self::Process(error) => error.code(),
        }
    }
}
