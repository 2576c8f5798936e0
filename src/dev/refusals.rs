//! What is refused before anything starts: files that every component would stumble over again and
//! again, and a data folder that is somebody else's.
//!
//! A folder is known by what lies in it, so that those of earlier versions are known too: components
//! keep their data in `CLUSTER-ROLE-NUMBER`, and `etcd-port` is written before the first of them
//! starts. Nothing is made or changed here.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::{ETCD_FOLDER, ETCD_PORT_FILE, Error, LOG_FOLDER};
use crate::fault::chain;
use crate::security::{self, ApiKeys, tls};
use crate::settings::{Dev, SettingFault, TlsFiles};
use crate::topology::Role;

/// What lies in a folder of `dev` before its first component has started; `lost+found` is in every
/// volume.
const FIRST_ENTRIES: [&str; 5] = [
    "lock",
    LOG_FOLDER,
    ETCD_FOLDER,
    ETCD_PORT_FILE,
    "lost+found",
];

/// The faults of the key file, the certificate and its key.
pub(super) fn faults_of_files(settings: &Dev) -> Vec<SettingFault> {
    let mut faults = Vec::new();
    let mut add = |setting: &str, problem: String| {
        faults.push(SettingFault {
            setting: setting.to_owned(),
            problem,
        });
    };
    if let Some(file) = &settings.api_key_file
        && let Err(error) = ApiKeys::load(file)
    {
        add("--api-key-file", keys_problem(file, &error));
    }
    if let Some(files) = &settings.tls {
        let unread = [
            ("--tls-cert", fs::read(&files.certificate)),
            ("--tls-key", fs::read(&files.key)),
        ];
        for (setting, read) in &unread {
            if let Err(error) = read {
                add(setting, error.to_string());
            }
        }
        if unread.iter().all(|(_setting, read)| read.is_ok())
            && let Err(error) = tls::Handle::from_files(&files.certificate, &files.key)
        {
            add(setting_of(files, &error), chain(&error));
        }
    }
    faults
}

/// Where in the file or folder of keys, and what. Never shows a key.
fn keys_problem(path: &Path, error: &security::Error) -> String {
    let place = path.display();
    let security::Error::Keys { line, problem } = error else {
        return chain(error);
    };
    if path.is_dir() {
        format!("{place}, in its file admin or readonly: {problem}")
    } else if *line == 0 {
        format!("{place}: {problem}")
    } else {
        format!("{place}, line {line}: {problem}")
    }
}

fn setting_of(files: &TlsFiles, error: &security::Error) -> &'static str {
    let security::Error::Certificate { file, .. } = error else {
        return "--tls-cert";
    };
    if Path::new(file) == files.key {
        "--tls-key"
    } else {
        "--tls-cert"
    }
}

/// Refuses a folder that belongs to clusters of other names only, and one that holds something and
/// was never a cluster's.
pub(super) fn check_folder(folder: &Path, cluster: &str) -> Result<(), Error> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::Files(error)),
    };
    let (mut clusters, mut strange, mut is_used) = (Vec::new(), None, false);
    for entry in entries {
        let name = entry.map_err(Error::Files)?.file_name();
        let name = name.to_string_lossy();
        is_used |= name == ETCD_PORT_FILE;
        if let Some(owner) = owner(&name) {
            if owner == cluster {
                return Ok(());
            }
            clusters.push(owner.to_owned());
        } else if !FIRST_ENTRIES.contains(&name.as_ref()) {
            strange = Some(name.into_owned());
        }
    }
    let folder = || folder.to_owned();
    match (clusters.into_iter().min(), strange) {
        (Some(owner), _) => Err(Error::OtherCluster {
            folder: folder(),
            owner,
            asked: cluster.to_owned(),
        }),
        (None, Some(entry)) if !is_used => Err(Error::Strange {
            folder: folder(),
            entry,
        }),
        (None, _) => Ok(()),
    }
}

/// The cluster of a component's folder.
fn owner(name: &str) -> Option<&str> {
    let (rest, ordinal) = name.rsplit_once('-')?;
    let (cluster, role) = rest.rsplit_once('-')?;
    let is_role = [Role::Master, Role::Worker, Role::Gateway]
        .iter()
        .any(|known| known.as_str() == role);
    (is_role && ordinal.parse::<u32>().is_ok() && !cluster.is_empty()).then_some(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(entries: &[&str]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        for entry in entries {
            fs::create_dir(folder.path().join(entry)).unwrap();
        }
        check_folder(folder.path(), "two").map_err(|error| {
            let folder = folder.path().display().to_string();
            error.to_string().replace(&folder, "F")
        })
    }

    #[test]
    fn a_folder_is_the_clusters_that_has_components_there() {
        let started = ["lock", "logs", "etcd", "etcd-port", "endpoints.json"];
        assert_eq!(checked(&[]), Ok(()));
        assert_eq!(checked(&["lock", "lost+found"]), Ok(()));
        assert_eq!(checked(&started), Ok(()));
        let of = |more: &[&'static str]| checked(&[&started[..], more].concat());
        assert_eq!(of(&["two-worker-0", "notes"]), Ok(()));
        assert_eq!(of(&["two-worker-0", "one-worker-0"]), Ok(()));
        let of_one = |owner: &str| {
            let said = format!("data folder F belongs to the cluster {owner}, not to two: ");
            Err(said + "give another with --data-dir")
        };
        assert_eq!(of(&["one-worker-0"]), of_one("one"));
        assert_eq!(of(&["one-two-gateway-11"]), of_one("one-two"));
        assert_eq!(checked(&["one-master-0"]), of_one("one"));
        let strange = |entry: &str| {
            let said = format!("data folder F holds {entry:?} and was never a cluster's: ");
            Err(said + "give an empty one with --data-dir")
        };
        assert_eq!(checked(&["lock", "photos"]), strange("photos"));
        assert_eq!(checked(&["two-worker-x"]), strange("two-worker-x"));
        let nowhere = Path::new("/nowhere/at/all");
        assert!(check_folder(nowhere, "two").is_ok());
    }
}
