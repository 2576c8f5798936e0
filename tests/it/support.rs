//! What several tests need.
#![expect(
    clippy::disallowed_methods,
    reason = "who runs only the binary has neither the clock nor the tasks of the library"
)]

pub(crate) mod http_client;
pub(crate) mod local_cluster;
pub(crate) mod pki;
pub(crate) mod real_etcd;
pub(crate) mod reserved_port;
pub(crate) mod skip;
pub(crate) mod wait_for;
