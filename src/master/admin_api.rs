//! The admin service: what operators, people and gateways ask of a master.
//!
//! A change runs in a task of its own: a caller that goes away does not stop it between two steps.
//! Changes that wait are bounded in number, and one whose caller's deadline passes while it waits does
//! not begin.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::aliases::{self, AliasAction};
use super::collections::{Changed, Collections, Error, Order, Update};
use super::create::NewCollection;
use super::state::State;
use crate::clock::Clock;
use crate::coordination::election::{Election, Leadership};
use crate::coordination::records::IndexRecord;
use crate::fault::{Fault, Kind};
use crate::ids::{CollectionName, Malformed, Term};
use crate::limits::REQUEST_TIMEOUT_DEFAULT;
use crate::query::IndexChoice;
use crate::rpc::proto::admin_service_server::AdminService;
use crate::rpc::{self, Request, Response, Status, proto, to_status};
use crate::tasks::Tasks;
use crate::telemetry::{Count, Metrics, Outcome};
use crate::vector::Distance;

/// Answers the admin service's requests.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) collections: Arc<Collections>,
    pub(super) election: Arc<Election>,
    pub(super) state: Arc<State>,
    pub(super) clock: Arc<dyn Clock>,
    /// Places for changes that wait or are under way.
    pub(super) waiting: Arc<Semaphore>,
    pub(super) tasks: Tasks,
    pub(super) metrics: Metrics,
}

impl Admin {
    /// The term, when this master leads.
    fn term(&self) -> Result<Term, Error> {
        match &*self.election.leadership().borrow() {
            Leadership::Leader { term } => Ok(*term),
            Leadership::Follower {
                leader: Some((record, _term)),
            } => Err(Error::NotLeader(format!("{} does", record.name))),
            Leadership::Follower { leader: None } => Err(Error::NotLeader("nobody does".into())),
            Leadership::Unknown => Err(Error::NotLeader("who does is not known".into())),
        }
    }

    /// What a request's change is made under.
    fn order<T>(&self, request: &Request<T>) -> Result<Order, Status> {
        let term = self.term().map_err(|error| to_status(&error))?;
        let until = self.clock.now() + rpc::server::timeout(request, REQUEST_TIMEOUT_DEFAULT);
        Ok(Order { term, until })
    }

    /// Runs a change to its end, whatever becomes of the caller.
    async fn change<W, F>(
        &self,
        operation: &'static str,
        work: W,
    ) -> Result<Response<proto::ChangeResponse>, Status>
    where
        W: FnOnce(Arc<Collections>) -> F,
        F: Future<Output = Result<Changed, Error>> + Send + 'static,
    {
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        let place = place.map_err(|_full| to_status(&Error::Busy))?;
        let changing = work(Arc::clone(&self.collections));
        let running = self.tasks.spawn("collection-change", async move {
            let changed = changing.await;
            drop(place);
            changed
        });
        let changed = running.await.map_err(|_panicked| {
            to_status(&rpc::Error::new(
                Kind::Internal,
                "master.change",
                "the change broke off",
            ))
        })?;
        let outcome = match &changed {
            Ok(_changed) => Outcome::Done,
            Err(error) => Outcome::Failed(error.kind()),
        };
        let changes = Count::MasterChanges { operation, outcome };
        self.metrics.count(changes).inc();
        let changed = changed.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::ChangeResponse {
            changed: changed.changed,
            revision: changed.revision.0,
        }))
    }
}

fn name(text: &str) -> Result<CollectionName, Status> {
    CollectionName::parse(text).map_err(|error| invalid(error.to_string()))
}

fn invalid(message: String) -> Status {
    to_status(&Error::Invalid(message))
}

fn json(bytes: &[u8]) -> Result<serde_json::Value, Status> {
    if bytes.is_empty() {
        return Ok(serde_json::Value::Object(serde_json::Map::new()));
    }
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("configuration: {error}")))
}

fn new_collection(request: proto::CreateCollectionRequest) -> Result<NewCollection, Status> {
    let shards = request.shards.map(u16::try_from).transpose();
    let index = IndexChoice {
        algorithm: request.index_algorithm,
        parameters: request.index_parameters.into_iter().collect(),
    };
    index.wanted().map_err(|error| invalid(error.to_string()))?;
    Ok(NewCollection {
        name: name(&request.name)?,
        dimensions: usize::try_from(request.dimensions).unwrap_or(usize::MAX),
        distance: Distance::parse(&request.distance)
            .ok_or_else(|| invalid(format!("unknown distance {:?}", request.distance)))?,
        vector_name: request.vector_name,
        shards: shards.map_err(|_large| invalid("too many shards".into()))?,
        index: IndexRecord {
            algorithm: index.algorithm,
            parameters: index.parameters,
        },
        config: json(&request.config)?,
    })
}

