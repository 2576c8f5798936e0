//! A replica against a model of etcd that keeps its whole history.

use proptest::prelude::*;

use super::*;
use crate::coordination::records;

const PREFIX: &str = "/p/";

/// Values are numbers; anything else does not parse.
fn number(_rest: &str, bytes: &[u8]) -> Result<u64, records::Error> {
    serde_json::from_slice(bytes).map_err(records::Error::Malformed)
}

/// What etcd would hold, and everything that led there.
#[derive(Default)]
struct History {
    revision: i64,
    now: BTreeMap<String, Entry>,
    events: Vec<Event>,
}

impl History {
    /// One transaction: every change of it at the same revision.
    fn write(&mut self, changes: &[(u8, Option<Vec<u8>>)]) {
        self.revision += 1;
        let revision = Revision(self.revision);
        for (key, value) in changes {
            let key = format!("{PREFIX}{key}");
            let Some(value) = value.clone() else {
                if self.now.remove(&key).is_some() {
                    self.events.push(Event::Delete { key, revision });
                }
                continue;
            };
            let made = self.now.get(&key).map(|old| old.create_revision);
            let entry = Entry {
                key: key.clone(),
                value,
                create_revision: made.unwrap_or(revision),
                mod_revision: revision,
                lease: None,
            };
            self.now.insert(key, entry.clone());
            self.events.push(Event::Put(entry));
        }
    }

    fn listing(&self) -> Listing {
        Listing {
            entries: self.now.values().cloned().collect(),
            revision: Revision(self.revision),
            cluster_id: 1,
        }
    }

    /// All that happened after a revision, as one batch.
    fn since(&self, seen: Revision) -> Batch {
        let after = |event: &&Event| event.revision() > seen;
        let events: Vec<Event> = self.events.iter().filter(after).cloned().collect();
        let revision = events.last().map_or(seen, Event::revision);
        Batch { events, revision }
    }
}

/// What a reader must see: for each key that exists, the last value of its life that parses.
fn model(history: &History, shown: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    history
        .now
        .keys()
        .filter_map(|key| {
            let rest = key.strip_prefix(PREFIX).unwrap();
            Some((rest.to_owned(), *shown.get(key)?))
        })
        .collect()
}

fn seen(replica: &Replica<u64>) -> BTreeMap<String, u64> {
    let view = replica.view();
    view.iter()
        .map(|(rest, held)| (rest.to_owned(), *held.value))
        .collect()
}

