//! The TLS configuration of a listener, which can be changed while it runs.
//!
//! A connection takes the configuration of the moment it is accepted; those that are open keep
//! theirs. TLS 1.2 and 1.3 only, with the cipher suites of `ring`. A new certificate that cannot be
//! read changes nothing.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

use super::Error;

/// A listener's TLS configuration, or that it has none. Cheap to clone; clones change together.
#[derive(Debug, Clone, Default)]
pub struct Handle(Arc<ArcSwapOption<ServerConfig>>);

impl Handle {
    /// Plain text.
    pub fn plain() -> Self {
        Self::default()
    }

    /// The certificate chain and the private key of these PEM files.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn from_files(certificates: &Path, key: &Path) -> Result<Self, Error> {
        let handle = Self::default();
        handle.reload(certificates, key)?;
        Ok(handle)
    }

    /// Takes what these files hold from the next connection on.
    ///
    /// # Errors
    /// [`Error::Certificate`], with the configuration as it was.
    pub fn reload(&self, certificates: &Path, key: &Path) -> Result<(), Error> {
        self.0.store(Some(Arc::new(load(certificates, key)?)));
        Ok(())
    }

    /// Whether connections are in plain text.
    pub fn is_plain(&self) -> bool {
        self.0.load().is_none()
    }

    /// What accepts the next connection; `None` for plain text.
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        self.0.load_full().map(TlsAcceptor::from)
    }
}

fn load(certificates: &Path, key: &Path) -> Result<ServerConfig, Error> {
    let wrong = |file: &Path, source: Box<dyn std::error::Error + Send + Sync>| {
        let file = file.display().to_string();
        Error::Certificate { file, source }
    };
    let pem = fs_err::read(certificates).map_err(Error::Read)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(certificates, error.into()))?;
    let pem = fs_err::read(key).map_err(Error::Read)?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| wrong(key, error.into()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| wrong(certificates, error.into()))?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| wrong(certificates, error.into()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
