//! Rust source as the rules need it: words, texts and marks with their lines, comments left out,
//! and the paths that they spell.
//!
//! It is no parser. It knows what may hide a word from a rule (comments, strings, raw strings,
//! characters, lifetimes) and how `use` nests; the compiler checks the rest.

/// What stands in a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a keyword or a number.
    Word(String),
    /// The inside of a string literal, as written.
    Text(String),
    /// Any other character.
    Mark(char),
}

/// A token and the line that it starts on, from one.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) line: usize,
}

impl Placed {
    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.token == Token::Mark(mark)
    }

    pub(super) fn word(&self) -> Option<&str> {
        match &self.token {
            Token::Word(word) => Some(word),
            Token::Text(_) | Token::Mark(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.token {
            Token::Text(text) => Some(text),
            Token::Word(_) | Token::Mark(_) => None,
        }
    }
}

/// The tokens of a file, in order, without comments, characters and lifetimes.
pub(super) fn tokens(source: &str) -> Vec<Placed> {
    let mut reader = Reader {
        left: source,
        line: 1,
    };
    let mut tokens = Vec::new();
    while !reader.left.is_empty() {
        let line = reader.line;
        if let Some(token) = reader.next_token() {
            tokens.push(Placed { token, line });
        }
    }
    tokens
}

struct Reader<'a> {
    left: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    /// Reads on by some bytes and returns them.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, left) = self.left.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.left = left;
        taken
    }

    fn next_token(&mut self) -> Option<Token> {
        let left = self.left;
        if left.starts_with("//") {
            self.take(left.find('\n').unwrap_or(left.len()));
            return None;
        }
        if left.starts_with("/*") {
            self.take(block_comment(left));
            return None;
        }
        if let Some((bytes, inside)) = string(left) {
            self.take(bytes);
            return Some(Token::Text(inside.to_owned()));
        }
        let first = left.chars().next()?;
        if first == '\'' {
            self.take(character_or_lifetime(left));
            return None;
        }
        if first.is_alphanumeric() || first == '_' {
            let word = left.strip_prefix("r#").map_or(left, |word| {
                self.take(2);
                word
            });
            let ends = |is: char| !(is.is_alphanumeric() || is == '_');
            let word = self.take(word.find(ends).unwrap_or(word.len()));
            return Some(Token::Word(word.to_owned()));
        }
        self.take(first.len_utf8());
        (!first.is_whitespace()).then_some(Token::Mark(first))
    }
}

/// The length of the block comment that a text starts with; they nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        match here {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length and the inside of the string literal that a text starts with, of any kind.
fn string(text: &str) -> Option<(usize, &str)> {
    let kinds = ["br", "cr", "r", "b", "c", ""];
    let kind = kinds
        .into_iter()
        .find(|kind| text.starts_with(kind) && text[kind.len()..].starts_with(['"', '#']))?;
    let raw = kind.ends_with('r');
    let after = &text[kind.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    if (hashes > 0 && !raw) || !after[hashes..].starts_with('"') {
        return None;
    }
    let start = kind.len() + hashes + 1;
    let inside = &text[start..];
    let end = if raw {
        inside.find(&format!("\"{}", "#".repeat(hashes)))
    } else {
        unescaped_quote(inside)
    };
    let end = end.unwrap_or(inside.len());
    let bytes = (start + end + 1 + hashes).min(text.len());
    Some((bytes, &inside[..end]))
}

fn unescaped_quote(inside: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, is) in inside.char_indices() {
        match is {
            '"' if !escaped => return Some(at),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// The length of `'x'`, `'\n'` or `'name`.
fn character_or_lifetime(text: &str) -> usize {
    let mut inside = text[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), Some(escaped)) => {
            let start = 2 + escaped.len_utf8();
            text[start..]
                .find('\'')
                .map_or(text.len(), |end| start + end + 1)
        },
        (Some(is), Some('\'')) => 2 + is.len_utf8(),
        _ => 1,
    }
}

/// A path that a file spells, `use` groups taken apart, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spelled {
    pub(super) parts: Vec<String>,
    pub(super) line: usize,
}

impl Spelled {
    pub(super) fn starts_with(&self, prefix: &str) -> bool {
        let mut parts = self.parts.iter();
        prefix
            .split("::")
            .all(|part| parts.next().is_some_and(|is| is == part))
    }
}

/// Every path of two parts or more, and what is used alone (`use name;`). Paths that leave the file's
/// own module by `super` are told from the crate's root where they reach it, as `crate::...`.
pub(super) fn paths(path: &str, tokens: &[Placed]) -> Vec<Spelled> {
    let mut found = Vec::new();
    // The depth of braces at which each inline module began.
    let (mut inline, mut braces) = (Vec::new(), 0_usize);
    let mut at = 0;
    while let Some(placed) = tokens.get(at) {
        if placed.is_mark('{') {
            braces += 1;
            let names = at.checked_sub(2).map(|mod_at| tokens[mod_at].word());
            if names == Some(Some("mod")) {
                inline.push(braces);
            }
        } else if placed.is_mark('}') {
            inline.pop_if(|began| *began == braces);
            braces = braces.saturating_sub(1);
        } else if placed.word().is_some() {
            let used = at.checked_sub(1).and_then(|before| tokens[before].word()) == Some("use");
            let mut tree = Vec::new();
            at = use_tree(tokens, at, &Vec::new(), &mut tree);
            tree.retain(|spelled| used || spelled.parts.len() > 1);
            let depth = module_depth(path) + inline.len();
            found.extend(tree.into_iter().map(|spelled| from_root(spelled, depth)));
            continue;
        }
        at += 1;
    }
    found
}

