//! How processes agree: the core against real and embedded etcds.

mod core;
