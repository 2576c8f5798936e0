//! HTTP as every process serves it: the probes, and the server and router underneath.
//!
//! `/livez` says that the process runs and looks at nothing else: a dependency that is away is no
//! reason to restart. `/readyz` says whether it can do its work now, and why not. `/metrics` tells
//! how it does, to those who may know. [`server`] keeps connections within bounds; [`routes`] makes
//! routers in which no route lacks a rule.

pub mod routes;
pub mod server;

use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};

use crate::fault::{Fault, Kind};
use crate::security::{Action, Gate, Resource};

pub use routes::{Routes, Rule, Trouble};
pub use server::{Refusals, serve};

/// Whether a process can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It cannot, for this reason.
    NotReady(String),
}

/// What the probes ask. Both must answer at once.
#[derive(Clone)]
pub struct Probes {
    /// Whether the process can do its work.
    pub readiness: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// How it does, in the OpenMetrics text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probes")
    }
}

impl Probes {
    /// Adds `/livez`, `/readyz` and `/metrics`.
    pub fn add_to(&self, routes: &mut Routes) {
        self.add_health_to(routes);
        let metrics = self.clone();
        routes.add(
            (Method::GET, "/metrics"),
            (Action::Observe, Resource::Process),
            move |_request| {
                let text = (metrics.metrics)();
                async { openmetrics(text) }
            },
        );
    }

    fn add_health_to(&self, routes: &mut Routes) {
        let ready = self.clone();
        routes.add(
            (Method::GET, "/livez"),
            (Action::Probe, Resource::Process),
            |_request| async { alive() },
        );
        routes.add(
            (Method::GET, "/readyz"),
            (Action::Probe, Resource::Process),
            move |_request| {
                let answer = ready.ready();
                async { answer }
            },
        );
    }

    /// The whole HTTP side of a process that has no other.
    pub fn router(&self, gate: Gate) -> axum::Router {
        let mut routes = Routes::new(gate, |trouble| plain(&trouble));
        self.add_to(&mut routes);
        routes.finish().0
    }

    /// A way in for who has nothing to show, and may only ask whether the process lives and is ready.
    pub fn health_router(&self, gate: Gate) -> axum::Router {
        let mut routes = Routes::new(gate, |trouble| plain(&trouble));
        self.add_health_to(&mut routes);
        routes.finish().0
    }

    fn ready(&self) -> Response {
        match (self.readiness)() {
            Readiness::Ready => "ready".into_response(),
            Readiness::NotReady(why) => {
                let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
                (StatusCode::SERVICE_UNAVAILABLE, retry, why).into_response()
            },
        }
    }
}

/// The answer of a process that runs.
pub fn alive() -> Response {
    "healthz check passed".into_response()
}

fn openmetrics(text: String) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

/// Trouble as text, for routers that speak no other language.
fn plain(trouble: &Trouble) -> Response {
    let kind = trouble.kind();
    let status = if kind == Kind::Unauthenticated {
        StatusCode::UNAUTHORIZED
    } else if kind == Kind::PermissionDenied {
        StatusCode::FORBIDDEN
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    (status, trouble.to_string()).into_response()
}
