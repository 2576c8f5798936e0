//! Every route with every kind of caller.

use http::Method;
use vectorsphere::security::{Action, Resource, Role, authorization};

use super::double::served;

const KEYS: &str = "admin: admin-key-1\nread-only: reader-key-1";

#[tokio::test]
async fn every_route_asks_every_caller() {
    let served = served(Some(KEYS)).await;
    let callers = [
        (None, None),
        (Some(("api-key", "not-a-key")), None),
        (Some(("authorization", "Bearer not-a-key")), None),
        (Some(("authorization", "Basic admin-key-1")), None),
        (Some(("api-key", "reader-key-1")), Some(Role::ReadOnly)),
        (
            Some(("authorization", "Bearer reader-key-1")),
            Some(Role::ReadOnly),
        ),
        (Some(("api-key", "admin-key-1")), Some(Role::Admin)),
        (
            Some(("authorization", "Bearer admin-key-1")),
            Some(Role::Admin),
        ),
    ];
    assert!(served.rules.len() > 50, "{}", served.rules.len());
    let mut open = Vec::new();
    for rule in &served.rules {
        let path = rule
            .path
            .replace("{collection}", "plain")
            .replace("{id}", "1")
            .replace(['{', '}'], "");
        for (header, role) in &callers {
            let mut request = served
                .client
                .request(rule.method.clone(), &served.url(&path));
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            let status = request.send().await.unwrap().status;
            let allowed = authorization::permits(*role, rule.action, rule.resource);
            let expected = match (allowed, role) {
                (true, _) => !matches!(status, 401 | 403),
                (false, None) => status == 401,
                (false, Some(_)) => status == 403,
            };
            assert!(expected, "{} {path} as {role:?}: {status}", rule.method);
        }
        if rule.action == Action::Probe {
            open.push(rule.path);
        }
        let changes = matches!(rule.action, Action::Write | Action::Manage);
        let looks = rule.method == Method::GET
            || rule.path.contains("query")
            || ["matrix", "search", "recommend", "discover"]
                .iter()
                .any(|word| rule.path.contains(word))
            || ["/points", "scroll", "count", "facet"]
                .iter()
                .any(|end| rule.path.ends_with(end))
                && rule.method == Method::POST;
        assert_eq!(changes, !looks, "{} {}", rule.method, rule.path);
        assert!(rule.action != Action::Probe || rule.resource == Resource::Process);
    }
    open.sort_unstable();
    assert_eq!(open, ["/", "/healthz", "/livez", "/readyz"]);
}

#[tokio::test]
async fn unknown_paths_are_behind_the_gate_too() {
    let served = served(Some(KEYS)).await;
    for path in ["/nowhere", "/collections/plain/nowhere", "/metrics/"] {
        let (status, _text) = served.send(Method::GET, path, "").await;
        assert_eq!(status, 401, "{path}");
        let request = served
            .client
            .get(&served.url(path))
            .header("api-key", "reader-key-1");
        assert_eq!(request.send().await.unwrap().status, 404, "{path}");
    }
    let (status, text) = served.send(Method::PUT, "/metrics", "").await;
    assert_eq!(status, 401);
    assert!(text.contains("a valid API key is required"), "{text}");
    assert_eq!(served.double.take(), []);
}
