//! What the operator is told.

use super::check::{self, Faults, given};
use super::{Error, Logging, LoggingArgs};

/// The texts of [`Operator`].
#[derive(Debug, Clone, clap::Args)]
pub struct OperatorArgs {
    /// The namespace whose VectorClusters it carries out. Default: all.
    #[arg(long, env = "VECTORSPHERE_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// The repository of the image of gateways, masters and workers, for manifests that name none.
    #[arg(long, env = "VECTORSPHERE_IMAGE_REPOSITORY", value_name = "IMAGE")]
    pub image_repository: Option<String>,
    /// The image of etcd, for manifests that name none.
    #[arg(long, env = "VECTORSPHERE_ETCD_IMAGE", value_name = "IMAGE")]
    pub etcd_image: Option<String>,
    /// How it logs.
    #[command(flatten)]
    pub logging: LoggingArgs,
}

/// What the operator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The namespace whose clusters it carries out. Default none: all of them.
    pub namespace: Option<String>,
    /// The repository of the roles' image. No default: there is no published one.
    pub image_repository: String,
    /// The image of etcd. No default, for the same reason.
    pub etcd_image: String,
    /// How it logs.
    pub logging: Logging,
}

impl OperatorArgs {
    /// The checked settings.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn check(self) -> Result<Operator, Error> {
        let mut faults = Faults::default();
        let namespace = given(self.namespace)
            .map(|name| check::label(&name))
            .transpose();
        let namespace = faults.keep("--namespace", namespace);
        let image = faults.keep("--image-repository", check::required(self.image_repository));
        let etcd = faults.keep("--etcd-image", check::required(self.etcd_image));
        let logging = self.logging.check(&mut faults);
        let settings = (|| {
            Some(Operator {
                namespace: namespace?,
                image_repository: image?,
                etcd_image: etcd?,
                logging: logging?,
            })
        })();
        faults.end(settings)
    }
}
