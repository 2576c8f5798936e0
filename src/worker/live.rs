//! What searches find of what is there: now and then a question is asked again, exactly.
//!
//! Only plain questions count: without a filter, without an effort of their own. One is asked again at
//! a time in the whole worker, and of each shard none before a hundred times what the last one took, so
//! that all of them together are a hundredth of a core at most.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Error;
use super::host::Host;
use super::hosted::Hosted;
use super::search::Search;
use crate::clock::Moment;
use crate::fault::chain;
use crate::index::learn::{EFFORTS, Lessons, Sample};
use crate::index::{self, Ask, Kind, Open};
use crate::query::SearchQuality;
use crate::rows::Rows;

/// The least time between two samples of a shard.
const INTERVAL: Duration = Duration::from_secs(1);

/// A shard waits this many times what a sample took before the next.
const PAUSE: u32 = 100;

/// How long a sample may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer that is looked at.
const TOP_MAX: usize = 100;

/// What is known of a shard's searches.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// What was learnt, and from which kind of segment: efforts are in proportion to what it compares.
    lessons: Option<(Kind, u64, Lessons)>,
    /// When the next sample may be taken.
    next: Option<Moment>,
}

impl Live {
    fn known<T>(&self, open: &Open, with: impl FnOnce(&mut Lessons) -> T) -> T {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, cost) = (open.segment.kind(), open.segment.cost(10, None));
        let same = known.lessons.as_ref();
        if !same.is_some_and(|(of, costs, _)| (*of, *costs) == (kind, cost)) {
            known.lessons = None;
        }
        let wanted = f64::from(open.manifest.recipe.recall());
        let fresh = || (kind, cost, Lessons::new(wanted));
        with(&mut known.lessons.get_or_insert_with(fresh).2)
    }

    /// The effort of searches that do not say how hard to look.
    pub(super) fn effort(&self, open: &Open) -> u32 {
        self.known(open, |lessons| lessons.effort())
    }

    /// What is known of searches of this segment.
    pub(super) fn quality(&self, open: &Open) -> Option<SearchQuality> {
        self.known(open, |lessons| lessons.quality())
    }

    /// Whether it is time for a sample; then it is not again for a while.
    fn is_time(&self, now: Moment) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = known.next.is_none_or(|next| now >= next);
        if is_time {
            known.next = Some(now + INTERVAL);
        }
        is_time
    }

    fn wait(&self, until: Moment) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.next = Some(until);
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
    if !hosted.live.is_time(now) {
        return;
    }
    let Ok(place) = Arc::clone(&host.sampling).try_acquire_owned() else {
        return;
    };
    let (hosted, clock) = (Arc::clone(hosted), Arc::clone(&host.clock));
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
        let pause = end.since(now).saturating_mul(PAUSE).max(INTERVAL);
        hosted.live.wait(end + pause);
        drop(place);
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
    let truth = index::search(&[], &snapshot, vector, &exact)?.hits;
    let mut sample = Sample {
        found: [0; EFFORTS.len()],
        of: u16::try_from(truth.len()).unwrap_or(u16::MAX),
    };
    let (Some(last), Some(main)) = (truth.last(), &set.main) else {
        return Ok(None);
    };
    let (segments, distance) = (set.segments(), snapshot.distance());
    for (found, effort) in sample.found.iter_mut().zip(EFFORTS) {
        let effort = Some(effort);
        let answer = index::search(&segments, &snapshot, vector, &Ask { effort, ..ask })?;
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
