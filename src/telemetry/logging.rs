//! The log: to standard error, as text for people or as JSON for machines.

use std::io::{IsTerminal, stderr};
use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::settings::{LogFormat, Logging};

/// Starts to log, for the rest of the process. A panic is logged too, in the same shape. Does
/// nothing when the process logs already.
pub fn start_logging(settings: &Logging) {
    // The settings were checked: this only fails if a filter could no longer be read that could.
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt().with_env_filter(filter).with_writer(stderr);
    let started = match settings.format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_ansi(false).try_init(),
    };
    if started.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string);
    let thread = std::thread::current().name().map(str::to_owned);
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(message, location, thread, %backtrace, "a thread panicked");
}
