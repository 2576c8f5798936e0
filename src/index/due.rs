//! When an index is to be built. Pure: numbers in, a reason out.
//!
//! A build costs a core for seconds to minutes, so it waits until it pays. Rows that no index covers
//! are scanned by every search, which is exact and costs time in proportion; rows that died since
//! the build are walked past and cannot be reused. While points stream in, the index would be old
//! before it is done: builds wait for a quiet moment, but not for long, and not at all when the scan
//! grows out of hand.

use std::time::Duration;

use super::manifest::vector_bytes;
use super::{Kind, Recipe};

/// What a collection asks for.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Nothing by name: [`Kind::choose`] decides.
    Automatic,
    /// No index.
    Flat,
    /// This one.
    Built(Recipe),
}

/// What a shard's owner knows about it.
#[derive(Debug, Clone, Copy)]
pub struct Shard<'a> {
    /// Components of a vector.
    pub dimensions: usize,
    /// Points.
    pub live: u64,
    /// The open segments.
    pub built: Option<Built<'a>>,
    /// Since the last write.
    pub quiet: Duration,
    /// Since a build is wanted.
    pub waited: Duration,
}

impl Shard<'_> {
    /// Whether this is a moment for a build that is not urgent.
    fn may_now(&self) -> bool {
        self.live > 0 && (self.quiet >= QUIET || self.waited >= PATIENCE)
    }
}

/// What it knows about the main segment, and the one beside it.
#[derive(Debug, Clone, Copy)]
pub struct Built<'a> {
    /// How it was built.
    pub recipe: &'a Recipe,
    /// Rows that it covers.
    pub covered: u64,
    /// How many of those still belong to a point.
    pub covered_live: u64,
    /// Rows of points that the segment beside it covers.
    pub beside_live: u64,
}

/// A build that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// What to build.
    pub recipe: Recipe,
    /// Why.
    pub reason: Reason,
    /// Over which rows.
    pub extent: Extent,
}

/// Which rows a build covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All.
    All,
    /// Those that the main segment does not cover: the built one stands beside it.
    Beside,
}

/// Why a build is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is none and a scan is slow.
    First,
    /// Too much is scanned because it is newer than the index.
    Fresh,
    /// Too many rows of the index are dead.
    Dead,
    /// It was built by another recipe than the collection asks for now.
    Settings,
}

impl Reason {
    /// The reason's word in logs and states.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Fresh => "fresh",
            Self::Dead => "dead",
            Self::Settings => "settings",
        }
    }
}

/// How long a shard must not have been written before a build starts.
pub const QUIET: Duration = Duration::from_secs(2);

/// How long a build waits for that at most: a shard that is written for ever has its index too.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes of uncovered vectors at which a build starts however busy the shard is, if they are also as
/// many as the covered ones: about 25 ms of every search, and builds stay few while it grows.
pub const URGENT_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of uncovered vectors that a quiet shard may keep scanning: about 0.4 ms of every search.
pub const FRESH_BYTES: u64 = 4 * 1024 * 1024;

/// One part in this many of the covered rows may lie outside the main segment before a quiet shard builds
/// it anew: a graph grows from the one before, so that costs little more than what is fresh.
pub const FRESH_PART: u64 = 10;

/// Bytes of uncovered vectors, fewer than that part, for which a quiet shard builds a segment beside the
/// main one: about 1.5 ms of every search, where reading all would take long.
pub const BESIDE_BYTES: u64 = 16 * 1024 * 1024;

/// One part in this many of the covered rows may be dead before a quiet shard builds.
pub const DEAD_PART: u64 = 5;

/// The build that is due, and why. `None`: nothing to do, or not yet.
pub fn due(shard: &Shard<'_>, wish: &Wish) -> Option<Due> {
    let recipe = match wish {
        Wish::Automatic => Kind::choose(shard.live, shard.dimensions).recipe()?,
        Wish::Flat => return None,
        Wish::Built(recipe) => recipe.clone(),
    };
    let (reason, extent) = match &shard.built {
        None => (first(shard)?, Extent::All),
        Some(built) if *wish != Wish::Automatic && *built.recipe != recipe => {
            let reason = shard.may_now().then_some(Reason::Settings)?;
            (reason, Extent::All)
        },
        Some(built) => again(shard, built)?,
    };
    Some(Due {
        recipe,
        reason,
        extent,
    })
}

fn first(shard: &Shard<'_>) -> Option<Reason> {
    let urgent = vector_bytes(shard.live, shard.dimensions) >= URGENT_BYTES;
    (urgent || shard.may_now()).then_some(Reason::First)
}

