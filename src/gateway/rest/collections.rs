//! Collections and their payload indexes.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::config;
use super::input::{Tree, from_json};
use super::write::written;
use crate::fault::{Fault, Kind};
use crate::gateway::Error;
use crate::query::{FieldPath, NewCollection};

/// `GET /collections`
pub(super) async fn list(api: Arc<Api>, _call: Call) -> Result<Answer, Error> {
    let names = api.cluster.collections()?;
    let collections: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name.as_str()}))
        .collect();
    Answer::of(&json!({"collections": collections}))
}

/// `GET /collections/{collection}`
pub(super) async fn get(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let info = api.cluster.describe(&collection, call.deadline()).await?;
    Answer::of(&config::describe(&info))
}

/// `GET /collections/{collection}/exists`
pub(super) async fn exists(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    let exists = match api
        .cluster
        .shape(&call.collection()?, call.deadline())
        .await
    {
        Ok(_shape) => true,
        Err(error) if error.kind() == Kind::NotFound => false,
        Err(error) => return Err(error),
    };
    Answer::of(&json!({"exists": exists}))
}

/// `PUT /collections/{collection}`
pub(super) async fn create(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let name = call.collection()?;
    let draft = call.parse(&api, config::create).await?;
    let new = NewCollection {
        name,
        shape: draft.shape,
        shards: draft.shards,
        index: draft.index,
        config: Value::Object(draft.config),
    };
    api.cluster.create_collection(new, call.deadline()).await?;
    Answer::of(&true)
}

/// `PATCH /collections/{collection}`
pub(super) async fn update(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let shape = api.cluster.shape(&collection, call.deadline()).await?;
    let change = call
        .parse(&api, move |bytes| config::change(bytes, &shape))
        .await?;
    if !change.is_empty() {
        api.cluster
            .update_collection(&collection, change, call.deadline())
            .await?;
    }
    Answer::of(&true)
}

/// `DELETE /collections/{collection}`
pub(super) async fn delete(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    let deleted = api
        .cluster
        .delete_collection(&collection, call.deadline())
        .await?;
    Answer::of(&deleted)
}

#[derive(Deserialize)]
struct IndexBody {
    field_name: String,
    field_schema: Option<Tree>,
}

/// `PUT /collections/{collection}/index`
pub(super) async fn create_index(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    api.cluster.shape(&collection, call.deadline()).await?;
    let (field, schema) = call
        .parse(&api, |bytes| {
            let body: IndexBody = from_json(bytes)?;
            FieldPath::parse(&body.field_name)?;
            let schema = config::index_schema(body.field_schema)?;
            Ok((body.field_name, schema))
        })
        .await?;
    let options = call.write_options();
    let number = api
        .cluster
        .create_payload_index(&collection, &field, schema, options)
        .await?;
    written(&call, number)
}

/// `DELETE /collections/{collection}/index/{field}`
pub(super) async fn delete_index(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    let collection = call.collection()?;
    api.cluster.shape(&collection, call.deadline()).await?;
    let field = call.parameter("field");
    let path = FieldPath::parse(field).map_err(|error| Error::Wrong(error.to_string()))?;
    let options = call.write_options();
    let number = api
        .cluster
        .delete_payload_index(&collection, path.as_str(), options)
        .await?;
    written(&call, number)
}
