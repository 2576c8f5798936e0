//! The REST routes, and how a request becomes an answer.
//!
//! Every route is added here or in [`later`] with its action and resource. A handler gets the state
//! and the [`Call`], and returns an [`Answer`] or why there is none; the envelope, the time in it and
//! the status are made in one place. A handler that has not answered shortly after the deadline of
//! its request is dropped.

mod aliases;
mod answer;
mod call;
mod collections;
mod config;
mod input;
mod later;
mod query;
mod read;
mod service;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use http::Method;

use self::answer::Answer;
use self::call::{Call, Room};
use super::{Cluster, Error};
use crate::clock::{Clock, Moment};
use crate::fault::{Fault, chain};
use crate::probes::routes::Request;
use crate::probes::{Probes, Routes, Rule, Trouble};
use crate::security::{Action, Gate, Resource};
use crate::tasks::Tasks;
use crate::telemetry::{Count, Metrics, Outcome, Timing};

/// How much longer than its deadline a request may run: what is behind knows better why it is late.
const GRACE: Duration = Duration::from_millis(500);

/// What the handlers work with.
pub struct Api {
    cluster: Arc<dyn Cluster>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    metrics: Metrics,
    room: Room,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}

impl Api {
    /// The public API of a cluster.
    pub fn new(
        cluster: Arc<dyn Cluster>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Self {
        Self {
            cluster,
            clock,
            tasks,
            metrics,
            room: Room::new(),
        }
    }

    /// The router of the public API, and the rules of its routes.
    pub fn router(self, probes: &Probes, gate: Gate) -> (Router, Vec<Rule>) {
        let mut table = Table {
            routes: Routes::new(gate, tell),
            api: Arc::new(self),
        };
        probes.add_to(&mut table.routes);
        service_routes(&mut table);
        collection_routes(&mut table);
        point_routes(&mut table);
        later::add_to(&mut table);
        table.routes.finish()
    }

    /// How long there is until then.
    fn left(&self, deadline: Moment) -> Duration {
        deadline.since(self.clock.now())
    }
}

/// The routes with their state.
struct Table {
    routes: Routes,
    api: Arc<Api>,
}

impl Table {
    fn add<H, F>(
        &mut self,
        (method, path, operation): (Method, &'static str, &'static str),
        rule: (Action, Resource),
        handler: H,
    ) where
        H: Fn(Arc<Api>, Call) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Answer, Error>> + Send + 'static,
    {
        let api = Arc::clone(&self.api);
        self.routes.add((method, path), rule, move |request| {
            let (api, handler) = (Arc::clone(&api), handler.clone());
            async move { run(api, operation, handler, request).await }
        });
    }
}

async fn run<H, F>(api: Arc<Api>, operation: &'static str, handler: H, request: Request) -> Response
where
    H: Fn(Arc<Api>, Call) -> F,
    F: Future<Output = Result<Answer, Error>>,
{
    let started = api.clock.now();
    let stopwatch = api.metrics.start(Timing::GatewayRequest { operation });
    let outcome = match Call::new(request, started).await {
        Ok(call) => {
            let limit = call.timeout();
            let answering = handler(Arc::clone(&api), call);
            tokio::time::timeout(limit + GRACE, answering)
                .await
                .unwrap_or(Err(Error::Deadline(limit.as_millis())))
        },
        Err(error) => Err(error),
    };
    let took = stopwatch.stop();
    let ended = match &outcome {
        Ok(_answer) => Outcome::Done,
        Err(error) => Outcome::Failed(error.kind()),
    };
    let requests = Count::GatewayRequests {
        operation,
        outcome: ended,
    };
    api.metrics.count(requests).inc();
    match outcome {
        Ok(answer) => answer.respond(took),
        Err(error) => {
            tracing::debug!(
                code = error.code(),
                error = chain(&error),
                "request refused"
            );
            answer::refuse(&error, took)
        },
    }
}

/// What the router itself says.
fn tell(trouble: Trouble) -> Response {
    answer::refuse(&Error::failed(&trouble), Duration::ZERO)
}

fn service_routes(table: &mut Table) {
    let probe = (Action::Probe, Resource::Process);
    table.add((Method::GET, "/", "root"), probe, service::root);
    table.add(
        (Method::GET, "/healthz", "healthz"),
        probe,
        service::healthz,
    );
    let read = (Action::Read, Resource::Cluster);
    table.add((Method::GET, "/cluster", "cluster"), read, service::cluster);
}

fn collection_routes(table: &mut Table) {
    let read = (Action::Read, Resource::Collection);
    let manage = (Action::Manage, Resource::Collection);
    let one = "/collections/{collection}";
    let list = (Action::Read, Resource::Collections);
    table.add(
        (Method::GET, "/collections", "list_collections"),
        list,
        collections::list,
    );
    table.add((Method::GET, one, "get_collection"), read, collections::get);
    table.add(
        (Method::PUT, one, "create_collection"),
        manage,
        collections::create,
    );
    table.add(
        (Method::PATCH, one, "update_collection"),
        manage,
        collections::update,
    );
    table.add(
        (Method::DELETE, one, "delete_collection"),
        manage,
        collections::delete,
    );
    let exists = "/collections/{collection}/exists";
    table.add(
        (Method::GET, exists, "collection_exists"),
        read,
        collections::exists,
    );
    let index = "/collections/{collection}/index";
    table.add(
        (Method::PUT, index, "create_payload_index"),
        manage,
        collections::create_index,
    );
    let field = "/collections/{collection}/index/{field}";
    table.add(
        (Method::DELETE, field, "delete_payload_index"),
        manage,
        collections::delete_index,
    );

    let read = (Action::Read, Resource::Aliases);
    let manage = (Action::Manage, Resource::Aliases);
    table.add(
        (Method::GET, "/aliases", "list_aliases"),
        read,
        aliases::all,
    );
    let of_one = "/collections/{collection}/aliases";
    table.add(
        (Method::GET, of_one, "collection_aliases"),
        read,
        aliases::of_collection,
    );
    table.add(
        (Method::POST, "/collections/aliases", "update_aliases"),
        manage,
        aliases::update,
    );
}

fn point_routes(table: &mut Table) {
    let read = (Action::Read, Resource::Points);
    let write = (Action::Write, Resource::Points);
    let points = "/collections/{collection}/points";
    table.add((Method::PUT, points, "upsert"), write, write::upsert);
    table.add((Method::POST, points, "retrieve"), read, read::retrieve);
    let one = "/collections/{collection}/points/{id}";
    table.add((Method::GET, one, "get_point"), read, read::get);
    let delete = "/collections/{collection}/points/delete";
    table.add((Method::POST, delete, "delete"), write, write::delete);
    let scroll = "/collections/{collection}/points/scroll";
    table.add((Method::POST, scroll, "scroll"), read, read::scroll);
    let count = "/collections/{collection}/points/count";
    table.add((Method::POST, count, "count"), read, read::count);
    let query = "/collections/{collection}/points/query";
    table.add((Method::POST, query, "query"), read, query::one);
    let batch = "/collections/{collection}/points/query/batch";
    table.add((Method::POST, batch, "query_batch"), read, query::batch);
    let payload = "/collections/{collection}/points/payload";
    table.add(
        (Method::POST, payload, "set_payload"),
        write,
        write::set_payload,
    );
    table.add(
        (Method::PUT, payload, "overwrite_payload"),
        write,
        write::overwrite_payload,
    );
    let delete = "/collections/{collection}/points/payload/delete";
    table.add(
        (Method::POST, delete, "delete_payload"),
        write,
        write::delete_payload,
    );
    let clear = "/collections/{collection}/points/payload/clear";
    table.add(
        (Method::POST, clear, "clear_payload"),
        write,
        write::clear_payload,
    );
}
