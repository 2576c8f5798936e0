//! Which members the etcd of a cluster has, and the next step towards those that it should have. Pure.
//!
//! Members come one at a time: a new one follows without a vote until it has caught up, and while one
//! does, or while a member is not ready, nothing else is begun. A member whose volume is another than it
//! had cannot come back as who it was: etcd forgets it, and takes it as a new one, while the others are
//! a quorum without it. None is ever taken away because the manifest says fewer.

use std::collections::BTreeMap;

use crate::coordination::ClusterMember;

/// A member of etcd with the number of its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    id: u64,
    ordinal: u32,
    started: bool,
    learner: bool,
}

/// What is known when the next step is decided.
pub(super) struct Scene<'a> {
    /// What the names of its pods begin with: `small-etcd`.
    pub(super) set: &'a str,
    /// The members, as etcd lists them.
    pub(super) listed: &'a [ClusterMember],
    /// How many the manifest asks for.
    pub(super) wanted: u32,
    /// How many pods there should be until now.
    pub(super) runs: u32,
    /// The numbers of the pods that are ready.
    pub(super) ready: &'a [u32],
    /// The UIDs of the volumes that are there, by number.
    pub(super) claims: &'a BTreeMap<u32, String>,
    /// Those that the members had when they were last well.
    pub(super) known: &'a BTreeMap<u32, String>,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Everybody is there.
    Rest,
    /// Nothing can be done now.
    Wait(String),
    /// Etcd takes this member as a new one.
    Add(u32),
    /// This member gets its vote, if it has caught up.
    Promote(u64, u32),
    /// Etcd forgets this member, whose volume is gone.
    Remove(u64, u32),
}

impl Scene<'_> {
    /// The next step.
    pub(super) fn step(&self) -> Step {
        let listed = match self.numbered() {
            Ok(listed) => listed,
            Err(foreign) => return Step::Wait(foreign),
        };
        let is_ready = |ordinal: u32| self.ready.contains(&ordinal);
        let others_ready = |but: u32| {
            let mut voters = listed.iter().filter(|one| !one.learner);
            voters.all(|one| one.ordinal == but || is_ready(one.ordinal))
        };
        if let Some(lost) = listed.iter().find(|one| self.has_lost_its_volume(one)) {
            let name = self.name(lost.ordinal);
            if listed.len() == 1 {
                return Step::Wait(format!("{name}, the only member, has lost its volume"));
            }
            if !others_ready(lost.ordinal) {
                return Step::Wait(format!(
                    "{name} has lost its volume; the others have to be ready before it is replaced"
                ));
            }
            return Step::Remove(lost.id, lost.ordinal);
        }
        if let Some(learner) = listed.iter().find(|one| one.learner) {
            if learner.started {
                return Step::Promote(learner.id, learner.ordinal);
            }
            let name = self.name(learner.ordinal);
            return Step::Wait(format!("{name} has not started yet"));
        }
        let missing = (0..self.wanted.max(self.runs))
            .find(|ordinal| listed.iter().all(|one| one.ordinal != *ordinal));
        match missing {
            None => Step::Rest,
            Some(next) if others_ready(next) => Step::Add(next),
            Some(next) => {
                let name = self.name(next);
                Step::Wait(format!(
                    "every member has to be ready before {name} is added"
                ))
            },
        }
    }

    /// The volumes of the members that are well, to be kept; those of others stay as they were known.
    pub(super) fn volumes(&self) -> BTreeMap<u32, String> {
        let mut known = self.known.clone();
        for one in self.numbered().into_iter().flatten() {
            if one.started
                && self.ready.contains(&one.ordinal)
                && let Some(claim) = self.claims.get(&one.ordinal)
            {
                known.insert(one.ordinal, claim.clone());
            }
        }
        known
    }

    /// How many pods there should be: those that run, and whoever is a member.
    pub(super) fn runs(&self) -> u32 {
        let listed = self.numbered().unwrap_or_default();
        let above = listed.iter().map(|one| one.ordinal.saturating_add(1)).max();
        self.runs.max(above.unwrap_or(0))
    }

    /// The members that a new one is told to join; nobody is while none is awaited. Etcd would take a
    /// member with an empty volume for who it was, with its vote and without what it had promised.
    pub(super) fn joined(&self) -> Vec<u32> {
        let listed = self.numbered().unwrap_or_default();
        if !listed.iter().any(|one| one.learner && !one.started) {
            return Vec::new();
        }
        let mut ordinals: Vec<u32> = listed.iter().map(|one| one.ordinal).collect();
        ordinals.sort_unstable();
        ordinals
    }

    fn has_lost_its_volume(&self, member: &Listed) -> bool {
        emptied(self.ready, self.claims, self.known).contains(&member.ordinal)
    }

    fn name(&self, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.set)
    }

    /// The members with the numbers of their pods, or what is said of one that has no pod.
    fn numbered(&self) -> Result<Vec<Listed>, String> {
        let listed = self.listed.iter().map(|member| {
            let ordinal = self.ordinal(&member.peer_url);
            let foreign = || format!("etcd has a member that is no pod: {}", member.peer_url);
            Ok(Listed {
                id: member.id,
                ordinal: ordinal.ok_or_else(foreign)?,
                started: !member.name.is_empty(),
                learner: member.learner,
            })
        });
        listed.collect()
    }

    /// The number in `https://small-etcd-2.small-etcd-peer...`.
    fn ordinal(&self, peer_url: &str) -> Option<u32> {
        let host = peer_url.split_once("://")?.1;
        let pod = host.split(['.', ':']).next()?;
        pod.strip_prefix(self.set)?.strip_prefix('-')?.parse().ok()
    }
}

