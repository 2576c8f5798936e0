//! What becomes of volumes: which grow, and which go when a cluster does. Pure.

mod fill;

pub(super) use fill::{FULL_PERCENT, Fills, STILL_FULL_PERCENT, fills};

use super::observe::ClaimSeen;
use crate::crd::v1alpha1::{DeletionPolicy, ResizePolicy, Storage, VectorClusterSpec};
use crate::topology::{Role, is_smaller};

/// A volume that should be larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Growth {
    pub(super) claim: String,
    pub(super) size: String,
}

/// The volumes that ask for less than the manifest says, or than their use does. None is ever asked to
/// shrink.
pub(super) fn growths(
    spec: &VectorClusterSpec,
    claims: &[ClaimSeen],
    fills: &Fills,
) -> Vec<Growth> {
    let growth = |claim: &ClaimSeen| {
        let storage = storage(spec, claim.role)?;
        let size = fill::size(storage, claim.role, claims, fills);
        let grows = storage.resize == ResizePolicy::Automatic
            && !claim.retired
            && !claim.leaving
            && is_smaller(&claim.asked, &size);
        grows.then(|| Growth {
            claim: claim.name.clone(),
            size,
        })
    };
    claims.iter().filter_map(growth).collect()
}

/// The volumes that are at least so full, each in a phrase that says what becomes of it. The percent is one
/// of few, so that the phrase does not change with every write.
pub(super) fn full(
    spec: &VectorClusterSpec,
    claims: &[ClaimSeen],
    (fills, least, step): (&Fills, u32, u32),
) -> Vec<String> {
    let growths = growths(spec, claims, fills);
    let full = claims.iter().filter_map(|claim| {
        let percent = fills.get(&claim.name).filter(|used| **used >= least)?;
        let storage = storage(spec, claim.role)?;
        let grows = is_smaller(&claim.capacity, &claim.asked)
            || growths.iter().any(|growth| growth.claim == claim.name);
        let why = match (&storage.auto_grow, storage.resize) {
            (_, ResizePolicy::Disabled) => "its storage.resize is Disabled".to_owned(),
            _ if grows => "it is to grow".to_owned(),
            (None, _) => "it grows when storage.size does".to_owned(),
            (Some(auto), _) if is_smaller(&claim.asked, &auto.max_size) => {
                "it grows when those of the other workers have had their last step".to_owned()
            },
            (Some(auto), _) => format!("it may not grow beyond {} by itself", auto.max_size),
        };
        let percent = percent - percent % step.max(1);
        Some(format!("{} is {percent} % full: {why}", claim.name))
    });
    full.collect()
}

fn storage(spec: &VectorClusterSpec, role: Role) -> Option<&Storage> {
    match role {
        Role::Worker => Some(&spec.worker.storage),
        Role::Etcd => spec.etcd.managed.as_ref().map(|managed| &managed.storage),
        Role::Master | Role::Gateway => None,
    }
}

/// The volumes that do not have yet what they ask for, each in a phrase.
pub(super) fn growing(claims: &[ClaimSeen]) -> Vec<String> {
    let growing = claims.iter().filter(|claim| {
        !claim.retired && !claim.capacity.is_empty() && is_smaller(&claim.capacity, &claim.asked)
    });
    growing
        .map(|claim| {
            let why = claim
                .resize
                .as_deref()
                .unwrap_or("its driver has not begun");
            format!(
                "{} has {} of {}: {why}",
                claim.name, claim.capacity, claim.asked
            )
        })
        .collect()
}

/// What stands between a cluster that is deleted and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// It may not be deleted, and runs on: reason and message.
    Held(&'static str, String),
    /// Its processes end first: volumes are deleted when nobody writes to them.
    StopProcesses,
    /// These volumes go, by name and UID.
    DeleteVolumes(Vec<(String, String)>),
    /// Its volumes are going; the person on call sees which.
    Wait(String),
    /// Nothing holds it any more. What it owns goes with it.
    Release,
}

