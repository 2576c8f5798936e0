//! How much to try again, and for how long: pure arithmetic that the edges act on.
//!
//! Nothing here waits, asks the time or draws a random number; both come in as arguments, so that a
//! decision can be repeated in a test. Retry budgets, breakers and load limits have their place here
//! too and are not built yet.

pub mod backoff;
pub mod deadline;

pub use backoff::Backoff;
pub use deadline::Deadline;
