//! Updates on a small world: pods that are deleted come back, from the template that the step names.

use super::*;
use proptest::prelude::*;
use serde_json::json;

/// How many pods there are of each role, in the order of [`ORDER`].
const COUNTS: [u32; 4] = [3, 3, 3, 2];

struct World {
    pods: Vec<PodSeen>,
    old: Templates,
    new: Templates,
    updates: Updates,
    approved: bool,
    closed_window: Option<String>,
    skipped: BTreeSet<String>,
    leader: Option<String>,
    troubled: BTreeSet<String>,
    /// The new templates give pods that never become ready.
    is_broken: bool,
    now: i64,
}

fn templates(of: &str) -> Templates {
    let template = |role: Role| (role.to_string(), json!({ "image": format!("{role} {of}") }));
    Templates {
        inputs: [("all".to_owned(), of.to_owned())].into(),
        templates: ORDER.into_iter().map(template).collect(),
    }
}

fn pod(role: Role, ordinal: u32, of: &Templates, ready: bool, created: i64) -> PodSeen {
    PodSeen {
        role,
        ordinal,
        name: format!("a-{role}-{ordinal}"),
        uid: format!("{role}{ordinal}{created}"),
        node: None,
        address: None,
        created: Some(Timestamp::from_second(created).unwrap()),
        unready_since: Some(Timestamp::from_second(created).unwrap()),
        revision: Some(of.revision_of(role)),
        ready,
        leaving: false,
        over: false,
        trouble: None,
    }
}

fn wanted(role: Role) -> u32 {
    let at = ORDER.iter().position(|one| *one == role).unwrap();
    COUNTS[at]
}

impl World {
    fn new() -> Self {
        let (old, new) = (templates("old"), templates("new"));
        let pods = ORDER
            .into_iter()
            .flat_map(|role| (0..wanted(role)).map(move |ordinal| (role, ordinal)));
        Self {
            pods: pods
                .map(|(role, ordinal)| pod(role, ordinal, &old, true, 0))
                .collect(),
            old,
            new,
            updates: Updates::default(),
            approved: false,
            closed_window: None,
            skipped: BTreeSet::new(),
            leader: Some("a-master-1".to_owned()),
            troubled: BTreeSet::new(),
            is_broken: false,
            now: 0,
        }
    }

    fn step(&self) -> Step {
        step(&Scene {
            pods: &self.pods,
            wanted: &wanted,
            target: &self.new,
            current: Some(&self.old),
            updates: &self.updates,
            approved: self.approved,
            closed_window: self.closed_window.clone(),
            skipped: &self.skipped,
            leader: self.leader.as_deref(),
            troubled: &self.troubled,
            now: Timestamp::from_second(self.now).unwrap(),
        })
    }

    /// Does what a step says. What is made is ready only later, unless it never is.
    fn carry_out(&mut self, step: &Step) {
        self.now += 10;
        for pod in &mut self.pods {
            let is_new = pod.revision.as_deref() == Some(&*self.new.revision_of(pod.role));
            pod.ready = !(is_new && self.is_broken);
        }
        if step.hand_over.is_some() {
            self.leader = Some("a-master-0".to_owned());
        }
        let mut gone = step.replace.clone();
        if step.on_target.contains(&Role::Gateway) {
            // As its Deployment does: another is ready before one ends.
            let to = self.new.revision_of(Role::Gateway);
            let mut gateways = self.pods.iter_mut().filter(|one| one.role == Role::Gateway);
            if let Some(next) = gateways.find(|one| one.revision.as_ref() != Some(&to)) {
                next.revision = Some(to);
            }
        }
        gone.dedup();
        for name in gone {
            let at = self.pods.iter().position(|one| one.name == name).unwrap();
            let (role, ordinal) = (self.pods[at].role, self.pods[at].ordinal);
            let of = if step.on_target.contains(&role) {
                &self.new
            } else {
                &self.old
            };
            self.pods[at] = pod(role, ordinal, of, false, self.now);
        }
    }

    fn stale(&self) -> usize {
        let stale = self
            .pods
            .iter()
            .filter(|pod| pod.revision.as_deref() != Some(&*self.new.revision_of(pod.role)));
        stale.count()
    }

