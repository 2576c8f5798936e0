//! What the documents say of the tree is true: their links lead somewhere, the files that they name
//! exist, the code map has every module, and the commands they show are targets of the Makefile.

use std::path::Path;

use super::{File, files, none, read, root};

fn documents() -> Vec<File> {
    let mut found = files("docs", "md");
    let entries = fs_err::read_dir(root()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    found.extend(
        paths
            .filter(|path| path.extension().is_some_and(|is| is == "md"))
            .map(|path| read(&path)),
    );
    found
}

/// Where the links of a text lead: the insides of `](...)`, without those to other machines. Between
/// backticks there are none.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split('`').step_by(2);
    let after = prose.flat_map(|part| part.split("](").skip(1));
    let targets = after.filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.starts_with('#'))
}

/// The paths of files and folders that a text names between backticks: `src/...` and the like.
fn named(text: &str) -> impl Iterator<Item = &str> {
    const TOPS: [&str; 7] = [
        "src/",
        "tests/",
        "scripts/",
        "docs/",
        "examples/",
        "proto/",
        ".ci/",
    ];
    let quoted = text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|inside| TOPS.iter().any(|top| inside.starts_with(top)));
    // With a pattern, a command's arguments or a place to be filled it is more than a path.
    paths.filter(|inside| !inside.contains(['*', ' ', '<', '{', '\n', 'N']))
}

/// The targets of `make` that a text tells to run.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let in_code = quoted.filter_map(|inside| inside.strip_prefix("make "));
    let in_blocks = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("make "));
    in_code
        .chain(in_blocks)
        .filter_map(|rest| rest.split([' ', '\n']).next())
}

/// Statements of one document about the tree that are not true.
fn offences(document: &File, exists: &dyn Fn(&Path) -> bool, make: &[&str]) -> Vec<String> {
    let (here, text) = (Path::new(&document.path), document.text.as_str());
    let folder = here.parent().unwrap();
    let told = |what: &str, name: &str| format!("{}: {what} {name}", document.path);
    let mut found = Vec::new();
    for link in links(text) {
        let path = link.split('#').next().unwrap_or_default();
        if !exists(&folder.join(path)) {
            found.push(told("links to", link));
        }
    }
    let absent = named(text).filter(|name| !exists(Path::new(name)));
    found.extend(absent.map(|name| told("names", name)));
    let unknown = targets(text).filter(|target| !make.contains(target));
    found.extend(unknown.map(|target| told("runs make", target)));
    found
}

#[test]
fn documents_tell_the_truth_about_the_tree() {
    let makefile = read(&root().join("Makefile")).text;
    let rules = makefile.lines().filter_map(|line| line.split_once(": "));
    let make: Vec<&str> = rules.map(|(target, _needs)| target).collect();
    let exists = |path: &Path| root().join(path).try_exists().unwrap();
    let documents = documents();
    let found = documents
        .iter()
        .flat_map(|document| offences(document, &exists, &make));
    none(found.collect(), "documents name what is there");
}

#[test]
fn the_code_map_has_every_module() {
    let map = read(&root().join("ARCHITECTURE.md")).text;
    let source = read(&root().join("src/lib.rs")).text;
    let modules = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    let absent = modules
        .map(|name| name.trim_end_matches(';'))
        .filter(|name| !map.contains(&format!("`{name}`")));
    let found = absent
        .map(|name| format!("`{name}` is not in it"))
        .collect();
    none(found, "the code map of ARCHITECTURE.md has every module");
}

#[test]
fn untrue_statements_are_found() {
    let exists = |path: &Path| path == Path::new("docs/a.md") || path == Path::new("src/a.rs");
    let check = |text: &str, expected: &[&str]| {
        let document = File {
            path: "docs/b.md".to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(offences(&document, &exists, &["test"]), expected, "{text}");
    };
    check(
        "[a](a.md) [b](a.md#b) [c](https://c.example/d) `src/a.rs`",
        &[],
    );
    check("run `make test` or\n    make test ARGS=x\n", &[]);
    check("we make progress", &[]);
    check("`[a](b)` and [`src/a.rs`](a.md)", &[]);
    check("[`src/a.rs`](c.md)", &["docs/b.md: links to c.md"]);
    check("[c](c.md)", &["docs/b.md: links to c.md"]);
    check("in `src/c.rs`", &["docs/b.md: names src/c.rs"]);
    check("run `make tests`", &["docs/b.md: runs make tests"]);
}
