//! The demonstration, with the real qdrant-client.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::local_cluster::LocalCluster;
use crate::support::skip::skip;

fn python() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("VECTORSPHERE_TEST_PYTHON") {
        return Some(path.into());
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/demo-env");
    let made = Command::new(script).output().unwrap();
    if made.status.success() {
        return Some(String::from_utf8(made.stdout).unwrap().trim().into());
    }
    skip(String::from_utf8_lossy(&made.stderr).trim());
    None
}

/// What the demonstration prints.
fn show(python: &Path, cluster: &LocalCluster, more: &[&str]) -> String {
    let run = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/semantic_search.py"
        ))
        .args(["--url", &cluster.url, "--questions", "20"])
        .args(more)
        .output()
        .unwrap();
    let (said, complained) = (
        String::from_utf8(run.stdout).unwrap(),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{said}\n{complained}");
    said
}

/// The lines of each question.
fn is_sensible(said: &str) {
    let first = |question: &str| {
        let mut lines = said.lines().skip_while(|line| *line != question).skip(1);
        lines
            .next()
            .unwrap_or_else(|| panic!("{question:?} is not in:\n{said}"))
            .to_owned()
    };
    assert!(
        first("keep passwords safe").contains("passwordsafe"),
        "{said}"
    );
    assert!(
        first("compare two files line by line").contains("diffutils"),
        "{said}"
    );
}

#[tokio::test]
async fn the_demonstration_finds_sensible_neighbours_and_the_same_after_everything_was_killed() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let before = show(&python, &cluster, &[]);
    assert!(before.contains("5000 points in"), "{before}");
    is_sensible(&before);
    cluster.kill_everything();
    let cluster = LocalCluster::start(folder.path(), None);
    let after = show(&python, &cluster, &["--keep"]);
    assert!(!after.contains("points in"), "uploaded again: {after}");
    is_sensible(&after);
}
