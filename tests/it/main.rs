//! The integration tests: one binary, its modules chosen by name.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and lints do not see helpers of tests as tests"
)]

mod api;
mod coordination;
mod index;
mod operator;
mod processes;
mod security;
mod support;
mod tidy;
mod topology;
