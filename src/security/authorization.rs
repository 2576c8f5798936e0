//! The rules: which role may do what to which kind of thing. Pure, and one table.

/// What a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May look, and change nothing.
    ReadOnly,
}

impl Role {
    /// The role of this name.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "admin" => Some(Self::Admin),
            "read-only" => Some(Self::ReadOnly),
            _ => None,
        }
    }
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Asks whether the process lives and serves. The one action that needs no credentials.
    Probe,
    /// Looks, and changes nothing.
    Read,
    /// Changes points.
    Write,
    /// Changes what collections there are, their settings or their names.
    Manage,
    /// Looks at how the process does.
    Observe,
}

/// What kind of thing a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The process that answers.
    Process,
    /// The cluster as a whole.
    Cluster,
    /// The list of collections.
    Collections,
    /// One collection.
    Collection,
    /// The points of one collection.
    Points,
    /// Aliases.
    Aliases,
    /// Snapshots.
    Snapshots,
}

/// Whether the role may do this. Without credentials (`None`) only [`Action::Probe`] is allowed.
pub const fn permits(role: Option<Role>, action: Action, resource: Resource) -> bool {
    match (role, action, resource) {
        // Probing is about the process and nothing else, whoever asks.
        (_, Action::Probe, resource) => matches!(resource, Resource::Process),
        (Some(Role::Admin), _, _) => true,
        // A snapshot is all of a collection at once: reading it is no small look.
        (Some(Role::ReadOnly), Action::Read, Resource::Snapshots) => false,
        (Some(Role::ReadOnly), Action::Read | Action::Observe, _) => true,
        (Some(Role::ReadOnly), Action::Write | Action::Manage, _) | (None, _, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_may_only_probe_and_readers_change_nothing() {
        use Action::{Manage, Observe, Probe, Read, Write};
        use Resource::{Aliases, Cluster, Collection, Collections, Points, Process, Snapshots};
        for resource in [
            Process,
            Cluster,
            Collections,
            Collection,
            Points,
            Aliases,
            Snapshots,
        ] {
            for action in [Probe, Read, Write, Manage, Observe] {
                let nobody = permits(None, action, resource);
                let reader = permits(Some(Role::ReadOnly), action, resource);
                let admin = permits(Some(Role::Admin), action, resource);
                assert_eq!(nobody, action == Probe && resource == Process);
                assert!(!reader || !matches!(action, Write | Manage));
                assert_eq!(admin, action != Probe || resource == Process);
            }
        }
        assert!(!permits(Some(Role::ReadOnly), Read, Snapshots));
    }
}