    fn down(&self, role: Role) -> usize {
        let down = self
            .pods
            .iter()
            .filter(|pod| pod.role == role && !pod.ready);
        down.count()
    }
}

#[test]
fn an_update_goes_role_by_role_one_pod_at_a_time_and_the_leader_gives_the_lead_away_first() {
    let mut world = World::new();
    let mut order = Vec::new();
    for _round in 0..100 {
        let step = world.step();
        if let Some(leader) = &step.hand_over {
            order.push(format!("{leader} hands over"));
        }
        assert!(step.replace.len() <= 1, "{step:?}");
        order.extend(step.replace.iter().cloned());
        world.carry_out(&step);
        for role in [Role::Etcd, Role::Master, Role::Worker] {
            assert!(world.down(role) <= 1, "{role}: {order:?}");
        }
        if step.complete {
            break;
        }
    }
    assert_eq!(world.stale(), 0, "{order:?}");
    assert_eq!(world.step().under_way, None);
    let expected = [
        "a-etcd-0",
        "a-etcd-1",
        "a-etcd-2",
        "a-master-0",
        "a-master-2",
        "a-master-1 hands over",
        "a-master-1",
        "a-worker-0",
        "a-worker-1",
        "a-worker-2",
    ];
    assert_eq!(order, expected);
}

#[test]
fn each_gate_holds_the_next_pod_up_says_so_and_can_be_switched_off() {
    type Close = fn(&mut World);
    let close: [(Gate, Close); 6] = [
        (Gate::InWindow, |world| {
            world.closed_window = Some("it opens at three".to_owned());
        }),
        (Gate::Approved, |world| {
            world.updates.type_ = UpdateType::Supervised;
        }),
        (Gate::EtcdQuorum, |world| {
            for pod in world
                .pods
                .iter_mut()
                .filter(|one| one.role == Role::Etcd)
                .take(2)
            {
                pod.ready = false;
            }
        }),
        (Gate::LeaderStable, |world| world.leader = None),
        (Gate::ShardsFullyReplicated, |world| {
            world.troubled.insert("a-worker-2".to_owned());
        }),
        (Gate::MaxUnavailable, |world| {
            world.pods.last_mut().unwrap().ready = true;
            let worker = world.pods.iter_mut().find(|one| one.name == "a-worker-2");
            worker.unwrap().ready = false;
        }),
    ];
    for (gate, close) in close {
        let mut world = World::new();
        // Up to the workers everything is done: etcd and masters do not change.
        for role in [Role::Etcd, Role::Master] {
            let same = world.old.templates[role.as_str()].clone();
            world.new.templates.insert(role.to_string(), same);
        }
        close(&mut world);
        let step = world.step();
        let under_way = step.under_way.clone().unwrap();
        assert_eq!(under_way.blocked_by, Some(gate), "{under_way:?}");
        assert_eq!(under_way.target.as_deref(), Some("a-worker-0"));
        assert!(step.replace.is_empty(), "{gate:?}: {step:?}");
        world.skipped.insert(gate.name().to_owned());
        assert_eq!(world.step().replace, ["a-worker-0"], "{gate:?}");
    }
}

#[test]
fn the_next_pod_waits_for_the_last_unless_more_may_be_down() {
    let world = |new_and_starting: u32, max_unavailable: i32| {
        let mut world = World::new();
        for role in [Role::Etcd, Role::Master] {
            let same = world.old.templates[role.as_str()].clone();
            world.new.templates.insert(role.to_string(), same);
        }
        world.updates.max_unavailable = max_unavailable;
        let revision = world.new.revision_of(Role::Worker);
        for number in 0..new_and_starting {
            let name = format!("a-worker-{number}");
            let started = world.pods.iter_mut().find(|one| one.name == name).unwrap();
            (started.revision, started.ready) = (Some(revision.clone()), false);
        }
        world.step()
    };
    let blocked = |step: &Step| step.under_way.clone().unwrap().blocked_by;
    let one = world(1, 1);
    assert_eq!(blocked(&one), Some(Gate::PreviousPodServing));
    assert_eq!(one.replace, [] as [&str; 0]);
    assert_eq!(world(1, 2).replace, ["a-worker-1"]);
    let two = world(2, 2);
    assert_eq!(blocked(&two), Some(Gate::PreviousPodServing));
    assert_eq!(two.replace, [] as [&str; 0]);
}

