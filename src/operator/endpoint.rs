//! Where the operator's probes and metrics are answered, and to whom.
//!
//! On loopback everything is open and in plain text, as with the other roles. Elsewhere nothing is in
//! plain text: without a certificate of somebody's the operator makes one for itself that lives as
//! long as the process, which is what the kubelet needs, since it asks by HTTPS and trusts any. Who
//! has no key may probe and see no metrics; without a key file that is everybody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tokio::net::TcpListener;

use super::{Error, Instruments};
use crate::entropy::Entropy;
use crate::fault::chain;
use crate::probes;
use crate::security::{ApiKeys, Gate, tls};
use crate::settings::TlsFiles;
use crate::tasks::Tasks;

/// How often the files of a certificate are looked at: a mounted Secret changes without a word.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// What guards the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The file or folder of the keys that may see metrics.
    pub api_key_file: Option<PathBuf>,
    /// Certificate and key, if somebody gives them.
    pub tls: Option<TlsFiles>,
}

impl Endpoint {
    /// Starts to answer; the address is where.
    ///
    /// # Errors
    /// Keys or a certificate that cannot be read, or a listener without an address.
    pub fn serve(
        &self,
        listener: TcpListener,
        instruments: &Instruments,
        entropy: &Arc<Entropy>,
        tasks: &Tasks,
    ) -> Result<SocketAddr, Error> {
        let address = listener.local_addr().map_err(Error::Listen)?;
        let is_open = address.ip().to_canonical().is_loopback();
        let keys = match &self.api_key_file {
            Some(file) => Some(ApiKeys::load(file)?),
            None if is_open => None,
            None => Some(nobodys(entropy)?),
        };
        let tls = match &self.tls {
            Some(files) => tls::Handle::from_files(&files.certificate, &files.key)?,
            None if is_open => tls::Handle::plain(),
            None => own()?,
        };
        let router = instruments.probes().router(Gate::new(keys));
        if self.tls.is_some() {
            tasks.spawn("refresh-certificates", refresh(tls.clone(), tasks.clone()));
        }
        probes::serve(listener, router, (tls, instruments.refusals()), tasks).map_err(Error::Listen)
    }
}

/// A key that nobody knows: what needs one is closed.
fn nobodys(entropy: &Entropy) -> Result<ApiKeys, Error> {
    let (one, two) = (entropy.uuid(), entropy.uuid());
    Ok(ApiKeys::parse(&format!("admin: {one}{two}"))?)
}

/// A certificate of its own.
fn own() -> Result<tls::Handle, Error> {
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let certificate = params.self_signed(&key)?.pem();
    Ok(tls::Handle::from_pem(&certificate, &key.serialize_pem())?)
}

/// Takes a certificate that is laid in place of the old one.
async fn refresh(tls: tls::Handle, tasks: Tasks) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REFRESH_INTERVAL) => {},
            () = tasks.stopping() => return,
        }
        match tls.refresh() {
            Ok(true) => tracing::info!("the listener has another certificate"),
            Ok(false) => {},
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "the certificate of the listener stays as it was");
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_its_own_is_one_and_nobody_knows_the_key() {
        let tls = own().unwrap();
        assert!(!tls.is_plain() && tls.acceptor().is_some());
        assert!(!tls.refresh().unwrap());
        let keys = nobodys(&Entropy::from_seed(1)).unwrap();
        assert_eq!(keys.role(b""), None);
    }
}