fn again(shard: &Shard<'_>, built: &Built<'_>) -> Option<(Reason, Extent)> {
    let outside = shard.live.saturating_sub(built.covered_live);
    let fresh = outside.saturating_sub(built.beside_live);
    let fresh_bytes = vector_bytes(fresh, shard.dimensions);
    let dead = built.covered.saturating_sub(built.covered_live);
    let part = |of: u64, part: u64| of.saturating_mul(part) >= built.covered;
    if fresh_bytes >= URGENT_BYTES && outside >= built.covered {
        return Some((Reason::Fresh, Extent::All));
    }
    if !shard.may_now() {
        return None;
    }
    if fresh_bytes >= FRESH_BYTES && part(outside, FRESH_PART) {
        Some((Reason::Fresh, Extent::All))
    } else if dead > 0 && part(dead, DEAD_PART) {
        Some((Reason::Dead, Extent::All))
    } else if fresh_bytes >= BESIDE_BYTES && fresh.saturating_mul(FRESH_PART) >= built.beside_live {
        Some((Reason::Fresh, Extent::Beside))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::ArroyParameters;
    use super::*;

    fn reason(live: u64, built: Option<(u64, u64)>, quiet: u64) -> Option<Reason> {
        let recipe = Kind::Arroy.recipe().unwrap();
        let shard = Shard {
            dimensions: 256,
            live,
            built: built.map(|(covered, covered_live)| Built {
                recipe: &recipe,
                covered,
                covered_live,
                beside_live: 0,
            }),
            quiet: Duration::from_secs(quiet),
            waited: Duration::ZERO,
        };
        let due = due(&shard, &Wish::Automatic)?;
        assert_eq!((due.extent, due.recipe.kind()), (Extent::All, Kind::Graph));
        Some(due.reason)
    }

    #[test]
    fn a_build_waits_until_it_pays_and_for_a_quiet_moment() {
        // 1,024 bytes a vector.
        assert_eq!(reason(8 * 1024, None, 60), None, "small shards are scanned");
        assert_eq!(reason(9 * 1024, None, 1), None, "still being filled");
        assert_eq!(reason(9 * 1024, None, 2), Some(Reason::First));
        assert_eq!(
            reason(256 * 1024, None, 0),
            Some(Reason::First),
            "too slow to wait"
        );
        let fresh = |fresh: u64, quiet| reason(100_000 + fresh, Some((100_000, 100_000)), quiet);
        assert_eq!(fresh(9_000, 60), None, "less than a tenth");
        assert_eq!(fresh(10_000, 60), Some(Reason::Fresh));
        assert_eq!(fresh(200_000, 0), None, "still being filled");
        assert_eq!(fresh(300_000, 0), Some(Reason::Fresh));
        assert_eq!(reason(81_000, Some((100_000, 81_000)), 60), None);
        assert_eq!(
            reason(80_000, Some((100_000, 80_000)), 60),
            Some(Reason::Dead)
        );
        assert_eq!(
            reason(0, Some((100_000, 0)), 60),
            None,
            "nothing to build from"
        );
    }

    #[test]
    fn a_shard_that_is_written_for_ever_has_its_index_too() {
        let recipe = Kind::Graph.recipe().unwrap();
        let covered = |covered, covered_live| Built {
            recipe: &recipe,
            covered,
            covered_live,
            beside_live: 0,
        };
        let now = |built, waited| {
            let shard = Shard {
                dimensions: 256,
                live: 100_000,
                built,
                quiet: Duration::ZERO,
                waited,
            };
            due(&shard, &Wish::Automatic).map(|due| due.reason)
        };
        let soon = PATIENCE.saturating_sub(Duration::from_secs(1));
        for (built, wanted) in [
            (None, Some(Reason::First)),
            (Some(covered(50_000, 50_000)), Some(Reason::Fresh)),
            (Some(covered(125_000, 100_000)), Some(Reason::Dead)),
            (Some(covered(100_000, 100_000)), None),
        ] {
            assert_eq!(now(built, soon), None);
            assert_eq!(now(built, PATIENCE), wanted);
        }
    }

    #[test]
    fn what_is_new_in_a_large_shard_gets_a_segment_beside_the_main_one() {
        let recipe = Kind::Graph.recipe().unwrap();
        // 1,024 bytes a vector; a million of them.
        let extent = |beside_live, fresh| {
            let shard = Shard {
                dimensions: 256,
                live: 1_000_000 + beside_live + fresh,
                built: Some(Built {
                    recipe: &recipe,
                    covered: 1_000_000,
                    covered_live: 1_000_000,
                    beside_live,
                }),
                quiet: QUIET,
                waited: Duration::ZERO,
            };
            due(&shard, &Wish::Automatic).map(|due| due.extent)
        };
        assert_eq!(extent(0, 16_000), None, "as good as scanned");
        assert_eq!(extent(0, 17_000), Some(Extent::Beside));
        assert_eq!(extent(17_000, 0), None, "it is covered");
        assert_eq!(extent(17_000, 17_000), Some(Extent::Beside), "another one");
        assert_eq!(extent(80_000, 17_000), Some(Extent::Beside));
        assert_eq!(extent(80_000, 20_000), Some(Extent::All), "both become one");
        assert_eq!(extent(99_000, 1_000), None, "nothing much is new");
    }

    #[test]
    fn a_wish_by_name_comes_before_the_size() {
        let built = Kind::Arroy.recipe().unwrap();
        let wished = Recipe::Arroy(ArroyParameters {
            trees: 7,
            ..ArroyParameters::default()
        });
        let shard = Shard {
            dimensions: 4,
            live: 10,
            built: None,
            quiet: QUIET,
            waited: Duration::ZERO,
        };
        assert_eq!(due(&shard, &Wish::Automatic), None);
        let first = due(&shard, &Wish::Built(wished.clone()));
        let all = |reason| {
            Some(Due {
                recipe: wished.clone(),
                reason,
                extent: Extent::All,
            })
        };
        assert_eq!(first, all(Reason::First));
        let shard = Shard {
            built: Some(Built {
                recipe: &built,
                covered: 10,
                covered_live: 10,
                beside_live: 0,
            }),
            ..shard
        };
        let again = due(&shard, &Wish::Built(wished.clone()));
        assert_eq!(again, all(Reason::Settings));
        assert_eq!(due(&shard, &Wish::Built(built.clone())), None);
        assert_eq!(due(&shard, &Wish::Flat), None);
    }
}
