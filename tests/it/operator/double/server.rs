//! The HTTP side of the double: one listener for each process that asks.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Given;
use axum::http::Request as HttpRequest;
use axum::response::Response;
use http::{Method, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::journal::{Asked, Verdict};
use super::kinds::Scope;
use super::reading;
use super::refusal::Refusal;
use super::request::{Place, Request};
use super::rights;
use super::store::{Key, text};
use super::verbs::{Deletion, Made, Way};
use super::{Shared, State};

/// More than any body has.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Who comes through a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// An operator, with the chart's rights.
    Operator,
    /// Somebody who may do everything.
    Anybody,
}

/// One listener.
#[derive(Clone)]
struct Door {
    shared: Arc<Shared>,
    name: Arc<str>,
    who: Who,
}

/// An answer before it is sent, and what was done.
struct Done {
    code: u16,
    body: Value,
    /// The object that was made or deleted.
    counted: Option<(Key, &'static str)>,
}

impl Done {
    const fn ok(body: Value) -> Self {
        Self {
            code: 200,
            body,
            counted: None,
        }
    }
}

/// Starts to answer; the URL.
pub(crate) async fn serve(shared: &Arc<Shared>, name: &str, who: Who) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door {
        shared: Arc::clone(shared),
        name: name.into(),
        who,
    };
    let router = Router::new().fallback(answer).with_state(door);
    let stopping = shared.tasks.stopping();
    shared.tasks.spawn("double", async move {
        let serving = axum::serve(listener, router);
        tokio::select! {
            _ = serving => {},
            () = stopping => {},
        }
    });
    format!("http://{address}")
}

async fn answer(Given(door): Given<Door>, request: HttpRequest<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let request = Request::new(head.method, &head.uri, head.headers, body);
    let verdict = door.judge(&request);
    match verdict {
        Verdict::Refuse(code) => return refused(&refusal(code)),
        Verdict::Swallow => return std::future::pending().await,
        Verdict::Pass | Verdict::Hold => {},
    }
    let place = request.place(&door.shared.lock().store.kinds);
    let Some(place) = place else {
        return discovery(&door, &request);
    };
    if let Some(refusal) = door.forbidden(&place, &request) {
        return refused(&refusal);
    }
    if request.is_set("watch") && request.method == Method::GET {
        return match reading::watch(&door.shared, &place, &request) {
            Ok(lines) => respond(200, "application/json", Body::from_stream(lines)),
            Err(refusal) => refused(&refusal),
        };
    }
    let Some((code, body)) = door.carry_out(&place, &request) else {
        return std::future::pending().await;
    };
    if verdict == Verdict::Hold {
        return std::future::pending().await;
    }
    respond(code, "application/json", Body::from(body.to_string()))
}

fn respond(code: u16, content_type: &str, body: Body) -> Response {
    let made = Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, content_type);
    made.body(body).unwrap()
}

fn refused(refusal: &Refusal) -> Response {
    let body = Body::from(refusal.status().to_string());
    respond(refusal.code, "application/json", body)
}

fn refusal(code: u16) -> Refusal {
    let (reason, message) = match code {
        403 => ("Forbidden", "it is not allowed"),
        410 => ("Expired", "it is too old"),
        429 => (
            "TooManyRequests",
            "too many requests, please try again later",
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request",
        ),
        504 => (
            "Timeout",
            "the request did not complete within the allotted time",
        ),
        _ => (
            "InternalError",
            "an error on the server has prevented the request",
        ),
    };
    Refusal::new(code, reason, message)
}

/// What a client asks before it knows kinds.
fn discovery(door: &Door, request: &Request) -> Response {
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let (group, version) = match &*parts {
        ["api", version] => ("", *version),
        ["apis", group, version] => (*group, *version),
        _ => ("", ""),
    };
    let kinds = door.shared.lock().store.kinds.of_group(group, version);
    if kinds.is_empty() {
        return respond(404, "text/plain", Body::from("404 page not found\n"));
    }
    let resources = kinds.iter().map(|kind| {
        json!({
            "name": kind.plural, "singularName": kind.kind.to_lowercase(), "kind": kind.kind,
            "namespaced": kind.scope == Scope::Namespaced,
            "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
        })
    });
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": kinds[0].api_version(), "resources": resources.collect::<Vec<_>>(),
    });
    respond(200, "application/json", Body::from(list.to_string()))
}

impl Door {
    fn judge(&self, request: &Request) -> Verdict {
        let mut state = self.shared.lock();
        if state.held {
            return Verdict::Swallow;
        }
        let judge = state.faults.judge.as_mut();
        judge.map_or(Verdict::Pass, |judge| judge(&self.name, request))
    }

    /// The refusal of a request that takes a right which the operator does not have.
    fn forbidden(&self, place: &Place, request: &Request) -> Option<Refusal> {
        if self.who == Who::Anybody {
            return None;
        }
        let mut state = self.shared.lock();
        let is_there = state.store.get(&request.call(place).key()).is_some();
        let needed = rights::needed(place, request, is_there);
        let Some(missing) = rights::missing(&needed, &place.name) else {
            state.journal.used.extend(needed);
            return None;
        };
        let (method, path) = (&request.method, &request.path);
        let beyond = format!("{method} {path} takes: {missing}");
        state.journal.beyond.push(beyond.clone());
        Some(Refusal::new(403, "Forbidden", beyond))
    }

