//! What a collection measures: counts of vectors, bytes and shards, and how far its index is. Pure.
//!
//! Counts are rounded, so that a status does not change with every write. When a shard does not say what
//! it holds, the sums are not known: half a sum would be a wrong number. A shard that nobody has asked
//! since its worker started is served, and does not say what it holds.

use crate::crd::v1alpha1::ShardStatus;
use crate::operator::objects::said::{Said, Truth};
use crate::rpc::proto;

/// Digits that a count keeps.
const DIGITS: u32 = 3;

/// What a collection measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measures {
    pub(super) shards: ShardStatus,
    /// Absent when a shard does not say.
    pub(super) counts: Option<Counts>,
}

/// Sums over all shards, rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) vectors: i64,
    pub(super) bytes: i64,
    pub(super) indexed: i64,
}

fn reports(there: &proto::CollectionState) -> impl Iterator<Item = &proto::ShardReport> {
    there
        .shards
        .iter()
        .filter_map(|shard| shard.report.as_ref())
}

fn is_served(report: &proto::ShardReport) -> bool {
    says_all(report) || report.state == "opening"
}

fn says_all(report: &proto::ShardReport) -> bool {
    matches!(&*report.state, "serving" | "closed")
}

/// Measures a collection by what its shards report.
pub(super) fn of(there: &proto::CollectionState) -> Measures {
    let total = there.shards.len();
    let served = reports(there).filter(|report| is_served(report)).count();
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let sum = |of: fn(&proto::ShardReport) -> u64| {
        rounded(reports(there).map(of).fold(0, u64::saturating_add))
    };
    let shards = ShardStatus {
        total: number(total),
        fully_replicated: number(served),
        under_replicated: 0,
        unavailable: number(total.saturating_sub(served)),
        moving: 0,
        summary: format!("{served}/{total}"),
    };
    let known = reports(there).filter(|report| says_all(report)).count();
    let counts = (known == total).then(|| Counts {
        vectors: sum(|report| report.points),
        bytes: sum(|report| report.bytes),
        indexed: sum(|report| report.indexed),
    });
    Measures { shards, counts }
}

/// A count with its first digits only.
fn rounded(count: u64) -> i64 {
    let digits = count
        .checked_ilog10()
        .map_or(0, |log| log.saturating_add(1));
    let unit = 10u64.saturating_pow(digits.saturating_sub(DIGITS));
    let rounded = count.saturating_add(unit / 2) / unit * unit;
    i64::try_from(rounded).unwrap_or(i64::MAX)
}

/// How far the index is. The counts stand beside it, so the sentence does not change with them.
pub(super) fn indexed(flat: bool, there: &proto::CollectionState) -> Said {
    if flat {
        let message = "no index is asked for: every vector is compared";
        return Said::new(Truth::True, "Flat", message);
    }
    if reports(there).filter(|report| says_all(report)).count() < there.shards.len() {
        let message = "not every shard says how far its index is; one does when it was asked";
        return Said::new(Truth::Unknown, "NotReported", message);
    }
    let state = |wanted: &str| reports(there).find(|report| report.index_state == wanted);
    if let Some(failed) = state("failed") {
        let message = format!("shard {}: {}", failed.shard, failed.note);
        return Said::new(Truth::False, "BuildFailed", message);
    }
    if state("building").or_else(|| state("due")).is_some() {
        let message = "an index is being built; what it does not cover is compared one by one";
        return Said::new(Truth::False, "Building", message);
    }
    if reports(there).all(|report| report.index_kind == "flat") {
        let message = "so few vectors are compared one by one";
        return Said::new(Truth::True, "NotNeeded", message);
    }
    let message = "vectors that came after the last build are compared one by one";
    Said::new(Truth::True, "Indexed", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(state: &str, index: (&str, &str)) -> proto::ShardState {
        let report = proto::ShardReport {
            shard: 5,
            state: state.to_owned(),
            points: 700,
            bytes: 4_096,
            indexed: 650,
            index_kind: index.0.to_owned(),
            index_state: index.1.to_owned(),
            note: "no room".to_owned(),
            ..proto::ShardReport::default()
        };
        proto::ShardState {
            report: Some(report),
            ..proto::ShardState::default()
        }
    }

    fn collection(shards: Vec<proto::ShardState>) -> proto::CollectionState {
        proto::CollectionState {
            shards,
            ..proto::CollectionState::default()
        }
    }

    #[test]
    fn counts_are_sums_that_are_rounded_and_absent_when_a_shard_is_silent() {
        let both = collection(vec![
            shard("serving", ("arroy", "idle")),
            shard("closed", ("arroy", "idle")),
        ]);
        let counts = Counts {
            vectors: 1_400,
            bytes: 8_190,
            indexed: 1_300,
        };
        let measured = of(&both);
        assert_eq!(
            (measured.counts, &*measured.shards.summary),
            (Some(counts), "2/2")
        );
        let silent = collection(vec![
            shard("serving", ("arroy", "idle")),
            shard("silent", ("", "")),
            proto::ShardState::default(),
        ]);
        let measured = of(&silent);
        assert_eq!((measured.counts, &*measured.shards.summary), (None, "1/3"));
        assert_eq!(measured.shards.unavailable, 2);
        let new = of(&collection(vec![shard("opening", ("", ""))]));
        assert_eq!((new.counts, &*new.shards.summary), (None, "1/1"));
    }

    #[test]
    fn a_rounded_count_keeps_three_digits() {
        for (count, expected) in [
            (0, 0),
            (7, 7),
            (999, 999),
            (1_234, 1_230),
            (1_235, 1_240),
            (9_996, 10_000),
            (123_456_789, 123_000_000),
            (u64::MAX, i64::MAX),
        ] {
            assert_eq!(rounded(count), expected, "{count}");
        }
    }

    #[test]
    fn an_index_says_how_far_it_is() {
        let idle = || shard("serving", ("arroy", "idle"));
        for (other, truth, reason) in [
            (shard("serving", ("arroy", "idle")), Truth::True, "Indexed"),
            (shard("serving", ("flat", "idle")), Truth::True, "Indexed"),
            (shard("serving", ("flat", "due")), Truth::False, "Building"),
            (
                shard("serving", ("arroy", "building")),
                Truth::False,
                "Building",
            ),
            (
                shard("serving", ("flat", "failed")),
                Truth::False,
                "BuildFailed",
            ),
            (shard("away", ("", "")), Truth::Unknown, "NotReported"),
            (shard("opening", ("", "")), Truth::Unknown, "NotReported"),
        ] {
            let said = indexed(false, &collection(vec![idle(), other]));
            assert_eq!((said.truth, said.reason), (truth, reason));
        }
        let few = collection(vec![shard("serving", ("flat", "idle"))]);
        assert_eq!(indexed(false, &few).reason, "NotNeeded");
        assert_eq!(indexed(true, &few).reason, "Flat");
        let failed = indexed(
            false,
            &collection(vec![shard("serving", ("flat", "failed"))]),
        );
        assert_eq!(failed.message, "shard 5: no room");
    }
}
