//! A TCP proxy whose connections can be cut or frozen, so that a client is apart while etcd lives on.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use vectorsphere::tasks::Tasks;

/// A way to a server that can be closed.
pub(super) struct Proxy {
    endpoint: String,
    open: watch::Sender<bool>,
    /// Grows with each freeze.
    freezes: watch::Sender<u32>,
    tasks: Tasks,
}

impl Proxy {
    /// An open way to the server at that address.
    pub(super) async fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let open = watch::Sender::new(true);
        let freezes = watch::Sender::new(0);
        let tasks = Tasks::new();
        let (opened, frozen, inner) = (open.clone(), freezes.clone(), tasks.clone());
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
                let mut freeze = frozen.subscribe();
                let target = target.clone();
                inner.spawn("proxied", async move {
                    let Ok(mut server) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _shut = cut.wait_for(|open| !open) => return,
                        _copied = copy_bidirectional(&mut client, &mut server) => return,
                        _frozen = freeze.changed() => {},
                    }
                    // Half open: neither side is told, and nothing passes any more.
                    drop(cut.wait_for(|open| !open).await);
                });
            }
        });
        Self {
            endpoint,
            open,
            freezes,
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

    /// From now on nothing passes on the connections that exist, and nobody is told. New ones work.
    pub(super) fn freeze(&self) {
        self.freezes.send_modify(|freezes| *freezes += 1);
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
