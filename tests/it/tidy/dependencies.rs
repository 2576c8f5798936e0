//! What the project builds on: licences that it may use, no banned crate, and one version of each
//! unless `deny.toml` says why not.
//!
//! `deny.toml` is the list, in the form that cargo-deny reads; this test holds the tree against it
//! without the network and without building cargo-deny. It reads the tree of this platform.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::{none, read, root};

/// A package of the tree.
struct Package {
    name: String,
    version: String,
    license: String,
}

/// What `deny.toml` says.
struct Rules {
    licenses: Vec<String>,
    banned: Vec<String>,
    /// `name@version` and why there is a second version.
    skipped: Vec<(String, String)>,
}

impl Rules {
    /// Reads the lists that this test needs; the file is written one entry a line.
    fn read(text: &str) -> Self {
        let entries = |list: &str| -> Vec<&str> {
            let start = format!("{list} = [");
            let from_list = text.lines().skip_while(|line| *line != start).skip(1);
            let inside = from_list.take_while(|line| *line != "]");
            inside
                .map(str::trim)
                .filter(|line| !line.starts_with('#'))
                .collect()
        };
        let quoted = |line: &str, at: usize| line.split('"').nth(at).unwrap_or_default().to_owned();
        Self {
            licenses: entries("allow")
                .iter()
                .map(|line| quoted(line, 1))
                .collect(),
            banned: entries("deny").iter().map(|line| quoted(line, 1)).collect(),
            skipped: entries("skip")
                .iter()
                .map(|line| (quoted(line, 1), quoted(line, 3)))
                .collect(),
        }
    }

    fn allow(&self, license: &str) -> bool {
        let license = license.replace('/', " OR ");
        let words = license.replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = words.split_whitespace().collect();
        let mut left = words.as_slice();
        let allowed = self.any(&mut left);
        allowed && left.is_empty()
    }

    /// `A OR B`: one must do.
    fn any(&self, left: &mut &[&str]) -> bool {
        let mut allowed = self.all(left);
        while let ["OR", rest @ ..] = *left {
            *left = rest;
            allowed |= self.all(left);
        }
        allowed
    }

    /// `A AND B`: each must do.
    fn all(&self, left: &mut &[&str]) -> bool {
        let mut allowed = self.one(left);
        while let ["AND", rest @ ..] = *left {
            *left = rest;
            allowed &= self.one(left);
        }
        allowed
    }

    fn one(&self, left: &mut &[&str]) -> bool {
        let allows = |name: &str| self.licenses.iter().any(|allowed| allowed == name);
        match *left {
            ["(", rest @ ..] => {
                *left = rest;
                let allowed = self.any(left);
                *left = left.strip_prefix(&[")"]).unwrap_or_default();
                allowed
            },
            [name, "WITH", exception, rest @ ..] => {
                *left = rest;
                allows(&format!("{name} WITH {exception}"))
            },
            [name, rest @ ..] => {
                *left = rest;
                allows(name)
            },
            [] => false,
        }
    }
}

fn tree() -> Vec<Package> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let said = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", &platform])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    let text = |package: &Value, name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let packages = said["packages"].as_array().unwrap().iter();
    packages
        .map(|package| Package {
            name: text(package, "name"),
            version: text(package, "version"),
            license: text(package, "license"),
        })
        .collect()
}

/// Everything in the tree that the rules do not have.
fn offences(tree: &[Package], rules: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    for Package {
        name,
        version,
        license,
    } in tree
    {
        if !rules.allow(license) {
            found.push(format!(
                "{name} {version}: licence {license:?} is not allowed"
            ));
        }
        if rules.banned.contains(name) {
            found.push(format!("{name} {version}: banned"));
        }
    }
    found.extend(version_offences(tree, rules));
    found
}

/// Second versions that nobody explains, and explanations of what is there no more.
fn version_offences(tree: &[Package], rules: &Rules) -> Vec<String> {
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in tree {
        by_name
            .entry(&package.name)
            .or_default()
            .push(&package.version);
    }
    let mut found = Vec::new();
    let twice = |name: &str| by_name.get(name).is_some_and(|versions| versions.len() > 1);
    for (name, versions) in by_name.iter().filter(|(name, _versions)| twice(name)) {
        let explained = |version: &&&str| {
            let listed = format!("{name}@{version}");
            rules
                .skipped
                .iter()
                .any(|(skip, why)| *skip == listed && !why.is_empty())
        };
        if versions.iter().filter(explained).count() + 1 < versions.len() {
            found.push(format!(
                "{name}: {versions:?}, not all but one explained in deny.toml"
            ));
        }
    }
    for (skip, _why) in &rules.skipped {
        let (name, version) = skip.split_once('@').unwrap_or((skip, ""));
        let there = by_name
            .get(name)
            .is_some_and(|versions| versions.contains(&version));
        if !there || !twice(name) {
            found.push(format!(
                "{skip}: explained in deny.toml, but it is not there twice"
            ));
        }
    }
    found
}

#[test]
fn the_tree_is_what_deny_toml_allows() {
    let rules = Rules::read(&read(&root().join("deny.toml")).text);
    assert!(
        rules.licenses.len() > 5 && rules.banned.len() > 2,
        "deny.toml could not be read"
    );
    none(
        offences(&tree(), &rules),
        "deny.toml says what may be in the tree",
    );
}

#[test]
fn what_is_not_allowed_is_found() {
    let rules = "allow = [\n    \"MIT\",\n    \"Zlib\",\n    \"A WITH B\",\n]\n\
        deny = [\n    { crate = \"openssl\" },\n]\n\
        skip = [\n    { crate = \"syn@1.0.0\", reason = \"until x moves\" },\n]\n";
    let rules = Rules::read(rules);
    let check = |packages: &[(&str, &str, &str)], expected: &[&str]| {
        let package = |(name, version, license): &(&str, &str, &str)| Package {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            license: (*license).to_owned(),
        };
        let tree: Vec<Package> = packages.iter().map(package).collect();
        assert_eq!(offences(&tree, &rules), expected);
    };
    let one = ("syn", "1.0.0", "MIT");
    let two = ("syn", "2.0.0", "A WITH B OR GPL-3.0");
    check(&[one, two], &[]);
    check(&[one, two, ("a", "1.0.0", "(MIT OR X) AND Zlib")], &[]);
    let not_both = ("a", "1.0.0", "MIT AND GPL-3.0");
    check(
        &[one, two, not_both],
        &["a 1.0.0: licence \"MIT AND GPL-3.0\" is not allowed"],
    );
    let silent = ("a", "1.0.0", "");
    check(
        &[one, two, silent],
        &["a 1.0.0: licence \"\" is not allowed"],
    );
    check(
        &[one, two, ("openssl", "1.0.0", "MIT")],
        &["openssl 1.0.0: banned"],
    );
    check(
        &[one, two, ("syn", "3.0.0", "MIT")],
        &["syn: [\"1.0.0\", \"2.0.0\", \"3.0.0\"], not all but one explained in deny.toml"],
    );
    check(
        &[two],
        &["syn@1.0.0: explained in deny.toml, but it is not there twice"],
    );
}
