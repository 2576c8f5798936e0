//! Serves gRPC on a listener that is bound already, with bounds, until the tasks stop.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::fault::chain;
use crate::tasks::Tasks;

const STREAMS_MAX: u32 = 512;
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Starts serving; the address is where.
///
/// # Errors
/// When the listener has no address.
pub fn serve(listener: TcpListener, routes: Routes, tasks: &Tasks) -> std::io::Result<SocketAddr> {
    let address = listener.local_addr()?;
    let stopping = tasks.stopping();
    tasks.spawn("rpc-server", async move {
        let served = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .add_routes(routes)
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping)
            .await;
        if let Err(error) = served {
            tracing::error!(error = chain(&error), "rpc server ended");
        }
    });
    Ok(address)
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
