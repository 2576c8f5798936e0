//! Pauses between tries: exponential, with full jitter, so that many callers that failed together do
//! not come back together.

use std::time::Duration;

use crate::entropy::Entropy;

/// The next pauses of one caller.
#[derive(Debug, Clone)]
pub struct Backoff {
    ceiling: Duration,
    most: Duration,
}

impl Default for Backoff {
    /// For calls inside a cluster: up to 25 ms at first, 400 ms at most.
    fn default() -> Self {
        Self::new(Duration::from_millis(25), Duration::from_millis(400))
    }
}

impl Backoff {
    /// Pauses of up to `first`, doubling to `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            ceiling: first.min(most),
            most,
        }
    }

    /// The next pause: anything up to the ceiling, which doubles. Never zero.
    pub fn next(&mut self, entropy: &Entropy) -> Duration {
        let pause = self
            .ceiling
            .mul_f64(entropy.fraction())
            .max(Duration::from_millis(1));
        self.ceiling = self.ceiling.saturating_mul(2).min(self.most);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_most_and_repeat_for_a_seed() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(2));
        let pauses = |seed| {
            let entropy = Entropy::from_seed(seed);
            let mut backoff = Backoff::new(first, most);
            (0..50).map(|_| backoff.next(&entropy)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7));
        assert_ne!(pauses(7), pauses(8));
        let mut ceiling = first;
        for pause in pauses(7) {
            assert!(
                pause <= ceiling && pause > Duration::ZERO,
                "{pause:?} of {ceiling:?}"
            );
            ceiling = (ceiling * 2).min(most);
        }
        assert!(pauses(7).iter().any(|pause| *pause > most / 2));
    }
}