#[test]
fn an_approval_lets_a_supervised_update_go_on_and_nothing_changes_before() {
    let mut world = World::new();
    world.updates.type_ = UpdateType::Supervised;
    let held = world.step();
    assert!(held.replace.is_empty() && !held.on_target.contains(&Role::Gateway));
    assert!(!held.on_target.contains(&Role::Etcd), "{held:?}");
    world.approved = true;
    assert_eq!(world.step().replace, ["a-etcd-0"]);
}

#[test]
fn outside_of_windows_nothing_changes_but_what_is_broken() {
    let mut world = World::new();
    world.closed_window = Some("it opens at three".to_owned());
    let held = world.step();
    assert!(held.replace.is_empty() && !held.on_target.contains(&Role::Gateway));
    assert!(!held.on_target.contains(&Role::Etcd), "{held:?}");
    let under_way = held.under_way.unwrap();
    assert_eq!(under_way.blocked_by, Some(Gate::InWindow));
    assert!(
        under_way.message.contains("it opens at three"),
        "{under_way:?}"
    );
    world.closed_window = None;
    assert_eq!(world.step().replace, ["a-etcd-0"]);
}

#[test]
fn on_delete_replaces_nothing_and_what_is_deleted_comes_back_new() {
    let mut world = World::new();
    world.updates.type_ = UpdateType::OnDelete;
    let step = world.step();
    assert!(step.replace.is_empty() && step.hand_over.is_none());
    assert!(step.on_target.contains(&Role::Worker));
    let under_way = step.under_way.unwrap();
    assert_eq!(under_way.blocked_by, Some(Gate::Automatic));
    assert_eq!(under_way.total, COUNTS.iter().sum::<u32>());
}

#[test]
fn a_revision_that_does_not_work_stops_at_one_pod_and_is_given_up_after_its_time() {
    let mut world = World::new();
    world.is_broken = true;
    for _round in 0..20 {
        let step = world.step();
        assert_eq!(step.failed, None);
        world.carry_out(&step);
    }
    assert_eq!(world.down(Role::Etcd), 1);
    assert_eq!(world.stale() + 1, world.pods.len(), "one pod was tried");
    world.now += i64::from(world.updates.progress_deadline_seconds);
    let failed = world.step().failed.unwrap();
    assert!(failed.starts_with("a-etcd-0 after"), "{failed}");
    // Back: the pod that does not work is replaced at once, whatever the gates say.
    std::mem::swap(&mut world.old, &mut world.new);
    world.is_broken = false;
    world.leader = None;
    world.pods[0].trouble = Some("CrashLoopBackOff".to_owned());
    world.pods[0].ready = false;
    assert_eq!(world.step().replace, ["a-etcd-0"]);
}

#[test]
fn a_pod_that_an_update_does_not_touch_does_not_end_it() {
    let mut world = World::new();
    let same = world.old.templates["worker"].clone();
    world.new.templates.insert("worker".to_owned(), same);
    let worker = world.pods.iter_mut().find(|one| one.role == Role::Worker);
    worker.unwrap().ready = false;
    world.now = 10 * i64::from(world.updates.progress_deadline_seconds);
    assert_eq!(world.step().failed, None);
}

proptest! {
    /// Whatever dies on the way, an update ends, and never takes a second pod of a role down itself.
    #[test]
    fn an_update_ends_whatever_dies_on_the_way(
        deaths in proptest::collection::vec((0usize..80, 0usize..11), 0..12),
    ) {
        let mut world = World::new();
        for round in 0..200 {
            for (_, at) in deaths.iter().filter(|(when, _)| *when == round) {
                world.pods[*at].ready = false;
            }
            let dead: Vec<usize> = ORDER.iter().map(|role| world.down(*role)).collect();
            let step = world.step();
            for name in &step.replace {
                let pod = world.pods.iter().find(|one| one.name == *name).unwrap();
                let at = ORDER.iter().position(|one| *one == pod.role).unwrap();
                prop_assert!(dead[at] == 0 || !pod.ready, "{name} beside {dead:?}");
            }
            world.carry_out(&step);
            if world.step().complete {
                break;
            }
        }
        prop_assert_eq!(world.stale(), 0);
        prop_assert!(world.step().complete);
    }
}
