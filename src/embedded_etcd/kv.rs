//! Keys and their versions. Pure: no time, no files.
//!
//! Every change makes a revision; a transaction makes one for all its changes. A key keeps its
//! versions back to the compacted revision, so that reads of the past are answered.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use etcd_client::proto::{PbKeyValue, PbRangeRequest, PbRangeResponse};

use super::failure::Failure;

/// Bytes that a live key takes beside its name and its value.
const KEY_BYTES: u64 = 128;

/// A change of a key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) key: Vec<u8>,
    /// The new value; absent when the key was removed.
    pub(super) put: Option<Arc<PbKeyValue>>,
    /// The value before.
    pub(super) previous: Option<Arc<PbKeyValue>>,
    pub(super) revision: i64,
}

#[derive(Debug, Clone)]
struct Version {
    revision: i64,
    value: Option<Arc<PbKeyValue>>,
}

/// The keys.
#[derive(Debug, Clone)]
pub(super) struct Kv {
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    revision: i64,
    compacted: i64,
    live_bytes: u64,
}

impl Default for Kv {
    fn default() -> Self {
        Self {
            keys: BTreeMap::new(),
            revision: 1,
            compacted: 0,
            live_bytes: 0,
        }
    }
}

/// The two ends of a range of keys.
type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Keys `key`, or `key..end`; an end of one zero byte has no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    key: Vec<u8>,
    end: Vec<u8>,
}

impl Range {
    pub(super) fn new(key: &[u8], end: &[u8]) -> Self {
        Self {
            key: key.to_vec(),
            end: end.to_vec(),
        }
    }

    /// Whether no key can lie in it: its end is not after its start.
    pub(super) fn is_nothing(&self) -> bool {
        self.bounds().is_none()
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        match self.end.as_slice() {
            [] => key == self.key,
            [0] => key >= self.key.as_slice(),
            end => key >= self.key.as_slice() && key < end,
        }
    }

    fn bounds(&self) -> Option<Bounds<'_>> {
        let start = Bound::Included(self.key.as_slice());
        match self.end.as_slice() {
            [] => Some((start, start)),
            [0] => Some((start, Bound::Unbounded)),
            end if end > self.key.as_slice() => Some((start, Bound::Excluded(end))),
            _ => None,
        }
    }
}

