//! How full the workers' volumes are, and how large they should be because of it. Pure.
//!
//! All volumes of a role have one size; the fullest decides. What they were asked to be is remembered by
//! the claims themselves: the manifest is never written to, and the size in it is the least.

use std::collections::BTreeMap;

use crate::crd::v1alpha1::{AutoGrow, Storage, VolumeStatus, WorkerStatus};
use crate::operator::names::claim_of;
use crate::operator::observe::ClaimSeen;
use crate::rpc::proto;
use crate::topology::{Role, is_smaller, units};

/// From here on a volume counts as full, for a person to look at.
pub(in crate::operator) const FULL_PERCENT: u32 = 95;
/// And until here one that was full.
pub(in crate::operator) const STILL_FULL_PERCENT: u32 = 90;

/// A file system is at most so much larger than its volume, in percent: one that is larger lies on a disk
/// that others share, and how full that is says nothing of the volume.
const LARGEST_PERCENT: u64 = 105;

/// And it is at least so large: what is smaller has not grown with its volume yet.
const SMALLEST_PERCENT: u64 = 70;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// How full volumes are, in percent, by the names of their claims; those that can be measured.
pub(in crate::operator) type Fills = BTreeMap<String, u32>;

/// What the masters say of the workers' disks, and else what was known of the volumes that have not grown
/// since.
pub(in crate::operator) fn fills(
    claims: &[ClaimSeen],
    state: Option<&proto::GetClusterStateResponse>,
    before: &[WorkerStatus],
) -> Fills {
    let processes = state.map_or(&[][..], |state| &state.processes);
    let disks: BTreeMap<String, proto::Disk> = processes
        .iter()
        .filter_map(|process| Some((claim_of(&process.name), process.disk?)))
        .collect();
    let volumes = before.iter().filter_map(|worker| worker.volume.as_ref());
    let known: BTreeMap<&str, &VolumeStatus> = volumes.map(|one| (&*one.claim, one)).collect();
    let percent = |claim: &ClaimSeen| match disks.get(&claim.name) {
        Some(disk) => measured(claim, *disk),
        None => remembered(claim, known.get(&*claim.name)?),
    };
    let found = claims
        .iter()
        .filter_map(|claim| Some((claim.name.clone(), percent(claim)?)));
    found.collect()
}

fn measured(claim: &ClaimSeen, disk: proto::Disk) -> Option<u32> {
    let capacity = units(&claim.capacity)?;
    let bounds = share(capacity, SMALLEST_PERCENT)..=share(capacity, LARGEST_PERCENT);
    if disk.bytes == 0 || !bounds.contains(&disk.bytes) {
        return None;
    }
    let percent = disk.used_bytes.saturating_mul(100).div_ceil(disk.bytes);
    u32::try_from(percent.min(100)).ok()
}

fn remembered(claim: &ClaimSeen, known: &VolumeStatus) -> Option<u32> {
    let percent = known.used_percent?;
    let same = known.capacity == claim.capacity;
    same.then(|| u32::try_from(percent).ok()).flatten()
}

fn share(of: u64, percent: u64) -> u64 {
    of.saturating_div(100).saturating_mul(percent)
}

/// How large the volumes of a role should be.
pub(super) fn size(storage: &Storage, role: Role, claims: &[ClaimSeen], fills: &Fills) -> String {
    let Some(auto) = &storage.auto_grow else {
        return storage.size.clone();
    };
    let ours = || {
        let ours = claims.iter().filter(move |claim| claim.role == role);
        ours.filter(|claim| !claim.retired && !claim.leaving)
    };
    // One that a person made larger than all may be by themselves says nothing of the others.
    let bounded = ours().filter(|claim| !is_smaller(&auto.max_size, &claim.asked));
    let largest = bounded
        .map(|claim| &claim.asked)
        .fold(&storage.size, |one, other| {
            if is_smaller(one, other) { other } else { one }
        });
    // The next step is measured when the last one has come to every disk.
    let grows = |claim: &ClaimSeen| {
        is_smaller(&claim.asked, largest) || is_smaller(&claim.capacity, &claim.asked)
    };
    let threshold = u32::try_from(auto.threshold_percent).unwrap_or(u32::MAX);
    let is_full = |claim: &ClaimSeen| {
        fills
            .get(&claim.name)
            .is_some_and(|used| *used >= threshold)
    };
    if ours().any(grows) || !ours().any(is_full) || !is_smaller(largest, &auto.max_size) {
        return largest.clone();
    }
    step(largest, auto)
}

