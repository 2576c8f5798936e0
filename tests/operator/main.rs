//! The tests of the operator on a real Kubernetes: one binary, run by `scripts/test-kubernetes`.
//!
//! `cargo test` alone leaves it out: what it needs is started by that script. Nothing here pretends to
//! be an API server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and lints do not see helpers of tests as tests"
)]

mod behaviour;
mod bounds;
mod cases;
mod charts;
mod cluster;
mod collection;
mod columns;
mod definitions;
mod kubernetes;
mod lifecycle;
mod living;
mod objects;
mod operator_process;
mod others;
mod rendered;
mod serving;
