//! What was changed of late, for watches that look back. Pure.
//!
//! It is bounded in revisions and in bytes: whoever keeps it compacts the keys at the revision that
//! [`History::surplus`] names, and forgets what is before. A snapshot holds no history, so after a
//! start it begins behind the log's snapshot, and a watch from before that is told so.

use std::collections::VecDeque;

use etcd_client::proto::PbKeyValue;

use super::kv::Event;

/// Bytes that an event takes beside its keys and values.
const EVENT_BYTES: usize = 256;

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) revisions: usize,
    pub(super) bytes: usize,
}

/// One revision and what it changed.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub(super) at: i64,
    pub(super) events: Vec<Event>,
    pub(super) bytes: usize,
}

/// The changes, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    revisions: VecDeque<Revision>,
    bytes: usize,
    /// From this revision on nothing is missing that was not compacted.
    complete_from: i64,
}

fn weight(event: &Event) -> usize {
    let value = |kv: &PbKeyValue| kv.key.len().saturating_add(kv.value.len());
    let put = event.put.as_deref().map_or(0, value);
    // It may be the only one left that holds it.
    let previous = event.previous.as_deref().map_or(0, value);
    let values = put.saturating_add(previous);
    values.saturating_add(event.key.len() + EVENT_BYTES)
}

impl History {
    /// That of a state which a snapshot gave: nothing is known of how it came to be.
    pub(super) fn after_snapshot(revision: i64) -> Self {
        Self {
            // A store that nothing was ever written to has missed nothing.
            complete_from: if revision > 1 { revision + 1 } else { 0 },
            ..Self::default()
        }
    }

    /// Adds the newest revision, if it changed anything.
    pub(super) fn push(&mut self, events: Vec<Event>) {
        let Some(at) = events.last().map(|event| event.revision) else {
            return;
        };
        let bytes = events.iter().map(weight).sum();
        self.bytes = self.bytes.saturating_add(bytes);
        self.revisions.push_back(Revision { at, events, bytes });
    }

    /// The changes after a revision, oldest first, whole revisions.
    pub(super) fn since(&self, revision: i64) -> impl Iterator<Item = &Revision> {
        let start = self.revisions.partition_point(|held| held.at <= revision);
        self.revisions.range(start..)
    }

    /// The first revision that a watch may start from, of a store that is compacted at one.
    pub(super) fn first_watchable(&self, compacted: i64) -> i64 {
        compacted.max(self.complete_from)
    }

    /// Forgets what was done before the compacted revision; what was done at it may still be
    /// watched, as in etcd.
    pub(super) fn forget_before(&mut self, compacted: i64) {
        let gone = self.revisions.partition_point(|held| held.at < compacted);
        for revision in self.revisions.drain(..gone) {
            self.bytes = self.bytes.saturating_sub(revision.bytes);
        }
    }

    /// Where to compact when there is a quarter more than the bounds: the oldest revision that fits
    /// into them with all that came after it. The newest one always stays.
    pub(super) fn surplus(&self, bounds: Bounds) -> Option<i64> {
        let most = |bound: usize| bound.saturating_add(bound / 4);
        if self.revisions.len() <= most(bounds.revisions) && self.bytes <= most(bounds.bytes) {
            return None;
        }
        let mut bytes = 0_usize;
        let newest = self.revisions.back()?.at;
        let fitting = self.revisions.iter().rev().take(bounds.revisions);
        let fitting = fitting.take_while(|held| {
            bytes = bytes.saturating_add(held.bytes);
            bytes <= bounds.bytes
        });
        Some(fitting.last().map_or(newest, |held| held.at))
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(revision: i64, len: usize) -> Vec<Event> {
        let kv = PbKeyValue {
            key: b"k".to_vec(),
            value: vec![0; len],
            mod_revision: revision,
            ..PbKeyValue::default()
        };
        vec![Event {
            key: b"k".to_vec(),
            put: Some(kv.into()),
            previous: None,
            revision,
        }]
    }

    fn kept(history: &History) -> Vec<i64> {
        history.since(0).map(|held| held.at).collect()
    }

    #[test]
    fn it_is_bounded_in_revisions_and_in_bytes() {
        let bounds = Bounds {
            revisions: 8,
            bytes: 10_000,
        };
        let mut history = History::default();
        for at in 2..=11 {
            history.push(put(at, 1));
        }
        assert_eq!(history.surplus(bounds), None);
        history.push(put(12, 1));
        assert_eq!(history.surplus(bounds), Some(5));
        history.forget_before(5);
        assert_eq!(kept(&history), (5..=12).collect::<Vec<_>>());

        history.push(put(13, 9_000));
        history.push(put(14, 3_000));
        let surplus = history.surplus(bounds).unwrap();
        assert_eq!(surplus, 14);
        history.forget_before(surplus);
        assert_eq!(kept(&history), [14]);
        assert!(history.bytes() < 4_000);

        // The newest one stays, however large.
        history.push(put(15, 50_000));
        assert_eq!(history.surplus(bounds), Some(15));
    }

    #[test]
    fn after_a_snapshot_it_begins_behind_it() {
        let mut history = History::after_snapshot(9);
        history.push(put(10, 1));
        assert_eq!(history.first_watchable(9), 10);
        assert_eq!(history.first_watchable(12), 12);
        assert_eq!(History::after_snapshot(1).first_watchable(0), 0);
    }
}
