//! From a manifest to the components of a cluster, without doing anything.
//!
//! Two questions are answered here. *May this manifest stand?* [`manifest::check`] takes a file's
//! text and gives either the checked spec, its defaults filled in, or every fault at once, each
//! with the field that it is in. *What should run?* [`plan()`] takes a spec and what was observed,
//! and gives the components in the order of their start and the next steps towards them.
//!
//! Why apart from what carries it out: the same plan is carried out with processes on a laptop and
//! with pods in Kubernetes. So there are no paths, ports, processes or pods in it; it holds no
//! client, reads no clock, and the same arguments always give the same plan.
//!
//! What this module does not do: it moves no data. A worker that the plan stops is drained first by
//! whoever carries the plan out, and a plan that is carried out in part is simply made again.

mod field;
pub mod manifest;
mod one_machine;
mod plan;
mod quantity;
mod set_beside;

pub use field::{FieldFault, FieldPath};
pub use one_machine::{OneMachine, one_machine};
pub use plan::{Action, Component, Observation, Observed, Plan, Role, Settings, State, plan};
pub use quantity::{is_smaller, units};
pub use set_beside::set_beside;

/// The manifest that runs a whole cluster on a laptop, one process of each role.
pub const LAPTOP_SAMPLE: &str = include_str!("../manifests/samples/laptop.yaml");
