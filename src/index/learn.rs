//! How hard searches have to look, learnt from searches themselves. Pure: samples in, an effort out.
//!
//! A build chooses its effort by rows that were held out. Real questions are other than rows: they may
//! lie farther from all rows, and what is asked changes. So now and then a question that somebody asked
//! is asked again, in the background: exactly, and with each effort of [`EFFORTS`]. What share of the
//! exact answer each effort finds, on average over the latest samples, is what live recall is; the
//! smallest effort that finds what the collection wants is what searches use from then on.

use std::collections::VecDeque;

use crate::query::SearchQuality;

/// The efforts that are compared, in the unit of the public API's `hnsw_ef`.
pub const EFFORTS: [u32; 7] = [50, 71, 100, 141, 200, 283, 400];

/// The effort of a build's own choice, until something is learnt.
const USUAL: usize = 2;

/// Samples that are remembered; a later one takes the place of the first.
pub const SAMPLES_MAX: usize = 256;

/// Samples before anything is concluded: with ten neighbours each the share is right to about a
/// hundredth.
const SAMPLES_MIN: usize = 64;

/// By how much a smaller effort must be better than wanted before it is taken: what is measured goes
/// up and down by chance.
const ROOM: f64 = 0.005;

/// What one question gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// How many of the exact answer each effort found.
    pub found: [u16; EFFORTS.len()],
    /// How many the exact answer has.
    pub of: u16,
}

/// The samples of one segment.
#[derive(Debug)]
pub struct Lessons {
    wanted: f64,
    samples: VecDeque<Sample>,
    chosen: usize,
}

impl Lessons {
    /// Nothing is known yet; this share of the neighbours is wanted.
    pub fn new(wanted: f64) -> Self {
        Self {
            wanted,
            samples: VecDeque::new(),
            chosen: USUAL,
        }
    }

    /// Takes a sample in.
    pub fn learn(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        if self.samples.len() >= SAMPLES_MIN {
            self.chosen = self.choose();
        }
    }

    /// The effort that searches use which do not say how hard to look.
    pub fn effort(&self) -> u32 {
        EFFORTS.get(self.chosen).copied().unwrap_or(100)
    }

    /// What is known; `None` before the first sample.
    pub fn quality(&self) -> Option<SearchQuality> {
        Some(SearchQuality {
            recall: self.share(self.chosen)?,
            effort: self.effort(),
            samples: u32::try_from(self.samples.len()).unwrap_or(u32::MAX),
        })
    }

    /// The smallest effort that finds enough; the largest when none does.
    fn choose(&self) -> usize {
        let enough = |effort: &usize| {
            let room = if *effort < self.chosen { ROOM } else { 0.0 };
            let share = self.share(*effort);
            share.is_some_and(|share| share >= self.wanted + room)
        };
        let last = EFFORTS.len().saturating_sub(1);
        (0..EFFORTS.len()).find(enough).unwrap_or(last)
    }

    /// The share of the exact answers that an effort found.
    fn share(&self, effort: usize) -> Option<f64> {
        let found = |sample: &Sample| sample.found.get(effort).copied().map_or(0, u32::from);
        let found: u32 = self.samples.iter().map(found).sum();
        let of: u32 = self.samples.iter().map(|sample| u32::from(sample.of)).sum();
        (of > 0).then(|| f64::from(found) / f64::from(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each effort finds so many of ten.
    fn found(found: [u16; 7]) -> Sample {
        Sample { found, of: 10 }
    }

    #[test]
    fn nothing_is_concluded_from_a_few_samples() {
        let mut lessons = Lessons::new(0.95);
        assert_eq!((lessons.effort(), lessons.quality()), (100, None));
        for _ in 1..SAMPLES_MIN {
            lessons.learn(found([1; 7]));
        }
        let quality = lessons.quality().unwrap();
        assert_eq!((quality.effort, quality.samples), (100, 63));
        assert!((quality.recall - 0.1).abs() < 1e-9);
        lessons.learn(found([1; 7]));
        assert_eq!(lessons.effort(), 400, "none is enough: the largest");
    }

    #[test]
    fn the_smallest_effort_that_is_enough_is_used_and_chance_does_not_sway_it() {
        let mut lessons = Lessons::new(0.9);
        for _ in 0..SAMPLES_MAX {
            lessons.learn(found([7, 8, 8, 9, 10, 10, 10]));
        }
        let quality = lessons.quality().unwrap();
        assert_eq!(quality.effort, 141);
        assert!((quality.recall - 0.9).abs() < 1e-9);
        // Just enough is not reason enough to look less hard.
        for _ in 0..SAMPLES_MAX {
            lessons.learn(found([7, 8, 9, 10, 10, 10, 10]));
        }
        assert_eq!(lessons.effort(), 141);
        for _ in 0..SAMPLES_MAX {
            lessons.learn(found([7, 8, 10, 10, 10, 10, 10]));
        }
        assert_eq!(lessons.effort(), 100);
    }

    #[test]
    fn what_was_asked_long_ago_is_forgotten() {
        let mut lessons = Lessons::new(0.9);
        for _ in 0..10_000 {
            lessons.learn(found([0; 7]));
        }
        for _ in 0..SAMPLES_MAX {
            lessons.learn(found([10; 7]));
        }
        let quality = lessons.quality().unwrap();
        assert_eq!((quality.effort, quality.samples), (50, 256));
        assert!((quality.recall - 1.0).abs() < 1e-9);
    }
}
