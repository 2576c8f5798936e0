//! What several tests need.

pub(crate) mod local_cluster;
pub(crate) mod real_etcd;
pub(crate) mod skip;
pub(crate) mod wait_for;
