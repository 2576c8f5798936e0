//! Every file begins by saying what it is for, and every top-level module says more than a line.

use super::{files, none};

/// Characters of a file's own page: less than this is its name said again.
const FILE_CHARS_MIN: usize = 20;
/// Characters of the page of a top-level module, which is to say why it is as it is.
const MODULE_CHARS_MIN: usize = 120;

fn offence(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    let chars: usize = lines.map(|line| line.trim().chars().count()).sum();
    let is_module = path.matches('/').count() == 1 && path != "src/main.rs";
    let min = if is_module {
        MODULE_CHARS_MIN
    } else {
        FILE_CHARS_MIN
    };
    (chars < min).then(|| format!("{path}: its page (//!) has {chars} characters, below {min}"))
}

#[test]
fn every_file_says_what_it_is_for() {
    let found = files("src", "rs");
    let found = found
        .iter()
        .filter_map(|file| offence(&file.path, &file.text));
    none(
        found.collect(),
        "a file begins with a page that says what it does and why",
    );
}

#[test]
fn a_file_without_a_page_is_found() {
    let short = "//! Keeps leases of others.\n\nuse std::fmt;\n";
    assert_eq!(offence("src/a/b.rs", short), None);
    assert!(
        offence("src/a.rs", short).is_some(),
        "too short for a module"
    );
    assert!(offence("src/a/b.rs", "// Keeps the leases of others.\n").is_some());
    assert!(offence("src/a/b.rs", "//! (to come)\n").is_some());
    assert!(offence("src/a/b.rs", "").is_some());
}
