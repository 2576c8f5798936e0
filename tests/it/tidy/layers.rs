//! Each module uses its own words and lower layers only, and each library has its place.
//!
//! The table below is the rule; `ARCHITECTURE.md` explains it. Paths are read from the source
//! ([`super::source`]), so `use` groups, inline paths and `super::super::` are all seen.

use super::source::{Spelled, paths, tokens};
use super::{files, none, read, root};

/// A top-level module: its layer, and what it may use of its own layer.
struct Module {
    name: &'static str,
    layer: u8,
    beside: &'static [&'static str],
}

/// What a layer may use of others: the layers from the lowest to this one, excluded.
const MODULES: &[Module] = &[
    words("clock", &[]),
    words("entropy", &[]),
    words("fault", &[]),
    words("ids", &["limits"]),
    words("limits", &[]),
    words("vector", &["fault", "limits"]),
    words("rows", &["vector"]),
    words("query", &["fault", "ids", "limits", "vector"]),
    words("crd", &["ids", "limits", "vector"]),
    module("process", 1, &[]),
    module("settings", 1, &[]),
    module("tasks", 1, &[]),
    module("telemetry", 1, &["settings"]),
    module("placement", 2, &[]),
    module("resilience", 2, &[]),
    module("topology", 2, &[]),
    module("security", 3, &[]),
    module("coordination", 4, &[]),
    module("embedded_etcd", 4, &[]),
    module("index", 4, &[]),
    module("probes", 4, &[]),
    module("rpc", 4, &[]),
    module("store", 4, &[]),
    module("router", 5, &[]),
    module("dev", 6, &[]),
    module("gateway", 6, &[]),
    module("master", 6, &[]),
    module("operator", 6, &[]),
    module("plugin", 6, &[]),
    module("worker", 6, &[]),
    module("cli", 7, &[]),
];

/// What only some modules may use, though the layers would let more of them.
const RESERVED: &[(&str, &[&str])] = &[
    ("crate::embedded_etcd", &["dev"]),
    ("crate::index", &["worker"]),
    ("crate::store", &["worker", "cli"]),
    ("arroy", &["index"]),
    ("etcd_client", &["coordination", "embedded_etcd"]),
    ("heed", &["store", "index"]),
    ("kube", &["crd", "operator", "plugin"]),
    ("rcgen", &["operator"]),
    ("prost", &["rpc", "embedded_etcd"]),
    ("tonic_prost", &["rpc"]),
    ("clap", &["cli", "settings"]),
    ("anyhow", &["cli"]),
];

/// What a layer must not touch: the first layers only name things, and the second only decides.
const ABSENT: &[(u8, &[&str])] = &[
    (
        0,
        &["axum", "tonic", "hyper", "fs_err", "std::fs", "std::net"],
    ),
    (0, &["std::process", "std::thread", "tokio"]),
    (
        2,
        &["axum", "tonic", "hyper", "fs_err", "std::fs", "std::net"],
    ),
    (2, &["std::process", "std::thread", "std::env", "tokio"]),
    (2, &["std::time::Instant", "std::time::SystemTime"]),
];

/// A file and what it may use in spite of [`ABSENT`].
const EXCEPTIONS: &[(&str, &str)] = &[
    // Reading the clock is its work.
    ("src/clock.rs", "tokio"),
];

