//! (to come)

mod core;
