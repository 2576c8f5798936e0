//! The demonstration, with the real qdrant-client.

use std::path::PathBuf;
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

#[tokio::test]
async fn the_demonstration_finds_sensible_neighbours() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let run = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/semantic_search.py"
        ))
        .args(["--url", &cluster.url, "--questions", "20"])
        .output()
        .unwrap();
    let (said, complained) = (
        String::from_utf8(run.stdout).unwrap(),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{said}\n{complained}");
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
