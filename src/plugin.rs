//! The kubectl plugin `kubectl-vectorsphere`: what a person on call asks of a cluster that the operator
//! carries out, and the few things that they tell it.
//!
//! It runs on the person's machine, under their kubeconfig and with their rights; the operator does not know
//! of it. All it changes are fields and annotations of a VectorCluster that a person could write with
//! `kubectl` too ([`change`]), under a field manager of its own. What it shows is read from the API server:
//! the status that the operator writes, pods and events ([`look`]), and rendered by pure functions
//! ([`status`], [`explain`]). What needs a way into the cluster's network ([`forward`], [`search`], the
//! masters' word in a [`report`]) goes through `kubectl port-forward`, which whoever has a plugin has too;
//! so no WebSocket is built into the binary.
//!
//! Why so: the operator writes why it waits into the status; nothing is guessed here a second time.
//!
//! Promises: every request to the API server has a deadline, lists are bounded, and no API key or private
//! key is printed or written to a file, unless a person asks for a key by its flag.

pub mod change;
mod conditions;
mod error;
pub mod explain;
pub mod forward;
pub mod gateway;
pub mod logs;
pub mod look;
pub mod masters;
mod pods;
pub mod report;
pub mod search;
pub mod status;
pub mod table;

pub use error::Error;

/// The name that the API server keeps beside what the plugin wrote.
pub const FIELD_MANAGER: &str = "kubectl-vectorsphere";
