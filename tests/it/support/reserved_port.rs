//! A port of this machine that is nobody else's, for a process that is started later, and again.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// Bound and never listened on: the kernel gives the port to nobody who asks for any, and whoever
/// names it and lets others use it again (as this project's programs and etcd do) may listen there.
pub(crate) struct ReservedPort(TcpSocket);

impl ReservedPort {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Self(socket)
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}
