//! Specs at random from the fields that are carried out, and manifests that cannot work.
//!
//! A seed gives a pair: what a cluster is first, and what it becomes. Both are valid, and so is the change
//! from one to the other. Left out, each for its reason: members of etcd come and go by etcd's own
//! protocol, and etcd that others run is one that nobody runs here, so their number is fixed for a pair;
//! an autoscaler, cert-manager and Prometheus are not here, and their objects are shown by rendering;
//! volumes that must not grow differ from those made large; sleep and pause have scenarios of their own;
//! what waits for a person does not come to an end by itself.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use vectorsphere::topology::manifest::{check, check_change};

use super::double::patch::merged;
use super::scene::{CLUSTER, manifest};

/// Of so many fields one is set.
const ONE_OF: u32 = 4;

/// Two specs, what stands in between, and the seed that gave them.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) seed: u64,
    pub(crate) first: Value,
    pub(crate) bad: Bad,
    pub(crate) second: Value,
}

/// A change that cannot work.
#[derive(Debug, Clone)]
pub(crate) struct Bad {
    pub(crate) name: String,
    pub(crate) change: Value,
}

/// Whose pods, and what lays fields of their role into a spec.
type Place = (&'static str, fn(Value) -> Value);

/// The roles.
fn places() -> [Place; 4] {
    [
        ("gateways", |of| json!({ "gateway": of })),
        ("masters", |of| json!({ "master": of })),
        ("workers", |of| json!({ "worker": of })),
        ("members of etcd", |of| json!({"etcd": {"managed": of}})),
    ]
}

/// What pods may be given, each with alternatives.
fn pod_options() -> Vec<Vec<Value>> {
    vec![
        vec![
            json!({"labels": {"team": "search"}}),
            json!({"labels": {"team": "web", "a/b": "c"}}),
        ],
        vec![
            json!({"annotations": {"note": "one"}}),
            json!({"annotations": {"other": "two"}}),
        ],
        vec![json!({"nodeSelector": {"disk": "fast"}})],
        vec![
            json!({"priorityClassName": "search"}),
            json!({"priorityClassName": "web"}),
        ],
        vec![json!({"runtimeClassName": "small"})],
        vec![
            json!({"antiAffinity": "Disabled"}),
            json!({"antiAffinity": "Preferred"}),
        ],
        vec![
            json!({"terminationGracePeriodSeconds": 60}),
            json!({"terminationGracePeriodSeconds": 90}),
        ],
        vec![
            json!({"tolerations": [{"key": "a", "operator": "Exists"}]}),
            json!({"tolerations": [{"key": "b", "operator": "Exists", "effect": "NoSchedule"}]}),
        ],
        vec![
            json!({"env": [{"name": "A", "value": "1"}]}),
            json!({"env": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]}),
        ],
        vec![json!({"podSecurityContext": {"runAsUser": 3, "fsGroup": 3}})],
        vec![json!({"securityContext": {"readOnlyRootFilesystem": false}})],
        vec![json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "disk", "operator": "Exists"}]},
            ]},
        }}})],
        vec![json!({"topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway",
        }]})],
        vec![
            json!({"overlay": {"spec": {"dnsPolicy": "Default"}}}),
            json!({"overlay": {"metadata": {"labels": {"extra": "yes"}}, "spec": {"hostNetwork": false}}}),
        ],
    ]
}

/// Fields of the whole cluster, each with alternatives.
fn cluster_options() -> Vec<Vec<Value>> {
    let listed = |all: &[&str]| {
        json!({"gateway": {"service": {
            "type": "LoadBalancer", "loadBalancerSourceRanges": all,
        }}})
    };
    vec![
        vec![
            json!({"version": "0.2.0"}),
            json!({"image": {"tag": "other"}}),
        ],
        vec![json!({"image": {"repository": "images.test/mine"}})],
        vec![json!({"image": {"pullPolicy": "Always"}})],
        vec![json!({"image": {"pullSecrets": [{"name": "a"}]}})],
        vec![json!({"sharding": {"shards": 4}})],
        vec![
            json!({"gateway": {"replicas": 2}}),
            json!({"gateway": {"replicas": 3}}),
        ],
        vec![json!({"gateway": {"routing": "ViaMaster"}})],
        vec![
            json!({"gateway": {"service": {"type": "NodePort"}}}),
            listed(&["10.0.0.0/8"]),
            listed(&[]),
        ],
        vec![json!({"gateway": {"service": {"annotations": {"lb.test/kind": "internal"}}}})],
        vec![json!({"master": {"replicas": 3}})],
        vec![
            json!({"worker": {"replicas": 2}}),
            json!({"worker": {"replicas": 3}}),
        ],
        vec![json!({"worker": {"scaledDownVolumes": "Retain"}})],
        vec![json!({"etcd": {"managed": {"image": "images.test/etcd:other"}}})],
        vec![
            json!({"networkPolicy": {"enabled": false}}),
            json!({"networkPolicy": {"clients": [
                {"podSelector": {"matchLabels": {"app": "shop"}}},
            ]}}),
        ],
        vec![
            json!({"serviceAccount": {"create": false}}),
            json!({"serviceAccount": {"name": "mine"}}),
            json!({"serviceAccount": {"annotations": {"cloud.test/role": "reader"}}}),
        ],
        vec![json!({"tls": {"mode": "Secret", "secretName": "web"}})],
        vec![
            json!({"tls": {"duration": "1000h"}}),
            json!({"tls": {"renewBefore": "100h"}}),
        ],
        vec![json!({"tls": {"extraDnsNames": ["a.example", "b.example"]}})],
        vec![json!({"auth": {"secret": {"name": "keys"}}})],
        vec![
            json!({"monitoring": {"grafanaDashboard": {"enabled": true}}}),
            json!({"monitoring": {"grafanaDashboard": {"enabled": true, "labels": {"a": "b"}}}}),
        ],
        vec![
            json!({"logging": {"filter": "debug"}}),
            json!({"logging": {"format": "Text"}}),
        ],
        vec![json!({"updates": {"maxUnavailable": 2}})],
        vec![json!({"updates": {"rollbackOnFailure": false}})],
        vec![json!({"updates": {"windows": [{"schedule": "* * * * *", "durationMinutes": 10}]}})],
        vec![
            json!({"deletionPolicy": "Delete"}),
            json!({"deletionProtection": true}),
        ],
    ]
}

