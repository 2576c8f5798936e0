//! The cluster as the gateway reaches it: data over the router, changes of collections over the
//! leader master.
//!
//! A change answers when this gateway's own mirrors have it, so that what the caller does next finds
//! it. A collection that the mirrors do not know may have been made through another gateway just now:
//! before it is called missing they are brought up to date once. When etcd does not answer, whether
//! it is there is not known, and nobody says that it is missing.

mod calls;

use calls::search_to_wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::cluster::{Cluster, Retrieve, WriteOptions};
use super::error::Error;
use crate::clock::{Clock, Moment};
use crate::coordination::mirror::Mirror;
use crate::coordination::records::{
    CollectionRecord, CollectionState, LeadRecord, NameKind, NameRecord,
};
use crate::coordination::{self, keys};
use crate::entropy::Entropy;
use crate::fault::{Fault, Kind, chain};
use crate::ids::{CollectionName, Revision};
use crate::query::{
    Alias, AliasAction, CollectionInfo, CollectionStatus, Filter, IndexChoice, NewCollection,
    Operation, Page, PayloadIndexInfo, Record, ScoredPoint, Scroll, Search, SearchQuality, Shape,
};
use crate::resilience::backoff::Backoff;
use crate::router::{self, Collection, Maps, Router};
use crate::rpc::proto::admin_service_client::AdminServiceClient;
use crate::rpc::{self, Channels, Request, Response, Status, async_trait, convert, proto};
use crate::security::Peer;

type Admin = AdminServiceClient<rpc::channel::Channel>;

/// How long a request waits for the mirrors to be as new as etcd: one that was cut off lists again
/// within this when etcd is there.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a change waits for a leader: a failover fits in.
const LEADER_PATIENCE: Duration = Duration::from_secs(10);
const SHARDS_TIMEOUT: Duration = Duration::from_secs(2);

/// A cluster reached over its router and its masters.
#[derive(Debug)]
pub struct Routed {
    /// Sends data requests.
    pub router: Router,
    /// What the mirrors know.
    pub maps: Maps,
    /// Who leads.
    pub leaders: Arc<Mirror<LeadRecord>>,
    /// Connections.
    pub channels: Arc<Channels>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where jitter comes from.
    pub entropy: Arc<Entropy>,
}

/// The payload indexes that shards have and the collection does not declare, with their points.
fn own_payload_indexes(
    record: &CollectionRecord,
    reports: &[proto::ShardReport],
) -> BTreeMap<String, u64> {
    let mut own = BTreeMap::new();
    for (field, points) in reports.iter().flat_map(|report| &report.payload_indexes) {
        if !record.payload_indexes.contains_key(field) {
            let sum: &mut u64 = own.entry(field.clone()).or_default();
            *sum = sum.saturating_add(*points);
        }
    }
    own
}

fn shape_of(record: &CollectionRecord) -> Shape {
    Shape {
        dimensions: record.dimensions,
        distance: record.distance,
        vector_name: record.vector_name.clone(),
    }
}

fn failed(error: &router::Error) -> Error {
    Error::failed(error)
}

fn told(error: &rpc::Error) -> Error {
    Error::failed(error)
}

#[async_trait]
impl Cluster for Routed {
    async fn shape(&self, collection: &CollectionName, deadline: Moment) -> Result<Shape, Error> {
        let found = self.find(collection, deadline).await?;
        Ok(shape_of(&found.record))
    }

