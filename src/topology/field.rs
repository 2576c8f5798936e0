//! Fields of a manifest, and what is wrong with them.

use std::fmt;

use crate::fault::{Fault, Kind};

/// Characters of somebody's value that a message repeats.
const EXCERPT_CHARS_MAX: usize = 64;

/// Where a value stands in a manifest, such as `spec.updates.windows[0].schedule`. The path of
/// nothing is the manifest itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Field(String),
    Item(usize),
}

impl FieldPath {
    /// The manifest itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path that this text spells, its names separated by dots. It knows nothing of items.
    pub fn of(dotted: &str) -> Self {
        let names = dotted.split('.').filter(|name| !name.is_empty());
        Self(names.map(|name| Step::Field(name.to_owned())).collect())
    }

    /// A field of the object here.
    pub fn field(&self, name: &str) -> Self {
        self.step(Step::Field(name.to_owned()))
    }

    /// An item of the list here.
    pub fn item(&self, index: usize) -> Self {
        self.step(Step::Item(index))
    }

    /// The place that `rest` leads to from here.
    pub fn join(&self, rest: &Self) -> Self {
        let mut steps = self.0.clone();
        steps.extend(rest.0.iter().cloned());
        Self(steps)
    }

    /// Whether this place is `outer` or inside of it.
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("manifest");
        }
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(f, "[{index}]")?,
                Step::Field(name) if !is_plain(name) => write!(f, "[{}]", excerpt(name))?,
                Step::Field(name) if at == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

/// Whether a name can stand between dots: a label such as `app.kubernetes.io/name` cannot.
fn is_plain(name: &str) -> bool {
    (1..=EXCERPT_CHARS_MAX).contains(&name.len())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// One fault of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{path}: {}", without_path(.problem, .path))]
pub struct FieldFault {
    /// The field that it is in.
    pub path: FieldPath,
    /// What is wrong with it, on one line.
    pub problem: String,
}

impl FieldFault {
    /// The problem of this field. Line breaks and other control characters become spaces.
    pub fn new(path: FieldPath, problem: impl Into<String>) -> Self {
        let problem = problem.into().replace(char::is_control, " ");
        Self { path, problem }
    }
}

impl Fault for FieldFault {
    fn kind(&self) -> Kind {
        Kind::InvalidInput
    }

    fn code(&self) -> &'static str {
        "topology.manifest"
    }
}

/// A problem that begins with the end of its own path, as rules that also stand alone do, without it.
fn without_path<'a>(problem: &'a str, path: &FieldPath) -> &'a str {
    match problem.split_once(' ') {
        Some((name, rest)) if name.contains('.') => {
            let path = format!(".{path}");
            if path.ends_with(&format!(".{name}")) {
                rest
            } else {
                problem
            }
        },
        _ => problem,
    }
}

/// The beginning of a text that somebody else wrote, fit for a message.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String = text.chars().take(EXCERPT_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_its_path_once() {
        let said = |path: &str, problem: &str| {
            let fault = FieldFault::new(FieldPath::of(path), problem);
            fault.to_string()
        };
        assert_eq!(
            said("spec.master.replicas", "master.replicas must be 1"),
            "spec.master.replicas: must be 1"
        );
        for problem in [
            "other.replicas must be 1",
            "replicas",
            "aster.replicas must be 1",
        ] {
            let whole = format!("spec.master.replicas: {problem}");
            assert_eq!(said("spec.master.replicas", problem), whole);
        }
    }
}
