//! Serves gRPC on a listener that is bound already, with bounds, until the tasks stop.
//!
//! Each connection is served by one of the threads for that, if the tasks have such. Connections are
//! counted, and wait in the backlog when there are too many, or too many greetings at
//! once; who does not show who it is in time, or may not connect, is closed.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout as limited};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use crate::fault::chain;
use crate::limits::CONNECTIONS_MAX;
use crate::security::peers::{Acceptor, Connection};
use crate::tasks::{Place, Tasks};

const STREAMS_MAX: u32 = 512;
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a peer may take to show who it is.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Peers that are greeted at the same time.
const GREETINGS_MAX: usize = 256;
/// Pause after an accept that failed, mostly for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Starts serving; the address is where.
///
/// # Errors
/// When the listener has no address.
pub fn serve(
    listener: TcpListener,
    routes: Routes,
    acceptor: Acceptor,
    tasks: &Tasks,
) -> io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    let serving = tasks.places().into_iter().map(|lane| {
        let (greeted, connections) = mpsc::channel(GREETINGS_MAX);
        let server = serve_one(connections, routes.clone(), tasks.clone());
        tasks.spawn_at(&lane, "rpc-server", server);
        greeted
    });
    let servers: Vec<_> = serving.collect();
    let accepting = accept(listener, acceptor, servers, tasks.clone());
    tasks.spawn("rpc-accept", accepting);
    Ok(address)
}

/// Serves the connections of one lane.
async fn serve_one(connections: mpsc::Receiver<Counted>, routes: Routes, tasks: Tasks) {
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .add_routes(routes)
        .serve_with_incoming_shutdown(
            ReceiverStream::new(connections).map(Ok::<_, io::Error>),
            tasks.stopping(),
        )
        .await;
    if let Err(error) = served {
        tracing::error!(error = chain(&error), "rpc server ended");
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Acceptor,
    servers: Vec<mpsc::Sender<Counted>>,
    tasks: Tasks,
) {
    let greetings = Arc::new(Semaphore::new(GREETINGS_MAX));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stopping = pin!(tasks.stopping());
    loop {
        let next = async {
            let greeting = Arc::clone(&greetings).acquire_owned().await;
            let place = Arc::clone(&places).acquire_owned().await;
            (greeting, place.ok(), listener.accept().await)
        };
        let (greeting, place, accepted) = tokio::select! {
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
        let (acceptor, lane) = (acceptor.clone(), Arc::new(tasks.place()));
        let Some(greeted) = servers.get(lane.number()).cloned() else {
            tracing::error!(
                lane = lane.number(),
                "nobody serves there: a connection is closed"
            );
            continue;
        };
        let held = Arc::clone(&lane);
        tasks.spawn_at(&lane, "rpc-greeting", async move {
            let greet = async { acceptor.accept(TcpStream::from_std(stream)?).await };
            match limited(GREETING_TIMEOUT, greet).await {
                // The server is gone when nobody takes it: the process ends.
                Ok(Ok(connection)) => {
                    let counted = Counted {
                        connection,
                        _place: place,
                        _lane: held,
                    };
                    drop(greeted.send(counted).await);
                },
                Ok(Err(error)) => tracing::warn!(%peer, %error, "a connection is refused"),
                Err(_elapsed) => tracing::warn!(%peer, "a peer did not show who it is in time"),
            }
            drop(greeting);
        });
    }
}

/// A connection that has its place until it ends.
struct Counted {
    connection: Connection,
    _place: Option<OwnedSemaphorePermit>,
    _lane: Arc<Place>,
}

impl Connected for Counted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().connection).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().connection).poll_shutdown(context)
    }
}

/// How long the caller of this request waits, or `otherwise` when it does not say.
pub fn timeout<T>(request: &tonic::Request<T>, otherwise: Duration) -> Duration {
    let header = request
        .metadata()
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok());
    header.and_then(parse_timeout).unwrap_or(otherwise)
}

/// `grpc-timeout`: at most eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "M" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_patience_is_read() {
        let mut request = tonic::Request::new(());
        assert_eq!(
            timeout(&request, Duration::from_secs(9)),
            Duration::from_secs(9)
        );
        request.set_timeout(Duration::from_millis(1_500));
        assert_eq!(
            timeout(&request, Duration::from_secs(9)),
            Duration::from_millis(1_500)
        );
        for wrong in ["", "S", "5", "5x", "é"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }
}
