//! The logs of children: each in its file, bounded, and what is urgent on the terminal too.
//!
//! A child's standard error comes here through a pipe, so that the file can be turned over while the
//! child writes. Warnings, errors, and lines that are no log lines at all (a panic before the log
//! starts, the allocator's last words) are passed to the terminal with the component's name. A disk
//! that takes no more logs stops no child: it is said once.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::settings::LogFormat;

/// Bytes of one file; a component has two: the current one and the one before.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Bytes of a line that is looked at; the rest of a longer one only goes to the file.
const LINE_BYTES_MAX: usize = 16 * 1024;
const CHUNK_BYTES: usize = 8 * 1024;

/// Copies a child's output until it ends.
pub(super) async fn copy(
    output: impl AsyncRead + Unpin,
    component: String,
    file: PathBuf,
    format: LogFormat,
) {
    let mut terminal = |line: &[u8]| {
        if let Some(line) = urgent(line, &component, format) {
            // Nobody reads the terminal any more: the file has the line.
            drop(io::stderr().write_all(&line));
        }
    };
    copy_to(output, RotatedFile::open(file), &mut terminal).await;
}

async fn copy_to(
    mut output: impl AsyncRead + Unpin,
    mut file: RotatedFile,
    on_line: &mut impl FnMut(&[u8]),
) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut line = Vec::new();
    loop {
        let len = match output.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(len) => len,
        };
        let bytes = chunk.get(..len).unwrap_or_default();
        file.write(bytes);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE_BYTES_MAX.saturating_sub(line.len());
            let (text, is_whole) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            line.extend_from_slice(text.get(..room).unwrap_or(text));
            if is_whole {
                on_line(&line);
                line.clear();
            }
        }
    }
    if !line.is_empty() {
        on_line(&line);
    }
}

/// The line as the terminal shows it, if it is one that somebody should see now.
fn urgent(line: &[u8], component: &str, format: LogFormat) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(line);
    let is_quiet = |level: &str| matches!(level, "INFO" | "DEBUG" | "TRACE");
    let mut shown = match format {
        LogFormat::Text => {
            let level = text.split_whitespace().nth(1);
            if text.trim().is_empty() || level.is_some_and(is_quiet) {
                return None;
            }
            format!("{component}: {text}")
        },
        LogFormat::Json => match serde_json::from_str(&text) {
            Ok(Value::Object(mut event)) => {
                let level = event.get("level").and_then(Value::as_str);
                if level.is_some_and(is_quiet) {
                    return None;
                }
                event.insert("component".to_owned(), component.into());
                Value::Object(event).to_string()
            },
            _ if text.trim().is_empty() => return None,
            _ => serde_json::json!({"level": "ERROR", "component": component, "message": text})
                .to_string(),
        },
    };
    shown.push('\n');
    Some(shown.into_bytes())
}

/// A file that starts anew when it is full; the full one is kept until the next is.
struct RotatedFile {
    path: PathBuf,
    file: Option<fs::File>,
    len: u64,
    bytes_max: u64,
}

impl RotatedFile {
    fn open(path: PathBuf) -> Self {
        let mut rotated = Self {
            file: None,
            len: 0,
            bytes_max: FILE_BYTES_MAX,
            path,
        };
        rotated.reopen();
        rotated
    }

    /// Small writes into the page cache: they do not keep the runtime from its other tasks.
    fn write(&mut self, bytes: &[u8]) {
        if self.len >= self.bytes_max {
            self.file = None;
            self.turn_over();
            self.reopen();
        }
        let Some(file) = &mut self.file else {
            return;
        };
        match file.write_all(bytes) {
            Ok(()) => {
                self.len = self
                    .len
                    .saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
            },
            Err(error) => self.give_up(&error),
        }
    }

    fn turn_over(&mut self) {
        if let Err(error) = fs::rename(&self.path, before(&self.path)) {
            self.give_up(&error);
        }
    }

    fn reopen(&mut self) {
        let opened = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path);
        match opened.and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((len, file)) => {
                self.len = len;
                self.file = Some(file);
            },
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        self.file = None;
        tracing::error!(%error, "a component's log goes nowhere until the component starts again");
    }
}

/// Where the full file goes.
fn before(path: &Path) -> PathBuf {
    path.with_extension("1.log")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, format: LogFormat) -> Option<String> {
        urgent(line.as_bytes(), "w-0", format).map(|line| String::from_utf8(line).unwrap())
    }

    #[test]
    fn only_what_is_urgent_is_shown() {
        let text = |line| shown(line, LogFormat::Text);
        assert_eq!(text("2025-11-25T21:00:00Z  INFO vectorsphere: up"), None);
        assert_eq!(text(""), None);
        let warning = "2025-11-25T21:00:00Z  WARN vectorsphere: slow";
        assert_eq!(text(warning), Some(format!("w-0: {warning}\n")));
        assert_eq!(
            text("out of memory"),
            Some("w-0: out of memory\n".to_owned())
        );
        let json = |line| shown(line, LogFormat::Json);
        assert_eq!(json(r#"{"level":"DEBUG","message":"x"}"#), None);
        let warning = json(r#"{"level":"WARN","message":"x"}"#).unwrap();
        assert_eq!(
            warning,
            "{\"component\":\"w-0\",\"level\":\"WARN\",\"message\":\"x\"}\n"
        );
        let other = json("out of memory").unwrap();
        assert!(other.contains("\"component\":\"w-0\"") && other.contains("out of memory"));
    }

    #[tokio::test]
    async fn files_are_bounded_and_lines_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w-0.log");
        let mut file = RotatedFile::open(path.clone());
        file.bytes_max = 50_000;
        let mut output = String::new();
        for number in 0..20_000 {
            output.push_str(&format!("line {number}\n"));
        }
        output.push_str(&"x".repeat(LINE_BYTES_MAX + CHUNK_BYTES * 3));
        let mut lines = Vec::new();
        copy_to(output.as_bytes(), file, &mut |line: &[u8]| {
            lines.push(line.to_vec());
        })
        .await;
        assert_eq!(lines.len(), 20_001);
        assert_eq!(lines[12_345], b"line 12345");
        assert_eq!(lines[20_000].len(), LINE_BYTES_MAX);
        let len = |path: &Path| fs::metadata(path).unwrap().len();
        let most = 50_000 + u64::try_from(CHUNK_BYTES).unwrap();
        assert!(len(&path) <= most && len(&before(&path)) <= most);
        let kept = fs::read_to_string(before(&path)).unwrap() + &fs::read_to_string(&path).unwrap();
        assert!(output.ends_with(&kept) && kept.len() > 50_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_log_goes_on_where_the_last_run_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w-0.log");
        for text in ["first\n", "second\n"] {
            RotatedFile::open(path.clone()).write(text.as_bytes());
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "first\nsecond\n");
    }
}