/// The next size, a whole number of Gi or, of small volumes, of Mi: drivers round up to such.
fn step(from: &str, auto: &AutoGrow) -> String {
    let (Some(from), Some(most)) = (units(from), units(&auto.max_size)) else {
        return from.to_owned();
    };
    let percent = u64::try_from(auto.step_percent).unwrap_or(0);
    let next = from.saturating_add(share(from, percent).max(1));
    let (unit, suffix) = if next >= GIB {
        (GIB, "Gi")
    } else {
        (MIB, "Mi")
    };
    let count = next.div_ceil(unit);
    if count.saturating_mul(unit) >= most {
        auto.max_size.clone()
    } else {
        format!("{count}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::v1alpha1::ResizePolicy;

    fn storage() -> Storage {
        Storage {
            size: "10Gi".to_owned(),
            storage_class_name: None,
            volume_attributes_class_name: None,
            resize: ResizePolicy::Automatic,
            auto_grow: Some(AutoGrow {
                threshold_percent: 80,
                step_percent: 20,
                max_size: "20Gi".to_owned(),
            }),
        }
    }

    fn claim(ordinal: u32, asked: &str, capacity: &str) -> ClaimSeen {
        ClaimSeen {
            role: Role::Worker,
            ordinal,
            name: format!("data-a-worker-{ordinal}"),
            uid: "u".to_owned(),
            retired: false,
            leaving: false,
            asked: asked.to_owned(),
            capacity: capacity.to_owned(),
            resize: None,
        }
    }

    fn state(disks: &[(u64, u64)]) -> proto::GetClusterStateResponse {
        let processes = disks.iter().enumerate().map(|(ordinal, (bytes, used))| {
            let disk = proto::Disk {
                bytes: *bytes,
                used_bytes: *used,
            };
            proto::ProcessState {
                name: format!("a-worker-{ordinal}"),
                disk: Some(disk),
                ..proto::ProcessState::default()
            }
        });
        proto::GetClusterStateResponse {
            processes: processes.collect(),
            ..proto::GetClusterStateResponse::default()
        }
    }

    #[test]
    fn a_disk_is_measured_when_it_is_its_volumes_own_and_as_large() {
        let claims = [claim(0, "10Gi", "10Gi"), claim(1, "10Gi", "10Gi")];
        let percent = |bytes: u64, used: u64| {
            let found = fills(&claims, Some(&state(&[(bytes, used)])), &[]);
            found.get("data-a-worker-0").copied()
        };
        assert_eq!(percent(10 * GIB, 5 * GIB), Some(50));
        assert_eq!(percent(9 * GIB, 9 * GIB), Some(100));
        assert_eq!(percent(10 * GIB, 1), Some(1), "rounded up");
        assert_eq!(percent(11 * GIB, 5 * GIB), None, "a disk that others share");
        assert_eq!(percent(6 * GIB, 5 * GIB), None, "not grown yet");
        assert_eq!(percent(0, 0), None);
        let unbound = [claim(0, "10Gi", "")];
        let of_one = state(&[(GIB, GIB)]);
        assert_eq!(fills(&unbound, Some(&of_one), &[]), Fills::new());
    }

    #[test]
    fn a_worker_that_is_silent_is_as_full_as_it_was_until_its_volume_has_grown() {
        let known: WorkerStatus = serde_json::from_value(serde_json::json!({
            "name": "a-worker-0", "ordinal": 0, "state": "Away",
            "volume": {"claim": "data-a-worker-0", "capacity": "10Gi", "usedPercent": 95},
        }))
        .unwrap();
        let before = [known];
        let fill = |claim: ClaimSeen, state: Option<&proto::GetClusterStateResponse>| {
            fills(&[claim], state, &before)
                .pop_first()
                .map(|(_, percent)| percent)
        };
        assert_eq!(fill(claim(0, "10Gi", "10Gi"), None), Some(95));
        assert_eq!(fill(claim(0, "12Gi", "10Gi"), Some(&state(&[]))), Some(95));
        assert_eq!(fill(claim(0, "12Gi", "12Gi"), None), None);
        let says = state(&[(10 * GIB, GIB)]);
        assert_eq!(fill(claim(0, "10Gi", "10Gi"), Some(&says)), Some(10));
    }

    #[test]
    fn the_fullest_makes_all_grow_step_by_step_up_to_the_bound() {
        let wanted = |claims: &[ClaimSeen], percent: u32| {
            let fills = Fills::from([("data-a-worker-0".to_owned(), percent)]);
            size(&storage(), Role::Worker, claims, &fills)
        };
        let two = |asked: &str| [claim(0, asked, asked), claim(1, asked, asked)];
        assert_eq!(wanted(&two("10Gi"), 79), "10Gi");
        assert_eq!(wanted(&two("10Gi"), 80), "12Gi");
        assert_eq!(wanted(&two("12Gi"), 79), "12Gi", "it stays");
        assert_eq!(wanted(&two("12Gi"), 80), "15Gi", "14.4Gi, rounded up");
        assert_eq!(wanted(&two("19Gi"), 99), "20Gi");
        assert_eq!(wanted(&two("20Gi"), 99), "20Gi", "the bound");
        // One step after the other.
        let grows = [claim(0, "13Gi", "10Gi"), claim(1, "13Gi", "13Gi")];
        assert_eq!(wanted(&grows, 99), "13Gi");
        let lags = [claim(0, "13Gi", "13Gi"), claim(1, "10Gi", "10Gi")];
        assert_eq!(wanted(&lags, 99), "13Gi");
        let no_node = [claim(0, "13Gi", "13Gi"), claim(1, "13Gi", "")];
        assert_eq!(
            wanted(&no_node, 99),
            "16Gi",
            "one that no node takes holds nobody up"
        );
        let by_hand = [claim(0, "10Gi", "10Gi"), claim(1, "30Gi", "30Gi")];
        assert_eq!(
            wanted(&by_hand, 50),
            "10Gi",
            "one that a person made larger"
        );
        assert_eq!(wanted(&by_hand, 99), "12Gi");
        // One that was scaled away decides nothing.
        let retired = ClaimSeen {
            retired: true,
            ..claim(0, "15Gi", "15Gi")
        };
        assert_eq!(wanted(&[retired, claim(1, "10Gi", "10Gi")], 99), "10Gi");
    }

    #[test]
    fn without_auto_grow_the_manifest_alone_says_the_size() {
        let plain = Storage {
            auto_grow: None,
            ..storage()
        };
        let fills = Fills::from([("data-a-worker-0".to_owned(), 99)]);
        let claims = [claim(0, "30Gi", "30Gi")];
        assert_eq!(size(&plain, Role::Worker, &claims, &fills), "10Gi");
    }

    #[test]
    fn small_volumes_grow_by_mebibytes() {
        let auto = AutoGrow {
            threshold_percent: 80,
            step_percent: 20,
            max_size: "1Gi".to_owned(),
        };
        assert_eq!(step("100Mi", &auto), "120Mi");
        assert_eq!(step("900Mi", &auto), "1Gi");
        assert_eq!(step("what", &auto), "what");
    }
}