#[derive(Debug, Clone)]
enum Step {
    /// A transaction happens in etcd.
    Write(Vec<(u8, Option<Vec<u8>>)>),
    /// The watch tells all that it has not told.
    Tell,
    /// The watch tells all since an earlier revision again.
    TellAgain(i64),
    /// The watch broke, or was compacted: a new listing.
    Relist,
    /// etcd says up to where everything was told (after telling it).
    Progress,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![
        4 => any::<u16>().prop_map(|n| Some(n.to_string().into_bytes())),
        1 => Just(Some(b"{odd".to_vec())),
        2 => Just(None),
    ];
    let changes = prop::collection::btree_map(0u8..6, value, 1..4)
        .prop_map(|changes| changes.into_iter().collect());
    let step = prop_oneof![
        4 => changes.prop_map(Step::Write),
        2 => Just(Step::Tell),
        1 => (0i64..9).prop_map(Step::TellAgain),
        1 => Just(Step::Relist),
        1 => Just(Step::Progress),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever mix of batches, repeated batches and listings: the replica holds what etcd held at
    /// its revision, except that a value that does not parse leaves the last good one that the
    /// replica itself saw in the key's life as the replica saw it.
    #[test]
    fn a_replica_equals_etcd_at_its_revision(steps in steps()) {
        let mut history = History::default();
        let mut replica = Replica::new(PREFIX.to_owned(), number);
        // What the replica may show for each key, followed event by event.
        let mut shown: BTreeMap<String, u64> = BTreeMap::new();
        let mut told = Revision(0);
        for step in steps {
            let before = seen(&replica);
            let changed = match step {
                Step::Write(changes) => {
                    history.write(&changes);
                    continue;
                },
                Step::Tell => {
                    let batch = history.since(told);
                    follow(&mut shown, &batch);
                    told = told.max(batch.revision);
                    replica.apply(&batch)
                },
                Step::TellAgain(back) => {
                    let batch = history.since(Revision(told.0 - back));
                    follow(&mut shown, &history.since(told));
                    told = told.max(batch.revision);
                    replica.apply(&batch)
                },
                Step::Relist => {
                    let listing = history.listing();
                    relist(&mut shown, &listing);
                    told = listing.revision;
                    replica.adopt(&listing).unwrap()
                },
                Step::Progress => {
                    let batch = history.since(told);
                    follow(&mut shown, &batch);
                    let changed = replica.apply(&batch);
                    told = Revision(history.revision);
                    replica.advance(told);
                    changed
                },
            };
            prop_assert_eq!(replica.revision(), told);
            prop_assert_eq!(seen(&replica), model(&history_at(&history, told), &shown));
            if seen(&replica) != before {
                prop_assert!(changed, "a change must be told");
            }
        }
    }

    /// A listing of an older state or of another cluster changes nothing.
    #[test]
    fn what_went_back_is_refused_whole(back in 1i64..5, other in prop::bool::ANY) {
        let mut history = History::default();
        for n in 0..6 {
            history.write(&[(n, Some(b"1".to_vec()))]);
        }
        let mut replica = Replica::new(PREFIX.to_owned(), number);
        replica.adopt(&history.listing()).unwrap();
        let before = seen(&replica);
        let mut listing = history.listing();
        listing.entries.clear();
        if other {
            listing.cluster_id = 2;
            listing.revision = Revision(99);
        } else {
            listing.revision = Revision(6 - back);
        }
        let refused = replica.adopt(&listing);
        prop_assert!(
            matches!(refused, Err(Error::WentBack { .. })),
            "expected a refusal"
        );
        prop_assert_eq!(seen(&replica), before);
        prop_assert_eq!(replica.revision(), Revision(6));
    }
}

/// The keys that existed at a revision (values do not matter here).
fn history_at(history: &History, revision: Revision) -> History {
    let mut then = History::default();
    for event in history
        .events
        .iter()
        .filter(|event| event.revision() <= revision)
    {
        match event {
            Event::Put(entry) => {
                then.now.insert(entry.key.clone(), entry.clone());
            },
            Event::Delete { key, .. } => {
                then.now.remove(key);
            },
        }
    }
    then
}

fn follow(shown: &mut BTreeMap<String, u64>, batch: &Batch) {
    for event in &batch.events {
        match event {
            Event::Put(entry) => {
                if let Ok(value) = number("", &entry.value) {
                    shown.insert(entry.key.clone(), value);
                }
            },
            Event::Delete { key, .. } => {
                shown.remove(key);
            },
        }
    }
}

fn relist(shown: &mut BTreeMap<String, u64>, listing: &Listing) {
    shown.retain(|key, _value| listing.entries.iter().any(|entry| entry.key == *key));
    for entry in &listing.entries {
        if let Ok(value) = number("", &entry.value) {
            shown.insert(entry.key.clone(), value);
        }
    }
}

#[test]
fn an_old_view_stays_as_it_was() {
    let mut history = History::default();
    history.write(&[(1, Some(b"1".to_vec()))]);
    let mut replica = Replica::new(PREFIX.to_owned(), number);
    replica.adopt(&history.listing()).unwrap();
    let old = replica.view();
    history.write(&[(1, None), (2, Some(b"2".to_vec()))]);
    assert!(replica.apply(&history.since(old.revision)));
    assert_eq!(old.get("1").map(|held| *held.value), Some(1));
    let new = replica.view();
    assert!(new.get("1").is_none());
    assert_eq!(
        new.get("2").map(|held| held.mod_revision),
        Some(Revision(2))
    );
    assert_eq!(new.values().map(|value| **value).collect::<Vec<_>>(), [2]);
}

#[test]
fn values_that_do_not_parse_are_counted() {
    let mut history = History::default();
    history.write(&[(1, Some(b"odd".to_vec()))]);
    let mut replica = Replica::new(PREFIX.to_owned(), number);
    assert!(!replica.adopt(&history.listing()).unwrap());
    assert_eq!((replica.unreadable(), seen(&replica).len()), (1, 0));
}
