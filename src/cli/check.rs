//! `vectorsphere ctl check`: asks a gateway as an application does, and says whether it answers.
//!
//! It reaches it by its URL, trusts only the authority that it is given, and shows a key. It waits, within
//! a bound, until the gateway says that it is ready, and then asks for the collections. The test of the
//! chart `vectorsphere-cluster` runs it inside Kubernetes, where there may be no other client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::fault::chain;

/// How long one question may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two questions while it is not ready.
const PAUSE: Duration = Duration::from_millis(500);
/// Bytes of an answer that are read: a list of many collections.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Which gateway, and by which credentials.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Where the gateway is: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL")]
    url: Uri,
    /// The authorities that its certificate may be of, PEM. Needed with https.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// A file that holds an API key and nothing else.
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Seconds to wait until it is ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    wait: u64,
}

/// Asks, and says on one line what was answered.
///
/// # Errors
/// It does not answer, or not as it should.
pub(super) async fn check(args: &CheckArgs) -> anyhow::Result<String> {
    let gateway = Gateway::new(args)?;
    let mut last = None;
    let waiting = async {
        loop {
            match gateway.get("/readyz").await {
                Ok((StatusCode::OK, _ready)) => return,
                Ok((status, why)) => last = Some(format!("{status}: {}", why.trim_end())),
                Err(error) => last = Some(chain(error.as_ref())),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let patience = Duration::from_secs(args.wait).max(QUESTION_TIMEOUT);
    if tokio::time::timeout(patience, waiting).await.is_err() {
        let last = last.unwrap_or_else(|| "no answer".to_owned());
        bail!("{} is not ready after {patience:?}: {last}", args.url);
    }
    let (status, text) = gateway.get("/collections").await?;
    ensure!(
        status == StatusCode::OK,
        "asked for collections: {status}: {text}"
    );
    let answer: Value = serde_json::from_str(&text).context("read the answer")?;
    let collections = answer
        .pointer("/result/collections")
        .and_then(Value::as_array);
    let count = collections.context("the answer has no collections")?.len();
    Ok(format!(
        "{} is ready and has {count} collections\n",
        args.url
    ))
}

/// A gateway and how it is asked.
struct Gateway {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    key: Option<String>,
}

impl Gateway {
    fn new(args: &CheckArgs) -> anyhow::Result<Self> {
        let host = args.url.host().context("the URL has no host")?;
        let tls = match (args.url.scheme_str(), &args.authority) {
            (Some("http"), _) => None,
            (Some("https"), Some(file)) => Some(trusting(file)?),
            (Some("https"), None) => bail!("--authority is needed with https"),
            (_, _) => bail!("the URL begins with neither http:// nor https://"),
        };
        let key = match &args.api_key_file {
            Some(file) => Some(fs_err::read_to_string(file)?.trim().to_owned()),
            None => None,
        };
        Ok(Self {
            host: host.to_owned(),
            port: args.url.port_u16().unwrap_or(6_333),
            tls,
            key,
        })
    }

    async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, String)> {
        let asked = tokio::time::timeout(QUESTION_TIMEOUT, async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            match &self.tls {
                None => self.exchange(stream, path).await,
                Some(tls) => {
                    let name = ServerName::try_from(self.host.clone())?;
                    let stream = tls.connect(name, stream).await?;
                    self.exchange(stream, path).await
                },
            }
        });
        let (host, port) = (&self.host, self.port);
        let asked = asked.await.context("no answer in time").flatten();
        asked.with_context(|| format!("ask {host}:{port} for {path}"))
    }

    /// One question on a connection of its own.
    async fn exchange<S>(&self, stream: S, path: &str) -> anyhow::Result<(StatusCode, String)>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::get(path).header("host", &self.host);
        if let Some(key) = &self.key {
            request = request.header("api-key", key);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let question = async move {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
            Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
        };
        // The connection ends with the question, which owns the way into it.
        let (answer, _ended) = futures::future::join(question, connection).await;
        answer
    }
}

/// TLS that trusts the authorities of a file and nobody else.
fn trusting(file: &Path) -> anyhow::Result<TlsConnector> {
    let pem = fs_err::read(file)?;
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&pem) {
        roots.add(authority?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
