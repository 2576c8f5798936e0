//! Sends a request about a collection to the workers that hold its shards, and makes one answer.
//!
//! The same code runs in a gateway (`routing: Direct`) and in a master that routes for gateways
//! (`routing: ViaMaster`); the requests are those of the workers, without a shard. Which worker
//! holds which shard is read from the mirrors of etcd alone, so routing goes on while etcd is away.
//!
//! What fails is named: an answer is whole, or an error that says which shards lack. A read is tried
//! again within its deadline when a worker is not there; a write only when it was surely not sent,
//! since a write whose answer was lost may have been applied. A worker that knows another epoch than
//! the map is asked again once the map has caught up.

mod fan_out;
mod merge;
mod remote;
mod shard_map;
mod split;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::clock::Moment;
use crate::fault::{Fault, Kind};
use crate::rpc::proto;

pub use fan_out::FanOut;
pub use remote::Remote;
pub use shard_map::{Collection, Maps, ShardTarget};

/// A read is tried again this long while a process is away, if its deadline allows; a restart of a
/// worker fits in.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where requests are fanned out.
#[derive(Debug, Clone)]
pub enum Router {
    /// Here.
    Direct(FanOut),
    /// At a master.
    ViaMaster(Remote),
}

impl Router {
    /// Applies one operation to the shards it concerns.
    ///
    /// # Errors
    /// [`Error`]; shards that it does not name have applied their part.
    pub async fn write(
        &self,
        collection: &Collection,
        request: proto::WriteRequest,
        deadline: Moment,
    ) -> Result<proto::WriteResponse, Error> {
        match self {
            Self::Direct(router) => router.write(collection, request, deadline).await,
            Self::ViaMaster(master) => master.write(collection, request, deadline).await,
        }
    }

    /// The points of these ids that are there, in the order asked for.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn retrieve(
        &self,
        collection: &Collection,
        request: proto::RetrieveRequest,
        deadline: Moment,
    ) -> Result<proto::RetrieveResponse, Error> {
        match self {
            Self::Direct(router) => router.retrieve(collection, request, deadline).await,
            Self::ViaMaster(master) => master.retrieve(collection, request, deadline).await,
        }
    }

    /// A page of points in the order of their ids.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn scroll(
        &self,
        collection: &Collection,
        request: proto::ScrollRequest,
        deadline: Moment,
    ) -> Result<proto::ScrollResponse, Error> {
        match self {
            Self::Direct(router) => router.scroll(collection, request, deadline).await,
            Self::ViaMaster(master) => master.scroll(collection, request, deadline).await,
        }
    }

    /// How many points match.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn count(
        &self,
        collection: &Collection,
        request: proto::CountRequest,
        deadline: Moment,
    ) -> Result<proto::CountResponse, Error> {
        match self {
            Self::Direct(router) => router.count(collection, request, deadline).await,
            Self::ViaMaster(master) => master.count(collection, request, deadline).await,
        }
    }

    /// The nearest points of each search, nearest first, as many as its `top`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn search(
        &self,
        collection: &Collection,
        request: proto::SearchRequest,
        deadline: Moment,
    ) -> Result<proto::SearchResponse, Error> {
        match self {
            Self::Direct(router) => router.search(collection, request, deadline).await,
            Self::ViaMaster(master) => master.search(collection, request, deadline).await,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Some shards did not answer, or could not do what was asked.
    #[error("{} of {of} shards of collection `{collection}` failed: {}", failed.len(), list(failed))]
    Shards {
        /// The collection, by name.
        collection: String,
        /// How many shards the request concerned.
        of: usize,
        /// Those that failed, and why.
        failed: Vec<ShardFailure>,
    },
    /// Etcd has no shard that this point could be in.
    #[error("no shard of collection `{collection}` holds slot {slot}")]
    NoShard {
        /// The collection, by name.
        collection: String,
        /// The slot of the point.
        slot: u16,
    },
    /// Not every shard of the collection is known: the map is behind, or a record cannot be read.
    #[error("{known} of {of} shards of collection `{collection}` are known; the map is incomplete")]
    MapIncomplete {
        /// The collection, by name.
        collection: String,
        /// Shards that are known.
        known: usize,
        /// Shards that there are.
        of: u16,
    },
    /// The master that routes did not answer, or answered with an error.
    #[error(transparent)]
    Master(#[from] crate::rpc::Error),
}

/// One shard's failure.
#[derive(Debug, Clone)]
pub struct ShardFailure {
    /// The shard's number.
    pub shard: u16,
    /// The worker that has it, by name or id.
    pub worker: String,
    /// What happened.
    pub error: crate::rpc::Error,
}

fn list(failed: &[ShardFailure]) -> String {
    /// An error is a line, not a page.
    const SHOWN_MAX: usize = 8;
    let mut text = failed
        .iter()
        .take(SHOWN_MAX)
        .map(|failure| {
            format!(
                "shard {} on {}: {}",
                failure.shard, failure.worker, failure.error
            )
        })
        .collect::<Vec<_>>()
        .join("; ");
    if failed.len() > SHOWN_MAX {
        text.push_str(&format!("; and {} more", failed.len() - SHOWN_MAX));
    }
    text
}

impl Fault for Error {
    fn kind(&self) -> Kind {
        match self {
            // The worst that can have happened decides: an unknown outcome hides nothing.
            Self::Shards { failed, .. } => {
                let kinds = || failed.iter().map(|failure| failure.error.kind());
                let first = kinds().next().unwrap_or(Kind::Internal);
                [
                    Kind::UnknownOutcome,
                    Kind::Timeout,
                    Kind::Corrupt,
                    Kind::Internal,
                    Kind::NoRoom,
                ]
                .into_iter()
                .find(|worst| kinds().any(|kind| kind == *worst))
                .unwrap_or(first)
            },
            Self::NoShard { .. } | Self::MapIncomplete { .. } => Kind::Unavailable,
            Self::Master(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Shards { .. } => "router.shards",
            Self::NoShard { .. } => "router.no_shard",
            Self::MapIncomplete { .. } => "router.map_incomplete",
            Self::Master(error) => error.code(),
        }
    }
}
