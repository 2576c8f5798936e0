//! What a process says of itself while it runs: its log, and its metrics.
//!
//! A metric is a value of an enum that carries its labels ([`Count`], [`Level`], [`Timing`]), never a
//! text: what is counted, and by what, stands in one file, and labels cannot come from outside, so
//! the number of series is bounded. A component takes its handles once and counts with them at the
//! price of an atomic addition. What searches of a collection find has the collection's id for a label,
//! of which a worker has as many as shards.
//!
//! What it does not do: it sends nothing anywhere. The log goes to standard error; metrics are
//! rendered when somebody asks.

mod logging;
mod metric_names;
mod metrics;
mod process;
mod recall;

pub use logging::start_logging;
#[cfg(test)]
pub(crate) use metric_names::series;
pub use metric_names::{Count, Level, Outcome, Timing};
pub use metrics::{Counter, Gauge, Metrics, Stopwatch};