impl Kv {
    /// What a snapshot holds: the live keys at a revision, everything before it compacted.
    pub(super) fn restore(live: Vec<PbKeyValue>, revision: i64, compacted: i64) -> Self {
        let mut kv = Self {
            revision,
            compacted,
            ..Self::default()
        };
        for value in live {
            let version = Version {
                revision: value.mod_revision,
                value: Some(Arc::new(value.clone())),
            };
            kv.push(&value.key, version);
        }
        kv
    }

    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) fn compacted(&self) -> i64 {
        self.compacted
    }

    /// Bytes of what lives.
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// The live value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Arc<PbKeyValue>> {
        self.keys.get(key)?.last()?.value.as_ref()
    }

    /// The live keys of a range at a revision, ascending.
    pub(super) fn at<'k>(
        &'k self,
        range: &'k Range,
        revision: i64,
    ) -> impl Iterator<Item = &'k Arc<PbKeyValue>> {
        let bounds = range.bounds();
        bounds
            .into_iter()
            .flat_map(|bounds| self.keys.range::<[u8], _>(bounds))
            .filter_map(move |(_key, versions)| {
                let version = versions
                    .iter()
                    .rev()
                    .find(|version| version.revision <= revision);
                version?.value.as_ref()
            })
    }

    /// Writes a key at the revision that is being made.
    pub(super) fn put(&mut self, key: &[u8], value: Vec<u8>, lease: i64, making: i64) -> Event {
        let before = self.get(key);
        let kv = PbKeyValue {
            key: key.to_vec(),
            create_revision: before.map_or(making, |kv| kv.create_revision),
            mod_revision: making,
            version: before.map_or(0, |kv| kv.version) + 1,
            value,
            lease,
        };
        self.apply(Event {
            key: key.to_vec(),
            put: Some(Arc::new(kv)),
            previous: None,
            revision: making,
        })
    }

    /// Removes a live key at the revision that is being made.
    pub(super) fn delete(&mut self, key: &[u8], making: i64) -> Option<Event> {
        self.get(key)?;
        Some(self.apply(Event {
            key: key.to_vec(),
            put: None,
            previous: None,
            revision: making,
        }))
    }

    /// Does what an event says; the event with what was there before.
    pub(super) fn apply(&mut self, event: Event) -> Event {
        let previous = self.get(&event.key).cloned();
        let version = Version {
            revision: event.revision,
            value: event.put.clone(),
        };
        self.push(&event.key, version);
        Event { previous, ..event }
    }

    fn push(&mut self, key: &[u8], version: Version) {
        let weight = |version: &Version| {
            let value = version.value.as_ref()?;
            let len = u64::try_from(value.key.len().saturating_add(value.value.len()));
            Some(len.unwrap_or(u64::MAX).saturating_add(KEY_BYTES))
        };
        let versions = self.keys.entry(key.to_vec()).or_default();
        let before = versions.last().and_then(weight).unwrap_or(0);
        let after = weight(&version).unwrap_or(0);
        self.live_bytes = self.live_bytes.saturating_sub(before).saturating_add(after);
        versions.push(version);
    }

    /// Ends the making of a revision.
    pub(super) fn seal(&mut self, events: &[Event]) {
        if let Some(last) = events.last() {
            self.revision = last.revision;
        }
    }

    /// Forgets what no read at `revision` or later needs.
    pub(super) fn compact(&mut self, revision: i64) -> Result<(), Failure> {
        if revision <= self.compacted {
            return Err(Failure::Compacted);
        }
        if revision > self.revision {
            return Err(Failure::FutureRevision);
        }
        self.compacted = revision;
        self.keys.retain(|_key, versions| {
            let keep = versions.partition_point(|version| version.revision <= revision);
            let first = keep.saturating_sub(1);
            // A removal that nobody can see any more goes too.
            let dead = versions
                .get(first)
                .is_some_and(|v| v.value.is_none() && v.revision <= revision);
            versions.drain(..if dead { keep } else { first });
            !versions.is_empty()
        });
        Ok(())
    }

    /// Answers a range request; `now` is the revision that it is read at when it names none.
    pub(super) fn range(
        &self,
        request: &PbRangeRequest,
        now: i64,
    ) -> Result<PbRangeResponse, Failure> {
        if request.key.is_empty() {
            return Err(Failure::EmptyKey);
        }
        if request.revision > now {
            return Err(Failure::FutureRevision);
        }
        if request.revision > 0 && request.revision < self.compacted {
            return Err(Failure::Compacted);
        }
        let revision = if request.revision > 0 {
            request.revision
        } else {
            now
        };
        let range = Range::new(&request.key, &request.range_end);
        let all: Vec<&Arc<PbKeyValue>> = self.at(&range, revision).collect();
        let count = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let mut answer = PbRangeResponse {
            count,
            ..PbRangeResponse::default()
        };
        if request.count_only {
            return Ok(answer);
        }
        let within = |value: i64, least: i64, most: i64| {
            (least == 0 || value >= least) && (most == 0 || value <= most)
        };
        let mut kept: Vec<&Arc<PbKeyValue>> = all
            .into_iter()
            .filter(|kv| {
                within(
                    kv.mod_revision,
                    request.min_mod_revision,
                    request.max_mod_revision,
                ) && within(
                    kv.create_revision,
                    request.min_create_revision,
                    request.max_create_revision,
                )
            })
            .collect();
        // As etcd does: without an order and bounds it reads one more than it was asked for, and
        // sorts those.
        let bounds = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ];
        if let Ok(limit @ 1..) = usize::try_from(request.limit)
            && request.sort_order == 0
            && bounds == [0; 4]
        {
            kept.truncate(limit.saturating_add(1));
        }
        sort(&mut kept, request.sort_order, request.sort_target);
        if let Ok(limit @ 1..) = usize::try_from(request.limit)
            && kept.len() > limit
        {
            kept.truncate(limit);
            answer.more = true;
        }
        answer.kvs = kept.into_iter().map(|kv| PbKeyValue::clone(kv)).collect();
        if request.keys_only {
            for kv in &mut answer.kvs {
                kv.value.clear();
            }
        }
        Ok(answer)
    }
}

/// Sorts as a request asks: orders are none 0, ascending 1, descending 2; targets are key 0,
/// version 1, create 2, mod 3, value 4. A target without an order is ascending.
fn sort(kvs: &mut [&Arc<PbKeyValue>], order: i32, target: i32) {
    match target {
        1 => kvs.sort_by_key(|kv| kv.version),
        2 => kvs.sort_by_key(|kv| kv.create_revision),
        3 => kvs.sort_by_key(|kv| kv.mod_revision),
        4 => kvs.sort_by(|a, b| a.value.cmp(&b.value)),
        _ => {},
    }
    if order == 2 {
        match target {
            1 => kvs.sort_by_key(|kv| std::cmp::Reverse(kv.version)),
            2 => kvs.sort_by_key(|kv| std::cmp::Reverse(kv.create_revision)),
            3 => kvs.sort_by_key(|kv| std::cmp::Reverse(kv.mod_revision)),
            4 => kvs.sort_by(|a, b| b.value.cmp(&a.value)),
            _ => kvs.reverse(),
        }
    }
}
