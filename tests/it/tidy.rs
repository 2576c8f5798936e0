//! The rules of `ARCHITECTURE.md` and `STYLE.md` that a program can check, checked.
//!
//! Each rule is a function that takes text and returns offences, so that each has a test on a
//! planted offender beside the test over the real files: a rule that cannot fail proves nothing.
//! MUST NOT start processes other than `cargo metadata` and a check of the project's own, and MUST NOT
//! touch the network.

mod dependencies;
mod documents;
mod file_sizes;
mod keys;
mod layers;
mod log_style;
mod module_docs;
mod planted_bugs;
mod source;
mod unsafe_code;

use std::path::{Path, PathBuf};

/// One file of the project.
struct File {
    /// Its path from the project's root, with `/`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder of the project whose name ends in `.EXTENSION`, by path.
fn files(folder: &str, extension: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let entries = fs_err::read_dir(&folder).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                found.push(read(&path));
            }
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    assert!(!found.is_empty(), "no .{extension} below {folder}");
    found
}

fn read(path: &Path) -> File {
    let below: PathBuf = path.strip_prefix(root()).unwrap().components().collect();
    File {
        path: below.to_str().unwrap().to_owned(),
        text: fs_err::read_to_string(path).unwrap(),
    }
}

/// Fails with every offence, one a line, if there are any.
fn none(offences: Vec<String>, rule: &str) {
    let count = offences.len();
    assert!(
        offences.is_empty(),
        "{rule}; {count} offences:\n  {}",
        offences.join("\n  ")
    );
}
