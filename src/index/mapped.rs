//! A file of little-endian numbers, mapped for reading.
//!
//! Nothing is trusted: every range is checked against the file, so damaged contents give `None` or
//! odd numbers, never a read outside. What cannot be caught is a file that shrinks while it is
//! mapped or a disk that fails under it: the process dies by SIGBUS. Nothing here ever shortens a
//! segment's file, and `open_dir` refuses one whose length is not what its manifest says.
//!
//! The scratch database of a build is opened here too: LMDB maps a file as well.
#![expect(
    unsafe_code,
    reason = "mapping files, and reading numbers from them in place"
)]

use std::fmt;
use std::path::Path;
use std::ptr::NonNull;

use fs_err::File;
use heed::{Env, EnvFlags, EnvOpenOptions, WithoutTls};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::Error;

#[cfg(target_endian = "big")]
compile_error!("index files are little-endian and read in place");

/// A whole file, mapped.
pub(super) struct Mapped {
    /// `None` for an empty file, which cannot be mapped.
    start: Option<NonNull<u8>>,
    length: usize,
}

// SAFETY: the mapping is read-only and stays where it is until the value is dropped.
unsafe impl Send for Mapped {}
// SAFETY: as for `Send`; shared reads of memory that nobody writes.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps the file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len())
            .map_err(|error| Error::corrupt(format!("the length of a file: {error}")))?;
        if length == 0 {
            return Ok(Self {
                start: None,
                length,
            });
        }
        let (prot, flags) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory. The
        // file is an index's: it was complete before it got its name and nobody changes it after.
        let start = unsafe { mmap(std::ptr::null_mut(), length, prot, flags, file.file(), 0) };
        let start = start.map_err(std::io::Error::from)?;
        Ok(Self {
            start: NonNull::new(start.cast()),
            length,
        })
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// `count` bytes from byte `at`.
    pub(super) fn bytes(&self, at: u64, count: usize) -> Option<&[u8]> {
        if count == 0 {
            return Some(&[]);
        }
        let start = self.range::<u8>(at, count)?;
        // SAFETY: `range` checked the bounds; every bit pattern is a byte; the memory lives as long
        // as `self`.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// `count` floats from byte `at`.
    pub(super) fn floats(&self, at: u64, count: usize) -> Option<&[f32]> {
        let start = self.range::<f32>(at, count)?;
        // SAFETY: `range` checked the bounds and the alignment; every bit pattern is a float; the
        // memory lives as long as `self`.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// `count` numbers of 32 bits from byte `at`.
    pub(super) fn words(&self, at: u64, count: usize) -> Option<&[u32]> {
        let start = self.range::<u32>(at, count)?;
        // SAFETY: `range` checked the bounds and the alignment; every bit pattern is a number; the
        // memory lives as long as `self`.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// Where `count` values of type `T` start that lie at byte `at`, if they lie in the file and
    /// are aligned.
    fn range<T>(&self, at: u64, count: usize) -> Option<NonNull<T>> {
        let at = usize::try_from(at).ok()?;
        let end = count.checked_mul(size_of::<T>())?.checked_add(at)?;
        if end > self.length || !at.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: `at` is within the mapping, which is one allocation; its start is page-aligned.
        Some(unsafe { self.start?.add(at) }.cast())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            // SAFETY: this is the mapping that `open` made, and no slice of it outlives `self`.
            let unmapped = unsafe { munmap(start.as_ptr().cast(), self.length) };
            debug_assert!(unmapped.is_ok(), "the mapping is whole and ours");
        }
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped")
            .field("length", &self.length)
            .finish()
    }
}

/// Opens a new LMDB environment in an empty folder of the caller's own, never to be synced: what it
/// holds is gone when the caller is.
pub(super) fn scratch_environment(path: &Path, bytes: usize) -> Result<Env<WithoutTls>, Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(bytes);
    // SAFETY: without syncs a crash may break the file; nobody opens it after a crash.
    unsafe { options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC) };
    // SAFETY: the folder is new and only this build knows it: nobody else opens or changes the file.
    Ok(unsafe { options.open(path) }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_the_file_and_is_aligned_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        let bytes: Vec<u8> = [1u32, 2, 3].iter().flat_map(|n| n.to_le_bytes()).collect();
        fs_err::write(&path, &bytes).unwrap();
        let mapped = Mapped::open(&path).unwrap();
        assert_eq!(mapped.words(4, 2), Some(&[2u32, 3][..]));
        assert_eq!(mapped.words(12, 0), Some(&[][..]));
        for (at, count) in [(4, 3), (2, 1), (16, 0), (u64::MAX, 1), (0, usize::MAX)] {
            assert_eq!(mapped.words(at, count), None, "{at} {count}");
            assert_eq!(mapped.floats(at, count), None, "{at} {count}");
        }
        let path = dir.path().join("nothing");
        fs_err::write(&path, []).unwrap();
        let empty = Mapped::open(&path).unwrap();
        assert_eq!((empty.length(), empty.words(0, 1)), (0, None));
    }
}
