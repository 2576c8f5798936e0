//! The certificate by which a process shows who it is to other processes, and the authorities that it
//! trusts; both can be changed while it runs.
//!
//! They lie in a folder of three PEM files, laid out as a mounted Secret of Kubernetes is: `tls.crt`,
//! `tls.key` and `ca.crt`. A connection takes what is current when it is made; those that are open keep
//! theirs. Files that cannot be read change nothing.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, version};

use super::Error;

/// The certificate and what leads to its authority, PEM.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The key of the certificate, PEM.
pub const KEY_FILE: &str = "tls.key";
/// The authorities whose certificates are trusted, PEM.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// The content of the three files.
#[derive(Clone, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

/// What connections are made and accepted with.
struct Material {
    files: Files,
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// A folder of certificates, or that there is none: plain text. Cheap to clone; clones change together.
#[derive(Clone, Default)]
pub struct Credentials {
    folder: Option<Arc<Path>>,
    current: Arc<ArcSwapOption<Material>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?})", self.folder)
    }
}

impl Credentials {
    /// Plain text.
    pub fn plain() -> Self {
        Self::default()
    }

    /// What lies in this folder.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Certificate`].
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let loaded = Self {
            folder: Some(folder.into()),
            current: Arc::default(),
        };
        loaded.refresh()?;
        Ok(loaded)
    }

    /// Credentials that lie in no folder, and do not change.
    ///
    /// # Errors
    /// [`Error::Certificate`].
    pub fn from_pem(certificate: &[u8], key: &[u8], authority: &[u8]) -> Result<Self, Error> {
        let files = Files {
            certificate: certificate.to_vec(),
            key: key.to_vec(),
            authority: authority.to_vec(),
        };
        let material = files
            .material()
            .map_err(|(file, source)| Error::Certificate {
                file: file.to_owned(),
                source,
            })?;
        let credentials = Self::plain();
        credentials.current.store(Some(Arc::new(material)));
        Ok(credentials)
    }

    /// Reads the folder again; true when something had changed. New connections take it.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Certificate`], with everything as it was.
    pub fn refresh(&self) -> Result<bool, Error> {
        let Some(folder) = &self.folder else {
            return Ok(false);
        };
        let read = |file: &str| fs_err::read(folder.join(file)).map_err(Error::Read);
        let files = Files {
            certificate: read(CERTIFICATE_FILE)?,
            key: read(KEY_FILE)?,
            authority: read(AUTHORITY_FILE)?,
        };
        let current = self.current.load();
        if current
            .as_ref()
            .is_some_and(|material| material.files == files)
        {
            return Ok(false);
        }
        let material = files
            .material()
            .map_err(|(file, source)| Error::Certificate {
                file: folder.join(file).display().to_string(),
                source,
            })?;
        self.current.store(Some(Arc::new(material)));
        Ok(true)
    }

    /// Whether connections are in plain text.
    pub fn is_plain(&self) -> bool {
        self.current.load().is_none()
    }

    /// What the next connection to another process is made with; `None` for plain text.
    pub(super) fn client(&self) -> Option<Arc<ClientConfig>> {
        let current = self.current.load();
        current
            .as_ref()
            .map(|material| Arc::clone(&material.client))
    }

    /// What the next connection of another process is accepted with; `None` for plain text.
    pub(super) fn server(&self) -> Option<Arc<ServerConfig>> {
        let current = self.current.load();
        current
            .as_ref()
            .map(|material| Arc::clone(&material.server))
    }
}

/// A file, and what is wrong with it.
type Wrong = (&'static str, Box<dyn std::error::Error + Send + Sync>);

impl Files {
    fn material(self) -> Result<Material, Wrong> {
        let provider = Arc::new(ring::default_provider());
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(CERTIFICATE_FILE, error))?;
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| wrong(KEY_FILE, error))?;
        let roots = Arc::new(self.roots()?);
        let client = client(&provider, &roots, (chain.clone(), key.clone_key()))?;
        let server = server(&provider, roots, (chain, key))?;
        Ok(Material {
            files: self,
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }

    fn roots(&self) -> Result<RootCertStore, Wrong> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&self.authority) {
            let authority = authority.map_err(|error| wrong(AUTHORITY_FILE, error))?;
            roots
                .add(authority)
                .map_err(|error| wrong(AUTHORITY_FILE, error))?;
        }
        if roots.is_empty() {
            return Err((AUTHORITY_FILE, "it holds no certificate".into()));
        }
        Ok(roots)
    }
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    (chain, key): Pair,
) -> Result<ClientConfig, Wrong> {
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
            .build()
            .map_err(|error| wrong(AUTHORITY_FILE, error))?;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| wrong(CERTIFICATE_FILE, error))?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(|error| wrong(CERTIFICATE_FILE, error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    (chain, key): Pair,
) -> Result<ServerConfig, Wrong> {
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|error| wrong(AUTHORITY_FILE, error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13])
        .map_err(|error| wrong(CERTIFICATE_FILE, error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| wrong(CERTIFICATE_FILE, error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn wrong(file: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Wrong {
    (file, error.into())
}
