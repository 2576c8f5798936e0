//! What must not leave a cluster in a report. Pure.
//!
//! Twice: first by form, each object loses what may hold a secret (the data of Secrets, what `kubectl apply`
//! keeps in annotations, environment variables that look like keys). Then by content: whatever the Secrets
//! of the cluster hold is looked for in every text, logs too, and taken out. The second does not rest on
//! the first having thought of everything.

use std::collections::BTreeSet;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value};

/// What stands in the place of a secret.
pub(super) const REMOVED: &str = "[removed]";
/// Words in the name of an environment variable whose value is not told.
const SECRET_NAMES: [&str; 8] = [
    "KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "CREDENTIAL",
    "AUTH",
    "PRIVATE",
];
/// A value of so many characters without a space that is neither a path nor a name may be a key.
const KEY_CHARS_MIN: usize = 24;
/// Texts shorter than that are not looked for: they stand everywhere.
const NEEDLE_CHARS_MIN: usize = 6;
/// The same for values of variables, which may be words such as `enabled`.
const HIDDEN_CHARS_MIN: usize = 10;
/// Lines of a private key that are shorter are no secret by themselves.
const KEY_LINE_CHARS_MIN: usize = 16;
/// What `kubectl apply` keeps of an object, whole.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Takes out of an object, as JSON, what may hold a secret and what nobody reads. What a variable had is
/// added to `hidden`: the same may stand where nobody expects it.
pub(super) fn object(object: &mut Value, hidden: &mut BTreeSet<String>) {
    let is_secret = object.get("kind").and_then(Value::as_str) == Some("Secret");
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(LAST_APPLIED);
            if is_secret {
                // Whoever puts a Secret there may put anything beside it.
                annotations.retain(|name, _value| name.starts_with("vectorsphere.io/"));
            }
        }
    }
    if is_secret && let Some(fields) = object.as_object_mut() {
        hide_data(fields);
    }
    walk(object, hidden);
}

/// Of the data of a Secret the names and sizes stay.
fn hide_data(fields: &mut Map<String, Value>) {
    fields.remove("stringData");
    let Some(data) = fields.get_mut("data").and_then(Value::as_object_mut) else {
        return;
    };
    for value in data.values_mut() {
        let bytes = serde_json::from_value::<ByteString>(value.take());
        let bytes = bytes.map_or(0, |bytes| bytes.0.len());
        *value = Value::String(format!("{REMOVED} {bytes} bytes"));
    }
}

fn walk(value: &mut Value, hidden: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            hidden.extend(hide_variable(fields));
            for value in fields.values_mut() {
                walk(value, hidden);
            }
        },
        Value::Array(items) => {
            for item in items {
                walk(item, hidden);
            }
        },
        Value::String(text) if text.contains("PRIVATE KEY-----") => REMOVED.clone_into(text),
        // What a revision was made from is JSON in a text.
        Value::String(text) if text.starts_with(['{', '[']) => {
            if let Ok(mut inner) = serde_json::from_str(text) {
                walk(&mut inner, hidden);
                *text = inner.to_string();
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

/// An environment variable is an object of a name and a value. What it was, if it is hidden.
fn hide_variable(fields: &mut Map<String, Value>) -> Option<String> {
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let (name, value) = (text("name")?, text("value")?.to_owned());
    if !is_secret_variable(name, &value) {
        return None;
    }
    fields.insert("value".to_owned(), Value::String(REMOVED.to_owned()));
    Some(value)
}

fn is_secret_variable(name: &str, value: &str) -> bool {
    // Where a file lies is no secret, whatever is in it.
    let is_path = value.starts_with('/');
    let name = name.to_uppercase();
    let named = SECRET_NAMES.iter().any(|word| name.contains(word));
    let of_key = |is: char| is.is_ascii_alphanumeric() || "+/=_-".contains(is);
    let mixed = value.chars().any(|is| is.is_ascii_digit())
        && value.chars().any(|is| is.is_ascii_alphabetic());
    let looks = value.len() >= KEY_CHARS_MIN && value.chars().all(of_key) && mixed;
    !is_path && !value.is_empty() && (named || looks)
}

/// The Secrets that an object names.
pub(super) fn secret_names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = match field.as_str() {
                    "secretName" => value.as_str(),
                    "secretKeyRef" | "secretRef" => value.get("name").and_then(Value::as_str),
                    "secret" | "tlsSecret" | "authSecret" => {
                        value.get("name").and_then(Value::as_str)
                    },
                    _ => None,
                };
                found.extend(name.map(str::to_owned));
                secret_names(value, found);
            }
        },
        Value::Array(items) => {
            for item in items {
                secret_names(item, found);
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
    }
}

/// Texts that are taken out of everything.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    /// The longest first, so that none is cut by another.
    needles: Vec<String>,
}

impl Scrub {
    /// What these Secrets hold, and what variables had that were hidden.
    pub(super) fn of(secrets: &[Secret], hidden: &BTreeSet<String>) -> Self {
        // A short value of a variable may be any word.
        let hidden = hidden
            .iter()
            .filter(|value| value.len() >= HIDDEN_CHARS_MIN);
        let mut needles: BTreeSet<String> = hidden.cloned().collect();
        for secret in secrets {
            for (name, value) in secret.data.iter().flatten() {
                // Certificates are shown to everybody who connects.
                if !name.ends_with(".crt") {
                    add_needles(&value.0, &mut needles);
                }
            }
        }
        let mut needles: Vec<String> = needles.into_iter().collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        Self { needles }
    }

