//! Two values for each leaf of a schema, and what stands around and beside it so that both are valid.

use serde_json::{Map, Value, json};

/// What a leaf needs beside it, by what its path begins with; the longest counts.
fn besides() -> Vec<(&'static str, Value)> {
    let rules = json!({"enabled": true});
    vec![
        (
            "spec.etcd.external",
            json!({"etcd": {
                "managed": null, "external": {
                    "endpoints": ["https://etcd.infra:2379"], "tlsSecret": {"name": "client"},
                },
            }}),
        ),
        (
            "spec.etcd.external.authSecret",
            json!({"etcd": {
                "managed": null, "external": {"endpoints": ["http://etcd.infra:2379"]},
            }}),
        ),
        (
            "spec.gateway.autoscaling",
            json!({"gateway": {
                "autoscaling": {"minReplicas": 3, "maxReplicas": 50},
                "resources": {"requests": {"cpu": "100m"}},
            }}),
        ),
        (
            "spec.gateway.service",
            json!({"gateway": {"service": {"type": "LoadBalancer"}}}),
        ),
        (
            "spec.monitoring.serviceMonitor",
            json!({"monitoring": {"serviceMonitor": rules}}),
        ),
        (
            "spec.monitoring.prometheusRule",
            json!({"monitoring": {"prometheusRule": rules}}),
        ),
        (
            "spec.monitoring.grafanaDashboard",
            json!({"monitoring": {"grafanaDashboard": rules}}),
        ),
        ("spec.tls.secretName", json!({"tls": {"mode": "Secret"}})),
        (
            "spec.tls.issuerRef",
            json!({"tls": {"mode": "CertManager", "issuerRef": {"name": "a"}}}),
        ),
        (
            "spec.bootstrap.location",
            json!({"bootstrap": {"location": {"s3": {"bucket": "abc"}}}}),
        ),
        ("spec.bootstrap.location.volume", json!({})),
        (
            "spec.updates.maxUnavailable",
            json!({"worker": {"replicas": 5}}),
        ),
    ]
}

/// What a leaf needs beside one of its two values.
pub(super) fn beside(path: &str, variant: usize) -> Value {
    if path == "spec.tls.mode" && variant == 1 {
        return json!({"tls": {"secretName": "web"}});
    }
    let all = besides().into_iter();
    let fitting = all.filter(|(start, _)| super::is_below(path, start));
    let longest = fitting.max_by_key(|(start, _)| start.len());
    longest.map_or_else(|| json!({}), |(_, value)| value)
}

/// Values that a schema does not tell, by what a path ends with.
fn known(path: &str) -> Option<[Value; 2]> {
    let digest = |digit: &str| json!(format!("sha256:{}", digit.repeat(64)));
    let found = match path {
        "spec.version" => [json!("0.1.0"), json!("0.2.0")],
        "spec.image.digest" => [digest("0"), digest("1")],
        "spec.master.replicas" | "spec.etcd.managed.replicas" => [json!(1), json!(3)],
        "spec.gateway.autoscaling.minReplicas" => [json!(2), json!(3)],
        "spec.gateway.autoscaling.maxReplicas" => [json!(50), json!(51)],
        "spec.etcd.external.endpoints" => [
            json!(["https://a.infra:2379"]),
            json!(["https://b.infra:2379"]),
        ],
        "spec.etcd.external.prefix" => [json!("/a"), json!("/b")],
        "spec.gateway.service.loadBalancerSourceRanges" => {
            [json!(["10.0.0.0/8"]), json!(["10.1.0.0/16"])]
        },
        "spec.tls.mode" => [json!("SelfSigned"), json!("Secret")],
        "spec.tls.duration" => [json!("2160h"), json!("1440h")],
        "spec.tls.renewBefore" => [json!("720h"), json!("100h")],
        "spec.tls.extraDnsNames" => [json!(["a.example"]), json!(["b.example"])],
        "spec.updates.windows[].schedule" => [json!("0 3 * * *"), json!("0 4 * * *")],
        "spec.updates.windows[].timeZone" => [json!("Etc/UTC"), json!("Europe/Berlin")],
        "spec.deletionPolicy" => [json!("Retain"), json!("Delete")],
        "spec.logging.filter" => [json!("info"), json!("debug")],
        _ => return named(path),
    };
    Some(found)
}

