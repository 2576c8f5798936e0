//! The TLS configuration of a listener, which can be changed while it runs.
//!
//! A connection takes the configuration of the moment it is accepted; those that are open keep
//! theirs. TLS 1.2 and 1.3 only, with the cipher suites of `ring`. A new certificate that cannot be
//! read changes nothing.

use std::path::{Path, PathBuf};
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
pub struct Handle {
    files: Option<Arc<Files>>,
    current: Arc<ArcSwapOption<Loaded>>,
}

#[derive(Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
}

#[derive(Debug)]
struct Loaded {
    certificates: Vec<u8>,
    key: Vec<u8>,
    config: Arc<ServerConfig>,
}

impl Handle {
    /// Plain text.
    pub fn plain() -> Self {
        Self::default()
    }

    /// The certificate chain and the private key of these PEM files.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Certificate`].
    pub fn from_files(certificates: &Path, key: &Path) -> Result<Self, Error> {
        let handle = Self {
            files: Some(Arc::new(Files {
                certificates: certificates.to_owned(),
                key: key.to_owned(),
            })),
            current: Arc::default(),
        };
        handle.refresh()?;
        Ok(handle)
    }

    /// A certificate chain and its private key that lie in no file, PEM. They stay as they are.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn from_pem(certificates: &str, key: &str) -> Result<Self, Error> {
        let nowhere = Files {
            certificates: PathBuf::from("memory"),
            key: PathBuf::from("memory"),
        };
        let config = nowhere.config(certificates.as_bytes(), key.as_bytes())?;
        Ok(Self {
            files: None,
            current: Arc::new(ArcSwapOption::from_pointee(Loaded {
                certificates: certificates.into(),
                key: key.into(),
                config: Arc::new(config),
            })),
        })
    }

    /// Reads the files again; true when something had changed. The next connection takes it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Certificate`], with the configuration as it was.
    pub fn refresh(&self) -> Result<bool, Error> {
        let Some(files) = &self.files else {
            return Ok(false);
        };
        let certificates = fs_err::read(&files.certificates).map_err(Error::Read)?;
        let key = fs_err::read(&files.key).map_err(Error::Read)?;
        let current = self.current.load();
        let same = |loaded: &Arc<Loaded>| loaded.certificates == certificates && loaded.key == key;
        if current.as_ref().is_some_and(same) {
            return Ok(false);
        }
        let config = files.config(&certificates, &key)?;
        self.current.store(Some(Arc::new(Loaded {
            certificates,
            key,
            config: Arc::new(config),
        })));
        Ok(true)
    }

    /// Whether connections are in plain text.
    pub fn is_plain(&self) -> bool {
        self.current.load().is_none()
    }

    /// What accepts the next connection; `None` for plain text.
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        let current = self.current.load();
        let config = current.as_ref().map(|loaded| Arc::clone(&loaded.config))?;
        Some(TlsAcceptor::from(config))
    }
}

impl Files {
    fn config(&self, certificates: &[u8], key: &[u8]) -> Result<ServerConfig, Error> {
        let wrong = |file: &Path, source: Box<dyn std::error::Error + Send + Sync>| {
            let file = file.display().to_string();
            Error::Certificate { file, source }
        };
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(&self.certificates, error.into()))?;
        let private =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&self.key, error.into()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| wrong(&self.certificates, error.into()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| wrong(&self.certificates, error.into()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}
