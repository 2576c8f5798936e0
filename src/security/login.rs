//! The user and the password by which a process logs in at an etcd that asks for them; both can be changed
//! while it runs.
//!
//! They lie in a folder of two files, `username` and `password`, laid out as a mounted Secret of Kubernetes
//! is. A line's end at the end of a file is no part of what it holds. Files that cannot be read change
//! nothing. The password is never shown: neither by `Debug` nor in an error.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Error;

/// The file, and the key of a Secret, with the name of the user.
pub const USER_FILE: &str = "username";
/// The file, and the key of a Secret, with the password.
pub const PASSWORD_FILE: &str = "password";
/// Bytes of a name or a password: more is another file that was laid there by mistake.
const BYTES_MAX: usize = 1_024;

/// A user and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({:?})", self.user)
    }
}

/// An account that may change, or that there is none. Cheap to clone; clones change together.
#[derive(Clone, Debug, Default)]
pub struct Login {
    folder: Option<Arc<Path>>,
    current: Arc<ArcSwapOption<Account>>,
}

impl Login {
    /// Nobody logs in.
    pub fn none() -> Self {
        Self::default()
    }

    /// What lies in this folder.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Account`].
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let loaded = Self {
            folder: Some(folder.into()),
            current: Arc::default(),
        };
        loaded.refresh()?;
        Ok(loaded)
    }

    /// An account that lies in no folder, and does not change.
    ///
    /// # Errors
    /// [`Error::Account`].
    pub fn given(user: &[u8], password: &[u8]) -> Result<Self, Error> {
        let account = Account {
            user: text(USER_FILE, user)?,
            password: text(PASSWORD_FILE, password)?,
        };
        let login = Self::none();
        login.current.store(Some(Arc::new(account)));
        Ok(login)
    }

    /// Reads the folder again; true when something had changed.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Account`], with everything as it was.
    pub fn refresh(&self) -> Result<bool, Error> {
        let Some(folder) = &self.folder else {
            return Ok(false);
        };
        let read = |file: &'static str| {
            let bytes = fs_err::read(folder.join(file)).map_err(Error::Read)?;
            text(file, &bytes)
        };
        let account = Account {
            user: read(USER_FILE)?,
            password: read(PASSWORD_FILE)?,
        };
        if self.current.load().as_deref() == Some(&account) {
            return Ok(false);
        }
        self.current.store(Some(Arc::new(account)));
        Ok(true)
    }

    /// The account of this moment.
    pub fn current(&self) -> Option<Arc<Account>> {
        self.current.load_full()
    }
}

fn text(file: &'static str, bytes: &[u8]) -> Result<String, Error> {
    let wrong = |problem| Error::Account { file, problem };
    let text = std::str::from_utf8(bytes).map_err(|_not_text| wrong("is no text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(wrong("is empty"));
    }
    if text.len() > BYTES_MAX {
        return Err(wrong("has more than 1024 bytes"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_an_account_and_another_one_when_it_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let lay = |file: &str, text: &str| fs_err::write(folder.path().join(file), text).unwrap();
        lay(USER_FILE, "search\n");
        lay(PASSWORD_FILE, " with space \r\n");
        let login = Login::load(folder.path()).unwrap();
        let account = login.current().unwrap();
        assert_eq!(account.user, "search");
        assert_eq!(account.password, " with space ");
        assert!(!format!("{login:?}").contains("with space"));
        assert!(!login.refresh().unwrap());
        lay(PASSWORD_FILE, "another");
        let clone = login.clone();
        assert!(login.refresh().unwrap());
        assert_eq!(clone.current().unwrap().password, "another");
    }

    #[test]
    fn files_that_are_wrong_are_named_and_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let lay = |text: &[u8]| fs_err::write(folder.path().join(PASSWORD_FILE), text).unwrap();
        fs_err::write(folder.path().join(USER_FILE), "search").unwrap();
        assert!(matches!(Login::load(folder.path()), Err(Error::Read(_))));
        lay(b"correct-horse");
        let login = Login::load(folder.path()).unwrap();
        for wrong in [&b""[..], b"\n", b"\xff-horse", &[b'h'; BYTES_MAX + 1]] {
            lay(wrong);
            let error = login.refresh().unwrap_err();
            let said = format!("{error:?} {error}");
            assert!(
                said.contains(PASSWORD_FILE) && !said.contains("horse"),
                "{said}"
            );
            assert_eq!(login.current().unwrap().password, "correct-horse");
        }
    }
}
