//! The authority of a cluster's certificates, and its change without a call that fails. Pure but for keys.
//!
//! An authority ends, or is given up; then every process has to show certificates of another, and a process
//! takes a changed Secret when its kubelet brings it, not when the operator writes it. So the change has two
//! steps, and each lasts long enough for all of them: first both authorities are trusted and the old one
//! issues, then both are trusted and the new one issues; after that the old one is forgotten. etcd reads
//! whom it trusts only when it starts: its members are replaced after each change of that, one by one, as
//! in an update, and no step ends before.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xxhash_rust::xxh3::xxh3_64;

use super::certificates::Pair;

/// An authority is changed that long before it ends: a tenth of its life.
pub(super) const CHANGED_BEFORE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What a cluster's Secret holds of its authorities.
#[derive(Clone)]
pub(super) struct Authorities {
    /// That issues.
    pub(super) current: Pair,
    /// That will issue, and is trusted already.
    pub(super) next: Option<Pair>,
    /// The certificate of the one that issued before, trusted still.
    pub(super) previous: Option<String>,
    /// When the step that is under way began.
    pub(super) since: Option<OffsetDateTime>,
    /// When those who are trusted changed last; absent for the first.
    pub(super) trusted_since: Option<OffsetDateTime>,
    /// The demand to change it that was met last.
    pub(super) demand: Option<String>,
}

/// A short text that tells others from this one.
pub(super) fn mark(of: &str) -> String {
    let mut mark = format!("{:016x}", xxh3_64(of.as_bytes()));
    mark.truncate(10);
    mark
}

/// When an authority is changed, and when a step of that may end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) now: OffsetDateTime,
    /// How long each step lasts at least.
    pub(super) overlap: Duration,
    /// A demand to change it, once for each text.
    pub(super) demand: Option<&'a str>,
    /// When the current one ends.
    pub(super) ends: Option<OffsetDateTime>,
    /// When the oldest member of etcd started; absent when none is run for the cluster.
    pub(super) etcd_started: Option<OffsetDateTime>,
}

impl Authorities {
    /// One that was just made.
    pub(super) fn first(made: Pair) -> Self {
        Self {
            current: made,
            next: None,
            previous: None,
            since: None,
            trusted_since: None,
            demand: None,
        }
    }

    /// The certificates of all who are trusted.
    pub(super) fn trusted(&self) -> String {
        let next = self.next.as_ref().map(|pair| pair.certificate.as_str());
        let all = [
            Some(self.current.certificate.as_str()),
            next,
            self.previous.as_deref(),
        ];
        let lines = all.into_iter().flatten().map(|one| one.trim_end());
        let mut joined = lines.collect::<Vec<_>>().join("\n");
        joined.push('\n');
        joined
    }

    /// What tells these from others: who issues, and who is trusted.
    pub(super) fn mark(&self) -> String {
        mark(&self.trusted())
    }

    /// What is under way, for people; none when nothing is.
    pub(super) fn under_way(&self) -> Option<String> {
        let since = self.since.and_then(|since| since.format(&Rfc3339).ok());
        let since = since?;
        let what = if self.next.is_some() {
            "another authority is trusted beside the old one, which still issues"
        } else {
            "the new authority issues, and the old one is still trusted"
        };
        Some(format!("{what}, since {since}"))
    }

    /// These after the next step, if one is due; `make` gives a new authority.
    pub(super) fn stepped<E>(
        &self,
        rules: Rules<'_>,
        make: impl FnOnce() -> Result<Pair, E>,
    ) -> Result<Option<Self>, E> {
        let Some(since) = self.since else {
            let ending = rules
                .ends
                .is_some_and(|ends| ends - CHANGED_BEFORE <= rules.now);
            let demanded = rules.demand.is_some() && rules.demand != self.demand.as_deref();
            if !ending && !demanded {
                return Ok(None);
            }
            let begun = Self {
                next: Some(make()?),
                since: Some(rules.now),
                trusted_since: Some(rules.now),
                demand: rules
                    .demand
                    .map(ToOwned::to_owned)
                    .or_else(|| self.demand.clone()),
                ..self.clone()
            };
            return Ok(Some(begun));
        };
        let etcd_knows = match (rules.etcd_started, self.trusted_since) {
            (Some(started), Some(changed)) => started > changed,
            (None, _) | (_, None) => true,
        };
        if rules.now < since + rules.overlap || !etcd_knows {
            return Ok(None);
        }
        Ok(Some(match self.next.clone() {
            Some(next) => Self {
                previous: Some(self.current.certificate.clone()),
                current: next,
                next: None,
                since: Some(rules.now),
                ..self.clone()
            },
            None => Self {
                previous: None,
                since: None,
                trusted_since: Some(rules.now),
                ..self.clone()
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn pair(name: &str) -> Pair {
        Pair {
            certificate: format!("{name}\n"),
            key: format!("key of {name}"),
        }
    }

    fn rules(now: i64, demand: Option<&'static str>) -> Rules<'static> {
        let at = |second: i64| OffsetDateTime::from_unix_timestamp(second).unwrap();
        Rules {
            now: at(now),
            overlap: Duration::from_secs(100),
            demand,
            ends: Some(at(1_000_000_000)),
            etcd_started: Some(at(now)),
        }
    }

    fn step(of: &Authorities, rules: Rules<'_>) -> Option<Authorities> {
        of.stepped(rules, || Ok::<_, Infallible>(pair("new")))
            .unwrap()
    }

    #[test]
    fn both_are_trusted_before_the_new_one_issues_and_until_the_old_one_is_nobodys() {
        let steady = Authorities::first(pair("old"));
        assert!(step(&steady, rules(0, None)).is_none());
        let trusting = step(&steady, rules(0, Some("a"))).unwrap();
        assert_eq!(trusting.trusted(), "old\nnew\n");
        assert_eq!(trusting.current.certificate, "old\n");
        // Not before everybody had the time to hear of it, and not before etcd has.
        assert!(step(&trusting, rules(99, Some("a"))).is_none());
        let etcd_is_old = Rules {
            etcd_started: Some(OffsetDateTime::UNIX_EPOCH),
            ..rules(100, Some("a"))
        };
        assert!(step(&trusting, etcd_is_old).is_none());
        let issuing = step(&trusting, rules(100, Some("a"))).unwrap();
        assert_eq!(issuing.trusted(), "new\nold\n");
        assert_eq!(issuing.current.certificate, "new\n");
        assert!(step(&issuing, rules(199, Some("a"))).is_none());
        let over = step(&issuing, rules(200, Some("a"))).unwrap();
        assert_eq!(over.trusted(), "new\n");
        // Once for each demand.
        assert!(step(&over, rules(300, Some("a"))).is_none());
        assert!(step(&over, rules(300, Some("b"))).is_some());
    }

    #[test]
    fn one_that_ends_within_a_year_is_changed_undemanded() {
        let steady = Authorities::first(pair("old"));
        let year = i64::try_from(CHANGED_BEFORE.as_secs()).unwrap();
        assert!(step(&steady, rules(1_000_000_000 - year - 1, None)).is_none());
        assert!(step(&steady, rules(1_000_000_000 - year, None)).is_some());
    }
}
