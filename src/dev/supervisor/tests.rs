//! What the supervisor decides, on a clock that the test moves.

use super::*;
use crate::clock::{Clock, ManualClock};

const ROLES: [Role; 4] = [Role::Master, Role::Worker, Role::Worker, Role::Gateway];

struct Scene {
    clock: ManualClock,
    supervisor: Supervisor,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::default();
        let entropy = Arc::new(Entropy::from_seed(11));
        let supervisor = Supervisor::new(&ROLES, clock.now(), entropy);
        Self { clock, supervisor }
    }

    fn started() -> Self {
        let mut scene = Self::new();
        assert_eq!(scene.orders().len(), ROLES.len());
        scene
    }

    fn orders(&mut self) -> Vec<Order> {
        self.supervisor.orders(self.clock.now())
    }

    fn dies(&mut self, number: usize) -> Duration {
        match self.supervisor.ended(number, self.clock.now()) {
            Next::StartsIn(pause) => pause,
            Next::StaysEnded => panic!("{number} stays ended"),
        }
    }

    fn ends(&mut self, number: usize) {
        let next = self.supervisor.ended(number, self.clock.now());
        assert_eq!(next, Next::StaysEnded);
    }
}

#[test]
fn all_start_at_once_and_each_order_is_given_once() {
    let mut scene = Scene::new();
    let all = [0, 1, 2, 3].map(Order::Start);
    assert_eq!(scene.orders(), all);
    assert_eq!(scene.orders(), []);
    assert_eq!(scene.supervisor.wakes_at(), None);
}

#[test]
fn who_dies_starts_again_after_its_pause_and_not_before() {
    let mut scene = Scene::started();
    let pause = scene.dies(1);
    assert!(pause <= PAUSE_FIRST && pause > Duration::ZERO);
    assert_eq!(scene.supervisor.wakes_at(), Some(scene.clock.now() + pause));
    scene.clock.advance(pause - Duration::from_nanos(1));
    assert_eq!(scene.orders(), []);
    scene.clock.advance(Duration::from_nanos(1));
    assert_eq!(scene.orders(), [Order::Start(1)]);
}

#[test]
fn who_keeps_dying_waits_longer_and_a_calm_minute_is_forgiven() {
    let mut scene = Scene::started();
    let mut ceiling = PAUSE_FIRST;
    let mut longest = Duration::ZERO;
    for _ in 0..40 {
        let pause = scene.dies(2);
        assert!(pause <= ceiling, "{pause:?} of {ceiling:?}");
        ceiling = (ceiling * 2).min(PAUSE_MOST);
        longest = longest.max(pause);
        scene.clock.advance(pause);
        assert_eq!(scene.orders(), [Order::Start(2)]);
        scene.clock.advance(CALM - Duration::from_millis(1));
    }
    assert!(
        longest > PAUSE_MOST / 2 && longest <= PAUSE_MOST,
        "{longest:?}"
    );
    scene.clock.advance(Duration::from_millis(1));
    assert!(scene.dies(2) <= PAUSE_FIRST);
}

#[test]
fn a_stop_ends_gateways_then_workers_then_masters() {
    let mut scene = Scene::started();
    scene.supervisor.stop();
    assert_eq!(scene.orders(), [Order::Terminate(3)]);
    assert_eq!(scene.orders(), []);
    scene.ends(3);
    assert_eq!(scene.orders(), [Order::Terminate(1), Order::Terminate(2)]);
    scene.ends(2);
    assert_eq!(scene.orders(), []);
    scene.ends(1);
    assert_eq!(scene.orders(), [Order::Terminate(0)]);
    assert!(!scene.supervisor.is_done());
    scene.ends(0);
    assert!(scene.supervisor.is_done());
    assert_eq!(scene.supervisor.wakes_at(), None);
}

#[test]
fn who_hangs_is_killed_and_the_stop_goes_on() {
    let mut scene = Scene::started();
    scene.supervisor.stop();
    assert_eq!(scene.orders(), [Order::Terminate(3)]);
    scene.clock.advance(GRACE - Duration::from_millis(1));
    assert_eq!(scene.orders(), []);
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.orders(), [Order::Kill(3)]);
    assert_eq!(scene.orders(), []);
    scene.ends(3);
    assert_eq!(scene.orders().len(), 2);
}

#[test]
fn nothing_starts_while_stopping() {
    let mut scene = Scene::started();
    scene.dies(0);
    scene.supervisor.stop();
    scene.clock.advance(PAUSE_MOST);
    assert_eq!(scene.orders(), [Order::Terminate(3)]);
    // A worker that dies before its turn is not started again either.
    scene.ends(1);
    scene.ends(3);
    assert_eq!(scene.orders(), [Order::Terminate(2)]);
    scene.ends(2);
    assert!(scene.supervisor.is_done());
}
