//! Carries out what the [`Supervisor`] says, with child processes.
//!
//! Children are started by the task that calls [`Children::run`], which the command line runs on the
//! main thread: the kernel ends a child when the *thread* that started it does. Should this process
//! go away in an orderly way all the same, dropping a [`Child`] kills it.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::sync::mpsc;

use super::supervisor::{Next, Order, Supervisor};
use crate::clock::{Clock, Moment};
use crate::entropy::Entropy;
use crate::tasks::Tasks;
use crate::topology::Component;

/// Signals to one child that wait: a child gets two in its life.
const SIGNALS_LEN_MAX: usize = 4;
/// News that wait: more than a plan has components, so that nobody waits for long.
const NEWS_LEN_MAX: usize = 256;
/// How long children that were killed are waited for.
const REAP_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the process of a component.
pub(super) trait Launch {
    /// The process, started; it is killed when it is dropped.
    fn launch(&mut self, component: &Component) -> io::Result<Child>;
}

/// What happened to the component of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// It runs, as this process.
    Started(usize, u32),
    /// It does not run.
    Ended(usize),
}

/// How the children came to their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// In order, each in its time or killed after it.
    InOrder,
    /// All at once: somebody asked a second time.
    AtOnce,
}

struct Ended {
    number: usize,
    status: io::Result<ExitStatus>,
}

/// The children of one cluster.
pub(super) struct Children<L> {
    launch: L,
    components: Vec<Component>,
    supervisor: Supervisor,
    signals: Vec<Option<mpsc::Sender<Signal>>>,
    ended: (mpsc::Sender<Ended>, mpsc::Receiver<Ended>),
    news: mpsc::Sender<News>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

impl<L: Launch> Children<L> {
    /// Nothing is started yet. The news are to be read.
    pub(super) fn new(
        launch: L,
        components: Vec<Component>,
        clock: Arc<dyn Clock>,
        entropy: Arc<Entropy>,
        tasks: &Tasks,
    ) -> (Self, mpsc::Receiver<News>) {
        let roles: Vec<_> = components.iter().map(|component| component.role).collect();
        let (news, told) = mpsc::channel(NEWS_LEN_MAX);
        let children = Self {
            launch,
            supervisor: Supervisor::new(&roles, clock.now(), entropy),
            signals: roles.iter().map(|_| None).collect(),
            components,
            ended: mpsc::channel(NEWS_LEN_MAX),
            news,
            clock,
            tasks: tasks.clone(),
        };
        (children, told)
    }

    /// Keeps the components running until somebody asks to stop, and then until all have ended.
    /// `asked_to_stop` completes with each request and is cancel-safe.
    pub(super) async fn run(&mut self, mut asked_to_stop: impl AsyncFnMut()) -> End {
        let mut asked = false;
        loop {
            self.carry_out().await;
            if self.supervisor.is_done() {
                return End::InOrder;
            }
            let wake = until(self.supervisor.wakes_at(), self.clock.as_ref());
            tokio::select! {
                Some(ended) = self.ended.1.recv() => self.has_ended(ended).await,
                () = wake => {},
                () = asked_to_stop() => {
                    if asked {
                        tracing::warn!("killing everything: asked to stop a second time");
                        self.kill_all().await;
                        return End::AtOnce;
                    }
                    asked = true;
                    tracing::info!("stopping: gateways, then workers, then masters");
                    self.supervisor.stop();
                },
            }
        }
    }

    async fn carry_out(&mut self) {
        for order in self.supervisor.orders(self.clock.now()) {
            match order {
                Order::Start(number) => self.start(number).await,
                Order::Terminate(number) => self.signal(number, Signal::TERM),
                Order::Kill(number) => {
                    tracing::warn!(component = self.name(number), "killed: did not end in time");
                    self.signal(number, Signal::KILL);
                },
            }
        }
    }

    async fn start(&mut self, number: usize) {
        let Some(component) = self.components.get(number) else {
            return;
        };
        match self.launch.launch(component) {
            Ok(child) => {
                let (signals, received) = mpsc::channel(SIGNALS_LEN_MAX);
                if let Some(place) = self.signals.get_mut(number) {
                    *place = Some(signals);
                }
                if let Some(pid) = child.id() {
                    tracing::info!(component = component.name, pid, "started");
                    self.tell(News::Started(number, pid)).await;
                }
                let watch = watch(number, child, received, self.ended.0.clone());
                self.tasks.spawn("child", watch);
            },
            Err(status) => {
                let status = Err(status);
                self.has_ended(Ended { number, status }).await;
            },
        }
    }

    async fn has_ended(&mut self, ended: Ended) {
        let Ended { number, status } = ended;
        if let Some(place) = self.signals.get_mut(number) {
            *place = None;
        }
        let next = self.supervisor.ended(number, self.clock.now());
        let component = self.name(number);
        let how = match status {
            Ok(status) => status.to_string(),
            Err(error) => format!("not started: {error}"),
        };
        match next {
            Next::StartsIn(pause) => {
                let pause_ms = pause.as_millis();
                tracing::warn!(component, how, pause_ms, "ended by itself, starts again");
            },
            Next::StaysEnded => tracing::info!(component, how, "ended"),
        }
        self.tell(News::Ended(number)).await;
    }

    async fn tell(&self, news: News) {
        // Nobody listens any more only when everything ends.
        drop(self.news.send(news).await);
    }

    fn signal(&self, number: usize, signal: Signal) {
        let running = self.signals.get(number).and_then(Option::as_ref);
        // A child that has just ended takes no signal; its end is on its way to the supervisor.
        if running.is_some_and(|signals| signals.try_send(signal).is_err()) {
            tracing::debug!(component = self.name(number), "ended before its signal");
        }
    }

    async fn kill_all(&mut self) {
        for number in 0..self.signals.len() {
            self.signal(number, Signal::KILL);
        }
        let all_gone = async {
            while self.signals.iter().any(Option::is_some) {
                let Some(ended) = self.ended.1.recv().await else {
                    return;
                };
                if let Some(place) = self.signals.get_mut(ended.number) {
                    *place = None;
                }
            }
        };
        if tokio::time::timeout(REAP_TIMEOUT, all_gone).await.is_err() {
            tracing::error!("a killed child has not ended yet");
        }
    }

    fn name(&self, number: usize) -> &str {
        let component = self.components.get(number);
        component.map_or("", |component| component.name.as_str())
    }
}

/// Waits for a child's end, and gives it signals while it is there: the process id is its own until
/// it has been waited for.
async fn watch(
    number: usize,
    mut child: Child,
    mut signals: mpsc::Receiver<Signal>,
    ended: mpsc::Sender<Ended>,
) {
    // Waiting closes the child's input, and the end of its input ends the child.
    let input = child.stdin.take();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            Some(signal) = signals.recv() => {
                let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
                if let Some(pid) = pid.and_then(Pid::from_raw)
                    && let Err(error) = kill_process(pid, signal)
                {
                    tracing::warn!(%error, "a child takes no signal");
                }
            },
        }
    };
    drop(input);
    // Nobody listens any more only when everything ends.
    drop(ended.send(Ended { number, status }).await);
}

async fn until(moment: Option<Moment>, clock: &dyn Clock) {
    match moment {
        // A millisecond more, since the timer may round down.
        Some(moment) => {
            let pause = moment.since(clock.now()) + Duration::from_millis(1);
            tokio::time::sleep(pause).await;
        },
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
