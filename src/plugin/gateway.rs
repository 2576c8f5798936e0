//! Asks a gateway as an application does: HTTP, with TLS that trusts one authority and nobody else, and an
//! API key. One question on a connection of its own, within a deadline, with a bounded answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Error;

/// Bytes of an answer that are read: a list of many collections.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What may go wrong below the words of HTTP.
type Below = Box<dyn std::error::Error + Send + Sync>;

/// A gateway and how it is asked.
pub struct Gateway {
    /// Host or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is known by its certificate; none: plain HTTP.
    pub tls: Option<Known>,
    /// The API key.
    pub key: Option<String>,
    /// How long one question may take.
    pub timeout: Duration,
}

/// By which certificate a gateway is known.
pub struct Known {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// A certificate that is shown to a gateway, and its key, PEM.
pub struct Shown {
    /// The certificate and what leads to its authority.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl Known {
    /// One for `name` of an authority in these PEM texts, to which this certificate is shown, if it asks for
    /// one.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no certificate or key in what should hold one, or the name is none.
    pub fn by(authorities: &[u8], name: &str, shown: Option<&Shown>) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Refused(format!("the authority: {problem}"));
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities) {
            let authority = authority.map_err(|error| wrong(error.to_string()))?;
            let added = roots.add(authority);
            added.map_err(|error| wrong(error.to_string()))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(shown) => {
                let wrong = |problem: String| Error::Refused(format!("what is shown: {problem}"));
                let (chain, key) = shown.read().map_err(wrong)?;
                let built = builder.with_client_auth_cert(chain, key);
                built.map_err(|error| wrong(error.to_string()))?
            },
        };
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| Error::Refused(format!("{name:?}: {error}")))?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

impl Shown {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let chain =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| error.to_string())?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| error.to_string())?;
        Ok((chain, key))
    }
}

impl Gateway {
    /// Asks for a path.
    ///
    /// # Errors
    /// [`Error::Asked`] when there is no answer.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String), Error> {
        self.ask(Method::GET, path, Bytes::new()).await
    }

    /// Asks with a body of JSON.
    ///
    /// # Errors
    /// [`Error::Asked`] when there is no answer.
    pub async fn post(&self, path: &str, body: String) -> Result<(StatusCode, String), Error> {
        self.ask(Method::POST, path, Bytes::from(body)).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, String), Error> {
        let (host, port) = (&self.host, self.port);
        let failed = |problem: String| Error::Asked {
            whom: format!("{host}:{port} for {path}"),
            problem,
        };
        let request = self.request(method, path, body);
        let request = request.map_err(|error| failed(error.to_string()))?;
        let asked = tokio::time::timeout(self.timeout, async {
            let stream = TcpStream::connect((host.as_str(), port)).await?;
            match &self.tls {
                None => exchange(stream, request).await,
                Some(known) => {
                    let name = known.name.clone();
                    let stream = known.connector.connect(name, stream).await?;
                    exchange(stream, request).await
                },
            }
        });
        match asked.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failed(crate::fault::chain(error.as_ref()))),
            Err(_elapsed) => Err(failed(format!("no answer within {:?}", self.timeout))),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host)
            .header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("api-key", key);
        }
        request.body(Full::new(body))
    }
}

/// One question on a connection of its own.
async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String), Below>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let question = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await?
            .to_bytes();
        Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection ends with the question, which owns the way into it.
    let (answer, _ended) = futures::future::join(question, connection).await;
    answer
}