/// Manifests that cannot work.
fn bad_options() -> Vec<Bad> {
    let bad = |name: &str, change| Bad {
        name: name.to_owned(),
        change,
    };
    let nowhere = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchExpressions": [{"key": "nowhere", "operator": "Exists"}]}],
    }}});
    let large = json!({"requests": {"memory": "10Ti"}});
    let mut all = vec![
        bad(
            "an image that does not exist",
            json!({"image": {"tag": "broken"}}),
        ),
        bad("no keys", json!({"auth": {"secret": {"name": "missing"}}})),
        bad(
            "no certificate",
            json!({"tls": {"mode": "Secret", "secretName": "missing"}}),
        ),
        bad("a field that is not built", json!({"config": {"a": "b"}})),
        bad(
            "no cron expression",
            json!({"updates": {"windows": [
                {"schedule": "99 * * * *", "durationMinutes": 10},
            ]}}),
        ),
        bad(
            "more workers that are too large",
            json!({"worker": {
                "replicas": 4, "resources": large,
            }}),
        ),
    ];
    for (whose, place) in places() {
        let lost = place(json!({"pod": {"affinity": nowhere}}));
        all.push(bad(&format!("{whose} on no node"), lost));
        let too_large = place(json!({ "resources": large }));
        all.push(bad(&format!("{whose} too large"), too_large));
    }
    let image = json!({"etcd": {"managed": {"image": "images.test/broken"}}});
    all.push(bad("an image of etcd that does not exist", image));
    all
}

struct Generator(StdRng);

impl Generator {
    fn is_set(&mut self) -> bool {
        self.0.random_range(0..ONE_OF) == 0
    }

    fn one<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.0.random_range(0..all.len())].clone()
    }

    /// Some of the options laid over each other.
    fn some(&mut self, options: &[Vec<Value>]) -> Value {
        let mut made = json!({});
        for alternatives in options {
            if self.is_set() {
                made = merged(&made, &self.one(alternatives));
            }
        }
        made
    }

    fn change(&mut self) -> Value {
        let mut made = self.some(&cluster_options());
        if self.is_set() {
            made = merged(&made, &json!({"podDefaults": self.some(&pod_options())}));
        }
        for (_whose, place) in places() {
            if self.is_set() {
                made = merged(&made, &place(json!({"pod": self.some(&pod_options())})));
            }
            if self.is_set() {
                let memory = self.one(&["64Mi", "128Mi"]);
                let resources = json!({"requests": {"memory": memory}});
                made = merged(&made, &place(json!({"resources": resources})));
            }
        }
        made
    }

    fn spec(&mut self, members: u32, sizes: &[Value]) -> Value {
        let mut change = self.change();
        change = merged(
            &change,
            &json!({"etcd": {"managed": {"replicas": members}}}),
        );
        for size in sizes {
            change = merged(&change, size);
        }
        manifest(CLUSTER, &change)["spec"].clone()
    }
}

/// The pair of a seed.
pub(crate) fn pair(seed: u64) -> Pair {
    let mut generator = Generator(StdRng::seed_from_u64(seed));
    let members = generator.one(&[1, 3]);
    let larger = [
        json!({"worker": {"storage": {"size": "20Gi"}}}),
        json!({"etcd": {"managed": {"storage": {"size": "30Gi"}}}}),
    ];
    let mut sizes: Vec<Value> = Vec::new();
    let first = generator.spec(members, &sizes);
    sizes.extend(larger.into_iter().filter(|_| generator.is_set()));
    let second = generator.spec(members, &sizes);
    let bad = generator.one(&bad_options());
    let pair = Pair {
        seed,
        first,
        bad,
        second,
    };
    pair.assert_valid();
    pair
}

impl Pair {
    /// The first spec with what cannot work.
    pub(crate) fn spoilt(&self) -> Value {
        merged(&self.first, &self.bad.change)
    }

    /// An API server would take each, and each change.
    #[track_caller]
    fn assert_valid(&self) {
        let of = |spec: &Value| {
            let mut whole = manifest(CLUSTER, &json!({}));
            whole["spec"] = spec.clone();
            let checked = check(&whole.to_string());
            checked
                .unwrap_or_else(|faults| panic!("{}: {faults:?} of {spec}", self.seed))
                .spec
        };
        let (first, spoilt, second) = (of(&self.first), of(&self.spoilt()), of(&self.second));
        for (from, to) in [(&first, &spoilt), (&spoilt, &first), (&first, &second)] {
            assert_eq!(check_change(from, to), [], "{}", self.seed);
        }
    }
}

#[test]
fn every_seed_gives_a_pair_that_an_api_server_takes() {
    for seed in 0..200 {
        let pair = pair(seed);
        assert_ne!(pair.first, pair.second, "{seed}");
        assert_ne!(pair.first, pair.spoilt(), "{seed}");
    }
}
