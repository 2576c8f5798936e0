//! Processes that know each other by certificates, and that others do not reach.
#![expect(
    clippy::disallowed_methods,
    reason = "who runs only the binary has not the tasks of the library"
)]

mod applications;
mod etcd_users;
mod peers;
mod rotation;
