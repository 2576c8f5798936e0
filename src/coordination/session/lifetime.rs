//! How long a lease lives for certain. Pure.

use std::time::Duration;

use crate::clock::Moment;

/// The clocks of two machines may run apart by an eighth, and a task may wake so late.
const MARGIN: Duration = Duration::from_millis(100);

/// What the sent renewals prove.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    ttl: Duration,
    proven: Moment,
}

impl Lifetime {
    /// Of a lease that was asked for at this moment.
    pub(super) fn new(sent: Moment, ttl: Duration) -> Self {
        Self { ttl, proven: sent }
    }

    /// A renewal that was sent at this moment succeeded.
    pub(super) fn renewed(&mut self, sent: Moment) {
        self.proven = self.proven.max(sent);
    }

    /// How long from now the lease lives for certain.
    pub(super) fn certain_for(&self, now: Moment) -> Duration {
        let certain = (self.ttl - self.ttl / 8).saturating_sub(MARGIN);
        (self.proven + certain).since(now)
    }

    /// How long from now the next renewal is due: a third of the lease's life after the last.
    pub(super) fn next_renewal(&self, now: Moment) -> Duration {
        (self.proven + self.ttl / 3).since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certainty_counts_from_the_sending_and_ends_before_the_lease() {
        let ttl = Duration::from_secs(8);
        let at = |ms| Moment::from_boot(Duration::from_millis(ms));
        let mut lifetime = Lifetime::new(at(1_000), ttl);
        assert_eq!(
            lifetime.certain_for(at(1_000)),
            Duration::from_millis(6_900)
        );
        assert_eq!(lifetime.certain_for(at(7_900)), Duration::ZERO);
        assert_eq!(lifetime.next_renewal(at(1_000)), ttl / 3);
        lifetime.renewed(at(3_000));
        // An answer that was overtaken does not take certainty back.
        lifetime.renewed(at(2_000));
        assert_eq!(
            lifetime.certain_for(at(7_900)),
            Duration::from_millis(2_000)
        );
    }
}
