//! The committed definitions are the ones that the binary prints, small enough to be installed, and
//! the page about them is made from the same types.

use std::path::Path;

use serde_json::Value;
use vectorsphere::crd::{self, Kind};

use super::reference;

mod charts;

/// Helm keeps a release in a Secret and `kubectl apply` the object in an annotation: both have room
/// for little more than this.
const DEFINITION_BYTES_MAX: usize = 150_000;

/// Compares a committed file with what it is made from, or writes it anew when that is asked for.
fn is_fresh(file: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs_err::write(&path, made).unwrap();
    }
    let committed = fs_err::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{file} differs from the types in src/crd; run `make gen`"
    );
}

#[test]
fn the_committed_definitions_are_what_crdgen_prints() {
    for kind in Kind::ALL {
        is_fresh(kind.file(), &crd::yaml(kind));
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let mut names: Vec<String> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| format!("crds/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    let mut expected = Kind::ALL.map(Kind::file);
    names.sort();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[test]
fn the_page_about_the_kinds_is_fresh() {
    is_fresh("docs/crds.md", &reference::page());
}

#[test]
fn each_definition_fits_into_what_stores_it() {
    for kind in Kind::ALL {
        let yaml = crd::yaml(kind).len();
        let json = serde_json::to_vec(crd::definition(kind)).unwrap().len();
        println!("{}: {yaml} bytes of YAML, {json} of JSON", kind.name());
        assert!(yaml < DEFINITION_BYTES_MAX, "{yaml} bytes of YAML");
        assert!(json < DEFINITION_BYTES_MAX, "{json} bytes of JSON");
    }
}

#[test]
fn each_text_says_the_same_as_its_definition() {
    for kind in Kind::ALL {
        let read: Value = serde_yaml_ng::from_str(&crd::yaml(kind)).unwrap();
        let definition = crd::definition(kind);
        assert_eq!(&read, definition);
        assert_eq!(definition["spec"]["names"]["kind"], kind.name());
        assert_eq!(definition["spec"]["group"], crd::GROUP);
        assert_eq!(definition["spec"]["versions"][0]["name"], crd::VERSION);
        let plural = definition["spec"]["names"]["plural"].as_str().unwrap();
        assert_eq!(kind.file(), format!("crds/{plural}.yaml"));
    }
}

/// What `kubectl explain` prints of a field is its own text.
#[test]
fn every_field_says_what_it_is() {
    fn walk(schema: &Value, place: &str, mute: &mut Vec<String>) {
        let properties = schema["properties"].as_object();
        for (name, property) in properties.into_iter().flatten() {
            let place = format!("{place}.{name}");
            if !property["description"].is_string() {
                mute.push(place.clone());
            }
            if !crd::KUBERNETES_FIELDS.contains(&name.as_str()) {
                walk(property, &place, mute);
            }
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{place}[]"), mute);
        }
    }
    for kind in Kind::ALL {
        let mut mute = Vec::new();
        for part in ["spec", "status"] {
            walk(&crd::schema(kind)["properties"][part], part, &mut mute);
        }
        assert_eq!(mute, Vec::<String>::new(), "{}", kind.name());
    }
}
