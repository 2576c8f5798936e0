//! What a session may believe of its lease. Pure: moments come in, a standing comes out.

use std::time::Duration;

use crate::clock::Moment;

/// Taken off the time to live beside an eighth of it: what it takes to stop acting.
const MARGIN: Duration = Duration::from_millis(100);

/// How sure the process may be of its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no lease, and no key of an earlier one: not yet, or not any more.
    Lost,
    /// The lease lives for certain, until a moment that lies ahead.
    Connected,
    /// The lease may have ended. Nothing may be done on it; nothing of it is lost yet.
    Suspect,
}

/// The lease as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How sure the process may be.
    pub state: State,
    /// The lease; 0 while there is none.
    pub lease: i64,
    /// Grows with each new lease; keys of an earlier generation are gone.
    pub generation: u64,
}

impl Standing {
    /// The lease, if it can be acted on.
    pub fn held(self) -> Option<i64> {
        (self.state == State::Connected).then_some(self.lease)
    }
}

/// The state of a session.
#[derive(Debug, Default)]
pub(super) struct Machine {
    lease: Option<Granted>,
    suspect: bool,
    closed: bool,
    generation: u64,
}

#[derive(Debug, Clone, Copy)]
struct Granted {
    id: i64,
    ttl: Duration,
    /// When the last renewal was sent, whatever became of it.
    sent: Moment,
    /// Until when the lease lives for certain.
    live_until: Moment,
}

impl Machine {
    pub(super) fn standing(&self) -> Standing {
        Standing {
            state: match self.lease {
                None => State::Lost,
                Some(_) if self.suspect => State::Suspect,
                Some(_) => State::Connected,
            },
            lease: self.lease.map_or(0, |lease| lease.id),
            generation: self.generation,
        }
    }

    /// Whether the lease lives for certain, whatever was noticed so far.
    pub(super) fn is_live(&self, now: Moment) -> bool {
        !self.suspect && self.live_until().is_some_and(|until| now < until)
    }

    pub(super) fn live_until(&self) -> Option<Moment> {
        self.lease.map(|lease| lease.live_until)
    }

    /// The lease, and when its next renewal is due.
    pub(super) fn next_renewal(&self) -> Option<(i64, Moment)> {
        self.lease
            .map(|lease| (lease.id, lease.sent + lease.ttl / 3))
    }

    /// etcd granted a lease, asked for at `sent`.
    pub(super) fn granted(&mut self, id: i64, ttl: Duration, sent: Moment, now: Moment) {
        if self.closed {
            // Its answer was under way. Nothing hangs on it, and it ends by itself.
            return;
        }
        self.generation = self.generation.saturating_add(1);
        self.lease = Some(Granted {
            id,
            ttl,
            sent,
            live_until: certain(sent, ttl),
        });
        self.suspect = false;
        self.tick(now);
    }

    /// A renewal goes out; says how long its answer may take, so that another can follow in time.
    pub(super) fn sent(&mut self, now: Moment) -> Duration {
        match &mut self.lease {
            Some(lease) => {
                lease.sent = now;
                lease.ttl / 3
            },
            None => Duration::ZERO,
        }
    }

    /// etcd acknowledged the renewal that was sent at `sent`.
    pub(super) fn acknowledged(&mut self, sent: Moment, now: Moment) {
        if let Some(lease) = &mut self.lease {
            lease.live_until = lease.live_until.max(certain(sent, lease.ttl));
            self.suspect = self.closed || now >= lease.live_until;
        }
    }

    /// There is no lease any more.
    pub(super) fn lost(&mut self) {
        self.lease = None;
        self.suspect = false;
    }

    /// Nobody renews the lease any more.
    pub(super) fn abandon(&mut self) {
        self.closed = true;
        self.suspect = true;
    }

    /// Whether the process itself has ended the session.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The lease is given up by the process itself, for good; says which one that was.
    pub(super) fn close(&mut self) -> Option<i64> {
        self.closed = true;
        let lease = self.lease.map(|lease| lease.id);
        self.lost();
        lease
    }

    /// Time passes. Only an acknowledgement makes a suspect session certain again.
    pub(super) fn tick(&mut self, now: Moment) {
        let passed = self.live_until().is_some_and(|until| now >= until);
        self.suspect |= passed;
    }
}

