//! Clusters in every state that the status knows.

mod trouble;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::crd::v1alpha1::{Power, VectorClusterSpec, VectorClusterStatus, WorkerStatus};
use crate::operator::accepted::Refused;
use crate::operator::etcd::Work;
use crate::operator::external::Asked;
use crate::operator::names::Subject;
use crate::operator::observe::{ClaimSeen, PodSeen, Seen};
use crate::operator::revisions::{Kept, ORDER, Templates};
use crate::operator::situation::{InForce, Situation, Surplus};
use crate::operator::status::{Facts, status};
use crate::operator::updates::{Gate, Step, UnderWay};
use crate::rpc::proto;
use crate::topology::{Component, LAPTOP_SAMPLE, Observation, Role, Settings, manifest, plan};

/// A cluster, and what a round found out about it.
pub(super) struct World {
    pub(super) spec: VectorClusterSpec,
    seen: Seen,
    masters: Result<proto::GetClusterStateResponse, String>,
    pub(super) before: Option<VectorClusterStatus>,
    kept: Kept,
    step: Step,
    is_made: bool,
    given_up: bool,
    surplus: Vec<Surplus>,
    etcd: Option<Work>,
    external: Option<Asked>,
    refused: Option<Refused>,
    ending: Option<(&'static str, String)>,
    certificates: Vec<(String, String)>,
    pub(super) errors: Vec<(String, String)>,
    marked: Vec<String>,
    authority: Option<String>,
    acted: bool,
    /// Seconds since 1970.
    pub(super) now: i64,
}

fn kept() -> Kept {
    let template = |role: Role| (role.to_string(), json!({ "image": role.as_str() }));
    let held = Templates {
        inputs: BTreeMap::new(),
        templates: ORDER.into_iter().map(template).collect(),
    };
    Kept {
        hash: held.hash(),
        number: 1,
        uid: "r".to_owned(),
        failed: None,
        held,
    }
}

fn pod(role: Role, of: &Templates) -> PodSeen {
    PodSeen {
        role,
        ordinal: 0,
        name: format!("demo-{role}-0"),
        uid: role.to_string(),
        node: Some("node1".to_owned()),
        address: None,
        created: None,
        unready_since: None,
        revision: Some(of.revision_of(role)),
        ready: true,
        leaving: false,
        over: false,
        trouble: None,
    }
}

fn claim(role: Role, size: &str) -> ClaimSeen {
    ClaimSeen {
        role,
        ordinal: 0,
        name: format!("data-demo-{role}-0"),
        uid: format!("v{role}"),
        retired: false,
        leaving: false,
        asked: size.to_owned(),
        capacity: size.to_owned(),
        resize: None,
    }
}

fn shard(number: u32, state: &str) -> proto::ShardState {
    proto::ShardState {
        number,
        worker: "demo-worker-0".to_owned(),
        report: Some(proto::ShardReport {
            state: state.to_owned(),
            ..proto::ShardReport::default()
        }),
        ..proto::ShardState::default()
    }
}

fn worker_one() -> Component {
    Component {
        role: Role::Worker,
        name: "demo-worker-1".to_owned(),
        ordinal: 1,
        settings: Settings::Worker,
    }
}

impl World {
    /// One of each role, all ready, one shard served.
    pub(super) fn healthy() -> Self {
        let spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
        let kept = kept();
        let etcd = spec.etcd.managed.as_ref().unwrap();
        let seen = Seen {
            pods: ORDER
                .into_iter()
                .map(|role| pod(role, &kept.held))
                .collect(),
            claims: vec![
                claim(Role::Etcd, &etcd.storage.size),
                claim(Role::Worker, &spec.worker.storage.size),
            ],
            revisions: vec![kept.clone()],
            etcd: None,
        };
        let masters = proto::GetClusterStateResponse {
            leader: "demo-master-0".to_owned(),
            collections: vec![proto::CollectionState {
                name: "c".to_owned(),
                shards: vec![shard(0, "serving")],
                ..proto::CollectionState::default()
            }],
            ..proto::GetClusterStateResponse::default()
        };
        Self {
            spec,
            seen,
            masters: Ok(masters),
            before: None,
            kept,
            step: Step {
                on_target: ORDER.into_iter().collect(),
                complete: true,
                ..Step::default()
            },
            is_made: true,
            given_up: false,
            surplus: Vec::new(),
            etcd: None,
            external: None,
            refused: None,
            ending: None,
            certificates: vec![(
                "demo-gateway-tls".to_owned(),
                "2030-01-01T00:00:00Z".to_owned(),
            )],
            errors: Vec::new(),
            marked: Vec::new(),
            authority: None,
            acted: true,
            now: 1_790_000_000,
        }
    }

