//! The operator's real process on a double of Kubernetes: what crashes, old states and numbers do to it.

mod canonical;
mod contract;
mod crashes;
mod creation;
mod differential;
pub(crate) mod double;
mod outcome;
mod process;
mod rest;
mod rights;
mod scenarios;
mod scene;
mod specs;
mod storms;
mod unseen;
