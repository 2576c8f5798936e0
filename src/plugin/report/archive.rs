//! A tar archive in the form of POSIX (ustar), which every `tar` reads. Pure.
//!
//! Regular files only, all in one folder. No crate is needed for that: a file is a head of 512 bytes, its
//! bytes, and zeros up to the next 512.

/// Bytes of a block.
const BLOCK: usize = 512;
/// Bytes of a file's name behind its folder.
const NAME_BYTES_MAX: usize = 100;
/// Bytes of the folder.
const FOLDER_BYTES_MAX: usize = 155;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// Its path in the folder, with `/` between.
    pub(super) path: String,
    /// What it holds.
    pub(super) text: String,
}

/// The archive. `time` is when it was made, in seconds since 1970.
pub(super) fn archive(folder: &str, files: &[File], time: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for file in files {
        let (folder, name) = match file.path.rsplit_once('/') {
            Some((below, name)) => (format!("{folder}/{below}"), name),
            None => (folder.to_owned(), file.path.as_str()),
        };
        let content = file.text.as_bytes();
        bytes.extend_from_slice(&head(&folder, name, content.len(), time));
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    // Two blocks of zeros end it.
    bytes.resize(bytes.len().saturating_add(2 * BLOCK), 0);
    bytes
}

fn head(folder: &str, name: &str, size: usize, time: u64) -> Vec<u8> {
    let head = |sum: &str| {
        let mut head = Vec::with_capacity(BLOCK);
        field(&mut head, name, NAME_BYTES_MAX);
        field(&mut head, "0000600", 8); // mode: for the owner alone
        field(&mut head, "0000000", 8); // user
        field(&mut head, "0000000", 8); // group
        field(&mut head, &format!("{size:011o}"), 12);
        field(&mut head, &format!("{time:011o}"), 12);
        field(&mut head, sum, 8);
        field(&mut head, "0", 1); // a regular file
        field(&mut head, "", 100); // linked to nothing
        field(&mut head, "ustar", 6);
        field(&mut head, "00", 2);
        field(&mut head, "", 32 + 32 + 8 + 8); // names of user and group, devices
        field(&mut head, folder, FOLDER_BYTES_MAX);
        head.resize(BLOCK, 0);
        head
    };
    // The sum is made with spaces in its own place.
    let sum: u64 = head("        ").iter().map(|byte| u64::from(*byte)).sum();
    head(&format!("{sum:06o}\0 "))
}

/// A text in its place, cut where it is too long, with zeros behind.
fn field(head: &mut Vec<u8>, text: &str, length: usize) {
    let end = head.len().saturating_add(length);
    let cut = text.floor_char_boundary(length);
    head.extend_from_slice(text.get(..cut).unwrap_or_default().as_bytes());
    head.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tar_reads_it() {
        let file = |path: &str, text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let long = "x".repeat(1_000);
        let files = [
            file("a.txt", "one\n"),
            file("logs/pod/c.log", &long),
            file("empty", ""),
        ];
        let bytes = archive("report", &files, 0);
        assert_eq!(bytes.len() % BLOCK, 0);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        fs_err::write(&path, bytes).unwrap();
        let tar = |arguments: &[&str]| {
            let output = std::process::Command::new("tar")
                .args(arguments)
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(
            tar(&["-tf", "a.tar"]),
            "report/a.txt\nreport/logs/pod/c.log\nreport/empty\n"
        );
        assert_eq!(tar(&["-xOf", "a.tar", "report/logs/pod/c.log"]), long);
    }
}
