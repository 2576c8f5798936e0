//! Plans: what should run, in which order, and the next steps.

use proptest::prelude::*;
use vectorsphere::crd::v1alpha1::{Routing, VectorClusterSpec};
use vectorsphere::topology::{
    Action, Component, LAPTOP_SAMPLE, Observation, Observed, Plan, Role, Settings, State, manifest,
    plan,
};

use super::spec;

fn names(components: &[Component]) -> Vec<&str> {
    components
        .iter()
        .map(|component| component.name.as_str())
        .collect()
}

fn steps(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .map(|action| match action {
            Action::Start(component) => format!("start {}", component.name),
            Action::Stop(name) => format!("stop {name}"),
        })
        .collect()
}

/// What there is once a plan has been carried out.
fn observed(components: &[Component]) -> Observation {
    Observation {
        components: components
            .iter()
            .map(|component| Observed {
                role: component.role,
                name: component.name.clone(),
                ordinal: component.ordinal,
                state: State::Running,
            })
            .collect(),
        next_worker_ordinal: 0,
    }
}

fn worker(ordinal: u32, state: State) -> Observed {
    Observed {
        role: Role::Worker,
        name: format!("c-worker-{ordinal}"),
        ordinal,
        state,
    }
}

fn workers(plan: &Plan) -> Vec<u32> {
    plan.components
        .iter()
        .filter(|component| component.role == Role::Worker)
        .map(|component| component.ordinal)
        .collect()
}

#[test]
fn the_laptop_is_one_of_each_in_the_order_of_start() {
    let spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
    let plan = plan(&spec, "laptop", &Observation::default());
    let expected = [
        "laptop-etcd-0",
        "laptop-master-0",
        "laptop-worker-0",
        "laptop-gateway-0",
    ];
    assert_eq!(names(&plan.components), expected);
    assert_eq!(steps(&plan), expected.map(|name| format!("start {name}")));
    assert_eq!(
        plan.components
            .iter()
            .map(|c| c.settings.clone())
            .collect::<Vec<_>>(),
        [
            Settings::Etcd { members: 1 },
            Settings::Master {
                shards: None,
                replication_factor: 1
            },
            Settings::Worker,
            Settings::Gateway {
                routing: Routing::Direct
            },
        ]
    );
}

#[test]
fn the_manifest_decides_numbers_and_settings() {
    let spec = spec(&[
        ("spec.etcd", "{external: {endpoints: ['http://e:2379']}}"),
        ("spec.worker.replicas", "4"),
        ("spec.gateway", "{replicas: 1, routing: ViaMaster}"),
        ("spec.sharding.shards", "12"),
    ]);
    let plan = plan(&spec, "c", &Observation::default());
    assert_eq!(
        names(&plan.components),
        [
            "c-master-0",
            "c-master-1",
            "c-master-2",
            "c-worker-0",
            "c-worker-1",
            "c-worker-2",
            "c-worker-3",
            "c-gateway-0"
        ]
    );
    let first = &plan.components.first().unwrap().settings;
    assert_eq!(
        *first,
        Settings::Master {
            shards: Some(12),
            replication_factor: 1
        }
    );
    let last = &plan.components.last().unwrap().settings;
    assert_eq!(
        *last,
        Settings::Gateway {
            routing: Routing::ViaMaster
        }
    );
}

#[test]
fn hibernation_stops_everything_gateways_first() {
    let running = plan(&spec(&[]), "c", &Observation::default()).components;
    let asleep = plan(
        &spec(&[("spec.power", "Hibernated")]),
        "c",
        &observed(&running),
    );
    assert_eq!(asleep.components, []);
    let mut expected: Vec<String> = names(&running)
        .iter()
        .map(|n| format!("stop {n}"))
        .collect();
    expected.reverse();
    assert_eq!(steps(&asleep), expected);
}

#[test]
fn while_paused_nothing_is_done() {
    let paused = plan(
        &spec(&[("spec.paused", "true")]),
        "c",
        &Observation::default(),
    );
    assert_eq!(paused.components.len(), 11);
    assert_eq!(paused.actions, []);
}

#[test]
fn a_component_that_stopped_is_started_again() {
    let spec = spec(&[]);
    let mut there = observed(&plan(&spec, "c", &Observation::default()).components);
    let dead = there
        .components
        .iter_mut()
        .find(|c| c.name == "c-worker-1")
        .unwrap();
    dead.state = State::Stopped;
    assert_eq!(steps(&plan(&spec, "c", &there)), ["start c-worker-1"]);
}

