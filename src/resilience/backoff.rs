//! Exponential backoff with full jitter.
//!
//! The n-th delay is drawn evenly from nothing up to `base * 2^n`, at most `cap`. Drawing from the
//! whole range, and not from a band around its end, spreads callers that failed at the same moment
//! best: after an outage they come back as a trickle and not as waves.

use std::time::Duration;

/// The doublings after which the ceiling no longer grows, whatever the cap: 2^20 is above any cap in
/// use, and the bound keeps the arithmetic in range.
const DOUBLINGS_MAX: u32 = 20;

/// The delays between the tries of one kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// Delays up to `base` after the first failure, doubling with each one, never above `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The delay after failure number `failures` (from 0), for a random `fraction` in `0.0..=1.0`.
    pub fn delay(self, failures: u32, fraction: f64) -> Duration {
        let fraction = if (0.0..=1.0).contains(&fraction) {
            fraction
        } else {
            1.0
        };
        self.ceiling(failures).mul_f64(fraction)
    }

    /// The longest delay after failure number `failures` (from 0).
    pub fn ceiling(self, failures: u32) -> Duration {
        let factor = 1u32 << failures.min(DOUBLINGS_MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(400));

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceilings = [0, 1, 2, 3, 4, 5, 31, u32::MAX].map(|n| BACKOFF.ceiling(n).as_millis());
        assert_eq!(ceilings, [25, 50, 100, 200, 400, 400, 400, 400]);
    }

    #[test]
    fn the_whole_range_is_used_and_never_left() {
        assert_eq!(BACKOFF.delay(3, 0.0), Duration::ZERO);
        assert_eq!(BACKOFF.delay(3, 0.5), Duration::from_millis(100));
        assert_eq!(BACKOFF.delay(3, 1.0), Duration::from_millis(200));
        for odd in [-1.0, 1.5, f64::NAN, f64::INFINITY] {
            assert_eq!(BACKOFF.delay(3, odd), Duration::from_millis(200));
        }
    }
}
