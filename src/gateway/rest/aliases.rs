//! Other names for collections.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::answer::Answer;
use super::call::Call;
use super::input::{List, from_json};
use crate::gateway::Error;
use crate::ids::CollectionName;
use crate::limits::ALIAS_ACTIONS_MAX;
use crate::query::{Alias, AliasAction};

/// `GET /aliases`
pub(super) async fn all(api: Arc<Api>, _call: Call) -> Result<Answer, Error> {
    list(&api.cluster.aliases()?)
}

/// `GET /collections/{collection}/aliases`
pub(super) async fn of_collection(api: Arc<Api>, call: Call) -> Result<Answer, Error> {
    let named = call.collection()?;
    api.cluster.shape(&named, call.deadline()).await?;
    let mut aliases = api.cluster.aliases()?;
    let found = aliases.iter().find(|alias| alias.alias == named);
    let own = found.map_or(named, |alias| alias.collection.clone());
    aliases.retain(|alias| alias.collection == own);
    list(&aliases)
}

fn list(aliases: &[Alias]) -> Result<Answer, Error> {
    let aliases: Vec<Value> = aliases
        .iter()
        .map(|Alias { alias, collection }| {
            json!({"alias_name": alias.as_str(), "collection_name": collection.as_str()})
        })
        .collect();
    Answer::of(&json!({"aliases": aliases}))
}

#[derive(Deserialize)]
struct UpdateBody {
    actions: List<ActionBody, ALIAS_ACTIONS_MAX>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the names of the public API")]
enum ActionBody {
    CreateAlias {
        collection_name: String,
        alias_name: String,
    },
    DeleteAlias {
        alias_name: String,
    },
    RenameAlias {
        old_alias_name: String,
        new_alias_name: String,
    },
}

/// `POST /collections/aliases`
pub(super) async fn update(api: Arc<Api>, mut call: Call) -> Result<Answer, Error> {
    let actions = call
        .parse(&api, |bytes| {
            let body: UpdateBody = from_json(bytes)?;
            body.actions.0.into_iter().map(action).collect()
        })
        .await?;
    api.cluster.update_aliases(actions, call.deadline()).await?;
    Answer::of(&true)
}

fn action(body: ActionBody) -> Result<AliasAction, Error> {
    Ok(match body {
        ActionBody::CreateAlias {
            collection_name,
            alias_name,
        } => AliasAction::Create(Alias {
            alias: name("alias_name", &alias_name)?,
            collection: name("collection_name", &collection_name)?,
        }),
        ActionBody::DeleteAlias { alias_name } => {
            AliasAction::Delete(name("alias_name", &alias_name)?)
        },
        ActionBody::RenameAlias {
            old_alias_name,
            new_alias_name,
        } => AliasAction::Rename {
            from: name("old_alias_name", &old_alias_name)?,
            to: name("new_alias_name", &new_alias_name)?,
        },
    })
}

fn name(field: &'static str, text: &str) -> Result<CollectionName, Error> {
    CollectionName::parse(text).map_err(|malformed| Error::OutOfRange {
        place: "JSON body",
        field: field.into(),
        problem: format!("value {:?} invalid, {}", malformed.value, malformed.problem),
    })
}
