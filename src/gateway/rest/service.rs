//! The endpoints that are about the service itself.

use std::sync::Arc;

use serde_json::json;

use super::Api;
use super::answer::Answer;
use super::call::Call;
use crate::gateway::Error;

/// The generation of the API that clients compare themselves with. Our own version stands beside it.
const API_VERSION: &str = "1.19.0";

/// `GET /`
pub(super) async fn root(_api: Arc<Api>, _call: Call) -> Result<Answer, Error> {
    Ok(Answer::bare(&json!({
        "title": "VectorSphere",
        "version": API_VERSION,
        "vectorsphere": env!("CARGO_PKG_VERSION"),
    })))
}

/// `GET /healthz`
pub(super) async fn healthz(_api: Arc<Api>, _call: Call) -> Result<Answer, Error> {
    Ok(Answer::text("healthz check passed"))
}

/// `GET /cluster`: there are no peers of the kind that is asked for.
pub(super) async fn cluster(_api: Arc<Api>, _call: Call) -> Result<Answer, Error> {
    Answer::of(&json!({"status": "disabled"}))
}
