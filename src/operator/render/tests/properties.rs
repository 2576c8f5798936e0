//! What is so whatever a manifest says of pods.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{objects, pod, spec};

/// Something for every option of a pod but security contexts and overlays: those may take away what is
/// promised here.
fn options(chosen: u16) -> Value {
    let all = [
        ("labels", json!({"vectorsphere.io/role": "other", "a": "b"})),
        ("annotations", json!({"a": "b"})),
        ("nodeSelector", json!({"a": "b"})),
        ("tolerations", json!([{"operator": "Exists"}])),
        ("affinity", json!({"podAntiAffinity": {}})),
        ("antiAffinity", json!("Required")),
        (
            "topologySpreadConstraints",
            json!([
                {"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"},
            ]),
        ),
        ("priorityClassName", json!("a")),
        ("runtimeClassName", json!("a")),
        (
            "env",
            json!([{"name": "POD_NAME", "value": "b"}, {"name": "A", "value": "b"}]),
        ),
        ("terminationGracePeriodSeconds", json!(0)),
    ];
    let is_chosen = |number: usize| chosen >> number & 1 == 1;
    let some = all
        .into_iter()
        .enumerate()
        .filter(|(number, _option)| is_chosen(*number));
    let some: Map<String, Value> = some
        .map(|(_number, (name, value))| (name.to_owned(), value))
        .collect();
    some.into()
}

/// A spec in which everybody says something of pods.
fn any_spec() -> impl Strategy<Value = Value> {
    (any::<[u16; 5]>(), any::<[bool; 4]>(), 1_u32..4).prop_map(|(chosen, on, number)| {
        let [all, gateway, master, worker, etcd] = chosen.map(options);
        let [external, autoscaled, account, policies] = on;
        let mut more = json!({
            "podDefaults": all, "gateway": {"pod": gateway, "replicas": number},
            "master": {"pod": master}, "worker": {"pod": worker, "replicas": number},
            "serviceAccount": {"create": account}, "networkPolicy": {"enabled": policies},
            "etcd": {"managed": {"pod": etcd}},
        });
        if external {
            more["etcd"] = json!({
                "managed": null, "external": {"endpoints": ["http://etcd.infra:2379"]},
            });
        }
        if autoscaled {
            more["gateway"]["autoscaling"] = json!({"minReplicas": number, "maxReplicas": 5});
        }
        more
    })
}

/// The `matchLabels` of every selector of pods by which an object means pods of the cluster.
fn selectors(object: &Value) -> Vec<&Value> {
    let spec = &object["spec"];
    match object["kind"].as_str().unwrap() {
        "Service" => vec![&spec["selector"]],
        "PodDisruptionBudget" | "Deployment" | "StatefulSet" => {
            vec![&spec["selector"]["matchLabels"]]
        },
        "NetworkPolicy" => {
            let peers = ["ingress", "egress"].into_iter().flat_map(|way| {
                let rules = spec[way].as_array().unwrap().iter();
                rules.flat_map(|rule| {
                    let peers = [&rule["from"], &rule["to"]].into_iter();
                    peers.filter_map(Value::as_array).flatten()
                })
            });
            let near = peers.filter(|peer| peer.get("namespaceSelector").is_none());
            near.map(|peer| &peer["podSelector"]["matchLabels"])
                .chain([&spec["podSelector"]["matchLabels"]])
                .collect()
        },
        _ => Vec::new(),
    }
}

fn matches(selector: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    let wanted = selector.as_object().unwrap();
    !wanted.is_empty()
        && wanted
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
}

/// What the restricted Pod Security level asks for.
#[track_caller]
fn assert_restricted(pod: &Value) {
    let spec = &pod["spec"];
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(spec.get(host), None, "{host}");
    }
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_ne!(spec["securityContext"]["runAsUser"], 0);
    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    for container in spec["containers"].as_array().unwrap() {
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(security.get("privileged"), None);
        let ports = container["ports"].as_array().unwrap();
        assert!(ports.iter().all(|port| port.get("hostPort").is_none()));
    }
    for volume in spec["volumes"].as_array().unwrap() {
        let kinds = ["emptyDir", "secret", "persistentVolumeClaim"];
        assert!(
            kinds.iter().any(|kind| volume.get(kind).is_some()),
            "{volume}"
        );
    }
    assert_eq!(spec["automountServiceAccountToken"], false);
}

fn assert_no_null(value: &Value) {
    match value {
        Value::Null => panic!("a null"),
        Value::Object(fields) => fields.values().for_each(assert_no_null),
        Value::Array(items) => items.iter().for_each(assert_no_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_said_of_pods(more in any_spec()) {
        let spec = spec(&more);
        let objects = objects(&spec);
        prop_assert_eq!(&objects, &super::objects(&spec));
        objects.iter().for_each(assert_no_null);
        let pods: Vec<&Value> = objects.iter().filter_map(pod).collect();
        pods.iter().for_each(|pod| assert_restricted(pod));
        for object in &objects {
            let role = &object["metadata"]["labels"]["vectorsphere.io/role"];
            for selector in selectors(object) {
                let found: Vec<_> = pods.iter().filter(|pod| matches(selector, pod)).collect();
                prop_assert!(!found.is_empty(), "{} in {}", selector, object);
                let roles = found.iter().map(|pod| &pod["metadata"]["labels"]["vectorsphere.io/role"]);
                prop_assert!(roles.clone().all(|role| role == &selector["vectorsphere.io/role"]));
            }
            let own = ["Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment", "StatefulSet"];
            if own.contains(&object["kind"].as_str().unwrap()) {
                let last = selectors(object).pop().unwrap();
                prop_assert_eq!(&last["vectorsphere.io/role"], role);
            }
        }
        for pod in pods {
            let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
            let named = |name: &str| env.iter().filter(|one| one["name"] == name).count();
            prop_assert_eq!(named("POD_NAME"), 1);
            let value = env.iter().find(|one| one["name"] == "POD_NAME").unwrap().get("value");
            prop_assert_eq!(value, None, "ours names the pod");
        }
    }
}
