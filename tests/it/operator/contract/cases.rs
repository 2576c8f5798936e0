//! What an API server answers: cases that the double and a real one must answer alike.
//!
//! Each case says itself what is right, with objects of its own names in a namespace that all share. They
//! are run by `tests/it/operator/contract.rs` on the double, and on a real API server with its
//! controllers by `tests/operator/api_only/contract.rs`, which includes this file.

mod applies;
mod controlled;
mod deletions;
mod lists;
mod subresources;
mod watches;
mod writes;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// The group of the custom resource of the cases.
pub(crate) const GROUP: &str = "contract.vectorsphere.test";
/// How long a controller may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, and a namespace on it that is the cases' own.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
}

/// The way of a patch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patch {
    Merge,
    Json,
}

/// Who applies, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By(pub(crate) &'static str, pub(crate) bool);

impl Answer {
    /// The reason of a refusal.
    pub(crate) fn reason(&self) -> (u16, &str) {
        (self.code, self.body["reason"].as_str().unwrap_or_default())
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(
            matches!(self.code, 200..=202),
            "{} {:#}",
            self.code,
            self.body
        );
        self.body
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl Server {
    /// The path of a resource of these cases: `configmaps/a`.
    pub(crate) fn path(&self, place: &str) -> String {
        let plural = place.split(['/', '?']).next().unwrap_or_default();
        let api = match plural {
            "widgets" => format!("apis/{GROUP}/v1"),
            "deployments" | "statefulsets" | "replicasets" | "controllerrevisions" => {
                "apis/apps/v1".to_owned()
            },
            "leases" => "apis/coordination.k8s.io/v1".to_owned(),
            "events" => "apis/events.k8s.io/v1".to_owned(),
            _ => "api/v1".to_owned(),
        };
        format!("/{api}/namespaces/{}/{place}", self.namespace)
    }

    /// A request as it is.
    pub(crate) async fn send(
        &self,
        (method, uri): (Method, String),
        body: &Value,
        kind: &str,
    ) -> Answer {
        self.send_for((method, uri), body, (kind, "application/json"))
            .await
    }

    async fn send_for(
        &self,
        (method, uri): (Method, String),
        body: &Value,
        (kind, accept): (&str, &str),
    ) -> Answer {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, kind)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, "contract/1")
            .body(Body::from(bytes));
        let answer = self.client.send(request.unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { code, body }
    }

    pub(crate) async fn get(&self, place: &str) -> Answer {
        let to = (Method::GET, self.path(place));
        self.send(to, &Value::Null, "application/json").await
    }

    /// The same by metadata alone.
    pub(crate) async fn get_metadata(&self, place: &str, list: &str) -> Answer {
        let accept = format!("application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1");
        let to = (Method::GET, self.path(place));
        let of = ("application/json", &*accept);
        self.send_for(to, &Value::Null, of).await
    }

    /// `POST` to the place of a kind.
    pub(crate) async fn create(&self, plural: &str, object: &Value) -> Answer {
        let to = (Method::POST, self.path(plural));
        self.send(to, object, "application/json").await
    }

    pub(crate) async fn put(&self, place: &str, object: &Value) -> Answer {
        let to = (Method::PUT, self.path(place));
        self.send(to, object, "application/json").await
    }

    pub(crate) async fn patch(&self, place: &str, way: Patch, patch: &Value) -> Answer {
        let kind = match way {
            Patch::Merge => "application/merge-patch+json",
            Patch::Json => "application/json-patch+json",
        };
        self.send((Method::PATCH, self.path(place)), patch, kind)
            .await
    }

    /// A merge patch.
    pub(crate) async fn merge(&self, place: &str, patch: &Value) -> Answer {
        self.patch(place, Patch::Merge, patch).await
    }

    pub(crate) async fn apply(
        &self,
        place: &str,
        By(manager, force): By,
        object: &Value,
    ) -> Answer {
        let uri = format!("{}?fieldManager={manager}&force={force}", self.path(place));
        let to = (Method::PATCH, uri);
        self.send(to, object, "application/apply-patch+yaml").await
    }

    pub(crate) async fn delete(&self, place: &str, options: &Value) -> Answer {
        let to = (Method::DELETE, self.path(place));
        self.send(to, options, "application/json").await
    }

    /// The events of a watch that lasts this many seconds, or until so many have come.
    pub(crate) async fn watch(&self, place: &str, seconds: u32, enough: usize) -> Vec<Value> {
        let mark = if place.contains('?') { '&' } else { '?' };
        let uri = format!(
            "{}{mark}watch=true&timeoutSeconds={seconds}",
            self.path(place)
        );
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let answer = self.client.send(request).await.unwrap();
        let mut body = answer.into_body().into_data_stream();
        let (mut events, mut rest) = (Vec::new(), String::new());
        while let Some(bytes) = body.next().await {
            rest.push_str(&String::from_utf8_lossy(&bytes.unwrap()));
            while let Some((line, after)) = rest.split_once('\n') {
                events.push(serde_json::from_str(line).unwrap());
                rest = after.to_owned();
            }
            if events.len() >= enough {
                break;
            }
        }
        events
    }

    /// Asks again and again until an answer is as it should become.
    pub(crate) async fn until(
        &self,
        what: &str,
        place: &str,
        is: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let mut last = None;
        let waiting = async {
            loop {
                let answer = self.get(place).await;
                if is(&answer) {
                    return answer;
                }
                last = Some(answer);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_elapsed| panic!("waited in vain: {what}: {last:#?}"))
    }
}

/// A ConfigMap with one value.
pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": value},
    })
}

