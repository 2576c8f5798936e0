//! Label and field selectors.

use serde_json::Value;

use super::refusal::Refusal;

/// What a list or watch asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    /// Path, value, and whether it must be that value or must not.
    fields: Vec<(String, String, bool)>,
}

#[derive(Debug, Clone)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Reads both parameters.
    pub(crate) fn read(labels: &str, fields: &str) -> Result<Self, Refusal> {
        let labels = parts(labels).into_iter().map(requirement).collect();
        let fields = fields
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (path, value, equal) = match part.split_once("!=") {
                    Some((path, value)) => (path, value, false),
                    None => match part.split_once('=') {
                        Some((path, value)) => (path, value.trim_start_matches('='), true),
                        None => return Err(Refusal::bad(format!("invalid selector: '{part}'"))),
                    },
                };
                Ok((path.to_owned(), value.to_owned(), equal))
            });
        Ok(Self {
            labels,
            fields: fields.collect::<Result<_, _>>()?,
        })
    }

    /// Whether an object is selected.
    pub(crate) fn selects(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let label = |name: &String| labels[name].as_str();
        let labels = self.labels.iter().all(|requirement| match requirement {
            Requirement::In(name, values) => {
                label(name).is_some_and(|value| values.iter().any(|one| one == value))
            },
            Requirement::NotIn(name, values) => {
                label(name).is_none_or(|value| values.iter().all(|one| one != value))
            },
            Requirement::Exists(name) => label(name).is_some(),
            Requirement::Absent(name) => label(name).is_none(),
        });
        let fields = self.fields.iter().all(|(path, value, equal)| {
            let pointer = format!("/{}", path.trim_start_matches('.').replace('.', "/"));
            let found = object.pointer(&pointer);
            let found = match found {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) => String::new(),
                Some(other) => other.to_string(),
            };
            (found == *value) == *equal
        });
        labels && fields
    }
}

/// The parts between commas that are not in brackets.
fn parts(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    let split = text.split(move |mark: char| {
        match mark {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {},
        }
        mark == ',' && depth == 0
    });
    let parts = split.map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

fn requirement(part: &str) -> Requirement {
    let values = |text: &str| {
        let text = text.trim().trim_start_matches('(').trim_end_matches(')');
        text.split(',').map(|one| one.trim().to_owned()).collect()
    };
    if let Some((name, list)) = part.split_once(" notin ") {
        return Requirement::NotIn(name.trim().to_owned(), values(list));
    }
    if let Some((name, list)) = part.split_once(" in ") {
        return Requirement::In(name.trim().to_owned(), values(list));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Requirement::NotIn(name.trim().to_owned(), vec![value.trim().to_owned()]);
    }
    if let Some((name, value)) = part.split_once('=') {
        let value = value.trim_start_matches('=').trim().to_owned();
        return Requirement::In(name.trim().to_owned(), vec![value]);
    }
    match part.strip_prefix('!') {
        Some(name) => Requirement::Absent(name.trim().to_owned()),
        None => Requirement::Exists(part.to_owned()),
    }
}
