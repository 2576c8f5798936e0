//! The real binary, as a user runs it: whole clusters on this machine, killed and started again.
#![expect(
    clippy::disallowed_methods,
    reason = "who runs only the binary has neither the clock nor the tasks of the library"
)]

mod bounded;
mod building;
mod demo;
mod dev;
mod durability;
mod failover;
mod hung_worker;
mod kill;
mod live_recall;
mod lost_records;
mod obeyed;
mod spine;
