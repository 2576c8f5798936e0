//! How hard a search looks: how long its list is, where its walk ends, how many rows it reads.
//!
//! A list of a length ends every walk after as many nodes, though some queries have their neighbours close
//! together and others do not. So a walk ends where the average query's list of that length would end, but by
//! distance: once the next node is farther than the `k`-th nearest found by a share that was learnt when the
//! graph was built. (The rule is that of adaptive beam search, Al-Jazzazi and others, "Distance Adaptive Beam
//! Search for Provably Accurate Graph-Based Nearest Neighbor Search", 2025.) The list itself may become
//! [`LONGEST`] times as long for queries that need it. At equal recall on real embeddings that compares fewer
//! codes: `docs/performance.md` says how many.
//!
//! What a walk found is read in the order of its codes, until a row is farther than the `k`-th nearest by
//! [`ERRORS`] times the error that codes have on average; that was learnt too.

use serde::{Deserialize, Serialize};

use super::code::Width;
use super::numbers::{count, narrow, share, wide};
use super::pool::LIST_MAX;

/// The two numbers of neighbours that are measured.
pub(super) const FEW: usize = 10;
pub(super) const MANY: usize = 100;

/// The unit of the public API's effort: this much is the measured list.
const USUAL: f64 = 100.0;

/// Where walks end, to where the average list does: what that saves the others pays for the hard ones. At one
/// half a query costs a twentieth less at equal recall, but more walks end in the wrong place, and a row is then
/// not found by its own vector (measured).
const SOONER: f32 = 0.75;

/// How much longer the list of a hard query may be than that of the average one.
const LONGEST: usize = 2;

/// Errors of a code, as they are on average, by which a row may be nearer than its code says.
const ERRORS: f32 = 3.0;

/// What a build learns of its rows and codes; without growth: nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Learnt {
    /// By which share the squared distance grows when a list becomes `e` times as long.
    pub(super) growth: f32,
    /// How far the estimate of a squared distance is off, for a query of length one: the root of the mean square.
    pub(super) error: f32,
    /// The length of the longest row.
    pub(super) longest: f32,
    /// The length of a query on average, without the mean where rows are without it.
    pub(super) typical: f32,
}

/// How long a search's list is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Effort {
    /// For ten neighbours.
    pub(super) few: usize,
    /// For a hundred.
    pub(super) many: usize,
    /// What the build learnt of distances.
    pub(super) learnt: Learnt,
}

/// How hard to look, and for how many.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Hits that are wanted.
    pub(super) k: usize,
    /// The length of the average walk's list.
    pub(super) list: usize,
    /// The length of the longest one.
    pub(super) longest: usize,
    /// Rows that are compared exactly, about.
    pub(super) exact: usize,
    /// Rows that are compared exactly at most.
    pub(super) rows: usize,
    /// Allowed nodes without which a walk that ended before its list did not find enough.
    pub(super) least: usize,
    /// Where a walk ends before its list does.
    pub(super) ends: Option<Ends>,
    /// By how much a row may be nearer than its code says, for a query of length one.
    pub(super) slack: Option<f32>,
}

/// Where a walk ends: beyond the distance of the node at a place of its list, and some more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ends {
    /// The place, from 0.
    pub(super) place: usize,
    /// So much more of that squared distance.
    pub(super) growth: f32,
    /// So much more at least, for a query of length one.
    pub(super) least: f32,
    /// Nodes are kept for their rows up to so much more, for a query of length one.
    pub(super) kept: f32,
}

impl Plan {
    /// A list of this length, of `k` neighbours, by codes of this width.
    pub(super) fn new(width: Width, k: usize, list: usize, learnt: Learnt) -> Self {
        // For fewer than ten as hard as for ten: what is short for those is too short for one.
        let hard = k.max(FEW);
        let exact = width.exact(list, hard);
        let known = learnt.growth > 0.0;
        let longest = if known {
            list.saturating_mul(LONGEST).clamp(1, LIST_MAX)
        } else {
            list
        };
        let longer = narrow((share(wide(list.max(hard))) / share(wide(hard))).ln());
        let ends = known.then(|| Ends {
            place: hard.saturating_sub(1),
            growth: learnt.growth * SOONER * longer,
            least: learnt.error * longer,
            // What is known of no error is kept as far as the list goes.
            kept: if learnt.error > 0.0 {
                learnt.error * ERRORS
            } else {
                f32::INFINITY
            },
        });
        let slack = (learnt.error > 0.0).then_some(learnt.error * ERRORS);
        let rows = if slack.is_some() {
            list.max(exact)
        } else {
            exact
        };
        Self {
            k,
            list,
            longest,
            exact,
            rows,
            least: hard.min(rows),
            ends,
            slack,
        }
    }
}

impl Effort {
    /// The plan for `k` neighbours at the measured effort or another.
    pub(super) fn plan(&self, width: Width, k: usize, effort: Option<u32>) -> Plan {
        let (few, many) = (share(wide(self.few.max(1))), share(wide(self.many.max(1))));
        let power = (many / few).log10().max(0.0);
        let by_k = (share(wide(k.max(FEW))) / share(wide(FEW))).powf(power);
        let by_effort = effort.map_or(1.0, |effort| f64::from(effort) / USUAL);
        let list = count(few * by_k * by_effort).max(k).clamp(1, LIST_MAX);
        Plan::new(width, k, list, self.learnt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEARNT: Learnt = Learnt {
        growth: 0.12,
        error: 0.03,
        longest: 1.0,
        typical: 1.0,
    };

    #[test]
    fn where_nothing_could_be_learnt_a_list_has_its_length() {
        let effort = Effort {
            few: 48,
            many: 192,
            learnt: Learnt::default(),
        };
        let plan = effort.plan(Width::Two, 10, None);
        assert_eq!(
            (plan.list, plan.longest, plan.exact, plan.rows),
            (48, 48, 30, 30)
        );
        assert_eq!((plan.ends, plan.slack), (None, None));
    }

    #[test]
    fn a_longer_list_ends_farther_away_and_a_list_of_k_at_the_kth() {
        let ends = |list: usize| {
            let plan = Plan::new(Width::Two, 10, list, LEARNT);
            assert_eq!((plan.longest, plan.rows), (2 * list, list.max(plan.exact)));
            plan.ends.unwrap()
        };
        let (least, some, more) = (ends(10), ends(40), ends(160));
        assert!(least.place == 9 && least.growth < 1e-9 && least.least < 1e-9);
        assert!((some.growth - 0.12 * SOONER * 4f32.ln()).abs() < 1e-6);
        assert!(more.growth > some.growth && more.least > some.least);
        // A list shorter than ten is not shorter than nothing.
        assert!(ends(4).growth < 1e-9);
        let short = Plan::new(Width::Two, 1, 4, LEARNT);
        assert!(short.least <= short.rows, "else no walk finds enough");
        let few = Plan::new(Width::Two, 1, 40, LEARNT);
        assert_eq!(few.ends, Some(some), "for one as hard as for ten");
        let many = Plan::new(Width::Two, 100, 400, LEARNT).ends.unwrap();
        assert!(many.place == 99 && (many.growth - some.growth).abs() < 1e-6);
    }
}
