//! Paths into a payload: `a.b`, `a[].b`, `a[0]`, `"with.dot".c`.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Map, Value};

use crate::limits::{FIELD_BYTES_MAX, PATH_STEPS_MAX};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The member of an object with this key.
    Key(String),
    /// Each element of an array.
    Each,
    /// One element of an array.
    At(usize),
}

/// A path into a payload, never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath {
    text: String,
    steps: Vec<Step>,
}

/// A text that is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPath {
    /// It spells none.
    #[error("{0:?} is not a path into a payload")]
    Malformed(String),
    /// It has too many steps.
    #[error("{0:?} is not a path into a payload: it has more than {PATH_STEPS_MAX} steps")]
    Long(String),
}

impl FieldPath {
    /// The path that a text spells.
    ///
    /// # Errors
    /// [`NoPath`].
    pub fn parse(text: &str) -> Result<Self, NoPath> {
        let shown = || text.chars().take(64).collect();
        let wrong = || NoPath::Malformed(shown());
        if text.is_empty() || text.len() > FIELD_BYTES_MAX {
            return Err(wrong());
        }
        let mut rest = text.chars().peekable();
        let mut steps = Vec::new();
        loop {
            steps.push(Step::Key(key(&mut rest).ok_or_else(wrong)?));
            while rest.next_if_eq(&'[').is_some() {
                steps.push(element(&mut rest).ok_or_else(wrong)?);
            }
            if steps.len() > PATH_STEPS_MAX {
                return Err(NoPath::Long(shown()));
            }
            match rest.next() {
                None => {
                    return Ok(Self {
                        text: text.to_owned(),
                        steps,
                    });
                },
                Some('.') => {},
                Some(_) => return Err(wrong()),
            }
        }
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Everything that the path leads to. An array in the way of a key is walked element by element
    /// only where the path says so.
    pub fn values<'v>(&self, payload: &'v Value) -> Vec<&'v Value> {
        let mut at = vec![payload];
        for step in &self.steps {
            let mut next = Vec::new();
            for value in at {
                match (step, value) {
                    (Step::Key(key), Value::Object(members)) => next.extend(members.get(key)),
                    (Step::Each, Value::Array(elements)) => next.extend(elements),
                    (Step::At(place), Value::Array(elements)) => next.extend(elements.get(*place)),
                    _ => {},
                }
            }
            at = next;
        }
        at
    }

    /// Removes everything that the path leads to.
    pub fn remove(&self, payload: &mut Value) {
        if let Some((last, way)) = self.steps.split_last() {
            remove(payload, way, last);
        }
    }

    /// Merges members into the objects that the path leads to; what is not there, or is no object,
    /// is made one. Array steps only lead to elements that are there.
    pub fn merge(&self, payload: &mut Value, members: &Map<String, Value>) {
        merge(payload, &self.steps, members);
    }
}

fn remove(value: &mut Value, way: &[Step], last: &Step) {
    let Some((step, way)) = way.split_first() else {
        match (last, value) {
            (Step::Key(key), Value::Object(members)) => {
                members.remove(key);
            },
            (Step::Each, Value::Array(elements)) => elements.clear(),
            (Step::At(place), Value::Array(elements)) if *place < elements.len() => {
                elements.remove(*place);
            },
            _ => {},
        }
        return;
    };
    match (step, value) {
        (Step::Key(key), Value::Object(members)) => {
            if let Some(inner) = members.get_mut(key) {
                remove(inner, way, last);
            }
        },
        (Step::Each, Value::Array(elements)) => {
            for element in elements {
                remove(element, way, last);
            }
        },
        (Step::At(place), Value::Array(elements)) => {
            if let Some(element) = elements.get_mut(*place) {
                remove(element, way, last);
            }
        },
        _ => {},
    }
}

