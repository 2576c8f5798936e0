//! A request, taken apart: which kind and object, by which verb, with which parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::apply::Writer;
use super::kinds::{Kind, Kinds};
use super::refusal::Refusal;
use super::verbs::Call;

/// A request to the double.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What the path of a request means.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    /// Empty: all of them.
    pub(crate) name: String,
    pub(crate) subresource: String,
}

impl Request {
    pub(crate) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = uri.query().unwrap_or_default().split('&');
        let query = pairs.filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self {
            method,
            path: uri.path().to_owned(),
            query: query.collect(),
            headers,
            body,
        }
    }

    /// A parameter; empty where it is not given.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Whether a parameter is `true` or `1`.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(self.parameter(name), "true" | "1")
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        let found = self.headers.get(name);
        found.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Whether only metadata is asked for.
    pub(crate) fn metadata_only(&self) -> bool {
        self.header(header::ACCEPT)
            .contains("as=PartialObjectMetadata")
    }

    /// The body, as JSON or as YAML.
    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        let is_yaml = self.header(header::CONTENT_TYPE).contains("yaml");
        if is_yaml {
            let read = serde_yaml_ng::from_slice(&self.body);
            return read.map_err(|error| Refusal::bad(error.to_string()));
        }
        let read = serde_json::from_slice(&self.body);
        read.map_err(|error| Refusal::bad(error.to_string()))
    }

    /// What the path means; none when it is no place of objects.
    pub(crate) fn place(&self, kinds: &Kinds) -> Option<Place> {
        let all: Vec<&str> = self.path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match &*all {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", name, of, rest @ ..] if !matches!(*of, "status" | "finalize") => {
                let mut all = vec![*of];
                all.extend_from_slice(rest);
                (*name, all)
            },
            rest => ("", rest.to_vec()),
        };
        let (plural, name, subresource) = match &*rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, subresource] => (*plural, *name, *subresource),
            _ => return None,
        };
        Some(Place {
            kind: kinds.find(group, version, plural)?,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }

    /// The object of a place, as this request writes it.
    pub(crate) fn call(&self, place: &Place) -> Call {
        let agent = self.header(header::USER_AGENT);
        let agent = agent.split('/').next().unwrap_or_default();
        let manager = match self.parameter("fieldManager") {
            "" if agent.is_empty() => "unknown",
            "" => agent,
            manager => manager,
        };
        Call {
            kind: Arc::clone(&place.kind),
            namespace: place.namespace.clone(),
            name: place.name.clone(),
            writer: Writer {
                manager: manager.to_owned(),
                subresource: place.subresource.clone(),
                force: self.is_set("force"),
            },
        }
    }
}
