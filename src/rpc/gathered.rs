//! A connection that writes what belongs together at once.
//!
//! A request over HTTP/2 is written in three parts: its head, its message, its end. Each is flushed as
//! soon as it is known, and every part that arrives wakes the other side. But what makes the next part
//! is often ready to run. So a flush gives everything that is ready one turn first, and then writes
//! what came meanwhile too. Large parts are written at once, uncopied.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are held back at most.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// A stream whose small writes wait for each other.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    stream: S,
    held: Vec<u8>,
    /// How many of the held bytes were written.
    written: usize,
    /// Whether the others had their turn.
    gave_way: bool,
}

impl<S> Gathered<S> {
    /// Nothing is held.
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            held: Vec::new(),
            written: 0,
            gave_way: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Holds these parts back, if there is room.
    fn hold(&mut self, parts: &[io::IoSlice<'_>]) -> Option<usize> {
        let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
        if self.held.len().saturating_add(bytes) > HELD_BYTES_MAX {
            return None;
        }
        parts
            .iter()
            .for_each(|part| self.held.extend_from_slice(part));
        Some(bytes)
    }

    /// Writes all that is held.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self
            .held
            .get(self.written..)
            .filter(|rest| !rest.is_empty())
        {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written = self.written.saturating_add(written);
        }
        self.held.clear();
        self.written = 0;
        self.gave_way = false;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(held) = this.hold(parts) {
            return Poll::Ready(Ok(held));
        }
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() && !this.gave_way {
            this.gave_way = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_comes_while_others_have_their_turn_is_written_too() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut near = Gathered::new(near);
        near.write_all(b"head").await.unwrap();
        let flush =
            |near: &mut Gathered<_>, context: &mut Context<'_>| Pin::new(near).poll_flush(context);
        let first = poll_fn(|context| Poll::Ready(flush(&mut near, context))).await;
        assert!(first.is_pending());
        near.write_all(b"message").await.unwrap();
        assert_eq!(near.held, b"headmessage");
        near.flush().await.unwrap();
        assert_eq!((near.held.len(), near.written), (0, 0));
        let mut got = [0; 11];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"headmessage");
    }

    proptest! {
        #[test]
        fn every_byte_arrives_once_and_in_order(
            parts in prop::collection::vec((1_usize..40_000, any::<bool>()), 1..20),
            room in 1_usize..10_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let sent: Vec<u8> = (0..parts.iter().map(|part| part.0).sum())
                .map(|at: usize| u8::try_from(at % 251).unwrap())
                .collect();
            let got = runtime.block_on(async {
                let (near, mut far) = tokio::io::duplex(room);
                let writing = async {
                    let mut near = Gathered::new(near);
                    let mut rest = &sent[..];
                    for (length, flushes) in &parts {
                        let (now, later) = rest.split_at(*length);
                        near.write_all(now).await.unwrap();
                        if *flushes {
                            near.flush().await.unwrap();
                        }
                        rest = later;
                    }
                    near.shutdown().await.unwrap();
                };
                let reading = async {
                    let mut got = Vec::new();
                    far.read_to_end(&mut got).await.unwrap();
                    got
                };
                tokio::join!(writing, reading).1
            });
            prop_assert!(got == sent);
        }
    }
}
