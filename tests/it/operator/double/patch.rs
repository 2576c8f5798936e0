//! Merge patches, JSON patches, and the scale of an object.

use serde_json::{Value, json};

use super::kinds::Kind;
use super::refusal::Refusal;

/// The object after a merge patch: null takes away, lists are replaced.
pub(crate) fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut merged = target.as_object().cloned().unwrap_or_default();
    for (name, value) in changes {
        if value.is_null() {
            merged.remove(name);
        } else {
            let below = merged.get(name).cloned().unwrap_or_default();
            merged.insert(name.clone(), self::merged(&below, value));
        }
    }
    Value::Object(merged)
}

/// The object after a JSON patch: `add`, `remove`, `replace` and `test`.
pub(crate) fn json_patched(
    kind: &Kind,
    name: &str,
    target: &Value,
    patch: &Value,
) -> Result<Value, Refusal> {
    let mut patched = target.clone();
    let refuse = |why: String| {
        let message = "the server rejected our request due to an error in our request";
        tracing::debug!(kind = kind.kind, name, why, "a json patch does not fit");
        Refusal::new(422, "Invalid", message)
    };
    for operation in patch.as_array().into_iter().flatten() {
        let text = |field: &str| operation[field].as_str().unwrap_or_default();
        let (above, last) = text("path").rsplit_once('/').unwrap_or_default();
        let last = last.replace("~1", "/").replace("~0", "~");
        let no_place = || refuse(format!("no place {}", text("path")));
        let place = patched.pointer_mut(above).ok_or_else(no_place)?;
        let value = operation["value"].clone();
        match (text("op"), place) {
            ("test", place) => {
                let at = last.parse().ok();
                let found = match place.as_array() {
                    Some(items) => at.and_then(|at: usize| items.get(at)),
                    None => place.get(&last),
                };
                if found.cloned().unwrap_or_default() != value {
                    return Err(refuse("a test failed".to_owned()));
                }
            },
            ("add" | "replace", Value::Object(fields)) => {
                fields.insert(last, value);
            },
            ("add", Value::Array(items)) => match last.parse::<usize>() {
                Ok(at) if at <= items.len() => items.insert(at, value),
                _ => items.push(value),
            },
            ("replace", Value::Array(items)) => {
                let at: usize = last.parse().map_err(|_at| no_place())?;
                *items.get_mut(at).ok_or_else(no_place)? = value;
            },
            ("remove", Value::Object(fields)) => {
                fields.remove(&last).ok_or_else(no_place)?;
            },
            ("remove", Value::Array(items)) => {
                let at: usize = last.parse().map_err(|_at| no_place())?;
                if at >= items.len() {
                    return Err(no_place());
                }
                items.remove(at);
            },
            _ => return Err(no_place()),
        }
    }
    Ok(patched)
}

/// Where a kind has its numbers: wanted, there, and the selector.
fn places(kind: &Kind) -> Result<(String, String, String), Refusal> {
    let of = |text: &Value| {
        let text = text.as_str().unwrap_or_default();
        text.replace('.', "/")
    };
    match (&kind.scale, &*kind.kind) {
        (Some(scale), _) => Ok((
            of(&scale["specReplicasPath"]),
            of(&scale["statusReplicasPath"]),
            of(&scale["labelSelectorPath"]),
        )),
        (None, "Deployment" | "StatefulSet" | "ReplicaSet") => Ok((
            "/spec/replicas".to_owned(),
            "/status/replicas".to_owned(),
            String::new(),
        )),
        (None, _) => {
            let message = "the server could not find the requested resource";
            Err(Refusal::new(404, "NotFound", message))
        },
    }
}

/// The scale of an object.
pub(crate) fn scale(kind: &Kind, object: &Value) -> Result<Value, Refusal> {
    let (wanted, there, selector) = places(kind)?;
    let metadata = &object["metadata"];
    let number = |place: &str| object.pointer(place).and_then(Value::as_i64).unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": number(&wanted)}, "status": {"replicas": number(&there)},
    });
    if let Some(text) = object.pointer(&selector).and_then(Value::as_str) {
        scale["status"]["selector"] = json!(text);
    }
    Ok(scale)
}

/// The object after its scale was written.
pub(crate) fn unscale(kind: &Kind, live: &Value, scale: &Value) -> Result<Value, Refusal> {
    let (wanted, ..) = places(kind)?;
    let mut object = live.clone();
    for name in ["uid", "resourceVersion"] {
        object["metadata"][name] = scale["metadata"][name].clone();
    }
    let (above, last) = wanted.rsplit_once('/').unwrap_or_default();
    if let Some(place) = object.pointer_mut(above) {
        place[last] = scale["spec"]["replicas"].clone();
    }
    Ok(object)
}
