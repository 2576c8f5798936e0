//! Every bound of the project on one page, each with its reason.
//!
//! A bound that a user may set has its default and its range in `settings`; these are the ones that
//! nobody may pass.

use std::time::Duration;

/// Slots of a collection. Fixed for ever: stored data and shard records rest on it.
pub const SLOTS: u16 = 4096;

/// Characters of a collection or alias name, as existing clients expect.
pub const NAME_CHARS_MAX: usize = 255;

/// Dimensions of a vector; the largest that existing clients may ask for.
pub const DIMENSIONS_MAX: usize = 65_536;

/// Bytes of a request body, as existing clients expect.
pub const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of one message between processes: a body of points, packed, and its payloads.
pub const RPC_MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One payload, as JSON: a point has to fit into an answer beside others.
pub const PAYLOAD_BYTES_MAX: usize = RPC_MESSAGE_BYTES_MAX / 4;

/// Nesting of a JSON value: serde_json's own bound, so that what is stored can be read.
pub const JSON_DEPTH_MAX: usize = 127;

/// Nesting of JSON that is kept: payloads, settings and schemas of collections. What a write nests it
/// in (the steps of a path, a record) stays below [`JSON_DEPTH_MAX`].
pub const KEPT_DEPTH_MAX: usize = 64;

/// Steps of a path into a payload: a write makes an object for each that is not there.
pub const PATH_STEPS_MAX: usize = 32;

const _: () = assert!(KEPT_DEPTH_MAX + PATH_STEPS_MAX < JSON_DEPTH_MAX);

/// Nesting of filters inside filters.
pub const FILTER_DEPTH_MAX: usize = 32;

/// Conditions of one filter, nested ones counted: bounds the work a request can ask for.
pub const FILTER_CONDITIONS_MAX: usize = 16_384;

/// Points that one answer holds.
pub const ANSWER_POINTS_MAX: usize = 100_000;

/// Searches of one batch request.
pub const BATCH_SEARCHES_MAX: usize = 1_024;

/// Points that all answers of one batch request hold together, those that offsets pass over counted.
pub const BATCH_ANSWER_POINTS_MAX: usize = 200_000;

/// Actions on aliases of one request: two names each, and all are changed in one transaction of etcd.
pub const ALIAS_ACTIONS_MAX: usize = 60;

/// Points of one write request.
pub const BATCH_POINTS_MAX: usize = 100_000;

/// Shards of a collection.
pub const SHARDS_MAX: u16 = 4096;

/// Collections of a cluster: a few keys of etcd and a few files each.
pub const COLLECTIONS_MAX: usize = 10_000;

/// Shards of all collections together: every process mirrors their records, and reads at most twice as
/// many keys.
pub const SHARDS_TOTAL_MAX: usize = 100_000;

/// Tombstones of deleted collections above which no new collection is made. With one for every
/// collection that is there they stay below what is read from etcd under one prefix.
pub const TOMBSTONES_MAX: usize = 50_000;

/// Payload indexes of a collection.
pub const PAYLOAD_INDEXES_MAX: usize = 64;

/// Bytes of a path into payloads, as text.
pub const FIELD_BYTES_MAX: usize = 1_024;

/// Bytes of the path of a field that has a payload index: it is a key of the store, and those are short.
pub const INDEXED_FIELD_BYTES_MAX: usize = 400;

/// Paths into payloads that one request names: each is walked for every point.
pub const PATHS_MAX: usize = 1_024;

/// Keys that are read from etcd at once; larger prefixes are paged.
pub const ETCD_PAGE_KEYS: i64 = 500;

/// Operations of one etcd transaction (etcd's own bound).
pub const ETCD_TXN_OPS_MAX: usize = 128;

/// What a request without a deadline of its own gets.
pub const REQUEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);

/// The longest deadline that a request may ask for.
pub const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// How long a stopping process waits for the requests it has.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections of one listener.
pub const CONNECTIONS_MAX: usize = 4_096;
