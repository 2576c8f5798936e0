//! The HTTP server: its own accept loop, in which everything that a peer can hold has a bound.
//!
//! Connections are counted, and wait in the backlog when there are too many. The first bytes, each
//! head, a TLS handshake and the taking of an answer have deadlines; a connection that misses one is
//! closed. (The body of a request has its deadline where it is read.) When the tasks are told to
//! stop, nothing is accepted any more, and open requests are finished within a bound. Answers then say
//! that the connection closes, so that its peer sends no other request on it; only a connection that
//! has none for a while is closed without a word, for a request may be on its way.

mod bounded;
mod refusals;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Version};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use self::bounded::Bounded;
pub use self::refusals::Refusals;
use crate::limits::{CONNECTIONS_MAX, DRAIN_TIMEOUT};
use crate::security::tls;
use crate::tasks::Tasks;

/// How long a peer may take for a head, its first bytes, or a TLS handshake; also how long a
/// connection may be idle between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may leave an answer untaken.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection without a request is kept when everything stops.
const LINGER: Duration = Duration::from_secs(1);

/// Pause after an accept that failed, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;

/// Bytes of the headers of one request.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of a body on the way on one HTTP/2 stream or connection.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// How often a quiet HTTP/2 peer is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// Starts serving on a listener that is bound already; the address is where.
///
/// # Errors
/// When the listener has no address.
pub fn serve(
    listener: TcpListener,
    router: Router,
    (tls, refusals): (tls::Handle, Refusals),
    tasks: &Tasks,
) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    let accepting = accept(listener, router, (tls, refusals), tasks.clone());
    tasks.spawn("http-accept", accepting);
    Ok(address)
}

async fn accept(
    listener: TcpListener,
    router: Router,
    (tls, refusals): (tls::Handle, Refusals),
    tasks: Tasks,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let builder = builder(&tasks);
    let router = router.layer(from_fn_with_state(tasks.clone(), say_goodbye));
    let stopping = tasks.stopping();
    let mut stopping = pin!(stopping);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut stopping => return,
        };
        let accepted = accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer)));
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            },
        };
        let door = Door {
            builder: builder.clone(),
            router: router.clone(),
            tls: tls.clone(),
            refusals: refusals.clone(),
        };
        let stopping = tasks.stopping();
        let lane = Arc::new(tasks.place());
        let held = Arc::clone(&lane);
        tasks.spawn_at(&lane, "http-connection", async move {
            // Read and written on the thread that serves it.
            match TcpStream::from_std(stream) {
                Ok(stream) => door.serve((stream, peer), stopping).await,
                Err(error) => tracing::warn!(%error, "a connection is not served"),
            }
            drop((place, held));
        });
    }
}

/// What a connection is served with.
struct Door {
    builder: auto::Builder<Spawn>,
    router: Router,
    tls: tls::Handle,
    refusals: Refusals,
}

impl Door {
    /// Serves one connection to its end.
    async fn serve(
        self,
        (stream, peer): (TcpStream, SocketAddr),
        stopping: impl Future<Output = ()>,
    ) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
            return;
        }
        match self.tls.acceptor() {
            None => self.talk(stream, stopping).await,
            Some(acceptor) => match timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.talk(stream, stopping).await,
                Ok(Err(error)) => self.refusals.add(peer, &error),
                Err(_elapsed) => tracing::debug!("TLS handshake took too long"),
            },
        }
    }

    async fn talk<I>(self, stream: I, stopping: impl Future<Output = ()>)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let service = TowerToHyperService::new(self.router);
        let stream = TokioIo::new(Bounded::new(stream, HEAD_TIMEOUT, TAKE_TIMEOUT));
        let mut talking = pin!(self.builder.serve_connection(stream, service));
        let ended = tokio::select! {
            ended = talking.as_mut() => ended,
            () = stopping => match timeout(LINGER, talking.as_mut()).await {
                Ok(ended) => ended,
                Err(_lingered) => {
                    talking.as_mut().graceful_shutdown();
                    match timeout(DRAIN_TIMEOUT, talking).await {
                        Ok(ended) => ended,
                        Err(_elapsed) => {
                            tracing::warn!("a connection was not done in time and is cut");
                            return;
                        },
                    }
                },
            },
        };
        if let Err(error) = ended {
            tracing::debug!(error, "connection ended");
        }
    }
}

/// Has the peer of an HTTP/1 connection send nothing more on it when everything stops.
async fn say_goodbye(State(tasks): State<Tasks>, request: Request, next: Next) -> Response {
    let is_first = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if is_first && tasks.is_stopping() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

fn builder(tasks: &Tasks) -> auto::Builder<Spawn> {
    let mut builder = auto::Builder::new(Spawn(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(PING_INTERVAL);
    builder
}

/// Runs the streams of HTTP/2 connections as named tasks.
#[derive(Debug, Clone)]
struct Spawn(Tasks);

impl<F> Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        drop(self.0.spawn("http-stream", stream));
    }
}