fn update(change: Option<proto::update_collection_request::Change>) -> Result<Update, Status> {
    use proto::update_collection_request::Change as Wire;
    match change.ok_or_else(|| invalid("no change".into()))? {
        Wire::Config(bytes) => {
            let serde_json::Value::Object(members) = json(&bytes)? else {
                return Err(invalid("a configuration is an object".into()));
            };
            Ok(Update::Config(members))
        },
        Wire::CreatePayloadIndex(index) => {
            Ok(Update::CreateIndex(index.field, json(&index.schema)?))
        },
        Wire::DeletePayloadIndex(field) => Ok(Update::DeleteIndex(field)),
    }
}

fn alias(action: proto::AliasAction) -> Result<AliasAction, Status> {
    use proto::alias_action::Action as Wire;
    Ok(
        match action.action.ok_or_else(|| invalid("no action".into()))? {
            Wire::Create(create) => AliasAction::Create {
                alias: name(&create.alias)?,
                collection: name(&create.collection)?,
            },
            Wire::Delete(alias) => AliasAction::Delete(name(&alias)?),
            Wire::Rename(rename) => AliasAction::Rename {
                from: name(&rename.from)?,
                to: name(&rename.to)?,
            },
        },
    )
}

#[rpc::async_trait]
impl AdminService for Admin {
    async fn get_cluster_state(
        &self,
        _request: Request<proto::GetClusterStateRequest>,
    ) -> Result<Response<proto::GetClusterStateResponse>, Status> {
        Ok(Response::new(Box::pin(self.state.gather()).await))
    }

    async fn create_collection(
        &self,
        request: Request<proto::CreateCollectionRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        let order = self.order(&request)?;
        let new = new_collection(request.into_inner())?;
        self.change("create_collection", |collections| async move {
            collections.create(order, new).await
        })
        .await
    }

    async fn update_collection(
        &self,
        request: Request<proto::UpdateCollectionRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        let order = self.order(&request)?;
        let request = request.into_inner();
        let (name, update) = (name(&request.name)?, update(request.change)?);
        self.change("update_collection", |collections| async move {
            collections.update(order, &name, update).await
        })
        .await
    }

    async fn delete_collection(
        &self,
        request: Request<proto::DeleteCollectionRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        let order = self.order(&request)?;
        let request = request.into_inner();
        let name = name(&request.name)?;
        let only = request.id.map(|id| id.parse()).transpose();
        let only = only.map_err(|error: Malformed| invalid(error.to_string()))?;
        self.change("delete_collection", |collections| async move {
            collections.delete(order, &name, only).await
        })
        .await
    }

    async fn update_aliases(
        &self,
        request: Request<proto::UpdateAliasesRequest>,
    ) -> Result<Response<proto::ChangeResponse>, Status> {
        let order = self.order(&request)?;
        let actions = request.into_inner().actions;
        aliases::check(actions.len()).map_err(|error| to_status(&error))?;
        let actions = actions.into_iter().map(alias);
        let actions = actions.collect::<Result<Vec<_>, _>>()?;
        self.change("update_aliases", |collections| async move {
            collections.alias(order, actions).await
        })
        .await
    }

    async fn transfer_leader(
        &self,
        _request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<proto::TransferLeaderResponse>, Status> {
        let term = self.term().map_err(|error| to_status(&error))?;
        let resigned = self.election.resign().await;
        resigned.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::TransferLeaderResponse {
            term: term.0,
        }))
    }

    async fn drain_process(
        &self,
        request: Request<proto::DrainProcessRequest>,
    ) -> Result<Response<proto::DrainProcessResponse>, Status> {
        let order = self.order(&request)?;
        let asked = request.into_inner();
        if !is_label(&asked.name) {
            return Err(invalid(format!("{:?} is no name of a process", asked.name)));
        }
        let place = Arc::clone(&self.waiting).try_acquire_owned();
        let _place = place.map_err(|_full| to_status(&Error::Busy))?;
        let held = self.collections.drain(order, &asked.name, asked.cancel);
        let shards = held.await.map_err(|error| to_status(&error))?;
        Ok(Response::new(proto::DrainProcessResponse { shards }))
    }
}

/// Whether this can be the name of a process, and so a part of a key.
fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