    fn collections(&self) -> Result<Vec<CollectionName>, Error> {
        let view = self.maps.collections.view();
        let active = view
            .iter()
            .filter(|(_, held)| held.value.state == CollectionState::Active);
        let mut names: Vec<_> = active.map(|(_id, held)| held.value.name.clone()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn aliases(&self) -> Result<Vec<Alias>, Error> {
        let view = self.maps.names.view();
        let alias = |(suffix, record): (&str, &NameRecord)| {
            let alias = CollectionName::parse(&keys::name_of_suffix(suffix)?).ok()?;
            let collection = self.maps.collection(record.collection)?.record.name.clone();
            Some(Alias { alias, collection })
        };
        let aliases = view
            .iter()
            .filter(|(_, held)| held.value.kind == NameKind::Alias);
        let mut aliases: Vec<_> = aliases
            .filter_map(|(suffix, held)| alias((suffix, &held.value)))
            .collect();
        aliases.sort_unstable_by(|a, b| a.alias.cmp(&b.alias));
        Ok(aliases)
    }

    async fn describe(
        &self,
        collection: &CollectionName,
        deadline: Moment,
    ) -> Result<CollectionInfo, Error> {
        let found = self.find(collection, deadline).await?;
        let record = &found.record;
        let reports = self.reports(&found).await;
        let serving = reports
            .iter()
            .filter(|r| matches!(&*r.state, "serving" | "closed" | "opening"))
            .count();
        let busy = reports.iter().any(|r| {
            r.state == "opening" || matches!(&*r.index_state, "due" | "building" | "failed")
        });
        let status = if serving < usize::from(record.shard_count) {
            CollectionStatus::Red
        } else if busy {
            CollectionStatus::Yellow
        } else {
            CollectionStatus::Green
        };
        let indexes = record.payload_indexes.iter().map(|(field, schema)| {
            let points = reports
                .iter()
                .filter_map(|r| r.payload_indexes.get(field))
                .sum();
            (
                field.clone(),
                PayloadIndexInfo {
                    schema: schema.clone(),
                    points,
                },
            )
        });
        let built = reports.iter().filter(|report| report.indexed > 0);
        Ok(CollectionInfo {
            name: record.name.clone(),
            shape: shape_of(record),
            index: IndexChoice {
                algorithm: record.index.algorithm.clone(),
                parameters: record.index.parameters.clone(),
            },
            config: record.config.clone(),
            payload_indexes: indexes.collect::<BTreeMap<_, _>>(),
            own_payload_indexes: own_payload_indexes(record, &reports),
            status,
            shards: record.shard_count,
            points: reports.iter().map(|report| report.points).sum(),
            indexed_vectors: reports.iter().map(|report| report.indexed).sum(),
            segments: u64::try_from(built.count()).unwrap_or(0),
            quality: SearchQuality::over(
                reports
                    .iter()
                    .filter_map(|report| report.quality.as_ref())
                    .map(convert::quality_from_wire),
            ),
        })
    }

    async fn create_collection(&self, new: NewCollection, deadline: Moment) -> Result<(), Error> {
        let name = new.name.to_string();
        let request = proto::CreateCollectionRequest {
            name: name.clone(),
            dimensions: u32::try_from(new.shape.dimensions).unwrap_or(u32::MAX),
            distance: new.shape.distance.as_str().to_owned(),
            vector_name: new.shape.vector_name,
            shards: new.shards.map(u32::from),
            index_algorithm: new.index.algorithm,
            index_parameters: new.index.parameters.into_iter().collect(),
            config: new.config.to_string().into(),
        };
        let created = self
            .lead(request, deadline, |mut admin, request| async move {
                admin.create_collection(request).await
            })
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == Kind::AlreadyExists => Err(Error::CollectionExists(name)),
            Err(error) => Err(error),
        }
    }

    async fn update_collection(
        &self,
        collection: &CollectionName,
        config: serde_json::Map<String, serde_json::Value>,
        deadline: Moment,
    ) -> Result<(), Error> {
        let config = serde_json::Value::Object(config).to_string().into();
        let change = proto::update_collection_request::Change::Config(config);
        self.update(collection, change, deadline)
            .await
            .map(|_changed| ())
    }

    async fn delete_collection(
        &self,
        collection: &CollectionName,
        deadline: Moment,
    ) -> Result<bool, Error> {
        let request = proto::DeleteCollectionRequest {
            name: collection.to_string(),
            id: None,
        };
        let answer = self
            .lead(request, deadline, |mut admin, request| async move {
                admin.delete_collection(request).await
            })
            .await?;
        Ok(answer.changed)
    }

    async fn update_aliases(
        &self,
        actions: Vec<AliasAction>,
        deadline: Moment,
    ) -> Result<(), Error> {
        use proto::alias_action::Action;
        let actions = actions.into_iter().map(|action| {
            let action = match action {
                AliasAction::Create(alias) => Action::Create(proto::CreateAlias {
                    collection: alias.collection.to_string(),
                    alias: alias.alias.to_string(),
                }),
                AliasAction::Delete(alias) => Action::Delete(alias.to_string()),
                AliasAction::Rename { from, to } => Action::Rename(proto::RenameAlias {
                    from: from.to_string(),
                    to: to.to_string(),
                }),
            };
            proto::AliasAction {
                action: Some(action),
            }
        });
        let request = proto::UpdateAliasesRequest {
            actions: actions.collect(),
        };
        let changed = self
            .lead(request, deadline, |mut admin, request| async move {
                admin.update_aliases(request).await
            })
            .await;
        changed.map(|_answer| ())
    }

    async fn create_payload_index(
        &self,
        collection: &CollectionName,
        field: &str,
        schema: serde_json::Value,
        options: WriteOptions,
    ) -> Result<u64, Error> {
        let schema = schema.to_string().into();
        let index = proto::PayloadIndex {
            field: field.to_owned(),
            schema,
        };
        let change = proto::update_collection_request::Change::CreatePayloadIndex(index);
        let (found, revision) = self.update(collection, change, options.deadline).await?;
        if options.wait {
            self.settle((&found, revision), options.deadline).await?;
        }
        Ok(revision.0.unsigned_abs())
    }

    async fn delete_payload_index(
        &self,
        collection: &CollectionName,
        field: &str,
        options: WriteOptions,
    ) -> Result<u64, Error> {
        let change = proto::update_collection_request::Change::DeletePayloadIndex(field.to_owned());
        let (found, revision) = self.update(collection, change, options.deadline).await?;
        if options.wait {
            self.settle((&found, revision), options.deadline).await?;
        }
        Ok(revision.0.unsigned_abs())
    }

    async fn write(
        &self,
        collection: &CollectionName,
        operation: Operation,
        options: WriteOptions,
    ) -> Result<u64, Error> {
        let found = self.find(collection, options.deadline).await?;
        let operation = Some(convert::operation_to_wire(&operation));
        let request = proto::WriteRequest {
            shard: None,
            operation,
        };
        let written = self.router.write(&found, request, options.deadline).await;
        Ok(written.map_err(|error| failed(&error))?.sequence)
    }

    async fn retrieve(
        &self,
        collection: &CollectionName,
        what: Retrieve,
        deadline: Moment,
    ) -> Result<Vec<Record>, Error> {
        let found = self.find(collection, deadline).await?;
        let request = proto::RetrieveRequest {
            shard: None,
            ids: what.ids.into_iter().map(convert::id_to_wire).collect(),
            payload: Some(convert::selector_to_wire(&what.payload)),
            vector: what.with_vector,
        };
        let answer = self.router.retrieve(&found, request, deadline).await;
        let records = answer.map_err(|error| failed(&error))?.records.into_iter();
        let records = records
            .map(convert::record_from_wire)
            .collect::<Result<_, _>>();
        records.map_err(|error| told(&error))
    }

    async fn scroll(
        &self,
        collection: &CollectionName,
        what: Scroll,
        deadline: Moment,
    ) -> Result<Page, Error> {
        let found = self.find(collection, deadline).await?;
        let request = proto::ScrollRequest {
            shard: None,
            from: what.from.map(convert::id_to_wire),
            limit: u32::try_from(what.limit).unwrap_or(u32::MAX),
            filter: convert::filter_to_wire(&what.filter),
            payload: Some(convert::selector_to_wire(&what.payload)),
            vector: what.with_vector,
        };
        let answer = self.router.scroll(&found, request, deadline).await;
        let answer = answer.map_err(|error| failed(&error))?;
        let next = answer.next.as_ref().map(convert::id_from_wire).transpose();
        let records = answer.records.into_iter().map(convert::record_from_wire);
        Ok(Page {
            records: records
                .collect::<Result<_, _>>()
                .map_err(|error| told(&error))?,
            next: next.map_err(|error| told(&error))?,
        })
    }

    async fn count(
        &self,
        collection: &CollectionName,
        filter: Filter,
        deadline: Moment,
    ) -> Result<u64, Error> {
        let found = self.find(collection, deadline).await?;
        let request = proto::CountRequest {
            shard: None,
            filter: convert::filter_to_wire(&filter),
        };
        let answer = self.router.count(&found, request, deadline).await;
        Ok(answer.map_err(|error| failed(&error))?.points)
    }

    async fn search(
        &self,
        collection: &CollectionName,
        searches: Vec<Search>,
        deadline: Moment,
    ) -> Result<Vec<Vec<ScoredPoint>>, Error> {
        let found = self.find(collection, deadline).await?;
        let offsets: Vec<usize> = searches.iter().map(|search| search.offset).collect();
        let request = proto::SearchRequest {
            shard: None,
            searches: searches.iter().map(search_to_wire).collect(),
        };
        let answer = self.router.search(&found, request, deadline).await;
        let results = answer
            .map_err(|error| failed(&error))?
            .results
            .into_iter()
            .zip(offsets);
        let results = results.map(|(result, offset)| {
            result
                .points
                .into_iter()
                .skip(offset)
                .map(convert::scored_from_wire)
                .collect()
        });
        results
            .collect::<Result<_, _>>()
            .map_err(|error| told(&error))
    }
}
