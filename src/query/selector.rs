//! Answers: which parts of a point they carry, and the points themselves.

use serde_json::{Map, Value};

use super::FieldPath;
use super::field::Step;
use crate::ids::{PointId, Sequence};

/// Which part of the payload an answer carries.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum PayloadSelector {
    /// Nothing.
    #[default]
    None,
    /// All of it.
    All,
    /// Only what these paths lead to.
    Include(Vec<FieldPath>),
    /// All but what these paths lead to.
    Exclude(Vec<FieldPath>),
}

/// A point in an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: PointId,
    /// The sequence of the write that last changed it.
    pub version: Sequence,
    /// The text of a JSON object, when asked for.
    pub payload: Option<Vec<u8>>,
    /// As stored, when asked for.
    pub vector: Option<Vec<f32>>,
}

impl Record {
    /// About how many bytes it takes in an answer.
    pub fn about_bytes(&self) -> usize {
        let vector = self.vector.as_ref().map_or(0, |vector| 4 * vector.len());
        64 + vector + self.payload.as_ref().map_or(0, Vec::len)
    }
}

/// A point that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredPoint {
    /// The point.
    pub record: Record,
    /// How near, by the collection's distance. Finite.
    pub score: f32,
}

impl PayloadSelector {
    /// The part of a payload that is asked for: JSON text in, JSON text out, `None` when nothing is.
    /// A text that is no JSON, which a store never holds, gives the empty object.
    pub fn apply(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let read = || serde_json::from_slice::<Value>(payload).unwrap_or_default();
        match self {
            Self::None => None,
            Self::All => Some(payload.to_vec()),
            Self::Include(paths) => {
                let whole = read();
                let mut part = Value::Object(Map::new());
                for path in paths {
                    copy(&whole, &mut part, path.steps());
                }
                Some(part.to_string().into_bytes())
            },
            Self::Exclude(paths) => {
                let mut whole = read();
                for path in paths {
                    path.remove(&mut whole);
                }
                Some(whole.to_string().into_bytes())
            },
        }
    }
}

/// Copies what the steps lead to, with the objects and arrays on the way.
fn copy(from: &Value, into: &mut Value, way: &[Step]) {
    let Some((step, way)) = way.split_first() else {
        into.clone_from(from);
        return;
    };
    match (step, from) {
        (Step::Key(key), Value::Object(members)) => {
            let Some(inner) = members.get(key) else {
                return;
            };
            if let Value::Array(elements) = inner
                && let Some((Step::Key(_), _)) = way.split_first()
            {
                // A key below an array is looked for in each element.
                let place = slot(into, key, Value::Array(vec![Value::Null; elements.len()]));
                if let Value::Array(places) = place {
                    for (element, place) in elements.iter().zip(places) {
                        copy(element, place, way);
                    }
                }
                return;
            }
            let blank = if inner.is_array() {
                Value::Array(Vec::new())
            } else {
                Value::Null
            };
            copy(inner, slot(into, key, blank), way);
        },
        (Step::Each, Value::Array(elements)) => {
            let places = into.as_array().map(Vec::len);
            if places != Some(elements.len()) {
                *into = Value::Array(vec![Value::Null; elements.len()]);
            }
            if let Value::Array(places) = into {
                for (element, place) in elements.iter().zip(places) {
                    copy(element, place, way);
                }
            }
        },
        (Step::At(place), Value::Array(elements)) => {
            if let Some(element) = elements.get(*place) {
                let mut inner = Value::Null;
                copy(element, &mut inner, way);
                *into = Value::Array(vec![inner]);
            }
        },
        _ => {},
    }
}

/// The member of an object, made with `blank` when it is not there.
fn slot<'v>(into: &'v mut Value, key: &str, blank: Value) -> &'v mut Value {
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    #[expect(clippy::expect_used, reason = "made an object just above")]
    let members = into.as_object_mut().expect("is an object");
    members.entry(key).or_insert(blank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_selector_takes_the_part_that_is_asked_for() {
        let payload = json!({"a": {"b": 1, "c": 2}, "d": [{"e": 1, "f": 2}, {"e": 3}], "g": null});
        let paths = |paths: &[&str]| -> Vec<FieldPath> {
            paths
                .iter()
                .map(|path| FieldPath::parse(path).unwrap())
                .collect()
        };
        let apply = |selector: &PayloadSelector| -> Value {
            let part = selector.apply(payload.to_string().as_bytes()).unwrap();
            serde_json::from_slice(&part).unwrap()
        };
        let include = |texts: &[&str]| apply(&PayloadSelector::Include(paths(texts)));
        assert_eq!(include(&["a.b"]), json!({"a": {"b": 1}}));
        assert_eq!(include(&["d[].e"]), json!({"d": [{"e": 1}, {"e": 3}]}));
        assert_eq!(include(&["d.e"]), json!({"d": [{"e": 1}, {"e": 3}]}));
        assert_eq!(
            include(&["a.b", "a.c", "no"]),
            json!({"a": {"b": 1, "c": 2}})
        );
        let exclude = |texts: &[&str]| apply(&PayloadSelector::Exclude(paths(texts)));
        assert_eq!(exclude(&["a.b", "d"]), json!({"a": {"c": 2}, "g": null}));
        assert_eq!(apply(&PayloadSelector::All), payload);
        assert_eq!(PayloadSelector::None.apply(b"{}"), None);
    }
}