fn merge(value: &mut Value, way: &[Step], members: &Map<String, Value>) {
    match way.split_first() {
        None => object(value).extend(
            members
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        ),
        Some((Step::Key(key), way)) => {
            merge(
                object(value).entry(key.clone()).or_insert(Value::Null),
                way,
                members,
            );
        },
        Some((Step::Each, way)) => {
            if let Value::Array(elements) = value {
                for element in elements {
                    merge(element, way, members);
                }
            }
        },
        Some((Step::At(place), way)) => {
            if let Some(element) = value.as_array_mut().and_then(|array| array.get_mut(*place)) {
                merge(element, way, members);
            }
        },
    }
}

/// The value as an object, made one if it is none.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    #[expect(clippy::expect_used, reason = "made an object just above")]
    value.as_object_mut().expect("is an object")
}

/// A key: quoted, or up to the next `.` or `[`.
fn key(rest: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut key = String::new();
    if rest.next_if_eq(&'"').is_some() {
        loop {
            match rest.next()? {
                '"' => return (!key.is_empty()).then_some(key),
                '\\' => key.push(rest.next()?),
                character => key.push(character),
            }
        }
    }
    while let Some(character) = rest.next_if(|next| !matches!(next, '.' | '[' | ']' | '"')) {
        key.push(character);
    }
    (!key.is_empty()).then_some(key)
}

/// What stands between brackets: nothing, or the number of an element.
fn element(rest: &mut Peekable<Chars<'_>>) -> Option<Step> {
    let mut digits = String::new();
    loop {
        match rest.next()? {
            ']' if digits.is_empty() => return Some(Step::Each),
            ']' => return digits.parse().ok().map(Step::At),
            digit if digit.is_ascii_digit() => digits.push(digit),
            _ => return None,
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn paths_lead_where_they_say() {
        let payload = json!({"a": {"b": 1}, "c": [{"d": 2}, {"d": 3}, 4], "x.y": {"z": 5}});
        let check = |path: &str, expected: Value| {
            let found = FieldPath::parse(path).unwrap();
            assert_eq!(json!(found.values(&payload)), expected, "{path}");
        };
        check("a.b", json!([1]));
        check("c[].d", json!([2, 3]));
        check("c[1].d", json!([3]));
        check("c.d", json!([]));
        check("\"x.y\".z", json!([5]));
        check("a.b.c", json!([]));
        for wrong in [
            "", ".", "a.", ".a", "a..b", "a[", "a[x]", "a]", "[]", "\"a", "a\"b\"", "\"\"",
        ] {
            assert!(FieldPath::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_path_has_a_bounded_number_of_steps() {
        let keys = |count: usize| vec!["a"; count].join(".");
        assert!(FieldPath::parse(&keys(PATH_STEPS_MAX)).is_ok());
        for long in [keys(PATH_STEPS_MAX + 1), format!("a{}", "[0]".repeat(300))] {
            assert!(
                matches!(FieldPath::parse(&long), Err(NoPath::Long(_))),
                "{long}"
            );
        }
    }

    #[test]
    fn what_a_path_leads_to_can_be_removed_and_merged_into() {
        let mut payload = json!({"a": {"b": 1, "k": 2}, "c": [{"d": 2}, {"d": 3}]});
        FieldPath::parse("a.b").unwrap().remove(&mut payload);
        FieldPath::parse("c[].d").unwrap().remove(&mut payload);
        FieldPath::parse("no.where").unwrap().remove(&mut payload);
        assert_eq!(payload, json!({"a": {"k": 2}, "c": [{}, {}]}));
        let members = json!({"n": 1});
        FieldPath::parse("a.new")
            .unwrap()
            .merge(&mut payload, members.as_object().unwrap());
        FieldPath::parse("c[0]")
            .unwrap()
            .merge(&mut payload, members.as_object().unwrap());
        assert_eq!(
            payload,
            json!({"a": {"k": 2, "new": {"n": 1}}, "c": [{"n": 1}, {}]})
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in ".{0,40}") {
            if let Ok(path) = FieldPath::parse(&text) {
                prop_assert!(!path.steps().is_empty());
                prop_assert_eq!(path.as_str(), &text);
            }
        }
    }
}
