//! How the processes of a cluster talk to each other: gRPC, the services of `proto/`.
//!
//! The only place that names prost's and tonic's types. [`convert`] turns messages into the words of
//! the lower layers and back, [`status`] does so with errors, [`channel`] keeps connections, and
//! [`server`] serves with bounds. What a process decides is not here.

pub mod channel;
pub mod convert;
pub mod server;
pub mod status;

mod gathered;
mod generated;
mod whole;

pub use channel::Channels;
pub use generated::v1 as proto;
pub use status::{Error, from_status, to_status};
pub use tonic::{Code, Request, Response, Status, async_trait};
