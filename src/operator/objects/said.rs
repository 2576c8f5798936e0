//! One condition of an object, before it has a time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// Characters of a message: a condition is read by people.
const MESSAGE_CHARS_MAX: usize = 1_024;

/// Whether a condition is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) truth: Truth,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Said {
    pub(super) fn new(truth: Truth, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            truth,
            reason,
            message: message.into(),
        }
    }

    /// The condition of a type. Its time is that of the one before, unless its truth is another.
    pub(super) fn condition(
        &self,
        type_: &str,
        before: &[Condition],
        generation: Option<i64>,
        now: Timestamp,
    ) -> Condition {
        let status = self.truth.as_str();
        let known = before.iter().find(|condition| condition.type_ == type_);
        let since = match known {
            Some(known) if known.status == status => known.last_transition_time.clone(),
            Some(_) | None => Time(now),
        };
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.chars().take(MESSAGE_CHARS_MAX).collect(),
            observed_generation: generation,
            last_transition_time: since,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_condition_is_that_of_its_last_change() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = Said::new(Truth::False, "A", "x").condition("Ready", &[], Some(1), at(1));
        let same = Said::new(Truth::False, "B", "y");
        let same = same.condition("Ready", std::slice::from_ref(&first), Some(2), at(2));
        assert_eq!((same.last_transition_time.0, &*same.reason), (at(1), "B"));
        assert_eq!(same.observed_generation, Some(2));
        let other = Said::new(Truth::Unknown, "C", "").condition("Ready", &[first], None, at(3));
        assert_eq!(
            (other.last_transition_time.0, &*other.status),
            (at(3), "Unknown")
        );
    }
}
