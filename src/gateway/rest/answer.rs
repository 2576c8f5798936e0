//! Answers: the envelope `{"result", "status", "time"}`, and points written straight into it.
//!
//! Payloads are JSON text already, and are copied as they are; numbers are printed in the shortest
//! form that reads back as the same 32-bit float.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::json;

use crate::fault::Kind;
use crate::gateway::{Error, error};
use crate::query::{Record, ScoredPoint, Shape};

/// What a handler answers with.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `bytes` is the beginning of an envelope, up to the end of the result.
    Envelope,
    /// `bytes` is the whole body, JSON.
    Bare,
    /// `bytes` is the whole body, plain text.
    Text,
}

const RESULT: &[u8] = b"{\"result\":";

impl Answer {
    /// This value as the result.
    pub(super) fn of(value: &impl Serialize) -> Result<Self, Error> {
        let mut result = Writer::new();
        result.json(value)?;
        Ok(result.finish())
    }

    /// This value without an envelope.
    pub(super) fn bare(value: &serde_json::Value) -> Self {
        Self {
            bytes: value.to_string().into_bytes(),
            form: Form::Bare,
        }
    }

    /// A line of text.
    pub(super) fn text(text: &'static str) -> Self {
        Self {
            bytes: text.as_bytes().to_vec(),
            form: Form::Text,
        }
    }

    /// The response, given how long it took to make.
    pub(super) fn respond(self, took: Duration) -> Response {
        let mut bytes = self.bytes;
        if self.form == Form::Envelope {
            let end = format!(",\"status\":\"ok\",\"time\":{:?}}}", took.as_secs_f64());
            bytes.extend_from_slice(end.as_bytes());
        }
        let kind = match self.form {
            Form::Envelope | Form::Bare => "application/json",
            Form::Text => "text/plain; charset=utf-8",
        };
        response(StatusCode::OK, kind, bytes)
    }
}

/// The response that says why there is no answer.
pub(super) fn refuse(error: &Error, took: Duration) -> Response {
    let status = error.status();
    let text = error.to_string();
    if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED {
        tracing::warn!(status = status.as_u16(), error = text, "request failed");
    }
    let body = json!({"status": {"error": text}, "time": took.as_secs_f64()});
    let bytes = body.to_string().into_bytes();
    let mut response = response(status, "application/json", bytes);
    if [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status)
    {
        let after = HeaderValue::from_static(error::RETRY_AFTER);
        response.headers_mut().insert(RETRY_AFTER, after);
    }
    response
}

fn response(status: StatusCode, kind: &'static str, bytes: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// A result that is being written.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(RESULT.to_vec())
    }

    pub(super) fn finish(self) -> Answer {
        Answer {
            bytes: self.0,
            form: Form::Envelope,
        }
    }

    /// Text that is JSON where it stands.
    pub(super) fn raw(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
    }

    pub(super) fn json(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        serde_json::to_writer(&mut self.0, value).map_err(|error| Error::Failed {
            kind: Kind::Internal,
            code: "gateway.write_json",
            message: error.to_string(),
        })
    }

    /// A list, element by element.
    pub(super) fn list<T>(
        &mut self,
        elements: &[T],
        mut each: impl FnMut(&mut Self, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.raw(b"[");
        for (place, element) in elements.iter().enumerate() {
            if place > 0 {
                self.raw(b",");
            }
            each(self, element)?;
        }
        self.raw(b"]");
        Ok(())
    }

    /// A point as it is stored.
    pub(super) fn record(&mut self, record: &Record, shape: &Shape) -> Result<(), Error> {
        self.raw(b"{\"id\":");
        self.json(&record.id)?;
        self.parts(record, shape)?;
        self.raw(b"}");
        Ok(())
    }

    /// A point as it was found.
    pub(super) fn scored(&mut self, point: &ScoredPoint, shape: &Shape) -> Result<(), Error> {
        self.raw(b"{\"id\":");
        self.json(&point.record.id)?;
        self.raw(b",\"version\":");
        self.json(&point.record.version.0)?;
        self.raw(b",\"score\":");
        self.json(&point.score)?;
        self.parts(&point.record, shape)?;
        self.raw(b"}");
        Ok(())
    }

    fn parts(&mut self, record: &Record, shape: &Shape) -> Result<(), Error> {
        if let Some(payload) = &record.payload {
            self.raw(b",\"payload\":");
            self.raw(payload);
        }
        if let Some(vector) = &record.vector {
            self.raw(b",\"vector\":");
            match &shape.vector_name {
                None => self.json(vector)?,
                Some(name) => {
                    self.raw(b"{");
                    self.json(name)?;
                    self.raw(b":");
                    self.json(vector)?;
                    self.raw(b"}");
                },
            }
        }
        Ok(())
    }
}
