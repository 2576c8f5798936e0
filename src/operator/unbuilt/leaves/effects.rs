//! What becomes of a spec, as far as pure functions show it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::crd::v1alpha1::{VectorClusterSpec, VectorClusterStatus};
use crate::operator::certificates::{self, Due, Held};
use crate::operator::observe::{ClaimSeen, PodSeen, Seen};
use crate::operator::render::tests::{objects, rendered, subject};
use crate::operator::revisions::{Inputs, Kept, ORDER, Templates};
use crate::operator::situation::Situation;
use crate::operator::updates::{self, Scene};
use crate::operator::volumes::{self, Fills};
use crate::operator::{unbuilt, windows};
use crate::topology::{Observation, Observed, Role, State, plan};

/// What becomes of a spec.
#[derive(Debug, PartialEq)]
pub(super) struct Effects {
    pub(super) refused: Vec<String>,
    pub(super) templates: BTreeMap<Role, Value>,
    objects: Vec<Value>,
    /// What is decided from it, each in its own words.
    decided: Vec<String>,
}

/// Everything that is made of a spec or decided by it.
pub(super) fn effects(spec: &VectorClusterSpec) -> Effects {
    let templates = ORDER.map(|role| (role, rendered(spec, |render| render.role_template(role))));
    Effects {
        refused: unbuilt::fields(spec),
        templates: templates.into(),
        objects: objects(spec),
        decided: vec![
            planned(spec),
            step(spec),
            certificates(spec),
            growths(spec),
            format!("{:?}", volumes::ending(spec, false, 4, &claims("1Gi"))),
            format!("{:?}", window(spec)),
            format!("{:?}", is_taken_back(spec)),
        ],
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// How volumes grow that are small or large, half full or full.
fn growths(spec: &VectorClusterSpec) -> String {
    let grown = ["1Gi", "200Gi", "2Ti"].map(|size| {
        [50, 99].map(|percent| {
            let fills = Fills::from([("data-demo-worker-0".to_owned(), percent)]);
            volumes::growths(spec, &claims(size), &fills)
        })
    });
    format!("{grown:?}")
}

fn claims(size: &str) -> [ClaimSeen; 2] {
    [Role::Etcd, Role::Worker].map(|role| ClaimSeen {
        role,
        ordinal: 0,
        name: format!("data-demo-{role}-0"),
        uid: role.to_string(),
        retired: false,
        leaving: false,
        asked: size.to_owned(),
        capacity: size.to_owned(),
        resize: None,
    })
}

/// What is planned where nothing is yet, and where there are many of each.
fn planned(spec: &VectorClusterSpec) -> String {
    let observed = ORDER.into_iter().flat_map(|role| {
        (0..100).map(move |ordinal| Observed {
            role,
            name: format!("demo-{role}-{ordinal}"),
            ordinal,
            state: State::Running,
        })
    });
    let many = Observation {
        components: observed.collect(),
        next_worker_ordinal: 100,
    };
    let plans = [Observation::default(), many].map(|seen| plan(spec, "demo", &seen));
    format!("{plans:?}")
}

/// The steps of an update of five workers of which the first is not ready: because its new template does
/// not work, for two minutes now, or because it ends.
fn step(spec: &VectorClusterSpec) -> String {
    let of = |of: &str| Templates {
        inputs: Inputs::new(),
        templates: [("worker".to_owned(), json!({ "image": of }))].into(),
    };
    let (old, new) = (of("old"), of("new"));
    let now = at("2026-01-01T12:00:00Z");
    let pod = |ordinal: u32, ready: bool, of: &Templates| PodSeen {
        role: Role::Worker,
        ordinal,
        name: format!("demo-worker-{ordinal}"),
        uid: ordinal.to_string(),
        node: None,
        address: None,
        created: None,
        unready_since: (!ready).then(|| at("2026-01-01T11:58:00Z")),
        revision: Some(of.revision_of(Role::Worker)),
        ready,
        leaving: false,
        over: false,
        trouble: None,
    };
    let wanted = |role: Role| if role == Role::Worker { 5 } else { 0 };
    let steps = [true, false].map(|first_is_new| {
        let first = if first_is_new { &new } else { &old };
        let mut pods = vec![PodSeen {
            leaving: !first_is_new,
            ..pod(0, false, first)
        }];
        pods.extend((1..5).map(|ordinal| pod(ordinal, true, &old)));
        updates::step(&Scene {
            pods: &pods,
            wanted: &wanted,
            target: &new,
            current: Some(&old),
            updates: &spec.updates,
            approved: false,
            closed_window: None,
            skipped: &BTreeSet::from(["LeaderStable".to_owned()]),
            leader: None,
            troubled: &BTreeSet::new(),
            now,
        })
    });
    format!("{steps:?}")
}

/// Whether an update that failed is taken back.
fn is_taken_back(spec: &VectorClusterSpec) -> bool {
    let kept = |hash: &str, failed: bool| Kept {
        hash: hash.to_owned(),
        number: 1,
        uid: hash.to_owned(),
        failed: failed.then(|| "it never became ready".to_owned()),
        held: Templates::default(),
    };
    let (before, asked) = (kept("before", false), kept("asked", true));
    let status = json!({"conditions": [], "revision": {"current": "before", "target": "asked"}});
    let status: VectorClusterStatus = serde_json::from_value(status).unwrap();
    let seen = Seen {
        revisions: vec![before, asked.clone()],
        ..Seen::default()
    };
    let situation = Situation {
        subject: &subject(),
        spec,
        annotations: &BTreeMap::new(),
        generation: 1,
        plan: &plan(spec, "demo", &Observation::default()),
        members: 1,
        seen: &seen,
        masters: Err("no master is ready".to_owned()),
        before: Some(&status),
        now: at("2026-01-01T12:00:00Z"),
        fills: OnceLock::new(),
    };
    situation.in_force(&asked).given_up.is_some()
}

/// Which certificates there should be, for how long, and which of two are issued anew: one that ends in
/// 200 hours, and one that ends in 1,000.
fn certificates(spec: &VectorClusterSpec) -> String {
    let subject = subject();
    let wanted = certificates::wanted(&subject, spec);
    let now = OffsetDateTime::UNIX_EPOCH;
    let due = Due {
        now,
        renew_before: certificates::duration(&spec.tls.renew_before).unwrap(),
        rotate: None,
        authorities: "m",
    };
    let ends = ["1970-01-09T08:00:00Z", "1970-02-11T16:00:00Z"];
    let is_due = ends.map(|end| {
        let held = Held {
            not_after: Some(end.to_owned()),
            names: Some(wanted[0].joined()),
            rotated: None,
            authorities: Some("m".to_owned()),
        };
        wanted[0].is_due(&held, due)
    });
    let authority = certificates::authority(&subject, certificates::Authority::Own, now).unwrap();
    let life = certificates::duration(&spec.tls.duration).unwrap();
    let issued = certificates::issue(&subject, &authority, &wanted[0], now, life);
    let (_pair, end) = issued.unwrap();
    format!("{wanted:?} {is_due:?} {end}")
}

/// When pods may be replaced in a day, by the quarter of an hour.
fn window(spec: &VectorClusterSpec) -> Vec<bool> {
    let midnight = at("2026-01-01T00:00:00Z").as_second();
    let quarters = (0..24 * 4 * 15).map(|minute| midnight + minute * 60);
    let open = |second| {
        let moment = Timestamp::from_second(second).unwrap();
        windows::closed(&spec.updates.windows, moment).is_none()
    };
    quarters.map(open).collect()
}