    /// Carries a request out and writes it down. None when its answer is held back.
    fn carry_out(&self, place: &Place, request: &Request) -> Option<(u16, Value)> {
        let mut state = self.shared.lock();
        if state.held {
            return None;
        }
        let before = state.store.revision();
        let done = carry_out(&mut state, place, request);
        let done = done.unwrap_or_else(|refusal| Done {
            code: refusal.code,
            body: refusal.status(),
            counted: None,
        });
        let wrote = state.store.revision() != before;
        let options = request.json().unwrap_or_default();
        let uid = text(&options, "/preconditions/uid");
        state.journal.asked.push(Asked {
            door: self.name.to_string(),
            method: request.method.clone(),
            path: request.path.clone(),
            code: done.code,
            wrote,
            uid: (!uid.is_empty()).then(|| uid.to_owned()),
        });
        if let Some(counted) = done.counted {
            *state.journal.counts.entry(counted).or_default() += 1;
        }
        state.journal.written += usize::from(wrote);
        if request.method == Method::GET && !place.name.is_empty() {
            *state.journal.gets.entry(request.path.clone()).or_default() += 1;
        }
        let written = state.journal.written;
        let held = wrote && state.faults.hold_write.is_some_and(|at| written >= at);
        state.held |= held;
        drop(state);
        self.shared.tell();
        (!held).then_some((done.code, done.body))
    }
}

fn carry_out(state: &mut State, place: &Place, request: &Request) -> Result<Done, Refusal> {
    let call = request.call(place);
    let store = &mut state.store;
    match (&request.method, place.name.is_empty()) {
        (&Method::GET, true) => {
            let lag = state.faults.lag.as_deref();
            reading::list(store, lag, place, request).map(Done::ok)
        },
        (&Method::GET, false) => {
            let found = call.get(store)?;
            Ok(Done::ok(if request.metadata_only() {
                reading::metadata_of(&found)
            } else {
                found
            }))
        },
        (&Method::POST, true) => {
            let made = call.create(store, request.json()?)?;
            let name = text(&made, "/metadata/name");
            Ok(Done {
                code: 201,
                counted: Some((Key::new(&place.kind, &place.namespace, name), "create")),
                body: Value::clone(&made),
            })
        },
        (&Method::PUT, false) => {
            let replaced = call.replace(store, request.json()?)?;
            answer_of(place, &replaced).map(Done::ok)
        },
        (&Method::PATCH, false) => {
            let way = way(request)?;
            if way == Way::Apply && request.parameter("fieldManager").is_empty() {
                let why = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: \
                           is required for apply patch";
                return Err(Refusal::new(422, "Invalid", why));
            }
            let (made, object) = call.patch(store, way, &request.json()?)?;
            let anew = made == Made::Anew;
            Ok(Done {
                code: if anew { 201 } else { 200 },
                counted: anew.then(|| (call.key(), "create")),
                body: answer_of(place, &object)?,
            })
        },
        (&Method::DELETE, false) => {
            let revision = store.revision();
            let deletion = Deletion::read(&request.json()?);
            let (object, gone) = call.delete(store, &deletion)?;
            let wrote = store.revision() != revision;
            Ok(Done {
                code: 200,
                counted: wrote.then(|| (call.key(), "delete")),
                body: deleted(place, &object, gone),
            })
        },
        _ => {
            let message = "the server does not allow this method on the requested resource";
            Err(Refusal::new(405, "MethodNotAllowed", message))
        },
    }
}

fn way(request: &Request) -> Result<Way, Refusal> {
    let content_type = request.header(header::CONTENT_TYPE);
    match content_type.split(';').next().unwrap_or_default() {
        "application/merge-patch+json" => Ok(Way::Merge),
        "application/json-patch+json" => Ok(Way::Json),
        "application/apply-patch+yaml" => Ok(Way::Apply),
        other => {
            let message = format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, \
                 application/apply-patch+yaml, not {other}"
            );
            Err(Refusal::new(415, "UnsupportedMediaType", message))
        },
    }
}

/// The scale, where that was written.
fn answer_of(place: &Place, object: &Value) -> Result<Value, Refusal> {
    if place.subresource == "scale" {
        return super::patch::scale(&place.kind, object);
    }
    Ok(object.clone())
}

fn deleted(place: &Place, object: &Value, gone: bool) -> Value {
    let kind = &place.kind;
    let shown = ["Pod", "Service", "PersistentVolumeClaim", "ServiceAccount"];
    if !gone || shown.contains(&&*kind.kind) {
        return object.clone();
    }
    let mut details = json!({
        "name": place.name, "kind": kind.plural, "uid": object["metadata"]["uid"],
    });
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details,
    })
}
