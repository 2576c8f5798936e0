//! API keys, and the file they are read from.
//!
//! A line of the file is `admin: KEY` or `read-only: KEY`; empty lines and lines that begin with `#`
//! are passed over. A folder has a file for each role in place of the lines, as a mounted Secret of
//! Kubernetes does. A key is never shown: neither by `Debug` nor in an error.

use std::fmt;
use std::path::Path;

use subtle::{Choice, ConstantTimeEq};

use super::{Error, Role};

/// Characters of a key at least: shorter ones can be guessed.
const KEY_CHARS_MIN: usize = 8;

/// Characters of a key at most: it must fit in a header.
const KEY_CHARS_MAX: usize = 1_024;

/// Keys of one file: every one is compared with every request.
const KEYS_MAX: usize = 256;

/// The keys that a process accepts, each with its role. Never empty.
#[derive(Clone)]
pub struct ApiKeys(Vec<(Role, String)>);

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({})", self.0.len())
    }
}

impl ApiKeys {
    /// The keys of a file, or of a folder that holds a role's key in a file, `admin` or `readonly`.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Keys`].
    pub fn load(path: &Path) -> Result<Self, Error> {
        if !path.is_dir() {
            let text = fs_err::read_to_string(path).map_err(Error::Read)?;
            return Self::parse(&text);
        }
        let mut lines = String::new();
        for (file, role) in [("admin", "admin"), ("readonly", "read-only")] {
            match fs_err::read_to_string(path.join(file)) {
                Ok(key) => lines.extend([role, ": ", key.trim(), "\n"]),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {},
                Err(error) => return Err(Error::Read(error)),
            }
        }
        Self::parse(&lines)
    }

    /// The keys of a file's text.
    ///
    /// # Errors
    /// [`Error::Keys`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut keys: Vec<(Role, String)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let wrong = |problem| Error::Keys {
                line: at + 1,
                problem,
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (role, key) = line
                .split_once(':')
                .ok_or_else(|| wrong("is not of the form `role: KEY`"))?;
            let role = Role::parse(role.trim())
                .ok_or_else(|| wrong("the role is neither `admin` nor `read-only`"))?;
            let key = key.trim();
            if !key.chars().all(|character| character.is_ascii_graphic()) {
                return Err(wrong("a key has visible ASCII characters only"));
            }
            if !(KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&key.len()) {
                return Err(wrong("a key has 8 to 1024 characters"));
            }
            if keys.iter().any(|(_role, known)| known == key) {
                return Err(wrong("the key stands in the file already"));
            }
            if keys.len() == KEYS_MAX {
                return Err(wrong("a file has at most 256 keys"));
            }
            keys.push((role, key.to_owned()));
        }
        if keys.is_empty() {
            let problem = "the file holds no key";
            return Err(Error::Keys { line: 0, problem });
        }
        Ok(Self(keys))
    }

    /// The role of a key, if it is one. Takes the same time whichever key it is, and none.
    pub fn role(&self, presented: &[u8]) -> Option<Role> {
        let mut role = None;
        for (of, key) in &self.0 {
            let same: Choice = key.as_bytes().ct_eq(presented);
            if bool::from(same) {
                role = Some(*of);
            }
        }
        role
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_keys_their_roles() {
        let keys =
            ApiKeys::parse("# ours\n\nadmin: correct-horse\n  read-only:battery:staple  \r\n")
                .unwrap();
        assert_eq!(keys.role(b"correct-horse"), Some(Role::Admin));
        assert_eq!(keys.role(b"battery:staple"), Some(Role::ReadOnly));
        for wrong in [
            &b""[..],
            b"correct-hors",
            b"correct-horse ",
            b"CORRECT-HORSE",
        ] {
            assert_eq!(keys.role(wrong), None);
        }
        assert!(!format!("{keys:?}").contains("horse"));
    }

    #[test]
    fn a_bad_file_is_refused_without_showing_it() {
        for (text, line) in [
            ("", 0),
            ("# nothing\n", 0),
            ("correct-horse", 1),
            ("\nroot: correct-horse", 2),
            ("admin: short", 1),
            ("admin: with space", 1),
            ("admin: umlaut-ä-key", 1),
            ("admin: correct-horse\nread-only: correct-horse", 2),
        ] {
            let error = ApiKeys::parse(text).unwrap_err();
            assert!(
                matches!(error, Error::Keys { line: at, .. } if at == line),
                "{text:?}: {error}"
            );
            assert!(!error.to_string().contains("horse"));
        }
    }
}