/// A custom resource.
pub(crate) fn widget(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Widget", "metadata": {"name": name},
        "spec": spec,
    })
}

/// The definition of the custom resource.
pub(crate) fn definition() -> Value {
    let spec = json!({
        "type": "object",
        "properties": {
            "replicas": {"type": "integer", "default": 1},
            "size": {"type": "string"},
            "colour": {"type": "string", "default": "grey"},
            "inner": {
                "type": "object", "default": {},
                "properties": {"depth": {"type": "integer", "default": 3}},
            },
            "limits": {"type": "object", "additionalProperties": {"type": "string"}},
            "words": {"type": "array", "items": {"type": "string"}},
            "marks": {
                "type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"},
            },
            "parts": {
                "type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}, "text": {"type": "string"}},
                },
            },
        },
    });
    let status = json!({
        "type": "object",
        "properties": {
            "replicas": {"type": "integer"}, "selector": {"type": "string"},
            "phase": {"type": "string"},
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": spec, "status": status},
                }},
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }],
        },
    })
}

/// A case that is under way.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A case: its name, and what it does.
pub(crate) struct Case {
    name: &'static str,
    run: fn(Server) -> Running,
}

/// Cases by the names of their functions.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// The cases of this part.
        pub(super) fn cases() -> Vec<super::Case> {
            vec![$(super::Case {
                name: stringify!($name),
                run: |server| Box::pin(async move { $name(&server).await }),
            }),*]
        }
    };
}
pub(crate) use cases;

/// Makes the definition and the namespace, and waits until both work.
async fn prepare(server: &Server) {
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let to = (Method::POST, definitions.to_owned());
    let made = server.send(to, &definition(), "application/json").await;
    assert!(matches!(made.code, 201 | 409), "{made:?}");
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": server.namespace},
    });
    let to = (Method::POST, "/api/v1/namespaces".to_owned());
    server.send(to, &namespace, "application/json").await.ok();
    server
        .until("widgets can be listed", "widgets", |answer| {
            answer.code == 200
        })
        .await;
}

/// Runs every case, and says how many; panics with all that failed.
pub(crate) async fn run(server: &Server) -> usize {
    prepare(server).await;
    let parts = [
        writes::cases(),
        subresources::cases(),
        applies::cases(),
        deletions::cases(),
        lists::cases(),
        watches::cases(),
        controlled::cases(),
    ];
    let all: Vec<Case> = parts.into_iter().flatten().collect();
    let mut failed = Vec::new();
    for case in &all {
        let run = AssertUnwindSafe((case.run)(server.clone()));
        if run.catch_unwind().await.is_err() {
            failed.push(case.name);
        }
    }
    let namespace = format!("/api/v1/namespaces/{}", server.namespace);
    let to = (Method::DELETE, namespace);
    server.send(to, &Value::Null, "application/json").await.ok();
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:#?}",
        failed.len(),
        all.len()
    );
    all.len()
}
