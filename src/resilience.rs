//! How calls to others are tried again. Pure: how long to wait is decided here, and the waiting is
//! done where the call is made.

pub mod backoff;
