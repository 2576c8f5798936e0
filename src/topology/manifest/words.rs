//! What the schema refuses, in words for people.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::structure::schema_at;
use crate::topology::field::excerpt;
use crate::topology::{FieldFault, FieldPath};

/// Patterns of the definition, as people would say them. A test finds one that is missing.
const PATTERNS: &[(&str, &str)] = &[
    (
        "^[a-z]([-a-z0-9]*[a-z0-9])?$",
        "must be lower-case letters, digits and '-', begin with a letter and end with a letter or digit",
    ),
    (
        r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$",
        "must be a version, such as 0.1.0",
    ),
    (
        "^sha256:[0-9a-f]{64}$",
        "must be sha256: and 64 hexadecimal digits in lower case",
    ),
    (
        "^([0-9]{1,6}h)?([0-9]{1,8}m)?$",
        "must be a time in hours and minutes, such as 2160h or 1h30m",
    ),
    (
        "^[0-9]+(s|m)$",
        "must be a time in seconds or minutes, such as 30s",
    ),
];

/// The faults that one error of the validator stands for.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a structural schema uses few of the validator's keywords; the rest have its own words"
)]
pub(super) fn faults_of(error: &ValidationError<'_>, schema: &Value) -> Vec<FieldFault> {
    let path = path_of(error.instance_path());
    let given = spelled(error.instance());
    let problem = match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = schema_at(schema, &path);
            return unexpected
                .iter()
                .map(|name| FieldFault::new(path.field(name), unknown(name, known)))
                .collect();
        },
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            return vec![FieldFault::new(path.field(name), "is required")];
        },
        ValidationErrorKind::Type { kind } => wrong_type(kind, error.instance()),
        ValidationErrorKind::Enum { options } => {
            let words: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(spelled)
                .collect();
            format!("must be one of {}, not {given}", words.join(", "))
        },
        ValidationErrorKind::Minimum { limit } => format!("must be at least {limit}, not {given}"),
        ValidationErrorKind::Maximum { limit } => format!("must be at most {limit}, not {given}"),
        ValidationErrorKind::MinLength { limit } => {
            format!("must have at least {limit} characters, not {given}")
        },
        ValidationErrorKind::MaxLength { limit } => {
            format!("must have at most {limit} characters, not {given}")
        },
        ValidationErrorKind::MinItems { limit } => format!("must have at least {limit} items"),
        ValidationErrorKind::MaxItems { limit } => format!("must have at most {limit} items"),
        ValidationErrorKind::MinProperties { limit } => {
            format!("must have at least {limit} entries")
        },
        ValidationErrorKind::MaxProperties { limit } => {
            format!("must have at most {limit} entries")
        },
        ValidationErrorKind::Pattern { pattern } => {
            let words = PATTERNS.iter().find(|(known, _)| known == pattern);
            match words {
                Some((_, words)) => format!("{words}, not {given}"),
                None => format!("must match {pattern}, not {given}"),
            }
        },
        _ => error.masked_with("the value").to_string(),
    };
    vec![FieldFault::new(path, problem)]
}

fn path_of(location: &Location) -> FieldPath {
    let mut path = FieldPath::root();
    for segment in location.segments() {
        path = match segment {
            LocationSegment::Property(name) => path.field(&name),
            LocationSegment::Index(index) => path.item(index),
        };
    }
    path
}

fn wrong_type(kind: &TypeKind, given: &Value) -> String {
    let wanted: Vec<&str> = match kind {
        TypeKind::Single(one) => vec![type_words(*one)],
        TypeKind::Multiple(set) => set.iter().map(type_words).collect(),
    };
    let hint = match (kind, given) {
        (TypeKind::Single(JsonType::String), Value::Number(_) | Value::Bool(_)) => {
            " (put it in quotes)"
        },
        (TypeKind::Single(JsonType::Boolean), Value::String(_)) => " (write true or false)",
        (TypeKind::Single(JsonType::Integer), Value::String(text))
            if text.parse::<i64>().is_ok() =>
        {
            " (leave the quotes out)"
        },
        _ => "",
    };
    format!(
        "must be {}, not {}{hint}",
        wanted.join(" or "),
        spelled(given)
    )
}

fn type_words(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a text",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    }
}

/// A value as a message shows it.
fn spelled(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("'{}'", excerpt(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn unknown(name: &str, parent: Option<&Value>) -> String {
    let known = parent
        .and_then(|parent| parent.get("properties"))
        .and_then(Value::as_object);
    let nearest = known
        .into_iter()
        .flat_map(|known| known.keys())
        .map(|known| (distance(&known.to_lowercase(), &name.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min();
    match nearest {
        Some((_, known)) => format!("is not a known field; did you mean {known}?"),
        None => "is not a known field".to_owned(),
    }
}

/// How many letters have to be put in, left out or changed to make one word the other. Long words
/// are no slips of each other.
fn distance(one: &str, other: &str) -> usize {
    const CHARS_MAX: usize = 64;
    if one.len() > CHARS_MAX || other.len() > CHARS_MAX {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut left = line + 1;
        let mut next = vec![left];
        for ((above_left, above), same) in row.iter().zip(row.iter().skip(1)).zip(&other) {
            let change = above_left + usize::from(letter != *same);
            left = change.min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd;

    #[test]
    fn every_pattern_of_the_definition_has_words() {
        fn patterns(schema: &Value, found: &mut Vec<String>) {
            let pattern = schema.get("pattern").and_then(Value::as_str);
            found.extend(pattern.map(str::to_owned));
            match schema {
                Value::Object(fields) => fields.values().for_each(|value| patterns(value, found)),
                Value::Array(items) => items.iter().for_each(|item| patterns(item, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
            }
        }
        let mut found = Vec::new();
        patterns(crd::schema(crd::Kind::Cluster), &mut found);
        assert!(!found.is_empty());
        for pattern in &found {
            assert!(
                PATTERNS.iter().any(|(known, _)| known == pattern),
                "{pattern} has no words"
            );
        }
        for (known, _) in PATTERNS {
            assert!(
                found.iter().any(|pattern| pattern == known),
                "{known} is gone"
            );
        }
    }

    #[test]
    fn distance_counts_letters() {
        for (one, other, letters) in [
            ("replicas", "replicas", 0),
            ("replikas", "replicas", 1),
            ("replica", "replicas", 1),
            ("", "abc", 3),
            ("abc", "", 3),
            ("size", "wise", 2),
        ] {
            assert_eq!(distance(one, other), letters, "{one} {other}");
        }
    }
}
