//! The folder that belongs to one process at a time.

use std::io;
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use rustix::fs::FlockOperation;
use uuid::Uuid;

use super::{Error, write_atomically};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::ids::NodeId;

const LOCK_FILE: &str = "lock";
const IDENTITY_FILE: &str = "node-id";

/// How long a holder that is just being killed is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A folder that this process has for itself, for as long as this value lives.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// The kernel drops the lock with the open file, so with the process.
    _lock: fs::File,
}

impl DataFolder {
    /// Makes the folder if need be and takes it. A holder is waited for, one second: the one before
    /// may be just being killed.
    ///
    /// # Errors
    /// [`Error::FolderInUse`], [`Error::Files`].
    pub async fn open(path: &Path, clock: &dyn Clock) -> Result<Self, Error> {
        make(path).map_err(Error::Files)?;
        let give_up = clock.now() + PATIENCE;
        loop {
            match Self::try_open(path) {
                Err(Error::FolderInUse { .. }) if clock.now() < give_up => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                },
                otherwise => return otherwise,
            }
        }
    }

    fn try_open(path: &Path) -> Result<Self, Error> {
        let mut lock = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(Error::Files)?;
        match rustix::fs::flock(lock.file(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {},
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Only for the message: the holder may not have written its id yet.
                let pid = match lock.read_to_string(&mut holder) {
                    Ok(_) => holder.trim().parse().ok(),
                    Err(_) => None,
                };
                let path = path.to_owned();
                return Err(Error::FolderInUse { path, pid });
            },
            Err(error) => return Err(Error::Files(error.into())),
        }
        lock.set_len(0)
            .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .map_err(Error::Files)?;
        let path = path.to_owned();
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The identity of the process that owns this folder; made, durably, when there is none.
    ///
    /// # Errors
    /// [`Error::Identity`] when the file is there and holds something else, [`Error::Files`].
    pub fn identity(&self, entropy: &Entropy) -> Result<NodeId, Error> {
        let file = self.path.join(IDENTITY_FILE);
        match fs::read_to_string(&file) {
            Ok(text) => match Uuid::try_parse(text.trim()) {
                Ok(uuid) => Ok(NodeId(uuid)),
                Err(_) => Err(Error::Identity(file)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let node = NodeId(entropy.uuid());
                write_atomically(&file, format!("{node}\n").as_bytes()).map_err(Error::Files)?;
                Ok(node)
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Error::Identity(file)),
            Err(error) => Err(Error::Files(error)),
        }
    }
}

/// Makes a folder that others on the machine cannot look into.
fn make(path: &Path) -> io::Result<()> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|error| {
        let place = path.display();
        io::Error::new(error.kind(), format!("make folder {place}: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn the_second_opener_is_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = DataFolder::open(&path, &SystemClock).await.unwrap();
        // A lock of an open file: one process can meet itself.
        match DataFolder::try_open(&path) {
            Err(Error::FolderInUse { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        let refused = DataFolder::open(&path, &SystemClock).await.unwrap_err();
        let text = format!(
            "data folder {} is in use by process {}",
            path.display(),
            std::process::id()
        );
        assert_eq!(refused.to_string(), text);
        drop(first);
        DataFolder::open(&path, &SystemClock).await.unwrap();
    }

    #[tokio::test]
    async fn a_folder_keeps_its_identity_and_never_makes_a_second_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let identity = async |seed| {
            let folder = DataFolder::open(path, &SystemClock).await.unwrap();
            folder.identity(&Entropy::from_seed(seed))
        };
        let first = identity(1).await.unwrap();
        assert_eq!(identity(2).await.unwrap(), first);
        for damaged in ["", "not a uuid", "\u{fffd}"] {
            fs::write(path.join(IDENTITY_FILE), damaged).unwrap();
            assert!(
                matches!(identity(3).await, Err(Error::Identity(_))),
                "{damaged:?}"
            );
        }
        fs::write(path.join(IDENTITY_FILE), [0xff, 0xfe]).unwrap();
        assert!(matches!(identity(3).await, Err(Error::Identity(_))));
    }
}
