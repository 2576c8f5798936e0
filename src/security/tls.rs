//! The TLS configuration of a listener, which can be changed while it runs.
//!
//! A connection takes the configuration of the moment it is accepted; those that are open keep
//! theirs. TLS 1.2 and 1.3 only, with the cipher suites of `ring`. A new certificate that cannot be
//! read changes nothing.
//!
//! A listener may ask who connects for a certificate of some authorities, or demand one. Who has one that
//! is not good is refused in either case. A file of authorities that is not there holds none; when all
//! together hold none nobody could be let in, and that is an error.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, version};

use super::Error;

/// A listener's TLS configuration, or that it has none. Cheap to clone; clones change together.
#[derive(Debug, Clone, Default)]
pub struct Handle {
    files: Option<Arc<Files>>,
    current: Arc<ArcSwapOption<Loaded>>,
}

/// Whether who connects has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// One that is shown has to be good.
    Optional,
    /// One has to be shown.
    Required,
}

/// Who is asked for a certificate, and of whom it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// Whether one has to be shown.
    pub demand: Demand,
    /// Files of authorities, PEM.
    pub authorities: Vec<PathBuf>,
}

#[derive(Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
    clients: Option<Clients>,
}

#[derive(Debug)]
struct Loaded {
    certificates: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<Vec<u8>>,
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
        Self::asking(certificates, key, None)
    }

    /// The same, and who connects is asked for a certificate.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Certificate`].
    pub fn asking(
        certificates: &Path,
        key: &Path,
        clients: Option<Clients>,
    ) -> Result<Self, Error> {
        let handle = Self {
            files: Some(Arc::new(Files {
                certificates: certificates.to_owned(),
                key: key.to_owned(),
                clients,
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
            clients: None,
        };
        let config = nowhere.config(certificates.as_bytes(), key.as_bytes(), &[])?;
        Ok(Self {
            files: None,
            current: Arc::new(ArcSwapOption::from_pointee(Loaded {
                certificates: certificates.into(),
                key: key.into(),
                authorities: Vec::new(),
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
        let authorities = files.authorities()?;
        let current = self.current.load();
        let same = |loaded: &Arc<Loaded>| {
            loaded.certificates == certificates
                && loaded.key == key
                && loaded.authorities == authorities
        };
        if current.as_ref().is_some_and(same) {
            return Ok(false);
        }
        let config = files.config(&certificates, &key, &authorities)?;
        self.current.store(Some(Arc::new(Loaded {
            certificates,
            key,
            authorities,
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
    /// The content of the files of authorities, in their order.
    fn authorities(&self) -> Result<Vec<Vec<u8>>, Error> {
        let files = self.clients.iter().flat_map(|asked| &asked.authorities);
        let read = files.map(|file| match fs_err::read(file) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::Read(error)),
        });
        read.collect()
    }

    fn config(
        &self,
        certificates: &[u8],
        key: &[u8],
        authorities: &[Vec<u8>],
    ) -> Result<ServerConfig, Error> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(&self.certificates, error))?;
        let private =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong(&self.key, error))?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| wrong(&self.certificates, error))?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(authorities)?),
        };
        let mut config = builder
            .with_single_cert(chain, private)
            .map_err(|error| wrong(&self.certificates, error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Clients {
    fn verifier(&self, authorities: &[Vec<u8>]) -> Result<Arc<dyn ClientCertVerifier>, Error> {
        let mut roots = RootCertStore::empty();
        for (file, content) in self.authorities.iter().zip(authorities) {
            for authority in CertificateDer::pem_slice_iter(content) {
                let authority = authority.map_err(|error| wrong(file, error))?;
                roots.add(authority).map_err(|error| wrong(file, error))?;
            }
        }
        let last = self.authorities.last().cloned().unwrap_or_default();
        if roots.is_empty() {
            return Err(wrong(&last, "no file of authorities holds a certificate"));
        }
        let provider = Arc::new(ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match self.demand {
            Demand::Optional => builder.allow_unauthenticated(),
            Demand::Required => builder,
        };
        builder.build().map_err(|error| wrong(&last, error))
    }
}

fn wrong(file: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Certificate {
        file: file.display().to_string(),
        source: source.into(),
    }
}
