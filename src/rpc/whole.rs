//! Requests whose last part says that it is the last.
//!
//! A request of one message is made of its head, its message and its end, and that nothing follows the message is
//! found out only by asking for more. A part of its own for the end wakes the other side once more, which
//! has nothing to do before it. So a body is asked for the next part before the one at hand is sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tower::Service;

/// A connection over which requests go so.
#[derive(Debug, Clone)]
pub struct Channel(tonic::transport::Channel);

impl Channel {
    /// Over this one.
    pub(super) fn over(channel: tonic::transport::Channel) -> Self {
        Self(channel)
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = tonic::transport::Error;
    type Future = <tonic::transport::Channel as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::<Request<Body>>::poll_ready(&mut self.0, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request.map(|body| Body::new(Ahead::of(body))))
    }
}

type Part = Result<Frame<bytes::Bytes>, Status>;

/// A body that knows, where it can be known, whether the part that it gave was the last.
#[derive(Debug)]
struct Ahead<B = Body> {
    body: B,
    /// Asked for already.
    next: Option<Part>,
    ended: bool,
}

impl<B> Ahead<B> {
    fn of(body: B) -> Self {
        Self {
            body,
            next: None,
            ended: false,
        }
    }
}

impl<B> hyper::body::Body for Ahead<B>
where
    B: hyper::body::Body<Data = bytes::Bytes, Error = Status> + Unpin,
{
    type Data = bytes::Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let part = match this.next.take() {
            Some(part) => part,
            None if this.ended => return Poll::Ready(None),
            None => match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(part) => part,
                None => {
                    this.ended = true;
                    return Poll::Ready(None);
                },
            },
        };
        // Nothing follows an error.
        this.ended |= part.is_err();
        // One that waits is asked again when the part was sent, which is soon enough.
        if !this.ended
            && let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(context)
        {
            this.ended = next.is_none();
            this.next = next;
        }
        Poll::Ready(Some(part))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // The next part may be out of the body already.
        SizeHint::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use bytes::Bytes;
    use hyper::body::Body as _;

    use super::*;

    /// Parts, before each of which it may wait once.
    struct Parts(VecDeque<(bool, Part)>);

    impl hyper::body::Body for Parts {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Part>> {
            if let Some((waits, _)) = self.0.front_mut()
                && std::mem::take(waits)
            {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.0.pop_front().map(|(_, part)| part))
        }
    }

    fn part(text: &'static str) -> Part {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    /// What comes out, and whether each part said that it was the last.
    async fn read(parts: Vec<(bool, Part)>) -> Vec<(Result<Bytes, tonic::Code>, bool)> {
        let mut body = Ahead::of(Parts(parts.into()));
        let mut read = Vec::new();
        while let Some(part) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let part = part.map(|part| part.into_data().unwrap());
            read.push((part.map_err(|status| status.code()), body.is_end_stream()));
        }
        read
    }

    #[tokio::test]
    async fn every_part_comes_in_order_and_the_last_one_says_so() {
        let all = |last| vec![(Ok(Bytes::from("a")), false), (Ok(Bytes::from("b")), last)];
        assert_eq!(read(vec![]).await, vec![]);
        let two = |waits| vec![(waits, part("a")), (waits, part("b"))];
        assert_eq!(read(two(false)).await, all(true));
        // Nothing waits for the end of the last part, so it is known here too.
        assert_eq!(read(two(true)).await, all(true));
    }

    #[tokio::test]
    async fn an_error_comes_after_what_came_before_it_and_is_the_last() {
        let failed = || Err(Status::aborted("no"));
        let parts = vec![(false, part("a")), (false, failed()), (false, part("b"))];
        let read = read(parts).await;
        assert_eq!(read.len(), 2, "nothing follows an error");
        assert_eq!(read[0], (Ok(Bytes::from("a")), false));
        assert_eq!(read[1].0, Err(tonic::Code::Aborted));
    }
}
