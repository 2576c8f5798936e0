//! A file is at most 500 lines: what is longer has two subjects. (Functions: clippy's
//! `too_many_lines`.)

use super::{files, none};

const LINES_MAX: usize = 500;

fn offence(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LINES_MAX).then(|| format!("{path}: {lines} lines"))
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let sources = ["src", "tests"].map(|folder| files(folder, "rs"));
    let found = sources
        .iter()
        .flatten()
        .filter_map(|file| offence(&file.path, &file.text));
    none(found.collect(), "a file has at most 500 lines");
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(offence("a.rs", &"\n".repeat(500)), None);
    let long = offence("a.rs", &"\n".repeat(501));
    assert_eq!(long.as_deref(), Some("a.rs: 501 lines"));
}
