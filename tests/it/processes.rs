//! The real binary, as a user runs it: whole clusters on this machine, killed and started again.

mod demo;
mod dev;
mod durability;
mod failover;
mod kill;
mod spine;