    fn changed(change: impl FnOnce(&mut Self)) -> Self {
        let mut world = Self::healthy();
        // What was said before there was anything to say.
        world.before = Some(Self::healthy().status());
        change(&mut world);
        world
    }

    fn of(&mut self, role: Role) -> &mut PodSeen {
        let mut pods = self.seen.pods.iter_mut();
        pods.find(|pod| pod.role == role).unwrap()
    }

    fn under_way(&mut self, blocked_by: Option<Gate>) {
        self.step.complete = false;
        self.step.under_way = Some(UnderWay {
            done: 3,
            total: 4,
            blocked_by,
            message: "three of four".to_owned(),
            target: None,
        });
    }

    /// The collection has so many shards, and none is served.
    pub(super) fn fail_shards(&mut self, count: u32) {
        let state = self.masters.as_mut().unwrap();
        state.collections[0].shards = (0..count).map(|number| shard(number, "failed")).collect();
    }

    /// The status after a round.
    pub(super) fn status(&self) -> VectorClusterStatus {
        let subject = Subject {
            name: "demo".to_owned(),
            namespace: "test".to_owned(),
            uid: "u".to_owned(),
        };
        let (annotations, plan) = (
            BTreeMap::new(),
            plan(&self.spec, "demo", &Observation::default()),
        );
        let situation = Situation {
            subject: &subject,
            spec: &self.spec,
            annotations: &annotations,
            generation: 1,
            plan: &plan,
            members: 1,
            seen: &self.seen,
            masters: self.masters.as_ref().map_err(Clone::clone),
            before: self.before.as_ref(),
            now: Timestamp::from_second(self.now).unwrap(),
            fills: OnceLock::new(),
        };
        let mut failed = self.kept.clone();
        failed.failed = Some("it never became ready".to_owned());
        let in_force = InForce {
            target: &self.kept,
            current: self.is_made.then_some(&self.kept),
            given_up: self.given_up.then_some(&failed),
        };
        status(&Facts {
            situation: &situation,
            refused: self.refused.as_ref(),
            update: self.acted.then_some((&in_force, &self.step)),
            surplus: &self.surplus,
            etcd: self.etcd.as_ref(),
            external: self.external.as_ref(),
            marked: &self.marked,
            acted: self.acted,
            ending: self.ending.clone(),
            certificates: Some(&self.certificates),
            authority: self.authority.clone(),
            errors: &self.errors,
            next_worker_ordinal: 1,
        })
    }
}

/// What is well, what is made, and what a person asked for.
fn of_a_persons_wish() -> Vec<(&'static str, World)> {
    let made = |change: fn(&mut World)| World::changed(change);
    vec![
        ("healthy", World::healthy()),
        ("creating", {
            let mut world = World::healthy();
            world.seen.pods.clear();
            world.seen.claims.clear();
            (world.is_made, world.step.complete) = (false, false);
            world.masters = Err("no master is ready".to_owned());
            world
        }),
        ("updating", made(|world| world.under_way(None))),
        (
            "update waits",
            made(|world| world.under_way(Some(Gate::Approved))),
        ),
        (
            "update failed",
            made(|world| {
                world.under_way(None);
                world.step.failed = Some("demo-master-0 after 60 s".to_owned());
            }),
        ),
        ("taken back", made(|world| world.given_up = true)),
    ]
}

/// A manifest that cannot be carried out.
fn refused(reason: &'static str, instead: Option<i64>) -> World {
    World::changed(|world| {
        world.refused = Some(Refused {
            reason,
            why: "it cannot be".to_owned(),
            instead,
        });
        world.acted = instead.is_some();
    })
}

/// What else a person asked for.
fn of_other_wishes() -> Vec<(&'static str, World)> {
    let made = |change: fn(&mut World)| World::changed(change);
    vec![
        (
            "paused",
            made(|world| {
                world.spec.paused = true;
                world.acted = false;
            }),
        ),
        ("not built", refused("NotBuilt", None)),
        ("downgrade", refused("Downgrade", Some(1))),
        ("version left out", refused("VersionSkip", Some(1))),
        (
            "asleep",
            made(|world| {
                world.spec.power = Power::Hibernated;
                world.seen.pods.clear();
                world.masters = Err("no master is ready".to_owned());
            }),
        ),
    ]
}

/// Updates that wait, for each gate.
fn of_gates() -> Vec<(&'static str, World)> {
    let gates = [
        Gate::Approved,
        Gate::InWindow,
        Gate::Automatic,
        Gate::PreviousPodServing,
        Gate::MaxUnavailable,
        Gate::EtcdQuorum,
        Gate::LeaderStable,
        Gate::ShardsFullyReplicated,
    ];
    let waits = gates.map(|gate| {
        let world = World::changed(|world| world.under_way(Some(gate)));
        (gate.name(), world)
    });
    waits.into()
}

/// Operations that are not of pods alone.
fn of_operations() -> Vec<(&'static str, World)> {
    let made = |change: fn(&mut World)| World::changed(change);
    vec![
        (
            "falling asleep",
            made(|world| world.spec.power = Power::Hibernated),
        ),
        (
            "etcd waits",
            made(|world| {
                world.etcd = Some(Work {
                    message: "demo-etcd-0 is not ready".to_owned(),
                    waits: true,
                    voting: 1,
                    wanted: 3,
                });
            }),
        ),
        (
            "another authority",
            made(|world| world.authority = Some("both are trusted".to_owned())),
        ),
    ]
}

/// What takes its time.
fn of_growth() -> Vec<(&'static str, World)> {
    let made = |change: fn(&mut World)| World::changed(change);
    vec![
        ("waking", {
            let asleep = World::changed(|world| {
                world.spec.power = Power::Hibernated;
                world.seen.pods.clear();
            });
            let mut world = World::healthy();
            world.before = Some(asleep.status());
            world.of(Role::Gateway).ready = false;
            world
        }),
        (
            "scaling out",
            made(|world| {
                let pods = &mut world.seen.pods;
                pods.retain(|pod| pod.role != Role::Worker);
                world.before = None;
                let state = world.masters.as_mut().unwrap();
                state.collections.clear();
            }),
        ),
        (
            "resizing",
            made(|world| {
                let claim = &mut world.seen.claims[1];
                claim.capacity = "1Gi".to_owned();
            }),
        ),
        (
            "etcd grows",
            made(|world| {
                world.etcd = Some(Work {
                    message: "demo-etcd-1 is added".to_owned(),
                    waits: false,
                    voting: 1,
                    wanted: 3,
                });
            }),
        ),
        (
            "renewed",
            made(|world| {
                world.certificates[0].1 = "2031-01-01T00:00:00Z".to_owned();
            }),
        ),
    ]
}

/// A worker that leaves, and one that does not after all.
fn of_leaving() -> Vec<(&'static str, World)> {
    let leaving = |held: Result<Vec<String>, String>, is_there: bool| {
        World::changed(|world| {
            let mut one = pod(Role::Worker, &world.kept.held);
            (one.ordinal, one.name) = (1, "demo-worker-1".to_owned());
            if is_there {
                world.seen.pods.push(one);
            }
            world.seen.claims.push(ClaimSeen {
                ordinal: 1,
                name: "data-demo-worker-1".to_owned(),
                ..claim(Role::Worker, "10Gi")
            });
            let worker = worker_one();
            world.surplus.push(Surplus { worker, held });
        })
    };
    vec![
        (
            "draining",
            leaving(Ok(vec!["shard 0 of c".to_owned()]), true),
        ),
        ("drained", leaving(Ok(Vec::new()), true)),
        ("removing", leaving(Ok(Vec::new()), false)),
        (
            "reprieved",
            World::changed(|world| {
                let before = world.before.as_mut().unwrap();
                let serves = WorkerStatus {
                    state: "Serving".to_owned(),
                    name: "demo-worker-1".to_owned(),
                    ordinal: 1,
                    ..before.workers[0].clone()
                };
                before.workers.push(serves);
            }),
        ),
        (
            "marked",
            World::changed(|world| {
                world.marked.push("demo-worker-0".to_owned());
            }),
        ),
    ]
}

/// All of them, by name.
pub(super) fn all() -> Vec<(&'static str, World)> {
    let mut all = of_a_persons_wish();
    all.extend(of_other_wishes());
    all.extend(of_gates());
    all.extend(of_operations());
    all.extend(of_growth());
    all.extend(of_leaving());
    all.extend(trouble::of_trouble());
    all.extend(trouble::of_other_trouble());
    all.extend(trouble::of_failed_steps());
    all
}
