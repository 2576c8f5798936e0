//! The public API at its edge: a real client, the real server and routes, and behind them a double
//! that remembers what reached it and answers what it is told to.
//!
//! The double says nothing about a cluster: what a cluster does is proven on real processes. Here it
//! proves which words arrive for which bodies, that what is refused reaches nobody, and how answers
//! are written.

mod answers;
mod depth;
mod double;
mod failures;
mod gate;
mod refusals;
mod requests;
mod server;
