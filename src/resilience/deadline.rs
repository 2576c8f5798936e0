//! The moment by which an answer is of use.
//!
//! A deadline is a point on the boot clock and not a duration, so that it can be handed from call to
//! call without growing on the way.

use std::time::Duration;

use crate::clock::{Clock, Moment};

/// A moment after which nobody waits any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Moment);

impl Deadline {
    /// The deadline at that moment.
    pub const fn at(moment: Moment) -> Self {
        Self(moment)
    }

    /// The deadline that lies `limit` after now.
    pub fn after(clock: &dyn Clock, limit: Duration) -> Self {
        Self(clock.now() + limit)
    }

    /// What is left of it; zero once it has passed.
    pub fn remaining(self, now: Moment) -> Duration {
        self.0.since(now)
    }

    /// Whether it has passed.
    pub fn has_passed(self, now: Moment) -> bool {
        now >= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn what_remains_shrinks_to_nothing() {
        let clock = ManualClock::default();
        let deadline = Deadline::after(&clock, Duration::from_secs(2));
        clock.advance(Duration::from_millis(1_500));
        assert_eq!(deadline.remaining(clock.now()), Duration::from_millis(500));
        assert!(!deadline.has_passed(clock.now()));
        clock.advance(Duration::from_millis(500));
        assert!(deadline.has_passed(clock.now()));
        clock.advance(Duration::from_secs(9));
        assert_eq!(deadline.remaining(clock.now()), Duration::ZERO);
    }
}
