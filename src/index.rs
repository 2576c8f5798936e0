//! Nearest vectors of one shard: exactly, and faster through a built index.
//!
//! The truth is the store's; this module sees it through [`Rows`]. A built index ([`Segment`]) only
//! proposes rows: every score that is answered is computed here from the row's own vector, and every
//! row that is answered is live and allowed at the moment of the question. So a stale, damaged or
//! foreign index can cost recall, never a wrong score and never a deleted point.
//!
//! [`search`] asks each segment about the rows it covers and scans the rest exactly: what was
//! written since the build, small sets that a filter leaves, everything when the question is for
//! exactness. A segment that fails or panics is reported in the answer, and its rows are scanned.
//!
//! Kinds of index: [`Kind::Flat`] (no segment at all: exact, no memory, right for small shards),
//! [`Kind::Graph`] (walked by small codes, the fastest) and [`Kind::Arroy`] (random projection trees).
//! Another kind is another implementation of [`Segment`] and another [`Recipe`]; nothing in [`search`]
//! or in the folder format knows the kinds' own files.
//!
//! [`build()`] makes a segment from a read snapshot, in the background, atomically; [`open_dir`] finds
//! it again after any crash; [`due`] says when to build; a [`Set`] is what a shard has of them; [`learn`]
//! says how hard to look.

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use roaring::RoaringBitmap;

use crate::rows::{Row, Rows};

mod arroy;
mod build;
mod coverage;
pub mod due;
mod error;
mod folder;
mod graph;
pub mod learn;
mod manifest;
mod mapped;
mod scan;
mod set;
pub mod simd;
pub mod top;

pub use arroy::Parameters as ArroyParameters;
pub use build::{Job, Progress, Step, build};
pub use coverage::Coverage;
pub use error::Error;
pub use folder::{Found, Open, Quarantined, open_dir, quarantine, retire, standing};
pub use graph::Parameters as GraphParameters;
pub use manifest::{Identity, Kind, Manifest, Recipe};
pub use set::Set;

/// Asked now and then by long work: whether to give up. Cheap, and answered from any thread.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// The [`Stop`] of work that is never given up.
pub fn never() -> bool {
    false
}

/// What is asked of a search.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// How many rows to answer.
    pub k: usize,
    /// How hard to look, in the unit of the public API's `hnsw_ef`: 100 is the segment's own choice,
    /// which aims at the recall it was built for; twice as much looks at twice as many rows.
    pub effort: Option<u32>,
    /// Whether to look at every row.
    pub exact: bool,
    /// The only rows that may be answered, if not all.
    pub allowed: Option<&'a RoaringBitmap>,
    /// When to give up: a deadline, a client that went away.
    pub stop: Stop<'a>,
}

impl Ask<'_> {
    /// The `k` nearest of all rows, without a bound on time.
    pub fn nearest(k: usize) -> Self {
        Self {
            k,
            effort: None,
            exact: false,
            allowed: None,
            stop: &never,
        }
    }
}

impl std::fmt::Debug for Ask<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask")
            .field("k", &self.k)
            .field("effort", &self.effort)
            .field("exact", &self.exact)
            .field("allowed", &self.allowed.map(RoaringBitmap::len))
            .finish_non_exhaustive()
    }
}

/// A row and how near it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The row.
    pub row: Row,
    /// Its exact score under the collection's distance.
    pub score: f32,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Answer {
    /// The nearest first; equal scores in the order of their rows.
    pub hits: Vec<Hit>,
    /// Vectors that were compared with the query.
    pub scored: u64,
    /// Segments that could not answer, by their sequence; the hits are right without them. The
    /// caller quarantines a segment whose error is [`Error::Corrupt`] or [`Error::Panicked`].
    pub failed: Vec<(u64, Error)>,
}

/// A built index over some of a shard's rows, whatever its kind. Never changed once built. A kind may
/// look for its own among others, to build from.
pub trait Segment: Any + Send + Sync + std::fmt::Debug {
    /// The kind of index.
    fn kind(&self) -> Kind;

    /// The store's sequence number that the segment was built at; its name among its shard's.
    fn sequence(&self) -> u64;

    /// The rows it can find.
    fn covered(&self) -> &RoaringBitmap;

    /// How many rows a search would compare with the query.
    fn cost(&self, k: usize, effort: Option<u32>) -> u64;

    /// The nearest of the covered rows, or of those that `ask.allowed` names: it is a subset of the
    /// covered rows here. The scores are exact. With the hits comes how many rows were compared.
    ///
    /// # Errors
    /// [`Error::Stopped`], or that the segment cannot be used.
    fn search(
        &self,
        rows: &dyn Rows,
        query: &[f32],
        ask: &Ask<'_>,
    ) -> Result<(Vec<Hit>, u64), Error>;

    /// The same for several queries, whose walks may be interleaved on this thread.
    ///
    /// # Errors
    /// The first error that one of them meets.
    fn search_many(
        &self,
        rows: &dyn Rows,
        queries: &[&[f32]],
        ask: &Ask<'_>,
    ) -> Result<Vec<(Vec<Hit>, u64)>, Error> {
        let one = |query: &&[f32]| self.search(rows, query, ask);
        queries.iter().map(one).collect()
    }

    /// Looks at all that is checked when it is touched first, so that later searches need not.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: it is not what was written. [`Error::Stopped`] when told to stop.
    fn verify(&self, _stop: Stop<'_>) -> Result<(), Error> {
        Ok(())
    }

    /// Bytes of its files.
    fn bytes(&self) -> u64;

