//! The tests of the operator on a real Kubernetes: one binary, run by `scripts/test-kubernetes`.
//!
//! `cargo test` alone leaves it out: what it needs is started by that script. Nothing here pretends to
//! be an API server. The script runs it twice: first what asks the API server alone, without an operator
//! that would carry out what is only to be accepted or refused; then what has an operator act.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and lints do not see helpers of tests as tests"
)]

mod acting;
mod api_only;
mod kubernetes;
