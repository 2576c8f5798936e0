//! When a process is asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{Error, parent};

/// Why a process is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked: SIGTERM, SIGINT or SIGHUP.
    Signal,
    /// Its standard input ended: whoever started it is gone.
    InputEnded,
}

/// The requests to stop, one after the other. From the moment it is made a signal no longer ends the
/// process by itself.
#[derive(Debug)]
pub struct StopRequests {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    input: Option<oneshot::Receiver<()>>,
}

impl StopRequests {
    /// Listens for signals.
    ///
    /// # Errors
    /// [`Error::Watch`].
    pub fn of_signals() -> Result<Self, Error> {
        let listen = |kind| signal(kind).map_err(Error::Watch);
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            input: None,
        })
    }

    /// Listens for signals and for the end of standard input.
    ///
    /// # Errors
    /// [`Error::Watch`].
    pub fn of_signals_and_input() -> Result<Self, Error> {
        Ok(Self {
            input: Some(parent::input_end()?),
            ..Self::of_signals()?
        })
    }

    /// The next request. Cancel-safe.
    pub async fn next(&mut self) -> Reason {
        let input = &mut self.input;
        let input_ended = async {
            if let Some(ended) = input {
                let told = ended.await.is_ok();
                *input = None;
                if told {
                    return;
                }
                // A thread that broke off says nothing about the input.
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = self.terminate.recv() => Reason::Signal,
            _ = self.interrupt.recv() => Reason::Signal,
            _ = self.hang_up.recv() => Reason::Signal,
            () = input_ended => Reason::InputEnded,
        }
    }
}