/// Until when a lease lives for certain that was granted or renewed at etcd after `sent`.
fn certain(sent: Moment, ttl: Duration) -> Moment {
    let slack = ttl / 8 + MARGIN;
    sent + ttl.saturating_sub(slack)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::{Clock, ManualClock};

    const TTL: Duration = Duration::from_secs(5);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_session_turns_suspect_before_its_lease_can_end() {
        let clock = ManualClock::default();
        let mut machine = Machine::default();
        assert_eq!(machine.standing().state, State::Lost);
        machine.granted(7, TTL, clock.now(), clock.now());
        clock.advance(ms(4_274));
        machine.tick(clock.now());
        assert_eq!(machine.standing().held(), Some(7));
        clock.advance(ms(1));
        assert!(!machine.is_live(clock.now()), "even before anybody noticed");
        machine.tick(clock.now());
        let suspect = machine.standing();
        assert_eq!((suspect.state, suspect.held()), (State::Suspect, None));
        assert_eq!((suspect.lease, suspect.generation), (7, 1));
    }

    #[test]
    fn the_deadline_counts_from_when_the_renewal_was_sent() {
        let clock = ManualClock::default();
        let mut machine = Machine::default();
        machine.granted(7, TTL, clock.now(), clock.now());
        clock.advance(ms(1_666));
        let sent = clock.now();
        machine.sent(sent);
        clock.advance(ms(2_000));
        machine.acknowledged(sent, clock.now());
        assert_eq!(machine.live_until(), Some(sent + ms(4_275)));
        let due = machine.next_renewal().map(|(_lease, due)| due);
        assert_eq!(due, Some(sent + TTL / 3));
    }

    #[test]
    fn a_suspect_session_comes_back_with_the_same_lease_or_a_new_generation() {
        let clock = ManualClock::default();
        let mut machine = Machine::default();
        machine.granted(7, TTL, clock.now(), clock.now());
        clock.advance(ms(9_000));
        machine.tick(clock.now());
        machine.acknowledged(clock.now(), clock.now());
        let back = machine.standing();
        assert_eq!((back.held(), back.generation), (Some(7), 1));

        machine.lost();
        let lost = machine.standing();
        assert_eq!((lost.state, lost.lease), (State::Lost, 0));
        machine.granted(8, TTL, clock.now(), clock.now());
        let new = machine.standing();
        assert_eq!((new.held(), new.generation), (Some(8), 2));
    }

    #[test]
    fn a_late_answer_does_not_revive_what_it_cannot_prove() {
        let clock = ManualClock::default();
        let mut machine = Machine::default();
        machine.granted(7, TTL, clock.now(), clock.now());
        let sent = clock.now();
        clock.advance(ms(6_000));
        machine.tick(clock.now());
        machine.acknowledged(sent, clock.now());
        assert_eq!(machine.standing().state, State::Suspect);

        let mut slow = Machine::default();
        slow.granted(9, TTL, sent, clock.now());
        assert_eq!(
            slow.standing().state,
            State::Suspect,
            "granted too long ago"
        );
    }

    #[test]
    fn what_arrives_after_the_end_revives_nothing() {
        let clock = ManualClock::default();
        let mut machine = Machine::default();
        machine.granted(7, TTL, clock.now(), clock.now());
        machine.abandon();
        machine.acknowledged(clock.now(), clock.now());
        assert_eq!(machine.standing().state, State::Suspect);
        assert!(!machine.is_live(clock.now()));
        assert_eq!(machine.close(), Some(7));
        machine.granted(8, TTL, clock.now(), clock.now());
        assert_eq!(machine.standing().state, State::Lost);
        assert_eq!(machine.close(), None);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Pass(u64),
        Send,
        /// The last renewal reached etcd and its answer came, after so long.
        Answer(u64),
        Tick,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0u64..3_000).prop_map(Step::Pass),
            Just(Step::Send),
            (0u64..3_000).prop_map(Step::Answer),
            Just(Step::Tick),
        ];
        prop::collection::vec(step, 0..40)
    }

    proptest! {
        /// Whatever the delays: while the session is live by its own clock, etcd (whose lease runs
        /// from when it received the renewal, and whose clock runs up to an eighth faster) has the
        /// lease.
        #[test]
        fn a_live_session_has_its_lease(steps in steps()) {
            let clock = ManualClock::default();
            let mut machine = Machine::default();
            machine.granted(1, TTL, clock.now(), clock.now());
            // The earliest that etcd could have counted from: when the message was sent.
            let mut at_etcd = clock.now();
            let mut sent = None;
            for step in steps {
                match step {
                    Step::Pass(by) => clock.advance(ms(by)),
                    Step::Send => {
                        machine.sent(clock.now());
                        sent = Some(clock.now());
                    },
                    Step::Answer(after) => {
                        let Some(sent) = sent.take() else { continue };
                        at_etcd = sent;
                        clock.advance(ms(after));
                        machine.acknowledged(sent, clock.now());
                    },
                    Step::Tick => machine.tick(clock.now()),
                }
                if machine.is_live(clock.now()) {
                    let at_most = clock.now().since(at_etcd).mul_f64(8.0 / 7.0);
                    prop_assert!(at_most < TTL);
                }
            }
        }
    }
}
