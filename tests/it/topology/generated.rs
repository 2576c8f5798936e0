//! The committed definition is the one that the binary prints, and small enough to be installed.

use std::path::Path;

use vectorsphere::crd;

/// Helm keeps a release in a Secret and `kubectl apply` the object in an annotation: both have room
/// for little more than this.
const DEFINITION_BYTES_MAX: usize = 150_000;

#[test]
fn the_committed_definition_is_what_crdgen_prints() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(crd::FILE);
    let made = crd::yaml();
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs_err::write(&path, &made).unwrap();
    }
    let committed = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{} differs from the types in src/crd; run the tests once with UPDATE_GENERATED=1",
        crd::FILE
    );
}

#[test]
fn the_definition_fits_into_what_stores_it() {
    let yaml = crd::yaml().len();
    let json = serde_json::to_vec(crd::definition()).unwrap().len();
    assert!(yaml < DEFINITION_BYTES_MAX, "{yaml} bytes of YAML");
    assert!(json < DEFINITION_BYTES_MAX, "{json} bytes of JSON");
}

#[test]
fn the_text_says_the_same_as_the_definition() {
    let read: serde_json::Value = serde_yaml_ng::from_str(&crd::yaml()).unwrap();
    assert_eq!(&read, crd::definition());
}
