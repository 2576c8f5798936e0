//! What the operator asks of the API server, counted: by verb, kind and status of the answer.
//!
//! Labels come from the closed sets here. A path that names none of the kinds is `other`; the operator
//! asks for no such. How long answers take is left to whoever looks at the API server.

use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use tower::{Layer, Service};

use super::instruments::Instruments;

/// The kinds that the operator asks for, by their plural names.
const RESOURCES: [&str; 29] = [
    "certificates",
    "configmaps",
    "controllerrevisions",
    "customresourcedefinitions",
    "deployments",
    "events",
    "horizontalpodautoscalers",
    "leases",
    "namespaces",
    "networkpolicies",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets",
    "pods",
    "prometheusrules",
    "replicasets",
    "secrets",
    "serviceaccounts",
    "servicemonitors",
    "services",
    "statefulsets",
    "storageclasses",
    "vectorbackups",
    "vectorbackupschedules",
    "vectorclusters",
    "vectorcollections",
    "vectoropstasks",
    "vectorrestores",
];
const OTHER: &str = "other";
/// The statuses that are told apart.
const CODES: [&str; 17] = [
    "200", "201", "202", "400", "401", "403", "404", "405", "409", "410", "413", "415", "422",
    "429", "500", "503", "504",
];

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) verb: &'static str,
    pub(super) resource: &'static str,
}

/// What a request asks for: paths are `/api/VERSION/...` and `/apis/GROUP/VERSION/...`, then
/// `namespaces/NAMESPACE/` or not, the kind, a name, and what is below it.
pub(super) fn named(method: &Method, path: &str, query: Option<&str>) -> Asked {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let head = match parts.next() {
        Some("apis") => 2,
        _ => 1,
    };
    let mut parts = parts.skip(head).peekable();
    let mut resource = parts.next().unwrap_or_default();
    let mut name = parts.next();
    if resource == "namespaces" && parts.peek().is_some() {
        resource = parts.next().unwrap_or_default();
        name = parts.next();
    }
    let watches = query.is_some_and(|query| query.split('&').any(|one| one == "watch=true"));
    let verb = match (method, name) {
        (&Method::GET, None) if watches => "watch",
        (&Method::GET, None) => "list",
        (&Method::GET, Some(_)) => "get",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, _) => "delete",
        _ => OTHER,
    };
    let known = RESOURCES.into_iter().find(|known| *known == resource);
    Asked {
        verb,
        resource: known.unwrap_or(OTHER),
    }
}

/// The label of an answer's status; `none` where none came.
pub(super) fn code(answered: Option<StatusCode>) -> &'static str {
    let Some(status) = answered else {
        return "none";
    };
    let known = CODES.into_iter().find(|known| *known == status.as_str());
    known.unwrap_or(OTHER)
}

/// Counts what passes to the API server.
#[derive(Debug, Clone)]
pub(super) struct Counting(pub(super) Instruments);

impl<S> Layer<S> for Counting {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted {
            inner,
            instruments: self.0.clone(),
        }
    }
}

/// A way to the API server whose requests are counted.
#[derive(Debug, Clone)]
pub(super) struct Counted<S> {
    inner: S,
    instruments: Instruments,
}

impl<S, B, A> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    A: 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let uri = request.uri();
        let asked = named(request.method(), uri.path(), uri.query());
        let instruments = self.instruments.clone();
        self.inner
            .call(request)
            .map(move |answer| {
                let status = answer.as_ref().ok().map(Response::status);
                instruments.count_request(asked, status);
                answer
            })
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_told_by_verb_and_kind() {
        let cases = [
            (Method::GET, "/api/v1/pods", None, "list", "pods"),
            (
                Method::GET,
                "/api/v1/pods",
                Some("a=b&watch=true"),
                "watch",
                "pods",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/a",
                None,
                "get",
                "namespaces",
            ),
            (
                Method::GET,
                "/api/v1/namespaces/a/secrets/b",
                None,
                "get",
                "secrets",
            ),
            (
                Method::DELETE,
                "/api/v1/namespaces/a/pods/b",
                None,
                "delete",
                "pods",
            ),
            (
                Method::PATCH,
                "/apis/vectorsphere.io/v1alpha1/namespaces/a/vectorclusters/b/status",
                Some("fieldManager=x"),
                "patch",
                "vectorclusters",
            ),
            (
                Method::POST,
                "/apis/events.k8s.io/v1/namespaces/a/events",
                None,
                "create",
                "events",
            ),
            (Method::GET, "/apis/x/v1/unheard/of", None, "get", OTHER),
            (Method::GET, "/version", None, "list", OTHER),
            (Method::HEAD, "/", None, OTHER, OTHER),
        ];
        for (method, path, query, verb, resource) in cases {
            assert_eq!(
                named(&method, path, query),
                Asked { verb, resource },
                "{path}"
            );
        }
    }

    #[test]
    fn every_kind_that_the_operator_has_rights_for_is_told() {
        let manifest = include_str!("../../manifests/operator.yaml");
        // Before these are the rights of people.
        let manifest = manifest.split("resources: [customresourcedefinitions]");
        let manifest = manifest.skip(1).collect::<String>();
        let lists = manifest.lines().filter_map(|line| {
            line.trim()
                .trim_start_matches("- ")
                .strip_prefix("resources: [")
        });
        let named = lists.flat_map(|list| list.trim_end_matches(']').split(','));
        let named = named.map(|one| one.trim().trim_matches('"').split('/').next().unwrap_or(""));
        let mut count = 0;
        for kind in named {
            assert!(RESOURCES.contains(&kind), "{kind}");
            count += 1;
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn an_answer_is_told_by_its_status() {
        assert_eq!(code(Some(StatusCode::CONFLICT)), "409");
        assert_eq!(code(Some(StatusCode::IM_A_TEAPOT)), OTHER);
        assert_eq!(code(None), "none");
    }
}
