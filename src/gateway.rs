//! The gateway: the public API, compatible with the Qdrant REST API, in front of a cluster.
//!
//! It checks who asks and what is asked, hands checked words to a [`Cluster`], and writes what comes
//! back in the shapes that existing clients expect. It keeps no state that a restart loses. What it
//! refuses, it refuses before anything is sent on, with a reason; what the API knows and this version
//! does not is refused by name.

pub mod cluster;
pub mod error;
pub mod rest;
pub mod routed;

pub use cluster::{Cluster, Retrieve, WriteOptions};
pub use error::Error;
pub use rest::Api;
