//! The pure part of a mirror: how a list and a change make the next view of the last.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::super::{Entry, Listing, WatchEvent, records};
use crate::ids::Revision;

/// A value and what etcd says of its key.
#[derive(Debug, PartialEq)]
pub struct Held<T> {
    /// The value.
    pub value: Arc<T>,
    /// The revision that made the key.
    pub create_revision: Revision,
    /// The revision that changed it last.
    pub mod_revision: Revision,
    /// The lease that it hangs on; 0 for none.
    pub lease: i64,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self {
            value: Arc::clone(&self.value),
            ..*self
        }
    }
}

/// A prefix of etcd at one revision. Keys are without the prefix.
#[derive(Debug)]
pub struct View<T> {
    /// Shared keys and values: the next view copies neither.
    entries: BTreeMap<Arc<str>, Held<T>>,
    revision: Revision,
    cluster: u64,
}

impl<T> Default for View<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            revision: Revision(0),
            cluster: 0,
        }
    }
}

impl<T> View<T> {
    /// The value of a key.
    pub fn get(&self, suffix: &str) -> Option<&Held<T>> {
        self.entries.get(suffix)
    }

    /// Keys and values, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Held<T>)> {
        self.entries.iter().map(|(suffix, held)| (&**suffix, held))
    }

    /// Keys and values of the keys that start so, ascending.
    pub fn range<'v>(&'v self, start: &'v str) -> impl Iterator<Item = (&'v str, &'v Held<T>)> {
        self.entries
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(suffix, _held)| suffix.starts_with(start))
            .map(|(suffix, held)| (&**suffix, held))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The revision that this is a view of.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}

impl<T: DeserializeOwned> View<T> {
    /// The view that a new list gives, and how many of its values did not parse; of those the last
    /// good value stays.
    ///
    /// # Errors
    /// Why the list is refused.
    pub(super) fn relisted(&self, prefix: &str, listing: Listing) -> Result<(Self, u64), String> {
        if self.cluster != 0 && self.cluster != listing.cluster {
            return Err(format!(
                "etcd cluster {:x} answers where {:x} did",
                listing.cluster, self.cluster
            ));
        }
        if listing.revision < self.revision {
            return Err(format!(
                "etcd is at revision {}, behind {} which was read already",
                listing.revision, self.revision
            ));
        }
        let mut unreadable = 0;
        let mut entries = BTreeMap::new();
        for entry in listing.entries {
            let Some(suffix) = entry.key.strip_prefix(prefix) else {
                continue;
            };
            match held(&entry).or_else(|| {
                self.entries
                    .get(suffix)
                    .cloned()
                    .inspect(|_| unreadable += 1)
            }) {
                Some(held) => {
                    entries.insert(Arc::from(suffix), held);
                },
                None => unreadable += 1,
            }
        }
        Ok((
            Self {
                entries,
                revision: listing.revision,
                cluster: listing.cluster,
            },
            unreadable,
        ))
    }

    /// The view after some changes, and how many of their values did not parse.
    pub(super) fn advanced(
        &self,
        prefix: &str,
        events: impl Iterator<Item = WatchEvent>,
        revision: Revision,
    ) -> (Self, u64) {
        let mut unreadable = 0;
        let mut entries = self.entries.clone();
        for event in events {
            let Some(suffix) = event.key.strip_prefix(prefix) else {
                continue;
            };
            match event.put {
                None => {
                    entries.remove(suffix);
                },
                Some(entry) => match held(&entry) {
                    Some(held) => {
                        entries.insert(Arc::from(suffix), held);
                    },
                    None => unreadable += 1,
                },
            }
        }
        let revision = self.revision.max(revision);
        (
            Self {
                entries,
                revision,
                cluster: self.cluster,
            },
            unreadable,
        )
    }
}

fn held<T: DeserializeOwned>(entry: &Entry) -> Option<Held<T>> {
    Some(Held {
        value: Arc::new(records::decode(&entry.value).ok()?),
        create_revision: entry.create_revision,
        mod_revision: entry.mod_revision,
        lease: entry.lease,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(key: &str, value: &str, revision: i64) -> Entry {
        Entry {
            key: key.to_owned(),
            value: value.as_bytes().to_vec(),
            create_revision: Revision(revision),
            mod_revision: Revision(revision),
            lease: 0,
        }
    }

    fn listing(entries: Vec<Entry>, revision: i64) -> Listing {
        Listing {
            entries,
            revision: Revision(revision),
            cluster: 1,
        }
    }

    fn values(view: &View<i64>) -> Vec<(String, i64)> {
        view.iter()
            .map(|(key, held)| (key.to_owned(), *held.value))
            .collect()
    }

    #[test]
    fn what_does_not_parse_leaves_the_last_good_value() {
        let (view, bad) = View::<i64>::default()
            .relisted("p/", listing(vec![entry("p/a", "1", 2)], 2))
            .unwrap();
        assert_eq!((values(&view), bad), (vec![("a".into(), 1)], 0));
        let event = WatchEvent {
            key: "p/a".into(),
            put: Some(entry("p/a", "{", 3)),
            revision: Revision(3),
        };
        let (view, bad) = view.advanced("p/", [event].into_iter(), Revision(3));
        assert_eq!((values(&view), bad), (vec![("a".into(), 1)], 1));
        let again = listing(vec![entry("p/a", "{", 3), entry("p/b", "{", 3)], 3);
        let (view, bad) = view.relisted("p/", again).unwrap();
        assert_eq!((values(&view), bad), (vec![("a".into(), 1)], 2));
    }

    #[test]
    fn an_older_list_or_another_cluster_is_refused() {
        let (view, _) = View::<i64>::default()
            .relisted("p/", listing(vec![], 9))
            .unwrap();
        assert!(view.relisted("p/", listing(vec![], 8)).is_err());
        let other = Listing {
            cluster: 2,
            ..listing(vec![], 10)
        };
        assert!(view.relisted("p/", other).is_err());
        assert!(view.relisted("p/", listing(vec![], 9)).is_ok());
    }

    proptest! {
        /// However a history is cut into a list and changes, the view is the same.
        #[test]
        fn a_list_and_the_changes_after_it_give_what_a_later_list_gives(
            history in prop::collection::vec((0u8..6, prop::option::of(0i64..9)), 0..40),
            cut in 0usize..40,
        ) {
            let events: Vec<WatchEvent> = history
                .iter()
                .zip(2i64..)
                .map(|((key, value), revision)| WatchEvent {
                    key: format!("p/{key}"),
                    put: value.map(|value| entry(&format!("p/{key}"), &value.to_string(), revision)),
                    revision: Revision(revision),
                })
                .collect();
            let state = |events: &[WatchEvent]| {
                let mut keys: BTreeMap<String, Entry> = BTreeMap::new();
                for event in events {
                    match &event.put {
                        Some(entry) => keys.insert(event.key.clone(), entry.clone()),
                        None => keys.remove(&event.key),
                    };
                }
                let revision = events.last().map_or(1, |event| event.revision.0);
                listing(keys.into_values().collect(), revision)
            };
            let (before, after) = events.split_at(cut.min(events.len()));
            let (first, _) = View::<i64>::default().relisted("p/", state(before)).unwrap();
            let last = Revision(state(&events).revision.0);
            let (followed, _) = first.advanced("p/", after.iter().cloned(), last);
            let (listed, _) = View::<i64>::default().relisted("p/", state(&events)).unwrap();
            prop_assert_eq!(values(&followed), values(&listed));
            prop_assert_eq!(followed.revision(), listed.revision());
        }
    }
}