/// The same by the last word of a path.
fn named(path: &str) -> Option<[Value; 2]> {
    let found = match path.rsplit('.').next().unwrap_or_default() {
        "size" => [json!("20Gi"), json!("30Gi")],
        "maxSize" => [json!("2Ti"), json!("3Ti")],
        "bandwidthPerWorker" => [json!("64Mi"), json!("32Mi")],
        "interval" => [json!("30s"), json!("1m")],
        "limits" | "requests" => [json!({"memory": "1Gi"}), json!({"memory": "2Gi"})],
        "divisor" => [json!("1"), json!("2")],
        "operator" if path.contains("tolerations") => [json!("Exists"), json!("Equal")],
        "operator" => [json!("In"), json!("NotIn")],
        "values" => [json!(["a"]), json!(["b"])],
        "whenUnsatisfiable" => [json!("DoNotSchedule"), json!("ScheduleAnyway")],
        "terminationGracePeriodSeconds" => [json!(90), json!(91)],
        "overlay" => [
            json!({"spec": {"hostname": "a"}}),
            json!({"spec": {"hostname": "b"}}),
        ],
        _ => return None,
    };
    Some(found)
}

/// One of two values that a schema takes.
fn value(schema: &Value, path: &str, variant: usize) -> Value {
    if let Some(mut both) = known(path) {
        return both[variant].take();
    }
    if let Some(all) = schema["enum"].as_array() {
        return all[variant % all.len()].clone();
    }
    let number = i64::try_from(variant).unwrap();
    match schema["type"].as_str() {
        Some("boolean") => json!(variant == 1),
        Some("integer") => json!(schema["minimum"].as_i64().unwrap_or(1).max(1) + number),
        Some("string") => json!(format!("name-{variant}")),
        Some("array") => json!([value(&schema["items"], &format!("{path}[]"), variant)]),
        Some("object") if schema["properties"].is_object() => required(schema, path, None, variant),
        Some("object") => {
            let inner = value(
                &schema["additionalProperties"],
                &format!("{path}.*"),
                variant,
            );
            json!({"key": inner})
        },
        _ => json!(format!("{}", variant + 1)),
    }
}

/// An object's required fields, but one.
fn required(schema: &Value, path: &str, but: Option<&str>, variant: usize) -> Value {
    let mut fields = Map::new();
    let names = schema["required"].as_array().into_iter().flatten();
    for name in names.filter_map(Value::as_str) {
        let is_given = but == Some(name) || schema["properties"][name].get("default").is_some();
        if !is_given {
            let path = format!("{path}.{name}");
            let field = value(&schema["properties"][name], &path, variant);
            fields.insert(name.to_owned(), field);
        }
    }
    Value::Object(fields)
}

/// A leaf's value inside all that is around it, as far as that is required.
pub(super) fn around(schema: &Value, steps: &[String], path: &str, variant: usize) -> Value {
    inside(schema, steps, ("spec", path), variant, true)
}

fn inside(
    schema: &Value,
    steps: &[String],
    (here, path): (&str, &str),
    variant: usize,
    is_whole: bool,
) -> Value {
    let Some((step, rest)) = steps.split_first() else {
        return value(schema, path, variant);
    };
    if step == "[]" {
        let here = format!("{here}[]");
        return json!([inside(
            &schema["items"],
            rest,
            (&here, path),
            variant,
            false
        )]);
    }
    // The smallest manifest has what the whole spec requires.
    let mut fields = if is_whole {
        json!({})
    } else {
        required(schema, here, Some(step), 0)
    };
    let here = format!("{here}.{step}");
    let field = &schema["properties"][step];
    fields[step] = inside(field, rest, (&here, path), variant, false);
    fields
}