    /// The text without them.
    pub(super) fn clean(&self, mut text: String) -> String {
        for needle in &self.needles {
            if text.contains(needle.as_str()) {
                text = text.replace(needle.as_str(), REMOVED);
            }
        }
        text
    }
}

fn add_needles(value: &[u8], needles: &mut BTreeSet<String>) {
    let mut add = |text: &str, chars_min: usize| {
        if text.len() >= chars_min {
            needles.insert(text.to_owned());
        }
    };
    // As it stands in a manifest.
    if let Ok(Value::String(encoded)) = serde_json::to_value(ByteString(value.to_vec())) {
        add(&encoded, NEEDLE_CHARS_MIN);
    }
    let text = String::from_utf8_lossy(value);
    if !text.contains("-----BEGIN") {
        add(text.trim(), NEEDLE_CHARS_MIN);
        // As it stands in JSON.
        let quoted = Value::from(text.trim()).to_string();
        add(quoted.trim_matches('"'), NEEDLE_CHARS_MIN);
        return;
    }
    // Of PEM each line of a key, however it is quoted around.
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.starts_with("-----")) {
        add(line, KEY_LINE_CHARS_MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redacted(mut value: Value) -> Value {
        object(&mut value, &mut BTreeSet::new());
        value
    }

    fn secret(data: &Value) -> Secret {
        serde_json::from_value(json!({"metadata": {"name": "s"}, "data": data})).unwrap()
    }

    #[test]
    fn of_a_secret_names_and_sizes_stay() {
        let given = json!({"kind": "Secret", "metadata": {"name": "s", "managedFields": [1],
                "annotations": {LAST_APPLIED: "{\"data\":1}", "other": "x",
                    "vectorsphere.io/not-after": "2027"}},
            "data": {"admin": "c2VjcmV0LWtleQ=="}, "stringData": {"a": "b"}});
        let expected = json!({"kind": "Secret", "metadata": {"name": "s",
                "annotations": {"vectorsphere.io/not-after": "2027"}},
            "data": {"admin": "[removed] 10 bytes"}});
        assert_eq!(redacted(given), expected);
    }

    #[test]
    fn a_variable_that_looks_like_a_key_is_hidden_and_others_stay() {
        let check = |name: &str, value: &str, stays: bool| {
            let object = json!({"spec": {"env": [{"name": name, "value": value}]}});
            let after = redacted(object.clone());
            assert_eq!(after == object, stays, "{name}={value}");
        };
        check("API_KEY", "x", false);
        check("db_password", "hunter2", false);
        check("VECTORSPHERE_API_KEY_FILE", "/keys/admin", true);
        check("VECTORSPHERE_NAME", "small-worker-0", true);
        check("SOMETHING", "a1b2c3d4e5f6a7b8c9d0e1f2", false);
        check(
            "SOMETHING",
            "https://small-etcd-0.small-etcd-peer:2379",
            true,
        );
        check("CERT", "-----BEGIN PRIVATE KEY-----\nx", false);
    }

    #[test]
    fn what_secrets_hold_is_taken_out_of_every_text() {
        let key =
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\nshort\n-----END PRIVATE KEY-----\n";
        let encoded = serde_json::to_value(ByteString(key.as_bytes().to_vec())).unwrap();
        let secrets = [
            secret(&json!({"admin": "c2VjcmV0LWtleQ==", "ca.crt": "cHVibGljIHRleHQ="})),
            secret(&json!({"tls.key": encoded, "tiny": "YWI="})),
        ];
        let scrub = Scrub::of(&secrets, &BTreeSet::new());
        let text = format!(
            "key=secret-key c2VjcmV0LWtleQ== public text ab \"{}\"",
            key.replace('\n', "\\n")
        );
        let clean = scrub.clean(text);
        assert_eq!(
            clean,
            "key=[removed] [removed] public text ab \"-----BEGIN PRIVATE KEY-----\\n[removed]\\nshort\\n\
             -----END PRIVATE KEY-----\\n\""
        );
    }

    #[test]
    fn what_a_hidden_variable_had_is_taken_out_elsewhere_too() {
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let mut pod = json!({"env": [variable("A_TOKEN", "told-to-nobody"), variable("AUTH", "on")],
            "inputs": "[{\"name\":\"PASSWORD\",\"value\":\"hunter2\"}]",
            "text": "say told-to-nobody and on"});
        let mut hidden = BTreeSet::new();
        object(&mut pod, &mut hidden);
        let clean = Scrub::of(&[], &hidden).clean(pod.to_string());
        for secret in ["told-to-nobody", "hunter2"] {
            assert!(!clean.contains(secret), "{clean}");
        }
        assert!(clean.contains("and on"), "{clean}");
    }

    #[test]
    fn the_secrets_that_a_pod_names_are_found() {
        let pod = json!({"spec": {
            "volumes": [{"secret": {"secretName": "tls"}}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "keys"}}}],
                "envFrom": [{"secretRef": {"name": "all"}}]}],
            "auth": {"secret": {"name": "auth"}},
        }});
        let mut found = BTreeSet::new();
        secret_names(&pod, &mut found);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["all", "auth", "keys", "tls"]
        );
    }
}
