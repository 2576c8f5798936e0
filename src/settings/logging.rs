//! How a process logs: which events, and as text or as JSON.

use tracing_subscriber::EnvFilter;

use super::check::{Faults, quoted};

/// The texts of [`Logging`].
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Logs")]
pub struct LoggingArgs {
    /// `text` for people, `json` for machines: one object a line. Always to standard error.
    #[arg(
        long,
        env = "VECTORSPHERE_LOG_FORMAT",
        default_value = "text",
        value_name = "text|json"
    )]
    pub log_format: String,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module, as
    /// in `info,vectorsphere::store=debug`.
    #[arg(
        long,
        env = "VECTORSPHERE_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log: String,
}

/// The shape of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people. Default: most processes are started by hand at first.
    Text,
    /// A JSON object a line.
    Json,
}

impl LogFormat {
    /// The word of the setting.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// How a process logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// The shape. Default text.
    pub format: LogFormat,
    /// Levels by module, checked. Default `info`: what changes, never each request.
    pub filter: String,
}

impl LoggingArgs {
    pub(super) fn check(self, faults: &mut Faults) -> Option<Logging> {
        let format = faults.keep("--log-format", format(&self.log_format));
        let filter = faults.keep("--log", filter(self.log));
        Some(Logging {
            format: format?,
            filter: filter?,
        })
    }
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "" | "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        other => Err(format!("{} is neither text nor json", quoted(other))),
    }
}

fn filter(text: String) -> Result<String, String> {
    if text.is_empty() {
        return Ok("info".to_owned());
    }
    match EnvFilter::try_new(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{} is not a filter: {error}", quoted(&text))),
    }
}