    /// The share of the ten nearest that it found when it was measured at the end of its build.
    fn recall(&self) -> f32;
}

/// A scan reads rows in order and a search of a segment hops between them, so a row costs the
/// search about this many times what it costs the scan (measured: `docs/performance.md`).
const SCAN_ADVANTAGE: u64 = 3;

/// The `ask.k` nearest live rows to the query, by who covers them. Where `coverage` is not of the live rows, as
/// they lie in `rows`, it is found out anew, which costs in proportion to all rows.
///
/// # Errors
/// [`Error::Dimensions`] for a query of another length, [`Error::Stopped`] when told to stop. What
/// a segment fails with is no error of the search: see [`Answer::failed`].
pub fn search(
    coverage: &Coverage,
    rows: &dyn Rows,
    query: &[f32],
    ask: &Ask<'_>,
) -> Result<Answer, Error> {
    let answers = search_many(coverage, rows, &[query], ask)?;
    Ok(answers.into_iter().next().unwrap_or_default())
}

/// The same for several queries of one kind: answers as if asked one by one, faster.
///
/// # Errors
/// As [`search`]; the first error that one of them meets.
pub fn search_many(
    coverage: &Coverage,
    rows: &dyn Rows,
    queries: &[&[f32]],
    ask: &Ask<'_>,
) -> Result<Vec<Answer>, Error> {
    let expected = rows.dimensions();
    if let Some(query) = queries.iter().find(|query| query.len() != expected) {
        return Err(Error::Dimensions {
            expected,
            got: query.len(),
        });
    }
    let mut found = Tally {
        tops: queries
            .iter()
            .map(|_| top::Top::new(rows.distance(), ask.k))
            .collect(),
        scored: vec![0; queries.len()],
        failed: Vec::new(),
    };
    if ask.k > 0 {
        let live = rows.live();
        let allowed = ask.allowed.map(|allowed| Arc::new(live & allowed));
        let other;
        let rest = if ask.exact {
            Cow::Borrowed(allowed.as_deref().unwrap_or(live))
        } else if allowed.is_none() && coverage.is_of(live) {
            ask_segments(coverage, rows, queries, ask, &mut found)?
        } else {
            other = coverage.of(allowed.unwrap_or_else(|| Arc::new(live.clone())));
            ask_segments(&other, rows, queries, ask, &mut found)?
        };
        if !rest.is_empty() {
            let scanned = scan::scan(rows, &rest, queries, &mut found.tops, ask.stop)?;
            found.compared(std::iter::repeat_n(scanned, queries.len()));
        }
    }
    Ok(found.into_answers())
}

/// What was found so far, for each query.
struct Tally {
    tops: Vec<top::Top>,
    scored: Vec<u64>,
    /// The segments that failed, and why.
    failed: Vec<(u64, Error)>,
}

impl Tally {
    /// Adds what was compared with each query.
    fn compared(&mut self, counts: impl Iterator<Item = u64>) {
        for (scored, count) in self.scored.iter_mut().zip(counts) {
            *scored = scored.saturating_add(count);
        }
    }

    /// The failures go with the first answer: one is enough to take a segment out of use.
    fn into_answers(self) -> Vec<Answer> {
        let mut failed = Some(self.failed);
        let answers = self.tops.into_iter().zip(self.scored);
        answers
            .map(|(top, scored)| Answer {
                hits: top.into_hits(),
                scored,
                failed: failed.take().unwrap_or_default(),
            })
            .collect()
    }
}

/// Asks the segments that are worth it, and answers which rows nobody has answered for yet.
fn ask_segments<'a>(
    coverage: &'a Coverage,
    rows: &dyn Rows,
    queries: &[&[f32]],
    ask: &Ask<'_>,
    found: &mut Tally,
) -> Result<Cow<'a, RoaringBitmap>, Error> {
    let mut rest = Cow::Borrowed(coverage.rest());
    for part in coverage.parts() {
        let segment = &part.segment;
        let worth = segment
            .cost(ask.k, ask.effort)
            .saturating_mul(SCAN_ADVANTAGE);
        if part.rows().len() <= worth {
            if !part.rows().is_empty() {
                *rest.to_mut() |= part.rows();
            }
            continue;
        }
        let asked = Ask {
            allowed: part.some(),
            ..*ask
        };
        match guarded(segment.as_ref(), rows, queries, &asked) {
            Ok(answers) => {
                found.compared(answers.iter().map(|(_, scored)| *scored));
                for (top, (hits, _)) in found.tops.iter_mut().zip(answers) {
                    hits.into_iter().for_each(|hit| top.offer(hit));
                }
            },
            Err(Error::Stopped) => return Err(Error::Stopped),
            Err(error) => {
                *rest.to_mut() |= part.rows();
                found.failed.push((segment.sequence(), error));
            },
        }
    }
    Ok(rest)
}

/// A segment's answers; a panic in it is an error of that segment and of nobody else.
fn guarded(
    segment: &dyn Segment,
    rows: &dyn Rows,
    queries: &[&[f32]],
    ask: &Ask<'_>,
) -> Result<Vec<(Vec<Hit>, u64)>, Error> {
    // What a panic leaves behind is dropped here: nothing that is shared is changed by a search.
    let asking = || match queries {
        [query] => segment.search(rows, query, ask).map(|answer| vec![answer]),
        queries => segment.search_many(rows, queries, ask),
    };
    catch_unwind(AssertUnwindSafe(asking)).unwrap_or(Err(Error::Panicked {
        during: "the search",
    }))
}