const fn words(name: &'static str, beside: &'static [&'static str]) -> Module {
    module(name, 0, beside)
}

const fn module(name: &'static str, layer: u8, beside: &'static [&'static str]) -> Module {
    Module {
        name,
        layer,
        beside,
    }
}

fn known(name: &str) -> Option<&'static Module> {
    MODULES.iter().find(|module| module.name == name)
}

/// The top-level module that a file of `src` belongs to.
fn module_of(path: &str) -> Option<&str> {
    let below = path.strip_prefix("src/")?;
    let first = below.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

/// What is wrong with the paths of one file.
fn offences(path: &str, source: &str) -> Vec<String> {
    let Some(here) = module_of(path).and_then(known) else {
        return vec![format!("{path}: its module is not in the table of layers")];
    };
    let spelled = paths(path, &tokens(source));
    let mut found = Vec::new();
    for used in &spelled {
        let reason = layer_fault(here, used)
            .or_else(|| reserved_fault(here, used))
            .or_else(|| absence_fault(here, path, used));
        if let Some(reason) = reason {
            found.push(format!("{path}:{}: {reason}", used.line));
        }
    }
    found.dedup();
    found
}

fn layer_fault(here: &Module, used: &Spelled) -> Option<String> {
    let [first, name, ..] = used.parts.as_slice() else {
        return None;
    };
    if first != "crate" || name == here.name {
        return None;
    }
    let Some(there) = known(name) else {
        return Some(format!("`crate::{name}` is not in the table of layers"));
    };
    let allowed = there.layer < here.layer || here.beside.contains(&there.name);
    (!allowed).then(|| {
        let (from, to) = (here.layer, there.layer);
        format!("{} (layer {from}) uses {name} (layer {to})", here.name)
    })
}

fn reserved_fault(here: &Module, used: &Spelled) -> Option<String> {
    let (what, may) = RESERVED
        .iter()
        .find(|(what, _may)| used.starts_with(what))?;
    let own = what.strip_prefix("crate::") == Some(here.name);
    (!own && !may.contains(&here.name)).then(|| format!("only {} may use {what}", may.join(", ")))
}

fn absence_fault(here: &Module, path: &str, used: &Spelled) -> Option<String> {
    let of_layer = ABSENT.iter().filter(|(layer, _what)| *layer == here.layer);
    let mut absent = of_layer.flat_map(|(_layer, what)| what.iter());
    let what = absent.find(|what| used.starts_with(what))?;
    let excepted = EXCEPTIONS.contains(&(path, *what));
    (!excepted).then(|| format!("layer {} has no {what}", here.layer))
}

#[test]
fn modules_use_lower_layers_only() {
    let sources = files("src", "rs");
    let is_module = |path: &str| !matches!(path, "src/lib.rs" | "src/main.rs");
    let checked = sources.iter().filter(|file| is_module(&file.path));
    let found = checked.flat_map(|file| offences(&file.path, &file.text));
    none(
        found.collect(),
        "a module uses its own layer's words and lower layers",
    );
}

#[test]
fn the_table_names_each_module_once_and_no_other() {
    let source = read(&root().join("src/lib.rs")).text;
    let lines = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    let mut declared: Vec<&str> = lines.map(|name| name.trim_end_matches(';')).collect();
    let mut table: Vec<&str> = MODULES.iter().map(|module| module.name).collect();
    declared.sort_unstable();
    table.sort_unstable();
    assert_eq!(declared, table, "src/lib.rs and the table of layers differ");
}

#[test]
fn offenders_are_found() {
    let check = |path: &str, source: &str, expected: &[&str]| {
        assert_eq!(offences(path, source), expected, "{path}: {source}");
    };
    check(
        "src/store.rs",
        "use crate::ids::ShardId;\nuse heed::Env;",
        &[],
    );
    check("src/store/log.rs", "use crate::store::environment;", &[]);
    check(
        "src/ids.rs",
        "use std::fmt;\nuse crate::{limits, store::Options};",
        &["src/ids.rs:2: ids (layer 0) uses store (layer 4)"],
    );
    check(
        "src/store.rs",
        "fn f() -> crate::index::Error { todo() }",
        &["src/store.rs:1: store (layer 4) uses index (layer 4)"],
    );
    check(
        "src/gateway/rest.rs",
        "use super::super::worker::Host;",
        &["src/gateway/rest.rs:1: gateway (layer 6) uses worker (layer 6)"],
    );
    check(
        "src/master.rs",
        "use crate::store::Options;",
        &["src/master.rs:1: only worker, cli may use crate::store"],
    );
    check(
        "src/gateway.rs",
        "fn f(error: etcd_client::Error) {}",
        &["src/gateway.rs:1: only coordination, embedded_etcd may use etcd_client"],
    );
    check(
        "src/placement/plan.rs",
        "\nuse std::{collections::BTreeMap, fs};",
        &["src/placement/plan.rs:2: layer 2 has no std::fs"],
    );
    check(
        "src/new_one.rs",
        "",
        &["src/new_one.rs: its module is not in the table of layers"],
    );
    check("src/clock.rs", "use tokio::time::Instant;", &[]);
}
