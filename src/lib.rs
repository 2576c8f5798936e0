//! VectorSphere: a distributed vector search system and what runs it.
//!
//! One crate, one binary. Modules stand in reading order, by layer; a module uses its own layer's
//! words and lower layers only (`tests/it/tidy/layers.rs` checks it). `ARCHITECTURE.md` is the map.

#![cfg_attr(
    test,
    expect(clippy::as_conversions, reason = "numbers of tests are small")
)]

// Layer 0: words. No I/O, no async runtime.
pub mod clock;
pub mod crd;
pub mod entropy;
pub mod fault;
pub mod ids;
pub mod limits;
pub mod query;
pub mod rows;
pub mod vector;

// Layer 1: plumbing.
pub mod process;
pub mod settings;
pub mod tasks;
pub mod telemetry;

// Layer 2: decides, never does.
pub mod placement;
pub mod resilience;
pub mod topology;

// Layer 3: trust.
pub mod security;

// Layer 4: the outside world.
pub mod coordination;
pub mod embedded_etcd;
pub mod index;
pub mod probes;
pub mod rpc;
pub mod store;

// Layer 5: the router, shared by gateway and master.
pub mod router;

// Layer 6: processes.
pub mod dev;
pub mod gateway;
pub mod master;
pub mod operator;
pub mod plugin;
pub mod worker;

// Layer 7: the command line.
pub mod cli;
