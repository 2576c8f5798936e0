//! How the processes of one cluster know each other.
//!
//! A certificate names the role that it is for in the cluster that it is for, by a DNS name such as
//! `worker.demo.search.vectorsphere` (role, cluster, namespace). It names no address: pods change
//! theirs, and whoever connects knows which role should answer. So a certificate of another role, of
//! another cluster, or of another authority is refused by both sides, whatever address it came from.
//!
//! TLS 1.3 only, and both sides show a certificate. Without credentials connections are in plain text;
//! the settings allow that on loopback only.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::Credentials;

/// What the names in certificates end with.
const DOMAIN: &str = "vectorsphere";

/// What a process is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Answers applications.
    Gateway,
    /// Decides.
    Master,
    /// Holds shards.
    Worker,
    /// Carries out manifests.
    Operator,
}

impl Peer {
    /// The word in the names of certificates.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Master => "master",
            Self::Worker => "worker",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The DNS name that stands in the certificate of a role in a cluster.
pub fn certificate_name(peer: Peer, cluster: &str, namespace: &str) -> String {
    format!("{peer}.{cluster}.{namespace}.{DOMAIN}")
}

/// One process among those of its cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    credentials: Credentials,
    cluster: Arc<str>,
    namespace: Arc<str>,
}

impl Peers {
    /// Processes that speak in plain text.
    pub fn plain() -> Self {
        Self::new(Credentials::plain(), "", "")
    }

    /// The processes of this cluster; each has credentials such as these.
    pub fn new(credentials: Credentials, cluster: &str, namespace: &str) -> Self {
        Self {
            credentials,
            cluster: cluster.into(),
            namespace: namespace.into(),
        }
    }

    /// The credentials of this process.
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// How a process of that role is connected to.
    pub fn connector(&self, to: Peer) -> Connector {
        Connector {
            credentials: self.credentials.clone(),
            expected: Some(certificate_name(to, &self.cluster, &self.namespace).into()),
        }
    }

    /// How processes of these roles are let in, and no others.
    pub fn acceptor(&self, from: &[Peer]) -> Acceptor {
        let name = |peer: &Peer| certificate_name(*peer, &self.cluster, &self.namespace);
        Acceptor {
            credentials: self.credentials.clone(),
            names: from.iter().map(name).collect(),
        }
    }
}

/// Makes connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    credentials: Credentials,
    /// The name that the other side's certificate must hold; absent: the host that is connected to.
    expected: Option<Arc<str>>,
}

impl Connector {
    /// How a server is connected to whose certificate holds the host that it is known by.
    pub const fn by_host(credentials: Credentials) -> Self {
        Self {
            credentials,
            expected: None,
        }
    }

    /// How a server is connected to whose certificate holds this name, wherever it is.
    pub fn by_name(credentials: Credentials, name: &str) -> Self {
        Self {
            credentials,
            expected: Some(name.into()),
        }
    }

    /// Connects to the host and port of an address. The caller gives it a deadline.
    ///
    /// # Errors
    /// When nobody answers there, or not who was expected.
    pub async fn connect(&self, to: &Uri) -> io::Result<Connection> {
        let host = to.host().ok_or_else(|| invalid("an address has no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = to
            .port_u16()
            .ok_or_else(|| invalid("an address has no port"))?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        let Some(config) = self.credentials.client() else {
            return Ok(Connection::Plain(stream));
        };
        let name = self.expected.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name).map_err(|error| invalid(&error.to_string()))?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let stream = Box::new(TlsStream::from(stream));
        Ok(Connection::Encrypted(stream))
    }
}

/// Lets connections in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Acceptor {
    credentials: Credentials,
    names: Arc<[String]>,
}

impl Acceptor {
    /// Greets who has connected, and waits for its first word. The caller gives it a deadline.
    ///
    /// # Errors
    /// When the other side shows no certificate that is good for one of the roles.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let Some(config) = self.credentials.server() else {
            // Who says nothing holds no place among those that are served.
            if stream.peek(&mut [0]).await? == 0 {
                return Err(refused("it ended before it said anything"));
            }
            return Ok(Connection::Plain(stream));
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_stream, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let shown = shown.ok_or_else(|| refused("no certificate was shown"))?;
        let certificate =
            ParsedCertificate::try_from(shown).map_err(|error| refused(&error.to_string()))?;
        let is_named = |name: &String| {
            ServerName::try_from(name.as_str())
                .is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
        };
        if !self.names.iter().any(is_named) {
            return Err(refused(
                "the certificate is not for a role that may connect",
            ));
        }
        Ok(Connection::Encrypted(Box::new(TlsStream::from(stream))))
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, problem)
}

fn refused(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, problem)
}

/// A connection between two processes.
#[derive(Debug)]
pub enum Connection {
    /// In plain text.
    Plain(TcpStream),
    /// Encrypted, and both sides are known.
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
