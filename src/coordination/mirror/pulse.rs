//! When to ask a watch for progress, and when to think it dead. Pure.
//!
//! Any message is a sign of life, but only an answer proves freshness, and it proves it for the
//! moment of the oldest request that is open: answers carry no number, so a later request cannot be
//! told from an earlier one, and the doubt goes against us.

use std::time::Duration;

use super::{PROOF_INTERVAL, PROOF_TIMEOUT};
use crate::clock::Moment;
use crate::ids::Revision;

/// Between requests while somebody waits for a revision that this member may not have yet.
const HURRIED: Duration = Duration::from_millis(50);

/// How long one wish is hurried after: a wish for a revision that never comes must not last.
const HURRY_MAX: Duration = Duration::from_secs(10);

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing for so long.
    Wait(Duration),
    /// Ask for progress now.
    Ask,
    /// Nothing was heard for too long after a request.
    Dead,
}

impl Beat {
    pub(super) fn wait(self) -> Duration {
        match self {
            Self::Wait(wait) => wait,
            Self::Ask | Self::Dead => Duration::ZERO,
        }
    }
}

/// The heartbeat of one watch.
#[derive(Debug)]
pub(super) struct Pulse {
    next_ask: Moment,
    /// The oldest request since which nothing was heard.
    silent_since: Option<Moment>,
    /// The oldest request that has no answer.
    unanswered_since: Option<Moment>,
    wish: Option<Wish>,
}

#[derive(Debug, Clone, Copy)]
struct Wish {
    revision: Revision,
    until: Moment,
}

impl Pulse {
    /// Of a watch that begins now. It asks at once: a new stream has proved nothing yet.
    pub(super) fn new(now: Moment) -> Self {
        Self {
            next_ask: now,
            silent_since: None,
            unanswered_since: None,
            wish: None,
        }
    }

    /// What is to be done next.
    pub(super) fn next(&self, now: Moment) -> Beat {
        let dead_at = self.silent_since.map(|since| since + PROOF_TIMEOUT);
        if dead_at.is_some_and(|at| now >= at) {
            return Beat::Dead;
        }
        if now >= self.next_ask {
            return Beat::Ask;
        }
        let next = dead_at.map_or(self.next_ask, |at| at.min(self.next_ask));
        Beat::Wait(next.since(now))
    }

    /// A request goes out.
    pub(super) fn asked(&mut self, now: Moment) {
        self.silent_since.get_or_insert(now);
        self.unanswered_since.get_or_insert(now);
        self.wish = self.wish.filter(|wish| now < wish.until);
        self.next_ask = now + self.wish.map_or(PROOF_INTERVAL, |_wish| HURRIED);
    }

    /// Something came that is not an answer.
    pub(super) fn heard(&mut self) {
        self.silent_since = None;
    }

    /// An answer came; it proves the view fresh as of the returned moment.
    pub(super) fn answered(&mut self) -> Option<Moment> {
        self.silent_since = None;
        self.unanswered_since.take()
    }

    /// Somebody waits for a revision.
    pub(super) fn hurry(&mut self, revision: Revision, now: Moment) {
        self.wish = Some(Wish {
            revision,
            until: now + HURRY_MAX,
        });
        self.next_ask = now;
    }

    /// The view is at that revision.
    pub(super) fn reached(&mut self, revision: Revision) {
        self.wish = self.wish.filter(|wish| wish.revision > revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::from_boot(Duration::from_millis(ms))
    }

    fn waits(pulse: &Pulse, now: u64) -> u64 {
        match pulse.next(at(now)) {
            Beat::Wait(wait) => u64::try_from(wait.as_millis()).unwrap(),
            other @ (Beat::Ask | Beat::Dead) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_quiet_watch_is_asked_every_five_seconds() {
        let mut pulse = Pulse::new(at(0));
        assert_eq!(pulse.next(at(0)), Beat::Ask);
        pulse.asked(at(0));
        assert_eq!(waits(&pulse, 100), 1_900, "until it would be dead");
        assert_eq!(pulse.answered(), Some(at(0)));
        assert_eq!(waits(&pulse, 100), 4_900, "until the next request");
        assert_eq!(pulse.next(at(5_000)), Beat::Ask);
    }

    #[test]
    fn silence_after_a_request_is_death_and_any_message_is_life() {
        let mut pulse = Pulse::new(at(0));
        pulse.asked(at(0));
        assert_eq!(pulse.next(at(2_000)), Beat::Dead);
        pulse.heard();
        assert_eq!(waits(&pulse, 2_000), 3_000);
        pulse.asked(at(5_000));
        assert_eq!(pulse.next(at(7_000)), Beat::Dead);
    }

    #[test]
    fn an_answer_proves_no_more_than_the_oldest_open_request() {
        let mut pulse = Pulse::new(at(0));
        pulse.asked(at(0));
        pulse.hurry(Revision(9), at(40));
        pulse.asked(at(40));
        pulse.heard();
        assert_eq!(pulse.answered(), Some(at(0)));
        assert_eq!(
            pulse.answered(),
            None,
            "the second answer proves nothing more"
        );
    }

    #[test]
    fn a_wish_hurries_until_it_is_reached_or_too_old() {
        let mut pulse = Pulse::new(at(0));
        pulse.asked(at(0));
        pulse.answered();
        pulse.hurry(Revision(9), at(1_000));
        assert_eq!(pulse.next(at(1_000)), Beat::Ask);
        pulse.asked(at(1_000));
        pulse.answered();
        pulse.reached(Revision(8));
        assert_eq!(waits(&pulse, 1_000), 50);
        pulse.reached(Revision(9));
        pulse.asked(at(1_050));
        pulse.answered();
        assert_eq!(waits(&pulse, 1_050), 5_000);

        pulse.hurry(Revision(1_000), at(2_000));
        pulse.asked(at(12_000));
        pulse.answered();
        assert_eq!(waits(&pulse, 12_000), 5_000, "given up");
    }
}
