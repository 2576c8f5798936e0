//! How calls to others are tried again. Pure: what to wait for is decided here, waited for elsewhere.

pub mod backoff;
