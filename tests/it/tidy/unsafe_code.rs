//! `unsafe` stands in a few files, where memory is mapped or vectors are computed on.

use super::source::{Placed, tokens};
use super::{files, none};

const FILES: [&str; 6] = [
    "src/index/graph/kernels.rs",
    "src/index/graph/kernels/x86.rs",
    "src/index/mapped.rs",
    "src/index/simd.rs",
    "src/store/environment.rs",
    "src/store/snapshot.rs",
];

fn offences(path: &str, source: &str) -> Vec<String> {
    if FILES.contains(&path) {
        return Vec::new();
    }
    let tokens = tokens(source);
    let found = tokens
        .iter()
        .filter(|placed| placed.word() == Some("unsafe"));
    let told = found.map(|Placed { line, .. }| format!("{path}:{line}: unsafe"));
    told.collect()
}

#[test]
fn unsafe_stays_where_it_belongs() {
    let found = ["src", "tests"].map(|folder| files(folder, "rs"));
    let found = found
        .iter()
        .flatten()
        .flat_map(|file| offences(&file.path, &file.text));
    none(
        found.collect(),
        "unsafe stands only in the files of the list",
    );
}

#[test]
fn the_list_names_no_file_that_needs_none() {
    let sources = files("src", "rs");
    for path in FILES {
        let file = sources.iter().find(|file| file.path == path);
        let tokens = file.map(|file| tokens(&file.text)).unwrap_or_default();
        let uses = tokens.iter().any(|placed| placed.word() == Some("unsafe"));
        assert!(uses, "{path} has no unsafe: take it off the list");
    }
}

#[test]
fn unsafe_elsewhere_is_found() {
    let source = "// unsafe\nlet x = \"unsafe\";\nunsafe { f() }";
    assert_eq!(offences("src/a.rs", source), ["src/a.rs:3: unsafe"]);
    assert!(offences("src/index/simd.rs", source).is_empty());
}
