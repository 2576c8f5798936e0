//! Who may lead, decided from what the Lease says and from when that was seen. Pure.
//!
//! No two clocks are compared. A candidate counts from the moment at which it saw the Lease change
//! last; the holder counts from the moment at which it sent the last renewal that succeeded, which is
//! earlier. The holder gives up [`BELIEF`] after that and is still for good [`DRAIN`] later, and a
//! candidate takes over after [`LEASE`] at the earliest, which is longer than both together.

use std::time::Duration;

use crate::clock::Moment;

/// How long a candidate must have seen no change before it takes a Lease that another holds.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// How long a holder leads after it sent a renewal: time for three renewals that fail.
const BELIEF: Duration = Duration::from_secs(10);
/// How long rounds that are under way may take after the Lease is lost.
const DRAIN: Duration = Duration::from_secs(4);
/// Between renewals that succeed.
const RENEW_INTERVAL: Duration = Duration::from_secs(2);
/// Between renewals that fail.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks of a candidate.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// The longest wait that a Lease can ask for: a number that somebody mistyped must not stop the
/// operator for good.
const LEASE_MAX: Duration = Duration::from_secs(60);

/// What a Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it; empty: nobody.
    pub(super) holder: String,
    /// For how long after a renewal.
    pub(super) duration: Duration,
    /// Changes with every write.
    pub(super) version: String,
}

/// What a candidate does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes itself into the Lease.
    Take,
    /// Looks again after this time.
    Wait(Duration),
}

/// A process that wants to lead.
#[derive(Debug)]
pub(super) struct Candidate {
    name: String,
    /// The version that was seen last, and when it was seen first.
    seen: Option<(String, Moment)>,
}

impl Candidate {
    /// One that has seen nothing yet.
    pub(super) const fn new(name: String) -> Self {
        Self { name, seen: None }
    }

    /// What follows from the Lease as it was answered at this moment; `None`: there is none.
    pub(super) fn step(&mut self, record: Option<&Record>, now: Moment) -> Step {
        let Some(record) = record else {
            return Step::Take;
        };
        // Its own name is that of the process that it was before: names are those of pods.
        if record.holder.is_empty() || record.holder == self.name {
            return Step::Take;
        }
        let since = match &self.seen {
            Some((version, since)) if *version == record.version => *since,
            Some(_) | None => {
                self.seen = Some((record.version.clone(), now));
                now
            },
        };
        let left = (since + record.duration.clamp(LEASE, LEASE_MAX)).since(now);
        if left.is_zero() {
            Step::Take
        } else {
            Step::Wait(left.min(LOOK_INTERVAL))
        }
    }
}

/// How long a holder may think that it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Belief {
    until: Moment,
}

impl Belief {
    /// After a write of the Lease that succeeded, by when it was sent.
    pub(super) fn sent(at: Moment) -> Self {
        Self { until: at + BELIEF }
    }

    /// How long it still leads; zero: it no longer does.
    pub(super) fn left(self, now: Moment) -> Duration {
        self.until.since(now)
    }

    /// The pause before the next renewal, by how the last one ended.
    pub(super) fn pause(self, renewed: bool, now: Moment) -> Duration {
        let pause = if renewed {
            RENEW_INTERVAL
        } else {
            RETRY_INTERVAL
        };
        pause.min(self.left(now))
    }

    /// How long what is under way may still take once the Lease is lost.
    pub(super) fn drain(self, now: Moment) -> Duration {
        (self.until + DRAIN).since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_boot(Duration::from_millis(milliseconds))
    }

    fn record(holder: &str, seconds: u64, version: u64) -> Record {
        Record {
            holder: holder.to_owned(),
            duration: Duration::from_secs(seconds),
            version: version.to_string(),
        }
    }

    #[test]
    fn a_lease_of_nobody_and_ones_own_are_taken_at_once() {
        let mut candidate = Candidate::new("a".to_owned());
        assert_eq!(candidate.step(None, at(0)), Step::Take);
        assert_eq!(candidate.step(Some(&record("", 1, 1)), at(0)), Step::Take);
        assert_eq!(candidate.step(Some(&record("a", 15, 1)), at(0)), Step::Take);
    }

