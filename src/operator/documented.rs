//! What `docs/operator.md` says, and what sources could say: tests compare both with what is said.

use std::collections::BTreeSet;

/// The lines of a section from one that begins so to the next empty one.
#[track_caller]
pub(super) fn lines(from: &str) -> Vec<&'static str> {
    let text = include_str!("../../docs/operator.md");
    let lines = text.lines().skip_while(|line| !line.starts_with(from));
    let found: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    assert!(!found.is_empty(), "no line begins with {from}");
    found
}

/// The words between backticks.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The words of a table's two first columns: each of the first beside each of the second.
#[track_caller]
pub(super) fn pairs(head: &str) -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for line in lines(head).into_iter().skip(2) {
        let mut cells = line.split('|').skip(1);
        let (first, second) = (cells.next().unwrap(), cells.next().unwrap());
        for one in words(first) {
            pairs.extend(words(second).map(|other| (one.to_owned(), other.to_owned())));
        }
    }
    pairs
}

/// The words of a table's first column.
#[track_caller]
pub(super) fn firsts(head: &str) -> BTreeSet<String> {
    let rows = lines(head).into_iter().skip(2);
    let cells = rows.filter_map(|line| line.split('|').nth(1));
    cells.flat_map(words).map(str::to_owned).collect()
}

/// The literals of a source, without its tests, that could be a reason: one word in capitals and small
/// letters.
pub(super) fn literals(source: &str) -> BTreeSet<&str> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim().starts_with("//"));
    let quoted = code.flat_map(|line| line.split('"').skip(1).step_by(2));
    let is_word = |text: &&str| {
        text.len() > 1
            && text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(char::is_alphanumeric)
    };
    quoted.filter(is_word).collect()
}

#[test]
fn literals_are_found_where_they_can_be_said() {
    let source = "// \"Comment\"\nf(\"Reason\", \"a Sentence\", \"lower\")\n#[cfg(test)]\n\"Test\"";
    assert_eq!(literals(source), BTreeSet::from(["Reason"]));
}