/// How many modules deep a file of `src` is: 0 for the crate's root.
fn module_depth(path: &str) -> usize {
    match path.strip_prefix("src/") {
        Some("lib.rs" | "main.rs") | None => 0,
        Some(below) => below.split('/').count(),
    }
}

/// Reads a path, or a tree of them, from `at`; returns where it ends.
fn use_tree(tokens: &[Placed], mut at: usize, above: &[String], found: &mut Vec<Spelled>) -> usize {
    let mut parts = above.to_vec();
    let mut line = tokens.get(at).map_or(0, |placed| placed.line);
    while let Some(placed) = tokens.get(at) {
        if placed.is_mark('{') && parts.len() > above.len() {
            at += 1;
            while tokens.get(at).is_some_and(|inside| !inside.is_mark('}')) {
                at = use_tree(tokens, at, &parts, found).max(at + 1);
            }
            return at + 1;
        }
        match placed.word() {
            Some(word) => parts.push(word.to_owned()),
            None if placed.is_mark('*') => parts.push("*".to_owned()),
            None => break,
        }
        line = line.max(placed.line);
        at += 1;
        let joins = [0, 1].map(|ahead| tokens.get(at + ahead).is_some_and(|is| is.is_mark(':')));
        let goes_on = tokens
            .get(at + 2)
            .is_some_and(|next| next.word().is_some() || next.is_mark('{') || next.is_mark('*'));
        if joins != [true, true] || !goes_on {
            break;
        }
        at += 2;
    }
    if parts.len() > above.len() {
        found.push(Spelled { parts, line });
    }
    at
}

/// A path that climbs to the crate's root by `super`, told from there.
fn from_root(spelled: Spelled, depth: usize) -> Spelled {
    let climbs = spelled
        .parts
        .iter()
        .take_while(|part| *part == "super")
        .count();
    if climbs == 0 || climbs < depth {
        return spelled;
    }
    let below = spelled.parts.into_iter().skip(climbs);
    Spelled {
        parts: std::iter::once("crate".to_owned()).chain(below).collect(),
        line: spelled.line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(path: &str, source: &str) -> Vec<(String, usize)> {
        let paths = paths(path, &tokens(source));
        let told = paths.into_iter();
        told.map(|is| (is.parts.join("::"), is.line)).collect()
    }

    #[test]
    fn nothing_in_a_comment_or_a_string_is_a_path() {
        let source = "// use crate::a;\n/* b::c /* d::e */ f::g */\nlet x = \"h::i \\\" j::k\";\n\
            let y = r#\"l::m \" n::o\"#; let z = b\"p::q\"; let c = '\"'; let d = '\\''; r::s";
        assert_eq!(spelled("src/x.rs", source), [("r::s".to_owned(), 4)]);
    }

    #[test]
    fn lifetimes_hide_nothing() {
        let source = "fn f<'a>(x: &'a str) -> a::B<'a> { c::d('x') }";
        let names: Vec<String> = spelled("src/x.rs", source)
            .into_iter()
            .map(|is| is.0)
            .collect();
        assert_eq!(names, ["a::B", "c::d"]);
    }

    #[test]
    fn groups_are_taken_apart() {
        let source = "use crate::{\n    a::{self, B},\n    c::*,\n    d,\n};\nuse e;\nf(g);\n";
        let expected = [
            ("crate::a::self", 2),
            ("crate::a::B", 2),
            ("crate::c::*", 3),
            ("crate::d", 4),
            ("e", 6),
        ];
        let expected = expected.map(|(path, line)| (path.to_owned(), line));
        assert_eq!(spelled("src/x.rs", source), expected);
    }

    #[test]
    fn climbing_to_the_root_is_seen() {
        let check = |path: &str, source: &str, expected: &str| {
            assert_eq!(spelled(path, source)[0].0, expected, "{path}: {source}");
        };
        check("src/a.rs", "use super::b::C;", "crate::b::C");
        check("src/a/b.rs", "use super::c::D;", "super::c::D");
        check("src/a/b.rs", "use super::super::c::D;", "crate::c::D");
        check("src/a.rs", "mod tests { use super::*; }", "super::*");
        check(
            "src/a.rs",
            "mod t { use super::super::b::C; }",
            "crate::b::C",
        );
        check(
            "src/a.rs",
            "mod t { fn f() {} } use super::b::C;",
            "crate::b::C",
        );
    }

    #[test]
    fn texts_are_kept_whole() {
        let found = tokens("f(\"a \\\"b\\\" // c\", r\"d\")");
        let texts: Vec<&str> = found.iter().filter_map(Placed::text).collect();
        assert_eq!(texts, ["a \\\"b\\\" // c", "d"]);
    }
}
