//! Requests over HTTP, on hyper's client.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;

/// Long enough for whatever a test asks.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that keeps its connections.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: Client<HttpConnector, Full<Bytes>>,
    timeout: Duration,
}

/// A request that has not been sent.
#[derive(Clone, Debug)]
pub(crate) struct HttpRequest<'a> {
    by: &'a HttpClient,
    request: Request<Full<Bytes>>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl HttpClient {
    pub(crate) fn new() -> Self {
        Self::with_timeout(PATIENCE)
    }

    /// A client that gives a request up after this time.
    pub(crate) fn with_timeout(timeout: Duration) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new());
        Self {
            client: builder.build_http(),
            timeout,
        }
    }

    /// A client that begins with HTTP/2, as who knows that it is spoken.
    pub(crate) fn http2() -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        Self {
            client: builder.http2_only(true).build_http(),
            timeout: PATIENCE,
        }
    }

    pub(crate) fn request(&self, method: Method, url: &str) -> HttpRequest<'_> {
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = url.parse::<Uri>().unwrap();
        HttpRequest { by: self, request }
    }

    pub(crate) fn get(&self, url: &str) -> HttpRequest<'_> {
        self.request(Method::GET, url)
    }

    pub(crate) fn put(&self, url: &str) -> HttpRequest<'_> {
        self.request(Method::PUT, url)
    }

    pub(crate) fn post(&self, url: &str) -> HttpRequest<'_> {
        self.request(Method::POST, url)
    }
}

impl HttpRequest<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let value: HeaderValue = value.parse().unwrap();
        self.request.headers_mut().insert(name, value);
        self
    }

    /// Gives it a body as it is.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into());
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header(header::CONTENT_TYPE.as_str(), "application/json")
            .body(body.to_string())
    }

    /// Sends it and reads the whole answer; what stood in the way otherwise.
    pub(crate) async fn send(self) -> Result<HttpAnswer, String> {
        let exchange = async {
            let answer = self.by.client.request(self.request).await;
            let (head, body) = answer.map_err(|error| format!("{error:?}"))?.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?;
            Ok(HttpAnswer {
                status: head.status.as_u16(),
                version: head.version,
                headers: head.headers,
                text: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            })
        };
        let answered = tokio::time::timeout(self.by.timeout, exchange).await;
        answered.map_err(|_elapsed| format!("no answer in {:?}", self.by.timeout))?
    }
}

impl HttpAnswer {
    pub(crate) fn is_success(&self) -> bool {
        StatusCode::from_u16(self.status).unwrap().is_success()
    }
}
