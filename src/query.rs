//! What can be asked of a collection, and what a point is: the words that the gateway parses into,
//! that travel between processes, and that a shard answers.
//!
//! Payloads stay the JSON text that the client sent (checked, compact) wherever nobody needs to
//! look inside.

pub mod collection;
pub mod field;
pub mod filter;
pub mod index;
pub mod operation;
pub mod search;
pub mod selector;

pub use collection::{
    Alias, AliasAction, CollectionInfo, CollectionStatus, IndexChoice, NewCollection,
    PayloadIndexInfo, SearchQuality, Shape,
};
pub use field::FieldPath;
pub use filter::{Condition, FieldTest, Filter, Scalar};
pub use operation::{Operation, PointInput, Selection};
pub use search::{Page, Scroll, Search};
pub use selector::{PayloadSelector, Record, ScoredPoint};
