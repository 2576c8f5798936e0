//! Who may do what, and how a listener is guarded.
//!
//! Everything fails closed: a route names its action and its resource or it does not exist, and a
//! listener that others can reach does not open without keys and TLS. Without keys only this
//! machine can reach a process, and may do everything.

pub mod authorization;
pub mod credentials;
pub mod gate;
pub mod keys;
pub mod login;
pub mod peers;
pub mod tls;

use std::net::SocketAddr;

pub use authorization::{Action, Resource, Role};
pub use credentials::Credentials;
pub use gate::{Gate, Refusal};
pub use keys::ApiKeys;
pub use login::Login;
pub use peers::{Peer, Peers};

use crate::fault::{Fault, Kind};

/// Why a process may not serve as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others can reach the address and nothing would ask them who they are.
    #[error("{0} can be reached by other machines: an API key file is needed")]
    NoKeys(SocketAddr),
    /// Others can reach the address and would send their keys in plain text.
    #[error("{0} can be reached by other machines: a certificate is needed")]
    NoTls(SocketAddr),
    /// A file cannot be read; the source names it.
    #[error("read a file of keys or certificates")]
    Read(#[source] std::io::Error),
    /// The key file is not as it should be. Never shows a key.
    #[error("API key file, line {line}: {problem}")]
    Keys {
        /// The line, from 1; 0 when it is about the whole file.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A user or a password is not as it should be. Never shows them.
    #[error("the file {file} of a user and a password {problem}")]
    Account {
        /// The file.
        file: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A certificate or its key is not as it should be.
    #[error("certificate or its key in {file}")]
    Certificate {
        /// The file.
        file: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        Kind::InvalidInput
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoKeys(_) => "security.no_keys",
            Self::NoTls(_) => "security.no_tls",
            Self::Read(_) => "security.read",
            Self::Keys { .. } => "security.keys",
            Self::Account { .. } => "security.account",
            Self::Certificate { .. } => "security.certificate",
        }
    }
}

/// Whether a process may listen there, with or without keys and TLS.
///
/// # Errors
/// [`Error::NoKeys`], [`Error::NoTls`].
pub fn check_listen(
    address: SocketAddr,
    keys: Option<&ApiKeys>,
    tls: &tls::Handle,
) -> Result<(), Error> {
    if address.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    if keys.is_none() {
        return Err(Error::NoKeys(address));
    }
    if tls.is_plain() {
        return Err(Error::NoTls(address));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_opens_without_keys_and_certificates() {
        let keys = ApiKeys::parse("admin: a-long-key").unwrap();
        let plain = tls::Handle::plain();
        for here in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(
                check_listen(here.parse().unwrap(), None, &plain).is_ok(),
                "{here}"
            );
        }
        for there in ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[fe80::1]:1"] {
            let address = there.parse().unwrap();
            let refused = check_listen(address, None, &plain);
            assert!(matches!(refused, Err(Error::NoKeys(_))), "{there}");
            let refused = check_listen(address, Some(&keys), &plain);
            assert!(matches!(refused, Err(Error::NoTls(_))), "{there}");
        }
    }
}
