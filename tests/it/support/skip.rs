//! Tests that need what cannot be had here say so; in CI that is a failure.

/// Reports a skipped test with its reason.
pub(crate) fn skip(reason: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "skipped, which CI does not allow: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
}

/// Whether the long suites run.
pub(crate) fn long() -> bool {
    std::env::var_os("VECTORSPHERE_TEST_LONG").is_some()
}
