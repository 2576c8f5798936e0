//! A stream whose peer has only so long for its first bytes and for taking what is written.
//!
//! Hyper times the heads of requests, but not the bytes by which it tells HTTP/1 from HTTP/2, and
//! not a peer that does not read. Both would hold a connection for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Bytes by which HTTP/2 is known; after them hyper has a timer of its own running.
const PREFACE_BYTES: usize = 24;

/// A stream with these bounds.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    /// Until the first bytes are there.
    first: Option<(Pin<Box<Sleep>>, usize)>,
    take: Duration,
    /// While the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Bounded<S> {
    /// A stream that fails when its first bytes take longer than `first`, or when the peer takes
    /// nothing for `take`.
    pub(super) fn new(stream: S, first: Duration, take: Duration) -> Self {
        Self {
            stream,
            first: Some((Box::pin(sleep(first)), 0)),
            take,
            stalled: None,
        }
    }

    /// Fails a write that has made no progress for too long.
    fn watch<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let take = self.take;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(take)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some((deadline, seen)) = &mut self.first else {
            return read;
        };
        if read.is_ready() {
            *seen = seen.saturating_add(buffer.filled().len().saturating_sub(before));
            if *seen >= PREFACE_BYTES {
                self.first = None;
            }
            return read;
        }
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_peer_that_says_nothing_is_not_waited_for() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Bounded::new(ours, LIMIT, LIMIT);
        theirs.write_all(b"PRI").await.unwrap();
        let mut read = [0; 64];
        assert_eq!(ours.read(&mut read).await.unwrap(), 3);
        let late = ours.read(&mut read).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn after_the_first_bytes_reading_is_not_timed() {
        let (ours, mut theirs) = duplex(64);
        let mut ours = Bounded::new(ours, LIMIT, LIMIT);
        theirs.write_all(&[b'x'; PREFACE_BYTES]).await.unwrap();
        let mut read = [0; 64];
        assert_eq!(ours.read(&mut read).await.unwrap(), PREFACE_BYTES);
        let waited = tokio::time::timeout(LIMIT * 3, ours.read(&mut read)).await;
        assert!(waited.is_err(), "{waited:?}");
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_not_waited_for() {
        let (ours, _theirs) = duplex(8);
        let mut ours = Bounded::new(ours, LIMIT, LIMIT);
        let late = ours.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
