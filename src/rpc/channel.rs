//! Connections to other processes, one for each address and thread that serves connections
//! ([`current_lane`]), made when first used: what a request asks of others is done on its own thread.
//!
//! A connection notices a silent peer by HTTP/2 keepalive and connects again by itself. The set is
//! bounded: past the bound it is emptied, which costs the processes in use one new connection each.
//! Who answers is checked by its certificate: the role that is asked must be its.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use super::gathered::Gathered;
use super::proto::admin_service_client::AdminServiceClient;
use super::proto::router_service_client::RouterServiceClient;
use super::proto::shard_service_client::ShardServiceClient;
use super::status::Error;
use crate::fault::Kind;
use crate::limits::RPC_MESSAGE_BYTES_MAX;
use crate::security::{Peer, Peers};
use crate::tasks::current_lane;

pub use super::whole::Channel;

/// On all threads that serve connections together.
const CHANNELS_MAX: usize = 4_096;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(2);
/// A batch of points goes through in few round trips.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Connections by role and address, `HOST:PORT`.
#[derive(Debug)]
pub struct Channels {
    peers: Peers,
    open: Mutex<HashMap<(usize, &'static str, String), Channel>>,
}

impl Channels {
    /// Connections to others of these processes; none is open.
    pub fn new(peers: Peers) -> Self {
        Self {
            peers,
            open: Mutex::default(),
        }
    }

    /// The connection to a process of this role at an address. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the address is none.
    pub fn to(&self, peer: Peer, address: &str) -> Result<Channel, Error> {
        let key = (current_lane(), peer.as_str(), address.to_owned());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(&key) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
            Error::new(
                Kind::Internal,
                "rpc.address",
                format!("address {address:?}: {error}"),
            )
        })?;
        let connector = self.peers.connector(peer);
        let connect = service_fn(move |to: Uri| {
            let connector = connector.clone();
            async move {
                let connection = connector.connect(&to).await?;
                io::Result::Ok(TokioIo::new(Gathered::new(connection)))
            }
        });
        let channel = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect_with_connector_lazy(connect);
        let channel = Channel::over(channel);
        if open.len() >= CHANNELS_MAX {
            open.clear();
        }
        open.insert(key, channel.clone());
        Ok(channel)
    }
}

/// A client of a worker, for messages as large as a body of points.
pub fn shard_client(channel: Channel) -> ShardServiceClient<Channel> {
    ShardServiceClient::new(channel)
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
}

/// A client of a master that routes.
pub fn router_client(channel: Channel) -> RouterServiceClient<Channel> {
    RouterServiceClient::new(channel)
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
}

/// A client of a master's admin service.
pub type AdminClient = AdminServiceClient<Channel>;

/// Such a client over this channel.
pub fn admin_client(channel: Channel) -> AdminClient {
    AdminServiceClient::new(channel)
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
}
