//! Ends this process when the one that started it dies, in whatever way that one dies.
//!
//! The kernel sends the signal when the *thread* that started this process ends, so whoever starts
//! children does it from a thread that lives as long as it does.

use std::io::Read;

use rustix::process::{Pid, Signal};
use tokio::sync::oneshot;

use super::Error;

/// The thread that waits for the end of standard input needs no more.
const STACK_BYTES: usize = 64 * 1024;

/// The process is killed from now on when its parent dies. `expected` is the parent's process id as
/// the parent wrote it down: should it have died before this is called, the process has another
/// parent by now, and nobody would be watched.
///
/// # Errors
/// [`Error::ParentGone`], [`Error::Watch`].
pub fn end_with(expected: Option<u32>) -> Result<(), Error> {
    let before = parent();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Error::Watch(error.into()))?;
    let now = parent();
    let other = expected.is_some_and(|expected| now != Some(expected));
    if other || now.is_none() || now != before {
        return Err(Error::ParentGone);
    }
    Ok(())
}

fn parent() -> Option<u32> {
    let pid = rustix::process::getppid().map(Pid::as_raw_pid)?;
    u32::try_from(pid).ok()
}

/// Completes when standard input ends: its writer, the parent, is gone. On a thread of its own,
/// since a read of standard input cannot be broken off.
///
/// # Errors
/// [`Error::Watch`].
pub(super) fn input_end() -> Result<oneshot::Receiver<()>, Error> {
    let (end, ended) = oneshot::channel();
    let wait = move || {
        let mut ignored = [0u8; 256];
        let mut input = std::io::stdin().lock();
        loop {
            match input.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {},
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {},
                Err(_) => break,
            }
        }
        // Nobody listens any more: the process is ending anyway.
        drop(end.send(()));
    };
    std::thread::Builder::new()
        .name("input-end".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(wait)
        .map_err(Error::Watch)?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_parent_is_another_by_now_is_refused() {
        let us = std::process::id();
        assert!(matches!(end_with(Some(us)), Err(Error::ParentGone)));
    }
}
