//! Asks a gateway whether it is ready, as a load balancer would.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
};

use crate::settings::TlsFiles;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Enough for the status line.
const ANSWER_BYTES_MAX: u64 = 64;
const QUESTION: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Asks gateways that have this certificate, or none.
pub(super) struct Probe(Option<TlsConnector>);

impl Probe {
    /// A probe for gateways that get these files.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub(super) fn new(tls: Option<&TlsFiles>) -> Result<Self, Failure> {
        let Some(tls) = tls else {
            return Ok(Self(None));
        };
        let provider = Arc::new(ring::default_provider());
        let certificate = CertificateDer::from_pem_slice(&fs::read(&tls.certificate)?)?;
        let verifier = Arc::new(ThisOne {
            certificate,
            provider: Arc::clone(&provider),
        });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self(Some(TlsConnector::from(Arc::new(config)))))
    }

    /// `http` or `https`.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.0.is_some() { "https" } else { "http" }
    }

    /// Whether the gateway at this address says that it is ready.
    pub(super) async fn is_ready(&self, address: &str) -> bool {
        let Ok(address) = address.parse() else {
            return false;
        };
        let asked = tokio::time::timeout(TIMEOUT, self.ask(address)).await;
        matches!(asked, Ok(Ok(true)))
    }

    async fn ask(&self, address: SocketAddr) -> io::Result<bool> {
        let stream = TcpStream::connect(address).await?;
        match &self.0 {
            None => says_ready(stream).await,
            Some(tls) => {
                let name = ServerName::IpAddress(address.ip().into());
                says_ready(tls.connect(name, stream).await?).await
            },
        }
    }
}

async fn says_ready(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<bool> {
    stream.write_all(QUESTION).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// Trusts one certificate, by its bytes: the one that the gateway was given. Who signed it, for which
/// name and until when, is its clients' business.
#[derive(Debug)]
struct ThisOne {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for ThisOne {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(TlsError::General("another certificate".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let known = &self.provider.signature_verification_algorithms;
        known.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn answers(answer: &'static str) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; QUESTION.len()];
            stream.read_exact(&mut question).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let probe = Probe::new(None).unwrap();
        let (ready, ()) = tokio::join!(probe.is_ready(&address), server);
        ready
    }

    #[tokio::test]
    async fn only_the_answer_200_is_ready() {
        assert!(answers("HTTP/1.1 200 OK\r\n\r\nyes").await);
        assert!(!answers("HTTP/1.1 503 Service Unavailable\r\n\r\nHTTP/1.1 200 ").await);
        assert!(!answers("").await);
        let nobody = Probe::new(None).unwrap();
        assert!(!nobody.is_ready("127.0.0.1:1").await);
        assert!(!nobody.is_ready("nonsense").await);
    }
}
