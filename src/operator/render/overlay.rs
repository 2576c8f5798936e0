//! A patch of a pod that knows which lists are maps: `PodOptions.overlay`.
//!
//! Objects are merged field by field, and null removes a field. Items of a list with a key are merged
//! with the item of the same key, or added; tolerations are added; any other list takes the place of
//! the one that is there. `$patch: delete` in an item removes it, `$patch: replace` in an object or an
//! item puts it in the place of what is there. Other directives of Kubernetes' strategic merge patches
//! are not known.

use serde_json::{Map, Value};

/// Fields of a pod that are lists of things with a key, and the key.
const KEYS: &[(&str, &str)] = &[
    ("containers", "name"),
    ("initContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("ports", "containerPort"),
    ("imagePullSecrets", "name"),
    ("resourceClaims", "name"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];
/// A list without a key whose items add up.
const ADDED: &str = "tolerations";
const DIRECTIVE: &str = "$patch";

/// Lays a patch over a pod.
pub(super) fn lay(pod: &mut Value, patch: &Value) {
    merge(pod, patch, "");
}

/// `field`: what the object or list is the value of.
fn merge(base: &mut Value, patch: &Value, field: &str) {
    match (base, patch) {
        (Value::Object(base), Value::Object(patch)) => merge_fields(base, patch),
        (Value::Array(base), Value::Array(patch)) => merge_lists(base, patch, field),
        (base, patch) => *base = plain(patch),
    }
}

fn merge_fields(base: &mut Map<String, Value>, patch: &Map<String, Value>) {
    if directive(patch) == Some("replace") {
        base.clear();
    }
    for (name, value) in patch.iter().filter(|(name, _value)| *name != DIRECTIVE) {
        match (value, base.get_mut(name)) {
            (Value::Null, _) => drop(base.remove(name)),
            (value, Some(there)) => merge(there, value, name),
            (value, None) => drop(base.insert(name.clone(), plain(value))),
        }
    }
}

fn merge_lists(base: &mut Vec<Value>, patch: &[Value], field: &str) {
    if field == ADDED {
        let new: Vec<Value> = patch
            .iter()
            .filter(|one| !base.contains(one))
            .cloned()
            .collect();
        base.extend(new);
        return;
    }
    let Some((_field, key)) = KEYS.iter().find(|(name, _key)| *name == field) else {
        *base = patch.iter().map(plain).collect();
        return;
    };
    for item in patch {
        let same = |there: &Value| there.get(key).is_some() && there.get(key) == item.get(key);
        let said = item.as_object().and_then(directive);
        match (base.iter().position(same), said) {
            (Some(at), Some("delete")) => drop(base.remove(at)),
            (None, Some("delete")) => {},
            (Some(at), _) => {
                if let Some(there) = base.get_mut(at) {
                    merge(there, item, "");
                }
            },
            (None, _) => base.push(plain(item)),
        }
    }
}

fn directive(patch: &Map<String, Value>) -> Option<&str> {
    patch.get(DIRECTIVE).and_then(Value::as_str)
}

/// What a patch puts where nothing is: without nulls and directives.
fn plain(patch: &Value) -> Value {
    match patch {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(name, value)| *name != DIRECTIVE && !value.is_null());
            kept.map(|(name, value)| (name.clone(), plain(value)))
                .collect::<Map<_, _>>()
                .into()
        },
        Value::Array(items) => {
            let is_deleted = |item: &&Value| item.as_object().and_then(directive) == Some("delete");
            items
                .iter()
                .filter(|item| !is_deleted(item))
                .map(plain)
                .collect()
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn laid(pod: Value, patch: &Value, expected: &Value) {
        let mut pod = pod;
        lay(&mut pod, patch);
        assert_eq!(&pod, expected);
        // What was laid over once changes nothing when it is laid over again.
        lay(&mut pod, patch);
        assert_eq!(&pod, expected);
    }

    #[test]
    fn lists_with_a_key_are_merged_and_others_replaced() {
        let pod = json!({"spec": {
            "containers": [{"name": "a", "args": ["x"], "env": [{"name": "E", "value": "1"}]}],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }});
        let patch = json!({"spec": {
            "hostNetwork": true,
            "containers": [
                {"name": "side", "image": "i", "command": null},
                {"name": "a", "args": ["y"], "env": [{"name": "F", "value": "2"}]},
            ],
            "volumes": [{"name": "data", "emptyDir": {"medium": "Memory"}}],
        }});
        let expected = json!({"spec": {
            "hostNetwork": true,
            "containers": [
                {"name": "a", "args": ["y"], "env": [
                    {"name": "E", "value": "1"}, {"name": "F", "value": "2"},
                ]},
                {"name": "side", "image": "i"},
            ],
            "volumes": [{"name": "data", "emptyDir": {"medium": "Memory"}}],
        }});
        laid(pod, &patch, &expected);
    }

    #[test]
    fn mounts_go_by_their_path_and_tolerations_add_up() {
        let pod = json!({
            "volumeMounts": [{"mountPath": "/a", "name": "one"}],
            "tolerations": [{"key": "x"}],
        });
        let patch = json!({
            "volumeMounts": [{"mountPath": "/a", "readOnly": true}, {"mountPath": "/b", "name": "two"}],
            "tolerations": [{"key": "y"}],
        });
        let expected = json!({
            "volumeMounts": [
                {"mountPath": "/a", "name": "one", "readOnly": true}, {"mountPath": "/b", "name": "two"},
            ],
            "tolerations": [{"key": "x"}, {"key": "y"}],
        });
        laid(pod, &patch, &expected);
    }

    #[test]
    fn null_and_directives_remove_and_replace() {
        let pod = json!({
            "securityContext": {"runAsUser": 1, "fsGroup": 1}, "priority": 1,
            "volumes": [{"name": "a", "secret": {"secretName": "s"}}, {"name": "b", "emptyDir": {}}],
        });
        let patch = json!({
            "priority": null, "securityContext": {"$patch": "replace", "runAsUser": 2},
            "volumes": [
                {"name": "a", "$patch": "replace", "emptyDir": {}}, {"name": "b", "$patch": "delete"},
                {"name": "c", "$patch": "delete"},
            ],
        });
        let expected = json!({
            "securityContext": {"runAsUser": 2},
            // The key is part of the item that replaces.
            "volumes": [{"name": "a", "emptyDir": {}}],
        });
        laid(pod, &patch, &expected);
    }
}