/// The members, by number, that are not ready and have another volume than they had.
pub(super) fn emptied(
    ready: &[u32],
    claims: &BTreeMap<u32, String>,
    known: &BTreeMap<u32, String>,
) -> Vec<u32> {
    let is_other = |(ordinal, had): (&u32, &String)| {
        let other = claims.get(ordinal).is_some_and(|has| has != had);
        (other && !ready.contains(ordinal)).then_some(*ordinal)
    };
    known.iter().filter_map(is_other).collect()
}

/// Volumes by number, as an annotation has them: `0=UID,1=UID`.
pub(super) fn read_volumes(text: &str) -> BTreeMap<u32, String> {
    let parts = text.split(',').filter_map(|part| part.split_once('='));
    parts
        .filter_map(|(ordinal, uid)| Some((ordinal.parse().ok()?, uid.to_owned())))
        .collect()
}

/// The other way.
pub(super) fn write_volumes(volumes: &BTreeMap<u32, String>) -> String {
    let parts: Vec<String> = volumes
        .iter()
        .map(|(ordinal, uid)| format!("{ordinal}={uid}"))
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(ordinal: u32) -> ClusterMember {
        ClusterMember {
            id: u64::from(ordinal) + 100,
            name: format!("a-etcd-{ordinal}"),
            peer_url: format!("https://a-etcd-{ordinal}.a-etcd-peer.test.svc.cluster.local:2380"),
            learner: false,
        }
    }

    fn volumes(of: &[(u32, &str)]) -> BTreeMap<u32, String> {
        let all = of.iter().map(|(at, uid)| (*at, (*uid).to_owned()));
        all.collect()
    }

    /// A world with its members, the numbers wanted and run, and what is ready.
    struct World {
        listed: Vec<ClusterMember>,
        wanted: u32,
        runs: u32,
        ready: Vec<u32>,
        claims: BTreeMap<u32, String>,
        known: BTreeMap<u32, String>,
    }

    impl World {
        fn scene(&self) -> Scene<'_> {
            Scene {
                set: "a-etcd",
                listed: &self.listed,
                wanted: self.wanted,
                runs: self.runs,
                ready: &self.ready,
                claims: &self.claims,
                known: &self.known,
            }
        }

        /// Carries a step out as etcd and Kubernetes would; whether there was one.
        fn go(&mut self) -> bool {
            let step = self.scene().step();
            match step {
                Step::Rest | Step::Wait(_) => return false,
                Step::Add(ordinal) => {
                    let joins = ClusterMember {
                        id: 200 + u64::from(ordinal),
                        name: String::new(),
                        learner: true,
                        ..member(ordinal)
                    };
                    self.listed.push(joins);
                },
                Step::Promote(id, _) => {
                    let mut all = self.listed.iter_mut();
                    all.find(|one| one.id == id).unwrap().learner = false;
                },
                Step::Remove(id, ordinal) => {
                    self.listed.retain(|one| one.id != id);
                    self.known.remove(&ordinal);
                },
            }
            self.runs = self.scene().runs();
            // The pods of all members run.
            for one in &mut self.listed {
                let ordinal = one.peer_url.strip_prefix("https://a-etcd-").unwrap();
                let ordinal = ordinal.split('.').next().unwrap();
                let ordinal: u32 = ordinal.parse().unwrap();
                one.name = format!("a-etcd-{ordinal}");
                self.claims
                    .entry(ordinal)
                    .or_insert_with(|| format!("v{ordinal}"));
                if !self.ready.contains(&ordinal) {
                    self.ready.push(ordinal);
                }
            }
            self.known = self.scene().volumes();
            true
        }
    }

    fn one() -> World {
        World {
            listed: vec![member(0)],
            wanted: 1,
            runs: 1,
            ready: vec![0],
            claims: volumes(&[(0, "v0")]),
            known: volumes(&[(0, "v0")]),
        }
    }

    fn three() -> World {
        let all = [(0, "v0"), (1, "v1"), (2, "v2")];
        World {
            listed: vec![member(0), member(1), member(2)],
            wanted: 3,
            runs: 3,
            ready: vec![0, 1, 2],
            claims: volumes(&all),
            known: volumes(&all),
        }
    }

    #[test]
    fn one_becomes_five_one_after_the_other() {
        let mut world = one();
        world.wanted = 5;
        let mut steps = 0;
        while world.go() {
            steps += 1;
            let learners = world.listed.iter().filter(|one| one.learner).count();
            assert!(learners <= 1 && steps < 20);
        }
        assert_eq!(world.scene().step(), Step::Rest);
        assert_eq!(world.listed.len(), 5);
        assert_eq!(world.scene().joined(), [] as [u32; 0], "nobody is awaited");
        assert_eq!(world.runs, 5);
        assert_eq!(world.known.len(), 5);
    }

    #[test]
    fn a_member_with_another_volume_is_replaced_and_no_second_one_meanwhile() {
        let mut world = three();
        world.claims.insert(1, "other".to_owned());
        assert_eq!(world.scene().step(), Step::Rest, "it is ready: it has data");
        world.ready = vec![0, 2];
        assert_eq!(world.scene().step(), Step::Remove(101, 1));
        world.ready = vec![0];
        assert!(matches!(world.scene().step(), Step::Wait(_)));
        world.ready = vec![0, 2];
        while world.go() {}
        assert_eq!(world.scene().step(), Step::Rest);
        let ids: Vec<u64> = world.listed.iter().map(|one| one.id).collect();
        assert_eq!(ids, [100, 102, 201]);
        assert_eq!(world.known.get(&1).map(String::as_str), Some("other"));
    }

    #[test]
    fn only_a_learner_that_is_awaited_is_told_whom_to_join() {
        let mut world = three();
        assert_eq!(world.scene().joined(), [] as [u32; 0]);
        world.listed[1].name.clear();
        assert_eq!(world.scene().joined(), [] as [u32; 0], "it has a vote");
        world.listed[1].learner = true;
        assert_eq!(world.scene().joined(), [0, 1, 2]);
    }

    #[test]
    fn nothing_is_done_that_could_cost_data_or_the_quorum() {
        let mut world = one();
        world.claims.insert(0, "other".to_owned());
        world.ready.clear();
        assert!(
            matches!(world.scene().step(), Step::Wait(_)),
            "the only copy"
        );
        let mut world = three();
        world.wanted = 5;
        world.ready = vec![0, 1];
        assert!(matches!(world.scene().step(), Step::Wait(_)), "one is down");
        world.wanted = 1;
        world.ready = vec![0, 1, 2];
        assert_eq!(world.scene().step(), Step::Rest, "fewer are never made");
        let foreign = ClusterMember {
            peer_url: "https://elsewhere:2380".to_owned(),
            ..member(1)
        };
        world.listed.push(foreign);
        assert!(matches!(world.scene().step(), Step::Wait(_)));
        assert_eq!(world.scene().volumes(), world.known);
    }

    #[test]
    fn who_has_another_volume_is_known_also_when_etcd_does_not_answer() {
        let (has, had) = (
            volumes(&[(0, "b"), (1, "c")]),
            volumes(&[(0, "a"), (1, "c")]),
        );
        assert_eq!(emptied(&[], &has, &had), [0]);
        assert_eq!(emptied(&[0], &has, &had), [] as [u32; 0]);
    }

    #[test]
    fn volumes_are_read_as_they_were_written() {
        let all = volumes(&[(0, "a"), (12, "b-c")]);
        assert_eq!(read_volumes(&write_volumes(&all)), all);
        assert_eq!(read_volumes("x=1,,3"), BTreeMap::new());
    }
}
