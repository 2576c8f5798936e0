//! Routes of the API that are known and not built: each answers 501 with its name.

use http::Method;

use super::Table;
use crate::gateway::Error;
use crate::security::{Action, Resource};

/// Clients that are older than the query routes ask these.
const OLD_SEARCH: &str = "the search routes that points/query replaced";

/// Adds them.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn add_to(table: &mut Table) {
    use Action::{Manage, Observe, Read, Write};
    use Resource::{Cluster, Collection, Points, Process};
    let c = |route: &mut Table, method, path, rule, name| later(route, (method, path), rule, name);
    let points = [
        (
            Method::PUT,
            "/collections/{collection}/points/vectors",
            Write,
            "updating vectors",
        ),
        (
            Method::POST,
            "/collections/{collection}/points/vectors/delete",
            Write,
            "deleting vectors",
        ),
        (
            Method::POST,
            "/collections/{collection}/points/batch",
            Write,
            "batch updates",
        ),
        (
            Method::POST,
            "/collections/{collection}/points/query/groups",
            Read,
            "query groups",
        ),
        (
            Method::POST,
            "/collections/{collection}/points/search/matrix/pairs",
            Read,
            "distance matrix",
        ),
        (
            Method::POST,
            "/collections/{collection}/points/search/matrix/offsets",
            Read,
            "distance matrix",
        ),
        (
            Method::POST,
            "/collections/{collection}/facet",
            Read,
            "facet",
        ),
        (
            Method::POST,
            "/collections/{collection}/points/search",
            Read,
            OLD_SEARCH,
        ),
        (
            Method::POST,
            "/collections/{collection}/points/search/batch",
            Read,
            OLD_SEARCH,
        ),
        (
            Method::POST,
            "/collections/{collection}/points/search/groups",
            Read,
            OLD_SEARCH,
        ),
        (
            Method::POST,
            "/collections/{collection}/points/recommend",
            Read,
            OLD_SEARCH,
        ),
        (
            Method::POST,
            "/collections/{collection}/points/recommend/batch",
            Read,
            OLD_SEARCH,
        ),
        (
            Method::POST,
            "/collections/{collection}/points/recommend/groups",
            Read,
            OLD_SEARCH,
        ),
        (
            Method::POST,
            "/collections/{collection}/points/discover",
            Read,
            OLD_SEARCH,
        ),
        (
            Method::POST,
            "/collections/{collection}/points/discover/batch",
            Read,
            OLD_SEARCH,
        ),
    ];
    for (method, path, action, name) in points {
        c(table, method, path, (action, Points), name);
    }
    let shards = "/collections/{collection}/shards";
    let others = [
        (Method::GET, shards, (Read, Collection), "shard keys"),
        (Method::PUT, shards, (Manage, Collection), "shard keys"),
        (
            Method::POST,
            "/collections/{collection}/shards/delete",
            (Manage, Collection),
            "shard keys",
        ),
        (
            Method::GET,
            "/collections/{collection}/cluster",
            (Read, Collection),
            "collection cluster info",
        ),
        (
            Method::POST,
            "/collections/{collection}/cluster",
            (Manage, Collection),
            "collection cluster setup",
        ),
        (
            Method::GET,
            "/collections/{collection}/optimizations",
            (Read, Collection),
            "optimizations",
        ),
        (
            Method::PUT,
            "/collections/{collection}/vectors/{vector}",
            (Manage, Collection),
            "adding a named vector",
        ),
        (
            Method::DELETE,
            "/collections/{collection}/vectors/{vector}",
            (Manage, Collection),
            "dropping a named vector",
        ),
        (Method::GET, "/telemetry", (Observe, Process), "telemetry"),
        (Method::GET, "/issues", (Observe, Process), "issues"),
        (Method::DELETE, "/issues", (Manage, Process), "issues"),
        (
            Method::POST,
            "/cluster/recover",
            (Manage, Cluster),
            "cluster recovery",
        ),
        (
            Method::DELETE,
            "/cluster/peer/{peer}",
            (Manage, Cluster),
            "removing peers",
        ),
    ];
    for (method, path, rule, name) in others {
        c(table, method, path, rule, name);
    }
    snapshots(table);
}

fn snapshots(table: &mut Table) {
    use Action::{Manage, Read};
    let of = [
        (Method::GET, "/snapshots", Read),
        (Method::POST, "/snapshots", Manage),
        (Method::GET, "/snapshots/{snapshot}", Read),
        (Method::DELETE, "/snapshots/{snapshot}", Manage),
        (Method::GET, "/collections/{collection}/snapshots", Read),
        (Method::POST, "/collections/{collection}/snapshots", Manage),
        (
            Method::GET,
            "/collections/{collection}/snapshots/{snapshot}",
            Read,
        ),
        (
            Method::DELETE,
            "/collections/{collection}/snapshots/{snapshot}",
            Manage,
        ),
        (
            Method::PUT,
            "/collections/{collection}/snapshots/recover",
            Manage,
        ),
        (
            Method::POST,
            "/collections/{collection}/snapshots/upload",
            Manage,
        ),
        (
            Method::GET,
            "/collections/{collection}/shards/{shard}/snapshots",
            Read,
        ),
        (
            Method::POST,
            "/collections/{collection}/shards/{shard}/snapshots",
            Manage,
        ),
    ];
    for (method, path, action) in of {
        later(
            table,
            (method, path),
            (action, Resource::Snapshots),
            "snapshots",
        );
    }
}

fn later(
    table: &mut Table,
    (method, path): (Method, &'static str),
    rule: (Action, Resource),
    name: &'static str,
) {
    table.add(
        (method, path, "not_built"),
        rule,
        move |_api, _call| async move { Err(Error::not_built(name)) },
    );
}
