//! What a log line says is a lower-case fragment, the same every time; what varies stands in fields.

use super::source::{Placed, Token, tokens};
use super::{files, none};

const MACROS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The tokens between the parentheses of each log macro, with the line that it starts on.
fn calls(tokens: &[Placed]) -> Vec<(usize, &[Placed])> {
    let mut found = Vec::new();
    for (at, window) in tokens.windows(3).enumerate() {
        let is_log = window[0].word().is_some_and(|word| MACROS.contains(&word));
        if is_log && window[1].is_mark('!') && window[2].is_mark('(') {
            let inside = &tokens[at + 3..];
            found.push((window[0].line, &inside[..closing(inside)]));
        }
    }
    found
}

/// Where the parenthesis closes that was open before the first token.
fn closing(tokens: &[Placed]) -> usize {
    let mut depth = 1;
    for (at, placed) in tokens.iter().enumerate() {
        if placed.is_mark('(') {
            depth += 1;
        } else if placed.is_mark(')') {
            depth -= 1;
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// The message of a call: the text that is an argument of its own.
fn message(call: &[Placed]) -> Option<&str> {
    let mut depth = 0;
    for (at, placed) in call.iter().enumerate() {
        match &placed.token {
            Token::Mark('(' | '{' | '[') => depth += 1,
            Token::Mark(')' | '}' | ']') => depth -= 1,
            Token::Text(text) if depth == 0 => {
                let alone = at
                    .checked_sub(1)
                    .is_none_or(|before| call[before].is_mark(','));
                if alone {
                    return Some(text);
                }
            },
            Token::Word(_) | Token::Text(_) | Token::Mark(_) => {},
        }
    }
    None
}

fn fault(message: &str) -> Option<&'static str> {
    let word = message.split([' ', ',']).next().unwrap_or_default();
    let capitals = word.chars().filter(|is| is.is_uppercase()).count();
    if message.is_empty() {
        Some("says nothing")
    } else if message.contains('{') {
        Some("has a value in its text: make it a field")
    } else if message.ends_with(['.', '!', ':', ' ']) {
        Some("ends like a sentence")
    } else if capitals == 1 && message.starts_with(char::is_uppercase) {
        Some("begins with a capital")
    } else {
        None
    }
}

fn offences(path: &str, source: &str) -> Vec<String> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    for (line, call) in calls(&tokens) {
        // The panic hook passes on what the panic said.
        let passes_on = call.first().and_then(Placed::word) == Some("message");
        let fault = match message(call) {
            Some(text) => fault(text).map(|fault| format!("{text:?} {fault}")),
            None if passes_on => None,
            None => Some("a log line without a message".to_owned()),
        };
        found.extend(fault.map(|fault| format!("{path}:{line}: {fault}")));
    }
    found
}

#[test]
fn log_lines_are_fragments_with_fields() {
    let found = files("src", "rs");
    let found = found
        .iter()
        .flat_map(|file| offences(&file.path, &file.text));
    none(
        found.collect(),
        "a log line is a lower-case fragment, its values are fields",
    );
}

#[test]
fn bad_log_lines_are_found() {
    let check = |source: &str, expected: &[&str]| {
        assert_eq!(offences("a.rs", source), expected, "{source}");
    };
    check(
        "tracing::info!(%shard, kind = \"Graph\", \"build starts\");",
        &[],
    );
    check(
        "warn!(error = chain(&error), \"TLS handshake failed\")",
        &[],
    );
    check(
        "tracing::error!(message, location, \"a thread panicked\")",
        &[],
    );
    check("assert!(x, \"Not a log line.\")", &[]);
    check(
        "\ninfo!(\"Started\")",
        &["a.rs:2: \"Started\" begins with a capital"],
    );
    check(
        "info!(\"started.\")",
        &["a.rs:1: \"started.\" ends like a sentence"],
    );
    check(
        "info!(a = f(\"x\"), \"at {a}\")",
        &["a.rs:1: \"at {a}\" has a value in its text: make it a field"],
    );
    check("error!(%error)", &["a.rs:1: a log line without a message"]);
    check("debug!(\"\")", &["a.rs:1: \"\" says nothing"]);
}
