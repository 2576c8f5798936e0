//! Processes that know each other by certificates, and that others do not reach.

mod peers;
mod rotation;
