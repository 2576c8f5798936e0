//! When an index is to be built. Pure: numbers in, a reason out.
//!
//! A build costs a core for seconds to minutes, so it waits until it pays. Rows that no index covers
//! are scanned by every search, which is exact and costs time in proportion; rows that died since
//! the build are walked past and cannot be reused. While points stream in, the index would be old
//! before it is done: builds wait for a quiet moment, unless the scan grows out of hand.

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
    /// The open segment.
    pub built: Option<Built<'a>>,
    /// Since the last write.
    pub quiet: Duration,
}

/// What it knows about the open segment.
#[derive(Debug, Clone, Copy)]
pub struct Built<'a> {
    /// How it was built.
    pub recipe: &'a Recipe,
    /// Rows that it covers.
    pub covered: u64,
    /// How many of those still belong to a point.
    pub covered_live: u64,
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
pub const QUIET: Duration = Duration::from_secs(5);

/// Bytes of uncovered vectors at which a build starts however busy the shard is, if they are also as
/// many as the covered ones: about 25 ms of every search, and builds stay few while it grows.
pub const URGENT_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of uncovered vectors that a quiet shard may keep scanning: about 1.5 ms of every search.
pub const FRESH_BYTES: u64 = 16 * 1024 * 1024;

/// One part in this many of the covered rows may be dead, or fresh, before a quiet shard builds.
pub const PART: u64 = 5;

/// The build that is due, and why. `None`: nothing to do, or not yet.
pub fn due(shard: &Shard<'_>, wish: &Wish) -> Option<(Recipe, Reason)> {
    let recipe = match wish {
        Wish::Automatic => Kind::choose(shard.live, shard.dimensions).recipe()?,
        Wish::Flat => return None,
        Wish::Built(recipe) => recipe.clone(),
    };
    let reason = match &shard.built {
        None => first(shard),
        Some(built) if *wish != Wish::Automatic && *built.recipe != recipe => {
            (shard.quiet >= QUIET).then_some(Reason::Settings)
        },
        Some(built) => again(shard, built),
    };
    Some((recipe, reason?))
}

fn first(shard: &Shard<'_>) -> Option<Reason> {
    let urgent = vector_bytes(shard.live, shard.dimensions) >= URGENT_BYTES;
    (shard.live > 0 && (urgent || shard.quiet >= QUIET)).then_some(Reason::First)
}

fn again(shard: &Shard<'_>, built: &Built<'_>) -> Option<Reason> {
    let fresh = shard.live.saturating_sub(built.covered_live);
    let fresh_bytes = vector_bytes(fresh, shard.dimensions);
    let dead = built.covered.saturating_sub(built.covered_live);
    let quiet = shard.quiet >= QUIET && shard.live > 0;
    let part = |of: u64| of.saturating_mul(PART) >= built.covered;
    let urgent = fresh_bytes >= URGENT_BYTES && fresh >= built.covered;
    if urgent || (quiet && fresh_bytes >= FRESH_BYTES && part(fresh)) {
        Some(Reason::Fresh)
    } else if quiet && dead > 0 && part(dead) {
        Some(Reason::Dead)
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
            }),
            quiet: Duration::from_secs(quiet),
        };
        due(&shard, &Wish::Automatic).map(|(_, reason)| reason)
    }

    #[test]
    fn a_build_waits_until_it_pays_and_for_a_quiet_moment() {
        // 1,024 bytes a vector.
        assert_eq!(
            reason(32 * 1024, None, 60),
            None,
            "small shards are scanned"
        );
        assert_eq!(reason(33 * 1024, None, 4), None, "still being filled");
        assert_eq!(reason(33 * 1024, None, 5), Some(Reason::First));
        assert_eq!(
            reason(256 * 1024, None, 0),
            Some(Reason::First),
            "too slow to wait"
        );
        let fresh = |fresh: u64, quiet| reason(100_000 + fresh, Some((100_000, 100_000)), quiet);
        assert_eq!(fresh(19_000, 60), None, "less than a fifth");
        assert_eq!(fresh(20_000, 60), Some(Reason::Fresh));
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
        };
        assert_eq!(due(&shard, &Wish::Automatic), None);
        let first = due(&shard, &Wish::Built(wished.clone()));
        assert_eq!(first, Some((wished.clone(), Reason::First)));
        let shard = Shard {
            built: Some(Built {
                recipe: &built,
                covered: 10,
                covered_live: 10,
            }),
            ..shard
        };
        let again = due(&shard, &Wish::Built(wished.clone()));
        assert_eq!(again, Some((wished, Reason::Settings)));
        assert_eq!(due(&shard, &Wish::Built(built.clone())), None);
        assert_eq!(due(&shard, &Wish::Flat), None);
    }
}