/// What is left to do before a cluster that is deleted may go.
pub(super) fn ending(
    spec: &VectorClusterSpec,
    forced: bool,
    pods: usize,
    claims: &[ClaimSeen],
) -> Ending {
    if forced {
        return Ending::Release;
    }
    if spec.deletion_protection {
        let why = "spec.deletionProtection is set; it ends when that is taken away";
        return Ending::Held("Protected", why.to_owned());
    }
    match spec.deletion_policy {
        DeletionPolicy::Retain => Ending::Release,
        DeletionPolicy::Snapshot => {
            let why = "spec.deletionPolicy asks for a backup, and backups are not built yet; choose \
                       Retain or Delete";
            Ending::Held("BackupFailed", why.to_owned())
        },
        DeletionPolicy::Delete if pods > 0 => Ending::StopProcesses,
        DeletionPolicy::Delete => {
            let left: Vec<_> = claims
                .iter()
                .filter(|claim| !claim.leaving)
                .map(|claim| (claim.name.clone(), claim.uid.clone()))
                .collect();
            match (left.is_empty(), claims.first()) {
                (false, _) => Ending::DeleteVolumes(left),
                (true, Some(claim)) => Ending::Wait(format!("volume {} is going", claim.name)),
                (true, None) => Ending::Release,
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{LAPTOP_SAMPLE, manifest};

    fn spec(more: &str) -> VectorClusterSpec {
        manifest::check(&format!("{LAPTOP_SAMPLE}{more}"))
            .unwrap()
            .spec
    }

    fn claim(role: Role, asked: &str) -> ClaimSeen {
        ClaimSeen {
            role,
            ordinal: 0,
            name: format!("data-a-{role}-0"),
            uid: "u".to_owned(),
            retired: false,
            leaving: false,
            asked: asked.to_owned(),
            capacity: asked.to_owned(),
            resize: None,
        }
    }

    #[test]
    fn volumes_grow_when_the_manifest_says_so_and_are_never_asked_to_shrink() {
        let sized = spec("");
        let wanted = &sized.worker.storage.size;
        let claims = [
            claim(Role::Worker, "1Mi"),
            claim(Role::Worker, "100Ti"),
            claim(Role::Worker, wanted),
            ClaimSeen {
                retired: true,
                ..claim(Role::Worker, "1Mi")
            },
        ];
        let grown = growths(&sized, &claims, &Fills::new());
        assert_eq!(grown.len(), 1, "{grown:?}");
        assert_eq!(&grown[0].size, wanted);
        let waits = ClaimSeen {
            capacity: "1Gi".to_owned(),
            ..claim(Role::Worker, "2Gi")
        };
        let said = growing(&[waits, claim(Role::Etcd, "1Gi")]);
        assert_eq!(
            said,
            ["data-a-worker-0 has 1Gi of 2Gi: its driver has not begun"]
        );
    }

    #[test]
    fn data_goes_only_when_the_policy_says_so_and_after_the_processes() {
        let claims = [claim(Role::Worker, "1Gi")];
        let retain = spec("");
        assert_eq!(ending(&retain, false, 3, &claims), Ending::Release);
        let delete = spec("  deletionPolicy: Delete\n");
        assert_eq!(ending(&delete, false, 1, &claims), Ending::StopProcesses);
        let gone = vec![("data-a-worker-0".to_owned(), "u".to_owned())];
        assert_eq!(
            ending(&delete, false, 0, &claims),
            Ending::DeleteVolumes(gone)
        );
        let leaving = [ClaimSeen {
            leaving: true,
            ..claim(Role::Worker, "1Gi")
        }];
        assert!(matches!(
            ending(&delete, false, 0, &leaving),
            Ending::Wait(_)
        ));
        assert_eq!(ending(&delete, false, 0, &[]), Ending::Release);
        let protected = spec("  deletionPolicy: Delete\n  deletionProtection: true\n");
        assert!(matches!(
            ending(&protected, false, 0, &claims),
            Ending::Held("Protected", _)
        ));
        assert_eq!(ending(&protected, true, 1, &claims), Ending::Release);
        let snapshot = spec("  deletionPolicy: Snapshot\n");
        assert!(matches!(
            ending(&snapshot, false, 0, &claims),
            Ending::Held("BackupFailed", _)
        ));
    }
}