#[test]
fn a_worker_number_is_never_given_twice() {
    let spec = spec(&[]);
    let there = |ordinals: &[u32], next| Observation {
        components: ordinals
            .iter()
            .map(|o| worker(*o, State::Running))
            .collect(),
        next_worker_ordinal: next,
    };
    for (existing, next, expected) in [
        (&[][..], 0, [0, 1, 2]),
        (&[][..], 7, [7, 8, 9]),
        (&[0, 2][..], 0, [0, 2, 3]),
        (&[0, 2][..], 5, [0, 2, 5]),
        (&[9, 4, 1][..], 2, [1, 4, 9]),
        (&[3, 2, 1, 0][..], 4, [0, 1, 2]),
    ] {
        assert_eq!(
            workers(&plan(&spec, "c", &there(existing, next))),
            expected,
            "{existing:?}"
        );
    }
    assert_eq!(
        steps(&plan(&spec, "c", &there(&[0, 1, 2, 3, 4], 5)))
            .iter()
            .filter(|step| step.contains("worker"))
            .collect::<Vec<_>>(),
        ["stop c-worker-4", "stop c-worker-3"]
    );
    // At the end of all numbers there are fewer workers, and no number twice.
    assert_eq!(
        workers(&plan(&spec, "c", &there(&[u32::MAX], 0))),
        [u32::MAX]
    );
}

#[test]
fn an_autoscaler_keeps_its_number_of_gateways() {
    let spec = spec(&[(
        "spec.gateway",
        "{replicas: 1, autoscaling: {minReplicas: 2, maxReplicas: 4}}",
    )]);
    for (existing, expected) in [(0, 2), (1, 2), (3, 3), (9, 4)] {
        let there = Observation {
            components: (0..existing)
                .map(|ordinal| Observed {
                    role: Role::Gateway,
                    name: format!("c-gateway-{ordinal}"),
                    ordinal,
                    state: State::Running,
                })
                .collect(),
            next_worker_ordinal: 0,
        };
        let gateways = plan(&spec, "c", &there)
            .components
            .iter()
            .filter(|component| component.role == Role::Gateway)
            .count();
        assert_eq!(gateways, expected, "{existing}");
    }
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let role = prop::sample::select(vec![Role::Etcd, Role::Master, Role::Worker, Role::Gateway]);
    let state = prop::sample::select(vec![State::Running, State::Stopped]);
    let component = (role, 0_u32..12, state);
    (prop::collection::vec(component, 0..20), 0_u32..15).prop_map(|(mut all, next)| {
        all.sort_by_key(|(role, ordinal, _)| (*role, *ordinal));
        all.dedup_by_key(|(role, ordinal, _)| (*role, *ordinal));
        Observation {
            components: all
                .into_iter()
                .map(|(role, ordinal, state)| Observed {
                    role,
                    name: format!("c-{role}-{ordinal}"),
                    ordinal,
                    state,
                })
                .collect(),
            next_worker_ordinal: next,
        }
    })
}

fn any_spec() -> impl Strategy<Value = VectorClusterSpec> {
    let odd = prop::sample::select(vec![1_i32, 3, 5]);
    (odd.clone(), odd, 1_i32..12, 1_i32..6, any::<bool>()).prop_map(
        |(etcd, masters, workers, gateways, awake)| {
            let power = if awake { "Running" } else { "Hibernated" };
            spec(&[
                ("spec.etcd.managed.replicas", &etcd.to_string()),
                ("spec.master.replicas", &masters.to_string()),
                ("spec.worker.replicas", &workers.to_string()),
                ("spec.gateway.replicas", &gateways.to_string()),
                ("spec.power", power),
            ])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Carrying out the actions leads to what should run, and then there is nothing left to do.
    #[test]
    fn a_plan_that_was_carried_out_asks_for_nothing(
        spec in any_spec(),
        there in any_observation(),
        order in any::<prop::sample::Index>(),
    ) {
        let first = plan(&spec, "c", &there);
        let mut turned = there.clone();
        if !turned.components.is_empty() {
            let by = order.index(turned.components.len());
            turned.components.rotate_left(by);
        }
        prop_assert_eq!(&plan(&spec, "c", &turned), &first);

        let sorted = first.components.is_sorted_by_key(|c| (c.role, c.ordinal));
        prop_assert!(sorted);

        let mut after = there;
        for action in &first.actions {
            match action {
                Action::Start(component) => {
                    after.components.retain(|c| c.name != component.name);
                    after.components.extend(observed(std::slice::from_ref(component)).components);
                },
                Action::Stop(name) => {
                    let stopped = after.components.iter_mut().find(|c| c.name == *name);
                    stopped.unwrap().state = State::Stopped;
                },
            }
        }
        let running: Vec<&str> = after
            .components
            .iter()
            .filter(|c| c.state == State::Running)
            .map(|c| c.name.as_str())
            .collect();
        let mut wanted = names(&first.components);
        let mut running = running;
        wanted.sort_unstable();
        running.sort_unstable();
        prop_assert_eq!(wanted, running);
        prop_assert_eq!(plan(&spec, "c", &after).actions, vec![]);
    }
}
