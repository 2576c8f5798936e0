//! Handshakes that fail: each is counted, and those that a certificate is to blame for are said, at most
//! once in [`QUIET`] with how many there were: whoever connects again and again fills no log.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::rustls;

use crate::clock::{Clock, Moment};
use crate::telemetry::{Count, Counter, Metrics};

/// How long nothing is said after something was.
const QUIET: Duration = Duration::from_secs(10);

/// Counts and says. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Refusals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    certificate: Counter,
    other: Counter,
    clock: Arc<dyn Clock>,
    said: Mutex<Said>,
}

/// What was said, and how many came since.
#[derive(Debug, Default)]
struct Said {
    at: Option<Moment>,
    unsaid: u64,
}

impl Refusals {
    /// None yet.
    pub fn new(metrics: &Metrics, clock: Arc<dyn Clock>) -> Self {
        let count = |why| metrics.count(Count::ProcessHandshakesFailed { why });
        Self(Arc::new(Inner {
            certificate: count("certificate"),
            other: count("other"),
            clock,
            said: Mutex::default(),
        }))
    }

    /// One more.
    pub(super) fn add(&self, peer: SocketAddr, error: &io::Error) {
        if !is_about_a_certificate(error) {
            // Also who only looks whether the port is open.
            self.0.other.inc();
            tracing::debug!(%peer, %error, "TLS handshake failed");
            return;
        }
        self.0.certificate.inc();
        let now = self.0.clock.now();
        let due = {
            let mut said = self.0.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.due(now)
        };
        if let Some(refused) = due {
            tracing::warn!(%peer, %error, refused, "connections are refused for their certificate");
        }
    }
}

impl Said {
    /// How many are to be said now, this one included.
    fn due(&mut self, now: Moment) -> Option<u64> {
        self.unsaid = self.unsaid.saturating_add(1);
        if self.at.is_some_and(|at| now.since(at) < QUIET) {
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Whether who connects showed no certificate where one is demanded, or one that is not good.
fn is_about_a_certificate(error: &io::Error) -> bool {
    let source = error.get_ref();
    let source = source.and_then(|source| source.downcast_ref::<rustls::Error>());
    matches!(
        source,
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_said_together() {
        let mut said = Said::default();
        let at = |seconds| Moment::from_boot(Duration::from_secs(seconds));
        assert_eq!(said.due(at(1)), Some(1));
        for _ in 0..500 {
            assert_eq!(said.due(at(5)), None);
        }
        assert_eq!(said.due(at(11)), Some(501));
        assert_eq!(said.due(at(12)), None);
    }
}