    #[test]
    fn anothers_lease_is_taken_when_it_has_not_changed_for_its_time() {
        let mut candidate = Candidate::new("a".to_owned());
        let look = Step::Wait(LOOK_INTERVAL);
        assert_eq!(candidate.step(Some(&record("b", 15, 1)), at(500)), look);
        assert_eq!(candidate.step(Some(&record("b", 15, 2)), at(2_500)), look);
        let last = Step::Wait(Duration::from_millis(1));
        assert_eq!(candidate.step(Some(&record("b", 15, 2)), at(17_499)), last);
        assert_eq!(
            candidate.step(Some(&record("b", 15, 2)), at(17_500)),
            Step::Take
        );
        // One second is what nobody believes, and an hour is a slip.
        let mut candidate = Candidate::new("a".to_owned());
        for (seconds, wait) in [(1, 15_000), (3_600, 60_000)] {
            let mistyped = record("b", seconds, seconds);
            assert_eq!(candidate.step(Some(&mistyped), at(0)), look);
            let early = candidate.step(Some(&mistyped), at(wait - 1));
            assert_eq!(early, Step::Wait(Duration::from_millis(1)));
            assert_eq!(candidate.step(Some(&mistyped), at(wait)), Step::Take);
        }
    }

    #[test]
    fn a_holder_leads_from_the_sending_and_not_from_the_answer() {
        let belief = Belief::sent(at(1_000));
        assert_eq!(belief.left(at(10_999)), Duration::from_millis(1));
        assert_eq!(belief.left(at(11_000)), Duration::ZERO);
        assert_eq!(belief.pause(true, at(1_200)), RENEW_INTERVAL);
        assert_eq!(belief.pause(false, at(1_200)), RETRY_INTERVAL);
        assert_eq!(belief.pause(true, at(10_900)), Duration::from_millis(100));
        assert_eq!(belief.drain(at(11_000)), DRAIN);
        assert_eq!(belief.drain(at(99_000)), Duration::ZERO);
    }

    /// A holder whose renewals are late or lost at random, and a candidate that looks at random: when
    /// it takes over, the holder has been still.
    #[test]
    fn nobody_takes_over_before_the_holder_is_still() {
        let mut takeovers = 0_u32;
        for seed in 0..2_000 {
            let entropy = Entropy::from_seed(seed);
            let draw = |most: f64| at(0) + Duration::from_secs_f64(entropy.fraction() * most);
            let ms = |moment: Moment| moment.since(at(0));
            let mut candidate = Candidate::new("b".to_owned());
            // Each renewal is sent and takes effect later, or never.
            let mut writes = vec![(at(0), at(0))];
            let mut belief = Belief::sent(at(0));
            let mut now = at(0);
            loop {
                now = now + belief.pause(true, now) + ms(draw(3.0));
                if belief.left(now).is_zero() {
                    break;
                }
                if entropy.fraction() < 0.6 {
                    let effective = now + ms(draw(2.0)).min(belief.left(now));
                    writes.push((now, effective));
                    belief = Belief::sent(now);
                    now = effective;
                }
            }
            let still = belief.until + DRAIN;
            let mut look = ms(draw(2.0));
            loop {
                let version = writes.iter().filter(|(_, done)| ms(*done) <= look).count();
                let seen = record("a", 15, u64::try_from(version).unwrap());
                // The answer comes later than the look.
                let answered = look + ms(draw(0.5));
                match candidate.step(Some(&seen), at(0) + answered) {
                    Step::Take => break,
                    Step::Wait(pause) => look = answered + pause + ms(draw(1.0)),
                }
            }
            assert!(look > ms(still), "seed {seed}: {look:?} before {still:?}");
            takeovers += 1;
        }
        assert_eq!(takeovers, 2_000);
    }
}
