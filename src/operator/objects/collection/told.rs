//! What of a VectorCollection is told in an event. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::operator::events::{Told, told, warned};

/// Reasons that a person may have to look at.
const WARNED: &[&str] = &[
    "AlreadyExists",
    "CannotChange",
    "ChangeFailed",
    "DeletionBlocked",
    "DeletionProtected",
    "IndexInvalid",
    "NameTaken",
    "ReplicationNotAvailable",
    "ShardsUnavailable",
    "Vanished",
];

/// What has changed in Ready between two rounds, if it is worth an event.
pub(super) fn transition(before: &[Condition], after: &[Condition]) -> Option<Told> {
    let ready = |all: &[Condition]| all.iter().find(|one| one.type_ == "Ready").cloned();
    let now = ready(after)?;
    let then = ready(before).map(|ready| ready.reason).unwrap_or_default();
    if then == now.reason {
        return None;
    }
    match (&*then, &*now.reason) {
        ("Creating", "Serving") => Some(told("Created", now.message)),
        ("Adopting", "Serving") => Some(told("Adopted", now.message)),
        (_, reason) => {
            let reason = WARNED.iter().find(|one| **one == reason)?;
            Some(warned(reason, now.message))
        },
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;
    use crate::operator::objects::said::{Said, Truth};

    fn ready(reason: &'static str) -> Vec<Condition> {
        let said = Said::new(Truth::False, reason, "m");
        vec![said.condition("Ready", &[], None, Timestamp::UNIX_EPOCH)]
    }

    #[test]
    fn what_changes_is_told_once() {
        for (before, after, event) in [
            ("Creating", "Serving", Some((false, "Created"))),
            ("Adopting", "Serving", Some((false, "Adopted"))),
            ("MastersAway", "Serving", None),
            ("Serving", "Serving", None),
            ("Serving", "MastersAway", None),
            ("Serving", "Vanished", Some((true, "Vanished"))),
            ("Vanished", "Vanished", None),
            (
                "Serving",
                "DeletionBlocked",
                Some((true, "DeletionBlocked")),
            ),
        ] {
            let told = transition(&ready(before), &ready(after));
            let told = told.map(|told| (told.warning, told.reason));
            assert_eq!(told, event, "{before} {after}");
        }
        let first = transition(&[], &ready("NameTaken")).unwrap();
        assert_eq!(
            (first.warning, first.reason, &*first.note),
            (true, "NameTaken", "m")
        );
    }
}
