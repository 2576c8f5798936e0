//! `search`: a question from the terminal, asked as an application asks it: over HTTPS, by the cluster's
//! own authority and a key that may only read, where there is one.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::Error;
use super::forward::{Tunnel, authority_secret, client_secret, gateway_service, key_secret};
use super::gateway::{Gateway, Known, Shown};
use super::look::Access;
use super::table::{row, short, table};
use crate::crd::v1alpha1::VectorCluster;

/// How long a search may take.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Characters of a payload in a table.
const PAYLOAD_CHARS_MAX: usize = 160;
/// The keys that are tried: the one that may do less first.
const KEYS: [&str; 2] = ["readonly", "admin"];

/// What is looked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// In which collection.
    pub collection: String,
    /// A vector, or the id of a point.
    pub target: Value,
    /// Which points may be found.
    pub filter: Option<Value>,
    /// Points at most.
    pub limit: u32,
    /// Whether payloads are asked for.
    pub with_payload: bool,
    /// The name that the gateway's certificate is for; none: that of its Service.
    pub server_name: Option<String>,
}

/// The id of a point as JSON: a number, or else a text.
pub fn id(text: &str) -> Value {
    text.parse::<u64>()
        .map_or_else(|_not_a_number| Value::from(text), Value::from)
}

/// The path and body of a question.
fn request(question: &Question) -> (String, Value) {
    let collection = percent_encoding::utf8_percent_encode(
        &question.collection,
        percent_encoding::NON_ALPHANUMERIC,
    );
    let mut body = Map::new();
    body.insert("query".to_owned(), question.target.clone());
    body.insert("limit".to_owned(), json!(question.limit));
    body.insert("with_payload".to_owned(), json!(question.with_payload));
    if let Some(filter) = &question.filter {
        body.insert("filter".to_owned(), filter.clone());
    }
    (
        format!("/collections/{collection}/points/query"),
        Value::Object(body),
    )
}

/// Asks; the points that were found, as the gateway tells them.
///
/// # Errors
/// No way to a gateway, no key, or what the gateway answers.
pub async fn search(access: &Access, name: &str, question: &Question) -> Result<Value, Error> {
    let cluster = access.cluster(name).await?;
    let authority = access.secret(&authority_secret(&cluster), "ca.crt").await?;
    let key = key(access, &cluster, &KEYS).await?;
    let service = format!("{}.{}.svc", gateway_service(name), access.namespace);
    let server_name = question.server_name.as_deref().unwrap_or(&service);
    let shown = match client_secret(&cluster) {
        Some(secret) => Some(Shown {
            certificate: access.secret(&secret, "tls.crt").await?,
            key: access.secret(&secret, "tls.key").await?,
        }),
        None => None,
    };
    let known = Known::by(&authority, server_name, shown.as_ref())?;
    let tunnel = Tunnel::to_gateway(access, name, 0).await?;
    let gateway = Gateway {
        host: "127.0.0.1".to_owned(),
        port: tunnel.port(),
        tls: Some(known),
        key: Some(key),
        timeout: SEARCH_TIMEOUT,
    };
    let (path, body) = request(question);
    let (status, text) = gateway.post(&path, body.to_string()).await?;
    answer(status.as_u16(), &text).map_err(|problem| Error::Asked {
        whom: format!("a gateway of {} for {path}", cluster.name_any()),
        problem,
    })
}

/// The points in an answer, or what the gateway complains about.
fn answer(status: u16, text: &str) -> Result<Value, String> {
    let said: Value = serde_json::from_str(text).unwrap_or_default();
    if status == 200
        && let Some(points) = said.pointer("/result/points")
    {
        return Ok(points.clone());
    }
    let error = said.pointer("/status/error").and_then(Value::as_str);
    Err(format!("{status}: {}", error.unwrap_or(text).trim()))
}

/// An API key of a cluster: the first of these names that there is.
///
/// # Errors
/// [`Error::Incomplete`] when there is none of them.
pub async fn key(
    access: &Access,
    cluster: &VectorCluster,
    names: &[&str],
) -> Result<String, Error> {
    let secret = key_secret(cluster);
    let mut last = None;
    for name in names {
        match access.secret(&secret, name).await {
            Ok(key) => return Ok(String::from_utf8_lossy(&key).trim().to_owned()),
            Err(error @ Error::Incomplete { .. }) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::Incomplete {
        object: format!("Secret {secret}"),
        field: "key".to_owned(),
    }))
}

/// The points as a table.
pub fn text(points: &Value, with_payload: bool) -> String {
    let points = points.as_array().map_or(&[][..], Vec::as_slice);
    if points.is_empty() {
        return "nothing is found\n".to_owned();
    }
    let mut rows = vec![row([
        "ID",
        "SCORE",
        if with_payload { "PAYLOAD" } else { "" },
    ])];
    for point in points {
        let field = |name: &str| point.get(name).cloned().unwrap_or_default();
        let id = field("id");
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let payload = if with_payload {
            short(&field("payload").to_string(), PAYLOAD_CHARS_MAX)
        } else {
            String::new()
        };
        rows.push(row([&id, &field("score").to_string(), &payload]));
    }
    let mut text = String::new();
    table(&mut text, &rows);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_becomes_a_request_of_the_public_api() {
        let question = Question {
            collection: "a b".to_owned(),
            target: id("7"),
            filter: Some(json!({"must": []})),
            limit: 3,
            with_payload: true,
            server_name: None,
        };
        let (path, body) = request(&question);
        assert_eq!(path, "/collections/a%20b/points/query");
        let expected =
            json!({"query": 7, "limit": 3, "with_payload": true, "filter": {"must": []}});
        assert_eq!(body, expected);
        assert_eq!(id("0b0c"), json!("0b0c"));
    }

    #[test]
    fn points_are_a_table_and_a_refusal_is_said_in_the_gateways_words() {
        let points = json!([{"id": 9, "score": 1.5, "payload": {"n": 1}},
            {"id": "u", "score": 0.5, "payload": null}]);
        let said = json!({"result": {"points": points}}).to_string();
        assert_eq!(answer(200, &said), Ok(points.clone()));
        assert_eq!(text(&points, false), "ID  SCORE\n9   1.5\nu   0.5\n");
        assert_eq!(
            text(&points, true),
            "ID  SCORE  PAYLOAD\n9   1.5    {\"n\":1}\nu   0.5    null\n"
        );
        assert_eq!(text(&json!([]), true), "nothing is found\n");
        let refused = json!({"status": {"error": "no such collection"}}).to_string();
        assert_eq!(
            answer(404, &refused),
            Err("404: no such collection".to_owned())
        );
        assert_eq!(answer(502, "gone\n"), Err("502: gone".to_owned()));
    }
}
