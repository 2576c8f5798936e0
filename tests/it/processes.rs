//! The real binary, as a user runs it: whole clusters on this machine, killed and started again.

mod demo;
mod kill;
mod spine;
