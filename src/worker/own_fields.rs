//! Payload indexes that nobody declared and filters ask for.
//!
//! Without an index a filter reads the payload of every point. So a field that filters ask for again and
//! again, in a shard that is not small, gets an index by itself: [`FIELDS_MAX`] of them at most, since
//! each is paid for by every write. What is declared for the collection comes first, and is no matter of
//! this.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::limits::INDEXED_FIELD_BYTES_MAX;
use crate::query::{Condition, FieldTest, Filter, Scalar};
use crate::store::IndexKind;

/// Indexes that a shard makes by itself.
const FIELDS_MAX: usize = 8;

/// Fields that are counted; beyond, none is begun to be counted until some have their index.
const COUNTED_MAX: usize = 64;

/// Filters by a field before it gets its index.
const USES: u32 = 8;

/// Points below which payloads are read soon enough.
const POINTS_MIN: u64 = 10_000;

/// The indexes of a shard by kind.
pub(super) type Kinds = BTreeMap<String, IndexKind>;

/// What filters of a shard ask for.
#[derive(Debug, Default)]
pub(super) struct OwnFields(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Those that have an index, or are to have one.
    own: Kinds,
    /// How often others were asked for, as which kind.
    uses: BTreeMap<String, (IndexKind, u32)>,
}

impl OwnFields {
    /// Counts a filter of a shard that has so many points.
    pub(super) fn count(&self, filter: &Filter, points: u64) {
        if points < POINTS_MIN || filter.is_empty() {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Inner { own, uses } = &mut *inner;
        // Once for each filter, however often it names a field.
        let mut asked = BTreeMap::new();
        for_each_field(filter, &mut |field, kind| {
            asked.insert(field.to_owned(), kind);
        });
        for (field, kind) in &asked {
            let known = own.contains_key(field) || field.len() > INDEXED_FIELD_BYTES_MAX;
            if known || own.len() >= FIELDS_MAX {
                continue;
            }
            if !uses.contains_key(field) && uses.len() >= COUNTED_MAX {
                continue;
            }
            let (counted, times) = uses.entry(field.clone()).or_insert((*kind, 0));
            if counted == kind {
                *times = times.saturating_add(1);
            } else {
                // Texts and numbers in one field: what is asked for lately counts.
                (*counted, *times) = (*kind, 1);
            }
            if *times >= USES {
                uses.remove(field);
                own.insert(field.clone(), *kind);
            }
        }
    }

    /// Those of a shard whose collection declares some: these, and its own of other fields.
    pub(super) fn beside(&self, mut declared: Kinds, is_declared: impl Fn(&str) -> bool) -> Kinds {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.own.retain(|field, _kind| !is_declared(field));
        inner.uses.retain(|field, _uses| !is_declared(field));
        declared.extend(inner.own.clone());
        declared
    }
}

/// Shows each field that a filter tests for equality or a range.
fn for_each_field(filter: &Filter, show: &mut dyn FnMut(&str, IndexKind)) {
    let conditions = [&filter.must, &filter.should, &filter.must_not];
    for condition in conditions.into_iter().flatten() {
        match condition {
            Condition::Field(path, test) => {
                if let Some(kind) = kind_for(test) {
                    show(path.as_str(), kind);
                }
            },
            Condition::Filter(filter) => for_each_field(filter, show),
            Condition::IsEmpty(_) | Condition::IsNull(_) | Condition::HasId(_) => {},
        }
    }
}

/// The index that answers a test, if any does.
fn kind_for(test: &FieldTest) -> Option<IndexKind> {
    let scalar = match test {
        FieldTest::Range(_) => return Some(IndexKind::Number),
        FieldTest::Match(scalar) => scalar,
        FieldTest::MatchAny(scalars) => scalars.first()?,
        // No index tells who has another value.
        FieldTest::MatchExcept(_) => return None,
    };
    Some(match scalar {
        Scalar::Keyword(_) => IndexKind::Keyword,
        Scalar::Integer(_) => IndexKind::Number,
        Scalar::Bool(_) => IndexKind::Bool,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(must: &serde_json::Value) -> Filter {
        Filter::parse(&json!({ "must": must })).unwrap()
    }

    fn own(fields: &OwnFields) -> Vec<(String, IndexKind)> {
        fields.beside(Kinds::new(), |_| false).into_iter().collect()
    }

    #[test]
    fn a_field_that_is_asked_for_again_and_again_gets_an_index_of_its_kind() {
        let fields = OwnFields::default();
        let asked = filter(&json!([
            {"key": "lang", "match": {"value": "en"}},
            {"should": [{"key": "year", "range": {"gte": 2000}}, {"key": "open", "match": {"value": true}}]},
            {"is_empty": {"key": "gone"}},
        ]));
        for _ in 1..USES {
            fields.count(&asked, POINTS_MIN);
        }
        assert_eq!(own(&fields), []);
        fields.count(&asked, POINTS_MIN - 1);
        assert_eq!(own(&fields), [], "a small shard is read soon enough");
        fields.count(&asked, POINTS_MIN);
        let kinds = [
            ("lang", IndexKind::Keyword),
            ("open", IndexKind::Bool),
            ("year", IndexKind::Number),
        ];
        assert_eq!(
            own(&fields),
            kinds.map(|(field, kind)| (field.to_owned(), kind))
        );
        // What is declared is the collection's matter, whatever its kind.
        let declared = Kinds::from([("lang".to_owned(), IndexKind::Number)]);
        let kinds = fields.beside(declared, |field| field == "lang" || field == "open");
        let expected = [
            ("lang".to_owned(), IndexKind::Number),
            ("year".to_owned(), IndexKind::Number),
        ];
        assert_eq!(kinds, Kinds::from(expected));
    }

    #[test]
    fn there_are_never_many() {
        let fields = OwnFields::default();
        for field in 0..1_000 {
            let asked = filter(&json!([{"key": format!("f{field}"), "match": {"value": field}}]));
            for _ in 0..USES {
                fields.count(&asked, POINTS_MIN);
            }
        }
        assert_eq!(own(&fields).len(), FIELDS_MAX);
        let counted = OwnFields::default();
        for field in 0..1_000 {
            let asked = filter(&json!([{"key": format!("f{field}"), "match": {"value": field}}]));
            counted.count(&asked, POINTS_MIN);
        }
        assert_eq!(counted.0.lock().unwrap().uses.len(), COUNTED_MAX);
    }
}
