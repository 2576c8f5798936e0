//! Keys of etcd are spelled in one file: what is spelled twice is one day spelled in two ways.

use std::collections::BTreeSet;

use super::source::{Placed, tokens};
use super::{files, none, read, root};

const KEYS: &str = "src/coordination/keys.rs";

/// The folders below a cluster's root, as the file of keys spells them: `svc/`, `shard/` ...
fn folders(source: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for text in tokens(source).iter().filter_map(Placed::text) {
        let below = text.strip_prefix("{}").unwrap_or_default();
        if let Some((folder, _rest)) = below.split_once('/')
            && !folder.is_empty()
        {
            found.insert(format!("{folder}/"));
        }
    }
    found
}

/// Texts that begin with a folder, or put one after a root.
fn offences(path: &str, source: &str, folders: &BTreeSet<String>) -> Vec<String> {
    let tokens = tokens(source);
    let texts = tokens
        .iter()
        .filter_map(|placed| Some((placed.text()?, placed.line)));
    let mut found = Vec::new();
    for (text, line) in texts {
        let below = text.strip_prefix("{}").unwrap_or(text);
        if folders
            .iter()
            .any(|folder| below.starts_with(folder.as_str()))
        {
            found.push(format!("{path}:{line}: {text:?}"));
        }
    }
    found
}

#[test]
fn keys_are_spelled_in_one_file() {
    let folders = folders(&read(&root().join(KEYS)).text);
    assert!(folders.len() >= 5, "too few to be true: {folders:?}");
    let sources = files("src", "rs");
    let others = sources.iter().filter(|file| file.path != KEYS);
    let found = others.flat_map(|file| offences(&file.path, &file.text, &folders));
    none(
        found.collect(),
        "keys of etcd are spelled in src/coordination/keys.rs",
    );
}

#[test]
fn a_key_elsewhere_is_found() {
    let folders = folders("format!(\"{}svc/{role}/\", self.root); format!(\"{}meta\", self.root)");
    assert_eq!(folders, BTreeSet::from(["svc/".to_owned()]));
    let source = "let a = \"svc-x\";\nlet b = \"svc/worker\";\nlet c = \"{}svc/{x}\";";
    let found = offences("src/a.rs", source, &folders);
    assert_eq!(
        found,
        ["src/a.rs:2: \"svc/worker\"", "src/a.rs:3: \"{}svc/{x}\""]
    );
}
