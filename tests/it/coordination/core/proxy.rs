//! A TCP proxy whose connections can be cut, so that a client is apart while etcd lives on.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use vectorsphere::tasks::Tasks;

/// A way to a server that can be closed.
pub(super) struct Proxy {
    endpoint: String,
    open: watch::Sender<bool>,
    tasks: Tasks,
}

impl Proxy {
    /// An open way to the server at that address.
    pub(super) async fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let open = watch::Sender::new(true);
        let tasks = Tasks::new();
        let (opened, inner) = (open.clone(), tasks.clone());
        tasks.spawn("proxy", async move {
            let stopping = inner.stopping();
            tokio::pin!(stopping);
            loop {
                let mut client = tokio::select! {
                    () = &mut stopping => return,
                    accepted = listener.accept() => accepted.unwrap().0,
                };
                if !*opened.borrow() {
                    continue;
                }
                let mut cut = opened.subscribe();
                let target = target.clone();
                inner.spawn("proxied", async move {
                    let Ok(mut server) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _shut = cut.wait_for(|open| !open) => {},
                        _copied = copy_bidirectional(&mut client, &mut server) => {},
                    }
                });
            }
        });
        Self {
            endpoint,
            open,
            tasks,
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ends all connections, and each new one as soon as it is made.
    pub(super) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub(super) fn heal(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.open.send_replace(false);
        self.tasks.stop();
    }
}
