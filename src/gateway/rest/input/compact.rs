//! Payloads: JSON text in, the same text without white space out, checked so that it can always be
//! read back.
//!
//! The text is syntactically JSON already. What that leaves open is refused here: nesting deeper than
//! readers go, numbers that are none in 64 bits, broken surrogates, and a key that stands twice in an
//! object, of which readers would see one or the other. Numbers and strings stay as they were
//! written.

use std::borrow::Cow;

/// Why a text cannot be a payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway::rest) enum Problem {
    /// Too deep.
    #[error("JSON is nested deeper than {0}")]
    Depth(usize),
    /// A number too large for a 64-bit float.
    #[error("number out of range")]
    Number,
    /// An escape that stands for no character.
    #[error("a string holds an escape that is no character")]
    Escape,
    /// A key twice in one object.
    #[error("duplicate field `{0}`")]
    Duplicate(String),
    /// It is no JSON after all.
    #[error("JSON breaks off")]
    Broken,
}

/// The compact form of a JSON text that is nested at most so deep.
pub(in crate::gateway::rest) fn compact(text: &str, depth_max: usize) -> Result<Vec<u8>, Problem> {
    let mut scan = Scan {
        text,
        depth_max,
        at: 0,
        out: Vec::with_capacity(text.len()),
        open: Vec::new(),
        keys: Vec::new(),
    };
    while let Some(&byte) = text.as_bytes().get(scan.at) {
        scan.step(byte)?;
    }
    if scan.open.is_empty() {
        Ok(scan.out)
    } else {
        Err(Problem::Broken)
    }
}

/// What is open around the present place.
enum Open {
    Array,
    Object {
        /// Where its keys begin in [`Scan::keys`].
        keys: usize,
        /// Whether the next string is a key.
        key_next: bool,
    },
}

struct Scan<'a> {
    text: &'a str,
    depth_max: usize,
    at: usize,
    out: Vec<u8>,
    open: Vec<Open>,
    /// Keys of the open objects, those of inner ones last.
    keys: Vec<Cow<'a, str>>,
}

impl<'a> Scan<'a> {
    fn step(&mut self, byte: u8) -> Result<(), Problem> {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
            b'"' => self.string()?,
            b'{' | b'[' => {
                if self.open.len() >= self.depth_max {
                    return Err(Problem::Depth(self.depth_max));
                }
                self.open.push(if byte == b'[' {
                    Open::Array
                } else {
                    Open::Object {
                        keys: self.keys.len(),
                        key_next: true,
                    }
                });
                self.copy(byte);
            },
            b'}' | b']' => {
                if let Some(Open::Object { keys, .. }) = self.open.pop() {
                    self.close(keys)?;
                }
                self.copy(byte);
            },
            b',' => {
                if let Some(Open::Object { key_next, .. }) = self.open.last_mut() {
                    *key_next = true;
                }
                self.copy(byte);
            },
            b':' => self.copy(byte),
            _ => self.scalar()?,
        }
        Ok(())
    }

    fn copy(&mut self, byte: u8) {
        self.out.push(byte);
        self.at += 1;
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Result<(), Problem> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| b" \t\n\r,:]}".contains(byte));
        let token = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        // Below 10^308 nothing overflows; only an exponent or very many digits get there.
        if token.len() > 300 || token.iter().any(|byte| b"eE".contains(byte)) {
            let text = str::from_utf8(token).unwrap_or_default();
            let literal = ["true", "false"].contains(&text);
            if !literal && !text.parse().is_ok_and(f64::is_finite) {
                return Err(Problem::Number);
            }
        }
        self.out.extend_from_slice(token);
        self.at += token.len().max(1);
        Ok(())
    }

    fn string(&mut self) -> Result<(), Problem> {
        let bytes = self.text.as_bytes();
        let (start, mut at, mut escaped) = (self.at, self.at + 1, false);
        loop {
            match bytes.get(at) {
                None => return Err(Problem::Broken),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                },
                Some(_) => at += 1,
            }
        }
        self.at = at + 1;
        let token = self.text.get(start..self.at).ok_or(Problem::Broken)?;
        self.out.extend_from_slice(token.as_bytes());
        let is_key = match self.open.last_mut() {
            Some(Open::Object { key_next, .. }) => std::mem::replace(key_next, false),
            _ => false,
        };
        if escaped {
            let text: String = serde_json::from_str(token).map_err(|_escape| Problem::Escape)?;
            if is_key {
                self.keys.push(Cow::Owned(text));
            }
        } else if is_key {
            let text = self.text.get(start + 1..at).ok_or(Problem::Broken)?;
            self.keys.push(Cow::Borrowed(text));
        }
        Ok(())
    }

    /// Checks the keys of an object that ends, and forgets them.
    fn close(&mut self, first: usize) -> Result<(), Problem> {
        let keys = self.keys.get_mut(first..).unwrap_or_default();
        keys.sort_unstable();
        let twice = keys.windows(2).find_map(|pair| match pair {
            [left, right] if left == right => Some(left.chars().take(64).collect()),
            _ => None,
        });
        self.keys.truncate(first);
        twice.map_or(Ok(()), |key| Err(Problem::Duplicate(key)))
    }
}
