//! What the gateway asks of the rest of the cluster: the seam between the public API and what is
//! behind it.
//!
//! Names may be aliases; who answers resolves them. What arrives here is checked: vectors are
//! admitted, payloads are compact JSON objects, limits hold. An answer is whole or an error; an error
//! about some shards only names them. Nobody waits past the deadline.

use super::Error;
use crate::clock::Moment;
use crate::ids::{CollectionName, PointId};
use crate::query::{
    Alias, AliasAction, CollectionInfo, Filter, NewCollection, Operation, Page, PayloadSelector,
    Record, ScoredPoint, Scroll, Search, Shape,
};
use crate::rpc::async_trait;

/// When a write answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Only when every later read sees it. It is durable at the answer in any case.
    pub wait: bool,
    /// Until when.
    pub deadline: Moment,
}

/// Which points by their ids, and what of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Retrieve {
    /// The ids; absent points are passed over.
    pub ids: Vec<PointId>,
    /// Which part of the payload is answered.
    pub payload: PayloadSelector,
    /// Whether the vector is answered.
    pub with_vector: bool,
}

/// The cluster behind the gateway.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// What the vectors of a collection are. Every write and search begins with it, so it asks
    /// another process only about a name that is not known here.
    async fn shape(&self, collection: &CollectionName, deadline: Moment) -> Result<Shape, Error>;

    /// Names of the collections, sorted; no aliases.
    fn collections(&self) -> Result<Vec<CollectionName>, Error>;

    /// Every alias, sorted.
    fn aliases(&self) -> Result<Vec<Alias>, Error>;

    /// A collection as it is now.
    async fn describe(
        &self,
        collection: &CollectionName,
        deadline: Moment,
    ) -> Result<CollectionInfo, Error>;

    /// Makes a collection; when this answers it can be used through this gateway.
    async fn create_collection(&self, new: NewCollection, deadline: Moment) -> Result<(), Error>;

    /// Merges an object into a collection's settings.
    async fn update_collection(
        &self,
        collection: &CollectionName,
        config: serde_json::Map<String, serde_json::Value>,
        deadline: Moment,
    ) -> Result<(), Error>;

    /// Deletes a collection; false when there is none of this name.
    async fn delete_collection(
        &self,
        collection: &CollectionName,
        deadline: Moment,
    ) -> Result<bool, Error>;

    /// Changes aliases, all of them or none.
    async fn update_aliases(
        &self,
        actions: Vec<AliasAction>,
        deadline: Moment,
    ) -> Result<(), Error>;

    /// Declares a payload index of a field; again with another schema replaces it.
    async fn create_payload_index(
        &self,
        collection: &CollectionName,
        field: &str,
        schema: serde_json::Value,
        options: WriteOptions,
    ) -> Result<u64, Error>;

    /// Takes back the payload index of a field; it is no error when there is none.
    async fn delete_payload_index(
        &self,
        collection: &CollectionName,
        field: &str,
        options: WriteOptions,
    ) -> Result<u64, Error>;

    /// Applies one operation; answers its number.
    async fn write(
        &self,
        collection: &CollectionName,
        operation: Operation,
        options: WriteOptions,
    ) -> Result<u64, Error>;

    /// The points of these ids that are there, in the order asked for.
    async fn retrieve(
        &self,
        collection: &CollectionName,
        what: Retrieve,
        deadline: Moment,
    ) -> Result<Vec<Record>, Error>;

    /// Points in the order of their ids.
    async fn scroll(
        &self,
        collection: &CollectionName,
        what: Scroll,
        deadline: Moment,
    ) -> Result<Page, Error>;

    /// How many points match.
    async fn count(
        &self,
        collection: &CollectionName,
        filter: Filter,
        deadline: Moment,
    ) -> Result<u64, Error>;

    /// The answers of several searches, in their order; of each the nearest points first, after its
    /// offset.
    async fn search(
        &self,
        collection: &CollectionName,
        searches: Vec<Search>,
        deadline: Moment,
    ) -> Result<Vec<Vec<ScoredPoint>>, Error>;
}
