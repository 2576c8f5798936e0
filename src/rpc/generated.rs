//! What protoc and tonic make of `proto/`, kept from the lints that are for people.

/// The messages and services of `vectorsphere.v1`.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::restriction,
    clippy::pedantic,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("vectorsphere.v1");
}
