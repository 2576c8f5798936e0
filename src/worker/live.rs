//! What searches find of what is there: now and then a question is asked again, exactly.
//!
//! Only plain questions count: without a filter, without an effort of their own. In the whole worker one
//! is asked again at a time, and none before a hundred times what the last one took, so that all of them
//! together are a hundredth of a core at most, however many shards there are.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Error;
use super::host::Host;
use super::hosted::Hosted;
use super::search::Search;
use crate::clock::Moment;
use crate::fault::chain;
use crate::index::learn::{EFFORTS, Lessons, Sample};
use crate::index::{self, Ask, Coverage, Kind, Open};
use crate::query::SearchQuality;
use crate::rows::Rows;

/// The least time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Before the next sample this many times what the last one took goes by.
const PAUSE: u32 = 100;

/// How long a sample may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer that is looked at.
const TOP_MAX: usize = 100;

/// When the worker may take its next sample.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Option<Moment>>);

impl Turns {
    /// Whether it is time for a sample. Nobody else has a turn until [`Turns::end`], or until it must
    /// have ended.
    fn take(&self, now: Moment) -> bool {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = next.is_none_or(|next| now >= next);
        if is_time {
            *next = Some(now + TIMEOUT + INTERVAL);
        }
        is_time
    }

    /// The sample of the last turn ended now, after so long.
    fn end(&self, now: Moment, took: Duration) {
        let pause = took.saturating_mul(PAUSE).max(INTERVAL);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + pause);
    }
}

/// From which kind of segment something was learnt, and for what: efforts are in proportion to what a
/// segment compares, and aim at the recall that is wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Subject {
    kind: Kind,
    cost: u64,
    wanted: f32,
}

/// What is known of a shard's searches.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<Option<(Subject, Lessons)>>);

impl Live {
    fn known<T>(&self, open: &Open, with: impl FnOnce(&mut Lessons) -> T) -> T {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = Subject {
            kind: open.segment.kind(),
            cost: open.segment.cost(10, None),
            wanted: open.manifest.recipe.recall(),
        };
        known.take_if(|(of, _lessons)| *of != subject);
        let fresh = || (subject, Lessons::new(f64::from(subject.wanted)));
        with(&mut known.get_or_insert_with(fresh).1)
    }

    /// The effort of searches that do not say how hard to look.
    pub(super) fn effort(&self, open: &Open) -> u32 {
        self.known(open, |lessons| lessons.effort())
    }

    /// What is known of searches of this segment.
    pub(super) fn quality(&self, open: &Open) -> Option<SearchQuality> {
        self.known(open, |lessons| lessons.quality())
    }
}

/// Asks one of these searches again in the background, if it is time for that.
pub(super) fn sample(host: &Host, hosted: &Arc<Hosted>, searches: &[Search]) {
    let Some(asked) = searches.iter().find(|search| is_plain(search)) else {
        return;
    };
    if hosted.segments().main.is_none() {
        return;
    }
    let now = host.clock.now();
    if !host.sampling.take(now) {
        return;
    }
    let (hosted, clock) = (Arc::clone(hosted), Arc::clone(&host.clock));
    let turns = Arc::clone(&host.sampling);
    let (vector, k) = (asked.vector.clone(), asked.top);
    let tasks = host.tasks.clone();
    let sampling = move || {
        let late = || clock.now().since(now) >= TIMEOUT;
        let stop = || tasks.is_stopping() || hosted.is_closing() || late();
        match take(&hosted, (&vector, k), &stop) {
            Ok(Some((sample, main))) => hosted.live.known(&main, |lessons| lessons.learn(sample)),
            Ok(None) => {},
            Err(error) => {
                let error = chain(&error);
                tracing::debug!(error, "a search was not asked again");
            },
        }
        let end = clock.now();
        turns.end(end, end.since(now));
    };
    // Nobody waits for it; a worker that stops tells it to end.
    drop(host.tasks.spawn_blocking(sampling));
}

fn is_plain(search: &Search) -> bool {
    let usual = search.effort.is_none() && !search.exact && search.exclude.is_none();
    usual && search.filter.is_empty() && (1..=TOP_MAX).contains(&search.top)
}

/// The exact answer, and how much of it each effort finds, with the main segment that was asked; `None`
/// when another was built meanwhile, or there is nothing to find.
fn take(
    hosted: &Hosted,
    (vector, k): (&[f32], usize),
    stop: index::Stop<'_>,
) -> Result<Option<(Sample, Open)>, Error> {
    let snapshot = hosted.store.snapshot()?;
    let set = hosted.segments();
    let ask = Ask {
        stop,
        ..Ask::nearest(k)
    };
    let exact = Ask { exact: true, ..ask };
    let coverage = Coverage::new(set.segments(), Arc::clone(snapshot.live_rows()));
    let truth = index::search(&coverage, &snapshot, vector, &exact)?.hits;
    let mut sample = Sample {
        found: [0; EFFORTS.len()],
        of: u16::try_from(truth.len()).unwrap_or(u16::MAX),
    };
    let (Some(last), Some(main)) = (truth.last(), &set.main) else {
        return Ok(None);
    };
    let distance = snapshot.distance();
    for (found, effort) in sample.found.iter_mut().zip(EFFORTS) {
        let effort = Some(effort);
        let answer = index::search(&coverage, &snapshot, vector, &Ask { effort, ..ask })?;
        let hits = answer.hits.iter();
        let near = hits.filter(|hit| distance.reaches(hit.score, last.score));
        *found = u16::try_from(near.count())
            .unwrap_or(u16::MAX)
            .min(sample.of);
    }
    let now = hosted.segments().main.map(|now| now.name());
    let same = now.as_ref() == Some(&main.name());
    Ok(same.then(|| (sample, main.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};

    #[test]
    fn all_samples_of_a_worker_together_take_a_hundredth_of_the_time() {
        let (clock, turns) = (ManualClock::default(), Turns::default());
        assert!(turns.take(clock.now()));
        clock.advance(INTERVAL * 2);
        assert!(!turns.take(clock.now()), "one is under way");
        turns.end(clock.now(), Duration::from_millis(50));
        clock.advance(Duration::from_millis(4_999));
        assert!(!turns.take(clock.now()));
        clock.advance(Duration::from_millis(1));
        assert!(turns.take(clock.now()));
        // One that never says that it ended holds nobody up for ever.
        clock.advance(TIMEOUT + INTERVAL);
        assert!(turns.take(clock.now()));
        turns.end(clock.now(), Duration::ZERO);
        assert!(!turns.take(clock.now()));
        clock.advance(INTERVAL);
        assert!(turns.take(clock.now()));
    }
}
