//! What the plugin prints.

use std::io::{ErrorKind, IsTerminal, Write};

use serde_json::Value;

use crate::plugin::Error;

/// Clears the screen of a terminal and begins at its top.
const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Prints a text, whole.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// A value as JSON that a person can read too.
pub(super) fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Prints a text in the place of the one before: on a terminal over it, else below a line.
pub(super) fn redraw(text: &str, is_first: bool) -> Result<(), Error> {
    if std::io::stdout().is_terminal() {
        return print(&format!("{CLEAR}{text}"));
    }
    if is_first {
        print(text)
    } else {
        print(&format!("\n---\n{text}"))
    }
}

/// Whether nobody reads the output any more, as when it goes to `head`.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.is_closed_pipe();
    }
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
