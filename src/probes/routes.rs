//! Routers in which every route has a rule.
//!
//! A route is added with what it does and to what kind of thing, or it is not added; before its
//! handler sees anything the gate has let the request pass. Unknown paths and methods stand behind
//! the gate too: without credentials nobody learns what is there. A handler that panics answers with
//! an error and takes nothing else along.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use axum::{Router, extract};
use futures::FutureExt;
use http::{HeaderMap, Method, StatusCode};

use crate::fault::{Fault, Kind};
use crate::security::{Action, Gate, Refusal, Resource};

/// A request as handlers get it: past the gate, its body unread.
pub type Request = extract::Request<Body>;

/// The rule of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// What it does.
    pub action: Action,
    /// To what kind of thing.
    pub resource: Resource,
}

/// What a router itself answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The gate does not let the request pass.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The handler broke.
    #[error("the handler of this request broke; the log says where")]
    Broke,
}

impl Fault for Trouble {
    fn kind(&self) -> Kind {
        match self {
            Self::Refused(refusal) => refusal.kind(),
            Self::Broke => Kind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Broke => "probes.broke",
        }
    }
}

type Tell = fn(Trouble) -> Response;

/// A router that is being made.
#[derive(Debug)]
pub struct Routes {
    router: Router,
    rules: Vec<Rule>,
    gate: Gate,
    tell: Tell,
}

impl Routes {
    /// No routes yet. `tell` makes the answer when the router itself must answer.
    pub fn new(gate: Gate, tell: Tell) -> Self {
        Self {
            router: Router::new(),
            rules: Vec::new(),
            gate,
            tell,
        }
    }

    /// Adds a route with its rule.
    pub fn add<H, F>(
        &mut self,
        (method, path): (Method, &'static str),
        (action, resource): (Action, Resource),
        handler: H,
    ) where
        H: Fn(Request) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let (gate, tell) = (self.gate.clone(), self.tell);
        let guarded = move |request: Request| {
            let passed = gate.admit(request.headers(), action, resource);
            let running = passed.map(|()| AssertUnwindSafe(handler(request)).catch_unwind());
            async move {
                match running {
                    Ok(running) => running
                        .await
                        .unwrap_or_else(|_told_by_the_hook| tell(Trouble::Broke)),
                    Err(refusal) => tell(refusal.into()),
                }
            }
        };
        #[expect(
            clippy::expect_used,
            reason = "methods of routes are written in the source"
        )]
        let filter = MethodFilter::try_from(method.clone()).expect("a method that routers know");
        self.router = std::mem::take(&mut self.router).route(path, on(filter, guarded));
        self.rules.push(Rule {
            method,
            path,
            action,
            resource,
        });
    }

    /// The router, and the rules of its routes.
    pub fn finish(self) -> (Router, Vec<Rule>) {
        let (gate, tell) = (self.gate, self.tell);
        let unknown = move |status: StatusCode| {
            let gate = gate.clone();
            move |headers: HeaderMap| async move {
                match gate.admit(&headers, Action::Read, Resource::Process) {
                    Ok(()) => status.into_response(),
                    Err(refusal) => tell(refusal.into()),
                }
            }
        };
        let router = self
            .router
            .method_not_allowed_fallback(unknown(StatusCode::METHOD_NOT_ALLOWED))
            .fallback(unknown(StatusCode::NOT_FOUND));
        (router, self.rules)
    }
}
