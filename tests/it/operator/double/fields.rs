//! Sets of fields: who manages what of an object. They are spelled as `metadata.managedFields` does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::shape::{List, Shape, item_key};

/// Fields of metadata that nobody manages.
const SYSTEM: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// A set of fields: whether the place itself is in it, and what is below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) here: bool,
    pub(crate) below: BTreeMap<String, Fields>,
}

impl Fields {
    /// The fields of an object that somebody may manage.
    pub(crate) fn of(shape: Shape<'_>, object: &Value) -> Self {
        let mut fields = Self::default();
        for (name, value) in object.as_object().into_iter().flatten() {
            match &**name {
                "apiVersion" | "kind" => {},
                "metadata" => {
                    let mut metadata = value.clone();
                    if let Some(all) = metadata.as_object_mut() {
                        all.retain(|name, _| !SYSTEM.contains(&&**name));
                    }
                    if metadata.as_object().is_some_and(|all| !all.is_empty()) {
                        fields.take("f:metadata", shape.field("metadata"), &metadata);
                    }
                },
                name => fields.take(&format!("f:{name}"), shape.field(name), value),
            }
        }
        fields
    }

    fn take(&mut self, step: &str, shape: Shape<'_>, value: &Value) {
        let at = self.below.entry(step.to_owned()).or_default();
        at.collect(shape, value);
    }

    fn collect(&mut self, shape: Shape<'_>, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() && !shape.is_atomic() => {
                for (name, value) in fields {
                    self.take(&format!("f:{name}"), shape.field(name), value);
                }
            },
            Value::Array(items) if !items.is_empty() => match shape.list() {
                List::Atomic => self.here = true,
                List::Set => {
                    for item in items {
                        let at = self.below.entry(format!("v:{item}")).or_default();
                        at.here = true;
                    }
                },
                List::Map(keys) => {
                    for item in items {
                        let step = item_key(shape, &keys, item);
                        self.take(&step, shape.item(), item);
                        if let Some(at) = self.below.get_mut(&step) {
                            at.here = true;
                        }
                    }
                },
            },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => self.here = true,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.here && self.below.values().all(Self::is_empty)
    }

    fn pruned(mut self) -> Self {
        self.below = std::mem::take(&mut self.below)
            .into_iter()
            .map(|(step, below)| (step, below.pruned()))
            .filter(|(_, below)| !below.is_empty())
            .collect();
        self
    }

    /// What is in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let below = self.below.iter().filter_map(|(step, mine)| {
            let theirs = other.below.get(step)?;
            Some((step.clone(), mine.and(theirs)))
        });
        let both = Self {
            here: self.here && other.here,
            below: below.collect(),
        };
        both.pruned()
    }

    /// What is in this and not in the other.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let below = self.below.iter().map(|(step, mine)| {
            let left = other.below.get(step).map(|theirs| mine.without(theirs));
            (step.clone(), left.unwrap_or_else(|| mine.clone()))
        });
        let left = Self {
            here: self.here && !other.here,
            below: below.collect(),
        };
        left.pruned()
    }

    /// What is in one of them.
    pub(crate) fn or(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.here |= other.here;
        for (step, theirs) in &other.below {
            let mine = both.below.entry(step.clone()).or_default();
            *mine = mine.or(theirs);
        }
        both
    }

    /// As `managedFields` spells it.
    pub(crate) fn to_value(&self) -> Value {
        let mut spelled = Map::new();
        if self.here && !self.below.is_empty() {
            spelled.insert(".".to_owned(), json!({}));
        }
        for (step, below) in &self.below {
            spelled.insert(step.clone(), below.to_value());
        }
        Value::Object(spelled)
    }

    /// From how `managedFields` spells it.
    pub(crate) fn from_value(value: &Value) -> Self {
        let spelled = value.as_object();
        let is_leaf = spelled.is_none_or(Map::is_empty);
        let mut fields = Self {
            here: is_leaf,
            below: BTreeMap::new(),
        };
        for (step, value) in spelled.into_iter().flatten() {
            if step == "." {
                fields.here = true;
            } else {
                fields.below.insert(step.clone(), Self::from_value(value));
            }
        }
        fields
    }

    /// The places of the leaves, for messages: `.spec.replicas`.
    pub(crate) fn places(&self) -> Vec<String> {
        let mut places = Vec::new();
        if self.here {
            places.push(String::new());
        }
        for (step, below) in &self.below {
            let named = match step.split_once(':') {
                Some(("f", name)) => format!(".{name}"),
                Some((_, key)) => format!("[{}]", key.trim_matches(['{', '}'])),
                None => step.clone(),
            };
            places.extend(below.places().iter().map(|place| format!("{named}{place}")));
        }
        places
    }
}

/// How one object differs from another: what was changed or added, and what was removed.
pub(crate) struct Difference {
    pub(crate) changed: Fields,
    pub(crate) removed: Fields,
}

/// Compares what somebody may manage.
pub(crate) fn difference(shape: Shape<'_>, before: &Value, after: &Value) -> Difference {
    let (old, new) = (Fields::of(shape, before), Fields::of(shape, after));
    let mut same = new.and(&old);
    keep_equal(shape, &mut same, (before, after));
    Difference {
        changed: new.without(&same),
        removed: old.without(&new),
    }
}

/// Takes out of a set of common places those whose values differ.
fn keep_equal(shape: Shape<'_>, same: &mut Fields, (before, after): (&Value, &Value)) {
    if same.here && same.below.is_empty() && before != after {
        same.here = false;
    }
    for (step, below) in &mut same.below {
        match step.split_once(':') {
            Some(("f", name)) => {
                keep_equal(shape.field(name), below, (&before[name], &after[name]));
            },
            Some(("k", _)) => {
                let List::Map(keys) = shape.list() else {
                    continue;
                };
                let found = |list: &Value| {
                    let items = list.as_array().into_iter().flatten();
                    let mut items = items.filter(|item| item_key(shape, &keys, item) == *step);
                    items.next().cloned().unwrap_or_default()
                };
                let (before, after) = (found(before), found(after));
                let here = below.here;
                keep_equal(shape.item(), below, (&before, &after));
                below.here = here;
            },
            _ => {},
        }
    }
}
