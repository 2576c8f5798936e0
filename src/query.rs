//! What can be asked of a collection, and what a point is: the words that the gateway parses into,
//! that travel between processes, and that a shard answers.
//!
//! Payloads stay the JSON text that the client sent (checked, compact) wherever nobody needs to
//! look inside.

pub mod field;
pub mod filter;
pub mod operation;
pub mod selector;

pub use field::FieldPath;
pub use filter::{Condition, FieldTest, Filter, Scalar};
pub use operation::{Operation, PointInput, Selection};
pub use selector::{PayloadSelector, Record, ScoredPoint};
