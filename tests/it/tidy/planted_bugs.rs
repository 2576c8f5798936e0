//! The bugs that `scripts/planted-bugs` plants can still be planted.

use std::process::Command;

#[test]
fn every_planted_bug_still_fits_its_file() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/planted-bugs");
    let checked = Command::new("python3").args([script, "--check"]).output();
    let checked = checked.unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}
