//! The operator's real process on a double of Kubernetes: what crashes, old states and numbers do to it.

mod applications;
mod canonical;
mod contract;
mod crashes;
mod creation;
mod differential;
pub(crate) mod double;
mod growth;
mod outcome;
mod process;
mod refused;
mod rest;
mod rights;
mod safety;
mod scenarios;
mod scene;
mod specs;
mod storms;
mod unseen;
